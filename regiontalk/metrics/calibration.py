"""Confidence: does 0.8 mean correct eight times in ten.

Enter: confidences (P,) in 0..1 and whether each answer was correct (P,). Leave:
reliability bins, the expected calibration error (Guo et al., 2017) and the Brier score,
with intervals over photos.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regiontalk.metrics.bootstrap import (
    Interval,
    bootstrap_shares,
    interval,
    number_names,
)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ReliabilityBin:
    """Answers whose confidence lies in [low, high); the last bin takes 1 as well.

    Attributes:
        low: lower edge.
        high: upper edge.
        count: answers in the bin.
        confidence: their mean confidence; nan in an empty bin.
        accuracy: share of them that are right; nan in an empty bin.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Reliability:
    """How confidence and truth agree.

    Attributes:
        bins: equal widths over 0..1.
        error: expected calibration error, the mean of abs(accuracy - confidence) over bins weighted
            by their answers.
        brier: mean squared distance of confidence and truth; lower is better, and a constant cannot
            cheat it.
        accuracy: share of all answers that are right.
    """

    bins: tuple[ReliabilityBin, ...]
    error: Interval
    brier: Interval
    accuracy: Interval


def reliability(
    confidences: Sequence[float] | Array,
    is_correct: Sequence[bool] | NDArray[Any],
    photos: Sequence[Hashable] | None = None,
    *,
    bins: int = 10,
    resamples: int = 1000,
    seed: int = 0,
) -> Reliability:
    """Bins, expected calibration error and Brier score.

    Args:
        confidences: (P,) in 0..1.
        is_correct: (P,) of each answer.
        photos: (P,) photo of each answer, the unit of the redraws; None: every answer is its own.
        bins: how many, of equal width.
        resamples: bootstrap draws.
        seed: of the draws.

    Raises:
        ValueError: no answers, lengths that differ, or a confidence outside 0..1.
    """
    values, truth = _checked(confidences, is_correct, bins)
    names = list(range(len(values))) if photos is None else list(photos)
    if len(names) != len(values):
        raise ValueError(
            f"photos: expected one an answer, {len(values)}, got {len(names)}"
        )
    outcomes = np.stack([(values - truth) ** 2, truth], axis=1)
    brier, accuracy = bootstrap_shares(outcomes, names, resamples=resamples, seed=seed)
    bin_rows = np.minimum((values * bins).astype(np.int64), bins - 1)
    gaps = _Gaps(bin_rows, truth - values, *number_names(names), bins)
    return Reliability(
        bins=tuple(
            _bin(row, bins, values, truth, bin_rows == row) for row in range(bins)
        ),
        error=gaps.error(resamples, seed),
        brier=brier,
        accuracy=accuracy,
    )


class _Gaps(NamedTuple):
    """What the calibration error is made of.

    Attributes:
        bin_rows: (P,) bin of each answer.
        gaps: (P,) truth less confidence.
        photo: (P,) photo of each answer, 0..photos-1.
        photos: how many there are.
        bins: how many there are.
    """

    bin_rows: NDArray[np.int64]
    gaps: Array
    photo: NDArray[np.int64]
    photos: int
    bins: int

    def error(self, resamples: int, seed: int) -> Interval:
        """Expected calibration error over redrawn photos.

        A sum of sizes of gaps grows when answers are drawn twice: the draws are moved back around
        the figure.
        """
        generator = np.random.default_rng(seed)
        draws = []
        for _ in range(resamples):
            draws.append(self.error_of(generator.integers(0, self.photos, self.photos)))
        errors = np.array(draws)
        error = self.error_of(np.arange(self.photos))
        return interval(error, np.maximum(errors + error - errors.mean(), 0.0))

    def error_of(self, drawn: NDArray[np.int64]) -> float:
        """The error of drawn photos, repeats and all.

        Sum over bins of abs(sum of gaps) / answers.
        """
        times = np.bincount(drawn, minlength=self.photos)[self.photo]
        sums = np.bincount(
            self.bin_rows, weights=times * self.gaps, minlength=self.bins
        )
        return float(np.abs(sums).sum() / times.sum())


def _checked(confidences: Any, is_correct: Any, bins: int) -> tuple[Array, Array]:
    """Both as float64 (P,)."""
    values = np.asarray(confidences, dtype=np.float64)
    truth = np.asarray(is_correct, dtype=np.float64)
    is_row = values.ndim == 1 and values.shape == truth.shape and len(values) > 0
    if not is_row or not np.isfinite(values).all():
        raise ValueError(
            "calibration: expected finite scores (P,) and right (P,), P >= 1, got "
            f"{values.shape} and {truth.shape}"
        )
    if values.min() < 0 or values.max() > 1 or bins < 1:
        raise ValueError(
            "confidences: expected 0..1 and bins >= 1, got "
            f"{values.min():g}..{values.max():g}, {bins} bins"
        )
    return values, truth


def _bin(
    row: int, bins: int, values: Array, truth: Array, in_bin: NDArray[np.bool_]
) -> ReliabilityBin:
    """One bin of the diagram."""
    low = row / bins
    high = (row + 1) / bins
    count = int(in_bin.sum())
    if not count:
        return ReliabilityBin(low, high, 0, float("nan"), float("nan"))
    confidence = float(values[in_bin].mean())
    accuracy = float(truth[in_bin].mean())
    return ReliabilityBin(low, high, count, confidence, accuracy)
