"""Dense captioning: mean average precision over 30 pairs of thresholds ([5]).

IoU and METEOR; see docs/protocols.md. Enter: one `DensePhoto` a photo (described boxes
with scores, true boxes with their captions) and METEOR as a function. Leave: the mean
of 30 average precisions, each of them, and a report on boxes that look misread
(`sanity.py`).

The protocol, step by step: true boxes of one photo with IoU >= 0.7 are merged into
their mean box and share their captions as references; the photo's detections, by
falling score, each go to the true box of highest IoU, which only the first to come may
keep; a detection is right where it kept its truth, overlaps it enough and METEOR is
strictly above the threshold; all photos' detections are then ranked together. IoU knows
no scale, so pictures need not be scaled to 720 pixels first; boxes must only be in
pixels of the same picture as the truths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from regiontalk.boxes import iou
from regiontalk.metrics.bootstrap import Interval, interval
from regiontalk.metrics.sanity import BoxSanity, box_sanity, usable_boxes
from regiontalk.records import FloatArray, checked_boxes

IOU_THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
METEOR_THRESHOLDS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25)
MERGE_IOU = 0.7
# below every METEOR, also the -1 of detections whose words were not looked at
ANY_WORDS = -2.0
Meteor = Callable[[str, Sequence[str]], float]
"""A prediction and its references to METEOR in 0..1."""


@dataclass(frozen=True)
class DensePhoto:
    """One photo's described boxes beside its true ones.

    Attributes:
        photo: its name.
        size_wh: width and height in pixels of the picture that all boxes refer to.
        boxes_xyxy: (N, 4) detections; may be outside or inverted, which is counted and never
            matched.
        scores: (N,) finite; higher is surer, comparable across photos.
        captions: (N,) words of the detections.
        truths_xyxy: (M, 4) true boxes.
        truth_captions: (M,) their words.
    """

    photo: str
    size_wh: tuple[int, int]
    boxes_xyxy: FloatArray
    scores: FloatArray
    captions: tuple[str, ...]
    truths_xyxy: FloatArray
    truth_captions: tuple[str, ...]

    def __post_init__(self) -> None:
        boxes = np.asarray(self.boxes_xyxy, dtype=np.float32).reshape(-1, 4)
        scores = np.asarray(self.scores, dtype=np.float64)
        if (
            not len(boxes) == len(self.captions) == scores.size
            or not np.isfinite(scores).all()
        ):
            got = f"{len(boxes)} boxes, {scores.size} scores, {len(self.captions)} captions"
            raise ValueError(
                f"{self.photo}: expected a finite score and a caption for every box, got {got}"
            )
        truths = checked_boxes(self.truths_xyxy)
        if len(truths) != len(self.truth_captions):
            got = f"{len(truths)} and {len(self.truth_captions)}"
            raise ValueError(
                f"{self.photo}: expected a caption for every true box, got {got}"
            )
        object.__setattr__(self, "boxes_xyxy", boxes)
        object.__setattr__(self, "scores", scores.reshape(-1))
        object.__setattr__(self, "truths_xyxy", truths)


@dataclass(frozen=True)
class DenseReport:
    """Dense captioning figures of a data set.

    Attributes:
        mean_ap: mean of the 30 average precisions, in 0..1.
        ap: (IoU threshold, METEOR threshold) to average precision.
        at_iou: IoU threshold to the mean of its average precisions over the METEOR thresholds.
        localisation_ap: mean over the IoU thresholds of the average precision with any words: the
            boxes' part.
        photos: photos counted.
        detections: detections counted.
        truths: true boxes before merging.
        merged: true boxes after it; what recall is out of.
        sanity: what looks wrong with the boxes.
    """

    mean_ap: Interval
    ap: dict[tuple[float, float], float]
    at_iou: dict[float, Interval]
    localisation_ap: Interval
    photos: int
    detections: int
    truths: int
    merged: int
    sanity: BoxSanity


@dataclass(frozen=True)
class Ranking:
    """All detections of a data set by falling score; ties by photo, then by row.

    Attributes:
        photo: (N,) row of the photo of each detection.
        overlap: (N,) IoU with the truth that it kept; 0 where it kept none.
        meteor: (N,) METEOR against that truth's references; -1 where it was not asked for.
        positives: (B,) merged true boxes of each photo.
    """

    photo: NDArray[np.int64]
    overlap: NDArray[np.float64]
    meteor: NDArray[np.float64]
    positives: NDArray[np.int64]


def dense_captioning(
    photos: Sequence[DensePhoto],
    meteor: Meteor,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> DenseReport:
    """DenseCap's mean average precision.

    Args:
        photos: detections beside truths; a photo without truths has only false detections.
        meteor: asked once for every detection that keeps a truth at IoU 0.3 or more, for no other.
        resamples: bootstrap draws of photos.
        seed: of the draws.

    Raises:
        ValueError: no photo has a true box.
    """
    ranking = _rank_true_boxes(photos, meteor)
    with_words = list(product(IOU_THRESHOLDS, METEOR_THRESHOLDS))
    without_words = list(product(IOU_THRESHOLDS, (ANY_WORDS,)))
    is_correct = correct_detections(ranking, [*with_words, *without_words])
    precisions = _Precisions(
        average_precisions(ranking, is_correct),
        _drawn_precisions(ranking, is_correct, resamples, seed),
    )
    words = len(METEOR_THRESHOLDS)
    at_iou = {}
    for row, min_iou in enumerate(IOU_THRESHOLDS):
        at_iou[min_iou] = precisions.mean(row * words, words)
    return DenseReport(
        mean_ap=precisions.mean(0, len(with_words)),
        ap=dict(zip(with_words, precisions.values.tolist(), strict=False)),
        at_iou=at_iou,
        localisation_ap=precisions.mean(len(with_words), len(without_words)),
        photos=len(photos),
        detections=len(ranking.photo),
        truths=sum(len(photo.truths_xyxy) for photo in photos),
        merged=int(ranking.positives.sum()),
        sanity=_box_sanity(photos),
    )


class _Precisions(NamedTuple):
    """Average precisions (K,), and those of redrawn photos (resamples, K)."""

    values: NDArray[np.float64]
    drawn: NDArray[np.float64]

    def mean(self, first: int, count: int) -> Interval:
        """The mean of neighbouring ones with its interval."""
        columns = list(range(first, first + count))
        return interval(
            float(self.values[columns].mean()), self.drawn[:, columns].mean(axis=1)
        )


def _rank_true_boxes(photos: Sequence[DensePhoto], meteor: Meteor) -> Ranking:
    """`rank_detections` of photos that have a true box at all."""
    ranking = rank_detections(photos, meteor)
    if not ranking.positives.sum():
        raise ValueError(
            f"dense: expected a photo with a true box, got none in {len(photos)}; "
            "check the annotations"
        )
    return ranking


def _box_sanity(photos: Sequence[DensePhoto]) -> BoxSanity:
    """What looks wrong with the boxes."""
    return box_sanity(
        [(photo.size_wh, photo.boxes_xyxy, photo.truths_xyxy) for photo in photos]
    )


def _drawn_precisions(
    ranking: Ranking, is_correct: NDArray[np.bool_], resamples: int, seed: int
) -> NDArray[np.float64]:
    """Average precisions (resamples, K) of redrawn photos; arguments as of `average_precisions`."""
    generator, count = np.random.default_rng(seed), len(ranking.positives)
    draws = []
    for _ in range(resamples):
        times = np.bincount(generator.integers(0, count, count), minlength=count)
        draws.append(average_precisions(ranking, is_correct, times))
    return np.array(draws)


def merge_truths(
    boxes_xyxy: FloatArray, captions: Sequence[str], threshold: float = MERGE_IOU
) -> tuple[FloatArray, list[tuple[str, ...]]]:
    """True boxes that lie on one another, merged.

    The mean box, with all their captions as references. Over and over, the box with the
    most neighbours at IoU >= threshold (ties: the first) takes them with it.

    Args:
        boxes_xyxy: (M, 4).
        captions: (M,).
        threshold: smallest IoU with the box that collects.

    Returns:
        (G, 4) merged boxes, and the captions of each.
    """
    is_close = np.zeros((0, 0), dtype=np.bool_)
    if len(boxes_xyxy):
        is_close = iou(boxes_xyxy, boxes_xyxy) >= threshold
    merged: list[FloatArray] = []
    references: list[tuple[str, ...]] = []
    while is_close.any():
        most_neighbours = is_close.sum(axis=1).argmax()
        group = np.flatnonzero(is_close[most_neighbours]).tolist()
        merged.append(boxes_xyxy[group].mean(axis=0))
        references.append(tuple(captions[row] for row in group))
        is_close[group] = False
        is_close[:, group] = False
    return np.array(merged, dtype=np.float32).reshape(-1, 4), references


def keep_truths(
    boxes_xyxy: FloatArray, scores: FloatArray, truths_xyxy: FloatArray
) -> tuple[NDArray[np.int64], FloatArray]:
    """Which truth each detection of one photo keeps, and its IoU with it.

    By falling score (ties: the first), a detection goes to its truth of highest IoU (ties: the
    first) and keeps it if nobody did before; it never turns to another one, and how much it
    overlaps is judged later.

    Args:
        boxes_xyxy: (N, 4).
        scores: (N,).
        truths_xyxy: (M, 4) merged truths.

    Returns:
        (N,) row of the truth, -1 for none; (N,) IoU, 0 for none.
    """
    truth_rows = np.full(len(boxes_xyxy), -1, dtype=np.int64)
    truth_ious = np.zeros(len(boxes_xyxy), dtype=np.float32)
    usable = np.flatnonzero(usable_boxes(boxes_xyxy))
    if not len(usable) or not len(truths_xyxy):
        return truth_rows, truth_ious
    ious = iou(boxes_xyxy[usable], truths_xyxy)
    best_truths, best_ious = ious.argmax(axis=1), ious.max(axis=1)
    taken: set[int] = set()
    for position in np.argsort(-scores[usable], kind="stable"):
        truth = int(best_truths[position])
        if best_ious[position] > 0 and truth not in taken:
            taken.add(truth)
            truth_rows[usable[position]] = truth
            truth_ious[usable[position]] = best_ious[position]
    return truth_rows, truth_ious


def rank_detections(photos: Sequence[DensePhoto], meteor: Meteor) -> Ranking:
    """All photos' detections, matched, scored by METEOR where it matters, and ranked together."""
    matches = [_match_photo(photo, meteor) for photo in photos]
    counts = np.array([len(photo.scores) for photo in photos], dtype=np.int64)
    nothing = [np.zeros(0)]  # for a data set without photos
    scores = np.concatenate(nothing + [photo.scores for photo in photos])
    order = np.argsort(-scores, kind="stable")
    return Ranking(
        photo=np.repeat(np.arange(len(photos)), counts)[order],
        overlap=np.concatenate(nothing + [match.ious for match in matches])[order],
        meteor=np.concatenate(nothing + [match.meteors for match in matches])[order],
        positives=np.array([match.positives for match in matches], dtype=np.int64),
    )


