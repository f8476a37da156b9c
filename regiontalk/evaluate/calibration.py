"""Fitting a model's confidence on one half of a split and judging it on the other.

What counts as correct stands in `correctness`. The confidence is a sigmoid of three features
(`model.Calibration`): mean log-probability a word, the alignment score of the caption and its box,
and the box's log objectness.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regiontalk import boxes as box_ops
from regiontalk.captioner import RegionCaptioner, ScoredCaption, calibrated
from regiontalk.evaluate.charts import reliability_chart
from regiontalk.evaluate.correctness import is_photo_correct, is_region_correct
from regiontalk.evaluate.photos import EncodedPhotos, PhotoBatch
from regiontalk.evaluate.region_captions import caption_boxes, caption_photos
from regiontalk.evaluate.regions import describe_boxes
from regiontalk.evaluate.result import Figure, Result
from regiontalk.metrics.calibration import Reliability, ReliabilityBin, reliability
from regiontalk.metrics.names import MEETS_IOU, ClassWords, judge_name, objects_of
from regiontalk.model.config import Calibration, ModelConfig
from regiontalk.records import Example, FloatArray

NAMES = "names, proposals"  # captions on proposals, judged by names of classes
# of each photo whose captions are judged where they meet an annotated box
PROPOSALS = 20
SLOPES = (
    "per_word",
    "per_match",
    "per_box",
    "per_check",
)  # in `Judged.features`' order


class Judged(NamedTuple):
    """A caption with what its confidence is computed from.

    Attributes:
        photo: id of its photo.
        mean_log_prob: mean log-probability a word.
        alignment_score: of caption and box.
        objectness: of the box, in 0..1.
        is_correct: whether the caption was correct.
        check: logit of the model's caption check; 0 where it has none.
    """

    photo: str
    mean_log_prob: float
    alignment_score: float
    objectness: float
    is_correct: bool
    check: float = 0.0

    @classmethod
    def of(
        cls, photo: str, caption: ScoredCaption, objectness: float, is_correct: bool
    ) -> Judged:
        """A caption of a photo."""
        _, mean_log_prob, alignment_score, check = caption
        return cls(photo, mean_log_prob, alignment_score, objectness, is_correct, check)

    def features(self) -> tuple[float, float, float, float]:
        """The numbers that `Calibration` weighs, in its order."""
        log_objectness = math.log(max(self.objectness, 1e-6))
        return self.mean_log_prob, self.alignment_score, log_objectness, self.check


@dataclass(frozen=True)
class Fitted:
    """One kind of caption.

    Its calibration and how well it holds on photos that it was not fitted on.

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
    half = {
        example.id: position % 2 for position, example in enumerate(photos.examples)
    }
    decoding = photos.captioner.config.decoding
    photo_halves = _halves(judge_photos(photos, beams), half)
    photo_fit = fit_half(*photo_halves, before=decoding.photo, resamples=resamples)
    kinds = judge_boxes(photos, class_words or {}, beams)
    region_halves = _halves(chain.from_iterable(kinds.values()), half)
    region_fit = fit_half(
        *region_halves,
        before=decoding.region,
        weights=_balance(region_halves[0], kinds[NAMES]),
        resamples=resamples,
    )
    by_kind = {}
    for name, captions in kinds.items():
        _, judged = _halves(captions, half)
        if judged:
            by_kind[name] = measure_reliability(
                region_fit.calibration, judged, resamples
            )
    return ConfidenceFit(photo_fit, region_fit, by_kind)


def judge_photos(
    photos: EncodedPhotos, beams: int | None = None, *, check: bool = False
) -> list[Judged]:
    """Captions of whole photos; those that cannot be judged are left out.

    The caption check is taught on regions: without ``check`` nothing is asked of it.
    """
    sentences = {example.id: example.captions for example in photos.examples}
    judged = []
    for name, caption in caption_photos(photos, beams).items():
        is_correct = is_photo_correct(caption.text, sentences[name])
        if is_correct is not None:
            of_photo = caption if check else caption._replace(check=0.0)
            judged.append(Judged.of(name, of_photo, 1.0, is_correct))
    return judged


