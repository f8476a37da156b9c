"""The whole chain on coloured shapes.

It learns what the sentences say, and nothing where they say nothing. Scenes and boxes
are the same in both runs. In the second every training scene has another scene's
sentences: the model can still learn where shapes are, from their boxes, but not what
they are called.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from regiontalk.captioner import RegionCaptioner
from regiontalk.datasets.splits import read_split
from regiontalk.datasets.toy import ToyScene, make_scenes, write_scenes
from regiontalk.evaluate.photos import EncodedPhotos
from regiontalk.evaluate.phrases import evaluate_phrases
from regiontalk.evaluate.retrieval import evaluate_retrieval
from regiontalk.train.recipe import Recipe, stages_of
from regiontalk.train.run import Run, run_recipe

CONFIG = Path(__file__).parents[2] / "regiontalk" / "recipes" / "toy.toml"
TRAIN, DEV = 3000, 100  # scenes


@dataclass(frozen=True)
class Figures:
    """What a model reached on the dev scenes, all in per cent."""

    photo_to_sentence: float
    sentence_to_photo: float
    phrases: float
    captions: float


def shuffled(scenes: Sequence[ToyScene]) -> list[ToyScene]:
    """Every scene with the sentences of the next.

    Each sentence is still written for one picture, the wrong one.
    """
    others = [*scenes[1:], scenes[0]]
    return [
        replace(
            scene,
            example=replace(scene.example, captions=other.example.captions, phrases=()),
        )
        for scene, other in zip(scenes, others, strict=True)
    ]


def train(folder: Path, scenes: Sequence[ToyScene], seed: int = 0) -> Figures:
    """Run the recipe on the scenes and measure it on dev scenes that it has never seen."""
    write_scenes(
        {"train": scenes, "dev": make_scenes(DEV, 1000 + seed, max_shapes=3)},
        folder / "data",
    )
    recipe = Recipe.read(CONFIG).model_copy(update={"seed": seed})
    run = Run(recipe=recipe, data=folder / "data", out=folder / "run", log=print)
    model = run_recipe(
        run, stages_of(recipe), start=None, weights=None, published=False, card="toy"
    )
    return measure(model, folder / "data")


def measure(model: Path, data: Path) -> Figures:
    """The figures of a model folder on the dev split."""
    captioner = RegionCaptioner.from_pretrained(model)
    examples, _ = read_split(data, "dev")
    photos = EncodedPhotos(captioner, examples, keep=True)
    found = evaluate_retrieval(photos, resamples=1).figures
    places = evaluate_phrases(photos, resamples=1).figures
    results = captioner.caption_many([example.photo for example in examples], regions=0)
    said = [result.caption.text for result in results]
    right = sum(
        text in example.captions for text, example in zip(said, examples, strict=True)
    )
    # shown where the test fails
    print(said[:5], places["upper bound of the proposals"])
    return Figures(
        100 * found["photo to sentence"]["R@1"].value,
        100 * found["sentence to photo"]["R@1"].value,
        100 * places["model"]["any box R@1"].value,
        100 * right / len(examples),
    )


@pytest.fixture(autouse=True)
def _reproducible():
    """One thread, as sums in another order would give another model.

    The other core has its own tests.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.minutes
def test_the_chain_learns(tmp_path: Path) -> None:
    figures = train(tmp_path, make_scenes(TRAIN, 1, max_shapes=3))
    assert figures.photo_to_sentence >= 90, figures
    assert figures.sentence_to_photo >= 90, figures
    assert figures.phrases >= 80, figures
    assert figures.captions >= 80, figures


@pytest.mark.minutes
def test_shuffled_pairs_teach_nothing(tmp_path: Path) -> None:
    figures = train(tmp_path, shuffled(make_scenes(TRAIN, 1, max_shapes=3)))
    # chance is 1 in 100 scenes; a caption is true by chance about once in a thousand
    assert figures.photo_to_sentence <= 6, figures
    assert figures.sentence_to_photo <= 6, figures
    assert figures.captions <= 5, figures
    # a phrase has one right box in 2 to 4: the boxes were taught, the words were not
    assert figures.phrases <= 60, figures