class _PhotoMatches(NamedTuple):
    """The detections of one photo beside the truths that they kept.

    Attributes:
        ious: (N,) IoU with that truth; 0 where none was kept.
        meteors: (N,) METEOR against its references; -1 where it was not asked for.
        positives: merged true boxes.
    """

    ious: NDArray[np.float64]
    meteors: NDArray[np.float64]
    positives: int


def _match_photo(photo: DensePhoto, meteor: Meteor) -> _PhotoMatches:
    """Match the detections of one photo, and ask for METEOR where it matters."""
    truths_xyxy, references = merge_truths(photo.truths_xyxy, photo.truth_captions)
    truth_rows, ious = keep_truths(photo.boxes_xyxy, photo.scores, truths_xyxy)
    meteors = np.full(len(truth_rows), -1.0)
    for detection in np.flatnonzero(ious >= np.float32(IOU_THRESHOLDS[0])):
        truth_references = references[truth_rows[detection]]
        meteors[detection] = meteor(photo.captions[detection], truth_references)
    return _PhotoMatches(ious.astype(np.float64), meteors, len(truths_xyxy))


def correct_detections(
    ranking: Ranking, thresholds: Sequence[tuple[float, float]]
) -> NDArray[np.bool_]:
    """Which detections are correct at each (smallest IoU, METEOR to be strictly above).

    (K, N) for K pairs.
    """
    is_correct = np.zeros((len(thresholds), len(ranking.photo)), dtype=np.bool_)
    for row, (min_iou, meteor) in enumerate(thresholds):
        is_correct[row] = (ranking.overlap >= np.float32(min_iou)) & (
            ranking.meteor > meteor
        )
    return is_correct


