"""The fit of confidence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from regiontalk.captioner import RegionCaptioner, calibrated
from regiontalk.evaluate.calibration import (
    Judged,
    _balance,
    _minimise,
    confidence_result,
    fit_confidence,
    fit_half,
    fit_logistic,
    with_fit,
)
from regiontalk.model.config import Calibration


def test_fit_finds_the_sigmoid_that_made_the_answers() -> None:
    random = np.random.default_rng(0)
    columns = [
        random.normal(-2, 0.7, 20000),
        random.normal(0.3, 0.2, 20000),
        random.normal(-1, 0.5, 20000),
        random.normal(0, 2, 20000),
    ]
    evidence = np.column_stack(columns)
    chance = 1 / (1 + np.exp(-(3.0 + evidence @ [1.5, 2.0, 0.5, 0.7])))
    found = fit_logistic(evidence, random.random(20000) < chance, ridge=0.0)
    fitted = (found.bias, found.per_word, found.per_match, found.per_box)
    assert fitted == pytest.approx((3.0, 1.5, 2.0, 0.5), abs=0.25)
    assert found.per_check == pytest.approx(0.7, abs=0.05)


def test_fit_is_the_least_loss() -> None:
    random = np.random.default_rng(1)
    evidence, right = random.normal(size=(60, 4)), random.random(60) < 0.4
    found = fit_logistic(evidence, right)
    target = np.where(
        right, (right.sum() + 1) / (right.sum() + 2), 1 / ((~right).sum() + 2)
    )

    def loss(bias: float, *weights: float) -> float:
        logits = bias + evidence @ weights
        slopes = np.array(weights) * evidence.std(axis=0)
        return float(
            (np.logaddexp(0, logits) - target * logits).mean()
            + 1e-3 * (slopes**2).sum() / 2
        )

    best = tuple(found.model_dump().values())
    for axis in range(5):
        for step in (-0.05, 0.05):
            moved = list(best)
            moved[axis] += step
            assert loss(*best) < loss(*moved)


@pytest.mark.parametrize("right", [True, False])
def test_captions_that_are_all_alike_give_no_certainty(right: bool) -> None:
    evidence = np.random.default_rng(0).normal(size=(30, 4))
    found = fit_logistic(evidence, np.full(30, right))
    chance = calibrated(found, 0.0, 0.0)
    # Platt's target of 30 right ones is 31/32
    assert chance == pytest.approx(31 / 32 if right else 1 / 32, abs=1e-3)


def test_equal_evidence_is_borne() -> None:
    found = fit_logistic(np.ones((4, 4)), np.array([True, True, True, False]))
    assert calibrated(found, 1.0, 1.0, np.e, 1.0) == pytest.approx(
        (3 * 4 / 5 + 1 / 3) / 4, abs=1e-6
    )  # the mean target


def test_fit_half_judges_the_other_half() -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=2000)
    right = random.random(2000) < 1 / (1 + np.exp(-2 * values))
    rows = [
        Judged(f"p{row}", float(value), 0.0, 1.0, bool(right[row]))
        for row, value in enumerate(values)
    ]
    found = fit_half(
        rows[:1000], rows[1000:], before=Calibration(bias=-3.0), resamples=5
    )
    assert (
        found.after.error.value < 0.06 < found.before.error.value
        and found.fitted_on == 1000
    )
    with pytest.raises(
        ValueError, match="expected captions in both halves, got 1000 and 0"
    ):
        fit_half(rows[:1000], [], before=Calibration())


def test_the_protocol(captioner: RegionCaptioner, photos: Any) -> None:
    fit = fit_confidence(photos(keep=True), beams=2, resamples=5)
    result = confidence_result(fit)
    fitted = ["photo, before", "photo, after", "region, before", "region, after"]
    assert list(result.figures)[:4] == fitted
    assert "region, phrases, annotated boxes" in result.figures
    assert (
        result.counts["photo captions fitted on"]
        == result.counts["photo captions judged"]
        == 3
    )
    assert len(result.outputs) == 20  # ten bins each
    config = with_fit(captioner.config, fit)
    assert (
        config.decoding.photo == fit.photo.calibration
        and config.decoding.region == fit.region.calibration
    )
    assert config.decoding.beams == captioner.config.decoding.beams


def test_names_count_as_much_as_phrases() -> None:
    rows = [Judged(f"p{row}", 0.0, 0.0, 1.0, row % 2 == 0) for row in range(10)]
    weights = _balance(rows, rows[:2])
    assert weights[:2].sum() == pytest.approx(5) == weights[2:].sum()
    assert _balance(rows, []).tolist() == [1.0] * 10 == _balance(rows, rows).tolist()
    # a caption that counts 0 is not there
    random = np.random.default_rng(0)
    evidence, right = random.normal(size=(40, 4)), random.random(40) < 0.5
    moved = evidence + 9 * (np.arange(40) >= 30)[:, None]
    design = np.column_stack([np.ones(40), evidence])
    counts = np.where(np.arange(40) < 30, 4 / 3, 0.0)
    targets = right.astype(float)
    penalty = np.full(5, 0.01)
    found = _minimise(design, targets, penalty, counts)
    design[:, 1:] = moved
    assert _minimise(design, targets, penalty, counts) == pytest.approx(found)