def judge_boxes(
    photos: EncodedPhotos, class_words: ClassWords, beams: int | None = None
) -> dict[str, list[Judged]]:
    """Captions of annotated boxes and of proposals that can be judged, by kind of annotation."""
    on_truths: list[Judged] = []
    for region in describe_boxes(photos, beams):
        thing, caption = region.thing, region.caption
        if set(thing.phrases) <= set(class_words):
            continue
        is_correct = is_region_correct(caption.text, thing.phrases)
        if is_correct is not None:
            on_truths.append(Judged.of(thing.photo, caption, 1.0, is_correct))
    of_phrases: list[Judged] = []
    of_names: list[Judged] = []
    for batch in photos:
        judged_by_photo = _judge_proposals(photos.captioner, batch, class_words, beams)
        for example, captions in zip(batch.examples, judged_by_photo, strict=True):
            (of_names if _is_named(example, class_words) else of_phrases).extend(
                captions
            )
    return {
        "phrases, annotated boxes": on_truths,
        "phrases, proposals": of_phrases,
        NAMES: of_names,
    }


def _judge_proposals(
    captioner: RegionCaptioner,
    batch: PhotoBatch,
    class_words: ClassWords,
    beams: int | None,
) -> list[list[Judged]]:
    """For each photo the captions of those of its proposals that can be judged."""
    boxes, objectness = captioner.predictor.propose(batch.features, PROPOSALS)
    proposals = [boxes[row, 1:] for row in range(len(batch))]  # without the whole photo
    captions_by_photo = caption_boxes(captioner, batch, proposals, beams)
    judged_by_photo = []
    for row, example in enumerate(batch.examples):
        words = class_words if _is_named(example, class_words) else None
        boxes_xyxy = batch.to_annotation(row, proposals[row])
        scores = objectness[row, 1:].tolist()
        judged = []
        for box, caption, score in zip(
            boxes_xyxy, captions_by_photo[row], scores, strict=True
        ):
            is_correct = judge_caption(caption.text, box, example, words)
            if score and is_correct is not None:
                judged.append(Judged.of(example.id, caption, score, is_correct))
        judged_by_photo.append(judged)
    return judged_by_photo


def _is_named(example: Example, class_words: ClassWords) -> bool:
    """Whether all phrases of a photo are names of classes."""
    names = {phrase.text for phrase in example.phrases}
    return bool(names) and names <= set(class_words)


def judge_caption(
    text: str, box_xyxy: FloatArray, example: Example, class_words: ClassWords | None
) -> bool | None:
    """Whether a caption on a box (4,) is correct, by the annotated boxes.

    None where they do not say. Of phrases only the boxes that it meets say it. Of
    classes every box was marked, so a class's word is wrong where none of it is
    (`metrics.names.judge_name`).
    """
    if not len(example.boxes_xyxy) or (box_xyxy[2:] <= box_xyxy[:2]).any():
        return None
    if class_words is not None:
        classes, rows = objects_of(example)
        return judge_name(
            text, box_xyxy, classes, example.boxes_xyxy[rows], class_words
        )
    ious = box_ops.iou(box_xyxy[None], example.boxes_xyxy)[0]
    met_boxes = set(np.flatnonzero(ious >= MEETS_IOU).tolist())
    phrases = [
        phrase.text
        for phrase in example.phrases
        if met_boxes.intersection(phrase.boxes)
    ]
    if not phrases:
        return None
    return is_region_correct(text, phrases)


def _halves(
    captions: Iterable[Judged], half: Mapping[str, int]
) -> tuple[list[Judged], list[Judged]]:
    """Captions of the photos of each half."""
    halves: tuple[list[Judged], list[Judged]] = ([], [])
    for caption in captions:
        halves[half[caption.photo]].append(caption)
    return halves


