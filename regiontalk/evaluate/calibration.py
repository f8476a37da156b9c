"""Fitting a model's confidence on one half of a split and judging it on the other.

What counts as right stands in `right`. The confidence is a sigmoid of three pieces of evidence
(`model.Calibration`): mean log-probability a word, the alignment score of the caption and its box,
and the box's log objectness.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from regiontalk import boxes as box_ops
from regiontalk.captioner import calibrated
from regiontalk.evaluate.charts import reliability_chart
from regiontalk.evaluate.correctness import photo_right, region_right
from regiontalk.evaluate.photos import EncodedPhotos
from regiontalk.evaluate.region_captions import speak, speak_of_photos
from regiontalk.evaluate.regions import describe_boxes
from regiontalk.evaluate.result import Figure, Result
from regiontalk.metrics.calibration import Reliability, reliability
from regiontalk.metrics.names import MEETS_IOU, ClassWords, names_class
from regiontalk.model.config import Calibration, ModelConfig
from regiontalk.records import Example, FloatArray

PROPOSALS = 20  # of each photo whose captions are judged where they meet an annotated box


class Judged(NamedTuple):
    """A caption with what its confidence is computed from.

    Attributes:
        photo: id of its photo.
        fluency: mean log-probability a word.
        match: alignment of caption and box.
        objectness: of the box, in 0..1.
        right: whether the caption was right.
    """

    photo: str
    fluency: float
    match: float
    objectness: float
    right: bool


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
    """Calibrations of whole-photo and of region captions.

    Attributes:
        photo: of whole photos.
        region: of regions, all kinds of them together.
        by_kind: how the regions' calibration holds for each kind, on the photos it was not fitted
            on.
    """

    photo: Fitted
    region: Fitted
    by_kind: Mapping[str, Reliability] = field(default_factory=dict)


def fit_confidence(
    photos: EncodedPhotos,
    *,
    class_words: ClassWords | None = None,
    beams: int | None = None,
    resamples: int = 1000,
) -> ConfidenceFit:
    """Fit both calibrations on every second photo and judge them on the others.

    Args:
        photos: the data set, with boxes and phrases, or boxes of classes; dev, never the split that
            is reported.
        class_words: what names each class; a photo all of whose phrases are classes is judged by
            it.
        beams: K of the beam search; None takes the model's own.
        resamples: bootstrap draws of photos.

    Raises:
        ValueError: one of the two halves has no caption to judge.
    """
    half = {example.id: place % 2 for place, example in enumerate(photos.examples)}
    sentences = {example.id: example.captions for example in photos.examples}
    of_photos = [
        Judged(name, caption.fluency, caption.match, 1.0, correct)
        for name, caption in speak_of_photos(photos, beams).items()
        if (correct := photo_right(caption.text, sentences[name])) is not None
    ]
    kinds = judge_boxes(photos, class_words or {}, beams)
    decoding = photos.captioner.config.decoding
    photo_fit = fit_half(*_halves(of_photos, half), before=decoding.photo, resamples=resamples)
    of_regions = list(chain.from_iterable(kinds.values()))
    region_fit = fit_half(*_halves(of_regions, half), before=decoding.region, resamples=resamples)
    by_kind = {
        name: hold(region_fit.calibration, judged, resamples)
        for name, rows in kinds.items()
        if (judged := _halves(rows, half)[1])
    }
    return ConfidenceFit(photo_fit, region_fit, by_kind)


def judge_boxes(
    photos: EncodedPhotos, class_words: ClassWords, beams: int | None = None
) -> dict[str, list[Judged]]:
    """Captions of annotated boxes and of proposals that meet one, by kind of annotation."""
    kinds: dict[str, list[Judged]] = {
        "phrases, annotated boxes": [],
        "phrases, proposals": [],
        "names, proposals": [],
    }
    for item in describe_boxes(photos, beams):
        if set(item.thing.phrases) <= set(class_words):
            continue
        correct = region_right(item.spoken.text, item.thing.phrases)
        if correct is not None:
            judged = Judged(item.thing.photo, item.spoken.fluency, item.spoken.match, 1.0, correct)
            kinds["phrases, annotated boxes"].append(judged)
    captioner = photos.captioner
    for batch in photos:
        boxes, scores = captioner.predictor.propose(batch.features, PROPOSALS)
        proposals = [boxes[row, 1:] for row in range(len(batch))]
        captions = speak(captioner, batch, proposals, beams)
        for row, example in enumerate(batch.examples):
            names = {phrase.text for phrase in example.phrases}
            is_named = bool(names) and names <= set(class_words)
            corners = batch.to_annotation(row, boxes[row, 1:])
            kind = kinds["names, proposals" if is_named else "phrases, proposals"]
            for box, caption, score in zip(
                corners, captions[row], scores[row, 1:].tolist(), strict=True
            ):
                correct = judge_caption(
                    caption.text, box, example, class_words if is_named else None
                )
                if score and correct is not None:
                    kind.append(Judged(example.id, caption.fluency, caption.match, score, correct))
    return kinds


def judge_caption(
    text: str, box_xyxy: FloatArray, example: Example, class_words: ClassWords | None
) -> bool | None:
    """Whether a caption on a box (4,) is right, by the annotated boxes that it meets; None where it meets none."""
    if not len(example.boxes_xyxy) or (box_xyxy[2:] <= box_xyxy[:2]).any():
        return None
    meets = set(
        np.flatnonzero(box_ops.iou(box_xyxy[None], example.boxes_xyxy)[0] >= MEETS_IOU).tolist()
    )
    phrases = [phrase.text for phrase in example.phrases if meets.intersection(phrase.boxes)]
    if not phrases:
        return None
    if class_words is None:
        return region_right(text, phrases)
    return any(names_class(text, class_words[name]) for name in phrases)


def _halves(rows: Iterable[Judged], half: Mapping[str, int]) -> tuple[list[Judged], list[Judged]]:
    """Captions of the photos of each half."""
    sides: tuple[list[Judged], list[Judged]] = ([], [])
    for row in rows:
        sides[half[row.photo]].append(row)
    return sides


def hold(calibration: Calibration, judged: Sequence[Judged], resamples: int) -> Reliability:
    """How well a calibration holds on captions."""
    values = [calibrated(calibration, row.fluency, row.match, row.objectness) for row in judged]
    return reliability(
        values, [row.right for row in judged], [row.photo for row in judged], resamples=resamples
    )


def fit_half(
    fit: Sequence[Judged], judge: Sequence[Judged], *, before: Calibration, resamples: int = 1000
) -> Fitted:
    """A calibration fitted on some captions and judged on others.

    Raises:
        ValueError: one of the two has none.
    """
    if not fit or not judge:
        raise ValueError(
            f"calibration: expected captions in both halves, got {len(fit)} and {len(judge)}"
        )
    evidence = [(row.fluency, row.match, math.log(max(row.objectness, 1e-6))) for row in fit]
    calibration = fit_logistic(np.array(evidence), np.array([row.right for row in fit]))
    return Fitted(
        calibration, len(fit), hold(before, judge, resamples), hold(calibration, judge, resamples)
    )


def fit_logistic(
    evidence: NDArray[np.float64], right: NDArray[np.bool_], ridge: float = 1e-3
) -> Calibration:
    """Logistic regression by Newton's method on standardised evidence.

    Targets are Platt's (n+ + 1) / (n+ + 2) and 1 / (n- + 2), so captions that are all right or all
    wrong do not give certainty, and the optimum is finite; a little ridge keeps evidence that says
    the same thing twice in bounds.

    Args:
        evidence: (P, 3) fluency, match and log objectness.
        right: (P,).
        ridge: of the weights, for a mean loss.
    """
    centre, spread = evidence.mean(axis=0), evidence.std(axis=0)
    spread = np.where(spread > 1e-12, spread, 1.0)
    design = np.column_stack([np.ones(len(evidence)), (evidence - centre) / spread])
    good = int(right.sum())
    target = np.where(right, (good + 1) / (good + 2), 1 / (len(right) - good + 2))
    penalty = np.array([0.0, *[ridge] * evidence.shape[1]])
    weights = np.zeros(1 + evidence.shape[1])

    def loss(at: NDArray[np.float64]) -> float:
        logits = design @ at
        return float(
            (np.logaddexp(0, logits) - target * logits).mean() + (penalty * at**2).sum() / 2
        )

    for _ in range(50):
        heights = 0.5 * (1 + np.tanh(0.5 * (design @ weights)))
        gradient = design.T @ (heights - target) / len(target) + penalty * weights
        curvature = (design * (heights * (1 - heights))[:, None]).T @ design / len(
            target
        ) + np.diag(penalty + 1e-9)
        step = np.linalg.solve(curvature, gradient)
        while loss(weights - step) > loss(weights) and np.abs(step).max() > 1e-9:
            step = step / 2
        weights = weights - step
        if np.abs(step).max() < 1e-8:
            break
    slopes = weights[1:] / spread
    bias = float(weights[0] - (slopes * centre).sum())
    per_word, per_match, per_box = (float(slope) for slope in slopes)
    return Calibration(bias=bias, per_word=per_word, per_match=per_match, per_box=per_box)


def confidence_result(fit: ConfidenceFit) -> Result:
    """The fit as a table, with the settings to copy into ``config.json``."""
    kinds = (("photo", fit.photo), ("region", fit.region))
    figures: dict[str, dict[str, Figure]] = {}
    counts: dict[str, int | float] = {}
    for name, one in kinds:
        for when, held in (("before", one.before), ("after", one.after)):
            figures[f"{name}, {when}"] = {
                "calibration error": held.error,
                "Brier": held.brier,
                "right": held.accuracy,
            }
        counts[f"{name} captions fitted on"] = one.fitted_on
        counts[f"{name} captions judged"] = sum(part.count for part in one.after.bins)
    for name, held in fit.by_kind.items():
        figures[f"region, {name}"] = {
            "calibration error": held.error,
            "Brier": held.brier,
            "right": held.accuracy,
        }
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
