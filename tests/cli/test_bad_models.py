"""Damaged model folders, unknown models and recipes with mistakes, end to end.

All errors at once, in one line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

Damage = Callable[[Path], object]


def config(**changes: Any) -> Damage:
    """Change ``config.json``; a dictionary changes keys of that section."""

    def damage(folder: Path) -> None:
        values = json.loads((folder / "config.json").read_text())
        for key, value in changes.items():
            values[key] = values[key] | value if isinstance(value, dict) else value
        (folder / "config.json").write_text(json.dumps(values))

    return damage


def tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Damage:
    """Change the tensors of ``model.safetensors``."""

    def damage(folder: Path) -> None:
        values = {
            key: value.clone()
            for key, value in load_file(folder / "model.safetensors").items()
        }  # not mapped
        change(values)
        save_file(values, folder / "model.safetensors")

    return damage


BIAS = "generator.output.bias"


@pytest.mark.parametrize(
    ("damage", "messages"),
    [
        pytest.param(
            lambda folder: (folder / "config.json").unlink(),
            ["missing config.json"],
            id="no config",
        ),
        pytest.param(
            lambda folder: (folder / "README.md").unlink(),
            ["missing README.md"],
            id="no card",
        ),
        pytest.param(
            lambda folder: [
                (folder / name).unlink()
                for name in ("model.safetensors", "vocabulary.json")
            ],
            ["not a complete model folder; missing model.safetensors, vocabulary.json"],
            id="two files missing",
        ),
        pytest.param(
            config(format=2),
            ["config.json: format: Input should be 1, got 2"],
            id="wrong format number",
        ),
        pytest.param(
            config(kind="spacy"),
            ["kind: Input should be 'regiontalk', got 'spacy'"],
            id="another kind",
        ),
        pytest.param(
            config(
                format=7,
                colour="red",
                aligner={"cell": "lstm"},
                generator={"hidden": 0, "cel": "gru"},
            ),
            [
                "format: Input should be 1, got 7",
                "aligner.cell: Input should be 'relu' or 'gru', got 'lstm'",
                "generator.hidden: Input should be greater than or equal to 1, got 0",
                "generator.cel: unknown key; expected one of cell, hidden,",
                "colour: unknown key; expected one of format, kind, name, extractor",
            ],
            id="unknown keys and cells: all errors at once",
        ),
        pytest.param(
            config(extractor={"backbone": "resnet_of_mine"}),
            ["backbone 'resnet_of_mine': expected a timm model name"],
            id="unknown backbone",
        ),
        pytest.param(
            config(extractor={"backbone": "test_resnet", "same_padding": True}),
            ["same_padding = false"],
            id="padding",
        ),
        pytest.param(
            lambda folder: (folder / "config.json").write_text("{"),
            ["Invalid JSON"],
            id="config cut short",
        ),
        pytest.param(
            lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe"),
            ["Invalid JSON"],
            id="no text",
        ),
        pytest.param(
            lambda folder: (folder / "vocabulary.json").write_text('{"words": 5}'),
            ["vocabulary"],
            id="vocabulary",
        ),
        pytest.param(
            lambda folder: (folder / "model.safetensors").write_bytes(b"PK" * 50),
            ["model.safetensors: expected a safetensors file"],
            id="other weights",
        ),
        pytest.param(
            lambda folder: os.truncate(folder / "model.safetensors", 5000),
            ["model.safetensors: expected a safetensors file"],
            id="weights cut short",
        ),
        pytest.param(
            tensors(lambda values: values.update({BIAS: torch.zeros(3).half()})),
            [f"{BIAS}: expected shape (19,), got (3,)"],
            id="a tensor of another shape",
        ),
        pytest.param(
            tensors(lambda values: values.pop(BIAS)),
            [f"first difference: {BIAS}"],
            id="a tensor missing",
        ),
        pytest.param(
            tensors(lambda values: values.update(more=torch.zeros(3))),
            ["first difference: more"],
            id="one too many",
        ),
        pytest.param(
            tensors(lambda values: values.update({BIAS: values[BIAS].int()})),
            [f"{BIAS}: expected fractions"],
            id="type",
        ),
        pytest.param(
            config(aligner={"size": 13}),
            ["expected shape"],
            id="sizes that the weights do not have",
        ),
    ],
)
def test_bad_model_folders(
    real: Any, refused: Any, damage: Damage, messages: list[str]
) -> None:
    damage(Path("tiny"))
    result = real("caption", "good.jpg", "--json", "--model", "tiny", "--draw", "drawn")
    for message in messages:
        refused(result, message)
    assert list(Path("drawn").iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("maxi", id="no such name"),
        pytest.param("./gone", id="no such folder"),
        pytest.param("folder/gone", id="misspelt in a folder that is here"),
        pytest.param("a/b/c", id="two slashes"),
    ],
)
def test_unknown_models(
    real: Any, refused: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def reached(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("huggingface_hub.snapshot_download", reached)
    refused(real("caption", "good.jpg", "--model", name), f"owner/name, got {name!r}")


def test_a_hub_that_cannot_be_reached(
    real: Any, refused: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise OSError("no route")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    refused(
        real("caption", "good.jpg", "--model", "somebody/something"),
        "the Hub cannot be reached",
    )


RECIPE = """
name = "x"
colour = "red"
[extractor]
sise = 3
[aligner]
cell = "lstm"
[joint.optimiser]
name = "adam"
[generate]
batch = 0
"""


@pytest.mark.parametrize(
    ("stage", "recipe", "messages"),
    [
        pytest.param(
            "all",
            RECIPE,
            [
                "extractor.sise: unknown key; expected one of backbone, same_padding, size",
                "aligner.cell: Input should be 'relu' or 'gru', got 'lstm'",
                "joint.optimiser.name: Input should be 'adamw', 'sgd' or 'rmsprop', got 'adam'",
                "generate.batch: Input should be greater than or equal to 1, got 0",
                "colour: unknown key",
            ],
            id="all errors at once",
        ),
        pytest.param("all", "name = ", ["recipe.toml: expected TOML"], id="not TOML"),
        pytest.param(
            "all",
            None,
            ["recipe.toml: expected a recipe, a TOML file or one of attend, cosine,"],
            id="missing",
        ),
        pytest.param(
            "align", 'name = "x"', ["expected a section [align]"], id="no such section"
        ),
        pytest.param(
            "dance", 'name = "x"', ["stage: expected one of"], id="unknown stage"
        ),
        pytest.param("all", 'name = "x"\n[align]\n', ["folder"], id="no data set"),
    ],
)
def test_bad_recipes(
    real: Any, refused: Any, stage: str, recipe: str | None, messages: list[str]
) -> None:
    if recipe is not None:
        Path("recipe.toml").write_text(recipe)
    result = real("train", stage, "recipe.toml", "--data", "folder", "--out", "runs")
    for message in messages:
        refused(result, message)
    assert not Path("runs/model").exists()
