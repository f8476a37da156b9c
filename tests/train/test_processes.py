"""Training on several processes.

The same step as one process takes, checkpoints that any number goes on from.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner

from regiontalk.cli.main import app
from regiontalk.train.processes import ALONE, launched_count, launched_processes

WORKER = Path(__file__).with_name("two_processes.py")
# Frozen stages alone: a batch norm that learns sees chunks of 16 photos, which twelve do not fill.
# Dropout is each process's own chance.
TINY = (
    (Path(__file__).parents[1] / "data/tiny.toml")
    .read_text()
    .replace('"gru"', '"relu"')
    .replace("[decoding]", "dropout = 0.0\n[decoding]")
)
STAGES = """
[features]
regions = 4
[align]
batch = 6
spans = 1
optimiser = {steps = 4, checkpoint_every = 2}
[generate]
batch = 6
pairs = 1
optimiser = {steps = 2, checkpoint_every = 1}
"""


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def launch(
    arguments: Sequence[str], count: int = 2
) -> list[subprocess.CompletedProcess[str]]:
    """Start so many processes that find each other, as a launcher does; what each has left."""
    together = {
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "OMP_NUM_THREADS": "1",
    }
    together |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    started = [
        subprocess.Popen(
            [sys.executable, *arguments],
            env={**os.environ, **together, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    return [
        subprocess.CompletedProcess(process.args, process.returncode, *texts)
        for process, texts in [(process, process.communicate()) for process in started]
    ]


def test_a_step_of_two_processes_is_that_of_one(
    toy_folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("accelerate")
    results = launch([str(WORKER), str(toy_folder), str(tmp_path / "out")])
    assert [result.returncode for result in results] == [0, 0], (
        results[0].stderr + results[1].stderr
    )
    print(results[0].stdout)


def test_two_processes_train_and_one_goes_on(toy_folder: Path, tmp_path: Path) -> None:
    """The command as a launcher starts it.

    The stage that two processes began, one process finishes.
    """
    pytest.importorskip("accelerate")
    config = tmp_path / "tiny.toml"
    config.write_text(TINY + STAGES)
    arguments = ["train", "align", str(config), "--data", str(toy_folder), "--out"]
    first, second = launch(["-m", "regiontalk", *arguments, str(tmp_path / "two")])
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert first.stdout.strip() == str(tmp_path / "two" / "model")
    assert second.stdout == "" and "stage" not in second.stderr, "one process speaks"
    arguments[1] = "all"
    for name in ("two", "one"):
        result = CliRunner().invoke(app, [*arguments, str(tmp_path / name)])
        assert result.exit_code == 0, result.output
    two, one = (
        load_file(tmp_path / name / "model" / "model.safetensors")
        for name in ("two", "one")
    )
    # bfloat16 steps, weights kept in half precision: the strict comparison is that of one
    # step, above
    distance = sum(
        float((two[key].float() - one[key].float()).square().sum()) for key in one
    )
    length = sum(float(one[key].float().square().sum()) for key in one)
    assert (distance / length) ** 0.5 < 1e-2


def test_accelerate_launch_is_killed_and_one_process_goes_on(
    toy_folder: Path, tmp_path: Path
) -> None:
    """The command of docs/scale.md itself.

    All that it started dies in the second stage, after a checkpoint.
    """
    pytest.importorskip("accelerate")
    import psutil  # which Accelerate needs

    config, out = tmp_path / "tiny.toml", tmp_path / "out"
    # long enough to be killed before its end: every step writes
    config.write_text((TINY + STAGES).replace("{steps = 2,", "{steps = 60,"))
    arguments = ["train", "all", str(config), "--data", str(toy_folder)]
    arguments += ["--out", str(out)]
    launcher = ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launcher += ["--num_machines", "1", "--mixed_precision", "no"]
    launcher += ["--dynamo_backend", "no", "--main_process_port", str(free_port())]
    words = [sys.executable, "-m", *launcher, "-m", "regiontalk", *arguments]
    log = tmp_path / "log.txt"
    with log.open("wb") as file:
        launched = psutil.Popen(
            words,
            stdout=file,
            stderr=file,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    while not (out / "generate" / "checkpoint.safetensors").exists():
        assert launched.poll() is None, log.read_text()
        time.sleep(0.01)
    everyone = [launched, *launched.children(recursive=True)]
    for process in everyone:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(everyone)
    assert not (out / "model").exists()
    assert log.read_text().count("stage align: 4 steps") == 1, "one process speaks"
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    lines = (out / "log.txt").read_text()
    assert lines.count("step 4/4") == 1, "a finished stage is only loaded"
    assert lines.count("step 1/60") == 1 and lines.count("step 60/60") == 1
    assert load_file(out / "model" / "model.safetensors")


def test_one_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert launched_count() == 1 and launched_processes("cpu") is ALONE


def test_a_launcher_without_accelerate(
    toy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    arguments = [
        "train",
        "all",
        "toy",
        "--data",
        str(toy_folder),
        "--out",
        str(tmp_path / "out"),
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2, result.output
    assert result.stderr.strip() == (
        "regiontalk: launched as 2 processes, which need accelerate: pip install "
        "'regiontalk[scale]'"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["train", "vectors", "text.txt"], id="vectors"),
        pytest.param(["train", "."], id="your own photos"),
    ],
)
def test_what_one_process_does_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2 and "expected one process, got 2" in result.stderr, (
        result.output
    )
