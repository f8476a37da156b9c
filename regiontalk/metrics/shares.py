"""Shares of things that hang on photos (phrases, boxes, sentences), with intervals over photos.

Enter: a table (P, K) of outcomes, P things and K measures, and the photo of each thing. Leave: K
means with intervals.
The things of one photo are not independent, so photos are redrawn, each with all its things.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontalk.metrics.bootstrap import Interval
from regiontalk.metrics.sums import bootstrap_sums


def bootstrap_shares(
    outcomes: NDArray[Any], photos: Sequence[Hashable], *, seed: int = 0, resamples: int = 1000
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
            f"shares: expected (P, K) outcomes and P photos, P >= 1, got {table.shape} and {len(photos)}"
        )
    number: dict[Hashable, int] = {}
    rows = np.array([number.setdefault(photo, len(number)) for photo in photos])
    sums = np.zeros((len(number), table.shape[1] + 1))  # the last column counts the things
    np.add.at(sums, rows, np.concatenate([table, np.ones((len(table), 1))], axis=1))
    return bootstrap_sums(
        sums, lambda total: total[..., :-1] / total[..., -1:], resamples=resamples, seed=seed
    )
