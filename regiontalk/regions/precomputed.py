"""Region vectors that somebody else computed (the bottom-up and SCAN sets) in the place of an extractor's own.

A model trained on them looks at no pixel: `GivenExtractor` has no weights, and its maps
(`given_maps`) are the boxes and vectors of `PrecomputedRegions`. A photo may have fewer regions
than the model reads: the places left over hold an empty box, the score 0 and a vector of zeros, and
nothing counts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from regiontalk.images.open import ImageError, open_photo
from regiontalk.images.preprocessing import Preprocessing
from regiontalk.records import Example, FloatArray, Regions
from regiontalk.regions.extractor import ExtractorConfig, Maps, OnePassExtractor
from regiontalk.regions.sources import PrecomputedRegions

_MOST = float(np.finfo(np.float16).max)  # training keeps vectors in fp16


class GivenConfig(BaseModel):
    """What a model expects of given features."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    features: int = Field(ge=1, description="F, the length of a region vector")
    regions: int = Field(
        ge=0,
        description="most regions of a photo beside the whole photo; the best by score are read",
    )


class GivenExtractor(OnePassExtractor):
    """An extractor without weights: what it says of a photo stands in the maps that `given_maps` makes."""

    def __init__(self, *, given: GivenConfig, config: ExtractorConfig) -> None:
        """Take the length of the vectors; of ``config`` only the network picture's size and fit count."""
        nn.Module.__init__(self)  # not the parent's: there is no backbone
        self.config = config
        self.stride = 1
        self.map_size = self.cell_size = self.vector_size = given.features

    def forward(self, pixels: Tensor) -> Maps:
        """Refused: there is nothing to see here.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "this model reads given features: expected maps made by given_maps, got pixels"
        )

    def fold(self) -> None:
        """Nothing to fold."""

    def propose(self, maps: Maps, count: int) -> tuple[Tensor, Tensor]:
        """The whole picture and the first ``count`` given boxes, fewer where fewer are read: (B, 1 + N, 4), (B, 1 + N).

        An empty box of score 0 is no region.
        """
        return maps.boxes_xyxy[:, : 1 + count], maps.objectness[:, : 1 + count]

    def vectors(self, maps: Maps, boxes_xyxy: Tensor) -> Tensor:
        """Region vectors (B, N, F) of the first boxes (B, N, 4) of `propose`.

        Raises:
            ValueError: other boxes, for which nobody computed anything.
        """
        count = boxes_xyxy.shape[1]
        if not torch.equal(maps.boxes_xyxy[:, :count], boxes_xyxy):
            raise ValueError(
                "this model reads given features: expected their own boxes, got others, which have none"
            )
        return maps.regions[:, :count]

    def grids(self, maps: Maps, boxes_xyxy: Tensor, bins: int = 0) -> Tensor:
        """Refused: a given vector has no cells.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "this model reads given features, one vector a box: there are no cells to look at"
        )


def given_maps(
    found: Sequence[tuple[Regions, FloatArray]], preprocessing: Preprocessing, config: GivenConfig
) -> Maps:
    """The regions of B photos in network pixels, each cut or filled up to ``config.regions`` beside the whole photo.

    Args:
        found: of each photo what `read_given` gives.
        preprocessing: leads from the photo's pixels to the network's.
        config: sizes.
    """
    width, size = 1 + config.regions, preprocessing.size
    vectors = np.zeros((len(found), width, config.features), dtype=np.float32)
    boxes = np.zeros((len(found), width, 4), dtype=np.float32)
    scores = np.zeros((len(found), width), dtype=np.float32)
    for row, (regions, own) in enumerate(found):
        kept = regions[:width]
        vectors[row, : len(kept)] = own[:width]
        boxes[row, : len(kept)] = preprocessing.to_network(kept.boxes_xyxy, kept.size_wh)
        boxes[row, 0] = [0, 0, size, size]
        scores[row, : len(kept)] = kept.scores.clip(min=1e-6)  # 0 is an empty place
    return Maps(torch.from_numpy(vectors), torch.from_numpy(scores), torch.from_numpy(boxes))


def read_given(
    source: PrecomputedRegions,
    photo: Path | str,
    size_wh: tuple[int, int] | None,
    features: int | None = None,
) -> tuple[Regions, FloatArray]:
    """The regions of one photo, and their vectors (N, F).

    Args:
        source: where they are.
        photo: path of the picture; its name finds them.
        size_wh: of the picture in pixels; None where the file of the features says it.
        features: the length that the vectors must have; None takes any.

    Raises:
        FileNotFoundError: there is nothing for this photo.
        ValueError: the file is not as described, or its vectors have another length or are no fp16
            numbers.
    """
    regions = source.read(Path(photo).stem, size_wh)
    vectors = regions.features
    if (
        vectors is None
        or not vectors.shape[1]
        or vectors.shape[1] != (features or vectors.shape[1])
    ):
        length = 0 if vectors is None else vectors.shape[1]
        wanted = features or "1 or more"
        raise ValueError(
            f"{source.path}: {Path(photo).name}: expected features of length {wanted}, got {length}; "
            "name one set for training and use"
        )
    if not (np.abs(vectors) <= _MOST).all():
        raise ValueError(
            f"{source.path}: {Path(photo).name}: expected numbers within {_MOST:g}, got larger or not finite"
        )
    return regions, vectors


def size_of(photo: Path) -> tuple[int, int] | None:
    """Width and height of a picture file; None where it cannot be opened."""
    try:
        return open_photo(photo, at_least=1).size_wh
    except ImageError:
        return None


def with_features(
    source: PrecomputedRegions, examples: Sequence[Example]
) -> tuple[list[Example], list[str]]:
    """The photos for which there are features, and a line on the others where there are any.

    Raises:
        ValueError: no photo has features, or two photos have one name.
    """
    kept: list[Example] = []
    lost: list[str] = []
    for example in examples:
        if source.holds(example.photo.stem):
            kept.append(example)
        else:
            lost.append(example.photo.name)
    if not kept:
        names = ", ".join(example.photo.stem for example in examples[:3])
        raise ValueError(
            f"{source.path}: expected features named after the photos ({names} ...), got none of these"
        )
    names_seen: dict[str, Path] = {}
    for example in kept:
        if (other := names_seen.setdefault(example.photo.stem, example.photo)) != example.photo:
            raise ValueError(
                f"{other} and {example.photo}: expected two names, by which features are found; rename one"
            )
    return kept, [
        f"{len(lost)} of {len(examples)} photos have no features, left out ({lost[0]})"
    ] if lost else []
