"""The report on a data set before it trains."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image
from typer.testing import CliRunner

from regiontalk.cli.main import app


def test_a_folder_on_one_screen(tmp_path: Path) -> None:
    for number, name in enumerate(("a.png", "b.png")):
        Image.new("RGB", (20 + number, 10), (number, 0, 0)).save(tmp_path / name)
    (tmp_path / "c.png").write_bytes((tmp_path / "a.png").read_bytes())
    rows = [
        {"photo": "a.png", "captions": ["a cup"] * 5},
        {"photo": "b.png", "caption": "nan"},
    ]
    rows.append({"photo": "gone.png", "caption": "x"})
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "dev.jsonl").write_text(
        json.dumps({"photo": "c.png", "caption": "a mug"})
    )
    found = CliRunner().invoke(app, ["data", "check", str(tmp_path)])
    assert found.exit_code == 0, found.output
    for text in (
        "train.jsonl: 1 photos, 5 captions",
        "1 photo missing: gone.png",
        "1 caption that says that there is none, left out: train.jsonl:2 ('nan')",
        "words: 2, of which 2 are seen 5 times or more; those cover 100.0% of the captions",
        "captions: 2 words in the middle, 2 in the longest",
        "sizes: 20x10 to 20x10 pixels",
        "1 photos that are there twice, so that a split knows another: c.png = a.png",
        "ready to train",
    ):
        assert text in found.output, text


def test_what_cannot_be_trained_on(tmp_path: Path) -> None:
    Image.new("RGB", (20, 10)).save(tmp_path / "a.png")
    (tmp_path / "train.jsonl").write_text(
        json.dumps({"photo": "a.png", "caption": "\U0001f431"})
    )
    found = CliRunner().invoke(app, ["data", "check", str(tmp_path)])
    assert found.exit_code == 2 and "not to be trained on" in found.output
    missing = CliRunner().invoke(app, ["data", "check", str(tmp_path / "none")])
    assert missing.exit_code == 2 and "got nothing there" in missing.stderr
