"""One training loop for every part.

A function gives the named loss terms of a step, the loop does the rest. Randomness is a
function of (seed, step) alone, so a run that was killed goes on exactly where its
checkpoint stands.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator
from torch import Tensor, nn

from regiontalk.deprecation import renamed_keys
from regiontalk.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from regiontalk.train.processes import ALONE, Processes
from regiontalk.train.watch import Watch

Log = Callable[[str], None]
Terms = Callable[[int], Mapping[str, Tensor]]
"""From a step to its named loss terms."""
MoreTerms = Callable[[int], Iterable[Mapping[str, Tensor]]]
"""From a step to the terms of the parts of its batch after the first, one part after another."""


OLD_OPTIMISER_KEYS = {
    "rate": "learning_rate",
    "backbone_rate": "backbone_learning_rate",
    "decay": "weight_decay",
    "clip": "grad_clip",
    "clip_by": "grad_clip_by",
}


class OptimiserConfig(BaseModel):
    """How one stage is optimised."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(1000, ge=1, description="optimiser steps")
    epochs: float | None = Field(
        None,
        gt=0,
        description="walks over the data, from which the steps follow; instead of steps",
    )
    stop: int | None = Field(
        None,
        ge=1,
        description="end after so many of them: early stopping, chosen on dev",
    )
    name: Literal["adamw", "sgd", "rmsprop"] = Field(
        "adamw", description="sgd and rmsprop are the paper's"
    )
    # serialization aliases: fingerprints of checkpoints never change
    learning_rate: float = Field(
        1e-3,
        gt=0,
        description="the largest of the schedule",
        serialization_alias="rate",
    )
    backbone_learning_rate: float = Field(
        3e-4,
        ge=0,
        description="the same for the backbone's weights",
        serialization_alias="backbone_rate",
    )
    weight_decay: float = Field(
        0.02,
        ge=0,
        description="decoupled from the gradient (adamw)",
        serialization_alias="decay",
    )
    grad_clip: float = Field(
        5.0,
        gt=0,
        description="largest norm or element of a gradient",
        serialization_alias="clip",
    )
    grad_clip_by: Literal["norm", "element"] = Field(
        "norm", description="element is the paper's", serialization_alias="clip_by"
    )
    warmup: float = Field(
        0.05, ge=0, lt=1, description="share of the steps over which the rate rises"
    )
    seed: int = Field(0, description="of everything random in this stage")
    checkpoint_every: int = Field(100, ge=1, description="steps between checkpoints")

    @model_validator(mode="before")
    @classmethod
    def _take_old_keys(cls, values: Any, info: ValidationInfo) -> Any:
        """Read the keys of the version before."""
        return renamed_keys(values, OLD_OPTIMISER_KEYS, info.context)

    @model_validator(mode="after")
    def _counts_once(self) -> Self:
        if self.epochs is not None and "steps" in self.model_fields_set:
            raise ValueError(
                "steps and epochs cannot meet: each says how long; leave one out"
            )
        return self

    def in_steps(self, photos: int, batch: int) -> OptimiserConfig:
        """These settings with their epochs as steps, for so many photos with something to learn.

        >>> OptimiserConfig(epochs=3).in_steps(photos=70, batch=32).steps
        6
        """
        if self.epochs is None:
            return self
        steps = max(1, round(self.epochs * (photos // max(1, min(batch, photos)))))
        return self.model_copy(update={"steps": steps})

    def fingerprint(self) -> dict[str, Any]:
        """The settings as checkpoints hold them, under names that never change."""
        return self.model_dump(by_alias=True)

    def checkpoint(
        self, folder: Path, settings: str = "", usual: str = ""
    ) -> Checkpoint:
        """Where a stage that is optimised like this is kept.

        Args:
            folder: of the stage.
            settings: all else that shapes the stage, as JSON.
            usual: the defaults of that, in the same form.
        """
        default_config = json.dumps(OptimiserConfig().fingerprint())
        defaults = {"config": default_config, "settings": usual}
        return Checkpoint(folder, self.fingerprint(), settings, defaults)

    def step_seed(self, step: int) -> int:
        """The seed of everything random in one step.

        >>> OptimiserConfig(seed=2).step_seed(5)
        2000011
        """
        return self.seed * 1_000_003 + step

    @property
    def last(self) -> int:
        """The steps after which the stage is finished."""
        return min(self.steps, self.stop or self.steps)


def make_optimiser(module: nn.Module, config: OptimiserConfig) -> torch.optim.Optimizer:
    """The configured optimiser.

    Weights under a module named ``backbone`` get their own rate, vectors no decay.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(("backbone." in name, parameter.ndim > 1), []).append(
                parameter
            )
    settings = [
        {
            "params": parameters,
            "lr": config.backbone_learning_rate
            if in_backbone
            else config.learning_rate,
            "weight_decay": config.weight_decay
            if is_matrix and config.name == "adamw"
            else 0.0,
        }
        for (in_backbone, is_matrix), parameters in groups.items()
    ]
    if config.name == "sgd":
        return torch.optim.SGD(settings, momentum=0.9)
    if config.name == "rmsprop":
        return torch.optim.RMSprop(settings, alpha=0.999, eps=1e-8)
    return torch.optim.AdamW(settings)


def rate_at(step: int, config: OptimiserConfig) -> float:
    """Share of the largest rate at a step: a straight rise, then half a cosine down to 0."""
    rise = max(1, round(config.warmup * config.steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, config.steps - rise)))


def no_more(step: int) -> Iterable[Mapping[str, Tensor]]:
    """The `MoreTerms` of a stage that computes its batch at once."""
    return ()


def train(
    module: nn.Module,
    terms: Terms,
    config: OptimiserConfig,
    *,
    checkpoint: Checkpoint,
    log: Log,
    after: Callable[[int], None] = lambda step: None,
    watch: Watch | None = None,
    rest: MoreTerms = no_more,
    processes: Processes = ALONE,
) -> None:
    """Optimise ``module`` until ``config.steps``.

    It goes on from the checkpoint if there is one.

    Args:
        module: what is trained.
        terms: named loss terms of a step, to be added; none where its batch has nothing to teach.
        config: optimiser settings.
        checkpoint: where it is kept; one of other settings is refused.
        log: takes one line of progress.
        after: called with the number of steps done after every step, for measuring on dev.
        watch: judges on dev, keeps the best weights, which ``module`` then has at the
            end, and stops early; for a process alone.
        rest: more terms of a step whose gradients are added to those of ``terms``, one
            after another: the parts of a batch that does not fit at once. Contrastive
            losses have none, for a photo's negatives are the whole batch.
        processes: those that train together; the main one writes the checkpoints.

    Raises:
        ValueError: the loss stopped being finite; the last checkpoint is whole.
    """
    optimiser = make_optimiser(module, config)
    largest_rates = [group["lr"] for group in optimiser.param_groups]
    begin, last = load_checkpoint(checkpoint, module, optimiser), config.last
    pace = _Pace(begin, config, log)
    processes.copy_main(module)
    for step in _steps(begin, last, watch):
        _set_rates(optimiser, largest_rates, rate_at(step, config))
        values = _take_step(
            module, _parts(terms, rest, step), optimiser, config, step, processes
        )
        pace.add(values)
        done = step + 1
        # before the checkpoint: one is only left once it is judged
        is_judged = watch is not None and _judge(watch, values, done, module)
        if done % config.checkpoint_every == 0 or done == last or is_judged:
            if watch is None:
                pace.tell(done)
            if processes.is_main:
                save_checkpoint(checkpoint, module, optimiser, done)
        after(done)
    processes.wait()  # until the last checkpoint stands
    if watch is not None:
        watch.restore(module)


def _steps(begin: int, last: int, watch: Watch | None) -> Iterator[int]:
    """The steps that are still to be taken, until the watch sees that nothing improves."""
    if watch is not None:
        watch.resume(begin, last)
    for step in range(begin, last):
        if watch is not None and watch.is_over:
            return
        yield step


def _set_rates(
    optimiser: torch.optim.Optimizer, largest_rates: Sequence[float], share: float
) -> None:
    """Give each group of weights this share of its largest learning rate."""
    for group, largest_rate in zip(optimiser.param_groups, largest_rates, strict=True):
        group["lr"] = largest_rate * share


def _parts(terms: Terms, rest: MoreTerms, step: int) -> Iterator[Mapping[str, Tensor]]:
    """The terms of each part of a step's batch, computed when asked for.

    One part is in memory at a time.
    """
    yield terms(step)
    yield from rest(step)


def _take_step(
    module: nn.Module,
    parts: Iterable[Mapping[str, Tensor]],
    optimiser: torch.optim.Optimizer,
    config: OptimiserConfig,
    step: int,
    processes: Processes,
) -> dict[str, float]:
    """Loss and backward of each part of one step, then the update.

    The values of its terms for the whole batch.
    """
    torch.manual_seed(processes.seed(config.step_seed(step)))
    statistics = processes.statistics(module)
    sums: dict[str, float] = {}
    optimiser.zero_grad(set_to_none=True)
    for losses in parts:
        if not losses:
            continue
        values = processes.mean_terms(losses)
        _refuse_infinite(values, step)
        total = torch.stack(list(losses.values())).sum()
        if total.requires_grad:  # else this process had nothing to learn from
            torch.autograd.backward([total])  # what total.backward() does, with types
        for name, value in values.items():
            sums[name] = sums.get(name, 0.0) + value
    if sums:
        _update(optimiser, config, processes)
    processes.merge_statistics(module, statistics)
    return sums


def _judge(
    watch: Watch, values: Mapping[str, float], done: int, module: nn.Module
) -> bool:
    """Tell the watch of a step, and let it judge where that is due; whether it has."""
    for name, value in values.items():
        watch.add(name, value)
    if not watch.is_due(done):
        return False
    watch.judge(done, module)
    return True


class _Pace:
    """The line of progress.

    The mean of each loss term since the line before, and the seconds of a step.
    """

    def __init__(self, begin: int, config: OptimiserConfig, log: Log) -> None:
        self._begin = begin
        self._config = config
        self._log = log
        self._sums: dict[str, float] = {}
        self._started = time.perf_counter()

    def add(self, values: Mapping[str, float]) -> None:
        """Take note of the loss terms of a step."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value

    def tell(self, done: int) -> None:
        """Log the line after so many steps."""
        count = (done - 1) % self._config.checkpoint_every + 1
        seconds = (time.perf_counter() - self._started) / (done - self._begin)
        text = " ".join(
            f"{name} {value / count:.3f}" for name, value in self._sums.items()
        )
        self._log(f"step {done}/{self._config.last} {text} | {seconds:.2f} s a step")
        self._sums = {}


def _refuse_infinite(values: Mapping[str, float], step: int) -> None:
    """Stop before a loss that is not finite spoils the weights."""
    if not math.isfinite(sum(values.values())):
        text = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        raise ValueError(
            f"step {step}: the loss is not finite ({text}); lower the learning_rate "
            "and start in another --out folder"
        )


def _update(
    optimiser: torch.optim.Optimizer, config: OptimiserConfig, processes: Processes
) -> None:
    """Average the gradients of all processes, clip and step."""
    parameters = [
        parameter for group in optimiser.param_groups for parameter in group["params"]
    ]
    processes.average_gradients(parameters)
    if config.grad_clip_by == "norm":
        nn.utils.clip_grad_norm_(parameters, config.grad_clip)
    else:
        nn.utils.clip_grad_value_(parameters, config.grad_clip)
    optimiser.step()