def _balance(
    captions: Sequence[Judged], of_names: Sequence[Judged]
) -> NDArray[np.float64]:
    """Weights (P,) with which names count as much together as phrases.

    Captions are judged by the one or the other. Everyday photos are few among the
    annotated ones and many among those that people have.
    """
    named_photos = {caption.photo for caption in of_names}
    is_named = np.array([caption.photo in named_photos for caption in captions])
    shares = np.where(is_named, is_named.mean(), 1 - is_named.mean())
    return np.asarray(1 / (2 * shares) if 0 < is_named.mean() < 1 else shares)


def measure_reliability(
    calibration: Calibration, judged: Sequence[Judged], resamples: int
) -> Reliability:
    """How well a calibration holds on captions."""
    confidences = []
    for caption in judged:
        confidence = calibrated(
            calibration,
            caption.mean_log_prob,
            caption.alignment_score,
            caption.objectness,
            caption.check,
        )
        confidences.append(confidence)
    truths = [caption.is_correct for caption in judged]
    photos = [caption.photo for caption in judged]
    return reliability(confidences, truths, photos, resamples=resamples)


def fit_half(
    fit: Sequence[Judged],
    judge: Sequence[Judged],
    *,
    before: Calibration,
    weights: NDArray[np.float64] | None = None,
    resamples: int = 1000,
) -> Fitted:
    """A calibration fitted on some captions and judged on others.

    The former weigh alike unless ``weights`` are given.

    Raises:
        ValueError: one of the two has none.
    """
    if not fit or not judge:
        raise ValueError(
            f"calibration: expected captions in both halves, got {len(fit)} and {len(judge)}"
        )
    features = [caption.features() for caption in fit]
    is_correct = [caption.is_correct for caption in fit]
    calibration = fit_logistic(
        np.array(features), np.array(is_correct), weights=weights
    )
    return Fitted(
        calibration,
        len(fit),
        measure_reliability(before, judge, resamples),
        measure_reliability(calibration, judge, resamples),
    )


def fit_logistic(
    confidence_features: NDArray[np.float64],
    is_correct: NDArray[np.bool_],
    ridge: float = 1e-3,
    weights: NDArray[np.float64] | None = None,
) -> Calibration:
    """Logistic regression on verdicts, by `fit_targets` of their `platt_targets`."""
    targets = platt_targets(is_correct)
    return fit_targets(confidence_features, targets, ridge, weights)


def fit_targets(
    confidence_features: NDArray[np.float64],
    targets: NDArray[np.float64],
    ridge: float = 1e-3,
    weights: NDArray[np.float64] | None = None,
    prior: Calibration | None = None,
) -> Calibration:
    """Logistic regression by Newton's method on standardised features.

    A little ridge keeps features that are copies of each other in bounds.

    Args:
        confidence_features: (P, 4) mean log-probability, alignment score, log objectness and the
            caption check.
        targets: (P,) in 0..1.
        ridge: of the slopes' way from the prior's, for a mean loss.
        weights: (P,) what each caption counts, 1 in the mean; None lets all count alike.
        prior: where slopes are without evidence; None stands for 0.
    """
    centre, spread = confidence_features.mean(axis=0), confidence_features.std(axis=0)
    spread = np.where(spread > 1e-12, spread, 1.0)
    ones = np.ones(len(confidence_features))
    design = np.column_stack([ones, (confidence_features - centre) / spread])
    penalty = np.array([0.0, *[ridge] * confidence_features.shape[1]])
    counts = np.ones(len(targets)) if weights is None else weights
    start = np.zeros(len(penalty))
    if prior is not None:
        start[1:] = spread * [getattr(prior, name) for name in SLOPES]
    solution = _minimise(design, targets, penalty, counts, start)
    slopes = solution[1:] / spread
    bias = float(solution[0] - (slopes * centre).sum())
    return Calibration(bias=bias, **dict(zip(SLOPES, slopes.tolist(), strict=True)))


