"""Bootstrap 95 % intervals (Efron's percentile interval) for any figure of the evaluation.

Photos are drawn again with replacement, as many as there are, ``rounds`` times; the figure's middle 95 % over the rounds
is the interval. Two forms: a figure that is a function of *summed* statistics (a mean, corpus BLEU, corpus METEOR,
a hit rate over unequal counts) costs one matrix product; any other figure (a median) is computed on the drawn rows.
The rows must be the things that were drawn into the data set, so one row a photo: sentences of one photo are not
independent. C rows, S statistics, K figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
_COVERED = (0.025, 0.975)
_BLOCK = 4_000_000  # drawn row numbers held at a time, 32 MB


@dataclass(frozen=True)
class Interval:
    """A figure and its 95 % interval.

    Attributes:
        value: the figure on the data as it is.
        low: 2.5 % quantile of the figure over the rounds; nan where no round had a figure.
        high: 97.5 % quantile.
    """

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return {"value": self.value, "low": self.low, "high": self.high}


def bootstrap_interval(
    per_item_statistics: NDArray[Any],
    aggregate: Callable[[FloatArray], FloatArray] | None = None,
    seed: int = 0,
    rounds: int = 1000,
) -> Interval:
    """The interval of one figure; `bootstrap_intervals` says what the arguments are.

    >>> bootstrap_interval(np.array([1.0, 1.0, 1.0]))
    Interval(value=1.0, low=1.0, high=1.0)
    """
    return bootstrap_intervals(per_item_statistics, aggregate, seed, rounds)[0]


def bootstrap_intervals(
    per_item_statistics: NDArray[Any],
    aggregate: Callable[[FloatArray], FloatArray] | None = None,
    seed: int = 0,
    rounds: int = 1000,
) -> list[Interval]:
    """Intervals of figures that are functions of summed statistics, all from the same draws.

    Args:
        per_item_statistics: (C,) or (C, S) finite numbers, one row a photo.
        aggregate: sums (..., S) -> one figure (...) or K figures (..., K); None: the mean of each column.
        seed: of the draws; the same seed gives the same interval.
        rounds: how often to draw.

    Returns:
        K intervals (S of them where ``aggregate`` is None). Rounds whose figure is not a number are left out.

    Raises:
        ValueError: no rows, another shape, numbers that are not finite, or fewer than one round.
    """
    rows = _checked(per_item_statistics, rounds)
    figure = aggregate if aggregate is not None else lambda sums: sums / len(rows)
    sums = np.concatenate([weights @ rows for weights in _draws(len(rows), seed, rounds)])
    values = np.asarray(figure(rows.sum(axis=0)), dtype=np.float64).reshape(-1)
    drawn = np.asarray(figure(sums), dtype=np.float64).reshape(rounds, len(values))
    return [_interval(value, drawn[:, column]) for column, value in enumerate(values)]


def bootstrap_items(
    items: NDArray[Any], figure: Callable[[NDArray[Any]], Any], seed: int = 0, rounds: int = 1000
) -> Interval:
    """The interval of a figure that is no function of sums, such as a median.

    Args:
        items: (C, ...) rows to draw from.
        figure: drawn rows (C, ...) -> the figure.
        seed: of the draws.
        rounds: how often to draw.

    Raises:
        ValueError: no rows, or fewer than one round.

    >>> bootstrap_items(np.array([2, 2, 2]), np.median)
    Interval(value=2.0, low=2.0, high=2.0)
    """
    if not len(items) or rounds < 1:
        raise ValueError(f"bootstrap: expected at least one row and one round, got {len(items)} and {rounds}")
    random = np.random.default_rng(seed)
    drawn = [float(figure(items[random.integers(len(items), size=len(items))])) for _ in range(rounds)]
    return _interval(figure(items), np.array(drawn))


def _interval(value: Any, drawn: FloatArray) -> Interval:
    """The figure with the middle 95 % of its rounds, (rounds,)."""
    usable = drawn[np.isfinite(drawn)]
    low, high = np.quantile(usable, _COVERED) if len(usable) else (np.nan, np.nan)
    return Interval(float(value), float(low), float(high))


def _checked(statistics: NDArray[Any], rounds: int) -> FloatArray:
    """The statistics as (C, S) float64."""
    rows = np.asarray(statistics, dtype=np.float64)
    rows = rows[:, None] if rows.ndim == 1 else rows
    if rows.ndim != 2 or not rows.size:
        raise ValueError(f"bootstrap: expected statistics (C,) or (C, S) with at least one row, got {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError("bootstrap: expected finite statistics, got nan or inf; leave such rows out and say how many")
    if rounds < 1:
        raise ValueError(f"bootstrap: expected at least one round, got {rounds}")
    return rows


def _draws(count: int, seed: int, rounds: int) -> Iterator[FloatArray]:
    """How often each row was drawn, (block, C) at a time."""
    random = np.random.default_rng(seed)
    height = max(1, _BLOCK // count)
    for start in range(0, rounds, height):
        block = min(height, rounds - start)
        drawn = random.integers(count, size=(block, count)) + np.arange(block)[:, None] * count
        yield np.bincount(drawn.ravel(), minlength=block * count).reshape(block, count).astype(np.float64)
