"""How long a plan will take on this machine, measured on its first photos and batches before anything is trained."""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch

from regiontalk.model.region_model import RegionModel
from regiontalk.train.align import AlignConfig, AlignTerms
from regiontalk.train.generate import GenerateConfig, GenerateTerms
from regiontalk.train.judges import DEV_PHOTOS, align_judge, generate_judge
from regiontalk.train.run import Run
from regiontalk.train.watch import JUDGEMENTS

Measured = TypeVar("Measured")
SAMPLE = 16  # photos that are timed
END_SHARE = (
    8.0  # judgements of the generator that calibration and the page of before and after take, about
)


def predict_seconds(run: Run, model: RegionModel) -> dict[str, float]:
    """Seconds of each part of a run of frozen stages: features, align, generate, and the end.

    Args:
        run: with dev photos; it and its folder stay as they are.
        model: as the first stage finds it; stays as it is.
    """
    examples = run.examples[:SAMPLE]
    with tempfile.TemporaryDirectory() as folder:
        sample = Run(
            recipe=run.recipe,
            data=[],
            out=Path(folder),
            log=lambda line: None,
            examples=examples,
            device=str(run.device),
        )
        features, seconds = _timed(lambda: sample.features(model, "generate"))
        photo = seconds / len(examples)
        model = copy.deepcopy(model)
        parts = {"features": photo * (len(run.examples) + len(run.dev))}
        judged = min(DEV_PHOTOS, len(run.dev)) / len(examples)
        recipe = run.recipe
        config = recipe.align
        if isinstance(config, AlignConfig):
            terms = AlignTerms.of_examples(model, config, examples, features)
            step = _step_seconds(terms, model.aligner) * config.batch / len(examples)
            _, judge = _timed(align_judge(terms))
            parts["align"] = step * config.optimiser.steps + judge * judged * JUDGEMENTS
        generate = recipe.generate
        if isinstance(generate, GenerateConfig):
            words = GenerateTerms.of_examples(model, generate, examples, features)
            step = _step_seconds(words, model.generator) * generate.batch / len(examples)
            _, judge = _timed(generate_judge(words, [example.captions for example in examples]))
            parts["generate"] = step * generate.optimiser.steps + judge * judged * JUDGEMENTS
            parts["before and after"] = judged * (2 * len(examples) * photo + END_SHARE * judge)
    return parts


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
