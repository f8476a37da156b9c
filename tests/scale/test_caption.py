"""Whole jobs by a real Ray with the tiny model.

Gone on with, of broken input, of workers in trouble.
"""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

pytest.importorskip("ray", reason="needs regiontalk[scale]")

from regiontalk.cli.main import app
from regiontalk.scale.caption import CaptionSettings, caption_photos
from regiontalk.scale.job import (
    PartWorker,
    Progress,
    run_job,
    to_part,
    with_hashes,
)
from regiontalk.scale.output import Job, Output
from regiontalk.scale.sources import (
    _load_files,
    find_files,
    photo_table,
    read_photos,
    to_table,
)
from regiontalk.scale.workers import Workers

SETTINGS = CaptionSettings(regions=2, together=2)
JOB = Job("tiny", "f" * 64, "parquet", SETTINGS)


def rows(output: Path) -> list[Any]:
    return sorted(
        Output(str(output)).rows(), key=lambda row: (row["photo"], row["sha256"] or "")
    )


@pytest.mark.parametrize(
    "address", ["127.0.0.1:1", "[::1]:1", "ray://127.0.0.1:1", "nonsense"]
)
def test_no_cluster_at_the_address(
    address: str, tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # other tests have a session
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr(
        "ray.init", lambda **_: pytest.fail("Ray waits two minutes by itself")
    )
    words = ["scale", "caption", str(photos), "--output", str(tmp_path / "out")]
    result = CliRunner().invoke(app, [*words, "--address", address])
    assert result.exit_code == 2
    *warnings, line = result.stderr.splitlines()  # those of Ray's own import
    assert f"--address {address}: no Ray cluster answers there" in line
    assert "Traceback" not in "".join(warnings)
    assert not (tmp_path / "out").exists()


def write_parts(photos: Path, workers: Workers, output: Path, count: int) -> None:
    """What the driver and a worker do, in this process.

    Parts of two photos, of which ``count`` are committed.
    """
    target, job = Output(str(output)), replace(JOB, fingerprint=workers.fingerprint)
    known = target.begin(replace(job, model=Path(workers.model).name))
    worker = PartWorker(workers, job, target.uri, "run")
    names = to_table(find_files(str(photos)))
    for number in range(-(-names.num_rows // 2)):
        block = with_hashes(_load_files(names.slice(2 * number, 2)))
        (row,) = worker(block).to_pylist()
        if number < count:
            target.commit(to_part(row), known, job)


def test_a_job_goes_on_where_it_was(
    ray: Any, workers: Workers, photos: Path, tmp_path: Path
) -> None:
    """A driver died after its second commit.

    Files and rows are in the end those of an undisturbed run.
    """
    write_parts(photos, workers, tmp_path / "whole", count=5)
    write_parts(photos, workers, tmp_path / "out", count=2)
    assert len(list((tmp_path / "out" / "_staging").rglob("*part-*"))) == 3
    reports: list[Progress] = []
    dataset = read_photos([str(photos)], batch=2)
    again = run_job(
        dataset, str(tmp_path / "out"), workers, SETTINGS, report=reports.append
    )
    assert (again.before, again.finished, again.failed) == (4, 5, 2)
    assert [report.finished for report in reports][-1] == 5 and len(reports) == 3
    assert not (tmp_path / "out" / "_staging").exists()
    assert rows(tmp_path / "out") == rows(tmp_path / "whole")
    files = {path.name for path in (tmp_path / "out").glob("part-*")}
    assert files == {path.name for path in (tmp_path / "whole").glob("part-*")}
    errors = [row["error"] for row in rows(tmp_path / "out") if row["error"]]
    assert [error.split(": ")[0] for error in errors] == [
        f"{photos}/broken.jpg",
        f"{photos}/empty.png",
    ]


def test_a_half_broken_tar(
    ray: Any, photos: Path, tiny_folder: Path, write_tar: Any, tmp_path: Path
) -> None:
    """By the command: what stands before the damage is captioned.

    The tar itself is a row with its error.
    """
    members = {
        f"{number}.png": (photos / name).read_bytes()
        for number, name in enumerate(["0.png", "2.png", "4.png"])
    }
    tar = write_tar(tmp_path / "shard.tar", members)
    os.truncate(tar, 2 * 1024 + 520)  # inside the third photo
    words = ["scale", "caption", str(tar), "--output", str(tmp_path / "out")]
    words += ["--model", str(tiny_folder), "--regions", "0"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0 and "3 captioned, 1 of them with an error" in (
        result.stderr
    )
    damage, *good = rows(tmp_path / "out")
    assert [row["photo"] for row in good] == [f"{tar}/0.png", f"{tar}/1.png"]
    assert all(row["error"] is None and row["caption"]["text"] for row in good)
    assert damage["photo"] == str(tar) and "cut short after 1.png" in damage["error"]


def test_a_worker_without_the_model_is_told(
    ray: Any, workers: Workers, photos: Path, tmp_path: Path
) -> None:
    dataset = read_photos([str(photos)], batch=99)
    nowhere = replace(workers, model=str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match=r"worker on .*: lacks the model") as caught:
        run_job(dataset, str(tmp_path / "out"), nowhere, SETTINGS)
    assert len(str(caught.value).splitlines()) == 1


def test_a_worker_with_another_model_is_told(workers: Workers, tmp_path: Path) -> None:
    another = replace(workers, fingerprint="f" * 64)
    worker = PartWorker(another, JOB, str(tmp_path / "out"), "run")
    table = photo_table(["a"], [b"photo"], [None])
    (row,) = worker(with_hashes(table)).to_pylist()
    assert "has the fingerprint" in row["trouble"] and "ffffffffffff" in row["trouble"]


def test_a_full_disk_of_a_worker_is_told(
    workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Output, "_write", refuse)
    worker = PartWorker(workers, JOB, str(tmp_path / "out"), "run")
    (row,) = worker(with_hashes(photo_table(["a"], [b"no photo"], [None]))).to_pylist()
    assert "No space left on device" in row["trouble"]


def test_a_dataset_to_a_dataset(ray: Any, workers: Workers, photos: Path) -> None:
    data = (photos / "0.png").read_bytes()
    dataset = ray.data.from_items(
        [{"key": "a", "data": data}, {"key": "b", "data": b"no"}]
    )
    result = caption_photos(dataset, workers, SETTINGS).take_all()
    result.sort(key=lambda row: row["photo"])  # blocks come as they are ready
    assert [(row["photo"], row["error"] is None) for row in result] == [
        ("a", True),
        ("b", False),
    ]
    assert result[0]["caption"]["text"] and len(result[0]["regions"]) == 2
