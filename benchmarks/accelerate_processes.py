"""One recipe on one process and on several with the same global batch.

Loss curves, differences, kills.

    python benchmarks/accelerate_processes.py --photos 256 --steps 20 --plot curves.png

The toy world (coloured shapes drawn by code) is trained by a recipe (toy) with ``--steps`` steps a
stage: by one process, by ``--processes``, and by as many that are all killed (SIGKILL) once a stage
has left its first checkpoint, after which one process goes on. Every loss that was logged is
printed side by side, then retrieval on scenes that no run has seen, and the greatest difference of
losses and of final weights from the run on one process. The processes stay on this machine's
processor and speak through gloo.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from regiontalk.datasets.toy import make_scenes, write_scenes
from regiontalk.train.recipe import bundled_recipes

STAGE = re.compile(r"stage (\w+): \d+ steps")
STEP = re.compile(r"step (\d+)/\d+ (.*) \|")
STEPS = re.compile(r"^steps = \d+", re.MULTILINE)
DEV_PHOTOS = 64
EVERY = re.compile(r"^checkpoint_every = \d+", re.MULTILINE)

Curves = dict[tuple[str, int, str], float]
"""A loss by stage, step and term."""


PROGRAM = """
import sys
import regiontalk.train.run
from regiontalk.cli.main import app
regiontalk.train.run.export_runtime = lambda folder: []  # graphs take longer than this training
app(sys.argv[1:])
"""


def command(processes: int, program: Path, arguments: Sequence[str]) -> list[str]:
    """The command line that runs a program on so many processes."""
    if processes == 1:
        return [sys.executable, str(program), *arguments]
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    launcher += [
        "--master-port",
        "0",
        "--rdzv-backend",
        "c10d",
        "--rdzv-endpoint",
        "127.0.0.1:0",
    ]
    return [sys.executable, *launcher, str(program), *arguments]


def start(words: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a training; what it says goes to a file."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with log.open("ab") as file:
        return subprocess.Popen(words, stdout=file, stderr=file, env=environment)


def finish(words: Sequence[str], log: Path) -> None:
    """Train to the end."""
    if start(words, log).wait():
        sys.exit(f"training failed:\n{log.read_text()[-3000:]}")


def kill_after(checkpoint: Path, words: Sequence[str], log: Path) -> None:
    """Train until a checkpoint stands, then kill every process at once."""
    launched = start(words, log)
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
    return [
        *children,
        *(below for child in children for below in processes_below(child)),
    ]


def curves(log: Path) -> Curves:
    """The losses that a run logged; what a killed run logged twice counts once."""
    losses: Curves = {}
    stage = ""
    for line in log.read_text(encoding="utf-8").splitlines():
        if match := STAGE.search(line):
            stage = match[1]
        elif match := STEP.search(line):
            names_and_values = match[2].split()
            for name, value in zip(
                names_and_values[::2], names_and_values[1::2], strict=True
            ):
                losses[stage, int(match[1]), name] = float(value)
    return losses


def furthest(one: Path, other: Path) -> tuple[float, float]:
    """The greatest difference of two models' weights.

    And their distance relative to the first's length.
    """
    first, second = (
        load_file(folder / "model" / "model.safetensors") for folder in (one, other)
    )
    differences = {
        name: (second[name].double() - value.double()) for name, value in first.items()
    }
    greatest = max(float(difference.abs().max()) for difference in differences.values())
    distance = sum(
        float(difference.square().sum()) for difference in differences.values()
    )
    length = sum(float(value.double().square().sum()) for value in first.values())
    return greatest, (distance / length) ** 0.5


RUNS = ("one", "several", "killed")
FIGURES = ("R@1", "R@5", "R@10")
COLUMNS = 4  # of the plot


@dataclass(frozen=True)
class Bench:
    """A training that is run again and again.

    Attributes:
        folder: where everything lies.
        processes: how many train together.
    """

    folder: Path
    processes: int

    @property
    def data(self) -> Path:
        """The scenes of the toy world."""
        return self.folder / "data"

    def run(self, name: str) -> Path:
        """The folder of one training."""
        return self.folder / name

    def log(self, name: str) -> Path:
        """What a training said, all of its processes together."""
        return self.folder / f"{name}.log"

    def command(self, name: str, processes: int) -> list[str]:
        """The command line of a training."""
        recipe = str(self.folder / "recipe.toml")
        options = [
            "--data",
            str(self.data),
            "--threads",
            "1",
            "--out",
            str(self.run(name)),
        ]
        return command(processes, self.program, ["train", "all", recipe, *options])

    @property
    def program(self) -> Path:
        """``regiontalk`` without graphs."""
        return self.folder / "program.py"

    def prepare(self, recipe: str, photos: int, steps: int) -> None:
        """Draw the scenes, and write the recipe with other numbers of steps."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.program.write_text(PROGRAM, encoding="utf-8")
        if not self.data.exists():
            scenes = {
                "train": make_scenes(photos, 1, max_shapes=3),
                "dev": make_scenes(DEV_PHOTOS, 2, max_shapes=3),
            }
            write_scenes(scenes, self.data)
        source = bundled_recipes().get(recipe) or Path(recipe)
        text = STEPS.sub(f"steps = {steps}", source.read_text(encoding="utf-8"))
        text = EVERY.sub(f"checkpoint_every = {max(1, steps // 4)}", text)
        (self.folder / "recipe.toml").write_text(text, encoding="utf-8")

    def train(self, name: str, processes: int) -> None:
        """Train to the end, from a checkpoint where there is one."""
        start = time.perf_counter()
        finish(self.command(name, processes), self.log(name))
        print(f"{name}: trained in {time.perf_counter() - start:.0f} s", flush=True)

    def kill(self, name: str, stage: str) -> None:
        """Train until a stage has left its first checkpoint, and kill every process."""
        checkpoint = self.run(name) / stage / "checkpoint.safetensors"
        kill_after(checkpoint, self.command(name, self.processes), self.log(name))
        print(
            f"{name}: {self.processes} processes killed with -9 in {stage}", flush=True
        )

    def recall(self, name: str) -> dict[str, float]:
        """Retrieval figures of a trained model on the dev scenes, in per cent."""
        target = self.folder / f"{name}.json"
        model = ["--model", str(self.run(name) / "model")]
        arguments = ["evaluate", "retrieval", *model, "--data", str(self.data)]
        words = command(1, self.program, [*arguments, "--json", str(target)])
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        (result,) = json.loads(target.read_text(encoding="utf-8"))["results"]
        return {
            f"{direction}, {figure}": float(values["value"])
            for direction, figures in result["figures"].items()
            for figure, values in figures.items()
            if figure in FIGURES
        }


