"""Bootstrap intervals: how far a figure would move with other photos from the same source.

The resampling unit is the photo, never the phrase, sentence or box: those of one photo are not
independent. Every draw takes as many photos as there are, with replacement, and computes the figure
again; the interval holds the middle 95 % of the draws (percentile method of Efron, 1979). Draws are
seeded: the same predictions give the same interval.

`bootstrap_interval` takes any figure; one that is a function of sums (a mean, a hit rate, corpus
BLEU) is far cheaper through `sums.bootstrap_sums`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95


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
            f"bootstrap: expected at least one photo and one draw and 0 < level < 1, got {photos}, {resamples}, {level}"
        )
    generator = np.random.default_rng(seed)
    draws = [statistic(generator.integers(0, photos, photos)) for _ in range(resamples)]
    return interval(statistic(np.arange(photos)), np.asarray(draws), level)


def interval(value: float, draws: NDArray[np.float64], level: float = LEVEL) -> Interval:
    """The figure with the middle ``level`` of its draws (resamples,); draws that are not a number are left out."""
    usable = draws[np.isfinite(draws)]
    if not len(usable):
        return Interval(float(value), float("nan"), float("nan"))
    low, high = np.quantile(usable, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(value), float(low), float(high))
