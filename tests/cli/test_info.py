"""``regiontalk info``: reads a model folder without loading it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from regiontalk.cli.info import licence

CARD = "# tiny\n\nA model.\n\n## Licence\n\nFor research\nonly.\n\n## Data\n\nNone.\n"


def make_model(folder: Path) -> Path:
    """A complete folder: 2 x 3 + 4 = 10 parameters, two words."""
    folder.mkdir()
    (folder / "config.json").write_text(
        json.dumps({"format": 1, "name": "tiny", "generator": {"hidden": 8}})
    )
    save_file(
        {"a": np.zeros((2, 3), np.float16), "b": np.zeros(4, np.float32)},
        folder / "model.safetensors",
    )
    (folder / "vocabulary.json").write_text(
        json.dumps({"words": ["dog", "cat"], "counts": [2, 1]})
    )
    (folder / "README.md").write_text(CARD)
    return folder


def test_lines(run: Any) -> None:
    make_model(Path("tiny"))
    lines = run("info", "tiny").stdout.splitlines()
    assert "parameters  10" in lines and "words       2" in lines
    assert "licence     For research only." in lines
    assert "name = tiny" in lines and "generator.hidden = 8" in lines


def test_json(run: Any) -> None:
    folder = make_model(Path("tiny"))
    values = json.loads(run("info", "tiny", "--json").stdout)
    assert values["config"]["name"] == "tiny" and values["parameters"] == 10
    assert values["bytes"] == sum(path.stat().st_size for path in folder.iterdir())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(
            {"model.safetensors": None}, "missing model.safetensors", id="no weights"
        ),
        pytest.param(
            {"config.json": None, "README.md": None},
            "missing config.json, README.md",
            id="two files",
        ),
        pytest.param(
            {"config.json": "{"},
            "config.json or vocabulary.json is damaged",
            id="damaged config",
        ),
        pytest.param(
            {"vocabulary.json": "[]"}, "is damaged", id="vocabulary is a list"
        ),
        pytest.param(
            {"model.safetensors": "x"},
            "expected a safetensors file",
            id="damaged weights",
        ),
    ],
)
def test_bad_folder(run: Any, damage: dict[str, str | None], message: str) -> None:
    folder = make_model(Path("tiny"))
    for name, content in damage.items():
        if content is None:
            (folder / name).unlink()
        else:
            (folder / name).write_text(content)
    result = run("info", "tiny")
    assert (
        result.exit_code == 2
        and message in result.stderr
        and len(result.stderr.splitlines()) == 1
    )


def test_unknown_model(run: Any) -> None:
    result = run("info", "maxi")
    assert result.exit_code == 2 and "expected a bundled name" in result.stderr


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        pytest.param(CARD, "For research only.", id="section"),
        pytest.param(
            "# x\n## License of the weights\nMIT",
            "MIT",
            id="American spelling, last section",
        ),
        pytest.param("# x\nThe licence is unknown.", "", id="no such heading"),
        pytest.param("", "", id="empty"),
    ],
)
def test_licence(card: str, expected: str) -> None:
    assert licence(card) == expected
