"""What ``regiontalk caption photo.jpg`` costs from nothing: processor seconds, wall clock and memory of a new process.

    python benchmarks/cold_start.py --model mini --json out/cold_start.json

Beside it stand the least that any program with torch costs, and what timm adds, which the bundled
backbone avoids (`regions/mobilenets.py`). Processor seconds are user and system time together, of
all threads; they hardly depend on what else the machine does. Memory is the largest resident set.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from regiontalk.files import write_whole

CAPTION = "from regiontalk.cli.main import app; app(['caption', {photo!r}, '--model', {model!r}])"
HELP = "from regiontalk.cli.main import app; app(['--help'])"


def main() -> None:
    """Print the table and write it as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument("--photo", help="a made-up picture of 640x480 if unset")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photo = arguments.photo or str(Path(folder) / "photo.png")
        if arguments.photo is None:
            Image.radial_gradient("L").resize((640, 480)).save(photo)
        caption = CAPTION.format(photo=photo, model=arguments.model)
        programs = {
            "--help": HELP,
            "import torch": "import torch",
            "import timm": "import timm",
            "caption": caption,
        }
        found = {name: measure(program, arguments.rounds) for name, program in programs.items()}
    print(f"{'':14} {'cpu s':>7} {'wall s':>7} {'MB':>6}")
    for name, row in found.items():
        print(f"{name:14} {row['cpu']:7.2f} {row['wall']:7.2f} {row['megabytes']:6.0f}")
    if arguments.json is not None:
        document = {
            "model": arguments.model,
            "rounds": arguments.rounds,
            "load": os.getloadavg()[0],
            "programs": found,
        }
        write_whole(
            arguments.json, lambda path: path.write_text(json.dumps(document, indent=2) + "\n")
        )


def measure(program: str, rounds: int) -> dict[str, float]:
    """Medians over rounds, after one that fills the file cache."""
    rows = [run(program) for _ in range(rounds + 1)][1:]
    return {
        name: statistics.median(row[name] for row in rows) for name in ("cpu", "wall", "megabytes")
    }


def run(program: str) -> dict[str, float]:
    """One new process.

    Raises:
        RuntimeError: it failed; with what it said.
    """
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None  # it was asked for
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError(f"{program}: failed; it said: {said.strip()}")
    return {
        "wall": time.perf_counter() - begin,
        "cpu": usage.ru_utime + usage.ru_stime,
        "megabytes": peak(usage),
    }


def peak(usage: resource.struct_rusage) -> float:
    """The largest resident set in megabytes; the kernel counts in kilobytes, on macOS in bytes."""
    return usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


if __name__ == "__main__":
    main()
