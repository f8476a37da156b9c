"""Photos of a data set run through the backbone once, in batches.

And boxes between annotation and network pixels. Every protocol walks over
`EncodedPhotos`. With ``keep`` the maps stay in memory (about half a megabyte a photo at
224 pixels), so that several protocols share one run of the backbone; without it memory
is one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regiontalk import boxes as box_ops
from regiontalk.captioner import RegionCaptioner, visible
from regiontalk.images.open import ImageError, Photo, open_photo
from regiontalk.images.preprocessing import Preprocessing
from regiontalk.records import Example, FloatArray
from regiontalk.runtime.predictor import PhotoFeatures

BATCH = 32


@dataclass(frozen=True)
class PhotoBatch:
    """B photos and what the backbone left of them.

    Attributes:
        examples: B examples.
        photo_sizes_wh: width and height of the B photo *files*; annotations may refer to another
            size.
        features: of the B photos.
        preprocessing: from file to network.
    """

    examples: tuple[Example, ...]
    photo_sizes_wh: tuple[tuple[int, int], ...]
    features: PhotoFeatures
    preprocessing: Preprocessing

    def __len__(self) -> int:
        return len(self.examples)

    def take(self, rows: Sequence[int]) -> PhotoBatch:
        """The chosen photos, every field sliced together."""
        return PhotoBatch(
            tuple(self.examples[row] for row in rows),
            tuple(self.photo_sizes_wh[row] for row in rows),
            self.features.take(rows),
            self.preprocessing,
        )

    def annotated_wh(self, row: int) -> tuple[int, int]:
        """The size that the annotated boxes of a photo refer to.

        Its file's where nothing else is said.
        """
        return self.examples[row].size_wh or self.photo_sizes_wh[row]

    def to_network(self, row: int, boxes_xyxy: FloatArray) -> FloatArray:
        """Annotated boxes (N, 4) of a photo in network pixels."""
        photo_wh = self.photo_sizes_wh[row]
        annotated_xyxy = boxes_xyxy.reshape(-1, 4)
        stored = box_ops.rescale(annotated_xyxy, self.annotated_wh(row), photo_wh)
        return self.preprocessing.to_network(stored, photo_wh)

    def to_annotation(self, row: int, boxes_xyxy: FloatArray) -> FloatArray:
        """Boxes (N, 4) in network pixels as the annotation of a photo counts them.

        One in the padding has no area.
        """
        photo_wh = self.photo_sizes_wh[row]
        stored = self.preprocessing.to_original(boxes_xyxy, photo_wh)
        return box_ops.rescale(stored, photo_wh, self.annotated_wh(row))

    def visible(self, row: int, boxes_xyxy: FloatArray) -> NDArray[np.bool_]:
        """Which boxes (N, 4) in network pixels show something of a photo.

        Others are padding of a letterboxed one.
        """
        return visible(
            self.preprocessing.to_original(boxes_xyxy, self.photo_sizes_wh[row])
        )


class EncodedPhotos:
    """The photos of a data set as batches, as often as they are asked for."""

    def __init__(
        self,
        captioner: RegionCaptioner,
        examples: Sequence[Example],
        *,
        batch: int = BATCH,
        keep: bool = False,
        done: Callable[[int], None] = lambda photos: None,
    ) -> None:
        """Take the photos; nothing is opened yet.

        Args:
            captioner: the model.
            examples: the data set.
            batch: photos that run through the backbone together.
            keep: hold all maps in memory after the first walk.
            done: told when a batch has been dealt with how many photos of this walk have.

        Raises:
            ValueError: there is no example.
        """
        if not examples:
            raise ValueError(
                "photos: expected at least one, got none; check the split and its list"
            )
        self.captioner = captioner
        self.examples = tuple(examples)
        self.broken: list[str] = []
        self.done = done
        self._batch = batch
        self._keep = keep
        self._kept_batches: list[PhotoBatch] | None = None

    def __iter__(self) -> Iterator[PhotoBatch]:
        if self._kept_batches is not None:
            done = 0
            for batch in self._kept_batches:
                yield batch
                done += len(batch)
                self.done(done)
            return
        self.broken = []
        batches: list[PhotoBatch] = []
        for start in range(0, len(self.examples), self._batch):
            encoded = self._encode(self.examples[start : start + self._batch])
            if encoded is not None:
                if self._keep:
                    batches.append(encoded)
                yield encoded
            self.done(min(start + self._batch, len(self.examples)))
        if self._keep:
            self._kept_batches = batches

    def _encode(self, examples: Sequence[Example]) -> PhotoBatch | None:
        """One batch; photos that cannot be opened are left out and named in ``broken``."""
        preprocessing = self.captioner.preprocessing
        examples_opened: list[Example] = []
        photos: list[Photo] = []
        for example in examples:
            try:
                photo = open_photo(
                    example.photo,
                    max_pixels=self.captioner.max_pixels,
                    at_least=preprocessing.size,
                )
            except ImageError as error:
                self.broken.append(str(error))
                continue
            examples_opened.append(example)
            photos.append(photo)
        if not photos:
            return None
        sizes_wh = tuple(photo.size_wh for photo in photos)
        features = self.captioner.encode(photos)
        return PhotoBatch(tuple(examples_opened), sizes_wh, features, preprocessing)


def pad_with_whole(boxes: Sequence[FloatArray], size: int) -> FloatArray:
    """Boxes of several photos in network pixels as (B, N, 4), N at least 1.

    Rows left over hold the whole photo.
    """
    width = max(1, max((len(rows) for rows in boxes), default=0))
    photo_xyxy = np.array([0, 0, size, size], dtype=np.float32)
    padded = np.tile(photo_xyxy, (len(boxes), width, 1))
    for row, photo_boxes in enumerate(boxes):
        padded[row, : len(photo_boxes)] = photo_boxes
    return padded


def box_features(
    captioner: RegionCaptioner, batch: PhotoBatch, boxes: Sequence[FloatArray]
) -> list[FloatArray]:
    """Region features (n, F) of each photo's own boxes (n, 4) in network pixels."""
    padded = pad_with_whole(boxes, captioner.config.extractor.size)
    features = captioner.predictor.region_features(batch.features, padded)
    return [
        rows[: len(photo_boxes)]
        for rows, photo_boxes in zip(features, boxes, strict=True)
    ]
