"""Every member of the family as its recipe has it, with small numbers.

All its stages run and it speaks.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regiontalk.captioner import RegionCaptioner
from regiontalk.train.recipe import Recipe, stages_of
from regiontalk.train.run import Run, run_recipe
from regiontalk.train.vector_files import write_word_vectors

CONFIGS = Path(__file__).parents[2] / "regiontalk" / "recipes"
SMALL = {
    "hidden": 12,
    "word_size": 8,
    "attention": 8,
    "size": 8,
    "batch": 4,
    "regions": 4,
    "views": 1,
}


def shrunk(values: dict[str, Any], extractor: dict[str, Any]) -> dict[str, Any]:
    """The recipe with the sizes and numbers of a test; what it chooses stays."""
    small: dict[str, Any] = {"min_count": 1, "extractor": extractor}
    for name, section in values.items():
        if isinstance(section, dict) and name != "extractor":
            kept = {
                key: SMALL.get(key, value) if value else value
                for key, value in section.items()
            }
            if "optimiser" in section:
                kept["optimiser"] = section["optimiser"] | {
                    "steps": 2,
                    "checkpoint_every": 2,
                }
            small[name] = kept
    return values | small


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        pytest.param("attend", {}, id="Show, Attend and Tell"),
        pytest.param(
            "attend",
            {"generator": {"regions": 3}, "features": {"regions": 4}},
            id="attention over regions",
        ),
        pytest.param(
            "attend",
            {"generate": {"scheduled_sampling": 0.5, "self_critical": 0.5}},
            id="on its own words",
        ),
        pytest.param("dvsa", {}, id="the paper"),
    ],
)
def test_it_runs(
    name: str,
    changes: dict[str, Any],
    tiny: dict[str, Any],
    toy_folder: Path,
    tmp_path: Path,
) -> None:
    written = tomllib.loads((CONFIGS / f"{name}.toml").read_text())
    values = shrunk(written, tiny["extractor"])
    for section, more in changes.items():
        values[section] = values[section] | more
    recipe = Recipe.model_validate(values)
    run = Run(
        recipe=recipe, data=toy_folder, out=tmp_path, log=lambda line: None, limit=8
    )
    vectors = None
    if recipe.vectors.aligner != "random":
        vectors = tmp_path / "vectors.txt"
        write_word_vectors(
            vectors, ["a", "red", "circle"], np.eye(3, 8, dtype=np.float32)
        )
    folder = run_recipe(
        run,
        stages_of(recipe),
        start=None,
        weights=None,
        published=False,
        card="card",
        vectors=vectors,
    )
    captioner = RegionCaptioner.from_pretrained(folder)
    assert captioner.config.generator.cell == written["generator"]["cell"]
    found = captioner.caption(next(toy_folder.rglob("*.png")), regions=2)
    assert found.caption is not None and captioner.attends == bool(
        written["generator"].get("attention")
    )
