"""The short forms of the fault campaigns.

A few damaged pictures and files, a few killed writers, a full disk.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lets the scripts be imported, as they import one another."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield
    for name in ("fault_runner", "picture_faults", "file_faults"):
        sys.modules.pop(name, None)


def test_pictures(benchmarks: None) -> None:
    import picture_faults  # type: ignore[import-not-found]

    whole = len(list(picture_faults.whole_pictures()))
    made = picture_faults.cases(whole + 150, random.Random(1))
    outcomes = [picture_faults.check(name, data) for name, data in made]
    assert outcomes[:whole] == ["opened"] * whole and "refused" in outcomes


def test_files(
    benchmarks: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import file_faults  # type: ignore[import-not-found]

    monkeypatch.chdir(tmp_path)
    kinds = file_faults.prepare(Path())
    # What trains or uses the model takes seconds; the long form asks for it.
    kinds = {
        name: kind
        for name, kind in kinds.items()
        if name != "recipe" and not name.startswith("use of")
    }
    monkeypatch.setattr(file_faults, "SLOW_EVERY", 10**9)
    check = file_faults.checker(kinds)
    for name, data in islice(file_faults.cases(60, kinds, random.Random(1)), 60):
        check(name, data)


def test_a_fault_is_found(benchmarks: None, tmp_path: Path) -> None:
    import fault_runner  # type: ignore[import-not-found]

    def check(name: str, data: bytes) -> str:
        if name == "raises":
            raise KeyError("a")
        return "fine"

    cases = [("a", b""), ("raises", b"input"), ("b", b"")]
    outcome: Any = fault_runner.run_cases(iter(cases), check, 60.0, tmp_path)
    assert outcome.counts == {"fine": 2, "fault": 1}
    assert "raises: KeyError" in outcome.faults[0]
    assert (tmp_path / "fault-0").read_bytes() == b"input"


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
@pytest.mark.parametrize("fault", ["kill", "disk"])
@pytest.mark.parametrize(
    "jobs",
    [
        pytest.param(["xmp", "coco", "gallery"], id="exports"),
        pytest.param(["train", "snippets"], id="training and snippets"),
        pytest.param(["index"], id="library"),
    ],
)
def test_writers(fault: str, jobs: list[str]) -> None:
    if "index" in jobs:
        pytest.importorskip("lancedb")
    script = str(BENCHMARKS / "write_faults.py")
    command = [sys.executable, script, fault, "--count", "3", "--jobs", *jobs]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout.count("half-written") == len(jobs)
