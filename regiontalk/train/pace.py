"""How long a plan will take on this machine, measured on its first photos and batches before anything is trained."""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch

from regiontalk.model.region_model import RegionModel
from regiontalk.records import Example
from regiontalk.train.align import AlignConfig, AlignTerms
from regiontalk.train.features import FrozenFeatures
from regiontalk.train.generate import GenerateConfig, GenerateTerms
from regiontalk.train.judges import DEV_PHOTOS, align_judge, generate_judge
from regiontalk.train.run import Run
from regiontalk.train.watch import JUDGEMENTS

Measured = TypeVar("Measured")
SAMPLE = 16  # photos that are timed
END_SHARE = 8.0  # judgements of the generator that calibration and the page of before and after take, about


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
        seconds = {"features": photo * (len(run.examples) + len(run.dev))}
        seconds |= _stages_seconds(
            run, sample.examples, copy.deepcopy(model), features, photo
        )
    return seconds


def _stages_seconds(
    run: Run,
    examples: Sequence[Example],
    model: RegionModel,
    features: FrozenFeatures,
    photo: float,
) -> dict[str, float]:
    """Seconds of align, generate, and the end.

    Args:
        run: as it is planned.
        examples: the sample.
        model: which takes a few steps, without an update.
        features: of the sample's photos.
        photo: seconds that a photo's features take.
    """
    seconds: dict[str, float] = {}
    count = len(examples)
    samples = min(DEV_PHOTOS, len(run.dev)) / count  # as many as a judgement reads
    align, generate = run.recipe.align, run.recipe.generate
    if isinstance(align, AlignConfig):
        aligning = AlignTerms.of_examples(model, align, examples, features)
        step = _step_seconds(aligning, model.aligner)
        _, judge = _timed(align_judge(aligning))
        seconds["align"] = _stage_seconds(align, step, count, judge * samples)
    if isinstance(generate, GenerateConfig):
        captioning = GenerateTerms.of_examples(model, generate, examples, features)
        step = _step_seconds(captioning, model.generator)
        _, judge = _timed(
            generate_judge(captioning, [example.captions for example in examples])
        )
        seconds["generate"] = _stage_seconds(generate, step, count, judge * samples)
        seconds["before and after"] = samples * (2 * count * photo + END_SHARE * judge)
    return seconds


def _stage_seconds(
    config: AlignConfig | GenerateConfig, step: float, photos: int, judgement: float
) -> float:
    """Seconds of a stage, given those of a step on so many photos and of a judgement."""
    return (
        step * config.batch / photos * config.optimiser.steps + judgement * JUDGEMENTS
    )


def _sample_run(run: Run, out: Path) -> Run:
    """A silent run of the first photos in another folder."""
    return Run(
        recipe=run.recipe,
        data=[],
        out=out,
        log=lambda line: None,
        examples=run.examples[:SAMPLE],
        device=str(run.device),
    )


def _step_seconds(
    terms: Callable[[int], Mapping[str, torch.Tensor]], module: torch.nn.Module
) -> float:
    """Seconds of a step on the sample; the first, which warms up, is not counted."""
    module.train()

    def step(number: int) -> None:
        losses = terms(number)
        if losses:
            torch.autograd.backward([torch.stack(list(losses.values())).sum()])
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
