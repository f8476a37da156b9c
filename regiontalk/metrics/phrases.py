"""Phrase localisation on Flickr30k Entities.

Is the phrase's thing where the model points (docs/protocols.md, [4])? Enter: one
`PhraseAnswer` a phrase, candidate boxes ranked best first beside the true boxes, in
pixels of one image. Leave: recall at 1, 5 and 10 at IoU 0.5, by two protocols that
papers mix: *any box* (one true box is hit) and *merged box* (the union of the true
boxes is hit); the pointing game; the same figures by phrase type; what constant boxes
score; and what a perfect ranking of the same candidates would score. Every mention of a
phrase counts once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from regiontalk.boxes import iou, union_box
from regiontalk.metrics.bootstrap import Interval, bootstrap_shares
from regiontalk.records import FloatArray, checked_boxes

AT = (1, 5, 10)
_NEVER = int(np.iinfo(np.int32).max)
# constant boxes in the middle of the photo, by the share of its sides
FLOORS = {"whole picture": 1.0, "centred 0.8": 0.8}


@dataclass(frozen=True)
class PhraseAnswer:
    """A phrase, where it truly is, and where a model looks for it.

    Attributes:
        photo: name of the photo; intervals redraw photos, not phrases.
        candidates_xyxy: (K, 4) boxes, best first; K = 0 is a miss by every measure.
        truths_xyxy: (M, 4) true boxes; a phrase with M = 0 is counted as left out.
        size_wh: width and height of the image that both kinds of boxes refer to.
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
        bound: "any box" and "merged": some candidate is correct, whatever its rank.
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
    answers: Iterable[PhraseAnswer],
    *,
    threshold: float = 0.5,
    resamples: int = 1000,
    seed: int = 0,
) -> PhraseReport:
    """All phrase figures of a data set.

    Args:
        answers: one a mention of a phrase; they may come from a generator, only hits are kept.
        threshold: smallest IoU of a hit.
        resamples: bootstrap draws of photos.
        seed: of the draws.

    Raises:
        ValueError: no phrase has a true box.
    """
    outcomes = _Outcomes()
    left_out = 0
    for answer in answers:
        if len(answer.truths_xyxy):
            outcomes.add(answer, threshold)
        else:
            left_out += 1
    if not outcomes.photos:
        raise ValueError(
            f"phrases: expected one with a true box, got none ({left_out} without); check the data"
        )
    figures = partial(_figures, resamples=resamples, seed=seed)
    photos, hit_table = outcomes.photos, np.stack(outcomes.hits)
    by_type = {}
    for kind, rows in _rows_by_type(outcomes.types):
        by_type[kind] = figures(hit_table[rows], [photos[row] for row in rows])
    floors = {}
    for name, floor_hits in outcomes.floor_hits.items():
        floors[name] = figures(np.stack(floor_hits), photos)
    return PhraseReport(
        photos=len(set(photos)),
        left_out=left_out,
        overall=figures(hit_table, photos),
        by_type=by_type,
        floors=floors,
    )


@dataclass
class _Outcomes:
    """What is kept of the phrases so far.

    Attributes:
        photos: of each.
        types: of each.
        hits: (9,) of each.
        floor_hits: name of a constant box -> (9,) of each.
    """

    photos: list[str] = field(default_factory=list)
    types: list[tuple[str, ...]] = field(default_factory=list)
    hits: list[NDArray[np.bool_]] = field(default_factory=list)
    floor_hits: dict[str, list[NDArray[np.bool_]]] = field(
        default_factory=lambda: {name: [] for name in FLOORS}
    )

    def add(self, answer: PhraseAnswer, threshold: float) -> None:
        """Add the outcomes of one phrase."""
        self.photos.append(answer.photo)
        self.types.append(answer.types)
        self.hits.append(hits(answer, threshold))
        for name, share in FLOORS.items():
            box_xyxy = centred_box(answer.size_wh, share)
            constant = replace(answer, candidates_xyxy=box_xyxy)
            self.floor_hits[name].append(hits(constant, threshold))


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
    boxes = answer.candidates_xyxy
    if not len(boxes):
        return np.zeros(9, dtype=np.bool_)
    any_box, merged = first_ranks(answer, threshold)
    outcomes = [
        *(any_box <= depth for depth in AT),
        *(merged <= depth for depth in AT),
        bool(_inside(boxes[0], answer.truths_xyxy).any()),
        any_box <= len(boxes),
        merged <= len(boxes),
    ]
    return np.array(outcomes, dtype=np.bool_)


def first_ranks(answer: PhraseAnswer, threshold: float = 0.5) -> tuple[int, int]:
    """Rank from 1 of the first correct candidate of a phrase with a true box.

    Any box, merged; huge where none is.
    """
    truths, boxes = answer.truths_xyxy, answer.candidates_xyxy
    if not len(boxes):
        return _NEVER, _NEVER
    ious = iou(boxes, np.concatenate([truths, union_box(truths)[None]]))
    hits_any = ious[:, :-1].max(axis=1) >= threshold
    hits_merged = ious[:, -1] >= threshold
    return _first(hits_any), _first(hits_merged)


def centred_box(size_wh: tuple[int, int], share: float) -> FloatArray:
    """A constant answer (1, 4): the box in the middle of the photo with ``share`` of each side.

    >>> centred_box((100, 50), 0.8).tolist()
    [[10.0, 5.0, 90.0, 45.0]]
    """
    margin = (1.0 - share) / 2.0
    width, height = size_wh
    top_left = (margin * width, margin * height)
    bottom_right = ((1 - margin) * width, (1 - margin) * height)
    return np.array([[*top_left, *bottom_right]], dtype=np.float32)


def ranked(boxes_xyxy: FloatArray, scores: Sequence[float] | FloatArray) -> FloatArray:
    """Boxes (N, 4) by falling score (N,); ties keep their order, so constant scores change nothing.

    Raises:
        ValueError: there is not one finite score a box.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.shape != (len(boxes_xyxy),) or not np.isfinite(values).all():
        raise ValueError(
            f"scores: expected ({len(boxes_xyxy)},) finite numbers, one a box, got "
            f"shape {values.shape}"
        )
    return boxes_xyxy[np.argsort(-values, kind="stable")]


def _first(is_hit: NDArray[np.bool_]) -> int:
    """Rank from 1 of the first hit; beyond every rank where there is none."""
    if not is_hit.any():
        return _NEVER
    return int(is_hit.argmax()) + 1


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
    names = [f"R@{depth}" for depth in AT]
    return PhraseFigures(
        phrases=len(table),
        any_box=dict(zip(names, shares[:3], strict=True)),
        merged=dict(zip(names, shares[3:6], strict=True)),
        pointing=shares[6],
        bound={"any box": shares[7], "merged": shares[8]},
    )
