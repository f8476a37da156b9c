"""Training of objects to sentence.

That it learns, what it keeps of a killed run, and its command on toy scenes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from regiontalk.cli.main import app
from regiontalk.datasets.splits import read_split
from regiontalk.datasets.toy import make_scenes, write_scenes
from regiontalk.objects import region_detector
from regiontalk.objects.captioner import ObjectCaptioner, ObjectSpeaker, describe
from regiontalk.records import Example
from regiontalk.regions.detectors import Detection
from regiontalk.train.loop import train
from regiontalk.train.objects import (
    ObjectsRecipe,
    ObjectsTerms,
    find_things,
    shared_vocabulary,
)
from regiontalk.train.sentences import sentence_numbers

CONFIG = Path(__file__).parents[2] / "regiontalk" / "recipes" / "objects.toml"
SMALL: dict[str, Any] = {
    "name": "small",
    "min_count": 1,
    "batch": 16,
    "smoothing": 0.0,
    "missed": 0.0,
    "objects": {
        "word_size": 16,
        "size": 32,
        "dropout": 0.0,
        "generator": {"cell": "gru", "hidden": 32, "word_size": 32},
    },
    "optimiser": {"steps": 4, "checkpoint_every": 2, "learning_rate": 5e-3},
}
SMALL["objects"]["generator"] |= {"image": "state", "attention": 16, "dropout": 0.0}


class Oracle:
    """Knows the shapes of every toy picture by its pixels."""

    reads: Any = "labels"

    def __init__(self, *sets: Any) -> None:
        self.shapes = {
            scene.image.tobytes(): scene.shapes for scenes in sets for scene in scenes
        }
        self.asked = 0

    def detect(self, image: Image.Image) -> list[Detection]:
        self.asked += 1
        return [
            Detection(shape.name, tuple(shape.box), 1.0)
            for shape in self.shapes[image.tobytes()]
        ]


@pytest.fixture
def world(tmp_path: Path) -> tuple[Path, Oracle]:
    """24 training scenes of two shapes and their detector."""
    train, dev = make_scenes(24, 1, max_shapes=2), make_scenes(2, 2, max_shapes=2)
    write_scenes({"train": train, "dev": dev}, tmp_path / "data")
    return tmp_path / "data", Oracle(train, dev)


def test_it_learns_to_speak_of_what_is_there(tmp_path: Path) -> None:
    """Other words for other things, places and numbers, and for nothing."""
    left, right, ball = (0, 40, 20, 60), (70, 40, 90, 60), (40, 80, 50, 90)
    told = {
        "a dog": [Detection("dog", left, 1.0)],
        "a cat": [Detection("cat", left, 1.0)],
        "there is a dog": [Detection("dog", right, 1.0)],
        "a cat with a ball": [
            Detection("cat", left, 1.0),
            Detection("ball", ball, 1.0),
        ],
        "two dogs": [Detection("dog", left, 1.0), Detection("dog", left, 1.0)],
        "an empty street": [],
    }
    recipe = ObjectsRecipe.model_validate(
        SMALL
        | {
            "batch": 6,
            "captions": 1,
            "optimiser": {"steps": 120, "learning_rate": 1e-2},
        }
    )
    examples = [
        Example(Path(f"{row}.jpg"), (sentence,)) for row, sentence in enumerate(told)
    ]
    descriptions = [describe(things, (90, 90)) for things in told.values()]
    vocabulary = shared_vocabulary(examples, descriptions, 1)
    torch.manual_seed(0)
    model = ObjectSpeaker(config=recipe.objects, vocabulary=vocabulary)
    terms = ObjectsTerms(
        model, descriptions, sentence_numbers(examples, vocabulary), recipe
    )
    checkpoint = recipe.optimiser.checkpoint(tmp_path)
    train(model.train(), terms, recipe.optimiser, checkpoint=checkpoint, log=print)
    captioner = ObjectCaptioner(model=model, detector=Oracle())
    assert [text for text, _ in captioner.write(descriptions)] == list(told)


@pytest.mark.parametrize("detector", ["oracle", "another"])
def test_a_killed_run_goes_on(
    world: tuple[Path, Oracle],
    tmp_path: Path,
    detector: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data, oracle = world
    examples = read_split(data, "train")[0][:20]
    file = tmp_path / "things.jsonl"
    monkeypatch.setattr("regiontalk.train.objects.SAVE_EVERY", 8)
    whole = find_things(
        examples, oracle, "oracle", tmp_path / "whole.jsonl", lambda line: None
    )
    calls = iter(range(20))

    class Dying(Oracle):
        def detect(self, image: Image.Image) -> list[Detection]:
            if next(calls) == 11:
                raise KeyboardInterrupt
            return oracle.detect(image)

    with pytest.raises(KeyboardInterrupt):
        find_things(examples, Dying(), "oracle", file, lambda line: None)
    oracle.asked = 0
    assert find_things(examples, oracle, detector, file, lambda line: None) == whole
    assert oracle.asked == (12 if detector == "oracle" else 20), (
        "8 were kept, of the same detector only"
    )


def test_a_photo_that_cannot_be_opened_holds_nothing(tmp_path: Path) -> None:
    lines: list[str] = []
    broken = Example(tmp_path / "gone.jpg", ("a dog",), id="gone")
    assert find_things(
        [broken], Oracle(), "oracle", tmp_path / "things.jsonl", lines.append
    ) == [([], (1, 1))]
    assert "left empty" in lines[0] and "gone.jpg" in lines[0]


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "things.jsonl").write_text('{"detector": "oracle"}\n{"photo": ')
    with pytest.raises(
        ValueError, match=r"things\.jsonl: expected what a detector found"
    ):
        find_things([], Oracle(), "oracle", tmp_path / "things.jsonl", print)


def test_one_vocabulary_for_reading_and_writing() -> None:
    examples = [
        Example(Path("a.jpg"), ("a dog", "a cat")),
        Example(Path("b.jpg"), ("a dog",)),
    ]
    found = shared_vocabulary(examples, [[["two", "zebra"]], []], 2)
    assert (
        found.words[4:6] == ["a", "dog"]
        and "cat" not in found
        and "zebra" in found
        and "left" in found
    )
    assert found.counts[:2] == [3, 2] and set(found.counts[2:]) == {1}


def run(arguments: Sequence[str]) -> Any:
    return CliRunner().invoke(app, list(arguments))


def test_from_the_command_line(
    world: tuple[Path, Oracle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, oracle = world
    monkeypatch.setattr(
        region_detector, "find_detector", lambda text, device="cpu": oracle
    )
    config = tmp_path / "small.toml"
    generator = SMALL["objects"]["generator"]
    flat = {key: value for key, value in SMALL["objects"].items() if key != "generator"}
    sections = {
        "objects": flat,
        "objects.generator": generator,
        "optimiser": SMALL["optimiser"],
    }
    plain = {key: value for key, value in SMALL.items() if not isinstance(value, dict)}
    rows = [f"{key} = {json.dumps(value)}" for key, value in plain.items()]
    for name, values in sections.items():
        rows += [
            f"[{name}]",
            *(f"{key} = {json.dumps(value)}" for key, value in values.items()),
        ]
    config.write_text("\n".join(rows) + "\n")
    arguments = [
        "train",
        "objects",
        str(config),
        "--data",
        str(data),
        "--out",
        str(tmp_path / "out"),
        "--detector",
        "x:y",
    ]
    first = run([*arguments, "--limit", "20"])
    assert first.exit_code == 0, first.output
    folder = Path(first.stdout.strip().splitlines()[-1])
    assert "- things found by: x\n" in (folder / "README.md").read_text(), (
        "no path of the machine that trained"
    )
    assert "step 4/4" in (tmp_path / "out" / "log.txt").read_text()
    fewer = run([*arguments, "--limit", "19"])
    assert (
        fewer.exit_code == 0
        and "1 photo gone: stage objects starts again" in fewer.stderr
    )
    photo = str(
        next((data / "flickr8k").rglob("*.jpg"), None) or next(data.rglob("*.png"))
    )
    spoken = run(
        [
            "objects",
            photo,
            "--model",
            str(folder),
            "--detector",
            "x:y",
            "--json",
            "--draw",
            str(tmp_path / "drawn"),
        ]
    )
    assert spoken.exit_code == 0, spoken.output
    found = json.loads(spoken.stdout)
    assert (
        found["model"] == "small"
        and found["regions"]
        and found["caption"]["box"][:2] == [0, 0]
    )
    assert len(list((tmp_path / "drawn").iterdir())) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            ["objects"],
            "--detector and the stage objects need each other",
            id="no detector",
        ),
        pytest.param(
            ["all", "--detector", "regions"],
            "--detector and the stage objects need each other",
            id="no objects",
        ),
        pytest.param(
            ["objects", "--detector", "regions", "--start", "mini"],
            "exclude each other",
            id="a backbone",
        ),
        pytest.param(
            ["objects", "--detector", "eyes"],
            "expected one of yolox:FILE.onnx",
            id="no such detector",
        ),
    ],
)
def test_the_users_mistakes(tmp_path: Path, arguments: list[str], message: str) -> None:
    stage, *more = arguments
    result = run(
        [
            "train",
            stage,
            str(CONFIG),
            "--data",
            str(tmp_path),
            "--out",
            str(tmp_path / "out"),
            *more,
        ]
    )
    assert result.exit_code == 2 and message in " ".join(result.stderr.split()), (
        result.output
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            'name = "x"\nbeams = 1\n[optimiser]\nsteps = 0\n',
            "beams: unknown key",
            id="unknown key",
        ),
        pytest.param('name = "x\n', "expected TOML", id="not TOML"),
        pytest.param(
            'name = "x"\n[objects.generator]\ncell = "gru"\n',
            "objects: cannot meet",
            id="no attention",
        ),
    ],
)
def test_recipes_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "recipe.toml").write_text(text)
    with pytest.raises(ValueError, match=message):
        ObjectsRecipe.read(tmp_path / "recipe.toml")


def test_the_published_recipe_is_read() -> None:
    assert ObjectsRecipe.read(CONFIG).name == "objects"
