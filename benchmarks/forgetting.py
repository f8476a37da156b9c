"""What a model forgets while it learns from somebody's photos.

And what keeps it from that, on frozen features.

    python benchmarks/forgetting.py DATA --out runs/forgetting
    python benchmarks/forgetting.py DATA --out runs/forgetting --memory 800 2 128

The model learns 300 screens drawn by code for a few epochs; it is measured on other
screens and on everyday dev photos of DATA, before and after, and at points between the
old and the new weights (Wortsman et al., Robust fine-tuning of zero-shot models, CVPR
2022). ``--memory M K D`` holds it by the region vectors of M everyday training photos
(`train.keep`), the whole and K regions of each, in D principal components of one byte
each.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from regiontalk.datasets.folder import read_folder
from regiontalk.datasets.screens import write_screens
from regiontalk.datasets.splits import read_split
from regiontalk.model.hub import resolve_model
from regiontalk.model.region_model import RegionModel
from regiontalk.records import Example
from regiontalk.train.features import FrozenFeatures, freeze_features
from regiontalk.train.generate import GenerateTerms
from regiontalk.train.judges import generate_judge
from regiontalk.train.keep import MEMORY, Memory
from regiontalk.train.loop import OptimiserConfig
from regiontalk.train.own import plan_recipe, read_own
from regiontalk.train.photos import PictureStore
from regiontalk.train.recipe import Recipe
from regiontalk.train.region_texts import PEOPLE, box_phrases, unique_boxes
from regiontalk.train.run import Run

TRAIN_SEED, TEST_SEED = 1_000, 900_000
FIGURES = ("CIDEr-D", "boxes CIDEr-D", "boxes right")


def frozen(
    model: RegionModel, examples: Sequence[Example], path: Path, with_boxes: bool = True
) -> FrozenFeatures:
    """The features of some photos, with those of their annotated boxes."""
    taught = unique_boxes(box_phrases(examples, model, PEOPLE)) if with_boxes else []
    return freeze_features(
        model.extractor.eval(),
        examples,
        lambda: PictureStore(examples, model.preprocessing),
        path,
        regions=19,
        taught=taught,
    )


class Measure:
    """Figures on screens and on everyday photos."""

    def __init__(
        self, run: Run, model: RegionModel, sets: dict[str, Sequence[Example]]
    ) -> None:
        """Freeze the features of the sets."""
        self.run, self.sets = run, sets
        self.features = {
            name: frozen(model, examples, run.out / f"features_of_{name}")
            for name, examples in sets.items()
        }

    def tell(self, name: str, model: RegionModel) -> None:
        """Print the figures of a model."""
        config = self.run.recipe.generate
        if config is None:
            raise ValueError("recipe: expected a section [generate], got none")
        parts = []
        for kind, examples in self.sets.items():
            features = self.features[kind]
            terms = GenerateTerms.of_examples(model, config, examples, features)
            figures = generate_judge(
                terms, [example.captions for example in examples]
            )()
            values = ", ".join(
                f"{figure} {100 * figures[figure]:.1f}" for figure in FIGURES
            )
            parts.append(f"{kind}: {values}")
        print(f"{name}: {'; '.join(parts)}", flush=True)


def learn(arguments: argparse.Namespace) -> None:
    """Train and measure."""
    out = arguments.out
    write_screens(arguments.screens, TRAIN_SEED, out / "screens")
    write_screens(arguments.test, TEST_SEED, out / "test")
    base = RegionModel.from_folder(resolve_model(arguments.start))
    photos = read_own(out / "screens", print)
    memory = None
    if arguments.memory is not None:
        memory = make_memory(base, arguments.data, out, *arguments.memory)
    run = Run(
        recipe=with_epochs(
            plan_recipe(base.config, photos, "forgetting"), arguments.epochs
        ),
        data=out / "screens",
        out=out / f"run_{'_'.join(map(str, arguments.memory or ['plain']))}",
        log=print,
        examples=photos.train,
        dev=photos.dev,
        base=base,
        memory=memory,
    )
    model = run.build(None, None)
    sets = {
        "screens": read_folder(out / "test")[0],
        "everyday": read_split(arguments.data, "dev")[0][: arguments.everyday],
    }
    train_and_measure(run, model, Measure(run, model, sets), arguments.shares)


def train_and_measure(
    run: Run, model: RegionModel, measure: Measure, shares: Sequence[float]
) -> None:
    """Measure a model before and after its stages, and at shares of the way between."""
    weights_before = copy_weights(model)
    measure.tell("before", model)
    run.stage("align", model)
    run.dev = []  # the generator learns all its epochs, and is not judged meanwhile
    run.stage("generate", model)
    weights_after = copy_weights(model)
    measure.tell("after", model)
    for share in shares:
        model.load_state_dict(mixed(weights_before, weights_after, share))
        measure.tell(f"{share:g} of the way", model)


def with_epochs(recipe: Recipe, epochs: float) -> Recipe:
    """The recipe with so many epochs of its generator."""
    if recipe.generate is None:
        raise ValueError("recipe: expected a section [generate], got none")
    settings = recipe.generate.optimiser.model_dump() | {"epochs": epochs}
    del settings["steps"]
    generate = recipe.generate.model_copy(
        update={"optimiser": OptimiserConfig(**settings)}
    )
    return recipe.model_copy(update={"generate": generate})


def make_memory(
    base: RegionModel, data: Path, out: Path, count: int, regions: int, components: int
) -> Memory:
    """The memory of so many everyday training photos; prints its size."""
    examples = read_split(data, "train")[0]
    chosen = examples[:: len(examples) // count][:count]
    features = frozen(
        base, chosen, out / f"features_of_memory{count}", with_boxes=False
    )
    path = out / MEMORY
    Memory.from_features(features, regions).save(path, base.extractor, components)
    print(f"memory: {path.stat().st_size / 1e6:.2f} MB")
    memory = Memory.load(path, base.extractor)
    if memory is None:
        raise ValueError(f"{path}: expected the memory that was just written, got none")
    return memory


def copy_weights(model: RegionModel) -> dict[str, Tensor]:
    """A model's weights as they are now."""
    return {name: value.clone() for name, value in model.state_dict().items()}


def mixed(
    before: dict[str, Tensor], after: dict[str, Tensor], share: float
) -> dict[str, Tensor]:
    """Weights on the straight line between two models; counts are those of the second."""
    return {
        name: torch.lerp(before[name], value, share)
        if value.is_floating_point()
        else value
        for name, value in after.items()
    }


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/forgetting"))
    parser.add_argument("--start", default="mini")
    parser.add_argument("--screens", type=int, default=300)
    parser.add_argument("--epochs", type=float, default=12)
    parser.add_argument("--test", type=int, default=60)
    parser.add_argument("--everyday", type=int, default=100)
    parser.add_argument("--memory", type=int, nargs=3, metavar=("M", "K", "D"))
    parser.add_argument("--shares", type=float, nargs="*", default=[0.3, 0.5, 0.7])
    learn(parser.parse_args())


if __name__ == "__main__":
    main()
