"""Whole jobs by a real Ray with the tiny model: run, killed by its driver and by a worker, run again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="needs regiontalk[scale]")

from regiontalk.scale.caption import Workers, caption_photos, caption_to_output
from regiontalk.scale.output import Output
from regiontalk.scale.rows import CaptionSettings
from regiontalk.scale.sources import read_photos

SETTINGS = CaptionSettings(regions=2, together=2)


def rows(output: Path) -> list[Any]:
    return sorted(Output(str(output)).rows(), key=lambda row: (row["photo"], row["sha256"] or ""))


def test_no_cluster_at_the_address(tmp_path: Path, photos: Path) -> None:
    psutil = pytest.importorskip("psutil")
    if "gcs_server" in {process.name() for process in psutil.process_iter()}:
        pytest.skip("a cluster runs on this machine, and auto finds it")
    words = ["scale", "caption", str(photos), "--output", str(tmp_path / "out")]
    program = "from regiontalk.cli.main import app; app()"
    command = [sys.executable, "-c", program, *words, "--address", "auto"]
    # a folder of its own: a cluster that was killed leaves its address in the usual one
    environment = {**os.environ, "RAY_ADDRESS": "", "RAY_TMPDIR": str(tmp_path)}
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path
    )
    assert result.returncode == 2
    assert "no Ray cluster answers there" in result.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_a_job_goes_on_where_it_was(
    ray: Any, workers: Workers, photos: Path, tmp_path: Path
) -> None:
    def run(output: Path, stop_after: int | None = None) -> Any:
        def report(progress: Any) -> None:
            if stop_after is not None and progress.finished >= stop_after:
                raise KeyboardInterrupt

        dataset = read_photos([str(photos)], batch=2)
        return caption_to_output(dataset, str(output), workers, SETTINGS, report=report)

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


def test_a_worker_without_the_model_is_told(
    ray: Any, workers: Workers, photos: Path, tmp_path: Path
) -> None:
    from dataclasses import replace

    dataset = read_photos([str(photos)], batch=99)
    with pytest.raises(ValueError, match=r"worker on .*: lacks the model") as caught:
        nowhere = replace(workers, model=str(tmp_path / "nowhere"))
        caption_to_output(dataset, str(tmp_path / "out"), nowhere, SETTINGS)
    assert len(str(caught.value).splitlines()) == 1


def test_a_dataset_to_a_dataset(ray: Any, workers: Workers, photos: Path) -> None:
    data = (photos / "0.png").read_bytes()
    dataset = ray.data.from_items([{"key": "a", "data": data}, {"key": "b", "data": b"no"}])
    result = caption_photos(dataset, workers, SETTINGS).take_all()
    assert [(row["photo"], row["error"] is None) for row in result] == [("a", True), ("b", False)]
    assert result[0]["caption"]["text"] and len(result[0]["regions"]) == 2
