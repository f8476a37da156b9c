"""The pairs of a data set on disk.

What a line says, that a stopped run goes on, and the picture of a few.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from regiontalk.captioner import RegionCaptioner
from regiontalk.cli.main import app
from regiontalk.cli.snippets import draw_sheet
from regiontalk.datasets.splits import read_split
from regiontalk.files import locked
from regiontalk.model.region_model import RegionModel
from regiontalk.records import Example
from regiontalk.runtime.torch_engine import TorchPredictor
from regiontalk.train import snippets
from regiontalk.train.snippets import photo_snippets, write_snippets


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
            assert any(word not in captioner.vocabulary for word in caption.split())
            assert " ".join(row["text"] for row in own).split() == caption.split(), (
                "the user's words, known or not"
            )
            place = 0
            for row in own:
                assert set(row) == {"photo", "caption", "first", "text", "box", "score"}
                assert (row["photo"], row["first"]) == (example.id, place)
                x1, y1, x2, y2 = row["box"]
                assert 0 <= x1 < x2 <= 64 and 0 <= y1 < y2 <= 64
                place += len(row["text"].split())


def test_a_large_beta_puts_a_sentence_on_one_region(
    captioner: RegionCaptioner, examples: list[Example]
) -> None:
    rows = photo_snippets(captioner, examples[0], 1000.0)
    assert [row["caption"] for row in rows] == list(range(len(examples[0].captions)))


def test_the_file_holds_every_photo_in_order(
    captioner: RegionCaptioner, examples: list[Example], tmp_path: Path
) -> None:
    ticks: list[int] = []
    path = tmp_path / "new" / "pairs.jsonl"
    count, broken = write_snippets(
        captioner, examples, path, beta=0.1, done=lambda: ticks.append(1)
    )
    expected = [
        row for example in examples for row in photo_snippets(captioner, example, 0.1)
    ]
    assert rows_of(path) == expected and (count, broken) == (len(expected), [])
    names = sorted(item.name for item in path.parent.iterdir())
    assert len(ticks) == len(examples) and names == [".pairs.jsonl.lock", "pairs.jsonl"]


def test_two_runs_on_one_file(
    captioner: RegionCaptioner, examples: list[Example], tmp_path: Path
) -> None:
    path = tmp_path / "pairs.jsonl"
    with (
        locked(tmp_path / ".pairs.jsonl.lock", "a run before"),
        pytest.raises(
            ValueError, match=r"pairs\.jsonl: another process is at work here"
        ),
    ):
        write_snippets(captioner, examples, path)
    assert not path.exists() and write_snippets(captioner, examples, path)[0]


@pytest.mark.parametrize(
    ("photos", "extra"),
    [
        pytest.param(2, "", id="between two photos"),
        pytest.param(
            2,
            '{"photo": "half of the third", "caption": 0}\n{"photo"',
            id="inside a photo",
        ),
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

    def counted(
        captioner: RegionCaptioner, example: Example, beta: float | None
    ) -> list[dict[str, Any]]:
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


@pytest.fixture
def begun(
    captioner: RegionCaptioner,
    examples: list[Example],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A run with beta 0.5 over a broken photo and two whole ones that was stopped at the fourth."""
    (tmp_path / "bad.png").write_bytes(b"no picture")
    whole, path = photo_snippets, tmp_path / "pairs.jsonl"

    def stopping(
        captioner: RegionCaptioner, example: Example, beta: float | None
    ) -> list[dict[str, Any]]:
        if example.id == examples[2].id:
            raise KeyboardInterrupt
        return whole(captioner, example, beta)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(snippets, "photo_snippets", stopping)
        write_snippets(
            captioner,
            [Example(tmp_path / "bad.png", ("a dog",)), *examples],
            path,
            beta=0.5,
        )
    return path


def test_a_run_of_other_settings_is_not_gone_on_with(
    captioner: RegionCaptioner,
    examples: list[Example],
    begun: Path,
    make_tiny: Callable[..., RegionModel],
) -> None:
    partial = begun.with_name("pairs.jsonl.partial")
    before = partial.read_bytes()
    with pytest.raises(
        ValueError,
        match=r"partial: expected a run of tiny \(\w+\) with beta 0.1, got .* with beta 0.5;",
    ):
        write_snippets(captioner, examples, begun, beta=0.1)
    other = RegionCaptioner(predictor=TorchPredictor(make_tiny(overlap=0.6)))
    with pytest.raises(ValueError, match="delete the file to begin anew"):
        write_snippets(other, examples, begun, beta=0.5)
    assert partial.read_bytes() == before and not begun.exists()
    partial.write_text('{"photo": "of an older version"}\n')
    with pytest.raises(ValueError, match="got one of an unknown model"):
        write_snippets(captioner, examples, begun, beta=0.5)


@pytest.mark.parametrize("chosen", [slice(0, 1), slice(1, 4), slice(3, 6)])
def test_other_photos_of_a_stopped_run_are_left_out(
    captioner: RegionCaptioner, examples: list[Example], begun: Path, chosen: slice
) -> None:
    write_snippets(captioner, examples[chosen], begun, beta=0.5)
    assert rows_of(begun) == [
        row
        for example in examples[chosen]
        for row in photo_snippets(captioner, example, 0.5)
    ]


