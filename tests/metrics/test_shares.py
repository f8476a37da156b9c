"""Intervals of shares: by hand, and against redrawing photos one at a time."""

from __future__ import annotations

import numpy as np
import pytest

from regiontalk.metrics.shares import bootstrap_shares


def test_hand_worked() -> None:
    # Photo a: 1 and 0; photo b: 1. Mean 2 / 3. Draws: a a -> 1/2, a b -> 2/3, b b -> 1/1.
    (figure,) = bootstrap_shares(np.array([[1], [0], [1]]), ["a", "a", "b"], resamples=400)
    assert figure.value == pytest.approx(2 / 3)
    assert (figure.low, figure.high) == (0.5, 1.0)


def test_one_photo_has_no_width() -> None:
    (figure,) = bootstrap_shares(np.array([[1.0], [0.0]]), ["a", "a"], resamples=7)
    assert (figure.value, figure.low, figure.high) == (0.5, 0.5, 0.5)


def test_twin() -> None:
    generator = np.random.default_rng(1)
    photos = generator.integers(0, 50, 200)
    table = generator.random((200, 2)) < 0.05 + photos[:, None] / 60
    means = []
    for _ in range(4000):
        rows = np.concatenate(
            [np.flatnonzero(photos == photo) for photo in generator.choice(np.unique(photos), 50)]
        )
        means.append(table[rows].mean(axis=0))
    wanted = np.quantile(means, [0.025, 0.975], axis=0)
    found = bootstrap_shares(table, photos.tolist(), resamples=4000)
    for column, figure in enumerate(found):
        assert [figure.low, figure.high] == pytest.approx(wanted[:, column].tolist(), abs=0.015)


@pytest.mark.parametrize(
    ("outcomes", "photos"),
    [
        pytest.param(np.zeros((0, 2)), [], id="no-rows"),
        pytest.param(np.zeros((2, 1)), ["a"], id="too-few-photos"),
        pytest.param(np.zeros(2), ["a", "b"], id="not-a-table"),
    ],
)
def test_errors(outcomes: np.ndarray, photos: list[str]) -> None:
    with pytest.raises(ValueError, match="expected \\(P, K\\) outcomes"):
        bootstrap_shares(outcomes, photos)
