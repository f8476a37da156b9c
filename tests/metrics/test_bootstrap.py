"""Bootstrap intervals: by hand on two photos, and against the normal approximation on many."""

from __future__ import annotations

import numpy as np
import pytest

from regiontalk.metrics import bootstrap
from regiontalk.metrics.bootstrap import (
    Interval,
    bootstrap_interval,
    bootstrap_shares,
    bootstrap_sums,
    interval,
)


def test_hand_worked() -> None:
    # Two photos with values 0 and 1: draws are 0 0 (mean 0, a quarter of them), 0 1 (0.5), 1 1 (1,
    # a quarter).
    values = np.array([0.0, 1.0])
    assert bootstrap_interval(
        lambda rows: values[rows].mean(), 2, resamples=400
    ) == Interval(0.5, 0.0, 1.0)
    # 0, 1 ... 100: the 2.5 and 97.5 % quantiles.
    assert interval(7.0, np.arange(101.0)).low == pytest.approx(2.5)
    assert Interval(7.0, 2.5, 97.5).to_dict() == {
        "value": 7.0,
        "low": 2.5,
        "high": 97.5,
    }


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


def test_sums_by_hand() -> None:
    # Two photos with 0 and 1: a quarter of the draws has mean 0, a quarter mean 1, so the middle 95
    # % reaches both.
    (found,) = bootstrap_sums(np.array([0.0, 1.0]))
    assert (found.value, found.low, found.high) == (0.5, 0.0, 1.0)


def test_sums_slow_twin() -> None:
    random = np.random.default_rng(0)
    rows = random.integers(0, 9, (40, 2)).astype(float) + 1
    drawn = [rows[random.integers(40, size=40)].sum(axis=0) for _ in range(4000)]
    wanted = np.quantile([first / second for first, second in drawn], [0.025, 0.975])
    (found,) = bootstrap_sums(
        rows, lambda total: total[..., 0] / total[..., 1], resamples=4000
    )
    assert [found.low, found.high] == pytest.approx(wanted, abs=0.02)


def test_sums_blocks_and_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(1).normal(size=(30, 2))
    whole = bootstrap_sums(rows, resamples=50, seed=3)
    assert (
        whole
        == bootstrap_sums(rows, resamples=50, seed=3)
        != bootstrap_sums(rows, resamples=50, seed=4)
    )
    monkeypatch.setattr(bootstrap, "_BLOCK", 100)  # three draws at a time
    blocks = bootstrap_sums(rows, resamples=50, seed=3)
    assert [figure.low for figure in blocks] == pytest.approx(
        [figure.low for figure in whole]
    )


@pytest.mark.parametrize(
    ("rows", "resamples", "message"),
    [
        pytest.param(np.zeros((0, 2)), 10, "at least one row", id="no-rows"),
        pytest.param(
            np.zeros((2, 2, 2)), 10, "expected statistics", id="three-dimensions"
        ),
        pytest.param(np.array([np.nan]), 10, "finite", id="nan"),
        pytest.param(np.ones(3), 0, "at least one draw", id="no-draws"),
    ],
)
def test_sums_errors(rows: np.ndarray, resamples: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bootstrap_sums(rows, resamples=resamples)


def test_shares_hand_worked() -> None:
    # Photo a: 1 and 0; photo b: 1. Mean 2 / 3. Draws: a a -> 1/2, a b -> 2/3, b b -> 1/1.
    (figure,) = bootstrap_shares(
        np.array([[1], [0], [1]]), ["a", "a", "b"], resamples=400
    )
    assert figure.value == pytest.approx(2 / 3)
    assert (figure.low, figure.high) == (0.5, 1.0)


def test_shares_one_photo_has_no_width() -> None:
    (figure,) = bootstrap_shares(np.array([[1.0], [0.0]]), ["a", "a"], resamples=7)
    assert (figure.value, figure.low, figure.high) == (0.5, 0.5, 0.5)


def test_shares_twin() -> None:
    generator = np.random.default_rng(1)
    photos = generator.integers(0, 50, 200)
    table = generator.random((200, 2)) < 0.05 + photos[:, None] / 60
    means = []
    for _ in range(4000):
        rows = np.concatenate(
            [
                np.flatnonzero(photos == photo)
                for photo in generator.choice(np.unique(photos), 50)
            ]
        )
        means.append(table[rows].mean(axis=0))
    wanted = np.quantile(means, [0.025, 0.975], axis=0)
    found = bootstrap_shares(table, photos.tolist(), resamples=4000)
    for column, figure in enumerate(found):
        assert [figure.low, figure.high] == pytest.approx(
            wanted[:, column].tolist(), abs=0.015
        )


@pytest.mark.parametrize(
    ("outcomes", "photos"),
    [
        pytest.param(np.zeros((0, 2)), [], id="no-rows"),
        pytest.param(np.zeros((2, 1)), ["a"], id="too-few-photos"),
        pytest.param(np.zeros(2), ["a", "b"], id="not-a-table"),
    ],
)
def test_shares_errors(outcomes: np.ndarray, photos: list[str]) -> None:
    with pytest.raises(ValueError, match="expected \\(P, K\\) outcomes"):
        bootstrap_shares(outcomes, photos)
