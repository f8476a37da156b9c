"""Your own photos with one command.

The whole way on a tiny domain, and what is refused with one line.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from regiontalk.captioner import RegionCaptioner
from regiontalk.cli import own_photos
from regiontalk.cli.main import app
from regiontalk.datasets.screens import write_screens
from regiontalk.model.region_model import RegionModel
from regiontalk.runtime.torch_engine import TorchPredictor
from regiontalk.text.vocabulary import Vocabulary
from regiontalk.train.events import INSTALL, EventWriter
from regiontalk.train.grow import (
    grow_model,
    grown_vocabulary,
    hold_old_rows,
    related_words,
)
from regiontalk.train.watch import Watch, read_rows

PHOTOS = 24


@pytest.fixture(scope="session")
def screens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("screens")
    write_screens(PHOTOS, 100, folder)
    return folder


def rows_of(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "photos.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def train(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["train", *map(str, arguments), "--threads", "1"])


def test_the_tutorial_on_a_tiny_domain(
    screens: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "mine"
    result = train(screens, "--out", out, "--start", tiny_folder)
    assert result.exit_code == 0, result.output
    assert "plan: about" in result.stderr and "held out: 5 photos" in result.stderr
    assert f"--model {out}" in result.stdout
    rows = read_rows(out / "training" / "log.jsonl")
    assert {row["stage"] for row in rows} == {"align", "generate"}
    assert all(
        {"R@1", "loss"} <= set(row["dev"]) for row in rows if row["stage"] == "align"
    )
    losses = [row["loss"]["captions"] for row in rows if row["stage"] == "generate"]
    assert losses[-1] < losses[0]
    assert (out / "training" / "report" / "index.html").is_file()
    assert "<svg" in (out / "training" / "curve_1.svg").read_text()
    model = RegionModel.from_folder(out)
    assert "button" in model.vocabulary and "woman" in model.vocabulary
    captioner = RegionCaptioner(predictor=TorchPredictor(model))
    spoken = captioner.describe(
        str(screens / "screens" / "000100.png"), [(10, 60, 300, 200)]
    )
    assert spoken.regions[0].text
    again = train(screens, "--out", out, "--start", tiny_folder)
    assert again.exit_code == 2 and "a finished model stands there" in again.stderr


def test_a_killed_run_goes_on_exactly(
    screens: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (screens, "--start", tiny_folder, "--out")
    assert train(*arguments, tmp_path / "straight").exit_code == 0
    add = Watch.add
    for stage, last in (("align", 9), ("generate", 21)):  # in the middle of an epoch
        calls = 0

        def killed(
            watch: Watch, name: str, value: float, stage: str = stage, last: int = last
        ) -> None:
            nonlocal calls
            calls += watch.stage == stage
            if calls > last:
                raise KeyboardInterrupt
            add(watch, name, value)

        with monkeypatch.context() as patch:
            patch.setattr(Watch, "add", killed)
            assert train(*arguments, tmp_path / "killed").exit_code != 0
        assert not (tmp_path / "killed" / "config.json").exists()
    assert train(*arguments, tmp_path / "killed").exit_code == 0
    weights = [tmp_path / name / "model.safetensors" for name in ("straight", "killed")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_names_alone_are_learnt(
    screens: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "named"
    shutil.copytree(screens, folder)
    write_rows(folder, [row | {"captions": []} for row in rows_of(folder)])
    result = train(folder, "--out", tmp_path / "mine", "--start", tiny_folder)
    assert result.exit_code == 0, result.output
    assert "words on your boxes" in result.stderr


def test_a_backbone_alone_is_a_beginning(
    screens: Path,
    tiny_folder: Path,
    make_tiny: Callable[..., RegionModel],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(own_photos, "SIZES_FROM", str(tiny_folder))
    weights, out = tmp_path / "backbone.safetensors", tmp_path / "mine"
    save_file(make_tiny().extractor.backbone.net.state_dict(), weights)
    result = train(screens, "--out", out, "--weights", weights)
    assert result.exit_code == 0, result.output
    assert "plan: proposer" in result.stderr
    assert "from the backbone's weights" in result.stderr
    words = RegionModel.from_folder(out).vocabulary
    assert "button" in words and "woman" not in words  # which the tiny model knows


def test_a_model_has_one_beginning(screens: Path, tmp_path: Path) -> None:
    result = train(
        screens, "--out", tmp_path / "mine", "--start", "mini", "--published"
    )
    assert result.exit_code == 2
    assert "the model has one beginning" in result.stderr


def write_rows(
    folder: Path, rows: list[dict[str, Any]], name: str = "photos.jsonl"
) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / name).write_text(text, encoding="utf-8")


Change = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            lambda rows: rows[:5], "at least 20 photos with words", id="five photos"
        ),
        pytest.param(
            lambda rows: [
                {"photo": row["photo"], "caption": "a screen"} for row in rows
            ],
            "for all 24",
            id="all captions the same",
        ),
        pytest.param(
            lambda rows: [
                {
                    "photo": row["photo"],
                    "boxes": [{"box": box["box"]} for box in row["boxes"]],
                }
                for row in rows
            ],
            "a box alone teaches no word",
            id="boxes only",
        ),
        pytest.param(
            lambda rows: [
                {"photo": f"gone/{row['photo']}", "caption": "a b"} for row in rows
            ],
            "at least 20 photos",
            id="no usable photo",
        ),
        pytest.param(
            lambda rows: [
                {
                    "photo": row["photo"],
                    "caption": chr(0x4E00 + 7 * n) + chr(0x4E01 + 5 * n),
                }
                for n, row in enumerate(rows)
            ],
            "parted by blanks",
            id="no blanks",
        ),
        pytest.param(
            lambda rows: [
                {"photo": row["photo"], "caption": f"the {'button ' * (1 + n % 2)}"}
                for n, row in enumerate(rows)
            ],
            "two or more words",
            id="one word",
        ),
        pytest.param(
            lambda rows: [row | {"photo": rows[0]["photo"]} for row in rows],
            "at least 20 photos",
            id="one photo",
        ),
    ],
)
def test_what_teaches_nothing_is_refused(
    screens: Path, tiny_folder: Path, tmp_path: Path, change: Change, message: str
) -> None:
    folder = tmp_path / "bad"
    shutil.copytree(screens, folder)
    write_rows(folder, change(rows_of(folder)))
    result = train(folder, "--out", tmp_path / "mine", "--start", tiny_folder)
    assert result.exit_code == 2 and message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "mine").exists()


def test_a_photo_in_train_and_dev_is_refused(
    screens: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "both"
    shutil.copytree(screens, folder)
    rows = rows_of(folder)
    (folder / "photos.jsonl").unlink()
    shutil.copy(folder / rows[0]["photo"], folder / "copy.png")
    write_rows(folder, rows[:21], "train.jsonl")
    write_rows(folder, [*rows[21:], rows[0] | {"photo": "copy.png"}], "dev.jsonl")
    result = train(folder, "--out", tmp_path / "mine", "--start", tiny_folder)
    assert (
        result.exit_code == 2
        and "copy.png" in result.stderr
        and "000100" in result.stderr
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["nowhere"], "a folder with your own photos", id="no folder"),
        pytest.param(["generate"], "expected a recipe after it", id="no recipe"),
        pytest.param(
            [".", "--data", "x"], "--data: expected a recipe", id="a recipe's option"
        ),
    ],
)
def test_wrong_words_on_the_line(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    result = train(*arguments, "--out", tmp_path / "mine")
    assert result.exit_code == 2 and message in result.stderr


def test_old_words_keep_their_rows(make_tiny: Callable[..., RegionModel]) -> None:
    start = make_tiny()
    texts = ["a redcar by the tree", "a redcar"]
    vocabulary = grown_vocabulary(start.vocabulary, texts, 2)
    grown = grow_model(start, vocabulary, texts)
    count = len(start.vocabulary)
    assert vocabulary.words[count:] == ["redcar"]
    before, after = start.state_dict(), grown.state_dict()
    for name, value in before.items():
        assert torch.equal(
            after[name][: len(value)] if value.ndim else after[name], value
        )
    assert len(after["generator.embed.weight"]) == count + 1


def test_only_rows_of_taught_words_learn(
    make_tiny: Callable[..., RegionModel],
) -> None:
    start = make_tiny()
    old_word = start.vocabulary.words[4]
    texts = [f"{old_word} redcar", "redcar"]
    vocabulary = grown_vocabulary(start.vocabulary, texts, 2)
    grown = grow_model(start, vocabulary, texts)
    hold_old_rows(grown, len(start.vocabulary), texts)
    output, embed = grown.generator.output, grown.aligner.words.embed
    loss = output.weight.sum() + output.bias.sum() + embed.weight.sum()
    torch.autograd.backward([loss])
    taught = [0, 1, 2, 3, 4, len(vocabulary) - 1]  # END is in every text
    for weight, rows in (
        (output.weight, taught),
        (output.bias, taught),
        (embed.weight, [len(vocabulary) - 1]),
    ):
        assert weight.grad is not None
        learns = weight.grad.view(len(vocabulary), -1).any(1)
        assert learns.nonzero().flatten().tolist() == rows


def test_related_words_by_hand() -> None:
    old = Vocabulary(["toolbar", "a", "dog"])
    # "toolbars" shares 7 of 10 letter groups with "toolbar", none with the others; beside it stand
    # "a" twice and "dog" once; each of the two kinds has half of the weight
    weights = related_words("toolbars", old, ["a toolbars dog", "a toolbars"])
    assert weights == pytest.approx({4: 0.5, 5: 1 / 3, 6: 1 / 6})


def test_a_watched_stage_keeps_the_best_and_stops(tmp_path: Path) -> None:
    module = torch.nn.Linear(1, 1, bias=False)
    values = iter([0.1, 0.5, 0.4, 0.3])

    def watch() -> Watch:
        return Watch(
            stage="align",
            judge=lambda: {"score": next(values)},
            figure="score",
            epoch=2,
            folder=tmp_path / "align",
            path=tmp_path / "log.jsonl",
            log=lambda line: None,
            patience=2,
        )

    watched = watch()
    watched.resume(0, 20)
    for step in range(2, 6, 2):
        module.weight.data.fill_(step)
        watched.judge(step, module)
    resumed = watch()  # killed after step 5, its last checkpoint at step 4
    resumed.resume(4, 20)
    assert not resumed.is_over
    for step in (6, 8):
        module.weight.data.fill_(step)
        resumed.judge(step, module)
    assert resumed.is_over
    resumed.restore(module)
    assert module.weight.item() == 4 and resumed.best["dev"] == {"score": 0.5}
    assert [row["step"] for row in read_rows(tmp_path / "log.jsonl")] == [2, 4, 6, 8]
    assert read_events(tmp_path / "events" / "align") == [
        (2, 0.1),
        (4, 0.5),
        (6, 0.4),
        (8, 0.3),
    ]


def read_events(folder: Path) -> list[tuple[int, float]]:
    """The steps and values of ``dev/score``."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    (path,) = folder.iterdir()
    data, rows = path.read_bytes(), []
    while data:  # a record: length, checksum, bytes, checksum
        length = int.from_bytes(data[:8], "little")
        event = event_pb2.Event.FromString(data[12 : 12 + length])
        data = data[16 + length :]
        rows += [
            (event.step, round(value.simple_value, 5))
            for value in event.summary.value
            if value.tag == "dev/score"
        ]
    return rows


def test_without_tensorboardx_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    lines: list[str] = []
    events = EventWriter(tmp_path / "events", [], lines.append)
    events.add({"step": 1, "loss": {}, "dev": {"score": 0.5}})
    events.close()
    assert lines == [INSTALL] and not list(tmp_path.iterdir())
