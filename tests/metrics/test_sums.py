"""Bootstrap of sums: by hand, against drawing rows one by one, and its errors."""

from __future__ import annotations

import numpy as np
import pytest

from regiontalk.metrics import sums
from regiontalk.metrics.sums import bootstrap_sums


def test_by_hand() -> None:
    # Two photos with 0 and 1: a quarter of the draws has mean 0, a quarter mean 1, so the middle 95
    # % reaches both.
    (found,) = bootstrap_sums(np.array([0.0, 1.0]))
    assert (found.value, found.low, found.high) == (0.5, 0.0, 1.0)


def test_slow_twin() -> None:
    random = np.random.default_rng(0)
    rows = random.integers(0, 9, (40, 2)).astype(float) + 1
    drawn = [rows[random.integers(40, size=40)].sum(axis=0) for _ in range(4000)]
    wanted = np.quantile([first / second for first, second in drawn], [0.025, 0.975])
    (found,) = bootstrap_sums(rows, lambda total: total[..., 0] / total[..., 1], resamples=4000)
    assert [found.low, found.high] == pytest.approx(wanted, abs=0.02)


def test_blocks_and_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(1).normal(size=(30, 2))
    whole = bootstrap_sums(rows, resamples=50, seed=3)
    assert (
        whole
        == bootstrap_sums(rows, resamples=50, seed=3)
        != bootstrap_sums(rows, resamples=50, seed=4)
    )
    monkeypatch.setattr(sums, "_BLOCK", 100)  # three draws at a time
    blocks = bootstrap_sums(rows, resamples=50, seed=3)
    assert [figure.low for figure in blocks] == pytest.approx([figure.low for figure in whole])


@pytest.mark.parametrize(
    ("rows", "resamples", "message"),
    [
        pytest.param(np.zeros((0, 2)), 10, "at least one row", id="no-rows"),
        pytest.param(np.zeros((2, 2, 2)), 10, "expected statistics", id="three-dimensions"),
        pytest.param(np.array([np.nan]), 10, "finite", id="nan"),
        pytest.param(np.ones(3), 0, "at least one draw", id="no-draws"),
    ],
)
def test_errors(rows: np.ndarray, resamples: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bootstrap_sums(rows, resamples=resamples)
