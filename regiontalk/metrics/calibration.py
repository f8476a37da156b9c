"""Confidence: does 0.8 mean right eight times in ten, and a monotone map that makes it so.

Enter: scores (P,) of any scale and whether each answer was right (P,). Leave: reliability bins, the
expected
calibration error (Guo et al., 2017), and maps from score to probability: Platt's sigmoid (Platt,
1999, with his smoothed targets) for few answers, isotonic regression (pool adjacent violators) for
many. Both never fall, so the order of answers stays. Fit on one split and measure on another: on
its own split every isotonic map looks perfect.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
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


@dataclass(frozen=True)
class Calibration:
    """A map from score to probability, straight between its knots and level beyond them; never falling.

    Attributes:
        scores: (K,) knots, rising.
        probabilities: (K,) in 0..1, never falling.
    """

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __post_init__(self) -> None:
        scores, values = np.asarray(self.scores), np.asarray(self.probabilities)
        proper = (
            len(scores) == len(values) > 0
            and np.isfinite(scores).all()
            and (np.diff(scores) > 0).all()
        )
        if not proper or (np.diff(values) < 0).any() or not ((values >= 0) & (values <= 1)).all():
            raise ValueError(
                "calibration: expected rising scores and as many probabilities in 0..1 that never fall, "
                f"got {self.scores[:5]} and {self.probabilities[:5]}"
            )

    def __call__(self, scores: Any) -> Array:
        """Probabilities of scores, in their shape."""
        return np.asarray(
            np.interp(np.asarray(scores, dtype=np.float64), self.scores, self.probabilities)
        )

    def to_dict(self) -> dict[str, list[float]]:
        """Plain values for JSON; `from_dict` reads them back."""
        return {"scores": list(self.scores), "probabilities": list(self.probabilities)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Sequence[float]]) -> Calibration:
        """The map that `to_dict` wrote."""
        return cls(tuple(values["scores"]), tuple(values["probabilities"]))


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


def fit_isotonic(
    scores: Sequence[float] | Array, right: Sequence[bool] | NDArray[Any]
) -> Calibration:
    """The never-falling map with the least squared error, by pooling adjacent violators.

    Equal scores are one point. A pool keeps its level between its lowest and highest score; between
    pools the map is straight. Below 1,000 answers `fit_platt` is the steadier choice.

    Raises:
        ValueError: no answers, lengths that differ, or a score that is not finite.
    """
    values, truth = _checked(scores, right)
    points, rows = np.unique(values, return_inverse=True)
    counts = np.bincount(rows)
    means = np.bincount(rows, weights=truth) / counts
    pools: list[tuple[float, int, int]] = []  # mean, answers, points
    for mean, count in zip(means.tolist(), counts.tolist(), strict=True):
        size = 1
        while pools and pools[-1][0] >= mean:
            other, answers, earlier = pools.pop()
            mean, count, size = (
                (other * answers + mean * count) / (answers + count),
                answers + count,
                size + earlier,
            )
        pools.append((mean, count, size))
    ends = np.cumsum([size for _, _, size in pools])
    knots: list[tuple[float, float]] = []
    for (mean, _, size), end in zip(pools, ends.tolist(), strict=True):
        knots += [(float(points[row]), mean) for row in sorted({end - size, end - 1})]
    return Calibration(
        tuple(score for score, _ in knots), tuple(min(1.0, mean) for _, mean in knots)
    )


def fit_platt(
    scores: Sequence[float] | Array, right: Sequence[bool] | NDArray[Any], knots: int = 101
) -> Calibration:
    """A sigmoid 1 / (1 + exp(-(a score + b))) fitted by Newton's method, as straight pieces between its knots.

    Targets are Platt's (n+ + 1) / (n+ + 2) and 1 / (n- + 2), so answers that are all right do not
    give certainty. A slope that would fall becomes level: the score then says nothing.

    Args:
        scores: (P,) finite.
        right: (P,).
        knots: of the sigmoid over the range of the scores; 101 keep within 0.001 where it rises by
            20 over the range.

    Raises:
        ValueError: no answers, lengths that differ, or a score that is not finite.
    """
    values, truth = _checked(scores, right)
    good = truth.sum()
    targets = np.where(truth > 0, (good + 1) / (good + 2), 1 / (len(truth) - good + 2))
    centre, spread = values.mean(), values.std()
    if spread == 0:
        return Calibration((float(centre),), (float(targets.mean()),))
    slope, offset = _newton((values - centre) / spread, targets)
    if slope < 0:
        return Calibration((float(centre),), (float(targets.mean()),))
    at = np.linspace(values.min(), values.max(), knots)
    heights = _sigmoid(slope * (at - centre) / spread + offset)
    return Calibration(tuple(at.tolist()), tuple(np.maximum.accumulate(heights).tolist()))


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


def _sigmoid(values: Array) -> Array:
    """The logistic function without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * values)))


def _newton(values: Array, targets: Array) -> tuple[float, float]:
    """Slope and offset of the sigmoid with the least cross-entropy; damped where a step would make it worse."""
    design = np.stack([values, np.ones_like(values)], axis=1)

    def loss(weights: Array) -> float:
        logits = design @ weights
        return float((np.logaddexp(0.0, logits) - targets * logits).sum())

    weights = np.zeros(2)
    for _ in range(100):
        heights = _sigmoid(design @ weights)
        gradient = design.T @ (heights - targets)
        curvature = (design * (heights * (1 - heights))[:, None]).T @ design + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        while loss(weights - step) > loss(weights) and np.abs(step).max() > 1e-12:
            step = step / 2
        weights = weights - step
        if np.abs(step).max() < 1e-10:
            break
    return float(weights[0]), float(weights[1])
