"""``regiontalk teach``: a script is the person at the terminal.

Corrections of other programs are taken over.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from regiontalk.cli.main import app
from regiontalk.datasets.screens import write_screens
from regiontalk.export.metadata import write_sidecar
from regiontalk.export.xmp import Texts
from regiontalk.records import ImageResult, RegionCaption

NAMES = ("000100.png", "000101.png")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_screens(2, 100, tmp_path)
    return tmp_path / "screens"


def teach(folder: Path, model: Path, *arguments: object, lines: str = "q\n") -> Any:
    command = [
        "teach",
        str(folder),
        "--terminal",
        "--model",
        str(model),
        *map(str, arguments),
    ]
    return CliRunner().invoke(app, command, input=lines)


def saved(folder: Path) -> list[dict[str, Any]]:
    path = folder / "taught.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_person_at_the_terminal(photos: Path, tiny_folder: Path) -> None:
    lines = "a form\n-\na switch\n1,2,30,40 a button\n9,9,3,3 x\n\nq\n"
    result = teach(photos, tiny_folder, "--regions", "2", lines=lines)
    assert result.exit_code == 0, result.output
    assert "expected 0 <= x1 < x2" in result.output  # and is asked again
    (row,) = saved(photos)
    assert row["captions"] == ["a form"]
    assert [box["phrase"] for box in row["boxes"]] == ["a switch", "a button"]
    assert row["boxes"][1]["box"] == [1, 2, 30, 40]
    marked = photos.with_name("screens_taught") / "photo.jpg"
    assert marked.is_file()
    result = teach(photos, tiny_folder, lines="train\ns\n")
    assert (
        "answer 19 more" in result.output and "all photos are answered" in result.output
    )
    assert len(saved(photos)) == 2 and "captions" not in saved(photos)[1]


def test_an_answer_that_cannot_be_saved_is_told(
    photos: Path, tiny_folder: Path
) -> None:
    result = teach(photos, tiny_folder, "--regions", "0", lines="?!\n\nq\n")
    assert "not saved" in result.output and "expected words" in result.output


def label_studio(folder: Path, name: str) -> Path:
    value = {"x": 10, "y": 10, "width": 50, "height": 20, "rectanglelabels": ["Region"]}
    size = {"original_width": 320, "original_height": 400}
    pieces = [
        {"id": "r", "type": "rectanglelabels", "value": value, **size},
        {
            "id": "r",
            "type": "textarea",
            "from_name": "words",
            "value": {"text": ["a slider"]},
        },
    ]
    task = {
        "data": {"image": f"/data/local-files/?d={name}"},
        "annotations": [{"result": pieces}],
    }
    path = folder.with_name("export.json")
    path.write_text(json.dumps([task]))
    return path


def sidecar(folder: Path, name: str) -> Path:
    out = folder.with_name("xmp")
    regions = tuple(
        RegionCaption((32.0, 40.0, 160.0, 200.0 + number), text, 0.9)
        for number, text in enumerate(("a dog", "a tree"))
    )
    result = ImageResult(str(folder / name), (320, 400), "mini", None, regions)
    path = write_sidecar(result, Texts(), out)
    path.write_text(path.read_text().replace("a dog", "a red switch"))
    return out


def test_corrections_are_taken_over(photos: Path, tiny_folder: Path) -> None:
    result = teach(
        photos,
        tiny_folder,
        *("--import", label_studio(photos, NAMES[0])),
        *("--import", sidecar(photos, NAMES[1])),
    )
    assert result.exit_code == 0, result.output
    rows = saved(photos)
    assert [row["photo"] for row in rows] == list(NAMES)
    assert rows[0]["boxes"] == [
        {"box": [32.0, 40.0, 192.0, 120.0], "phrase": "a slider"}
    ]
    # what the model wrote and nobody changed is no answer
    assert rows[1]["boxes"] == [
        {"box": [32.0, 40.0, 160.0, 200.0], "phrase": "a red switch"}
    ]
    assert "all photos are answered" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["nowhere"], "expected a folder with photos", id="no folder"),
        pytest.param([".", "--answers", "a.csv"], "ends in .jsonl", id="a table"),
        pytest.param(
            [".", "--import", "other.json"], "other photos", id="other photos"
        ),
        pytest.param(
            [".", "--import", "bad.json"], "Label Studio export", id="no export"
        ),
        pytest.param([".", "--import", "gone.json"], "gone.json", id="no file"),
    ],
)
def test_mistakes(
    photos: Path,
    tiny_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(photos)
    label_studio(photos, "elsewhere.png").rename(photos / "other.json")
    (photos / "bad.json").write_text("{}")
    result = CliRunner().invoke(
        app, ["teach", *arguments, "--terminal", "--model", str(tiny_folder)]
    )
    assert result.exit_code == 2 and message in result.stderr
    assert "Traceback" not in result.output and not (photos / "taught.jsonl").exists()
