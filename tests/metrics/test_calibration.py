"""Reliability and calibration by hand, against plain loops, and against brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest

from regiontalk.metrics.calibration import reliability


def test_reliability_by_hand() -> None:
    # [0, .5): confidences .2 .4, one right: gap .5 - .3 = .2. [.5, 1]: .5 .7 1.0, all right: gap 1
    # - .7333 = .2667. ECE = (2 * .2 + 3 * .2667) / 5 = 1.2 / 5 = .24. Brier: (.04 + .36 + .25 + .09
    # + 0) / 5 = .148.
    report = reliability(
        [0.2, 0.4, 0.5, 0.7, 1.0], [False, True, True, True, True], bins=2, resamples=20
    )
    assert report.error.value == pytest.approx(0.24)
    assert report.brier.value == pytest.approx(0.148)
    assert report.accuracy.value == 0.8
    assert [(item.low, item.high, item.count) for item in report.bins] == [
        (0, 0.5, 2),
        (0.5, 1, 3),
    ]
    assert [item.confidence for item in report.bins] == pytest.approx([0.3, 2.2 / 3])
    assert [item.accuracy for item in report.bins] == [0.5, 1.0]


def test_empty_bin_says_nothing() -> None:
    report = reliability([0.9], [True], bins=2, resamples=5)
    assert report.bins[0].count == 0
    assert math.isnan(report.bins[0].accuracy)
    assert report.error.value == pytest.approx(0.1)


def slow_error(values: list[float], right: list[bool], bins: int) -> float:
    total = 0.0
    for row in range(bins):
        inside = [
            i
            for i, value in enumerate(values)
            if row <= value * bins < row + 1 or (value == 1 and row == bins - 1)
        ]
        if inside:
            gap = sum(right[i] for i in inside) / len(inside) - sum(
                values[i] for i in inside
            ) / len(inside)
            total += abs(gap) * len(inside) / len(values)
    return total


@pytest.mark.parametrize("seed", range(4))
def test_reliability_twin(seed: int) -> None:
    generator = np.random.default_rng(seed)
    values = generator.random(60)
    right = generator.random(60) < values**2
    report = reliability(
        values, right, generator.integers(0, 20, 60).tolist(), bins=7, resamples=50
    )
    assert report.error.value == pytest.approx(
        slow_error(values.tolist(), right.tolist(), 7)
    )
    assert report.error.low <= report.error.value <= report.error.high


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(lambda: reliability([], []), "P >= 1", id="nothing"),
        pytest.param(
            lambda: reliability([0.5], [1, 0]),
            "got \\(1,\\) and \\(2,\\)",
            id="lengths",
        ),
        pytest.param(
            lambda: reliability([1.5], [1]), "expected 0..1", id="confidence-above-one"
        ),
        pytest.param(
            lambda: reliability([0.5], [1], ["a", "b"]),
            "photos: expected one an answer",
            id="photos",
        ),
        pytest.param(lambda: reliability([np.nan], [1]), "finite", id="nan"),
    ],
)
def test_errors(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
