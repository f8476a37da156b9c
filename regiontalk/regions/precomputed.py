"""Region vectors that somebody else computed (the bottom-up and SCAN sets) in the place of an extractor's own.

A model trained on them looks at no pixel: `GivenExtractor` has no weights, and its maps
(`given_features`) are the boxes and vectors of `PrecomputedRegions`. A photo may have fewer regions
than the model reads: the places left over hold an empty box, the score 0 and a vector of zeros, and
nothing counts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from regiontalk.images.open import ImageError, open_photo
from regiontalk.images.preprocessing import Preprocessing
from regiontalk.records import Example, FloatArray, Regions
from regiontalk.regions.config import GivenConfig
from regiontalk.regions.sources import PrecomputedRegions

_MOST = float(np.finfo(np.float16).max)  # training keeps vectors in fp16


def given_features(
    found: Sequence[tuple[Regions, FloatArray]], preprocessing: Preprocessing, config: GivenConfig
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The regions of B photos in network pixels, each cut or filled up to ``config.regions`` beside the whole photo.

    Args:
        found: of each photo what `read_given` gives.
        preprocessing: leads from the photo's pixels to the network's.
        config: sizes.

    Returns:
        vectors (B, N, F), scores (B, N) in 0..1 and boxes (B, N, 4) in network pixels.
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
    return vectors, scores, boxes


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