def average_precisions(
    ranking: Ranking,
    is_correct: NDArray[np.bool_],
    times: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """101-point interpolated average precision of each row of correct detections.

    Args:
        ranking: the detections.
        is_correct: (K, N) as `correct_detections` makes it.
        times: (B,) how often each photo counts, as a bootstrap draw has it; None: each once.

    Returns:
        (K,), the mean over recalls 0, 0.01 ... 1 of the best precision at that recall or beyond.
    """
    if times is None:
        times = np.ones(len(ranking.positives), dtype=np.int64)
    weights = times[ranking.photo]
    peaks = np.flatnonzero(is_correct.any(axis=0))  # elsewhere precision only falls
    hits = (weights[peaks] * is_correct[:, peaks]).cumsum(axis=1)
    precision = hits / np.maximum(weights.cumsum()[peaks], 1)
    best_beyond = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    unreached = np.zeros((len(is_correct), 1))  # the precision at recalls never reached
    best_beyond = np.concatenate([best_beyond, unreached], axis=1)
    columns = _recall_columns(hits, int(times @ ranking.positives))
    at_recalls = np.take_along_axis(best_beyond, columns, axis=1)
    return np.asarray(at_recalls.mean(axis=1), dtype=np.float64)


def _recall_columns(hits: NDArray[np.int64], positives: int) -> NDArray[np.int64]:
    """The first columns (K, 101) of hits (K, P) where recall is 0, 0.01 ... 1 or beyond.

    P where it never is. Recall >= k / 100 is asked as 100 hits >= k positives, in whole
    numbers. Each row is moved beyond the one before, so that one search serves all.
    """
    rows = np.arange(len(hits))[:, None]
    shifts = rows * (100 * positives + 1)
    shifted_hits = (100 * hits + shifts).ravel()
    shifted_recalls = (np.arange(101) * positives + shifts).ravel()
    columns = np.searchsorted(shifted_hits, shifted_recalls).reshape(-1, 101)
    return np.asarray(columns - rows * hits.shape[1])
