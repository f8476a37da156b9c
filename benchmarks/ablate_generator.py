r"""What the generator learns from and how it is built.

Dev captions after the same short training, one thing differing. On a finished run of
regiontalk/recipes/mini.toml, whose extractor, aligner and frozen features serve every
row:

    python benchmarks/ablate_generator.py --data DATA --run runs/mini --weights FILE --steps 600

On the frozen extractor of a model, whole photos alone; of several seeds a row gives the mean and
each:

    python benchmarks/ablate_generator.py --data DATA --config regiontalk/recipes/attend.toml \
        --start mini --steps 500 \
        --seeds 0 1 2 --rows "as the recipe" "no attention" "no attention, picture at t = 1"

On a finished run that began with a model's extractor, both:

    python benchmarks/ablate_generator.py --data DATA \
        --config regiontalk/recipes/dvsa.toml --run runs/dvsa \
        --start mini --vectors runs/vectors.txt --steps 600 --limit 300 --seeds 0 1 2 \
        --rows "region alone" "region beside the whole photo"

"Entities phrases" is the supervised row: people's phrases on people's boxes, where every other row
has seen sentences alone.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regiontalk import RegionCaptioner
from regiontalk.datasets.splits import read_split
from regiontalk.evaluate.captions import evaluate_captions
from regiontalk.evaluate.photos import EncodedPhotos
from regiontalk.evaluate.regions import evaluate_regions
from regiontalk.evaluate.result import Result
from regiontalk.metrics.bootstrap import Interval
from regiontalk.train.recipe import Recipe, stages_of
from regiontalk.train.run import Run, run_recipe

BLIND = {
    "generator": {"attention": 0, "places": False, "regions": 0},
    "generate": {"attention_penalty": 0.0},
}
# what is changed: fields of the recipe's sections; those of the decoding say how pairs are inferred
ROWS: dict[str, dict[str, dict[str, Any]]] = {
    "as the recipe": {},
    "inferred as printed, beta 0.003": {
        "decoding": {"region_prior": 0.0, "phrases": False, "beta": 0.003}
    },
    "Entities phrases (supervised)": {"generate": {"pairs": 0, "phrases": 2}},
    "whole photos alone": {"generate": {"pairs": 0}},
    "region alone": {"generator": {"with_photo": False}},
    "region beside the whole photo": {"generator": {"with_photo": True}},
    "looks after the word is read": {"generator": {"look": "after"}},
    "picture at every step": {"generator": {"image": "every"}},
    "no attention": BLIND,
    "no attention, picture at t = 1": BLIND
    | {"generator": BLIND["generator"] | {"image": "first"}},
    "no attention, picture at every step": BLIND
    | {"generator": BLIND["generator"] | {"image": "every"}},
    "no attention, ReLU, picture at t = 1": BLIND
    | {"generator": BLIND["generator"] | {"image": "first", "cell": "relu"}},
    "self-critical": {"generate": {"self_critical": 0.2}},
    "an EM round": {"generate": {"rounds": 1}},
}
FINISHED = (
    "proposer",
    "warm",
    "joint",
    "align",
    "statistics.npy",
    "statistics.json",
    "features.npy",
    "features.json",
)


def main() -> None:
    """Train and measure every row."""
    arguments = parse_arguments()
    recipe = Recipe.read(arguments.config)
    examples = read_split(arguments.data, "dev")[0][: arguments.limit]
    out = folder_beside(arguments.run or Path("runs") / recipe.name)
    figures_by_row = {}
    for name in arguments.rows:
        rows = []
        for seed in arguments.seeds:
            changed = ablated(recipe, name, arguments.steps, seed)
            begun = time.perf_counter()
            model = train(arguments, changed, name, out)
            seconds = time.perf_counter() - begun
            photos = EncodedPhotos(RegionCaptioner.from_pretrained(model), examples)
            rows.append(measured(photos, changed) | {"seconds": seconds})
        figures_by_row[name] = rows
        print(f"{name:38s}", in_words(rows), flush=True)
        if arguments.json:
            arguments.json.parent.mkdir(parents=True, exist_ok=True)
            arguments.json.write_text(
                json.dumps(figures_by_row, indent=2) + "\n", encoding="utf-8"
            )


def folder_beside(run: Path) -> Path:
    """A folder beside a run that shares its finished stages and frozen features."""
    out = run.parent / f"{run.name}_ablations"
    out.mkdir(parents=True, exist_ok=True)
    for name in FINISHED:
        if (run / name).exists() and not (out / name).exists():
            (out / name).symlink_to((run / name).resolve())
    return out


def train(arguments: argparse.Namespace, recipe: Recipe, name: str, out: Path) -> Path:
    """The folder of a model whose generator has learnt by a recipe."""
    for last_row in out.glob("generate*"):
        shutil.rmtree(last_row)
    run = Run(recipe=recipe, data=arguments.data, out=out, log=lambda line: None)
    return run_recipe(
        run,
        stages_of(recipe) if arguments.run else ["generate"],
        start=arguments.start,
        weights=arguments.weights,
        published=False,
        card=name,
        vectors=arguments.vectors,
    )


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, help="output folder of a finished run")
    parser.add_argument(
        "--config", type=Path, default=Path("regiontalk/recipes/mini.toml")
    )
    parser.add_argument("--weights", type=Path, help="that the run began with")
    parser.add_argument(
        "--start",
        help="a model whose extractor serves all rows; beside --run, what that began with",
    )
    parser.add_argument(
        "--vectors", type=Path, help="word vectors that the run began with"
    )
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rows", nargs="*", choices=ROWS, default=list(ROWS))
    parser.add_argument("--limit", type=int, help="only the first dev photos")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.run is None and arguments.start is None:
        parser.error("expected --run FOLDER, --start MODEL or both, got neither")
    return arguments


def ablated(recipe: Recipe, name: str, steps: int, seed: int) -> Recipe:
    """The recipe with one thing changed, and a short last stage.

    The stages before keep their seed.
    """
    if recipe.generate is None:
        raise SystemExit(
            f"{recipe.name}: expected a recipe with a section [generate], got none"
        )
    optimiser = recipe.generate.optimiser.model_copy(
        update={"steps": steps, "stop": None, "seed": seed}
    )
    short = recipe.model_copy(
        update={"generate": recipe.generate.model_copy(update={"optimiser": optimiser})}
    )
    if (
        recipe.features.regions == 0
    ):  # nothing but whole photos: no stage before depends on the first weights
        short = short.model_copy(update={"seed": seed})
    return short.model_copy(
        update={
            section: getattr(short, section).model_copy(update=fields)
            for section, fields in ROWS[name].items()
        }
    )


def measured(photos: EncodedPhotos, recipe: Recipe) -> dict[str, float]:
    """Figures of a row, in percent."""
    captions = evaluate_captions(photos, None)
    row = {"photo " + key: figure(captions, key) for key in ("BLEU-4", "CIDEr-D")}
    if recipe.generate is not None and (
        recipe.generate.pairs or recipe.generate.phrases
    ):
        regions = evaluate_regions(photos, None, crops=False)
        row |= {"region " + key: figure(regions, key) for key in ("BLEU-1", "CIDEr-D")}
    return row


def figure(result: Result, name: str) -> float:
    """The model's own figure, in percent."""
    cell = result.figures["model"][name]
    return 100 * (cell.value if isinstance(cell, Interval) else float(cell or 0.0))


def in_words(rows: Sequence[dict[str, float]]) -> str:
    """Each figure as its mean over the seeds and, of several, those of each seed."""
    columns = []
    for key in rows[0]:
        values = [row[key] for row in rows]
        mean = sum(values) / len(values)
        each = (
            f" ({', '.join(map('{:.1f}'.format, values))})" if len(values) > 1 else ""
        )
        columns.append(f"{key} {mean:.1f}{each}")
    return "; ".join(columns)


if __name__ == "__main__":
    main()
