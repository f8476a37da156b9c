"""One recipe on one process and on several with the same global batch: loss curves, differences, kills.

    python benchmarks/accelerate_processes.py --photos 256 --steps 20

The toy world (coloured shapes drawn by code) is trained by a recipe (toy) with ``--steps`` steps a
stage: by one process, by ``--processes``, and by as many that are all killed (SIGKILL) once a stage
has left its first checkpoint, after which one process goes on. Every loss that was logged is
printed side by side, then the greatest difference of losses and of final weights from the run on
one process. The processes stay on this machine's processor and speak through gloo.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file

from regiontalk.datasets.toy import make_scenes, write_scenes
from regiontalk.train.recipe import bundled_recipes

STAGE = re.compile(r"stage (\w+): \d+ steps")
STEP = re.compile(r"step (\d+)/\d+ (.*) \|")
STEPS = re.compile(r"^steps = \d+", re.MULTILINE)
EVERY = re.compile(r"^checkpoint_every = \d+", re.MULTILINE)

Curves = dict[tuple[str, int, str], float]
"""A loss by stage, step and term."""


def command(processes: int, arguments: Sequence[str]) -> list[str]:
    """The command line that trains on so many processes."""
    module = ["-m", "regiontalk", *arguments]
    if processes == 1:
        return [sys.executable, *module]
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    launcher += ["--master-port", "0", "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0"]
    return [sys.executable, *launcher, *module]


def start(processes: int, arguments: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a training; what it says goes to a file."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with log.open("ab") as file:
        return subprocess.Popen(
            command(processes, arguments),
            stdout=file,
            stderr=file,
            env=environment,
        )


def finish(processes: int, arguments: Sequence[str], log: Path) -> None:
    """Train to the end."""
    if start(processes, arguments, log).wait():
        sys.exit(f"training failed:\n{log.read_text()[-3000:]}")


def kill_after(checkpoint: Path, processes: int, arguments: Sequence[str], log: Path) -> None:
    """Train until a checkpoint stands, then kill every process at once."""
    launched = start(processes, arguments, log)
    while not checkpoint.exists() and launched.poll() is None:
        time.sleep(0.02)
    if launched.poll() is not None:
        sys.exit(f"training ended before it was killed:\n{log.read_text()[-3000:]}")
    for pid in (launched.pid, *processes_below(launched.pid)):
        os.kill(pid, signal.SIGKILL)
    launched.wait()


def processes_below(pid: int) -> list[int]:
    """All processes that a process has started, and those that they have (Linux)."""
    tasks = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    children = [int(child) for child in tasks]
    return [*children, *(below for child in children for below in processes_below(child))]


def curves(log: Path) -> Curves:
    """The losses that a run logged; what a killed run logged twice counts once."""
    losses: Curves = {}
    stage = ""
    for line in log.read_text(encoding="utf-8").splitlines():
        if match := STAGE.search(line):
            stage = match[1]
        elif match := STEP.search(line):
            names_and_values = match[2].split()
            for name, value in zip(names_and_values[::2], names_and_values[1::2], strict=True):
                losses[stage, int(match[1]), name] = float(value)
    return losses


def furthest(one: Path, other: Path) -> tuple[float, float]:
    """The greatest difference of two models' weights, and their distance relative to the first's length."""
    first, second = (load_file(folder / "model" / "model.safetensors") for folder in (one, other))
    differences = {name: (second[name].double() - value.double()) for name, value in first.items()}
    greatest = max(float(difference.abs().max()) for difference in differences.values())
    distance = sum(float(difference.square().sum()) for difference in differences.values())
    length = sum(float(value.double().square().sum()) for value in first.values())
    return greatest, (distance / length) ** 0.5


def main() -> None:
    """Train, kill, go on, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--recipe", default="toy", help="a bundled recipe's name or a TOML file")
    parser.add_argument("--photos", type=int, default=256, help="scenes of the toy world")
    parser.add_argument("--steps", type=int, default=20, help="of each stage")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--kill-in", default="align", help="the stage in which all are killed")
    parser.add_argument("--out", type=Path, help="keeps the runs; a temporary folder if unset")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        data, config = folder / "data", folder / "recipe.toml"
        if not data.exists():
            write_scenes({"train": make_scenes(options.photos, 1, max_shapes=3)}, data)
        source = bundled_recipes().get(options.recipe) or Path(options.recipe)
        recipe = source.read_text(encoding="utf-8")
        recipe = STEPS.sub(f"steps = {options.steps}", recipe)
        every = max(1, options.steps // 4)
        config.write_text(EVERY.sub(f"checkpoint_every = {every}", recipe), encoding="utf-8")
        arguments = ["train", "all", str(config), "--data", str(data), "--threads", "1", "--out"]
        runs = {name: folder / name for name in ("one", "several", "killed")}
        finish(1, [*arguments, str(runs["one"])], folder / "one.log")
        finish(options.processes, [*arguments, str(runs["several"])], folder / "several.log")
        killed = [*arguments, str(runs["killed"])]
        checkpoint = runs["killed"] / options.kill_in / "checkpoint.safetensors"
        kill_after(checkpoint, options.processes, killed, folder / "killed.log")
        print(f"killed with -9 in {options.kill_in}; one process goes on", flush=True)
        finish(1, killed, folder / "killed.log")
        report(runs)


def report(runs: dict[str, Path]) -> None:
    """Print the curves side by side, and the differences from the run on one process."""
    losses = {name: curves(folder / "log.txt") for name, folder in runs.items()}
    print(f"{'stage':9} {'step':>5} {'term':12} " + " ".join(f"{name:>9}" for name in runs))
    for (stage, step, term), value in losses["one"].items():
        values = [losses[name].get((stage, step, term), float("nan")) for name in runs]
        print(f"{stage:9} {step:5} {term:12} " + " ".join(f"{value:9.3f}" for value in values))
    for name in ("several", "killed"):
        common = losses["one"].keys() & losses[name].keys()
        loss = max(abs(losses["one"][key] - losses[name][key]) for key in common)
        greatest, relative = furthest(runs["one"], runs[name])
        print(
            f"{name}: losses at most {loss:.3f} apart, weights at most {greatest:.2g}, "
            f"{relative:.2g} of their length"
        )


if __name__ == "__main__":
    main()
