"""The pairs of a data set on disk: what a line says, that a stopped run goes on, and the picture of a few."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from regiontalk import snippets
from regiontalk.captioner import RegionCaptioner
from regiontalk.cli.main import app
from regiontalk.datasets.splits import read_split
from regiontalk.records import Example
from regiontalk.snippets import draw_sheet, photo_snippets, write_snippets


@pytest.fixture(scope="module")
def captioner(tiny_folder: Path) -> RegionCaptioner:
    return RegionCaptioner.from_pretrained(tiny_folder)


@pytest.fixture(scope="module")
def examples(toy_folder: Path) -> list[Example]:
    return read_split(toy_folder, "dev")[0]


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_the_snippets_of_a_sentence_put_together_are_the_sentence(
    captioner: RegionCaptioner, examples: list[Example], beta: float
) -> None:
    for example in examples[:3]:
        rows = photo_snippets(captioner, example, beta)
        for number, caption in enumerate(example.captions):
            own = [row for row in rows if row["caption"] == number]
            known = [word if word in captioner.model.vocabulary else "<unk>" for word in caption.split()]
            assert " ".join(row["text"] for row in own).split() == known
            place = 0
            for row in own:
                assert set(row) == {"photo", "caption", "first", "text", "box", "score"}
                assert (row["photo"], row["first"]) == (example.id, place)
                x1, y1, x2, y2 = row["box"]
                assert 0 <= x1 < x2 <= 64 and 0 <= y1 < y2 <= 64
                place += len(row["text"].split())


def test_a_large_beta_puts_a_sentence_on_one_region(captioner: RegionCaptioner, examples: list[Example]) -> None:
    rows = photo_snippets(captioner, examples[0], 1000.0)
    assert [row["caption"] for row in rows] == list(range(len(examples[0].captions)))


def test_the_file_holds_every_photo_in_order(
    captioner: RegionCaptioner, examples: list[Example], tmp_path: Path
) -> None:
    ticks: list[int] = []
    path = tmp_path / "new" / "pairs.jsonl"
    count, broken = write_snippets(captioner, examples, path, beta=0.1, done=lambda: ticks.append(1))
    expected = [row for example in examples for row in photo_snippets(captioner, example, 0.1)]
    assert rows_of(path) == expected and (count, broken) == (len(expected), [])
    assert len(ticks) == len(examples) and [item.name for item in path.parent.iterdir()] == ["pairs.jsonl"]


@pytest.mark.parametrize(
    ("photos", "extra"),
    [
        pytest.param(2, "", id="between two photos"),
        pytest.param(2, '{"photo": "half of the third", "caption": 0}\n{"photo"', id="inside a photo"),
        pytest.param(0, "", id="before the first"),
    ],
)
def test_a_stopped_run_goes_on_after_its_last_whole_photo(
    captioner: RegionCaptioner,
    examples: list[Example],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    photos: int,
    extra: str,
) -> None:
    straight, stopped = tmp_path / "straight.jsonl", tmp_path / "stopped.jsonl"
    write_snippets(captioner, examples, straight)
    whole = photo_snippets
    asked: list[str] = []

    def counted(captioner: RegionCaptioner, example: Example, beta: float | None) -> list[dict[str, Any]]:
        if len(asked) == photos:
            raise KeyboardInterrupt
        asked.append(example.id)
        return whole(captioner, example, beta)

    monkeypatch.setattr(snippets, "photo_snippets", counted)
    with pytest.raises(KeyboardInterrupt):
        write_snippets(captioner, examples, stopped)
    assert not stopped.exists(), "the file gets its name when all is done"
    partial = stopped.with_name(stopped.name + ".partial")
    if extra:
        with partial.open("a", encoding="utf-8") as file:
            file.write(extra)
    done, photos = asked.copy(), -1
    write_snippets(captioner, examples, stopped)
    assert stopped.read_bytes() == straight.read_bytes() and not partial.exists()
    assert asked == [example.id for example in examples], "no photo twice"
    assert len(done) < len(asked)


def test_a_broken_photo_is_named_and_the_others_are_there(
    captioner: RegionCaptioner, examples: list[Example], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    mixed = [examples[0], Example(bad, ("a red dog",)), examples[1]]
    count, broken = write_snippets(captioner, mixed, tmp_path / "pairs.jsonl")
    assert len(broken) == 1 and "bad.png" in broken[0]
    rows = rows_of(tmp_path / "pairs.jsonl")
    assert len(rows) == count and {row["photo"] for row in rows} == {examples[0].id, examples[1].id}


def test_contact_sheet(captioner: RegionCaptioner, examples: list[Example], tmp_path: Path) -> None:
    sheet = draw_sheet(captioner, examples[:5])
    assert sheet.width >= 4 * 448 and sheet.height >= 2 * 448, "four photos a row, five in two"
    assert len(np.unique(np.asarray(sheet))) > 20


def test_the_verb(tiny_folder: Path, toy_folder: Path, captioner: RegionCaptioner, tmp_path: Path) -> None:
    out, sheet = tmp_path / "pairs.jsonl", tmp_path / "sheet.jpg"
    arguments = ["snippets", "--data", str(toy_folder), "--split", "dev", "--model", str(tiny_folder)]
    arguments += ["--out", str(out), "--sheet", str(sheet), "--limit", "3", "--beta", "0.1"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    examples = read_split(toy_folder, "dev")[0][:3]
    expected = [row for example in examples for row in photo_snippets(captioner, example, 0.1)]
    assert rows_of(out) == expected
    assert f"{len(expected)} pairs of 3 photos" in " ".join(result.stderr.split())
    with Image.open(sheet) as drawn:
        assert drawn.width >= 3 * 448


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--split", "val"], "val", id="unknown split"),
        pytest.param(["--split", "test"], "test", id="a split that is not there"),
        pytest.param(["--model", "nowhere"], "nowhere", id="no such model"),
    ],
)
def test_the_users_mistakes(
    tiny_folder: Path, toy_folder: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    base = ["snippets", "--data", str(toy_folder), "--split", "dev", "--model", str(tiny_folder)]
    result = CliRunner().invoke(app, [*base, "--out", str(tmp_path / "pairs.jsonl"), *arguments])
    assert result.exit_code == 2 and message in result.stderr and not (tmp_path / "pairs.jsonl").exists()
