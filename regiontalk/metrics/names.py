"""How well words on regions name the annotated objects of a photo.

A region *meets* an object where their IoU is 0.5 or more. Over all photos:

- *words a photo*: regions that have words;
- *precision*: of the regions with words that meet an object, the share whose words name one that
  they meet. A region that meets none is not judged: people do not annotate everything;
- *precision anywhere*: of all regions whose words name a class, the share that show one of it, on
  whatever box (`judge_name`): people do annotate every object of their classes, so the
  word is wrong elsewhere;
- *coverage*: of the objects over 1 % of their photo, the share that some region with words meets
  and names.

Names are compared by words: a class is named where one of its words or phrases stands in the
caption (`names_class`). N regions, G objects.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regiontalk import boxes as box_ops
from regiontalk.metrics.bootstrap import Interval, bootstrap_sums
from regiontalk.records import Example, FloatArray
from regiontalk.text.vocabulary import tokenize

MEETS_IOU, OVERLAPS_IOU = 0.5, 0.3
INSIDE = 0.7  # of a box that lies in an object: it shows a part of it
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
        precision_anywhere: nan where no words name a class.
        coverage: nan where no object is large enough.
        judged: regions that meet an object.
        correct: of those, regions that name one.
        objects: objects over `LARGE_SHARE`.
        named: of those, objects that are named.
        by_class: class -> (large objects, of them named).
    """

    words: Interval
    precision: Interval
    precision_anywhere: Interval
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
    return bool(classes_named(text, {"": words}))


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

    intervals = bootstrap_sums(np.array(counts), _shares, resamples=resamples)
    total = _Counts(*map(sum, zip(*counts, strict=True)))
    totals = {
        name: (objects[0], objects[1]) for name, objects in sorted(by_class.items())
    }
    words, precision, precision_anywhere, coverage = intervals
    return NameFigures(
        words=words,
        precision=precision,
        precision_anywhere=precision_anywhere,
        coverage=coverage,
        judged=total.judged,
        correct=total.correct,
        objects=total.large,
        named=total.named,
        by_class=totals,
    )


def _shares(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """The first four figures of `NameFigures` of sums of `_Counts` (..., K)."""
    counts = _Counts(*np.moveaxis(sums, -1, 0))
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = [
            counts.worded / counts.photos,
            counts.correct / counts.judged,
            counts.true / counts.of_classes,
            counts.named / counts.large,
        ]
    return np.stack(shares, axis=-1)


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
            f"class words: expected words for {unknown[0]!r}, got none; add it to the "
            "file, such as "
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


def judge_name(
    text: str,
    box_xyxy: FloatArray,
    classes: Sequence[str],
    objects_xyxy: FloatArray,
    class_words: ClassWords,
) -> bool | None:
    """Whether words are true of a box (4,) in a photo.

    The photo's objects (G, 4) of all classes are annotated. They are where an object of
    a class that they name meets the box, or holds `INSIDE` of it: a part of a thing may
    have the thing's name. They are not where there is no such object, or where they
    name no class and the box meets an object. Undecided (None) is all between: an
    object of the class that overlaps the box a little, or words of no class on a box
    that meets nothing.

    Args:
        text: the words; "" is undecided.
        box_xyxy: in the pixels of the objects.
        classes: (G,) class of each object, or a phrase that names it.
        objects_xyxy: (G, 4).
        class_words: what names each class.
    """
    if not text:
        return None
    objects = np.asarray(objects_xyxy, np.float32).reshape(-1, 4)
    ious = box_ops.iou(box_xyxy[None], objects)[0]
    named = classes_named(text, class_words)
    if not named:
        return False if (ious >= MEETS_IOU).any() else None
    is_named = [
        not named.isdisjoint(_classes_of(name, class_words)) for name in classes
    ]
    ious = ious[is_named]
    shared = box_ops.intersection(box_xyxy[None], objects[is_named])[0]
    inside = shared / max(float(box_ops.area(box_xyxy[None])[0]), 1e-6)
    if (ious >= MEETS_IOU).any() or (inside >= INSIDE).any():
        return True
    return None if (ious >= OVERLAPS_IOU).any() else False


def objects_of(example: Example) -> tuple[list[str], list[int]]:
    """The class and the box's row of every object of a photo."""
    pairs = [(phrase.text, row) for phrase in example.phrases for row in phrase.boxes]
    return [name for name, _ in pairs], [row for _, row in pairs]


def classes_named(text: str, class_words: ClassWords) -> frozenset[str]:
    """The classes that a text names.

    >>> sorted(classes_named("a dog on a couch", {"dog": ["dog"], "couch": ["couch", "sofa"]}))
    ['couch', 'dog']
    """
    padded = f" {' '.join(tokenize(text))} "
    named = set()
    for name, words in class_words.items():
        if any(f" {_joined(word)} " in padded for word in words):
            named.add(name)
    return frozenset(named)


@functools.lru_cache(4096)
def _joined(word: str) -> str:
    return " ".join(tokenize(word))


def _classes_of(name: str, class_words: ClassWords) -> frozenset[str]:
    """The class of an object, or those that a phrase of it names."""
    return (
        frozenset([name]) if name in class_words else classes_named(name, class_words)
    )


class _Counts(NamedTuple):
    """Counts: photos, regions with words, judged and correct ones, and of names.

    Of the latter those naming a class and true, and those large and named.
    """

    photos: Any
    worded: Any
    judged: Any
    correct: Any
    of_classes: Any
    true: Any
    large: Any
    named: Any


def _count(
    photo: NamedPhoto,
    class_words: ClassWords,
    threshold: float,
    by_class: dict[str, list[int]],
) -> _Counts:
    """The counts of one photo; adds its large objects, all and named, to those of their classes."""
    shown = _above(photo, threshold)
    is_correct, names = judge_regions(shown, class_words)
    width, height = photo.size_wh
    objects_xyxy = np.asarray(photo.objects_xyxy, np.float32).reshape(-1, 4)
    is_large = box_ops.area(objects_xyxy) > LARGE_SHARE * width * height
    is_named = names.any(axis=0) & is_large
    for column in np.flatnonzero(is_large).tolist():
        by_class[photo.classes[column]][0] += 1
        by_class[photo.classes[column]][1] += int(is_named[column])
    judged, correct = _tally(is_correct)
    of_classes, true = _tally(_judge_classes(shown, class_words))
    return _Counts(
        photos=1,
        worded=sum(map(bool, shown.texts)),
        judged=judged,
        correct=correct,
        of_classes=of_classes,
        true=true,
        large=int(is_large.sum()),
        named=int(is_named.sum()),
    )


def _above(photo: NamedPhoto, threshold: float) -> NamedPhoto:
    """The photo without the words of regions that are less confident."""
    texts = [
        text if confidence >= threshold else ""
        for text, confidence in zip(photo.texts, photo.confidences, strict=True)
    ]
    return replace(photo, texts=texts)


def _tally(verdicts: Sequence[bool | None]) -> tuple[int, int]:
    """How many were judged, and how many of them are true."""
    judged = [verdict for verdict in verdicts if verdict is not None]
    return len(judged), sum(judged)


def _judge_classes(photo: NamedPhoto, class_words: ClassWords) -> list[bool | None]:
    """`judge_name` of the texts that name a class."""
    judged = []
    for text, box in zip(photo.texts, photo.boxes_xyxy, strict=True):
        if classes_named(text, class_words):
            verdict = judge_name(
                text, box, photo.classes, photo.objects_xyxy, class_words
            )
            judged.append(verdict)
    return judged
