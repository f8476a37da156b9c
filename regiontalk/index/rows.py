"""From photo files to rows of the library's table.

Content hash, date, and what the model sees in them. A row holds the unit vectors of the
whole photo and of its regions (N, D), their boxes (N, 4) in pixels of the original, and
for each region its objectness, its caption and the caption's confidence.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from regiontalk.captioner import RegionBatch, RegionCaptioner, visible
from regiontalk.images.dates import photo_date
from regiontalk.images.open import ImageError, Photo, open_photo
from regiontalk.records import FloatArray, RegionCaption
from regiontalk.runtime.predictor import PhotoFeatures


class Stamp(NamedTuple):
    """By what a row knows that its file is unchanged."""

    size: int  # bytes
    modified: int  # nanoseconds since 1970
    sha256: str


@dataclass(frozen=True)
class PhotoFile:
    """A file of the library, read and decoded.

    Attributes:
        path: absolute.
        stamp: size, time and hash of its content.
        date: when it was taken, by its tags or its name; when the file was changed where neither
            says.
        photo: decoded no larger than the network needs.
    """

    path: str
    stamp: Stamp
    date: datetime
    photo: Photo


@dataclass(frozen=True)
class Row:
    """What the library holds of one photo.

    Attributes:
        path: absolute; the row's name.
        stamp: by which an unchanged file is known.
        date: of the photo, without a time zone.
        size_wh: width and height of the original in pixels.
        vectors: (N, D) unit length; row 0 is the whole photo.
        boxes_xyxy: (N, 4) pixels of the original.
        scores: (N,) objectness in 0..1.
        captions: N texts; None where the model was not sure or was not asked.
        confidences: (N,) of the captions; 0 where it was not asked.
    """

    path: str
    stamp: Stamp
    date: datetime
    size_wh: tuple[int, int]
    vectors: FloatArray
    boxes_xyxy: FloatArray
    scores: FloatArray
    captions: tuple[str | None, ...]
    confidences: FloatArray


def read_stamp(path: str) -> tuple[int, int]:
    """Size in bytes and time of change in nanoseconds.

    A copy may keep the time of the file that it replaces, but not the time at which the system
    wrote it down (on Windows that of its creation).
    """
    status = os.stat(path)
    return status.st_size, max(status.st_mtime_ns, status.st_ctime_ns)


def read_file(
    path: str, captioner: RegionCaptioner, unless_sha256: str | None = None
) -> PhotoFile | None:
    """Read, hash and decode a photo; None where its content has the hash ``unless_sha256``.

    Raises:
        ImageError: not a picture that can be used.
        OSError: the file cannot be read.
    """
    if not Path(path).is_file():
        got = "a folder or a device" if Path(path).exists() else "no such file"
        raise ImageError(f"{path}: expected a picture file, got {got}")
    size, modified = read_stamp(path)
    content = Path(path).read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 == unless_sha256:
        return None
    enough = captioner.preprocessing.size
    photo = open_photo(
        content, max_pixels=captioner.max_pixels, at_least=enough, name=path
    )
    taken = photo_date(content, Path(path).name) or datetime.fromtimestamp(
        os.stat(path).st_mtime
    ).replace(microsecond=0)
    return PhotoFile(path, Stamp(size, modified, sha256), taken, photo)


def photo_rows(
    captioner: RegionCaptioner,
    files: Sequence[PhotoFile],
    *,
    regions: int,
    captions: int | None,
) -> list[Row]:
    """The rows of photos, computed together from one run of the backbone.

    Args:
        captioner: its own proposals are taken, also where it was given another source of regions.
        files: B photos.
        regions: boxes a photo beside the whole photo; fewer where no more were found.
        captions: how many of them get words, the whole photo first; None for all.
    """
    predictor = captioner.predictor
    features = captioner.encode([file.photo for file in files])
    # (B, 1 + regions, 4), (B, 1 + regions)
    boxes, scores = predictor.propose(features, regions)
    vectors = predictor.embed_regions(predictor.region_features(features, boxes))
    boxes_by_photo = tuple(
        captioner.preprocessing.to_original(photo_boxes, file.photo.size_wh)
        for photo_boxes, file in zip(boxes, files, strict=True)
    )
    is_visible = np.stack([visible(photo_boxes) for photo_boxes in boxes_by_photo])
    quality = np.where(is_visible, scores, 0.0)
    quality[:, 0] = 1
    batch = RegionBatch(boxes, quality, boxes_by_photo)
    region_captions = _captions(captioner, files, features, batch, captions)
    return [
        _row(
            file,
            vectors[number],
            boxes_by_photo[number],
            quality[number],
            photo_captions,
        )
        for number, (file, photo_captions) in enumerate(
            zip(files, region_captions, strict=True)
        )
    ]


def _row(
    file: PhotoFile,
    vectors: FloatArray,
    boxes_xyxy: FloatArray,
    quality: FloatArray,
    captions: Sequence[RegionCaption],
) -> Row:
    """The row of a photo with vectors (M, D), boxes (M, 4) and quality (M,).

    A quality of 0 is an empty place.
    """
    is_region = quality > 0
    wordless = int(is_region.sum()) - len(captions)
    confidences = [caption.confidence for caption in captions] + [0.0] * wordless
    return Row(
        file.path,
        file.stamp,
        file.date,
        file.photo.size_wh,
        vectors[is_region],
        boxes_xyxy[is_region],
        quality[is_region],
        (*(caption.text for caption in captions), *[None] * wordless),
        np.array(confidences, dtype=np.float32),
    )


def _captions(
    captioner: RegionCaptioner,
    files: Sequence[PhotoFile],
    features: PhotoFeatures,
    batch: RegionBatch,
    count: int | None,
) -> list[list[RegionCaption]]:
    """For each photo the captions of its first ``count`` boxes that are no filling."""
    if count == 0:
        return [[] for _ in files]
    photos = [file.photo for file in files]
    results = captioner.caption_boxes(
        photos, features, batch.take(slice(count)), beams=1, threshold=None
    )
    return [
        [result.caption, *result.regions]
        for result in results
        if result.caption is not None
    ]
