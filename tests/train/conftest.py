"""A recipe small enough for a few steps, and runs of it."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from regiontalk.train.recipe import Recipe
from regiontalk.train.run import Run

Start = Callable[..., Run]

RECIPE = tomllib.loads((Path(__file__).parents[1] / "data/tiny.toml").read_text())
TINY: dict[str, Any] = {
    **RECIPE,
    "aligner": {**RECIPE["aligner"], "dropout": 0.2, "sentence_token": True},
    "generator": {**RECIPE["generator"], "attention": 8},
    "features": {"regions": 4, "views": 2},
    "joint": {
        "batch": 4,
        "regions": 4,
        "optimiser": {"steps": 4, "checkpoint_every": 2},
    },
    "align": {
        "batch": 4,
        "spans": 1,
        "noise": 0.1,
        "optimiser": {"steps": 4, "checkpoint_every": 2},
    },
    "generate": {
        "batch": 4,
        "pairs": 1,
        "optimiser": {"steps": 4, "checkpoint_every": 2},
    },
}


@pytest.fixture
def tiny() -> dict[str, Any]:
    """The values of a recipe; `Recipe.model_validate` reads them."""
    return dict(TINY)


@pytest.fixture
def start_run(toy_folder: Path, tmp_path: Path) -> Start:
    """A run of a recipe on the toy data, with its own output folder."""

    def make(values: dict[str, Any], out: str = "run", **settings: Any) -> Run:
        recipe = Recipe.model_validate(values)
        return Run(
            recipe=recipe,
            data=toy_folder,
            out=tmp_path / out,
            log=lambda line: None,
            **settings,
        )

    return make
