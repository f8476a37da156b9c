"""Dense captioning: mean average precision over 30 pairs of IoU and METEOR thresholds ([5], docs/protocols.md).

Enter: one `DensePhoto` a photo (described boxes with scores, true boxes with their captions) and
METEOR as a function.
Leave: the mean of 30 average precisions, each of them, and a report on boxes that look misread
(`sanity.py`).

The protocol, step by step: true boxes of one photo with IoU >= 0.7 are merged into their mean box
and share their
captions as references; the photo's detections, by falling score, each go to the true box of highest
IoU, which only the first to come may keep; a detection is right where it kept its truth, overlaps
it enough and METEOR is strictly above the threshold; all photos' detections are then ranked
together. IoU knows no scale, so pictures need not be scaled to 720 pixels first; boxes must only be
in pixels of the same picture as the truths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regiontalk.boxes import iou
from regiontalk.metrics.bootstrap import Interval, interval
from regiontalk.metrics.sanity import BoxSanity, box_sanity, usable_boxes
from regiontalk.records import FloatArray, checked_boxes

IOU_THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
METEOR_THRESHOLDS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25)
MERGE_IOU = 0.7
ANY_WORDS = -2.0  # below every METEOR, also the -1 of detections whose words were not looked at
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
        if not len(boxes) == len(self.captions) == scores.size or not np.isfinite(scores).all():
            got = f"{len(boxes)} boxes, {scores.size} scores, {len(self.captions)} captions"
            raise ValueError(
                f"{self.photo}: expected a finite score and a caption for every box, got {got}"
            )
        truths = checked_boxes(self.truths_xyxy)
        if len(truths) != len(self.truth_captions):
            got = f"{len(truths)} and {len(self.truth_captions)}"
            raise ValueError(f"{self.photo}: expected a caption for every true box, got {got}")
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
    photos: Sequence[DensePhoto], meteor: Meteor, *, resamples: int = 1000, seed: int = 0
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
    ranking = rank_detections(photos, meteor)
    if not ranking.positives.sum():
        raise ValueError(
            f"dense: expected a photo with a true box, got none in {len(photos)}; check the annotations"
        )
    pairs = [(least, words) for least in IOU_THRESHOLDS for words in METEOR_THRESHOLDS]
    places = [(least, ANY_WORDS) for least in IOU_THRESHOLDS]
    right = right_detections(ranking, [*pairs, *places])
    values = average_precisions(ranking, right)
    generator, count = np.random.default_rng(seed), len(photos)
    times = (
        np.bincount(generator.integers(0, count, count), minlength=count) for _ in range(resamples)
    )
    draws = np.array(
        [average_precisions(ranking, right, drawn) for drawn in times]
    )  # (resamples, 35)

    def mean_of(rows: list[int]) -> Interval:
        return interval(float(values[rows].mean()), draws[:, rows].mean(axis=1))

    return DenseReport(
        mean_ap=mean_of(list(range(len(pairs)))),
        ap=dict(zip(pairs, values.tolist(), strict=False)),
        at_iou={
            least: mean_of([row for row, (iou, _) in enumerate(pairs) if iou == least])
            for least in IOU_THRESHOLDS
        },
        localisation_ap=mean_of(list(range(len(pairs), len(right)))),
        photos=len(photos),
        detections=len(ranking.photo),
        truths=sum(len(photo.truths_xyxy) for photo in photos),
        merged=int(ranking.positives.sum()),
        sanity=box_sanity(
            [(photo.size_wh, photo.boxes_xyxy, photo.truths_xyxy) for photo in photos]
        ),
    )


def merge_truths(
    boxes_xyxy: FloatArray, captions: Sequence[str], threshold: float = MERGE_IOU
) -> tuple[FloatArray, list[tuple[str, ...]]]:
    """True boxes that lie on one another made one: the mean box, with all their captions as references.

    Over and over, the box with the most neighbours at IoU >= threshold (ties: the first) takes them
    with it.

    Args:
        boxes_xyxy: (M, 4).
        captions: (M,).
        threshold: least IoU with the box that collects.

    Returns:
        (G, 4) merged boxes, and the captions of each.
    """
    close = (
        iou(boxes_xyxy, boxes_xyxy) >= threshold
        if len(boxes_xyxy)
        else np.zeros((0, 0), dtype=np.bool_)
    )
    merged: list[FloatArray] = []
    references: list[tuple[str, ...]] = []
    while close.any():
        group = np.flatnonzero(close[close.sum(axis=1).argmax()]).tolist()
        merged.append(boxes_xyxy[group].mean(axis=0))
        references.append(tuple(captions[row] for row in group))
        close[group] = False
        close[:, group] = False
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
    overlaps = np.zeros(len(boxes_xyxy), dtype=np.float32)
    rows = np.flatnonzero(usable_boxes(boxes_xyxy))
    if not len(rows) or not len(truths_xyxy):
        return truth_rows, overlaps
    overlap = iou(boxes_xyxy[rows], truths_xyxy)
    best, touches = overlap.argmax(axis=1), overlap.max(axis=1) > 0
    taken: set[int] = set()
    for at in np.argsort(-scores[rows], kind="stable"):
        truth = int(best[at])
        if touches[at] and truth not in taken:
            taken.add(truth)
            truth_rows[rows[at]], overlaps[rows[at]] = truth, overlap[at, truth]
    return truth_rows, overlaps


def rank_detections(photos: Sequence[DensePhoto], meteor: Meteor) -> Ranking:
    """All photos' detections, matched, scored by METEOR where it matters, and ranked together."""
    owners, overlaps, words, scores, positives = [], [], [], [], []
    for row, photo in enumerate(photos):
        truths, references = merge_truths(photo.truths_xyxy, photo.truth_captions)
        truth_rows, overlap = keep_truths(photo.boxes_xyxy, photo.scores, truths)
        score = np.full(len(truth_rows), -1.0)
        for at in np.flatnonzero(overlap >= np.float32(IOU_THRESHOLDS[0])):
            score[at] = meteor(photo.captions[at], references[truth_rows[at]])
        owners.append(np.full(len(truth_rows), row))
        overlaps.append(overlap)
        words.append(score)
        scores.append(photo.scores)
        positives.append(len(truths))
    order = np.argsort(-np.concatenate([*scores, np.zeros(0)]), kind="stable")
    return Ranking(
        photo=np.concatenate([*owners, np.zeros(0)]).astype(np.int64)[order],
        overlap=np.concatenate([*overlaps, np.zeros(0)])[order],
        meteor=np.concatenate([*words, np.zeros(0)])[order],
        positives=np.array(positives, dtype=np.int64),
    )


