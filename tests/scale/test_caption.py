"""Whole jobs by a real Ray with the tiny model: run, killed by its driver and by a worker, run again."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

pytest.importorskip("ray", reason="needs regiontalk[scale]")

from regiontalk.cli.main import app
from regiontalk.scale.caption import CaptionSettings, caption_photos
from regiontalk.scale.job import PartWorker, run_job, with_hashes
from regiontalk.scale.output import Job, Output
from regiontalk.scale.sources import photo_table, read_photos
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
    monkeypatch.setattr(
        "ray.is_initialized", lambda: False
    )  # other tests have a session
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


def test_a_job_goes_on_where_it_was(
    ray: Any, workers: Workers, photos: Path, tmp_path: Path
) -> None:
    def run(output: Path, stop_after: int | None = None) -> Any:
        def report(progress: Any) -> None:
            if stop_after is not None and progress.finished >= stop_after:
                raise KeyboardInterrupt

        dataset = read_photos([str(photos)], batch=2)
        return run_job(dataset, str(output), workers, SETTINGS, report=report)

    whole = run(tmp_path / "whole")
    assert (whole.finished, whole.failed, whole.before) == (9, 2, 0)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", stop_after=2)
    again = run(tmp_path / "out")
    assert again.before >= 2 and again.before + again.finished == 9
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
    """By the command: what stands before the damage is captioned, and after the repair the rest."""
    members = {
        f"{number}.png": (photos / name).read_bytes()
        for number, name in enumerate(["0.png", "2.png", "4.png"])
    }
    tar = write_tar(tmp_path / "shard.tar", members)
    whole = tar.read_bytes()
    tar.write_bytes(whole[: 2 * 1024 + 520])  # inside the third photo
    words = ["scale", "caption", str(tar), "--output", str(tmp_path / "out")]
    words += ["--model", str(tiny_folder), "--regions", "0"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0 and "3 captioned, 1 of them with an error" in (
        result.stderr
    )
    *_, damage = rows(tmp_path / "out")[::-1]
    errors = {row["photo"]: row["error"] for row in rows(tmp_path / "out")}
    assert list(errors) == [str(tar), f"{tar}/0.png", f"{tar}/1.png"]
    assert errors.pop(str(tar)) == damage["error"]
    assert "cut short after 1.png" in damage["error"]
    assert list(errors.values()) == [None, None]
    tar.write_bytes(whole)
    result = CliRunner().invoke(app, words)
    assert "1 captioned, 3 were there before" in result.stderr


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
    assert [(row["photo"], row["error"] is None) for row in result] == [
        ("a", True),
        ("b", False),
    ]
    assert result[0]["caption"]["text"] and len(result[0]["regions"]) == 2
