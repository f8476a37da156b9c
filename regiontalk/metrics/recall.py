"""Recall of true boxes by proposals: of the things in a photo, how many does some box among the first N cover?

Enter: one `PhotoProposals` a photo, its proposals best first beside its true boxes, pixels of one
picture, xyxy.
Leave: recall for each number of proposals and each IoU threshold, and average recall (the mean over
the ten thresholds
0.5, 0.55 ... 0.95 of COCO). The same proposal may cover several true boxes: this is the ceiling of
what can be described, not a matching.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from regiontalk.boxes import iou
from regiontalk.metrics.bootstrap import Interval, bootstrap_shares
from regiontalk.records import FloatArray, checked_boxes

COCO_THRESHOLDS = tuple(0.5 + 0.05 * step for step in range(10))


@dataclass(frozen=True)
class PhotoProposals:
    """One photo's proposals and true boxes.

    Attributes:
        photo: its name.
        proposals_xyxy: (N, 4), best first.
        truths_xyxy: (M, 4); a photo with M = 0 counts for nothing.
    """

    photo: str
    proposals_xyxy: FloatArray
    truths_xyxy: FloatArray

    def __post_init__(self) -> None:
        for name in ("proposals_xyxy", "truths_xyxy"):
            object.__setattr__(self, name, checked_boxes(getattr(self, name)))


@dataclass(frozen=True)
class RecallReport:
    """Recall of true boxes by the first N proposals.

    Attributes:
        photos: photos with a true box.
        truths: true boxes counted.
        recall: (number of proposals, IoU threshold) to the share of true boxes covered.
        average: number of proposals to average recall over IoU 0.5..0.95.
    """

    photos: int
    truths: int
    recall: dict[tuple[int, float], Interval]
    average: dict[int, Interval]


def proposal_recall(
    photos: Iterable[PhotoProposals],
    *,
    counts: Sequence[int] = (1, 5, 10, 20, 50, 100),
    thresholds: Sequence[float] = (0.5, 0.7, 0.9),
    resamples: int = 1000,
    seed: int = 0,
) -> RecallReport:
    """Share of true boxes that one of the first N proposals covers at least by an IoU.

    Args:
        photos: proposals beside truths.
        counts: the numbers N of proposals, each at least 1.
        thresholds: least IoU of a cover.
        resamples: bootstrap draws of photos.
        seed: of the draws.

    Raises:
        ValueError: no photo has a true box, or a count is below 1.
    """
    if not counts or min(counts) < 1:
        raise ValueError(
            f"counts: expected numbers of proposals of at least 1, got {tuple(counts)}"
        )
    used = [photo for photo in photos if len(photo.truths_xyxy)]
    if not used:
        raise ValueError(
            "recall: expected a photo with a true box, got none; check the annotations"
        )
    names = [photo.photo for photo in used for _ in photo.truths_xyxy]
    best = np.concatenate([best_overlaps(photo, counts) for photo in used])  # (truths, counts)
    cells = [(column, threshold) for column in range(len(counts)) for threshold in thresholds]
    shares = np.stack([best[:, column] >= threshold for column, threshold in cells], axis=1)
    means = np.stack([(best >= threshold) for threshold in COCO_THRESHOLDS]).mean(axis=0)
    figures = bootstrap_shares(
        np.concatenate([shares, means], axis=1), names, resamples=resamples, seed=seed
    )
    keys = [(counts[column], threshold) for column, threshold in cells]
    return RecallReport(
        photos=len(used),
        truths=len(best),
        recall=dict(zip(keys, figures[: len(keys)], strict=True)),
        average=dict(zip(counts, figures[len(keys) :], strict=True)),
    )


def best_overlaps(photo: PhotoProposals, counts: Sequence[int]) -> FloatArray:
    """The best IoU that each true box gets from the first N proposals.

    Returns:
        (M, len(counts)); 0 where there are no proposals.
    """
    if not len(photo.proposals_xyxy):
        return np.zeros((len(photo.truths_xyxy), len(counts)), dtype=np.float32)
    running = np.maximum.accumulate(iou(photo.truths_xyxy, photo.proposals_xyxy), axis=1)  # (M, N)
    return running[:, [min(count, running.shape[1]) - 1 for count in counts]]
