"""Features of a whole data set under a frozen extractor, on disk with their boxes.

Computed once, read many times. Each photo has one or more views: view 0 is the photo
itself, the others are augmented. Rows are view by view, so the first rows are the
photos in order.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regiontalk.images.preprocessing import Preprocessing
from regiontalk.model.weights import fingerprint
from regiontalk.records import Example
from regiontalk.regions.cache import FeatureCache
from regiontalk.regions.extractor import Maps, OnePassExtractor
from regiontalk.train.changes import photos_hash
from regiontalk.train.loop import Log
from regiontalk.train.photos import (
    AUGMENT,
    AugmentConfig,
    Changes,
    PictureStore,
    change_boxes,
    change_pixels,
    draw_changes,
    jitter_boxes,
    pad_boxes,
)

SETTLING = 500  # photos that statistics are taken from
_TOGETHER = 64  # photos a forward pass
_TOLD_EVERY = 1024  # rows between two lines of progress
_HASHED_TOGETHER = 1024  # photos whose vectors are in memory at a time

Key = dict[str, str | int | float]
"""What cached arrays depend on, by name."""


@dataclass(frozen=True)
class FrozenFeatures:
    """Memory-mapped features.

    Attributes:
        photos: M, photos of the data set; there are M * views rows.
        boxes_xyxy: (rows, 1 + N, 4) network pixels, row 0 of each the whole picture.
        vectors: (rows, 1 + N, F) fp16 region vectors of those boxes.
        objectness: (rows, 1 + N) fp16, 1 for the whole picture.
        maps: (rows, F, h, w) fp16 region maps, or None where they were not asked for.
        taught_boxes: (rows, G, 4) network pixels, boxes that people or detectors drew, where they
            lie in each view, padded with zeros, which also stand for a box that a view has lost; or
            None.
        taught: (rows, G, F) fp16 region vectors of those.
        found: (rows,) regions that there are beside the whole photo, N or more where all places are
            filled; None = all.
    """

    photos: int
    boxes_xyxy: NDArray[Any]
    vectors: NDArray[Any]
    objectness: NDArray[Any]
    maps: NDArray[Any] | None = None
    found: NDArray[Any] | None = None
    taught_boxes: NDArray[Any] | None = None
    taught: NDArray[Any] | None = None

    @property
    def views(self) -> int:
        """Rows of each photo."""
        return len(self.vectors) // self.photos

    def read_vectors(self, rows: Sequence[int]) -> Tensor:
        """Region vectors (B, 1 + N, F) in float32."""
        return torch.from_numpy(
            self.vectors[np.asarray(rows, dtype=np.int64)].astype(np.float32)
        )

    def read_boxes(self, rows: Sequence[int]) -> Tensor:
        """Boxes (B, 1 + N, 4) in network pixels."""
        return torch.from_numpy(
            self.boxes_xyxy[np.asarray(rows, dtype=np.int64)].astype(np.float32)
        )

    def read_objectness(self, rows: Sequence[int]) -> Tensor:
        """Objectness (B, 1 + N) of those boxes in float32."""
        return torch.from_numpy(
            self.objectness[np.asarray(rows, dtype=np.int64)].astype(np.float32)
        )

    def read_mask(self, rows: Sequence[int]) -> Tensor:
        """Which places (B, 1 + N) hold a region: True = one does."""
        places = torch.arange(self.vectors.shape[1])
        if self.found is None:
            return torch.ones(len(rows), len(places), dtype=torch.bool)
        return (
            places
            <= torch.from_numpy(
                self.found[np.asarray(rows, dtype=np.int64)].astype(np.int64)
            )[:, None]
        )

    def find_vectors(self, rows: Sequence[int], boxes_xyxy: Tensor) -> Tensor:
        """Region vectors (B, M, F) of boxes (B, M, 4) that are among the cached ones.

        Zeros are padding.
        """
        indices = np.asarray(rows, dtype=np.int64)
        cached_boxes, cached_vectors = self.boxes_xyxy[indices], self.vectors[indices]
        if self.taught_boxes is not None and self.taught is not None:
            cached_boxes = np.concatenate(
                [cached_boxes, self.taught_boxes[indices]], axis=1
            )
            cached_vectors = np.concatenate(
                [cached_vectors, self.taught[indices]], axis=1
            )
        distances = (
            (boxes_xyxy[:, :, None] - torch.from_numpy(cached_boxes)[:, None])
            .abs()
            .amax(-1)
        )  # (B, M, K)
        nearest = distances.min(2)
        is_padding = (boxes_xyxy == 0).all(2)
        if (nearest.values[~is_padding] > 1e-3).any():
            raise ValueError(
                "features: expected boxes whose vectors were cached, got another; build them anew"
            )
        vectors = torch.from_numpy(cached_vectors.astype(np.float32))
        return vectors.gather(
            1, nearest.indices[..., None].expand(-1, -1, vectors.shape[2])
        )

    def fingerprint(self) -> str:
        """A hash of every vector and box, so that another set is never taken for this one."""
        digest = hashlib.sha256(repr(self.vectors.shape).encode())
        for first in range(0, len(self.vectors), _HASHED_TOGETHER):
            digest.update(self.vectors[first : first + _HASHED_TOGETHER].tobytes())
            digest.update(self.boxes_xyxy[first : first + _HASHED_TOGETHER].tobytes())
        return digest.hexdigest()

    def read_maps(self, rows: Sequence[int]) -> Maps:
        """Region maps as the extractor leaves them, without its proposals."""
        if self.maps is None:
            raise ValueError(
                "features: expected region maps, got a set cached without them"
            )
        regions = torch.from_numpy(
            self.maps[np.asarray(rows, dtype=np.int64)].astype(np.float32)
        )
        return Maps(
            regions, regions.new_zeros(len(rows), 0), regions.new_zeros(len(rows), 0, 4)
        )


def freeze_features(
    extractor: OnePassExtractor,
    examples: Sequence[Example],
    store: Callable[[], PictureStore],
    path: Path,
    *,
    regions: int,
    views: int = 1,
    maps: bool = False,
    taught: Sequence[NDArray[np.float32]] = (),
    changes: AugmentConfig = AUGMENT,
    log: Log = lambda line: None,
) -> FrozenFeatures:
    """Compute (or find on disk) the features of every view of every photo.

    Args:
        extractor: in evaluation mode.
        examples: the data set; names the rows.
        store: gives its pictures, and is only asked where something has to be computed.
        path: cache file; it is rebuilt where the extractor, the pictures or the settings have
            changed.
        regions: proposals beside the whole photo.
        views: 1 for the photos themselves; more for augmented copies.
        maps: keep the region maps too, for soft attention.
        taught: of each photo more boxes (G, 4) in network pixels whose vectors are kept, wherever
            they lie in a view.
        changes: how the copies differ from the photos.
        log: takes one line of progress now and then.
    """
    views_of_photos = _Views(
        extractor, len(examples), store, regions, maps, taught, changes
    )
    key = views_of_photos.key(examples, views)

    def progress(done: int, total: int) -> None:
        if done % _TOLD_EVERY == 0 or done == total:
            log(f"features {done}/{total}")

    names = [f"{example.id}#{view}" for view in range(views) for example in examples]
    cached = FeatureCache(path, key).open_or_build(
        names, views_of_photos.build, views_of_photos.arrays(), progress
    )
    return FrozenFeatures(
        len(examples),
        cached["boxes"],
        cached["vectors"],
        cached["objectness"],
        cached.get("maps"),
        taught_boxes=cached.get("taught_boxes"),
        taught=cached.get("taught"),
    )


class _Views:
    """What a cache holds of the views of photos, and how a block of it is computed."""

    def __init__(
        self,
        extractor: OnePassExtractor,
        photos: int,
        store: Callable[[], PictureStore],
        regions: int,
        maps: bool,
        taught: Sequence[NDArray[np.float32]],
        changes: AugmentConfig,
    ) -> None:
        """Take the arguments of `freeze_features`; ``photos`` is the length of the data set."""
        self.extractor = extractor
        self.photos = photos
        self.store = store
        self.regions = regions
        self.has_maps = maps
        self.taught = taught
        self.changes = changes
        self.taught_count = max(map(len, taught), default=0)
        self.device = next(extractor.parameters()).device

    def key(self, examples: Sequence[Example], views: int) -> Key:
        """What the arrays of so many views of the photos depend on."""
        key: Key = {
            "extractor": fingerprint(self.extractor),
            "size": self.extractor.config.size,
            "regions": self.regions,
            "views": views,
            "photos": photos_hash(examples),
        }
        key |= _beside_weights(self.extractor)
        if self.taught_count:
            taught_bytes = b"".join(boxes.tobytes() + b"|" for boxes in self.taught)
            key["taught"] = hashlib.sha256(taught_bytes).hexdigest()
            if views > 1:
                # an earlier version kept them for view 0 alone
                key["taught_views"] = "all"
        if views > 1 and self.changes != AUGMENT:
            # else nothing differs from the default copies, or from none
            key["changes"] = self.changes.model_dump_json(by_alias=True)
        return key

    def arrays(self) -> dict[str, tuple[tuple[int, ...], Any]]:
        """Shape and type of each array of a row."""
        extractor, count = self.extractor, 1 + self.regions
        cells = extractor.config.size // extractor.stride
        arrays: dict[str, tuple[tuple[int, ...], Any]] = {
            "boxes": ((count, 4), "float32"),
            "vectors": ((count, extractor.vector_size), "float16"),
            "objectness": ((count,), "float16"),
        }
        if self.has_maps:
            arrays["maps"] = ((extractor.map_size, cells, cells), "float16")
        if self.taught_count:
            arrays["taught_boxes"] = ((self.taught_count, 4), "float32")
            arrays["taught"] = ((self.taught_count, extractor.vector_size), "float16")
        return arrays

    @torch.inference_mode()
    def build(self, rows: Sequence[int]) -> Mapping[str, NDArray[Any]]:
        """The arrays of some rows; the views after the first are augmented, by a seed a block."""
        changes = self._draw(rows)
        pixels = self._pixels(rows, changes)
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            maps = self.extractor.in_chunks(pixels)
            boxes, objectness = self.extractor.propose(maps, self.regions)
            vectors = self.extractor.vectors(maps, boxes)
        values = {
            "boxes": boxes.float().cpu().numpy(),
            "vectors": _half(vectors),
            "objectness": _half(objectness),
        }
        if self.taught_count:
            taught_boxes = self._taught_boxes(rows, changes)
            with torch.autocast(self.device.type, dtype=torch.bfloat16):
                taught = self.extractor.vectors(
                    maps, torch.from_numpy(taught_boxes).to(self.device)
                )
            values |= {"taught_boxes": taught_boxes, "taught": _half(taught)}
        if self.has_maps:
            values["maps"] = _half(maps.regions)
        return values

    def _draw(self, rows: Sequence[int]) -> Changes | None:
        """How the rows of augmented views are changed; None where there are none."""
        augmented_rows = [row for row in rows if row >= self.photos]
        if not augmented_rows:
            return None
        torch.manual_seed(augmented_rows[0])
        return draw_changes(len(augmented_rows), self.changes)

    def _pixels(self, rows: Sequence[int], changes: Changes | None) -> Tensor:
        """Network input (B, 3, S, S); the changes are those of the last rows."""
        store = self.store()
        pixels = store.pixels[torch.tensor([row % self.photos for row in rows])].float()
        if changes is not None:
            first = len(rows) - len(changes.flip)
            pixels[first:] = change_pixels(pixels[first:], changes)
        pixels = store.normalise(pixels).to(self.device)
        return pixels.contiguous(memory_format=torch.channels_last)

    def _taught_boxes(
        self, rows: Sequence[int], changes: Changes | None
    ) -> NDArray[np.float32]:
        """Where the taught boxes lie, (B, G, 4); zeros for padding and for boxes that are lost."""
        boxes, mask = pad_boxes([self.taught[row % self.photos] for row in rows])
        if changes is not None:
            size, first = self.extractor.config.size, len(rows) - len(changes.flip)
            moved, is_visible = change_boxes(boxes[first:], mask[first:], changes, size)
            moved = jitter_boxes(moved, self.changes.jitter, size)
            boxes[first:] = moved * is_visible[..., None]
        padded = np.zeros((len(rows), self.taught_count, 4), dtype=np.float32)
        padded[:, : boxes.shape[1]] = boxes.numpy()
        return padded


def _half(values: Tensor) -> NDArray[np.float16]:
    """Values as they are kept."""
    return values.float().cpu().numpy().astype(np.float16)


def _beside_weights(extractor: OnePassExtractor) -> Key:
    """What shapes features and is not in the weights, where it is not as usual."""
    config, defaults = extractor.config, type(extractor.config)()
    # the names by which the files of earlier versions know them
    fields = {
        "pixels": "pixels",
        "fit": "fit",
        "overlap": "nms_iou",
        "same_padding": "same_padding",
    }
    return {
        name: getattr(config, field)
        for name, field in fields.items()
        if getattr(config, field) != getattr(defaults, field)
    }


def settle_statistics(
    extractor: OnePassExtractor,
    examples: Sequence[Example],
    preprocessing: Preprocessing,
    path: Path,
    log: Log,
) -> None:
    """Give the norm of a map without a neck the statistics of the first photos.

    Where no stage has trained them. Without that the map would be as the backbone
    leaves it, its two halves on scales of their own. The figures are kept in a file:
    another number of threads adds up in another order, and a run must go on with the
    very same.

    Args:
        extractor: changed in place; one with a neck, with crops or with statistics of its own stays
            as it is.
        examples: the data set; its first `SETTLING` photos are looked at, as they are.
        preprocessing: of the model.
        path: the file.
        log: takes one line where something has to be computed.
    """
    norm = _unsettled_norm(extractor)
    if norm is None:
        return
    first_photos = list(examples[:SETTLING])

    def build(rows: Sequence[int]) -> Mapping[str, NDArray[Any]]:
        log(f"statistics of the map from {len(first_photos)} photos")
        mean, variance = _measure_map(
            extractor, norm, PictureStore(first_photos, preprocessing)
        )
        return {
            "mean": mean.cpu().numpy()[None],
            "variance": variance.cpu().numpy()[None],
        }

    shape = ((extractor.map_size,), "float32")
    key: Key = {
        "extractor": fingerprint(extractor),
        **_beside_weights(extractor),
        "size": extractor.config.size,
        "photos": photos_hash(first_photos),
    }
    extractor.eval()
    cached = FeatureCache(path, key).open_or_build(
        ["map"], build, {"mean": shape, "variance": shape}
    )
    batches = math.ceil(len(first_photos) / _TOGETHER)
    _set_statistics(norm, cached["mean"][0], cached["variance"][0], batches)


def _set_statistics(
    norm: nn.BatchNorm2d, mean: NDArray[Any], variance: NDArray[Any], batches: int
) -> None:
    """Give a norm the mean (F,) and the variance (F,) of so many batches."""
    if norm.running_mean is None or norm.running_var is None:
        raise RuntimeError("expected a batch norm with running statistics")
    norm.running_mean.copy_(torch.from_numpy(np.array(mean)))
    norm.running_var.copy_(torch.from_numpy(np.array(variance)))
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.fill_(batches)


def _unsettled_norm(extractor: OnePassExtractor) -> nn.BatchNorm2d | None:
    """The norm of a map that has statistics of its own and has not learnt them.

    None for every other extractor.
    """
    norm = getattr(extractor, "norm", None)  # given features have none
    if extractor.config.neck or extractor.config.crops is not None:
        return None
    if not isinstance(norm, nn.BatchNorm2d) or norm.num_batches_tracked is None:
        return None
    return None if int(norm.num_batches_tracked) else norm


@torch.inference_mode()
def _measure_map(
    extractor: OnePassExtractor, norm: nn.BatchNorm2d, store: PictureStore
) -> tuple[Tensor, Tensor]:
    """Mean (F,) and variance (F,) of a map before its norm, over all photos of a store."""
    device = next(extractor.parameters()).device
    # momentum None: the mean of all batches
    measuring = nn.BatchNorm2d(extractor.map_size, affine=False, momentum=None).to(
        device
    )
    extractor.norm = measuring
    try:
        for first in range(0, len(store.pixels), _TOGETHER):
            last = min(first + _TOGETHER, len(store.pixels))
            pixels = store.batch(range(first, last)).to(device)
            extractor(pixels.contiguous(memory_format=torch.channels_last))
    finally:
        extractor.norm = norm
    mean, variance = measuring.running_mean, measuring.running_var
    if mean is None or variance is None:
        raise RuntimeError("expected a batch norm with running statistics")
    return mean, variance
