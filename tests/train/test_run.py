"""Recipes and their runs: what they refuse, and that a killed run goes on exactly."""

from __future__ import annotations

import json
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner

from regiontalk.captioner import RegionCaptioner
from regiontalk.cli.main import app
from regiontalk.datasets.toy import make_scenes
from regiontalk.model.config import ModelConfig
from regiontalk.model.hub import resolve_model
from regiontalk.model.region_model import RegionModel
from regiontalk.model.storage import open_folder
from regiontalk.train import loop
from regiontalk.train.changes import content_hash
from regiontalk.train.recipe import Recipe, stages_of
from regiontalk.train.run import Run, run_recipe

CONFIGS = Path(__file__).parents[2] / "regiontalk" / "recipes"


def weights(model: torch.nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


def trained(run: Run) -> dict[str, Tensor]:
    """All weights after all stages."""
    model = run.build(None, None)
    for name in stages_of(run.recipe):
        run.stage(name, model)
    return weights(model)


def kill_at(monkeypatch: pytest.MonkeyPatch, stage: str, step: int) -> None:
    """Let the run die in a step of a stage, after its loss and before its update."""
    whole = loop.rate_at
    place = {"stage": ""}
    stages = Run.stage

    def enter(run: Run, name: str, model: Any) -> None:
        place["stage"] = name
        stages(run, name, model)

    def rate_at(number: int, config: Any) -> float:
        if (place["stage"], number) == (stage, step):
            raise KeyboardInterrupt
        return whole(number, config)

    monkeypatch.setattr(Run, "stage", enter)
    monkeypatch.setattr(loop, "rate_at", rate_at)


@pytest.mark.parametrize(
    ("stage", "step"),
    [
        pytest.param("joint", 3, id="joint, a step after its checkpoint"),
        pytest.param("align", 2, id="align, at its checkpoint"),
        pytest.param("generate", 3, id="generate"),
        pytest.param("align", 0, id="between two stages"),
    ],
)
def test_a_killed_run_goes_on_exactly(
    start_run: Any,
    tiny: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    step: int,
) -> None:
    straight = trained(start_run(tiny, "straight"))
    with monkeypatch.context() as patch:
        kill_at(patch, stage, step)
        with pytest.raises(KeyboardInterrupt):
            trained(start_run(tiny, "killed"))
    resumed = trained(start_run(tiny, "killed"))
    assert set(resumed) == set(straight)
    assert [
        key for key, value in straight.items() if not torch.equal(value, resumed[key])
    ] == []


def test_training_changes_every_part_and_a_finished_run_is_only_loaded(
    start_run: Any, tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start_run(tiny)
    before, after = weights(run.build(None, None)), trained(run)
    moved = {
        key.split(".")[0]
        for key, value in after.items()
        if not torch.equal(value, before[key])
    }
    assert moved == {"extractor", "aligner", "generator"}
    monkeypatch.setattr(
        loop,
        "rate_at",
        lambda *arguments: pytest.fail("a finished stage was trained again"),
    )
    again = trained(start_run(tiny))
    assert all(torch.equal(again[key], value) for key, value in after.items())


@pytest.mark.parametrize(
    ("section", "value", "stage"),
    [
        pytest.param("joint", {"batch": 5}, "joint", id="another batch"),
        pytest.param("augment", {"flip": 0.0}, "joint", id="other pictures"),
        pytest.param("aligner", {"dropout": 0.4}, "joint", id="another model"),
        pytest.param("align", {"noise": 0.3}, "align", id="a later stage"),
        pytest.param("decoding", {"beta": 0.5}, "generate", id="other pairs"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(
    start_run: Any,
    tiny: dict[str, Any],
    section: str,
    value: dict[str, Any],
    stage: str,
) -> None:
    trained(start_run(tiny))
    run = start_run(tiny | {section: tiny.get(section, {}) | value})
    model = run.build(None, None)
    for name in stages_of(run.recipe):
        if name == stage:
            break
        run.stage(name, model)
    with pytest.raises(
        ValueError, match=f"{stage}/checkpoint.safetensors: written with other settings"
    ):
        run.stage(stage, model)


def test_another_generator_goes_on_from_the_same_regions(
    start_run: Any, tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = tiny | {"joint": tiny["joint"] | {"weight_caption": 0.0}}
    before = trained(start_run(silent))
    shutil.rmtree(start_run(silent).out / "generate")
    learnt: list[str] = []
    monkeypatch.setattr(
        "regiontalk.train.run.train",
        lambda module, *_, **__: learnt.append(type(module).__name__),
    )
    after = trained(
        start_run(silent | {"generator": tiny.get("generator", {}) | {"hidden": 24}})
    )
    assert learnt == ["Generator"]
    kept = [key for key in before if not key.startswith("generator.")]
    assert all(torch.equal(before[key], after[key]) for key in kept)


def test_a_stage_that_follows_another_beginning_is_refused(
    start_run: Any, tiny: dict[str, Any]
) -> None:
    run = start_run(tiny)
    trained(run)
    (run.out / "joint" / "checkpoint.safetensors").unlink()
    with pytest.raises(
        ValueError, match=r"align/checkpoint.safetensors: written with other settings"
    ):
        trained(start_run(tiny | {"seed": 1}))


def test_changed_data_start_a_stage_again(start_run: Any, tiny: dict[str, Any]) -> None:
    first, run = trained(start_run(tiny)), start_run(tiny)
    lines: list[str] = []
    run.examples[1] = replace(
        run.examples[1], boxes_xyxy=run.examples[1].boxes_xyxy + 1
    )
    run.content, run.log = content_hash(run.examples), lines.append
    again = trained(run)
    named = [line for line in lines if "changed" in line]
    assert len(named) == 3 and all(line.startswith("1 photo, ") for line in named)
    assert "stage joint starts again" in named[0]
    assert (run.out / "joint" / "previous.checkpoint.safetensors").is_file()
    assert any(not torch.equal(first[key], again[key]) for key in first)
    with pytest.raises(
        ValueError, match=r"written with other settings \(joint.batch 4 -> 3,"
    ):
        trained(start_run(tiny | {"joint": tiny["joint"] | {"batch": 3}}))
    with pytest.raises(
        ValueError, match=r"written with other settings \(.*seed 0 -> 1"
    ):
        trained(start_run(tiny | {"seed": 1}))


def test_fewer_photos_are_named(start_run: Any, tiny: dict[str, Any]) -> None:
    trained(start_run(tiny))
    run = start_run(tiny, limit=11)
    lines: list[str] = []
    run.log = lines.append
    trained(run)
    assert any(
        line.startswith("1 photo gone: stage joint starts again") for line in lines
    )


def test_the_paper_alone(start_run: Any, tiny: dict[str, Any], tmp_path: Path) -> None:
    """The alignment stage on another model's extractor.

    And the aligned embedding as the generator's condition.
    """
    first = start_run(tiny, "first")
    folder = run_recipe(
        first,
        stages_of(first.recipe),
        start=None,
        weights=None,
        published=False,
        card="card",
    )
    values = {
        key: tiny[key]
        for key in (
            "min_count",
            "extractor",
            "decoding",
            "features",
            "align",
            "generate",
        )
    }
    values |= {"name": "paper", "aligner": {"size": 6, "word_size": 5, "hidden": 4}}
    values |= {"generator": {"hidden": 7, "word_size": 5, "source": "embedding"}}
    second = start_run(values, "second")
    model = second.build(str(folder), None)
    taken = weights(model.extractor)
    for name in stages_of(second.recipe):
        second.stage(name, model)
    assert all(
        torch.equal(value, taken[key])
        for key, value in model.extractor.state_dict().items()
    )
    assert model.condition_size() == 12, "the region's embedding and the photo's"


def test_phrases_teach_where_they_are_asked_for(
    start_run: Any, tiny: dict[str, Any]
) -> None:
    run = start_run(
        tiny
        | {
            "generate": {
                "batch": 4,
                "captions": 0,
                "pairs": 0,
                "phrases": 2,
                "optimiser": {"steps": 2},
            }
        }
    )
    lines: list[str] = []
    run.log = lines.append
    trained(run)
    (line,) = [line for line in lines if line.startswith("step 2/2")]
    assert " phrases " in line and " captions " not in line and " pairs " not in line


def test_proposals_alone(start_run: Any, tiny: dict[str, Any]) -> None:
    off = {"weight_sentence": 0, "weight_span": 0, "weight_caption": 0, "batch": 4}
    values = {key: tiny[key] for key in ("name", "extractor", "aligner", "generator")}
    run = start_run(
        values
        | {"proposer": off | {"optimiser": {"steps": 2, "backbone_learning_rate": 0}}}
    )
    before, after = weights(run.build(None, None)), trained(run)
    moved = {key for key, value in after.items() if not torch.equal(value, before[key])}
    assert {key.split(".")[1] for key in moved} == {"proposals", "norm"}, (
        "the backbone's rate is 0"
    )
    assert all(
        "running" in key or "tracked" in key for key in moved if ".norm." in key
    ), "only statistics"


@pytest.mark.parametrize(
    "boxed", [pytest.param(True, id="boxes"), pytest.param(False, id="no box")]
)
def test_without_boxes_the_proposals_stay_as_they_were(
    tiny: dict[str, Any], tmp_path: Path, boxed: bool
) -> None:
    off = {
        "weight_sentence": 0,
        "weight_span": 0,
        "weight_caption": 0,
        "batch": 4,
        "optimiser": {"steps": 2},
    }
    lines: list[str] = []
    recipe, data = (
        Recipe.model_validate(tiny | {"proposer": off}),
        own_data(tmp_path / "mine", boxed=boxed),
    )
    run = Run(recipe=recipe, data=data, out=tmp_path / "out", log=lines.append)
    model = run.build(None, None)
    before = weights(model.extractor.proposals)
    run.stage("proposer", model)
    moved = [
        key
        for key, value in weights(model.extractor.proposals).items()
        if not torch.equal(value, before[key])
    ]
    assert bool(moved) == boxed
    assert (
        any("left out, no photo of the data has a box" in line for line in lines)
        != boxed
    )
    assert (
        any(
            "boxes are random: no photo of the data has a box" in line for line in lines
        )
        != boxed
    )


def test_a_section_that_is_not_there(start_run: Any, tiny: dict[str, Any]) -> None:
    run = start_run({key: value for key, value in tiny.items() if key != "align"})
    assert stages_of(run.recipe) == ["joint", "generate"]
    with pytest.raises(
        ValueError, match=r"recipe 'tiny': expected a section \[align\], got none"
    ):
        run.stage("align", run.build(None, None))


# that one is another kind
RECIPES = sorted(path for path in CONFIGS.glob("*.toml") if path.stem != "objects")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_published_recipes_are_read(path: Path) -> None:
    recipe = Recipe.read(path)
    assert recipe.name == path.stem and stages_of(recipe)


def test_the_recipe_of_the_bundled_model_is_its_own() -> None:
    """Who trains again gets the sizes and the calibration that are shipped."""
    recipe = Recipe.read(CONFIGS / "mini.toml")
    shipped, _ = open_folder(resolve_model("mini"), ModelConfig)
    for part in ("extractor", "aligner", "generator"):
        assert getattr(recipe, part) == getattr(shipped, part)
    written, used = recipe.decoding.model_dump(), shipped.decoding.model_dump()
    for calibration in ("photo", "region"):
        assert written.pop(calibration) == pytest.approx(
            used.pop(calibration), abs=6e-5
        ), calibration
    assert written == used


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        pytest.param(
            'name = "x"\ncolour = 1\n[aligner]\ncell = "lstm"\n'
            "[joint]\nbatch = 1\n[joint.optimiser]\nspeed = 3\n",
            ["colour: ", "aligner.cell: ", "joint.batch: ", "joint.optimiser.speed: "],
            id="four mistakes at once",
        ),
        pytest.param("[aligner]\n", ["name: Field required"], id="no name"),
        pytest.param(
            'name = "x"\n[generator]\nregions = 3\n',
            ["generator: cannot meet: regions and attention = 0"],
            id="regions that nothing attends to",
        ),
        pytest.param(
            'name = "x"\n[features]\nregions = 4\n[generator]\nattention = 8\nregions = 5\n'
            "[generate]\ncaptions = 0\npairs = 0\nself_critical = 0.5\nrounds = 1\n",
            [
                "cannot meet: generate.self_critical and generate.captions = 0",
                "cannot meet: generate.rounds and generate.pairs = 0",
                "cannot meet: generator.regions = 5 and features.regions = 4",
            ],
            id="parts that cannot meet",
        ),
        pytest.param(
            'name = "x"\n[generate]\nattention_penalty = 1.0\n',
            [
                "recipe.toml: cannot meet: generate.attention_penalty and generator.attention = 0"
            ],
            id="a penalty on nothing",
        ),
        pytest.param(
            'name = "x"\n[joint]\nspare_alike = true\n',
            ["recipe.toml: cannot meet: joint.spare_alike and joint.phrases = 0"],
            id="no phrases to spare",
        ),
        pytest.param('name = "x\n', ["expected TOML"], id="not TOML"),
        pytest.param(b"\xff\xfe", ["name: Field required"], id="an empty UTF-16 text"),
    ],
)
def test_recipes_that_are_refused(
    tmp_path: Path, text: str | bytes, messages: list[str]
) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError) as caught:
        Recipe.read(path)
    assert all(message in str(caught.value) for message in [str(path), *messages]), str(
        caught.value
    )


def own_data(folder: Path, captions: bool = True, boxed: bool = True) -> Path:
    """12 toy scenes as a person would bring them: pictures and one JSON Lines file."""
    folder.mkdir()
    rows: list[dict[str, Any]] = []
    for scene in make_scenes(12, 5):
        name = scene.example.id
        scene.image.save(folder / name)
        boxes = [
            {"box": list(shape.box), "phrase": shape.name}
            for shape in scene.shapes
            if boxed
        ]
        rows.append(
            {
                "photo": name,
                "captions": list(scene.example.captions) if captions else [],
                "boxes": boxes,
            }
        )
    (folder / "train.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8"
    )
    return folder


def as_toml(values: dict[str, Any], prefix: str = "") -> str:
    """A recipe as its file: plain values first, then sections."""
    plain = [
        f"{key} = {json.dumps(value)}"
        for key, value in values.items()
        if not isinstance(value, dict)
    ]
    parts = [
        f"[{prefix}{key}]\n{as_toml(value, f'{prefix}{key}.')}"
        for key, value in values.items()
        if isinstance(value, dict)
    ]
    return "\n".join([*plain, *parts]) + "\n"


def test_own_data_end_to_end(tiny: dict[str, Any], tmp_path: Path) -> None:
    data, config, out = (
        own_data(tmp_path / "mine"),
        tmp_path / "mine.toml",
        tmp_path / "out",
    )
    steps = {
        name: tiny[name] | {"optimiser": {"steps": 2}}
        for name in ("joint", "align", "generate")
    }
    config.write_text(as_toml(tiny | steps))
    assert tomllib.loads(config.read_text()) == tiny | steps
    arguments = ["train", "all", str(config), "--data", str(data), "--out", str(out)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    folder = Path(result.stdout.strip())
    assert folder == out / "model"
    assert (
        "12 photos of the training split of `mine`"
        in (folder / "README.md").read_text()
    )
    found = RegionCaptioner.from_pretrained(folder).caption(
        data / make_scenes(1, 5)[0].example.id, regions=3
    )
    assert (
        found.model == "tiny"
        and found.size_wh == (64, 64)
        and found.caption is not None
    )
    first = (folder / "model.safetensors").read_bytes()
    again = CliRunner().invoke(app, arguments)
    assert (
        again.exit_code == 0 and (folder / "model.safetensors").read_bytes() == first
    ), "nothing is left to train"
    assert "step 2/2" in (out / "log.txt").read_text()


@pytest.mark.parametrize(
    ("stage", "extra", "message"),
    [
        pytest.param(
            "proposer",
            [],
            "expected a section [proposer], got joint, align, generate",
            id="no such section",
        ),
        pytest.param(
            "generator",
            [],
            "expected one of proposer, warm, joint, refine, align, generate, photo_check, objects",
            id="no such stage",
        ),
        pytest.param(
            "all",
            ["--published", "--start", "mini"],
            "exclude each other",
            id="two beginnings",
        ),
        pytest.param("all", ["--start", "nowhere"], "nowhere", id="no such model"),
    ],
)
def test_the_users_mistakes(
    tiny: dict[str, Any],
    tmp_path: Path,
    toy_folder: Path,
    stage: str,
    extra: list[str],
    message: str,
) -> None:
    config = tmp_path / "recipe.toml"
    config.write_text(as_toml(tiny))
    arguments = [
        "train",
        stage,
        str(config),
        "--data",
        str(toy_folder),
        "--out",
        str(tmp_path / "out"),
        *extra,
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2 and message in " ".join(result.stderr.split()), (
        result.output
    )


def test_data_without_words_is_refused(tiny: dict[str, Any], tmp_path: Path) -> None:
    data = own_data(tmp_path / "mine", captions=False, boxed=False)
    with pytest.raises(
        ValueError,
        match="expected training photos with words, got 0 photos; the lines above",
    ):
        Run(
            recipe=Recipe.model_validate(tiny),
            data=data,
            out=tmp_path,
            log=lambda line: None,
        )


def test_phrases_on_boxes_alone_teach_region_captions(
    tiny: dict[str, Any], tmp_path: Path
) -> None:
    data = own_data(tmp_path / "mine", captions=False)
    generator = tiny["generator"] | {
        "attention": 0,
        "image": "every",
        "source": "feature",
        "places": False,
    }
    stage = {
        "batch": 4,
        "captions": 1,
        "pairs": 0,
        "phrases": 2,
        "optimiser": {"steps": 2},
    }
    recipe = {
        key: value
        for key, value in tiny.items()
        if key not in ("align", "joint", "warm", "proposer")
    }
    recipe |= {"generator": generator | {"geometry": True}, "generate": stage}
    lines: list[str] = []
    run = Run(
        recipe=Recipe.model_validate(recipe),
        data=data,
        out=tmp_path / "out",
        log=lines.append,
    )
    folder = run_recipe(
        run, ["generate"], start=None, weights=None, published=False, card="card"
    )
    model = RegionModel.from_folder(folder)
    # words of the phrases alone
    assert {"red", "square"} <= set(model.vocabulary.words)
    assert any("phrases " in line for line in lines)


def test_the_backbone_moves_again_after_a_stage_that_froze_it(
    start_run: Any, tiny: dict[str, Any]
) -> None:
    only_places = {
        "weight_sentence": 0.0,
        "weight_span": 0.0,
        "weight_caption": 0.0,
        "batch": 4,
    }
    still = only_places | {"optimiser": {"steps": 2, "backbone_learning_rate": 0.0}}
    run = start_run(tiny | {"proposer": still, "warm": tiny["align"]})
    model = run.build(None, None)
    weight = next(model.extractor.backbone.parameters())
    first = weight.detach().clone()
    run.stage("proposer", model)
    assert torch.equal(weight, first)
    run.stage("warm", model)
    assert torch.equal(weight, first)
    run.stage("joint", model)
    assert not torch.equal(weight, first)


def test_a_generator_that_reads_its_own_words_is_rewarded_and_judges_pairs(
    start_run: Any, tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {
        "scheduled_sampling": 0.5,
        "self_critical": 0.5,
        "attention_penalty": 0.5,
        "rounds": 1,
        "responsibility": 1.0,
    }
    values = tiny | {
        "generator": tiny["generator"] | {"regions": 3},
        "generate": tiny["generate"] | own,
    }
    run = start_run(values, "straight")
    lines: list[str] = []
    run.log = lines.append
    straight = trained(run)
    halves = [
        [" captions " in line, " reward " in line]
        for line in lines
        if " pairs " in line and "step" in line
    ]
    assert halves == [[True, False], [False, True]] * 2, lines
    assert sum(
        "inferred pairs" in line for line in lines
    ) == 2 and "EM round 1 of 1" in "".join(lines)
    with monkeypatch.context() as patch:
        kill_at(patch, "generate", 3)
        with pytest.raises(KeyboardInterrupt):
            trained(start_run(values, "killed"))
    resumed = trained(start_run(values, "killed"))
    assert all(torch.equal(value, resumed[key]) for key, value in straight.items())


def test_a_device_that_is_not_there(start_run: Any, tiny: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="device: expected cpu"):
        start_run(tiny, device="abacus")


@pytest.mark.parametrize(
    ("caption", "least", "expected"),
    [
        (
            "a photo of a thing",
            5,
            "min_count = 5 leaves 1 words, 40% of the photos' texts; the data are few",
        ),
        ("a photo of a thing", 1, None),
    ],
)
def test_few_photos_keep_their_words(
    tiny: dict[str, Any], tmp_path: Path, caption: str, least: int, expected: str | None
) -> None:
    run, lines = small_run(tiny | {"min_count": least}, tmp_path, [caption] * 3)
    assert run.build(None, None).vocabulary.words[4:] == ["a", "of", "photo", "thing"]
    assert any(line.startswith(expected) for line in lines) if expected else True


def test_captions_without_words_are_refused(
    tiny: dict[str, Any], tmp_path: Path
) -> None:
    run, _ = small_run(tiny, tmp_path, ["\U0001f431"])
    with pytest.raises(
        ValueError, match="expected words of letters or digits, got none in 1 photos"
    ):
        run.build(None, None)


def small_run(
    values: dict[str, Any], folder: Path, captions: list[str]
) -> tuple[Run, list[str]]:
    """A run on one photo, and its lines."""
    Image.new("RGB", (20, 10)).save(folder / "a.png")
    row = {"photo": "a.png", "captions": captions}
    (folder / "train.jsonl").write_text(json.dumps(row) + "\n")
    lines: list[str] = []
    recipe = Recipe.model_validate(values)
    return Run(recipe=recipe, data=folder, out=folder / "run", log=lines.append), lines
