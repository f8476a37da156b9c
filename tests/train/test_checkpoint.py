"""What a run that was killed finds again, and what it refuses to go on with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import nn

from regiontalk.train.checkpoint import (
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
    steps_done,
)
from regiontalk.train.loop import OptimiserConfig, make_optimiser

CONFIG = {"steps": 5}
THESE = json.dumps({"batch": 3, "photos": "x"})


def parts(name: Any = "adamw") -> tuple[nn.Module, torch.optim.Optimizer]:
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    return module, make_optimiser(module, OptimiserConfig(name=name))


def advance(module: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    optimiser.zero_grad()
    module(torch.randn(4, 2)).square().mean().backward()
    optimiser.step()


@pytest.mark.parametrize("name", ["adamw", "sgd", "rmsprop"])
def test_round_trip(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    module, optimiser = parts(name)
    advance(module, optimiser)
    save_checkpoint(Checkpoint(tmp_path, CONFIG, THESE), module, optimiser, 3)
    other, second = parts(name)
    assert load_checkpoint(Checkpoint(tmp_path, CONFIG, THESE), other, second) == 3
    for key, value in module.state_dict().items():
        assert torch.equal(other.state_dict()[key], value), key
    first_state, second_state = (
        optimiser.state_dict()["state"],
        second.state_dict()["state"],
    )
    assert set(first_state) == set(second_state)
    for number, entry in first_state.items():
        for key, value in entry.items():
            if value is not None:  # sgd keeps None until it has a momentum
                assert torch.equal(
                    torch.as_tensor(second_state[number][key]), torch.as_tensor(value)
                ), key
    for pair in ((module, optimiser), (other, second)):
        torch.manual_seed(1)
        advance(*pair)
    assert all(
        torch.equal(a, b)
        for a, b in zip(module.parameters(), other.parameters(), strict=True)
    )


def test_no_checkpoint_is_a_beginning(tmp_path: Path) -> None:
    assert load_checkpoint(Checkpoint(tmp_path / "none", CONFIG), *parts()) == 0


def test_the_file_is_replaced_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, optimiser = parts()
    save_checkpoint(Checkpoint(tmp_path, CONFIG), module, optimiser, 1)

    def killed(tensors: Any, path: Path, metadata: Any) -> None:
        Path(path).write_bytes(b"half a fi")
        raise KeyboardInterrupt

    monkeypatch.setattr("regiontalk.train.checkpoint.save_file", killed)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(Checkpoint(tmp_path, CONFIG), module, optimiser, 2)
    assert load_checkpoint(Checkpoint(tmp_path, CONFIG), *parts()) == 1


def test_nothing_is_pickled(tmp_path: Path) -> None:
    save_checkpoint(Checkpoint(tmp_path, CONFIG, THESE), *parts(), 1)
    with safe_open(tmp_path / "checkpoint.safetensors", framework="pt") as file:
        assert file.metadata() == {
            "step": "1",
            "config": json.dumps(CONFIG),
            "settings": THESE,
        }


@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        pytest.param(
            {"steps": 6},
            THESE,
            r"other settings \(optimiser.steps 5 -> 6\)",
            id="another optimiser",
        ),
        pytest.param(
            CONFIG,
            json.dumps({"batch": 4}),
            r"other settings \(batch 3 -> 4\); give another --out folder, or delete it",
            id="another stage",
        ),
    ],
)
def test_other_settings_are_refused(
    tmp_path: Path, config: dict[str, int], settings: str, message: str
) -> None:
    save_checkpoint(Checkpoint(tmp_path, CONFIG, THESE), *parts(), 1)
    with pytest.raises(ValueError, match=message):
        load_checkpoint(Checkpoint(tmp_path, config, settings), *parts())


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        pytest.param("", THESE, id="none were named"),
        pytest.param('{"batch": 3}', THESE, id="a setting of a later version"),
        pytest.param(
            '{"batch": 3, "photos": "x", "gone": {"a": 1}}',
            THESE,
            id="a setting that is no more",
        ),
    ],
)
def test_settings_that_do_not_contradict(
    tmp_path: Path, written: str, wanted: str
) -> None:
    save_checkpoint(Checkpoint(tmp_path, CONFIG, written), *parts(), 1)
    assert load_checkpoint(Checkpoint(tmp_path, CONFIG, wanted), *parts()) == 1


USUAL = json.dumps(
    {"batch": 3, "align": {"noise": 0.0, "new": False}, "vectors": {"use": "random"}}
)


@pytest.mark.parametrize(
    ("more", "agrees"),
    [
        pytest.param(
            {"align": {"noise": 0.5, "new": False}},
            True,
            id="a new setting at its default",
        ),
        pytest.param(
            {"align": {"noise": 0.5, "new": True}},
            False,
            id="a new setting that is used",
        ),
        pytest.param(
            {"align": {"noise": 0.5}, "vectors": {"use": "random"}},
            True,
            id="a new section at its default",
        ),
        pytest.param(
            {"align": {"noise": 0.5}, "vectors": {"use": "fixed"}},
            False,
            id="a new section that is used",
        ),
        pytest.param(
            {"align": {"noise": 0.5}, "begin": "ab12"}, True, id="what has no default"
        ),
    ],
)
def test_what_an_older_checkpoint_does_not_name_was_at_its_default(
    tmp_path: Path, more: dict[str, Any], agrees: bool
) -> None:
    written = json.dumps({"batch": 3, "align": {"noise": 0.5}})
    save_checkpoint(Checkpoint(tmp_path, CONFIG, written), *parts(), 1)
    wanted, usual = (
        json.dumps({"batch": 3} | more),
        {"config": json.dumps({"steps": 5, "stop": None}), "settings": USUAL},
    )
    if agrees:
        assert (
            load_checkpoint(Checkpoint(tmp_path, CONFIG, wanted, usual), *parts()) == 1
        )
        return
    with pytest.raises(ValueError, match="other settings"):
        load_checkpoint(Checkpoint(tmp_path, CONFIG, wanted, usual), *parts())


def test_the_same_of_the_optimiser(tmp_path: Path) -> None:
    save_checkpoint(Checkpoint(tmp_path, CONFIG), *parts(), 1)
    usual = {"config": json.dumps({"steps": 1, "stop": None})}
    assert (
        load_checkpoint(
            Checkpoint(tmp_path, CONFIG | {"stop": None}, "", usual), *parts()
        )
        == 1
    )
    with pytest.raises(ValueError, match="other settings"):
        load_checkpoint(Checkpoint(tmp_path, CONFIG | {"stop": 3}, "", usual), *parts())


def test_steps_done(tmp_path: Path) -> None:
    assert steps_done(tmp_path) == 0
    save_checkpoint(Checkpoint(tmp_path, CONFIG), *parts(), 7)
    assert steps_done(tmp_path) == 7


@pytest.mark.parametrize(
    "keep",
    [
        pytest.param(0, id="empty"),
        pytest.param(0.5, id="cut"),
        pytest.param(None, id="text"),
    ],
)
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, keep: float | None) -> None:
    save_checkpoint(Checkpoint(tmp_path, CONFIG), *parts(), 1)
    path = tmp_path / "checkpoint.safetensors"
    content = path.read_bytes()
    path.write_bytes(
        b"this is no checkpoint"
        if keep is None
        else content[: int(keep * len(content))]
    )
    with pytest.raises(
        ValueError,
        match=r"expected a checkpoint, got a damaged file .*; delete it to start again",
    ):
        load_checkpoint(Checkpoint(tmp_path, CONFIG), *parts())


@pytest.mark.parametrize(
    ("other", "message"),
    [
        pytest.param(
            nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4)),
            "size mismatch",
            id="another shape",
        ),
        pytest.param(nn.Linear(2, 3), "Missing key", id="another module"),
    ],
)
def test_another_models_checkpoint_is_refused(
    tmp_path: Path, other: nn.Module, message: str
) -> None:
    save_checkpoint(Checkpoint(tmp_path, CONFIG), *parts(), 1)
    optimiser = make_optimiser(other, OptimiserConfig())
    with pytest.raises(
        ValueError, match=f"expected the weights of this model; {message}"
    ):
        load_checkpoint(Checkpoint(tmp_path, CONFIG), other, optimiser)
