"""How long a plan will take on this machine.

Measured on its first photos and batches before anything is trained.
"""

from __future__ import annotations

import copy
import functools
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch

from regiontalk.model.region_model import RegionModel
from regiontalk.train.align import AlignConfig, AlignTerms
from regiontalk.train.features import FrozenFeatures
from regiontalk.train.generate import GenerateConfig, GenerateTerms
from regiontalk.train.judges import DEV_PHOTOS, align_judge, generate_judge
from regiontalk.train.loop import OptimiserConfig, make_optimiser
from regiontalk.train.run import Run
from regiontalk.train.watch import JUDGEMENTS

Measured = TypeVar("Measured")
SAMPLE = 16  # photos that are timed
MEMORY_SAMPLE = 64  # and photos of the memory
# a photo's share of a step of the proposals in the seconds that its features take
PROPOSER_SHARE = 1.2
# judgements of the generator that calibration and the page of before and after take, about
END_SHARE = 8.0


def predict_seconds(run: Run, model: RegionModel) -> dict[str, float]:
    """Seconds of each part of a run of frozen stages: features, align, generate, and the end.

    Args:
        run: with dev photos; it and its folder stay as they are.
        model: as the first stage finds it; stays as it is.
    """
    with tempfile.TemporaryDirectory() as folder:
        sample = _sample_run(run, Path(folder))
        features, feature_seconds = _timed(lambda: sample.features(model, "generate"))
        photo = feature_seconds / len(sample.examples)
        seconds = _proposer_seconds(run, photo)
        seconds["features"] = photo * (len(run.examples) + len(run.dev))
        if run.memory is not None:
            _, memory_seconds = _timed(sample.held)
            seconds["memory"] = memory_seconds * len(run.memory) / MEMORY_SAMPLE
        seconds |= _stages_seconds(run, sample, copy.deepcopy(model), features, photo)
    return seconds


def _proposer_seconds(run: Run, photo: float) -> dict[str, float]:
    """Seconds of the stage of the proposals, where there is one.

    It runs the backbone on every photo of a step.
    """
    proposer = run.recipe.proposer
    if proposer is None:
        return {}
    photos = proposer.batch * proposer.optimiser.steps
    return {"proposer": photos * photo * PROPOSER_SHARE}


def _stages_seconds(
    run: Run,
    sample: Run,
    model: RegionModel,
    features: FrozenFeatures,
    photo: float,
) -> dict[str, float]:
    """Seconds of align, generate, and the end.

    Args:
        run: as it is planned.
        sample: of its photos and of its memory.
        model: which takes a few steps that change nothing.
        features: of the sample's photos.
        photo: seconds that a photo's features take.
    """
    seconds: dict[str, float] = {}
    count = len(sample.examples)
    samples = min(DEV_PHOTOS, len(run.dev)) / count
    align, generate = run.recipe.align, run.recipe.generate
    if isinstance(align, AlignConfig):
        work = _align_work(align, sample, model, features)
        judge = _timed(work.judge)[1] * samples
        seconds["align"] = _stage_seconds(align, count, work, judge)
    if isinstance(generate, GenerateConfig):
        work = _generate_work(generate, sample, model, features)
        judge = _timed(work.judge)[1] * samples
        seconds["generate"] = _stage_seconds(generate, count, work, judge)
        seconds["before and after"] = 2 * samples * count * photo + END_SHARE * judge
    return seconds


class _Work(NamedTuple):
    """What a stage computes.

    Attributes:
        module: what learns.
        terms: of the loss of a step.
        held: the loss of the memory in a step; None without one.
        judge: a judgement.
    """

    module: torch.nn.Module
    terms: Callable[[int], Mapping[str, torch.Tensor]]
    held: Callable[[int], torch.Tensor] | None
    judge: Callable[[], object]


def _align_work(
    config: AlignConfig, sample: Run, model: RegionModel, features: FrozenFeatures
) -> _Work:
    terms = AlignTerms.of_examples(model, config, sample.examples, features)
    held, memory = None, sample.held()
    if memory is not None:
        held = functools.partial(memory.align_loss, model.aligner)
    return _Work(model.aligner, terms, held, align_judge(terms))


def _generate_work(
    config: GenerateConfig, sample: Run, model: RegionModel, features: FrozenFeatures
) -> _Work:
    terms = GenerateTerms.of_examples(model, config, sample.examples, features)
    held, memory = None, sample.held()
    if memory is not None:
        held = functools.partial(memory.generate_loss, model)
    captions = [example.captions for example in sample.examples]
    return _Work(model.generator, terms, held, generate_judge(terms, captions))


def _stage_seconds(
    config: AlignConfig | GenerateConfig, sampled: int, work: _Work, judgement: float
) -> float:
    """Seconds of a stage.

    Args:
        config: its own.
        sampled: photos of the sample, of which a step takes a batch or all.
        work: of a step on them.
        judgement: seconds of a judgement.
    """
    step = _step_seconds(work.terms, work.module, config.optimiser)
    seconds = step / min(config.batch, sampled) * config.batch
    held = work.held
    if held is not None:
        seconds += _step_seconds(lambda number: {"held": held(number)}, work.module)
    return seconds * config.optimiser.steps + judgement * JUDGEMENTS


def _sample_run(run: Run, out: Path) -> Run:
    """A silent run of the first photos, and of the first of the memory, in another folder."""
    memory = run.memory
    if memory is not None:
        memory = memory.take(slice(MEMORY_SAMPLE))
    return Run(
        recipe=run.recipe,
        data=[],
        out=out,
        log=lambda line: None,
        examples=run.examples[:SAMPLE],
        device=str(run.device),
        base=run.base,
        memory=memory,
    )


def _step_seconds(
    terms: Callable[[int], Mapping[str, torch.Tensor]],
    module: torch.nn.Module,
    config: OptimiserConfig | None = None,
) -> float:
    """Seconds of a step on the sample; the first, which warms up, is not counted.

    Args:
        terms: of a step.
        module: what learns; its weights stay as they are.
        config: of the optimiser, whose work is counted too; None leaves it out.
    """
    module.train()
    still = None
    if config is not None:
        none = {"learning_rate": 1e-12, "backbone_learning_rate": 0.0}
        still = make_optimiser(module, config.model_copy(update=none))

    def step(number: int) -> None:
        losses = terms(number)
        if losses:
            torch.autograd.backward([torch.stack(list(losses.values())).sum()])
        if still is not None:
            still.step()
        module.zero_grad(set_to_none=True)

    step(0)
    started = time.perf_counter()
    step(1)
    step(2)
    return (time.perf_counter() - started) / 2


def _timed(measure: Callable[[], Measured]) -> tuple[Measured, float]:
    started = time.perf_counter()
    result = measure()
    return result, time.perf_counter() - started
