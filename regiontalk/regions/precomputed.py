"""Region vectors that somebody else computed, in the place of an extractor's own.

Such as the bottom-up and SCAN sets. A model trained on them looks at no pixel:
`PrecomputedExtractor` has no weights, and its maps (`precomputed_features`) are the
boxes and vectors of `PrecomputedRegions`. A photo may have fewer regions than the model
reads: the places left over hold an empty box, the score 0 and a vector of zeros, and
nothing counts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from regiontalk.images.open import ImageError, open_photo
from regiontalk.images.preprocessing import Preprocessing
from regiontalk.records import Example, FloatArray, Regions
from regiontalk.regions.config import PrecomputedConfig
from regiontalk.regions.sources import PrecomputedRegions

_MOST = float(np.finfo(np.float16).max)  # training keeps vectors in fp16


def precomputed_features(
    photos: Sequence[tuple[Regions, FloatArray]],
    preprocessing: Preprocessing,
    config: PrecomputedConfig,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The regions of B photos in network pixels.

    Each cut or filled up to ``config.regions`` beside the whole photo.

    Args:
        photos: of each photo what `read_precomputed` gives.
        preprocessing: leads from the photo's pixels to the network's.
        config: sizes.

    Returns:
        vectors (B, N, F), scores (B, N) in 0..1 and boxes (B, N, 4) in network pixels.
    """
    width, size = 1 + config.regions, preprocessing.size
    vectors = np.zeros((len(photos), width, config.features), dtype=np.float32)
    boxes = np.zeros((len(photos), width, 4), dtype=np.float32)
    scores = np.zeros((len(photos), width), dtype=np.float32)
    for row, (all_regions, region_features) in enumerate(photos):
        regions = all_regions[:width]
        count = len(regions)
        vectors[row, :count] = region_features[:width]
        boxes[row, :count] = preprocessing.to_network(
            regions.boxes_xyxy, regions.size_wh
        )
        boxes[row, 0] = [0, 0, size, size]
        scores[row, :count] = regions.scores.clip(min=1e-6)  # 0 is an empty place
    return vectors, scores, boxes


def read_precomputed(
    source: PrecomputedRegions,
    photo: Path | str,
    size_wh: tuple[int, int] | None,
    features: int | None = None,
) -> tuple[Regions, FloatArray]:
    """The regions of one photo, and their vectors (N, F).

    Args:
        source: where they are.
        photo: path of the photo; its name finds them.
        size_wh: of the photo in pixels; None where the file of the features says it.
        features: the length that the vectors must have; None takes any.

    Raises:
        FileNotFoundError: there is nothing for this photo.
        ValueError: the file is not as described, or its vectors have another length or are no fp16
            numbers.
    """
    regions = source.read(Path(photo).stem, size_wh)
    vectors = regions.features
    length = 0 if vectors is None else vectors.shape[1]
    if vectors is None or not length or length != (features or length):
        wanted = features or "1 or more"
        raise ValueError(
            f"{source.path}: {Path(photo).name}: expected features of length {wanted}, "
            f"got {length}; name one set for training and use"
        )
    if not (np.abs(vectors) <= _MOST).all():
        raise ValueError(
            f"{source.path}: {Path(photo).name}: expected numbers within {_MOST:g}, "
            "got larger or not finite"
        )
    return regions, vectors


def size_of(photo: Path) -> tuple[int, int] | None:
    """Width and height of a photo; None where it cannot be opened."""
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
    with_regions: list[Example] = []
    without: list[str] = []
    for example in examples:
        if source.holds(example.photo.stem):
            with_regions.append(example)
        else:
            without.append(example.photo.name)
    if not with_regions:
        names = ", ".join(example.photo.stem for example in examples[:3])
        raise ValueError(
            f"{source.path}: expected features named after the photos ({names} ...), "
            "got none of these"
        )
    _check_names([example.photo for example in with_regions])
    if not without:
        return with_regions, []
    line = f"{len(without)} of {len(examples)} photos have no features, left out ({without[0]})"
    return with_regions, [line]


def _check_names(photos: Sequence[Path]) -> None:
    """Refuse two photos of one name, by which their features are found."""
    photo_of: dict[str, Path] = {}
    for photo in photos:
        earlier = photo_of.setdefault(photo.stem, photo)
        if earlier != photo:
            raise ValueError(
                f"{earlier} and {photo}: expected two names, by which features are "
                "found; rename one"
            )
