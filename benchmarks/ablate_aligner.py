"""What each choice in the aligner is worth: retrieval on dev after the same short training on the same frozen regions.

    python benchmarks/ablate_aligner.py --data ../shared/data --vectors runs/vectors.txt --json out/ablations.json

Regions and their vectors are those of --start; every row changes one thing of configs/mini.toml's aligner and its
[align] stage. The steps are few, so rows compare with each other, not with the first table.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

from regiontalk import RegionCaptioner
from regiontalk.datasets.splits import read_split
from regiontalk.evaluate.photos import EncodedPhotos
from regiontalk.evaluate.ranking import evaluate_retrieval
from regiontalk.metrics.intervals import Interval
from regiontalk.train.recipe import Recipe, Run, run_recipe
from regiontalk.train.vectors import VectorsConfig

FIXED = "fixed word vectors of a file"
# what is changed: fields of the aligner, fields of the stage
ROWS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "as mini": ({}, {}),
    "hardest negative, margin 0.2": ({"loss": "hardest", "margin": 0.2}, {}),
    "sum of margins 0.2 (eq. 9)": ({"loss": "sum", "margin": 0.2}, {}),
    "ReLU cells (eq. 4, 5)": ({"cell": "relu"}, {}),
    "END not read": ({"sentence_token": False}, {}),
    "no spans of sentences": ({}, {"spans": 0}),
    "one sentence a photo": ({}, {"captions": 1}),
    FIXED: ({}, {}),
}


def main() -> None:
    """Train and measure every row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--config", type=Path, default=Path("configs/mini.toml"))
    parser.add_argument("--start", default="mini")
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"), help="holds the frozen features")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", nargs="*", choices=ROWS, default=list(ROWS))
    parser.add_argument("--vectors", type=Path, help="a file of word vectors (regiontalk train vectors), for its row")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if FIXED in arguments.rows and arguments.vectors is None:
        parser.error(f"the row {FIXED!r} wants --vectors FILE; or name the other rows with --rows")
    examples, _ = read_split(arguments.data, "dev")
    recipe = Recipe.read(arguments.config)
    found = {}
    for name in arguments.rows:
        shutil.rmtree(arguments.out / "align", ignore_errors=True)  # the last row's; the frozen features stay
        begun = time.perf_counter()
        changed = ablated(recipe, name, arguments.steps, arguments.seed)
        run = Run(recipe=changed, data=arguments.data, out=arguments.out, log=lambda line: None)
        vectors = arguments.vectors if name == FIXED else None
        model = run_recipe(
            run, ["align"], start=arguments.start, weights=None, published=False, card=name, vectors=vectors
        )
        seconds = time.perf_counter() - begun
        photos = EncodedPhotos(RegionCaptioner.from_pretrained(model), examples)
        figures = evaluate_retrieval(photos).figures
        row = [figures[way]["R@1"] for way in ("photo to sentence", "sentence to photo")]
        text = " / ".join(f"{100 * one.value:.1f}" for one in row if isinstance(one, Interval))
        found[name] = {"R@1": text, "seconds": f"{seconds:.0f}"}
        print(f"{name:32s} R@1 {text}  ({seconds:.0f} s)", flush=True)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def ablated(recipe: Recipe, name: str, steps: int, seed: int) -> Recipe:
    """The recipe with one thing changed, and short."""
    aligner, stage = ROWS[name]
    if recipe.align is None:
        raise SystemExit(f"{recipe.name}: expected a recipe with a section [align], got none")
    optimiser = recipe.align.optimiser.model_copy(update={"steps": steps, "seed": seed, "rate": 1e-3})
    return recipe.model_copy(
        update={
            "seed": seed,
            "aligner": recipe.aligner.model_copy(update=aligner),
            "align": recipe.align.model_copy(update=stage | {"optimiser": optimiser}),
            "features": recipe.features.model_copy(update={"views": 1}),
            "generate": None,  # no maps are needed
            "vectors": VectorsConfig(aligner="fixed" if name == FIXED else "random"),
        }
    )


if __name__ == "__main__":
    main()
