"""How well words on regions name the annotated objects of a photo.

A region *meets* an object where their IoU is 0.5 or more. Over all photos:

- *words a photo*: regions that have words;
- *precision*: of the regions with words that meet an object, the share whose words name one that
  they meet. A region that meets none is not judged: people do not annotate everything;
- *coverage*: of the objects over 1 % of their photo, the share that some region with words meets
  and names.

Names are compared by words: a class is named where one of its words or phrases stands in the
caption (`names_class`). N regions, G objects.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from regiontalk import boxes as box_ops
from regiontalk.metrics.bootstrap import Interval, bootstrap_sums
from regiontalk.records import FloatArray
from regiontalk.text.vocabulary import tokenize

MEETS_IOU = 0.5
LARGE_SHARE = 0.01  # of the photo's area; smaller objects are not asked for
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(20))

ClassWords = Mapping[str, Sequence[str]]
"""Class name to the words and phrases that name it."""


@dataclass(frozen=True)
class NamedPhoto:
    """The regions and the objects of one photo.

    Attributes:
        texts: (N,) captions; "" where a region has no words.
        confidences: (N,) in 0..1.
        boxes_xyxy: (N, 4) of the regions, in the pixels of the objects.
        classes: (G,) class of each object.
        objects_xyxy: (G, 4).
        size_wh: of the photo, in the same pixels.
    """

    texts: Sequence[str]
    confidences: Sequence[float]
    boxes_xyxy: FloatArray
    classes: Sequence[str]
    objects_xyxy: FloatArray
    size_wh: tuple[int, int]


@dataclass(frozen=True)
class NameFigures:
    """The figures of a set of photos.

    Attributes:
        words: regions with words a photo.
        precision: nan where no region could be judged.
        coverage: nan where no object is large enough.
        judged: regions that meet an object.
        correct: of those, regions that name one.
        objects: objects over `LARGE_SHARE`.
        named: of those, objects that are named.
        by_class: class -> (large objects, of them named).
    """

    words: Interval
    precision: Interval
    coverage: Interval
    judged: int
    correct: int
    objects: int
    named: int
    by_class: Mapping[str, tuple[int, int]]


def names_class(text: str, words: Sequence[str]) -> bool:
    """Whether one of a class's words or phrases stands in a text, token by token.

    >>> names_class("a red stop sign", ["stop sign"]), names_class("a signpost", ["sign"])
    (True, False)
    """
    padded = f" {' '.join(tokenize(text))} "
    return any(f" {' '.join(tokenize(word))} " in padded for word in words)


def score_names(
    photos: Sequence[NamedPhoto],
    class_words: ClassWords,
    threshold: float = 0.0,
    *,
    resamples: int = 1000,
) -> NameFigures:
    """The figures of the regions whose confidence is at least a threshold.

    Args:
        photos: at least one.
        class_words: what names each class.
        threshold: regions below it count as without words.
        resamples: bootstrap draws of photos.

    Raises:
        ValueError: no photo, or a class without words.
    """
    if not photos:
        raise ValueError("names: expected at least one photo with objects, got none")
    by_class: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    counts = [_count(photo, class_words, threshold, by_class) for photo in photos]

    def figures(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        worded, judged, correct, large, named = np.moveaxis(sums, -1, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.stack(
                [worded / len(photos), correct / judged, named / large], axis=-1
            )

    words, precision, coverage = bootstrap_sums(
        np.array(counts), figures, resamples=resamples
    )
    _, judged, correct, large, named = map(sum, zip(*counts, strict=True))
    totals = {
        name: (objects[0], objects[1]) for name, objects in sorted(by_class.items())
    }
    return NameFigures(
        words, precision, coverage, judged, correct, large, named, totals
    )


def threshold_curve(
    photos: Sequence[NamedPhoto],
    class_words: ClassWords,
    thresholds: Sequence[float] = THRESHOLDS,
) -> dict[float, NameFigures]:
    """The figures at each threshold, without intervals worth reading (one draw each)."""
    return {
        value: score_names(photos, class_words, value, resamples=1)
        for value in thresholds
    }


def judge_regions(
    photo: NamedPhoto, class_words: ClassWords
) -> tuple[list[bool | None], NDArray[np.bool_]]:
    """What is correct in one photo.

    Returns:
        For each region whether it names an object that it meets, None where it meets none or has no
        words; and (N, G), True = region n meets and names object g.

    Raises:
        ValueError: a class without words.
    """
    unknown = sorted(set(photo.classes) - set(class_words))
    if unknown:
        raise ValueError(
            f"class words: expected words for {unknown[0]!r}, got none; add it to the file, such as "
            f'{{"{unknown[0]}": ["{unknown[0]}"]}}'
        )
    regions = np.asarray(photo.boxes_xyxy, np.float32).reshape(-1, 4)
    objects = np.asarray(photo.objects_xyxy, np.float32).reshape(-1, 4)
    meets = box_ops.iou(regions, objects) >= MEETS_IOU  # (N, G)
    names = np.zeros(meets.shape, dtype=bool)
    for region, column in np.argwhere(meets).tolist():
        words = class_words[photo.classes[column]]
        names[region, column] = names_class(photo.texts[region], words)
    is_correct = []
    for region, text in enumerate(photo.texts):
        is_judged = bool(text) and meets[region].any()
        is_correct.append(bool(names[region].any()) if is_judged else None)
    return is_correct, names


class _Counts(NamedTuple):
    """What was counted: regions with words, judged, correct, large objects, and named ones."""

    worded: int
    judged: int
    correct: int
    large: int
    named: int


def _count(
    photo: NamedPhoto,
    class_words: ClassWords,
    threshold: float,
    by_class: dict[str, list[int]],
) -> _Counts:
    """The counts of one photo; adds its large objects, all and named, to those of their classes."""
    texts = [
        text if confidence >= threshold else ""
        for text, confidence in zip(photo.texts, photo.confidences, strict=True)
    ]
    is_correct, names = judge_regions(replace(photo, texts=texts), class_words)
    width, height = photo.size_wh
    objects_xyxy = np.asarray(photo.objects_xyxy, np.float32).reshape(-1, 4)
    is_large = box_ops.area(objects_xyxy) > LARGE_SHARE * width * height
    is_named = names.any(axis=0) & is_large
    for column in np.flatnonzero(is_large).tolist():
        class_count = by_class[photo.classes[column]]
        class_count[0] += 1
        class_count[1] += int(is_named[column])
    return _Counts(
        worded=sum(map(bool, texts)),
        judged=sum(value is not None for value in is_correct),
        correct=sum(value is True for value in is_correct),
        large=int(is_large.sum()),
        named=int(is_named.sum()),
    )
