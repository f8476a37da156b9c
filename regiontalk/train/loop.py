"""One training loop for every part: a function gives the named loss terms of a step, the loop does the rest.

Randomness is a function of (seed, step) alone, so a run that was killed goes on exactly where its
checkpoint stands.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from regiontalk.train.checkpoint import load_checkpoint, save_checkpoint
from regiontalk.train.watch import Watch

Log = Callable[[str], None]
Terms = Callable[[int], Mapping[str, Tensor]]
"""From a step to its named loss terms."""


class OptimiserConfig(BaseModel):
    """How one stage is optimised."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(1000, ge=1, description="optimiser steps")
    epochs: float | None = Field(
        None, gt=0, description="walks over the data, from which the steps follow; instead of steps"
    )
    stop: int | None = Field(
        None, ge=1, description="end after so many of them: early stopping, chosen on dev"
    )
    name: Literal["adamw", "sgd", "rmsprop"] = Field(
        "adamw", description="sgd and rmsprop are the paper's"
    )
    rate: float = Field(1e-3, gt=0, description="largest learning rate")
    backbone_rate: float = Field(3e-4, ge=0, description="the same for the backbone's weights")
    decay: float = Field(0.02, ge=0, description="decoupled weight decay (adamw)")
    clip: float = Field(5.0, gt=0, description="gradient clip")
    clip_by: Literal["norm", "element"] = Field("norm", description="element is the paper's")
    warmup: float = Field(
        0.05, ge=0, lt=1, description="share of the steps over which the rate rises"
    )
    seed: int = Field(0, description="of everything random in this stage")
    checkpoint_every: int = Field(100, ge=1, description="steps between checkpoints")

    @model_validator(mode="after")
    def _counts_once(self) -> Self:
        if self.epochs is not None and "steps" in self.model_fields_set:
            raise ValueError("steps and epochs cannot meet: each says how long; leave one out")
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
    """The configured optimiser; weights under a module named ``backbone`` get their own rate, vectors no decay."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(("backbone." in name, parameter.ndim > 1), []).append(parameter)
    settings = [
        {
            "params": parameters,
            "lr": config.backbone_rate if in_backbone else config.rate,
            "weight_decay": config.decay if is_matrix and config.name == "adamw" else 0.0,
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


def train(
    module: nn.Module,
    terms: Callable[[int], Mapping[str, Tensor]],
    config: OptimiserConfig,
    *,
    folder: Path,
    log: Log,
    settings: str = "",
    usual: str = "",
    after: Callable[[int], None] = lambda step: None,
    watch: Watch | None = None,
) -> None:
    """Optimise ``module`` until ``config.steps``, going on from the checkpoint in ``folder`` if there is one.

    Args:
        module: what is trained.
        terms: named loss terms of a step, to be added; none where its batch has nothing to teach.
        config: optimiser settings.
        folder: where the checkpoint stands.
        log: takes one line of progress.
        settings: all else that shapes the stage, as JSON; a checkpoint that contradicts it is
            refused.
        usual: the defaults of that, in the same form, for checkpoints that do not name every
            setting.
        after: called with the number of steps done after every step, for measuring on dev.
        watch: judges on dev, keeps the best weights, which ``module`` then has at the end, and stops
            early.

    Raises:
        ValueError: the loss stopped being finite; the last checkpoint is whole.
    """
    optimiser = make_optimiser(module, config)
    peaks = [group["lr"] for group in optimiser.param_groups]
    begin, last = _resume(module, optimiser, config, folder, settings, usual), config.last
    sums: dict[str, float] = {}
    started = time.perf_counter()
    if watch is not None:
        watch.resume(begin, last)
    for step in range(begin, last):
        if watch is not None and watch.is_over:
            break
        torch.manual_seed(config.step_seed(step))
        for group, peak in zip(optimiser.param_groups, peaks, strict=True):
            group["lr"] = peak * rate_at(step, config)
        losses = terms(step)
        if losses:
            _update(losses, optimiser, config, step)
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
            if watch is not None:
                watch.add(name, float(value.detach()))
        done = step + 1
        is_judged = watch is not None and watch.is_due(done)
        if (
            watch is not None and is_judged
        ):  # before the checkpoint: one is only left once it is judged
            watch.judge(done, module)
        if done % config.checkpoint_every == 0 or done == last or is_judged:
            if watch is None:
                count = (done - 1) % config.checkpoint_every + 1
                pace = (time.perf_counter() - started) / (done - begin)
                text = " ".join(f"{name} {value / count:.3f}" for name, value in sums.items())
                log(f"step {done}/{last} {text} | {pace:.2f} s a step")
            sums = {}
            save_checkpoint(folder, module, optimiser, done, config.model_dump(), settings)
        after(done)
    if watch is not None:
        watch.restore(module)


def recall(
    module: nn.Module, config: OptimiserConfig, *, folder: Path, settings: str = "", usual: str = ""
) -> int:
    """Only load what `train` has left in a folder; the number of steps done, 0 where there is nothing."""
    return _resume(module, make_optimiser(module, config), config, folder, settings, usual)


def _resume(
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    config: OptimiserConfig,
    folder: Path,
    settings: str,
    usual: str,
) -> int:
    """The step to go on from, the checkpoint in ``folder`` loaded."""
    defaults = {"config": OptimiserConfig().model_dump_json(), "settings": usual}
    return load_checkpoint(folder, module, optimiser, config.model_dump(), settings, defaults)


def _update(
    losses: Mapping[str, Tensor],
    optimiser: torch.optim.Optimizer,
    config: OptimiserConfig,
    step: int,
) -> None:
    """Backward, clip and step; a loss that is not finite is refused."""
    total = torch.stack(list(losses.values())).sum()
    if not torch.isfinite(total):
        found = ", ".join(f"{name} {float(value.detach()):.4g}" for name, value in losses.items())
        raise ValueError(
            f"step {step}: the loss is not finite ({found}); lower the rate and start in another --out folder"
        )
    optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward([total])  # what total.backward() does, with types
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    if config.clip_by == "norm":
        nn.utils.clip_grad_norm_(parameters, config.clip)
    else:
        nn.utils.clip_grad_value_(parameters, config.clip)
    optimiser.step()
