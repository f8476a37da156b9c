"""Bootstrap intervals: how far a figure would move with other photos from the same source.

The resampling unit is the photo, never the phrase, sentence or box: those of one photo are not
independent. Every draw takes as many photos as there are, with replacement, and computes the figure
again; the interval holds the middle 95 % of the draws (percentile method of Efron, 1979). Draws are
seeded: the same predictions give the same interval.

`bootstrap_interval` takes any figure. One that is a function of sums (a mean, a hit rate, corpus
BLEU or METEOR) is far cheaper through `bootstrap_sums`: a draw of photos is a row of counts, so all
draws together are one matrix product with the photos' statistics. `bootstrap_shares` is that for
things that hang on photos (phrases, boxes, sentences), each photo redrawn with all its things.
C photos, S statistics, P things, K figures.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
LEVEL = 0.95
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
    statistic: Callable[[NDArray[np.int64]], float],
    photos: int,
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """A figure with its interval.

    Args:
        statistic: the figure of the photos with these row numbers, (photos,) int64, repeats and
            all.
        photos: how many photos there are.
        resamples: number of draws.
        seed: of the draws.
        level: share of the draws that the interval holds.

    Raises:
        ValueError: no photos, no draws, or a level outside 0..1.
    """
    if photos < 1 or resamples < 1 or not 0.0 < level < 1.0:
        raise ValueError(
            "bootstrap: expected at least one photo and one draw and 0 < level < 1, "
            f"got {photos}, {resamples}, {level}"
        )
    generator = np.random.default_rng(seed)
    draws = [statistic(generator.integers(0, photos, photos)) for _ in range(resamples)]
    return interval(statistic(np.arange(photos)), np.asarray(draws), level)


def interval(
    value: float, draws: NDArray[np.float64], level: float = LEVEL
) -> Interval:
    """The figure with the middle ``level`` of its draws (resamples,).

    Draws that are not a number are left out.
    """
    usable = draws[np.isfinite(draws)]
    if not len(usable):
        return Interval(float(value), float("nan"), float("nan"))
    low, high = np.quantile(usable, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(value), float(low), float(high))


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
    sums = np.concatenate(
        [weights @ rows for weights in _draws(len(rows), resamples, seed)]
    )
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
            "bootstrap: expected finite statistics, got nan or inf; leave such rows "
            "out and say how many"
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
        offsets = np.arange(block)[:, None] * count
        drawn = random.integers(count, size=(block, count)) + offsets
        times = np.bincount(drawn.ravel(), minlength=block * count)
        yield times.reshape(block, count).astype(np.float64)


def bootstrap_shares(
    outcomes: NDArray[Any],
    photos: Sequence[Hashable],
    *,
    seed: int = 0,
    resamples: int = 1000,
) -> list[Interval]:
    """The mean of every column, with an interval from redrawn photos.

    Args:
        outcomes: (P, K) yes or no, or numbers.
        photos: (P,) the photo that each row belongs to.
        seed: of the draws.
        resamples: how often to draw.

    Returns:
        K figures.

    Raises:
        ValueError: there are no rows, or not one photo a row.
    """
    table = np.asarray(outcomes, dtype=np.float64)
    if table.ndim != 2 or not len(table) or len(photos) != len(table):
        raise ValueError(
            f"shares: expected (P, K) outcomes and P photos, P >= 1, got {table.shape} "
            f"and {len(photos)}"
        )
    rows, photo_count = number_names(photos)
    # the last column counts the things
    sums = np.zeros((photo_count, table.shape[1] + 1))
    np.add.at(sums, rows, np.concatenate([table, np.ones((len(table), 1))], axis=1))
    return bootstrap_sums(
        sums,
        lambda total: total[..., :-1] / total[..., -1:],
        resamples=resamples,
        seed=seed,
    )


def number_names(photos: Sequence[Hashable]) -> tuple[NDArray[np.int64], int]:
    """A number for each name (P,), in the order in which they first occur, and how many there are.

    >>> number_names(["b", "a", "b"])
    (array([0, 1, 0]), 2)
    """
    numbers: dict[Hashable, int] = {}
    rows = [numbers.setdefault(photo, len(numbers)) for photo in photos]
    return np.array(rows), len(numbers)
