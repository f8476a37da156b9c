"""Confidences after training on your own photos."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from regiontalk.captioner import RegionCaptioner, calibrated
from regiontalk.evaluate.calibration import Judged, fit_targets, platt_targets
from regiontalk.model.config import Calibration
from regiontalk.model.region_model import RegionModel
from regiontalk.runtime.search import Hypothesis
from regiontalk.runtime.torch_engine import TorchPredictor
from regiontalk.text.vocabulary import Vocabulary
from regiontalk.train.grow import grow_model
from regiontalk.train.keep import Memory
from regiontalk.train.own_confidence import (
    MemoryTexts,
    Past,
    Recalled,
    add_own_term,
    describe_memory,
    fit_calibration,
    fit_shift,
    logits_of,
    recall,
    tell_apart,
)

REGION = Calibration(bias=-1.0, per_word=2.0, per_match=0.5, per_check=0.5)


@pytest.fixture
def plain(make_tiny: Callable[..., RegionModel]) -> RegionModel:
    """A tiny model with a caption check and without attention, which region vectors alone serve."""
    tiny = make_tiny()
    decoding = tiny.config.decoding.model_copy(update={"region": REGION})
    generator = {"attention": 0, "image": "every"}
    update = {
        "generator": tiny.config.generator.model_copy(update=generator),
        "caption_check": 3,
        "decoding": decoding,
    }
    torch.manual_seed(0)
    config = tiny.config.model_copy(update=update)
    return RegionModel(config=config, vocabulary=tiny.vocabulary).eval()


def memory_of(model: RegionModel, photos: int = 30) -> Memory:
    """Vectors that lie in six directions, and boxes."""
    torch.manual_seed(1)
    size = model.config.extractor.size
    spread = torch.randn(6, model.extractor.vector_size)
    vectors = torch.randn(photos, 3, 6) @ spread + 2.0
    boxes = torch.tensor([0.0, 0.0, size, size]).expand(photos, 3, 4).contiguous()
    return Memory(vectors, boxes)


def own_vectors(memory: Memory) -> torch.Tensor:
    """Regions far from those of the memory, in a direction in which it varies, and in others."""
    rows = memory.vectors.flatten(0, 1)
    apart = 8 * (rows[0] - rows.mean(0))
    return rows[:40] + apart + torch.randn(40, rows.shape[1])


def judged(shares: list[bool], log_prob: float = -0.5) -> list[Judged]:
    return [
        Judged(f"p{row}", log_prob, 0.2, 1.0, right) for row, right in enumerate(shares)
    ]


def test_your_rows_are_told_from_others(plain: RegionModel) -> None:
    memory = memory_of(plain)
    own, others = own_vectors(memory), memory.vectors.flatten(0, 1)
    function = tell_apart(own, others)
    with torch.no_grad():
        of_own, of_others = function(own), function(others)
    assert of_own.mean().item() == pytest.approx(1.0, abs=0.1)
    assert of_others.mean().item() == pytest.approx(0.0, abs=0.1)
    assert of_others.std().item() < 0.25
    # what the others never have is not asked: it tells nothing of photos that are neither
    basis = torch.linalg.svd(others - others.mean(0)).Vh[6:]
    weight = function.weight[0].detach()
    assert (basis @ weight).abs().max().item() < 1e-3 * weight.norm().item()


@pytest.mark.parametrize(
    ("logits", "targets", "expected"),
    [
        ([0.0, 0.0], [0.5, 0.5], 0.0),
        # 2 (sigmoid(x) - 1) + x = 0: sigmoid(0.675) = 0.6626 and 1 - 0.675 / 2 = 0.6625
        ([0.0, 0.0], [1.0, 1.0], 0.675),
        ([40.0] * 400, [0.5] * 400, -39.6),
    ],
    ids=["nothing to move", "held by the prior", "from far away"],
)
def test_shift(logits: list[float], targets: list[float], expected: float) -> None:
    shift = fit_shift(np.array(logits), np.array(targets))
    slope = sum(
        1 / (1 + math.exp(-logit - shift)) - target
        for logit, target in zip(logits, targets, strict=True)
    )
    assert slope + shift == pytest.approx(0.0, abs=1e-6)
    assert shift == pytest.approx(expected, abs=0.01)


def past_of(model: RegionModel) -> Past:
    """The model as it is, and photos of your own that only the words beside new ones describe."""
    memory = memory_of(model)
    texts = [" ".join(model.vocabulary.words[4:6])] * 20
    return Past(copy.deepcopy(model), memory, own_vectors(memory), texts)


def test_your_words_on_your_regions_are_surer_and_others_as_before(
    plain: RegionModel,
) -> None:
    past, rows = past_of(plain), judged([True] * 60)
    others = [(number,) for number in range(6, len(plain.vocabulary))]
    texts = MemoryTexts(past.memory, others, others[::-1])
    assert add_own_term(plain, rows, past, texts)
    assert plain.config.caption_check == 4
    assert plain.config.decoding.region == REGION
    before, after = TorchPredictor(past.start), TorchPredictor(plain)

    def moved(vectors: torch.Tensor, text: tuple[int, ...]) -> float:
        regions = vectors.numpy()
        captions = [Hypothesis(text, 0.0, 0.0)] * len(regions)
        checks = [
            RegionCaptioner(predictor=predictor).region_evidence(
                regions, np.zeros((len(regions), 4), np.float32), captions
            )[:, 2]
            for predictor in (before, after)
        ]
        return float((checks[1] - checks[0]).mean()) * REGION.per_check

    of_memory = past.memory.vectors.flatten(0, 1)
    assert moved(of_memory, (4, 5)) == pytest.approx(0.0, abs=0.5)
    assert moved(past.own_vectors, others[0]) == pytest.approx(0.0, abs=1.0)
    features = np.array([row.features() for row in rows])
    logits = logits_of(REGION, features) + moved(past.own_vectors, (4, 5))
    right = (1 / (1 + np.exp(-logits))).mean()
    assert right == pytest.approx(60 / 61, abs=0.1)


def test_no_term_where_confidence_asks_no_check(plain: RegionModel) -> None:
    silent = REGION.model_copy(update={"per_check": 0.0})
    decoding = plain.config.decoding.model_copy(update={"region": silent})
    plain.config = plain.config.model_copy(update={"decoding": decoding})
    past = past_of(plain)
    texts = describe_memory(plain, past.memory)
    assert not add_own_term(plain, judged([True] * 30), past, texts)
    assert plain.config.caption_check == 3


def test_a_model_that_has_not_moved_recalls_the_start_models_confidence(
    plain: RegionModel,
) -> None:
    start = copy.deepcopy(plain)
    texts = describe_memory(plain, memory_of(plain))
    for of_photos, count in ((True, 30), (False, 60)):
        recalled = recall(plain, start, texts, of_photos=of_photos)
        decoding = plain.config.decoding
        calibration = decoding.photo if of_photos else decoding.region
        expected = [
            calibrated(calibration, *row[:2], 1.0, row[3]) for row in recalled.features
        ]
        assert len(expected) == count
        assert recalled.confidences.tolist() == pytest.approx(expected)


def test_words_that_the_start_model_does_not_know_are_not_believed(
    plain: RegionModel,
) -> None:
    words = [*plain.vocabulary.words[4:], "gnu"]
    vocabulary = Vocabulary(words, [*plain.vocabulary.counts, 9])
    grown = grow_model(plain, vocabulary, ["a gnu"]).eval()
    with torch.no_grad():
        grown.generator.output.bias[-1] = 100.0
    texts = describe_memory(grown, memory_of(plain))
    recalled = recall(grown, plain, texts, of_photos=False)
    assert recalled.confidences.tolist() == [0.0] * 60


def test_verdicts_and_memory_are_both_met() -> None:
    """Your captions are likelier than the memory's; a fit on them alone is sure of all."""
    chance = np.random.default_rng(0)
    features = np.zeros((3000, 4))
    features[:, 0] = chance.normal(-2.0, 0.5, 3000)
    confidences = 1 / (1 + np.exp(-logits_of(REGION, features)))
    recalled = Recalled(features, confidences)
    rows = judged([True] * 50, log_prob=-0.2)
    fitted = fit_calibration(rows, REGION, recalled)
    alone = fit_calibration(rows, REGION, None)
    assert calibrated(fitted, -0.2, 0.2) > 0.8
    assert calibrated(alone, -2.0, 0.0) > 0.8
    before = calibrated(REGION, -2.0, 0.0)
    assert calibrated(fitted, -2.0, 0.0) == pytest.approx(before, abs=0.1)


def test_slopes_without_evidence_stay_at_the_prior() -> None:
    features = np.random.default_rng(0).normal(size=(40, 4))
    targets = platt_targets(np.arange(40) % 2 == 0)
    stiff = fit_targets(features, targets, ridge=1e6, prior=REGION)
    slopes = (stiff.per_word, stiff.per_match, stiff.per_box, stiff.per_check)
    assert slopes == pytest.approx((2.0, 0.5, 0.0, 0.5), abs=1e-4)
    free = fit_targets(features, targets, ridge=0.0, prior=REGION)
    assert free.per_word == pytest.approx(
        fit_targets(features, targets, ridge=0.0).per_word, abs=1e-5
    )
