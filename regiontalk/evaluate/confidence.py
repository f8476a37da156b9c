"""Fitting a model's confidence on one half of a split and judging it on the other.

What counts as right stands in `right`. The confidence is a sigmoid of two pieces of evidence (`model.Calibration`):
mean log-probability a word, and the alignment score of the caption and its box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regiontalk.captioner import calibrated
from regiontalk.evaluate.charts import reliability_chart
from regiontalk.evaluate.photos import EncodedPhotos
from regiontalk.evaluate.regions import describe_boxes
from regiontalk.evaluate.result import Figure, Result
from regiontalk.evaluate.right import photo_right, region_right
from regiontalk.evaluate.speaking import speak_of_photos
from regiontalk.metrics.calibration import Reliability, reliability
from regiontalk.model import Calibration, ModelConfig

Judged = tuple[str, float, float, bool]
"""Photo, fluency, match, and whether the caption was right."""


@dataclass(frozen=True)
class Fitted:
    """One kind of caption: its calibration and how well it holds on photos that it was not fitted on.

    Attributes:
        calibration: what to put into `DecodingConfig`.
        fitted_on: captions of the half that it was fitted on.
        before: the other half with the model's present calibration.
        after: the other half with the new one.
    """

    calibration: Calibration
    fitted_on: int
    before: Reliability
    after: Reliability


@dataclass(frozen=True)
class ConfidenceFit:
    """Calibrations of whole-photo and of region captions."""

    photo: Fitted
    region: Fitted


def fit_confidence(photos: EncodedPhotos, *, beams: int | None = None, resamples: int = 1000) -> ConfidenceFit:
    """Fit both calibrations on every second photo and judge them on the others.

    Args:
        photos: the data set, with Entities boxes and phrases; dev, never the split that is reported.
        beams: K of the beam search; None takes the model's own.
        resamples: bootstrap draws of photos.

    Raises:
        ValueError: one of the two halves has no caption to judge.
    """
    half = {example.id: place % 2 for place, example in enumerate(photos.examples)}
    sentences = {example.id: example.captions for example in photos.examples}
    of_photos = [
        (name, said.fluency, said.match, photo_right(said.text, sentences[name]))
        for name, said in speak_of_photos(photos, beams).items()
    ]
    of_regions = [
        (item.thing.photo, item.spoken.fluency, item.spoken.match, region_right(item.spoken.text, item.thing.phrases))
        for item in describe_boxes(photos, beams)
    ]
    decoding = photos.captioner.model.config.decoding
    fitted = []
    for judged, before in ((of_photos, decoding.photo), (of_regions, decoding.region)):
        rows = [(name, fluency, match, right) for name, fluency, match, right in judged if right is not None]
        halves = ([row for row in rows if half[row[0]] == side] for side in (0, 1))
        fitted.append(fit_half(*halves, before=before, resamples=resamples))
    return ConfidenceFit(*fitted)


def fit_half(fit: Sequence[Judged], judge: Sequence[Judged], *, before: Calibration, resamples: int = 1000) -> Fitted:
    """A calibration fitted on some captions and judged on others.

    Raises:
        ValueError: one of the two has none.
    """
    if not fit or not judge:
        raise ValueError(f"calibration: expected captions in both halves, got {len(fit)} and {len(judge)}")
    calibration = fit_logistic(
        np.array([[fluency, match] for _, fluency, match, _ in fit]), np.array([right for *_, right in fit])
    )
    names = [name for name, *_ in judge]
    right = [correct for *_, correct in judge]

    def held(one: Calibration) -> Reliability:
        values = [calibrated(one, fluency, match) for _, fluency, match, _ in judge]
        return reliability(values, right, names, resamples=resamples)

    return Fitted(calibration, len(fit), held(before), held(calibration))


def fit_logistic(evidence: NDArray[np.float64], right: NDArray[np.bool_], ridge: float = 1e-3) -> Calibration:
    """Logistic regression by Newton's method on standardised evidence.

    Targets are Platt's (n+ + 1) / (n+ + 2) and 1 / (n- + 2), so captions that are all right or all wrong do not give
    certainty, and the optimum is finite; a little ridge keeps evidence that says the same thing twice in bounds.

    Args:
        evidence: (P, 2) fluency and match.
        right: (P,).
        ridge: of the two weights, for a mean loss.
    """
    centre, spread = evidence.mean(axis=0), evidence.std(axis=0)
    spread = np.where(spread > 1e-12, spread, 1.0)
    design = np.column_stack([np.ones(len(evidence)), (evidence - centre) / spread])
    good = int(right.sum())
    target = np.where(right, (good + 1) / (good + 2), 1 / (len(right) - good + 2))
    penalty = np.array([0.0, ridge, ridge])
    weights = np.zeros(3)

    def loss(at: NDArray[np.float64]) -> float:
        logits = design @ at
        return float((np.logaddexp(0, logits) - target * logits).mean() + (penalty * at**2).sum() / 2)

    for _ in range(50):
        heights = 0.5 * (1 + np.tanh(0.5 * (design @ weights)))
        gradient = design.T @ (heights - target) / len(target) + penalty * weights
        curvature = (design * (heights * (1 - heights))[:, None]).T @ design / len(target) + np.diag(penalty + 1e-9)
        step = np.linalg.solve(curvature, gradient)
        while loss(weights - step) > loss(weights) and np.abs(step).max() > 1e-9:
            step = step / 2
        weights = weights - step
        if np.abs(step).max() < 1e-8:
            break
    slopes = weights[1:] / spread
    bias = float(weights[0] - (slopes * centre).sum())
    return Calibration(bias=bias, per_word=float(slopes[0]), per_match=float(slopes[1]))


def confidence_result(fit: ConfidenceFit) -> Result:
    """The fit as a table, with the settings to copy into ``config.json``."""
    kinds = (("photo", fit.photo), ("region", fit.region))
    figures: dict[str, dict[str, Figure]] = {}
    counts: dict[str, int | float] = {}
    for name, one in kinds:
        for when, held in (("before", one.before), ("after", one.after)):
            figures[f"{name}, {when}"] = {"calibration error": held.error, "Brier": held.brier, "right": held.accuracy}
        counts[f"{name} captions fitted on"] = one.fitted_on
        counts[f"{name} captions judged"] = sum(part.count for part in one.after.bins)
    bins = tuple(
        {"kind": name, "low": part.low, "high": part.high, "count": part.count}
        | ({"confidence": part.confidence, "right": part.accuracy} if part.count else {})
        for name, one in kinds
        for part in one.after.bins
    )
    notes = tuple(f"{name}: {one.calibration.model_dump_json()}" for name, one in kinds)
    charts = (
        reliability_chart(
            "Reliability of the confidences, on photos that the fit has not seen",
            {
                f"{name}, {when}": held
                for name, one in kinds
                for when, held in (("before", one.before), ("after", one.after))
            },
        ),
    )
    return Result("calibrate", figures, counts, notes, bins, charts)


def with_fit(config: ModelConfig, fit: ConfidenceFit) -> ModelConfig:
    """The settings of a model with its new calibrations."""
    fresh = {"photo": fit.photo.calibration, "region": fit.region.calibration}
    return config.model_copy(update={"decoding": config.decoding.model_copy(update=fresh)})
