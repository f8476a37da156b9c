from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from regiontalk.train.loop import OptimiserConfig, make_optimiser, rate_at, train


class Part(nn.Module):
    """Something with a backbone, a head and a frozen weight."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Linear(3, 4)
        self.head = nn.Linear(4, 2)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)

    def forward(self, values: Tensor) -> Tensor:
        result: Tensor = self.head(torch.relu(self.backbone(values)))
        return result


def squares(module: Part, calls: list[int] | None = None) -> Any:
    """Loss terms that draw random numbers, as dropout and augmentation do."""

    def terms(step: int) -> Mapping[str, Tensor]:
        if calls is not None:
            calls.append(step)
        values = torch.randn(5, 3)
        return {
            "near": module(values).square().mean(),
            "far": 0.1 * (module(values) - 1).abs().mean(),
        }

    return terms


# warmup 0.2 of 10 steps = 2 steps of rise: 1/2, 2/2; then half a cosine over the 8 that are left
@pytest.mark.parametrize(
    ("step", "steps", "warmup", "share"),
    [
        pytest.param(0, 10, 0.2, 0.5, id="first of two rising steps"),
        pytest.param(1, 10, 0.2, 1.0, id="top"),
        pytest.param(2, 10, 0.2, 1.0, id="cos 0"),
        pytest.param(6, 10, 0.2, 0.5, id="half way down: (1 + cos(pi/2)) / 2"),
        pytest.param(
            4,
            10,
            0.2,
            (1 + math.sqrt(0.5)) / 2,
            id="a quarter down: (1 + cos(pi/4)) / 2",
        ),
        pytest.param(
            9, 10, 0.2, (1 + math.cos(7 * math.pi / 8)) / 2, id="last: nearly 0"
        ),
        pytest.param(0, 10, 0.0, 1.0, id="no warm-up"),
        pytest.param(0, 1, 0.05, 1.0, id="a single step"),
    ],
)
def test_rate(step: int, steps: int, warmup: float, share: float) -> None:
    assert rate_at(step, OptimiserConfig(steps=steps, warmup=warmup)) == pytest.approx(
        share, abs=1e-12
    )


@pytest.mark.parametrize("steps", [1, 2, 7, 100])
@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.5, 0.99])
def test_rate_stays_in_its_range_rises_then_falls(steps: int, warmup: float) -> None:
    rates = [
        rate_at(step, OptimiserConfig(steps=steps, warmup=warmup))
        for step in range(steps)
    ]
    top = rates.index(max(rates))
    assert all(0 < rate <= 1 for rate in rates) and max(rates) == 1
    assert rates[: top + 1] == sorted(rates[: top + 1]) and rates[top:] == sorted(
        rates[top:], reverse=True
    )


@pytest.mark.parametrize(
    ("name", "kind", "decay"),
    [
        pytest.param("adamw", torch.optim.AdamW, 0.3, id="adamw: matrices decay"),
        pytest.param("sgd", torch.optim.SGD, 0.0, id="sgd"),
        pytest.param("rmsprop", torch.optim.RMSprop, 0.0, id="rmsprop"),
    ],
)
def test_optimiser_groups(name: Any, kind: type, decay: float) -> None:
    module = Part()
    optimiser = make_optimiser(
        module,
        OptimiserConfig(
            name=name, learning_rate=0.5, backbone_learning_rate=0.25, weight_decay=0.3
        ),
    )
    assert type(optimiser) is kind
    of = {id(row): group for group in optimiser.param_groups for row in group["params"]}
    found = {
        key: (of[id(row)]["lr"], of[id(row)]["weight_decay"])
        for key, row in module.named_parameters()
        if id(row) in of
    }
    assert found == {
        "backbone.weight": (0.25, decay),
        "backbone.bias": (0.25, 0.0),
        "head.weight": (0.5, decay),
        "head.bias": (0.5, 0.0),
    }, "a frozen weight belongs to no group"


@pytest.mark.parametrize(
    ("settings", "moved"),
    [
        # loss = 10 w, gradient 10, clipped to 1; w = 2 - 0.5 * 1
        pytest.param({"grad_clip_by": "element", "grad_clip": 1.0}, 1.5, id="element"),
        pytest.param(
            {"grad_clip_by": "norm", "grad_clip": 1.0}, 1.5, id="norm of one weight"
        ),
        pytest.param(
            {"grad_clip_by": "norm", "grad_clip": 100.0},
            -3.0,
            id="nothing to clip: 2 - 0.5 * 10",
        ),
    ],
)
def test_one_step_by_hand(
    tmp_path: Path, settings: dict[str, Any], moved: float
) -> None:
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, 2.0)
    config = OptimiserConfig(
        name="sgd", steps=1, learning_rate=0.5, warmup=0, **settings
    )
    train(
        module,
        lambda step: {"loss": 10 * module.weight.sum()},
        config,
        checkpoint=config.checkpoint(tmp_path),
        log=lambda line: None,
    )
    assert module.weight.item() == pytest.approx(moved, abs=1e-5)


def test_norm_clips_all_weights_together(tmp_path: Path) -> None:
    module = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(module.weight)
    # gradient (3, 4), norm 5, clipped to norm 1: (0.6, 0.8); by element it would be (1, 1)
    config = OptimiserConfig(
        name="sgd", steps=1, learning_rate=1.0, warmup=0, grad_clip=1.0
    )
    terms = {"a": 3 * module.weight[0, 0], "b": 4 * module.weight[0, 1]}
    train(
        module,
        lambda step: terms,
        config,
        checkpoint=config.checkpoint(tmp_path),
        log=lambda line: None,
    )
    assert module.weight[0].tolist() == pytest.approx([-0.6, -0.8], abs=1e-5)


def test_a_slow_twin(tmp_path: Path) -> None:
    config = OptimiserConfig(
        steps=4,
        learning_rate=0.1,
        backbone_learning_rate=0.02,
        weight_decay=0.1,
        warmup=0.25,
        grad_clip=0.3,
        seed=7,
    )
    torch.manual_seed(1)
    module, twin = Part(), Part()
    twin.load_state_dict(module.state_dict())
    train(
        module,
        squares(module),
        config,
        checkpoint=config.checkpoint(tmp_path),
        log=lambda line: None,
    )
    slow = torch.optim.AdamW(
        [
            {"params": [twin.backbone.weight], "weight_decay": 0.1},
            {"params": [twin.backbone.bias], "weight_decay": 0.0},
            {"params": [twin.head.weight], "weight_decay": 0.1},
            {"params": [twin.head.bias], "weight_decay": 0.0},
        ],
        lr=0.0,
    )
    # a rise of one step; (1 + cos(k pi / 3)) / 2, k = 0, 1, 2
    for step, share in enumerate([1.0, 1.0, 0.75, 0.25]):
        torch.manual_seed(7 * 1_000_003 + step)
        for group, rate in zip(slow.param_groups, [0.02, 0.02, 0.1, 0.1], strict=True):
            group["lr"] = rate * share
        slow.zero_grad()
        sum(squares(twin)(step).values()).backward()
        learnt = [row for row in twin.parameters() if row.requires_grad]
        norm = math.sqrt(sum(float(row.grad.square().sum()) for row in learnt))
        for row in learnt:
            row.grad *= min(1.0, 0.3 / norm)
        slow.step()
    for key, value in module.state_dict().items():
        torch.testing.assert_close(value, twin.state_dict()[key], msg=key)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_refused_and_the_checkpoint_stays(
    tmp_path: Path, bad: float
) -> None:
    module = Part()
    good = squares(module)
    config = OptimiserConfig(steps=6, checkpoint_every=2)

    def terms(step: int) -> Mapping[str, Tensor]:
        return {**good(step), "odd": torch.tensor(bad)} if step == 3 else good(step)

    with pytest.raises(
        ValueError,
        match=r"step 3: the loss is not finite \(near .*, odd (nan|inf)\); lower the "
        "learning_rate and start in",
    ):
        train(
            module,
            terms,
            config,
            checkpoint=config.checkpoint(tmp_path),
            log=lambda line: None,
        )
    calls: list[int] = []
    train(
        module,
        squares(module, calls),
        config,
        checkpoint=config.checkpoint(tmp_path),
        log=lambda line: None,
    )
    assert calls == [2, 3, 4, 5], "it goes on where the last checkpoint stands"


def test_a_step_with_nothing_to_learn_is_passed_over(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Part()
    lines: list[str] = []
    good, before = squares(module), module.head.weight.detach().clone()
    config = OptimiserConfig(steps=2, checkpoint_every=1)
    train(
        module,
        lambda step: good(step) if step else {},
        config,
        checkpoint=config.checkpoint(tmp_path),
        log=lines.append,
    )
    assert lines[0].split(" |")[0].strip() == "step 1/2" and " near " in lines[1]
    assert not torch.equal(before, module.head.weight)


def test_lines_of_progress(tmp_path: Path) -> None:
    lines: list[str] = []
    done: list[int] = []
    module = nn.Linear(1, 1)
    values = iter([1.0, 3.0, 5.0])
    config = OptimiserConfig(steps=3, checkpoint_every=2)
    terms = lambda step: {"part": 0 * module.weight.sum() + next(values)}  # noqa: E731
    train(
        module,
        terms,
        config,
        checkpoint=config.checkpoint(tmp_path),
        log=lines.append,
        after=done.append,
    )
    assert [line.split(" | ")[0] for line in lines] == [
        "step 2/3 part 2.000",
        "step 3/3 part 5.000",
    ], "means"
    assert done == [1, 2, 3]


@pytest.mark.parametrize(
    ("values", "key"),
    [
        pytest.param({"steps": 0}, "steps", id="no step"),
        pytest.param({"name": "lion"}, "name", id="unknown optimiser"),
        pytest.param({"learning_rate": 0}, "learning_rate", id="rate 0"),
        pytest.param({"warmup": 1.0}, "warmup", id="nothing but warm-up"),
        pytest.param({"momentum": 0.9}, "momentum", id="unknown key"),
    ],
)
def test_optimiser_config_refuses(values: dict[str, Any], key: str) -> None:
    with pytest.raises(ValueError, match=key):
        OptimiserConfig(**values)


def test_the_parts_of_a_batch_train_as_the_whole(tmp_path: Path) -> None:
    values = torch.randn(8, 3)

    def terms_of(module: Part, rows: slice) -> Mapping[str, Tensor]:
        return {"near": module(values[rows]).square().sum() / 8}

    modules = []
    for name in ("whole", "parts"):
        torch.manual_seed(0)
        module = Part()
        halves = (slice(0, 4), slice(4, 8)) if name == "parts" else (slice(0, 8),)
        config = OptimiserConfig(steps=5, name="sgd", grad_clip=0.1)
        train(
            module,
            lambda step, module=module, halves=halves: terms_of(module, halves[0]),
            config,
            checkpoint=config.checkpoint(tmp_path / name),
            log=lambda line: None,
            rest=lambda step, module=module, halves=halves: (
                terms_of(module, rows) for rows in halves[1:]
            ),
        )
        modules.append(module)
    for whole, parts in zip(
        modules[0].parameters(), modules[1].parameters(), strict=True
    ):
        assert torch.allclose(whole, parts, atol=1e-6)
