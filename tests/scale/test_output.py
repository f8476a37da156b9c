"""Parts that count once: commits, doubles, what a killed run leaves, other models, two jobs."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from regiontalk.scale.caption import CaptionSettings
from regiontalk.scale.output import Job, Output
from regiontalk.scale.rows import Row
from regiontalk.scale.snippets import SnippetSettings

JOB = Job("tiny", "f" * 64, "parquet", CaptionSettings())


def row(name: str, sha256: str = "00") -> Row:
    empty: Row = dict.fromkeys(["width", "height", "model", "caption", "error"])
    return {**empty, "photo": name, "sha256": sha256, "regions": [], "matches": []}


def names(output: Output) -> list[str]:
    return [values["photo"] for values in output.rows(["photo"])]


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_a_part_counts_once_it_is_committed(tmp_path: Path, form: str) -> None:
    output, job = Output(str(tmp_path / "out")), replace(JOB, form=form)
    with output.lock():
        known = output.begin(job)
        assert len(known) == 0
        first = output.stage("run", [row("a"), row("b")], job)
        left = output.stage("run", [row("c")], job)
        assert names(output) == []
        assert output.commit(first, known, job) == 2
        assert sorted(names(output)) == ["a", "b"] and len(known) == 2
    assert Path(left.staged).exists()  # as after kill -9
    again = Output(output.uri)
    with again.lock():
        assert len(again.begin(job)) == 2
        assert not Path(left.staged).exists() and sorted(names(again)) == ["a", "b"]


def test_doubles_are_left_out(tmp_path: Path) -> None:
    output = Output(str(tmp_path / "out"))
    known = output.begin(JOB)
    first = output.stage("run", [row("a"), row("b")], JOB)
    twin = output.stage("run", [row("a"), row("b")], JOB)
    mixed = output.stage("run", [row("b"), row("b", "01"), row("c"), row("c")], JOB)
    assert [output.commit(part, known, JOB) for part in (first, twin, mixed)] == [
        2,
        0,
        2,
    ]
    rows = [
        (values["photo"], values["sha256"])
        for values in output.rows(["photo", "sha256"])
    ]
    assert sorted(rows) == [("a", "00"), ("b", "00"), ("b", "01"), ("c", "00")]
    output.end()
    assert not (tmp_path / "out" / "_staging").exists()


def test_the_name_of_a_part_follows_from_its_photos(tmp_path: Path) -> None:
    output = Output(str(tmp_path))
    one, other = (output.stage(run, [row("a")], JOB) for run in ("first", "second"))
    assert one.name == other.name and one.staged != other.staged
    assert output.stage("first", [row("b")], JOB).name != one.name


@pytest.mark.parametrize(
    ("job", "message"),
    [
        pytest.param(
            replace(JOB, model="other", fingerprint="e" * 64),
            r"rows were made by the model 'tiny' \(ffffffffffff\), .* got 'other' \(eeeeeeeeeeee\)",
            id="model",
        ),
        pytest.param(
            replace(JOB, form="jsonl"), "form = parquet, .* got jsonl", id="format"
        ),
        pytest.param(
            replace(JOB, settings=CaptionSettings(regions=3)),
            "regions = 10, expected the same, got 3",
            id="settings",
        ),
        pytest.param(
            replace(JOB, settings=SnippetSettings()),
            "holds captions, expected snippets",
            id="another kind of rows",
        ),
    ],
)
def test_an_output_of_another_job_is_refused(
    tmp_path: Path, job: Job, message: str
) -> None:
    Output(str(tmp_path)).begin(JOB)
    with pytest.raises(ValueError, match=message):
        Output(str(tmp_path)).begin(job)


def test_an_output_of_the_first_version_goes_on(tmp_path: Path) -> None:
    Output(str(tmp_path)).begin(JOB)
    path = tmp_path / "_job.json"
    values = json.loads(path.read_text())
    assert values.pop("rows") == "captions"
    path.write_text(json.dumps(values))
    Output(str(tmp_path)).begin(JOB)


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").touch()
    with pytest.raises(ValueError, match=r"new or empty folder, .* holds 'thesis.doc'"):
        Output(str(tmp_path)).begin(JOB)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.doc"]
    with pytest.raises(ValueError, match="expected the output of a job"):
        list(Output(str(tmp_path)).rows())


def test_two_jobs_on_one_output(tmp_path: Path) -> None:
    first, second = Output(str(tmp_path)), Output(str(tmp_path))
    with (
        first.lock(),
        pytest.raises(BlockingIOError, match="another job is writing to this output"),
        second.lock(),
    ):
        pass
    with second.lock():
        pass


def test_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = Output(str(tmp_path))
    known = output.begin(JOB)

    def full_disk(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("regiontalk.scale.output.encode", full_disk)
    with pytest.raises(OSError, match="No space left"):
        output.stage("run", [row("a")], JOB)
    monkeypatch.undo()
    part = output.stage("run", [row("a")], JOB)
    os.unlink(part.staged)
    with pytest.raises(OSError, match="expected an output that all machines share"):
        output.commit(part, known, JOB)
    assert len(known) == 0


def test_an_address_is_shown_without_secrets() -> None:
    with pytest.raises(ValueError, match="expected a path or an address") as caught:
        Output("nope://key:secret@bucket/photos")
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)