def report(bench: Bench) -> dict[str, Any]:
    """Print and return the curves, the figures, and the differences from the run on one process."""
    losses = {name: curves(bench.run(name) / "log.txt") for name in RUNS}
    rows = side_by_side(losses)
    figures = {name: bench.recall(name) for name in RUNS}
    differences = {name: difference(bench, losses, name) for name in RUNS[1:]}
    print(json.dumps({"figures": figures, "differences": differences}, indent=2))
    return {"curves": rows, "figures": figures, "differences": differences}


def side_by_side(losses: dict[str, Curves]) -> list[dict[str, Any]]:
    """Print and return every loss of the run on one process beside those of the others."""
    print(
        f"{'stage':9} {'step':>5} {'term':12} "
        + " ".join(f"{name:>9}" for name in RUNS)
    )
    rows: list[dict[str, Any]] = []
    for stage, step, term in losses["one"]:
        values = {name: losses[name].get((stage, step, term)) for name in RUNS}
        rows.append({"stage": stage, "step": step, "term": term, **values})
        texts = ["-" if value is None else f"{value:.3f}" for value in values.values()]
        print(
            f"{stage:9} {step:5} {term:12} " + " ".join(f"{text:>9}" for text in texts)
        )
    return rows


def difference(bench: Bench, losses: dict[str, Curves], name: str) -> dict[str, float]:
    """How far a run is from that on one process: its losses and its weights."""
    common = losses["one"].keys() & losses[name].keys()
    greatest, relative = furthest(bench.run("one"), bench.run(name))
    return {
        "losses": max(abs(losses["one"][key] - losses[name][key]) for key in common),
        "weights": greatest,
        "weights relative to their length": relative,
    }


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """The loss of each stage over its steps, a curve for each run."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    terms = list(dict.fromkeys((row["stage"], row["term"]) for row in rows))
    lines = -(-len(terms) // COLUMNS)
    figure, axes = pyplot.subplots(
        lines, COLUMNS, figsize=(10, 2.3 * lines), layout="constrained", squeeze=False
    )
    for axis, (stage, term) in zip(axes.flat, terms, strict=False):
        curve = [row for row in rows if (row["stage"], row["term"]) == (stage, term)]
        for name, style in zip(RUNS, ("-", "--", ":"), strict=True):
            axis.plot(
                [row["step"] for row in curve], [row[name] for row in curve], style
            )
        axis.set(title=f"{stage}: {term}", xlabel="step")
    figure.legend(
        ["1 process", "2 processes", "2, killed, then 1"],
        loc="outside lower center",
        ncols=3,
    )
    figure.savefig(path, dpi=120)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument(
        "--recipe", default="toy", help="a bundled recipe's name or a TOML file"
    )
    parser.add_argument(
        "--photos", type=int, default=256, help="scenes of the toy world"
    )
    parser.add_argument("--steps", type=int, default=20, help="of each stage")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--kill-in", default="align", help="the stage in which all are killed"
    )
    parser.add_argument(
        "--out", type=Path, help="keeps the runs; a temporary folder if unset"
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    return parser.parse_args()


def main() -> None:
    """Train, kill, go on, compare."""
    options = parse_arguments()
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(options.out or Path(temporary), options.processes)
        bench.prepare(options.recipe, options.photos, options.steps)
        bench.train("one", 1)
        bench.train("several", options.processes)
        bench.kill("killed", options.kill_in)
        bench.train("killed", 1)
        values = report(bench)
    if options.json:
        options.json.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    if options.plot:
        plot(values["curves"], options.plot)


if __name__ == "__main__":
    main()
