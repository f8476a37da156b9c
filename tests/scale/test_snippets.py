"""Snippets by a real Ray.

The pairs of `regiontalk snippets`, killed and run again, bad photos as rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

pytest.importorskip("ray", reason="needs regiontalk[scale]")

from regiontalk.captioner import RegionCaptioner
from regiontalk.cli.main import app
from regiontalk.datasets.splits import read_split
from regiontalk.records import Example
from regiontalk.scale.job import content_hash, run_job
from regiontalk.scale.output import Output
from regiontalk.scale.rows import decode, encode
from regiontalk.scale.sentences import read_captioned, read_examples
from regiontalk.scale.snippets import SnippetSettings, infer_snippets
from regiontalk.scale.workers import Workers
from regiontalk.train.snippets import photo_snippets


@pytest.fixture(scope="module")
def captioner(tiny_folder: Path) -> RegionCaptioner:
    return RegionCaptioner.from_pretrained(tiny_folder)


@pytest.fixture(scope="module")
def examples(toy_folder: Path) -> list[Example]:
    return read_split(toy_folder, "dev")[0]


def record(example: Example, **values: Any) -> dict[str, Any]:
    data, captions = example.photo.read_bytes(), list(example.captions)
    sha256 = content_hash(data, captions)
    row = {"key": example.id, "data": data, "captions": captions, "sha256": sha256}
    return {**row, "error": None, **values}


def pairs(captioner: RegionCaptioner, example: Example, beta: float) -> list[Any]:
    rows = photo_snippets(captioner, example, beta)
    return [{name: row[name] for name in row if name != "photo"} for row in rows]


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_rows_of_photos(
    captioner: RegionCaptioner, examples: list[Example], form: str
) -> None:
    good, *others = examples
    photos = [
        record(good),
        record(others[0], data=b"no photo"),
        record(others[1], captions=[]),
        record(others[2], data=None, error="gone: cannot be read"),
    ]
    task = SnippetSettings(beta=0.1)
    rows = task.rows(captioner, photos)
    assert rows[0]["pairs"] == pairs(captioner, good, 0.1) != []
    assert (rows[0]["width"], rows[0]["height"]) == (64, 64)
    errors = [row["error"] for row in rows]
    assert errors[0] is None and errors[1].startswith(f"{others[0].id}: ")
    assert "expected sentences beside the photo, got none" in errors[2]
    assert errors[3] == "gone: cannot be read"
    assert [row["pairs"] for row in rows[1:]] == [[], [], []]
    assert decode(encode(rows, form, task.schema()), form) == rows


@pytest.mark.parametrize("beta", [-1.0, float("nan"), float("inf")])
def test_a_beta_out_of_range(beta: float) -> None:
    with pytest.raises(ValueError, match="beta: expected a number from 0, got"):
        SnippetSettings(beta=beta)


def rows_of(output: Path) -> list[Any]:
    return sorted(Output(str(output)).rows(), key=lambda row: row["photo"])


def test_a_data_set_by_the_command(
    ray: Any,
    captioner: RegionCaptioner,
    examples: list[Example],
    tiny_folder: Path,
    toy_folder: Path,
    tmp_path: Path,
) -> None:
    """Killed after its first part and run again: one row a photo, of the same pairs."""

    def stop(progress: Any) -> None:
        raise KeyboardInterrupt

    task, workers = SnippetSettings(beta=0.1), Workers.of(tiny_folder)
    paths = [str(example.photo.absolute()) for example in examples]
    keys = [example.id for example in examples]
    captions = [example.captions for example in examples]
    with pytest.raises(KeyboardInterrupt):
        dataset = read_examples(paths, keys, captions, batch=2)
        run_job(dataset, str(tmp_path / "out"), workers, task, report=stop)
    words = ["scale", "snippets", "--data", str(toy_folder), "--split", "dev"]
    words += ["--output", str(tmp_path / "out"), "--model", str(tiny_folder)]
    result = CliRunner().invoke(app, [*words, "--beta", "0.1", "--batch", "2"])
    assert result.exit_code == 0, result.stderr
    assert "6 photos; " in result.stderr and "were there before" in result.stderr
    rows = rows_of(tmp_path / "out")
    by_key = {example.id: example for example in examples}
    assert [row["photo"] for row in rows] == sorted(keys)
    for row in rows:
        assert row["pairs"] == pairs(captioner, by_key[row["photo"]], 0.1)
    result = CliRunner().invoke(app, [*words, "--beta", "0.2"])
    assert result.exit_code == 2 and "its rows were made with beta = 0.1" in (
        result.stderr
    )


def test_tars_to_a_dataset(
    ray: Any,
    workers: Workers,
    captioner: RegionCaptioner,
    examples: list[Example],
    write_tar: Any,
    tmp_path: Path,
) -> None:
    first, second = examples[:2]
    members = {
        "1.jpg": first.photo.read_bytes(),
        "1.txt": "\n".join(first.captions).encode(),
        "2.jpg": second.photo.read_bytes(),
    }
    tar = write_tar(tmp_path / "a.tar", members)
    dataset = read_captioned([str(tar)], batch=1)
    result = infer_snippets(dataset, workers, SnippetSettings(beta=0.1)).take_all()
    good, bad = sorted(result, key=lambda row: str(row["photo"]))
    assert good["pairs"] == pairs(captioner, first, 0.1)
    assert bad["photo"] == f"{tar}/2.jpg" and "got none" in bad["error"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param([], "got neither", id="no input"),
        pytest.param(["a.tar", "--data", "b"], "got both", id="two inputs"),
        pytest.param(["--data", "nowhere"], "nowhere", id="no data set"),
    ],
)
def test_what_the_command_refuses(
    words: list[str], message: str, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    result = CliRunner().invoke(
        app, ["scale", "snippets", *words, "--output", str(output)]
    )
    assert result.exit_code == 2 and message in result.stderr.splitlines()[-1]
    assert not output.exists()
