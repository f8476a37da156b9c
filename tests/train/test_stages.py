"""Single stages: what they find of the stages before, and what they compute.

And which recipes have none of it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from regiontalk.regions.backbones import Backbone
from regiontalk.regions.config import ExtractorConfig
from regiontalk.train import features, inputs
from regiontalk.train.build import extractor_sizes
from regiontalk.train.card import model_card
from regiontalk.train.photos import PictureStore
from regiontalk.train.recipe import Recipe, stages_of
from regiontalk.train.run import Run, run_recipe
from regiontalk.train.stages import GenerateStage, make_stage

PLAIN: dict[str, Any] = {
    "start": None,
    "weights": None,
    "published": False,
    "card": "card",
}


def listen(run: Run) -> list[str]:
    """The lines that a run will log."""
    lines: list[str] = []
    run.log = lines.append
    return lines


def saved(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def forbidden(*arguments: Any, **more: Any) -> None:
    pytest.fail("computed what only has to be loaded")


def test_a_stage_begins_with_what_the_earlier_ones_left(
    start_run: Any, tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = saved(
        run_recipe(
            start_run(tiny, "straight"), stages_of(Recipe.model_validate(tiny)), **PLAIN
        )
    )
    for name in ("joint", "align", "generate"):
        folder = run_recipe(start_run(tiny), [name], **PLAIN)
    assert saved(folder) == straight
    run = start_run(tiny)
    lines = listen(run)
    monkeypatch.setattr(inputs, "PictureStore", forbidden)
    monkeypatch.setattr(inputs, "freeze_features", forbidden)
    assert saved(run_recipe(run, ["generate"], **PLAIN)) == straight
    assert [line for line in lines if "loaded" in line] == [
        "stage joint: loaded, 4 of 4 steps",
        "stage align: loaded, 4 of 4 steps",
    ]


def test_stages_that_have_not_run_are_named(
    start_run: Any, tiny: dict[str, Any]
) -> None:
    run = start_run(tiny)
    lines = listen(run)
    run_recipe(run, ["align"], **PLAIN)
    assert "stage joint: has not run; going on without it" in lines
    assert not any("boxes are random" in line for line in lines), (
        "the recipe has a stage for them"
    )


@pytest.mark.parametrize(
    ("changes", "stage"),
    [
        pytest.param({"seed": 1}, "joint", id="another seed"),
        pytest.param(
            {"warm": {"batch": 4, "optimiser": {"steps": 1}}},
            "joint",
            id="a stage before it",
        ),
    ],
)
def test_another_beginning_is_refused(
    start_run: Any, tiny: dict[str, Any], changes: dict[str, Any], stage: str
) -> None:
    run = start_run(tiny)
    run.stage("joint", run.build(None, None))
    other = start_run(tiny | changes)
    model = other.build(None, None)
    with pytest.raises(
        ValueError, match=f"{stage}/checkpoint.safetensors: written with other settings"
    ):
        for name in stages_of(other.recipe):
            other.stage(name, model)


def test_another_extractor_is_refused(start_run: Any, tiny: dict[str, Any]) -> None:
    """Weights of a file, of the hub or of another model.

    The model as the stage finds it is another.
    """
    run = start_run(tiny)
    run.stage("joint", run.build(None, None))
    model = run.build(None, None)
    with torch.no_grad():
        next(model.extractor.backbone.parameters()).add_(1e-3)
    with pytest.raises(
        ValueError, match=r"joint/checkpoint.safetensors: written with other settings"
    ):
        run.stage("joint", model)


def test_settings_name_the_vectors_and_the_beginning(
    start_run: Any, tiny: dict[str, Any]
) -> None:
    run = start_run(tiny)
    model = run.build(None, None)
    for name in stages_of(run.recipe):
        found = json.loads(run.settings(name, model))
        assert (
            found["vectors"] == {"aligner": "random", "generator": "random", "file": ""}
            and found["begin"]
        ), name


@pytest.mark.parametrize(
    ("changes", "times"),
    [
        pytest.param({}, 1, id="the same"),
        pytest.param({"fit": "pad"}, 2, id="another fit"),
        pytest.param({"nms_iou": 0.7}, 2, id="another nms_iou"),
    ],
)
def test_features_belong_to_their_extractor(
    start_run: Any, tiny: dict[str, Any], changes: dict[str, Any], times: int
) -> None:
    lines: list[str] = []
    for values in (tiny, tiny | {"extractor": tiny["extractor"] | changes}):
        run = start_run(values)
        run.log = lines.append
        run.features(run.build(None, None), "align")
    assert lines.count("features 24/24") == times


def without_a_neck(tiny: dict[str, Any]) -> dict[str, Any]:
    """Whole photos on the map as the backbone leaves it."""
    _, middle, final = Backbone(tiny["extractor"]["backbone"]).channels
    values = {
        key: tiny[key]
        for key in ("name", "min_count", "aligner", "generator", "decoding")
    }
    return values | {
        "extractor": tiny["extractor"] | {"neck": False, "features": middle + final},
        "features": {"regions": 0},
        "generate": {"batch": 4, "pairs": 0, "optimiser": {"steps": 1}},
    }


def statistics(run: Run, tracked: int = 0) -> tuple[Tensor, Tensor]:
    """Of the map, after the stage; ``tracked`` batches have trained them before."""
    model = run.build(None, None)
    norm = model.extractor.norm
    assert (
        isinstance(norm, torch.nn.BatchNorm2d) and norm.num_batches_tracked is not None
    )
    norm.num_batches_tracked.fill_(tracked)
    run.stage("generate", model)
    assert norm.running_mean is not None and norm.running_var is not None
    return norm.running_mean, norm.running_var


def test_a_map_without_a_neck_is_standardised(
    start_run: Any, tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start_run(without_a_neck(tiny))
    lines = listen(run)
    mean, variance = statistics(run)
    assert (
        "statistics of the map from 12 photos" in lines
        and "boxes are random" in lines[0]
    )
    plain = run.build(None, None).eval()  # its statistics are still 0 and 1
    with torch.no_grad():
        raw = plain.extractor(
            PictureStore(run.examples, plain.preprocessing).batch(range(12))
        ).regions
    flat = raw.transpose(0, 1).flatten(1)
    torch.testing.assert_close(mean, flat.mean(1), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(variance, flat.var(1), rtol=1e-3, atol=1e-4)
    monkeypatch.setattr(features, "PictureStore", forbidden)
    monkeypatch.setattr(inputs, "PictureStore", forbidden)
    again = statistics(start_run(without_a_neck(tiny)))
    assert torch.equal(again[0], mean) and torch.equal(again[1], variance), (
        "a run goes on with the very same"
    )


def test_statistics_that_were_trained_stay(
    start_run: Any, tiny: dict[str, Any]
) -> None:
    mean, variance = statistics(start_run(without_a_neck(tiny)), tracked=1)
    assert not mean.any() and (variance == 1).all()


def test_terms_without_texts_are_off(start_run: Any, tiny: dict[str, Any]) -> None:
    run = start_run(tiny | {"joint": tiny["joint"] | {"spans": 0, "captions": 0}})
    lines = listen(run)
    run.stage("joint", run.build(None, None))
    (line,) = [line for line in lines if line.startswith("step 4/4")]
    assert " sentences " in line and " spans " not in line and " captions " not in line


def test_batches_without_pairs(
    start_run: Any, tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start_run(tiny | {"generate": {"captions": 0, "optimiser": {"steps": 2}}})
    monkeypatch.setattr(GenerateStage, "pairs", lambda *arguments: [[]] * 24)
    lines = listen(run)
    run.stage("generate", run.build(None, None))
    assert any(line.startswith("step 2/2") for line in lines)


NEVER = {"optimiser": {"steps": 1}}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param(
            {"generate": {"captions": 0, "pairs": 0}, "align": NEVER},
            "generate.captions, gen",
            id="nothing",
        ),
        pytest.param(
            {"generate": NEVER, "align": NEVER, "features": {"regions": 0}},
            "generate.pairs and features.regions = 0",
            id="pairs without regions",
        ),
        pytest.param(
            {"generate": {"pairs": 0}, "generator": {"source": "embedding"}},
            "generator.source = embedding and no section",
            id="an embedding that nobody teaches",
        ),
    ],
)
def test_parts_that_cannot_meet(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"cannot meet: {message}"):
        Recipe.model_validate({"name": "x"} | values)


def test_the_card_names_the_backbone_that_ran(
    tiny: dict[str, Any], tiny_folder: Path
) -> None:
    plan = Recipe.model_validate(tiny)
    alone = model_card(
        plan, extractor=extractor_sizes(plan, None), data="toy", photos=12
    )
    assert "- backbone: `test_byobnet`\n" in alone
    sizes = extractor_sizes(plan, str(tiny_folder))
    assert sizes.backbone == "test_efficientnet" and sizes.pool == plan.extractor.pool
    card = model_card(
        plan, extractor=sizes, data="toy", photos=12, start=str(tiny_folder)
    )
    assert "- backbone: `test_efficientnet`, with the extractor of `tiny`\n" in card
    assert "test_byobnet" not in card and str(tiny_folder) not in card
    assert ExtractorConfig().backbone in model_card(
        plan, extractor=ExtractorConfig(), data="toy", photos=12
    )


@pytest.mark.parametrize("parts", [2, 3, 7])
def test_a_batch_in_parts_has_the_same_gradient(
    start_run: Any, tiny: dict[str, Any], parts: int
) -> None:
    still = tiny | {
        "generator": tiny["generator"] | {"dropout": 0.0, "condition_dropout": 0.0}
    }
    gradients, sums = [], []
    for count in (1, parts):
        stage = {
            "captions": 2,
            "pairs": 2,
            "attention_penalty": 0.5,
            "unseen": 2,
            "parts": count,
        }
        run = start_run(still | {"generate": tiny["generate"] | stage})
        model = run.build(None, None)
        run.unseen = [" ".join([*model.vocabulary.words[4:6], "unknownword"]), "a"]
        lesson = make_stage("generate", run).lesson(model, 0)
        named: dict[str, float] = {}
        for losses in (lesson.terms(1), *lesson.rest(1)):
            total = torch.stack(list(losses.values())).sum()
            if total.requires_grad:  # 4 photos fill 4 of 7 parts
                total.backward()
            for name, value in losses.items():
                named[name] = named.get(name, 0.0) + value.item()
        sums.append(named)
        gradients.append([part.grad for part in model.generator.parameters()])
    assert set(sums[0]) == {
        "captions",
        "captions_attention",
        "pairs",
        "pairs_attention",
        "unseen",
        "unseen_attention",
    }
    # bfloat16 products round to 3 digits
    assert sums[1] == pytest.approx(sums[0], rel=1e-2)
    for whole, added in zip(*gradients, strict=True):
        assert torch.allclose(whole, added, rtol=0.05, atol=0.02 * whole.abs().max())
