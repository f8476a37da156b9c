"""Bootstrap intervals of figures that are functions of sums: means, corpus BLEU, corpus METEOR.

A draw of photos is a row of counts, so all draws together are one matrix product with the photos'
statistics, and the figure is computed on sums instead of on captions. C photos, S statistics, K
figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontalk.metrics.bootstrap import Interval, interval

FloatArray = NDArray[np.float64]
_BLOCK = 4_000_000  # drawn row numbers held at a time, 32 MB


def bootstrap_sums(
    statistics: NDArray[Any],
    aggregate: Callable[[FloatArray], FloatArray] | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> list[Interval]:
    """Figures of summed statistics with their intervals, all from the same draws.

    Args:
        statistics: (C,) or (C, S) finite numbers, one row a photo.
        aggregate: sums (..., S) -> one figure (...) or K figures (..., K); None: the mean of each
            column.
        resamples: number of draws.
        seed: of the draws; the same seed gives the same intervals.

    Returns:
        K intervals (S of them where ``aggregate`` is None). Draws whose figure is not a number are
        left out.

    Raises:
        ValueError: no rows, another shape, numbers that are not finite, or no draws.

    >>> bootstrap_sums(np.array([1.0, 1.0, 1.0]))
    [Interval(value=1.0, low=1.0, high=1.0)]
    """
    rows = _checked(statistics, resamples)
    figure = aggregate if aggregate is not None else lambda sums: sums / len(rows)
    sums = np.concatenate([weights @ rows for weights in _draws(len(rows), resamples, seed)])
    values = np.asarray(figure(rows.sum(axis=0)), dtype=np.float64).reshape(-1)
    drawn = np.asarray(figure(sums), dtype=np.float64).reshape(resamples, len(values))
    return [interval(value, drawn[:, column]) for column, value in enumerate(values)]


def _checked(statistics: NDArray[Any], resamples: int) -> FloatArray:
    """The statistics as (C, S) float64."""
    rows = np.asarray(statistics, dtype=np.float64)
    rows = rows[:, None] if rows.ndim == 1 else rows
    if rows.ndim != 2 or not rows.size:
        raise ValueError(
            f"bootstrap: expected statistics (C,) or (C, S) with at least one row, got {rows.shape}"
        )
    if not np.isfinite(rows).all():
        raise ValueError(
            "bootstrap: expected finite statistics, got nan or inf; leave such rows out and say how many"
        )
    if resamples < 1:
        raise ValueError(f"bootstrap: expected at least one draw, got {resamples}")
    return rows


def _draws(count: int, resamples: int, seed: int) -> Iterator[FloatArray]:
    """How often each row was drawn, (block, C) at a time."""
    random = np.random.default_rng(seed)
    height = max(1, _BLOCK // count)
    for start in range(0, resamples, height):
        block = min(height, resamples - start)
        drawn = random.integers(count, size=(block, count)) + np.arange(block)[:, None] * count
        yield (
            np.bincount(drawn.ravel(), minlength=block * count)
            .reshape(block, count)
            .astype(np.float64)
        )
