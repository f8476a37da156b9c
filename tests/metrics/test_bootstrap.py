"""Bootstrap intervals: by hand on two photos, and against the normal approximation on many."""

from __future__ import annotations

import numpy as np
import pytest

from regiontalk.metrics.bootstrap import Interval, bootstrap_interval, interval


def test_hand_worked() -> None:
    # Two photos with values 0 and 1: draws are 0 0 (mean 0, a quarter of them), 0 1 (0.5), 1 1 (1,
    # a quarter).
    values = np.array([0.0, 1.0])
    assert bootstrap_interval(lambda rows: values[rows].mean(), 2, resamples=400) == Interval(
        0.5, 0.0, 1.0
    )
    # 0, 1 ... 100: the 2.5 and 97.5 % quantiles.
    assert interval(7.0, np.arange(101.0)).low == pytest.approx(2.5)
    assert Interval(7.0, 2.5, 97.5).to_dict() == {"value": 7.0, "low": 2.5, "high": 97.5}


def test_width_is_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(size=400)
    found = bootstrap_interval(lambda rows: values[rows].mean(), 400, resamples=2000)
    half = 1.96 * values.std() / 20  # standard error of the mean of 400
    assert [found.low, found.high] == pytest.approx(
        [values.mean() - half, values.mean() + half], abs=0.015
    )


def test_same_seed_same_interval() -> None:
    values = np.random.default_rng(0).normal(size=30)
    first, second = (
        bootstrap_interval(lambda rows: values[rows].mean(), 30, resamples=50, seed=9)
        for _ in range(2)
    )
    assert first == second


def test_draws_that_are_no_number() -> None:
    assert interval(1.0, np.array([np.nan, 2.0, 2.0])) == Interval(1.0, 2.0, 2.0)
    assert np.isnan(interval(1.0, np.array([np.nan])).low)


@pytest.mark.parametrize(
    ("photos", "resamples", "level"),
    [
        pytest.param(0, 10, 0.95, id="no-photos"),
        pytest.param(3, 0, 0.95, id="no-draws"),
        pytest.param(3, 10, 1.0, id="whole-level"),
    ],
)
def test_errors(photos: int, resamples: int, level: float) -> None:
    with pytest.raises(ValueError, match="bootstrap: expected"):
        bootstrap_interval(lambda rows: 0.0, photos, resamples=resamples, level=level)
