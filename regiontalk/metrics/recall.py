"""Recall of true boxes by proposals.

Of the things in a photo, how many does some box among the first N cover? Enter: one
`PhotoProposals` a photo, its proposals best first beside its true boxes, pixels of one
image, xyxy. Leave: recall for each number of proposals and each IoU threshold, and
average recall (the mean over the ten thresholds 0.5, 0.55 ... 0.95 of COCO). The same
proposal may cover several true boxes: this is the ceiling of what can be described, not
a matching.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

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
        thresholds: smallest IoU of a cover.
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
    # (truths, counts)
    best = np.concatenate([best_overlaps(photo, counts) for photo in used])
    is_covered = _covered(best, thresholds).reshape(len(best), -1)
    averages = _covered(best, COCO_THRESHOLDS).mean(axis=2)
    names = np.repeat(
        [photo.photo for photo in used], [len(photo.truths_xyxy) for photo in used]
    )
    figures = bootstrap_shares(
        np.concatenate([is_covered, averages], axis=1),
        names.tolist(),
        resamples=resamples,
        seed=seed,
    )
    keys = list(product(counts, thresholds))
    return RecallReport(
        photos=len(used),
        truths=len(best),
        recall=dict(zip(keys, figures[: len(keys)], strict=True)),
        average=dict(zip(counts, figures[len(keys) :], strict=True)),
    )


def _covered(best: FloatArray, thresholds: Sequence[float]) -> NDArray[np.bool_]:
    """Which best IoUs (M, counts) reach each threshold: (M, counts, thresholds)."""
    is_covered: NDArray[np.bool_] = best[:, :, None] >= np.array(
        thresholds, dtype=best.dtype
    )
    return is_covered


def best_overlaps(photo: PhotoProposals, counts: Sequence[int]) -> FloatArray:
    """The best IoU that each true box gets from the first N proposals.

    Returns:
        (M, len(counts)); 0 where there are no proposals.
    """
    if not len(photo.proposals_xyxy):
        return np.zeros((len(photo.truths_xyxy), len(counts)), dtype=np.float32)
    ious = iou(photo.truths_xyxy, photo.proposals_xyxy)
    best_so_far = np.maximum.accumulate(ious, axis=1)  # (M, N)
    columns = [min(count, best_so_far.shape[1]) - 1 for count in counts]
    return best_so_far[:, columns]
