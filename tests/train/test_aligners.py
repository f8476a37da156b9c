"""The alignment models that people know by name: a few steps of their recipes, then use.

Parts that cannot meet.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from regiontalk.align.config import AlignerConfig
from regiontalk.align.model import Aligner
from regiontalk.captioner import RegionCaptioner
from regiontalk.runtime.torch_engine import TorchPredictor
from regiontalk.train.align import absorb_standard
from regiontalk.train.features import FrozenFeatures
from regiontalk.train.recipe import Recipe, stages_of
from regiontalk.train.run import run_recipe

CONFIGS = Path(__file__).parents[2] / "regiontalk" / "recipes"
STEPS = {"steps": 2, "checkpoint_every": 1}
SMALL = {"size": 6, "word_size": 8, "hidden": 6}


def shrunk(name: str, tiny: dict[str, Any]) -> dict[str, Any]:
    """A published recipe with the sizes of a test; every choice stays."""
    recipe = Recipe.read(CONFIGS / f"{name}.toml").model_dump(
        exclude_unset=True, exclude_none=True
    )
    values = recipe | {
        "min_count": 1,
        "features": {"regions": 3},
        "decoding": {"max_words": 4},
    }
    values["extractor"] = tiny["extractor"] | {
        key: value
        for key, value in recipe.get("extractor", {}).items()
        if key in ("pool", "pixels")
    }
    values["aligner"] = recipe["aligner"] | SMALL
    values.pop("vectors", None)  # a file of them: tests/train/test_vectors.py
    values["generator"] = recipe.get("generator", {}) | {"hidden": 6, "word_size": 8}
    for stage in ("joint", "align", "generate"):
        if stage in recipe:
            values[stage] = recipe[stage] | {
                "batch": 4,
                "optimiser": recipe[stage]["optimiser"] | STEPS,
            }
    return values


@pytest.mark.parametrize("name", ["defrag", "cosine"])
def test_a_published_recipe_trains_and_serves(
    name: str, start_run: Any, tiny: dict[str, Any], toy_folder: Path, tmp_path: Path
) -> None:
    values = shrunk(name, tiny)
    run = start_run(values)
    lines: list[str] = []
    run.log = lines.append
    folder = run_recipe(
        run,
        stages_of(run.recipe),
        start=None,
        weights=None,
        published=False,
        card="card",
    )
    told = {"defrag": " fragments ", "cosine": " phrases "}[name]
    assert any(line.startswith("step 2/2") and told in line for line in lines), lines
    captioner = RegionCaptioner.from_pretrained(folder)
    photo = run.examples[0].photo
    assert captioner.caption(photo, regions=2).caption is not None
    assert captioner.locate(photo, run.examples[0].captions[0]).matches


def test_crops_train_and_serve(start_run: Any, tiny: dict[str, Any]) -> None:
    values = {
        key: tiny[key]
        for key in ("name", "min_count", "aligner", "generator", "decoding", "align")
    }
    values |= {
        "extractor": tiny["extractor"] | {"crops": "test_efficientnet"},
        "features": {"regions": 2},
    }
    values["align"] = values["align"] | {"batch": 4, "optimiser": STEPS}
    values["generate"] = {"batch": 2, "captions": 1, "pairs": 1, "optimiser": STEPS}
    run = start_run(values, limit=4)
    folder = run_recipe(
        run,
        stages_of(run.recipe),
        start=None,
        weights=None,
        published=False,
        card="card",
    )
    captioner = RegionCaptioner.from_pretrained(folder)
    assert captioner.caption(run.examples[0].photo, regions=1).caption is not None
    # another run takes proposals and network over
    again = start_run(values, "again", limit=4).build(str(folder), None)
    theirs = cast(TorchPredictor, captioner.predictor).model.extractor.state_dict()
    assert all(
        torch.equal(value, theirs[key])
        for key, value in again.extractor.state_dict().items()
    )


def test_standardised_features_end_in_the_weights() -> None:
    """What was learnt on features of mean 0 and length 1 holds for the features as they are."""
    torch.manual_seed(0)
    vectors = np.random.default_rng(0).normal(3.0, 2.0, (6, 4, 5)).astype(np.float16)
    features = FrozenFeatures(6, np.zeros((6, 4, 4)), vectors, np.ones((6, 4)))
    aligner = Aligner(
        features=5, vocabulary=9, config=AlignerConfig(size=3, word_size=4, hidden=4)
    )
    plain = features.read_vectors(range(6))
    centred = plain - plain.mean((0, 1))
    before = aligner.embed_regions(centred / centred.norm(dim=-1).mean())
    absorb_standard(aligner, features)
    torch.testing.assert_close(
        aligner.embed_regions(plain), before, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param(
            {"extractor": {"crops": "vgg19"}},
            "extractor.crops and a section [joint]",
            id="crops in joint",
        ),
        pytest.param(
            {"align": {"standardise": True}},
            "align.standardise and a section [warm]",
            id="learnt before",
        ),
        pytest.param(
            {"align": {"fragments": {"weight": 1}}},
            "align.fragments and aligner.norm",
            id="unit fragments",
        ),
        pytest.param(
            {"aligner": SMALL | {"cell": "gru", "normalise": True, "sentence": "last"}},
            "generate.pairs and aligner.sentence = last",
            id="snippets of one vector",
        ),
        pytest.param(
            {"joint": None, "align": None},
            "generate.pairs and no section [warm]",
            id="pairs of nobody",
        ),
        pytest.param(
            {"aligner": {"sentence": "last"}},
            "sentence = last and cell = relu",
            id="inside one section",
        ),
    ],
)
def test_parts_that_cannot_meet(
    tiny: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError) as caught:
        Recipe.model_validate(tiny | changes)
    assert message in str(caught.value)
