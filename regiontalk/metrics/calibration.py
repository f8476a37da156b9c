"""Confidence: does 0.8 mean right eight times in ten.

Enter: confidences (P,) in 0..1 and whether each answer was right (P,). Leave: reliability bins, the
expected calibration error (Guo et al., 2017) and the Brier score, with intervals over photos.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontalk.metrics.bootstrap import Interval, bootstrap_shares, interval

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
    right: Sequence[bool] | NDArray[Any],
    photos: Sequence[Hashable] | None = None,
    *,
    bins: int = 10,
    resamples: int = 1000,
    seed: int = 0,
) -> Reliability:
    """Bins, expected calibration error and Brier score.

    Args:
        confidences: (P,) in 0..1.
        right: (P,) whether each answer was.
        photos: (P,) photo of each answer, the unit of the redraws; None: every answer is its own.
        bins: how many, of equal width.
        resamples: bootstrap draws.
        seed: of the draws.

    Raises:
        ValueError: no answers, lengths that differ, or a confidence outside 0..1.
    """
    values, truth = _checked(confidences, right)
    if values.min() < 0 or values.max() > 1 or bins < 1:
        raise ValueError(
            f"confidences: expected 0..1 and bins >= 1, got {values.min():g}..{values.max():g}, {bins} bins"
        )
    names = list(range(len(values))) if photos is None else list(photos)
    if len(names) != len(values):
        raise ValueError(f"photos: expected one an answer, {len(values)}, got {len(names)}")
    at = np.minimum((values * bins).astype(np.int64), bins - 1)
    number: dict[Hashable, int] = {}
    rows = np.array([number.setdefault(name, len(number)) for name in names])

    def statistic(drawn: NDArray[np.int64]) -> float:
        return _error(at, values, truth, np.bincount(drawn, minlength=len(number))[rows], bins)

    draws = np.random.default_rng(seed)
    many = len(number)
    errors = np.array([statistic(draws.integers(0, many, many)) for _ in range(resamples)])
    error = statistic(np.arange(many))
    each = np.stack([(values - truth) ** 2, truth], axis=1)
    brier, accuracy = bootstrap_shares(each, names, resamples=resamples, seed=seed)
    return Reliability(
        bins=tuple(_bin(row, bins, values[at == row], truth[at == row]) for row in range(bins)),
        # a sum of sizes of gaps grows when answers are drawn twice: the draws are moved back around
        # the figure
        error=interval(error, np.maximum(errors + error - errors.mean(), 0.0)),
        brier=brier,
        accuracy=accuracy,
    )


def _checked(scores: Any, right: Any) -> tuple[Array, Array]:
    """Both as float64 (P,)."""
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if (
        values.ndim != 1
        or values.shape != truth.shape
        or not len(values)
        or not np.isfinite(values).all()
    ):
        raise ValueError(
            f"calibration: expected finite scores (P,) and right (P,), P >= 1, got {values.shape} and {truth.shape}"
        )
    return values, truth


def _bin(row: int, bins: int, values: Array, truth: Array) -> ReliabilityBin:
    """One bin of the diagram."""
    means = (
        (float(values.mean()), float(truth.mean())) if len(values) else (float("nan"), float("nan"))
    )
    return ReliabilityBin(row / bins, (row + 1) / bins, len(values), *means)


def _error(
    at: NDArray[np.int64], values: Array, truth: Array, times: NDArray[np.int64], bins: int
) -> float:
    """Expected calibration error of answers that count ``times`` (P,) each: sum over bins of abs(sum of gaps) / P."""
    gaps = np.bincount(at, weights=times * (truth - values), minlength=bins)
    return float(np.abs(gaps).sum() / times.sum())