@pytest.mark.parametrize("repaired", [False, True])
def test_a_run_that_goes_on_remembers_what_failed(
    captioner: RegionCaptioner, examples: list[Example], begun: Path, repaired: bool
) -> None:
    bad = begun.with_name("bad.png")
    if repaired:
        Image.new("RGB", (64, 64), "red").save(bad)
    mixed = [Example(bad, ("a dog",)), *examples]
    _, broken = write_snippets(captioner, mixed, begun, beta=0.5)
    assert [("bad.png" in line) for line in broken] == [True] * (not repaired)
    rows = [
        row
        for example in mixed[not repaired :]
        for row in photo_snippets(captioner, example, 0.5)
    ]
    assert rows_of(begun) == rows, "in the order of the data"


def test_a_broken_photo_is_named_and_the_others_are_there(
    captioner: RegionCaptioner, examples: list[Example], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    mixed = [examples[0], Example(bad, ("a red dog",)), examples[1]]
    count, broken = write_snippets(captioner, mixed, tmp_path / "pairs.jsonl")
    assert len(broken) == 1 and "bad.png" in broken[0]
    rows = rows_of(tmp_path / "pairs.jsonl")
    assert len(rows) == count and {row["photo"] for row in rows} == {
        examples[0].id,
        examples[1].id,
    }


def test_contact_sheet(
    captioner: RegionCaptioner, examples: list[Example], tmp_path: Path
) -> None:
    sheet = draw_sheet(captioner, examples[:5])
    assert sheet.width >= 4 * 448 and sheet.height >= 2 * 448, (
        "four photos a row, five in two"
    )
    assert len(np.unique(np.asarray(sheet))) > 20


def test_the_verb(
    tiny_folder: Path, toy_folder: Path, captioner: RegionCaptioner, tmp_path: Path
) -> None:
    out, sheet = tmp_path / "pairs.jsonl", tmp_path / "sheet.jpg"
    arguments = [
        "snippets",
        "--data",
        str(toy_folder),
        "--split",
        "dev",
        "--model",
        str(tiny_folder),
    ]
    arguments += [
        "--out",
        str(out),
        "--sheet",
        str(sheet),
        "--limit",
        "3",
        "--beta",
        "0.1",
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    examples = read_split(toy_folder, "dev")[0][:3]
    expected = [
        row for example in examples for row in photo_snippets(captioner, example, 0.1)
    ]
    assert rows_of(out) == expected
    assert f"{len(expected)} pairs of 3 photos" in " ".join(result.stderr.split())
    with Image.open(sheet) as drawn:
        assert drawn.width >= 3 * 448


def test_photos_over_the_limit_are_left_out(
    tiny_folder: Path, toy_folder: Path, tmp_path: Path
) -> None:
    arguments = [
        "snippets",
        "--data",
        str(toy_folder),
        "--split",
        "dev",
        "--model",
        str(tiny_folder),
        "--limit",
        "2",
    ]
    result = CliRunner().invoke(
        app,
        [*arguments, "--out", str(tmp_path / "pairs.jsonl"), "--max-pixels", "4095"],
    )
    assert (
        result.exit_code == 1
        and result.stderr.count("64x64 = 4,096 pixels, expected at most 4,095") == 2
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--split", "val"], "val", id="unknown split"),
        pytest.param(["--split", "test"], "test", id="a split that is not there"),
        pytest.param(["--model", "nowhere"], "nowhere", id="no such model"),
    ],
)
def test_the_users_mistakes(
    tiny_folder: Path,
    toy_folder: Path,
    tmp_path: Path,
    arguments: list[str],
    message: str,
) -> None:
    base = [
        "snippets",
        "--data",
        str(toy_folder),
        "--split",
        "dev",
        "--model",
        str(tiny_folder),
    ]
    result = CliRunner().invoke(
        app, [*base, "--out", str(tmp_path / "pairs.jsonl"), *arguments]
    )
    assert (
        result.exit_code == 2
        and message in result.stderr
        and not (tmp_path / "pairs.jsonl").exists()
    )


def test_a_stopped_run_goes_on_with_what_is_still_so(
    captioner: RegionCaptioner, examples: list[Example], tmp_path: Path
) -> None:
    """Of a photo whose sentences changed under its old name, the pairs are inferred again."""

    def stop() -> None:
        raise KeyboardInterrupt

    first, second = examples[:2]
    with pytest.raises(KeyboardInterrupt):
        write_snippets(captioner, [first, second], tmp_path / "a.jsonl", done=stop)
    changed = replace(first, captions=second.captions, phrases=())
    for name in ("a.jsonl", "b.jsonl"):
        write_snippets(captioner, [changed, second], tmp_path / name)
    assert rows_of(tmp_path / "a.jsonl") == rows_of(tmp_path / "b.jsonl")
