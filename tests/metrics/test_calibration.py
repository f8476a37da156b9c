"""Reliability and calibration by hand, against plain loops, and against brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from regiontalk.metrics.calibration import Calibration, fit_isotonic, fit_platt, reliability


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
    assert [(item.low, item.high, item.count) for item in report.bins] == [(0, 0.5, 2), (0.5, 1, 3)]
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
    assert report.error.value == pytest.approx(slow_error(values.tolist(), right.tolist(), 7))
    assert report.error.low <= report.error.value <= report.error.high


def test_isotonic_by_hand() -> None:
    # Right: 0 1 0 1 at scores 1 2 3 4: the 1 before the 0 violates, both become 1/2.
    found = fit_isotonic([4, 1, 3, 2], [True, False, False, True])
    assert found == Calibration((1.0, 2.0, 3.0, 4.0), (0.0, 0.5, 0.5, 1.0))
    # Half way between the knots 3 and 4: (0.5 + 1) / 2. Beyond the ends: level.
    assert found([3.5, -9, 9]).tolist() == [0.75, 0.0, 1.0]


def brute_force(values: list[float], right: list[bool]) -> float:
    """Least squared error over all ways to cut the sorted distinct scores into runs whose means never fall."""
    points = sorted(set(values))
    groups = [[right[i] for i, value in enumerate(values) if value == point] for point in points]
    best = math.inf
    for cuts in itertools.product([False, True], repeat=len(points) - 1):
        runs = [list(groups[0])]
        for cut, group in zip(cuts, groups[1:], strict=True):
            runs = [*runs, list(group)] if cut else [*runs[:-1], runs[-1] + group]
        means = [sum(run) / len(run) for run in runs]
        if all(first <= second for first, second in itertools.pairwise(means)):
            error = sum(
                (mean - value) ** 2 for mean, run in zip(means, runs, strict=True) for value in run
            )
            best = min(best, error)
    return best


@pytest.mark.parametrize("seed", range(10))
def test_isotonic_is_the_best_of_all(seed: int) -> None:
    generator = np.random.default_rng(seed)
    values = generator.integers(0, 9, 14).astype(float)
    right = generator.random(14) < 0.5
    error = ((fit_isotonic(values, right)(values) - right) ** 2).sum()
    assert error == pytest.approx(brute_force(values.tolist(), right.tolist()), abs=1e-9)


def test_platt_finds_the_sigmoid() -> None:
    generator = np.random.default_rng(0)
    scores = generator.normal(5, 2, 20_000)
    chance = 1 / (1 + np.exp(-(1.5 * scores - 7)))
    found = fit_platt(scores, generator.random(20_000) < chance)
    assert np.abs(found(scores) - chance).max() < 0.03


def test_platt_against_grid_search() -> None:
    scores, right = np.array([0.0, 1.0, 2.0, 3.0]), np.array([0, 1, 0, 1])
    # Two right and two wrong: targets (2 + 1) / (2 + 2) = .75 and 1 / (2 + 2) = .25.
    targets = np.where(right, 0.75, 0.25)
    best = min(
        (-(targets * np.log(p) + (1 - targets) * np.log(1 - p)).sum(), slope, offset)
        for slope in np.arange(0.2, 0.8, 0.01)
        for offset in np.arange(-1.2, -0.2, 0.01)
        for p in [1 / (1 + np.exp(-(slope * scores + offset)))]
    )
    wanted = 1 / (1 + np.exp(-(best[1] * scores + best[2])))
    assert fit_platt(scores, right)(scores).tolist() == pytest.approx(wanted.tolist(), abs=0.01)


@pytest.mark.parametrize(
    ("scores", "right", "want"),
    [
        # All right: (3 + 1) / (3 + 2); the optimum is level.
        pytest.param([1, 2, 3], [1, 1, 1], [0.8, 0.8, 0.8], id="all-right"),
        pytest.param([1, 2, 3], [0, 0, 0], [0.2, 0.2, 0.2], id="all-wrong"),
        # One of two right at one score: targets 2/3 and 1/3, mean 1/2.
        pytest.param([5, 5], [1, 0], [0.5, 0.5], id="one-score"),
        # The higher score is the wrong one: a falling map is refused.
        pytest.param([1, 2], [1, 0], [0.5, 0.5], id="falling"),
        pytest.param([7], [1], [2 / 3], id="one-answer"),
    ],
)
def test_platt_corners(scores: list[float], right: list[int], want: list[float]) -> None:
    assert fit_platt(scores, right)(scores).tolist() == pytest.approx(want, abs=1e-3)


@pytest.mark.parametrize("fit", [fit_isotonic, fit_platt])
def test_fitting_helps_keeps_the_order_and_goes_through_json(fit: object) -> None:
    generator = np.random.default_rng(1)
    scores = generator.random(4000)
    right = (
        generator.random(4000) < 0.2 + 0.4 * scores
    )  # overconfident at the top, too shy at the bottom
    found = fit(scores[:2000], right[:2000])
    before = reliability(scores[2000:], right[2000:], resamples=5).error.value
    after = reliability(found(scores[2000:]), right[2000:], resamples=5).error.value
    assert after < 0.05 < 0.15 < before
    assert (np.diff(found(np.sort(scores))) >= 0).all()
    assert Calibration.from_dict(found.to_dict()) == found


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(lambda: reliability([], []), "P >= 1", id="nothing"),
        pytest.param(lambda: reliability([0.5], [1, 0]), "got \\(1,\\) and \\(2,\\)", id="lengths"),
        pytest.param(lambda: reliability([1.5], [1]), "expected 0..1", id="confidence-above-one"),
        pytest.param(
            lambda: reliability([0.5], [1], ["a", "b"]),
            "photos: expected one an answer",
            id="photos",
        ),
        pytest.param(lambda: fit_isotonic([np.nan], [1]), "finite", id="nan"),
        pytest.param(lambda: fit_platt([], []), "P >= 1", id="platt-nothing"),
        pytest.param(
            lambda: Calibration((1.0, 1.0), (0.1, 0.2)), "rising scores", id="knots-not-rising"
        ),
        pytest.param(lambda: Calibration((1.0, 2.0), (0.2, 0.1)), "never fall", id="falling-map"),
        pytest.param(lambda: Calibration((), ()), "rising scores", id="no-knots"),
    ],
)
def test_errors(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
