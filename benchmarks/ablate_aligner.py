r"""What each choice in the aligner is worth.

Retrieval on dev after the same short training on the same frozen regions.

    python benchmarks/ablate_aligner.py --data DATA --vectors runs/vectors.txt \
        --json out/ablations.json

Regions and their vectors are those of --start; every row changes one thing of --config's aligner
and its [align] stage. The steps are few, so rows compare with each other, not with the first table.
With several --seeds a row is a mean and, in brackets, what they gave. The paper's claims, each
against "as the recipe":

    python benchmarks/ablate_aligner.py --data DATA --config regiontalk/recipes/dvsa.toml
      --out runs/dvsa_ablations
        --vectors runs/vectors.txt --steps 300 --seeds 0 1 2 --rows "as the recipe" "eq. 7 and
        fragments ([3])"
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
from regiontalk.evaluate.photos import EncodedPhotos
from regiontalk.evaluate.retrieval import evaluate_retrieval
from regiontalk.metrics.bootstrap import Interval
from regiontalk.records import Example
from regiontalk.train.align import FragmentConfig
from regiontalk.train.recipe import Recipe
from regiontalk.train.run import Run, run_recipe
from regiontalk.train.word_vectors import Use, VectorsConfig

FRAGMENTS = FragmentConfig(weight=1.0, over="mean")
# what is changed: fields of the aligner, of the stage, and where word vectors come from
ROWS: dict[str, tuple[dict[str, Any], dict[str, Any], Use | None]] = {
    "as the recipe": ({}, {}, None),
    "hardest negative, margin 0.2": ({"loss": "hardest", "margin": 0.2}, {}, None),
    "hardest negative after 40 % of eq. 9": (
        {"loss": "hardest", "margin": 0.2},
        {"hardest_after": 0.4},
        None,
    ),
    "sum of margins 0.2 (eq. 9)": ({"loss": "sum", "margin": 0.2}, {}, None),
    "eq. 7 and fragments ([3])": (
        {"score": "mean_positive"},
        {"fragments": FRAGMENTS},
        None,
    ),
    "ReLU cells (eq. 4, 5)": ({"cell": "relu"}, {}, None),
    "END not read": ({"sentence_token": False}, {}, None),
    "NULL region": ({"null": True}, {}, None),
    "no spans of sentences": ({}, {"spans": 0}, None),
    "one sentence a photo": ({}, {"captions": 1}, None),
    "word vectors from random": ({}, {}, "random"),
    "word vectors of a file, trained": ({}, {}, "trained"),
    "word vectors of a file, fixed": ({}, {}, "fixed"),
}


def main() -> None:
    """Train and measure every row."""
    arguments = parse_arguments()
    examples, _ = read_split(arguments.data, "dev")
    recipe = Recipe.read(arguments.config)
    figures_by_row: dict[str, list[list[float]]] = {}
    for name in arguments.rows:
        begun = time.perf_counter()
        recalls: list[list[float]] = []
        for seed in arguments.seeds:
            model = train(arguments, ablated(recipe, name, arguments.steps, seed), name)
            recalls.append(recalls_at_1(model, examples))
        seconds = (time.perf_counter() - begun) / len(arguments.seeds)
        print(f"{name:38s} R@1 {in_words(recalls)}  {seconds:.0f} s each", flush=True)
        figures_by_row[name] = recalls
        if arguments.json:
            arguments.json.parent.mkdir(parents=True, exist_ok=True)
            arguments.json.write_text(
                json.dumps(figures_by_row, indent=2) + "\n", encoding="utf-8"
            )


def train(arguments: argparse.Namespace, recipe: Recipe, name: str) -> Path:
    """The folder of a model whose aligner has learnt by a recipe."""
    # the last row's; the frozen features stay
    shutil.rmtree(arguments.out / "align", ignore_errors=True)
    run = Run(
        recipe=recipe, data=arguments.data, out=arguments.out, log=lambda line: None
    )
    return run_recipe(
        run,
        ["align"],
        start=arguments.start,
        weights=None,
        published=False,
        card=name,
        vectors=arguments.vectors if recipe.vectors.aligner != "random" else None,
    )


def recalls_at_1(model: Path, examples: Sequence[Example]) -> list[float]:
    """R@1 from photo to sentence and back, in percent."""
    photos = EncodedPhotos(RegionCaptioner.from_pretrained(model), examples)
    figures = evaluate_retrieval(photos).figures
    recalls = [
        figures[way]["R@1"] for way in ("photo to sentence", "sentence to photo")
    ]
    return [100 * recall.value for recall in recalls if isinstance(recall, Interval)]


def in_words(recalls: Sequence[Sequence[float]]) -> str:
    """The means over the seeds of both ways and, in brackets, each seed's pair."""
    means = " / ".join(
        f"{sum(way) / len(way):.1f}" for way in zip(*recalls, strict=True)
    )
    pairs = ", ".join("/".join(map("{:.1f}".format, pair)) for pair in recalls)
    return f"{means} ({pairs})"


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--config", type=Path, default=Path("regiontalk/recipes/mini.toml")
    )
    parser.add_argument("--start", default="mini")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/ablations"),
        help="holds the frozen features",
    )
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rows", nargs="*", choices=ROWS, default=list(ROWS))
    parser.add_argument(
        "--vectors", type=Path, help="a file of word vectors (regiontalk train vectors)"
    )
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def ablated(recipe: Recipe, name: str, steps: int, seed: int) -> Recipe:
    """The recipe with one thing changed, and short."""
    aligner, stage, vectors = ROWS[name]
    if recipe.align is None:
        raise SystemExit(
            f"{recipe.name}: expected a recipe with a section [align], got none"
        )
    optimiser = recipe.align.optimiser
    # random heads learn fast
    learning_rate = 1e-3 if optimiser.name == "adamw" else optimiser.learning_rate
    optimiser = optimiser.model_copy(
        update={"steps": steps, "seed": seed, "learning_rate": learning_rate}
    )
    return recipe.model_copy(
        update={
            "seed": seed,
            "aligner": recipe.aligner.model_copy(update=aligner),
            "align": recipe.align.model_copy(update=stage | {"optimiser": optimiser}),
            "features": recipe.features.model_copy(update={"views": 1}),
            "generate": None,  # no maps are needed
            "vectors": VectorsConfig(aligner=vectors or recipe.vectors.aligner),
        }
    )


if __name__ == "__main__":
    main()