def right_detections(ranking: Ranking, pairs: Sequence[tuple[float, float]]) -> NDArray[np.bool_]:
    """Which detections are right at each (least IoU, METEOR to be strictly above): (K, N) for K pairs."""
    right = [
        (ranking.overlap >= np.float32(least)) & (ranking.meteor > above) for least, above in pairs
    ]
    return np.array(right, dtype=np.bool_).reshape(len(pairs), -1)


def average_precisions(
    ranking: Ranking, right: NDArray[np.bool_], times: NDArray[np.int64] | None = None
) -> NDArray[np.float64]:
    """101-point interpolated average precision of each row of right detections.

    Args:
        ranking: the detections.
        right: (K, N) as `right_detections` makes it.
        times: (B,) how often each photo counts, as a bootstrap draw has it; None: each once.

    Returns:
        (K,), the mean over recalls 0, 0.01 ... 1 of the best precision at that recall or beyond.
    """
    times = np.ones(len(ranking.positives), dtype=np.int64) if times is None else times
    weight = times[ranking.photo]
    at = np.flatnonzero(right.any(axis=0))  # precision peaks only where something is right
    hits = (weight[at] * right[:, at]).cumsum(axis=1)
    precision = hits / np.maximum(weight.cumsum()[at], 1)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    best = np.concatenate(
        [best, np.zeros((len(right), 1))], axis=1
    )  # the 0 is for recalls never reached
    # recall >= k / 100 asked as 100 hits >= k positives, whole numbers; rows lie apart so that one
    # search serves all
    positives = int(times @ ranking.positives)
    apart = (np.arange(len(right)) * (100 * positives + 1))[:, None]
    flat_columns = np.searchsorted(
        (100 * hits + apart).ravel(), (np.arange(101) * positives + apart).ravel()
    )
    columns = flat_columns.reshape(len(right), 101) - (np.arange(len(right)) * len(at))[:, None]
    return np.asarray(np.take_along_axis(best, columns, axis=1).mean(axis=1), dtype=np.float64)
