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
from dataclasses import dataclass

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
    rows = [_count(photo, class_words, threshold, by_class) for photo in photos]
    counts = np.array(rows, dtype=np.float64)  # (photos, 5)

    def figures(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        worded, judged, correct, large, named = np.moveaxis(sums, -1, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.stack([worded / len(photos), correct / judged, named / large], axis=-1)

    words, precision, coverage = bootstrap_sums(counts, figures, resamples=resamples)
    _, judged, correct, large, named = (int(total) for total in counts.sum(axis=0))
    totals = {name: (count[0], count[1]) for name, count in sorted(by_class.items())}
    return NameFigures(words, precision, coverage, judged, correct, large, named, totals)


def threshold_curve(
    photos: Sequence[NamedPhoto],
    class_words: ClassWords,
    thresholds: Sequence[float] = THRESHOLDS,
) -> dict[float, NameFigures]:
    """The figures at each threshold, without intervals worth reading (one draw each)."""
    return {value: score_names(photos, class_words, value, resamples=1) for value in thresholds}


def judge_regions(
    photo: NamedPhoto, class_words: ClassWords
) -> tuple[list[bool | None], NDArray[np.bool_]]:
    """What is right in one photo.

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
    says = np.zeros(meets.shape, dtype=bool)
    for column, name in enumerate(photo.classes):
        for row, text in enumerate(photo.texts):
            if meets[row, column]:
                says[row, column] = names_class(text, class_words[name])
    correct = [
        bool(says[row].any()) if text and meets[row].any() else None
        for row, text in enumerate(photo.texts)
    ]
    return correct, says


def _count(
    photo: NamedPhoto, class_words: ClassWords, threshold: float, by_class: dict[str, list[int]]
) -> tuple[int, int, int, int, int]:
    """Regions with words, judged, correct, large objects and named ones of one photo."""
    is_worded = [
        bool(text) and confidence >= threshold
        for text, confidence in zip(photo.texts, photo.confidences, strict=True)
    ]
    texts = [text if worded else "" for text, worded in zip(photo.texts, is_worded, strict=True)]
    shown = NamedPhoto(
        texts,
        photo.confidences,
        photo.boxes_xyxy,
        photo.classes,
        photo.objects_xyxy,
        photo.size_wh,
    )
    correct, says = judge_regions(shown, class_words)
    width, height = photo.size_wh
    is_large = box_ops.area(np.asarray(photo.objects_xyxy, np.float32).reshape(-1, 4)) > (
        LARGE_SHARE * width * height
    )
    is_named = says.any(axis=0) & is_large
    for column in np.flatnonzero(is_large).tolist():
        by_class[photo.classes[column]][0] += 1
        by_class[photo.classes[column]][1] += int(is_named[column])
    judged = sum(value is not None for value in correct)
    right = sum(value is True for value in correct)
    return sum(is_worded), judged, right, int(is_large.sum()), int(is_named.sum())
