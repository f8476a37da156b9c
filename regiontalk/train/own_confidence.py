"""Confidences after training on your own photos: right on them, and as before elsewhere.

What is judged of your photos says nothing of others, and a fit on it alone is sure of everything
where nearly all of it is right. So confidences are held to those of the start model:

- of regions the caption check gets a product (`CaptionCheck.with_product`) of how much a region
  looks like your photos and how much a caption sounds like your words, and the verdicts say how
  much surer it makes the model; of other photos both factors are near 0;
- of whole photos, and where there is no caption check, the calibration is fitted on the verdicts
  and on the memory of everyday photos (`train.keep`), with the confidences of the start model as
  targets between 0 and 1 (distillation: Hinton et al., 2015).

Enter: captions of dev photos with verdicts, region features of your training photos (R, F), your
words, the start model and its memory. Leaves: the model with another caption check and other
calibrations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regiontalk.captioner import RegionCaptioner
from regiontalk.evaluate.calibration import (
    SLOPES,
    Judged,
    fit_targets,
    platt_targets,
)
from regiontalk.model.config import Calibration
from regiontalk.model.region_model import RegionModel
from regiontalk.records import Example
from regiontalk.runtime.predictor import DecoderState
from regiontalk.runtime.search import Hypothesis
from regiontalk.runtime.torch_engine import TorchPredictor
from regiontalk.train.features import FrozenFeatures
from regiontalk.train.keep import Memory
from regiontalk.train.own import texts_of

RIDGE = 0.05  # of a calibration's slopes
SHIFT_PRECISION = (
    1.0  # of how much surer the model is of your photos: Gaussian around 0
)
MIN_CHECK_WEIGHT = 0.05  # in the confidence, for the caption check to carry the term
RECALLED_PHOTOS = 300  # of the memory
OWN_PHOTOS = 500  # whose regions say what your photos look like
TOGETHER = 50
DIRECTION_RIDGE = 1e-2
OWN_TEXTS = 3000
MIN_VARIANCE = 1e-7  # of a direction of the memory, as a share of the largest

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Past:
    """What confidences are held to.

    Attributes:
        start: the model with which training began; it stays as it is.
        memory: its everyday photos.
        own_vectors: (R, F) region features of your training photos.
        own_texts: of your training photos.
    """

    start: RegionModel
    memory: Memory
    own_vectors: Tensor
    own_texts: Sequence[str]

    @classmethod
    def of_training(
        cls,
        start: RegionModel,
        memory: Memory | None,
        examples: Sequence[Example],
        features: FrozenFeatures,
    ) -> Past | None:
        """What confidences are held to after training on photos; None without a memory.

        Args:
            start: the model with which training began.
            memory: its everyday photos.
            examples: M photos of your own.
            features: of these.
        """
        if memory is None:
            return None
        rows = range(0, features.photos, max(1, features.photos // OWN_PHOTOS))
        regions = features.read_vectors(rows)[features.read_mask(rows)]
        return cls(
            start, memory, regions, [*chain.from_iterable(map(texts_of, examples))]
        )


class MemoryTexts(NamedTuple):
    """What the model says of the memory, as token ids.

    Attributes:
        memory: of M photos.
        photo: M sentences of the whole photos.
        region: M * K captions of the regions.
    """

    memory: Memory
    photo: list[tuple[int, ...]]
    region: list[tuple[int, ...]]


class Recalled(NamedTuple):
    """The evidence for captions of the memory, and how sure the start model is of them.

    Attributes:
        features: (R, 4) what `Calibration` weighs.
        confidences: (R,) of the start model; 0 of words that it does not know.
    """

    features: Array
    confidences: Array


def add_own_term(
    model: RegionModel, judged: Sequence[Judged], past: Past, texts: MemoryTexts
) -> bool:
    """Let the caption check tell your regions and words from others, in place.

    Args:
        model: with the start model's calibration of regions, which stays.
        judged: captions of boxes of dev photos, at least one.
        past: what confidences are held to.
        texts: what the model says of the memory.

    Returns:
        Whether it was done; not where the confidence asks nothing of a caption check.
    """
    calibration = model.config.decoding.region
    if model.caption_check is None or calibration.per_check < MIN_CHECK_WEIGHT:
        return False
    logits = logits_of(calibration, _features(judged))
    shift = fit_shift(logits, platt_targets(_verdicts(judged)))
    region = tell_apart(past.own_vectors, past.memory.vectors.flatten(0, 1))
    for values in region.parameters():
        values.data *= shift / calibration.per_check
    stride = max(1, len(past.own_texts) // OWN_TEXTS)
    own_texts = [
        tuple(model.vocabulary.encode(text)) for text in past.own_texts[::stride]
    ]
    text = tell_apart(
        _text_vectors(model, own_texts),
        _text_vectors(model, [*texts.photo, *texts.region]),
    )
    model.caption_check = model.caption_check.with_product(region, text)
    rank = model.config.caption_check + 1
    model.config = model.config.model_copy(update={"caption_check": rank})
    return True


def _text_vectors(model: RegionModel, texts: Sequence[tuple[int, ...]]) -> Tensor:
    """What the caption check reads of texts, (R, D)."""
    captioner = RegionCaptioner(predictor=TorchPredictor(model))
    captions = [Hypothesis(text, 0.0, 0.0) for text in texts]
    return torch.from_numpy(captioner.caption_vectors(captions))


def fit_shift(logits: Array, targets: Array) -> float:
    """What to add to all logits (R,) for the least loss, with a Gaussian prior around 0.

    Newton's method on the cross-entropy + `SHIFT_PRECISION` * shift**2 / 2.
    """
    shift = 0.0
    for _ in range(100):
        probabilities = 0.5 * (1 + np.tanh(0.5 * (logits + shift)))
        slope = (probabilities - targets).sum() + SHIFT_PRECISION * shift
        curvature = (probabilities * (1 - probabilities)).sum() + SHIFT_PRECISION
        step = float(np.clip(slope / curvature, -1, 1))  # a far start overshoots
        shift -= step
        if abs(step) < 1e-9:
            break
    return shift


@torch.no_grad()
def tell_apart(yours: Tensor, others: Tensor) -> nn.Linear:
    """A linear function that is near 1 on your rows (R, F) and near 0 on others (M, F).

    Ridged least squares, both sides counting alike, in the directions in which the others vary:
    the memory is stored in few, and what your photos have beyond these other photos have as well.
    """
    yours, others = yours.double(), others.double()
    mean = others.mean(0)
    basis = _directions(others - mean)
    rows = torch.cat([yours - mean, others - mean]) @ basis
    is_yours = torch.cat([yours.new_ones(len(yours)), yours.new_zeros(len(others))])
    weights = 0.5 * (is_yours / len(yours) + (1 - is_yours) / len(others))
    centre = weights @ rows
    solution = _least_squares(rows - centre, is_yours - 0.5, weights)
    weight = basis @ solution
    function = nn.Linear(yours.shape[1], 1)
    function.weight[0] = weight
    function.bias[0] = 0.5 - centre @ solution - mean @ weight
    return function


def _least_squares(rows: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """The solution (D,) of rows (R, D) for targets (R,), ridged; weights (R,) sum to 1."""
    weighted = rows * weights[:, None]
    ridge = DIRECTION_RIDGE * torch.eye(rows.shape[1], dtype=rows.dtype)
    solution: Tensor = torch.linalg.solve(
        weighted.T @ rows + ridge, weighted.T @ targets
    )
    return solution


def _directions(rows: Tensor) -> Tensor:
    """The directions (F, D) in which centred rows (M, F) vary, for a variance of 1 in each."""
    variances, directions = torch.linalg.eigh(rows.T @ rows)
    is_used = variances > MIN_VARIANCE * variances[-1]
    scales = (variances[is_used] / len(rows)).sqrt()
    scaled: Tensor = directions[:, is_used] / scales
    return scaled


def fit_calibration(
    judged: Sequence[Judged], prior: Calibration, recalled: Recalled | None
) -> Calibration:
    """A calibration for captions with verdicts, and for the memory where there is one.

    Args:
        judged: captions of dev photos, at least one.
        prior: the start model's, from which slopes move as far as the captions say.
        recalled: counts as much as all of the captions; None fits on the captions alone, and
            slopes move from 0.
    """
    features, targets = _features(judged), platt_targets(_verdicts(judged))
    if recalled is None:
        return fit_targets(features, targets, RIDGE)
    sides = (len(targets), len(recalled.confidences))
    weights = [np.full(count, sum(sides) / (2 * count)) for count in sides]
    return fit_targets(
        np.concatenate([features, recalled.features]),
        np.concatenate([targets, recalled.confidences]),
        RIDGE,
        np.concatenate(weights),
        prior,
    )


@torch.inference_mode()
def describe_memory(model: RegionModel, memory: Memory) -> MemoryTexts:
    """What a model says of photos spread over a memory, and of their regions."""
    stride = max(1, len(memory) // RECALLED_PHOTOS)
    memory = memory.take(slice(None, None, stride))
    predictor, decoding = TorchPredictor(model), model.config.decoding
    texts = MemoryTexts(memory, [], [])
    for first in range(0, len(memory), TOGETHER):
        photos = memory.take(slice(first, first + TOGETHER))
        sentences = predictor.write(
            _decoder_state(predictor, photos, of_photos=True),
            decoding.photo_beams,
            min_words=decoding.photo_min_words,
        )
        captions = predictor.write(
            _decoder_state(predictor, photos, of_photos=False),
            decoding.region_beams,
            length_power=decoding.region_length_power,
        )
        texts.photo.extend(candidates[0].words for candidates in sentences)
        texts.region.extend(candidates[0].words for candidates in captions)
    return texts


@torch.inference_mode()
def recall(
    model: RegionModel, start: RegionModel, texts: MemoryTexts, *, of_photos: bool
) -> Recalled:
    """How sure the start model is of what the model says of the memory.

    Args:
        model: has learnt; its vocabulary begins with the start model's.
        start: the start model.
        texts: what the model says.
        of_photos: of whole photos instead of regions.
    """
    captions = texts.photo if of_photos else texts.region
    old_words = len(start.vocabulary)
    is_known = np.array([max(text, default=0) < old_words for text in captions])
    known_captions = [
        text if known else () for text, known in zip(captions, is_known, strict=True)
    ]
    evidence = _evidence(start, texts.memory, known_captions, of_photos)
    decoding = start.config.decoding
    calibration = decoding.photo if of_photos else decoding.region
    confidences = 0.5 * (1 + np.tanh(0.5 * logits_of(calibration, evidence)))
    return Recalled(
        _evidence(model, texts.memory, captions, of_photos),
        np.where(is_known, confidences, 0.0),
    )


def _decoder_state(
    predictor: TorchPredictor, memory: Memory, of_photos: bool
) -> DecoderState:
    """The decoder before the first word about every whole photo, or every region."""
    model, columns = predictor.model, _columns(of_photos)
    vectors, boxes_xyxy = memory.vectors[:, columns], memory.boxes_xyxy[:, columns]
    condition = model.condition(vectors, memory.vectors[:, :1], boxes_xyxy)
    return DecoderState(*model.generator.start(condition.flatten(0, 1), None))


def _evidence(
    model: RegionModel,
    memory: Memory,
    texts: Sequence[tuple[int, ...]],
    of_photos: bool,
) -> Array:
    """What `Calibration` weighs (R, 4) of captions on whole photos or regions, of objectness 1."""
    predictor = TorchPredictor(model)
    state = _decoder_state(predictor, memory, of_photos)
    log_probs, _ = predictor.read_captions(state, texts)
    captions = [
        Hypothesis(text, log_prob, log_prob)
        for text, log_prob in zip(texts, log_probs.tolist(), strict=True)
    ]
    columns = _columns(of_photos)
    evidence = RegionCaptioner(predictor=predictor).region_evidence(
        memory.vectors[:, columns].flatten(0, 1).numpy(),
        memory.boxes_xyxy[:, columns].flatten(0, 1).numpy(),
        captions,
    )
    return np.insert(evidence.astype(np.float64), 2, 0.0, axis=1)


def _columns(of_photos: bool) -> slice:
    """Where the whole photo, or its regions, stand among the vectors of a photo."""
    return slice(0, 1) if of_photos else slice(1, None)


def logits_of(calibration: Calibration, features: Array) -> Array:
    """The logits (R,) of confidences, of what `Calibration` weighs (R, 4)."""
    slopes = [getattr(calibration, name) for name in SLOPES]
    return np.asarray(calibration.bias + features @ slopes, dtype=np.float64)


def _features(judged: Sequence[Judged]) -> Array:
    return np.array([caption.features() for caption in judged])


def _verdicts(judged: Sequence[Judged]) -> NDArray[np.bool_]:
    return np.array([caption.is_correct for caption in judged])
