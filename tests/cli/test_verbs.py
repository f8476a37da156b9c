"""``align``, ``locate`` and the command itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from regiontalk import cli


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        pytest.param(
            ["align", "a.png", "red car"],
            ["a.png  40x30", "  red: 1,2,3,4 (1.50)", "  car: 1,2,3,4 (1.50)"],
            id="align",
        ),
        pytest.param(
            ["locate", "a.png", "a red car"],
            ["a.png  40x30", "  a red car: 1,2,3,4 (1.50)"],
            id="locate",
        ),
        pytest.param(
            ["locate", "a.png", "car", "-k", "2"],
            ["a.png  40x30", "  car: 1,2,3,4 (1.50)", "  car: 1,2,3,5 (0.50)"],
            id="two places",
        ),
    ],
)
def test_lines(run: Any, arguments: list[str], lines: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 0 and result.stdout.splitlines() == lines


def test_json_and_drawing(run: Any, tmp_path: Any) -> None:
    result = run("align", "a.png", "red car", "--json", "--draw", "drawn")
    assert [match["phrase"] for match in json.loads(result.stdout)["matches"]] == [
        "red",
        "car",
    ]
    assert (tmp_path / "drawn" / "a_regions.jpg").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["align", "gone.png", "x"], "no such photo", id="no photo"),
        pytest.param(
            ["align", "rtsp://me:secret@door/1", "x"],
            "rtsp://me@door/1: no such photo",
            id="a password",
        ),
        pytest.param(
            ["align", "album", "x"], "expected one photo, got a folder", id="folder"
        ),
        pytest.param(
            ["align", "a.png", " "], "expected at least one word", id="empty sentence"
        ),
        pytest.param(["locate", "broken.jpg", "x"], "broken.jpg", id="no picture"),
        pytest.param(
            ["locate", "a.png", "x", "--model", "maxi"],
            "expected one of mini",
            id="unknown model",
        ),
    ],
)
def test_the_users_mistakes(run: Any, arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert (
        result.exit_code == 2
        and message in result.stderr
        and len(result.stderr.splitlines()) == 1
    )


def test_missing_photo_is_told_before_the_model_is_loaded(
    run: Any, captioner: Any
) -> None:
    run("locate", "gone.png", "x")
    run("caption", "gone.png")
    assert captioner.calls == []


def test_help_imports_nothing_heavy() -> None:
    code = (  # an empty package stands for the real one, whose public names bring torch
        "import sys, types; sys.modules['regiontalk'] = package = "
        "types.ModuleType('regiontalk')\npackage.__path__ = "
        f"[{str(Path(cli.__file__).parents[1])!r}]\nfrom regiontalk.cli.main import "
        "app\nprint([name for name in ('torch', 'torchvision', 'timm', 'numpy', 'PIL') "
        "if name in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        pytest.param(["--help"], "locate", id="help"),
        pytest.param(["--version"], "regiontalk", id="version"),
        pytest.param(["caption", "--help"], "FOLDER", id="help of a verb"),
    ],
)
def test_help(run: Any, arguments: list[str], word: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 0 and word in result.stdout
