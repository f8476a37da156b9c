"""Phrase localisation on Flickr30k Entities: is the phrase's thing where the model points (docs/protocols.md, [4])?

Enter: one `PhraseAnswer` a phrase, candidate boxes ranked best first beside the true boxes, in
pixels of one picture.
Leave: recall at 1, 5 and 10 at IoU 0.5, by two protocols that papers mix: *any box* (one true box
is hit) and
*merged box* (the union of the true boxes is hit); the pointing game; the same figures by phrase
type; what constant boxes score; and what a perfect ranking of the same candidates would score.
Every mention of a phrase counts once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from regiontalk.boxes import iou, union_box
from regiontalk.metrics.bootstrap import Interval, bootstrap_shares
from regiontalk.records import FloatArray, checked_boxes

AT = (1, 5, 10)
_NEVER = int(np.iinfo(np.int32).max)
CENTRED = 0.8  # sides of the centred constant box, as shares of the photo's


@dataclass(frozen=True)
class PhraseAnswer:
    """A phrase, where it truly is, and where a model looks for it.

    Attributes:
        photo: name of the photo; intervals redraw photos, not phrases.
        candidates_xyxy: (K, 4) boxes, best first; K = 0 is a miss by every measure.
        truths_xyxy: (M, 4) true boxes; a phrase with M = 0 is counted as left out.
        size_wh: width and height of the picture that both kinds of boxes refer to.
        types: coarse types of the phrase; it counts in the row of each.
        text: the words, for reports.
    """

    photo: str
    candidates_xyxy: FloatArray
    truths_xyxy: FloatArray
    size_wh: tuple[int, int]
    types: tuple[str, ...] = ()
    text: str = ""

    def __post_init__(self) -> None:
        for name in ("candidates_xyxy", "truths_xyxy"):
            object.__setattr__(self, name, checked_boxes(getattr(self, name)))


@dataclass(frozen=True)
class PhraseFigures:
    """Shares of phrases in 0..1, each with its interval.

    Attributes:
        phrases: how many were counted.
        any_box: "R@1", "R@5", "R@10" where one true box is enough.
        merged: the same against the union of the true boxes.
        pointing: the centre of the first box lies inside a true box.
        bound: "any box" and "merged": some candidate is right, whatever its rank.
    """

    phrases: int
    any_box: dict[str, Interval]
    merged: dict[str, Interval]
    pointing: Interval
    bound: dict[str, Interval]


@dataclass(frozen=True)
class PhraseReport:
    """Localisation of a data set's phrases.

    Attributes:
        photos: photos with a counted phrase.
        left_out: phrases without a true box, which no figure counts.
        overall: the figures of all phrases.
        by_type: the figures of each type, by falling number of phrases.
        floors: figures of constant boxes: "whole picture" and "centred 0.8".
    """

    photos: int
    left_out: int
    overall: PhraseFigures
    by_type: dict[str, PhraseFigures]
    floors: dict[str, PhraseFigures]


def localisation(
    answers: Iterable[PhraseAnswer], *, threshold: float = 0.5, resamples: int = 1000, seed: int = 0
) -> PhraseReport:
    """All phrase figures of a data set.

    Args:
        answers: one a mention of a phrase; they may come from a generator, only hits are kept.
        threshold: least IoU of a hit.
        resamples: bootstrap draws of photos.
        seed: of the draws.

    Raises:
        ValueError: no phrase has a true box.
    """
    photos: list[str] = []
    types: list[tuple[str, ...]] = []
    outcomes: list[NDArray[np.bool_]] = []
    constant: dict[str, list[NDArray[np.bool_]]] = {"whole picture": [], f"centred {CENTRED:g}": []}
    left_out = 0
    for answer in answers:
        if not len(answer.truths_xyxy):
            left_out += 1
            continue
        photos.append(answer.photo)
        types.append(answer.types)
        outcomes.append(hits(answer, threshold))
        for name, share in zip(constant, (1.0, CENTRED), strict=True):
            box = centred_box(answer.size_wh, share)
            constant[name].append(hits(replace(answer, candidates_xyxy=box), threshold))
    if not outcomes:
        raise ValueError(
            f"phrases: expected one with a true box, got none ({left_out} without); check the data"
        )
    table = np.stack(outcomes)

    def figures(rows: list[int], values: NDArray[np.bool_]) -> PhraseFigures:
        return _figures(values[rows], [photos[row] for row in rows], resamples, seed)

    everything = list(range(len(outcomes)))
    return PhraseReport(
        photos=len(set(photos)),
        left_out=left_out,
        overall=figures(everything, table),
        by_type={kind: figures(rows, table) for kind, rows in _rows_by_type(types)},
        floors={name: figures(everything, np.stack(rows)) for name, rows in constant.items()},
    )


def _rows_by_type(types: Sequence[tuple[str, ...]]) -> list[tuple[str, list[int]]]:
    """Each type with the rows of its phrases, the most frequent type first; ties by name."""
    rows_by_type: dict[str, list[int]] = {}
    for row, phrase_types in enumerate(types):
        for phrase_type in phrase_types:
            rows_by_type.setdefault(phrase_type, []).append(row)
    return sorted(rows_by_type.items(), key=lambda item: (-len(item[1]), item[0]))


def hits(answer: PhraseAnswer, threshold: float = 0.5) -> NDArray[np.bool_]:
    """The nine yes-or-no outcomes of one phrase.

    Returns:
        (9,) bool: any box at 1, 5, 10; merged at 1, 5, 10; pointing; any-box bound; merged bound.
    """
    truths, boxes = answer.truths_xyxy, answer.candidates_xyxy
    if not len(boxes):
        return np.zeros(9, dtype=np.bool_)
    first = first_ranks(answer, threshold)
    hits_at = [rank <= at for rank in first for at in AT]
    inside = bool(_inside(boxes[0], truths).any())
    return np.array([*hits_at, inside, *(rank <= len(boxes) for rank in first)], dtype=np.bool_)


def first_ranks(answer: PhraseAnswer, threshold: float = 0.5) -> tuple[int, int]:
    """Rank from 1 of the first right candidate of a phrase with a true box: any box, merged; huge where none is."""
    truths, boxes = answer.truths_xyxy, answer.candidates_xyxy
    if not len(boxes):
        return _NEVER, _NEVER
    overlap = iou(boxes, np.concatenate([truths, union_box(truths)[None]]))
    return _first(overlap[:, :-1].max(axis=1) >= threshold), _first(overlap[:, -1] >= threshold)


def centred_box(size_wh: tuple[int, int], share: float) -> FloatArray:
    """A constant answer (1, 4): the box in the middle of the photo with ``share`` of each side.

    >>> centred_box((100, 50), 0.8).tolist()
    [[10.0, 5.0, 90.0, 45.0]]
    """
    margin = (1.0 - share) / 2.0
    wide, high = size_wh
    return np.array(
        [[margin * wide, margin * high, (1 - margin) * wide, (1 - margin) * high]], dtype=np.float32
    )


def ranked(boxes_xyxy: FloatArray, scores: Sequence[float] | FloatArray) -> FloatArray:
    """Boxes (N, 4) by falling score (N,); ties keep their order, so constant scores change nothing.

    Raises:
        ValueError: there is not one finite score a box.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.shape != (len(boxes_xyxy),) or not np.isfinite(values).all():
        raise ValueError(
            f"scores: expected ({len(boxes_xyxy)},) finite numbers, one a box, got shape {values.shape}"
        )
    return boxes_xyxy[np.argsort(-values, kind="stable")]


def _first(right: NDArray[np.bool_]) -> int:
    """Rank from 1 of the first hit; beyond every rank where there is none."""
    return int(right.argmax()) + 1 if right.any() else _NEVER


def _inside(box: FloatArray, truths_xyxy: FloatArray) -> NDArray[np.bool_]:
    """Which true boxes (M, 4) hold the centre of one box (4,); an edge counts as inside."""
    centre = (box[:2] + box[2:]) / 2
    within = (truths_xyxy[:, :2] <= centre) & (centre <= truths_xyxy[:, 2:])
    return np.asarray(within.all(axis=1), dtype=np.bool_)


def _figures(
    table: NDArray[np.bool_], photos: Sequence[str], resamples: int, seed: int
) -> PhraseFigures:
    """Shares and intervals of outcomes (P, 9), P phrases of the named photos."""
    shares = bootstrap_shares(table, photos, resamples=resamples, seed=seed)
    names = [f"R@{at}" for at in AT]
    return PhraseFigures(
        phrases=len(table),
        any_box=dict(zip(names, shares[:3], strict=True)),
        merged=dict(zip(names, shares[3:6], strict=True)),
        pointing=shares[6],
        bound={"any box": shares[7], "merged": shares[8]},
    )
