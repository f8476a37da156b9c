"""What the generator learns from and how it looks: captions on dev after the same short training, one thing differing.

    python benchmarks/ablate_generator.py --data ../shared/data --run runs/mini --steps 800 --json out/generator.json

--run is a finished run of configs/mini.toml: its extractor, aligner and frozen features serve every row, and only the
generator is trained. "Entities phrases" is the supervised row: people's phrases on people's boxes, where every other
row has seen sentences alone.
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
from regiontalk.evaluate.captions import evaluate_captions
from regiontalk.evaluate.photos import EncodedPhotos
from regiontalk.evaluate.regions import evaluate_regions
from regiontalk.evaluate.result import Result
from regiontalk.metrics.intervals import Interval
from regiontalk.train.recipe import Recipe, Run, run_recipe, stages_of

# what is changed: fields of the recipe's sections; those of the decoding say how pairs are inferred
ROWS: dict[str, dict[str, dict[str, Any]]] = {
    "inferred pairs, as mini": {},
    "inferred as printed, beta 0.003": {"decoding": {"region_prior": 0.0, "phrases": False, "beta": 0.003}},
    "Entities phrases (supervised)": {"generate": {"pairs": 0, "phrases": 2}},
    "whole photos alone": {"generate": {"pairs": 0}},
    "looks after the word is read": {"generator": {"look": "after"}},
}
FINISHED = ("proposer", "warm", "joint", "align")


def main() -> None:
    """Train and measure every row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True, help="output folder of a finished run")
    parser.add_argument("--config", type=Path, default=Path("configs/mini.toml"))
    parser.add_argument("--weights", type=Path, required=True, help="that the run began with")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--rows", nargs="*", choices=ROWS, default=list(ROWS))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    recipe = Recipe.read(arguments.config)
    examples, _ = read_split(arguments.data, "dev")
    out = arguments.run.parent / f"{arguments.run.name}_ablations"
    out.mkdir(parents=True, exist_ok=True)
    for name in (*FINISHED, "features.npy", "features.json", "features_warm.npy", "features_warm.json"):
        if not (out / name).exists():
            (out / name).symlink_to((arguments.run / name).resolve())
    found = {}
    for name in arguments.rows:
        shutil.rmtree(out / "generate", ignore_errors=True)  # the last row's
        begun = time.perf_counter()
        changed = ablated(recipe, name, arguments.steps)
        run = Run(recipe=changed, data=arguments.data, out=out, log=lambda line: None)
        stages = stages_of(changed)
        model = run_recipe(run, stages, start=None, weights=arguments.weights, published=False, card=name)
        seconds = time.perf_counter() - begun
        photos = EncodedPhotos(RegionCaptioner.from_pretrained(model), examples)
        regions, whole = evaluate_regions(photos, None, crops=False), evaluate_captions(photos, None)
        row = {"region " + key: figure(regions, key) for key in ("BLEU-1", "CIDEr-D")}
        row |= {"photo " + key: figure(whole, key) for key in ("BLEU-4", "CIDEr-D")}
        found[name] = row | {"seconds": seconds}
        print(f"{name:34s}", " ".join(f"{key} {100 * value:.1f}" for key, value in row.items()), flush=True)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def ablated(recipe: Recipe, name: str, steps: int) -> Recipe:
    """The recipe with one thing changed, and a short last stage."""
    if recipe.generate is None:
        raise SystemExit(f"{recipe.name}: expected a recipe with a section [generate], got none")
    optimiser = recipe.generate.optimiser.model_copy(update={"steps": steps, "stop": None})
    short = recipe.model_copy(update={"generate": recipe.generate.model_copy(update={"optimiser": optimiser})})
    return short.model_copy(
        update={part: getattr(short, part).model_copy(update=fields) for part, fields in ROWS[name].items()}
    )


def figure(result: Result, name: str) -> float:
    """The model's own figure."""
    found = result.figures["model"][name]
    return found.value if isinstance(found, Interval) else float(found or 0.0)


if __name__ == "__main__":
    main()