def platt_targets(is_correct: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Targets (P,) a little inside of 0 and 1: Platt's (n+ + 1) / (n+ + 2) and 1 / (n- + 2).

    Captions that are all correct or all wrong then do not give certainty, and the optimum is
    finite.
    """
    correct = int(is_correct.sum())
    wrong = len(is_correct) - correct
    return np.where(is_correct, (correct + 1) / (correct + 2), 1 / (wrong + 2))


def _minimise(
    design: NDArray[np.float64],
    targets: NDArray[np.float64],
    penalty: NDArray[np.float64],
    counts: NDArray[np.float64],
    start: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """The weights (K,) of the least penalised logistic loss.

    Args:
        design: (P, K).
        targets: (P,) in 0..1.
        penalty: (K,) of each weight's squared way from ``start``.
        counts: (P,) of each row.
        start: (K,); None stands for 0.
    """
    centre = np.zeros(design.shape[1]) if start is None else start

    def loss(weights: NDArray[np.float64]) -> float:
        logits = design @ weights
        losses = np.logaddexp(0, logits) - targets * logits
        return float(
            (counts * losses).mean() + (penalty * (weights - centre) ** 2).sum() / 2
        )

    weights = centre
    for _ in range(50):
        step = _newton_step(design, targets, penalty, counts, weights, centre)
        while loss(weights - step) > loss(weights) and np.abs(step).max() > 1e-9:
            step = step / 2
        weights = weights - step
        if np.abs(step).max() < 1e-8:
            break
    return weights


def _newton_step(
    design: NDArray[np.float64],
    targets: NDArray[np.float64],
    penalty: NDArray[np.float64],
    counts: NDArray[np.float64],
    weights: NDArray[np.float64],
    centre: NDArray[np.float64],
) -> NDArray[np.float64]:
    """What to take off the weights (K,); arguments as of `_minimise`."""
    total = len(targets)
    probabilities = 0.5 * (1 + np.tanh(0.5 * (design @ weights)))
    variances = counts * probabilities * (1 - probabilities)
    errors = counts * (probabilities - targets)
    gradient = design.T @ errors / total + penalty * (weights - centre)
    hessian = (design * variances[:, None]).T @ design / total + np.diag(penalty + 1e-9)
    return np.asarray(np.linalg.solve(hessian, gradient), dtype=np.float64)


def confidence_result(fit: ConfidenceFit) -> Result:
    """The fit as a table, with the settings to copy into ``config.json``."""
    kinds = {"photo": fit.photo, "region": fit.region}
    rows: dict[str, Reliability] = {}
    bins: list[dict[str, Any]] = []
    for name, kind in kinds.items():
        rows |= {f"{name}, before": kind.before, f"{name}, after": kind.after}
        bins += [_bin_row(name, row) for row in kind.after.bins]
    title = "Reliability of the confidences, on photos that the fit has not seen"
    chart = reliability_chart(title, rows)
    rows |= {f"region, {name}": kind for name, kind in fit.by_kind.items()}
    return Result(
        "calibrate",
        {name: _columns(row) for name, row in rows.items()},
        _counts(kinds),
        tuple(
            f"{name}: {kind.calibration.model_dump_json()}"
            for name, kind in kinds.items()
        ),
        tuple(bins),
        (chart,),
    )


def _counts(kinds: Mapping[str, Fitted]) -> dict[str, int]:
    """Captions of both halves, by kind."""
    counts: dict[str, int] = {}
    for name, kind in kinds.items():
        counts[f"{name} captions fitted on"] = kind.fitted_on
        counts[f"{name} captions judged"] = sum(row.count for row in kind.after.bins)
    return counts


def _columns(row: Reliability) -> dict[str, Figure]:
    """The columns of one calibration."""
    return {"calibration error": row.error, "Brier": row.brier, "right": row.accuracy}


def _bin_row(name: str, row: ReliabilityBin) -> dict[str, Any]:
    """One bin as the outputs have it."""
    values = {"kind": name, "low": row.low, "high": row.high, "count": row.count}
    if row.count:
        values |= {"confidence": row.confidence, "right": row.accuracy}
    return values


def with_fit(config: ModelConfig, fit: ConfidenceFit) -> ModelConfig:
    """The settings of a model with its new calibrations."""
    calibrations = {"photo": fit.photo.calibration, "region": fit.region.calibration}
    decoding = config.decoding.model_copy(update=calibrations)
    return config.model_copy(update={"decoding": decoding})
