"""``regiontalk index add`` killed (SIGKILL) at random moments: nothing may be lost or doubled.

    python benchmarks/index_kills.py --photos DATA/coco/val2017 --kills 20

Each round starts the command on the same folder and kills it after a random time of at most
``--seconds`` from its first commit on; then the library is opened and looked at: it must be
readable, hold no photo twice, and still hold every photo that it held before. When all photos are
in, the library is made anew. The last round runs to its end.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from regiontalk.cli.photos import find_photos
from regiontalk.index.library import PhotoIndex

COMMAND = "from regiontalk.cli.main import app; app()"


def held(folder: Path) -> list[str]:
    """The photos of the library, as often as they are there; none where it was not yet made."""
    if not any(folder.glob("photos.lance/_versions/*")):
        return []
    return sorted(PhotoIndex.open(folder).paths())


def main() -> None:
    """Kill, look, report."""
    arguments = parse_arguments()
    wanted = sorted(
        os.path.abspath(path) for path in find_photos([str(arguments.photos)]).paths
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "index"
        command = add_command(arguments.photos, folder, arguments.model)
        kill_often(command, folder, wanted, arguments)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        assert held(folder) == wanted, "the last round did not complete the library"
    print(f"{arguments.kills} kills, nothing lost and nothing doubled")


def kill_often(
    command: list[str], folder: Path, wanted: list[str], arguments: argparse.Namespace
) -> None:
    """Kill again and again, and look at the library after each; a whole one is begun anew."""
    chance = random.Random(arguments.seed)
    before: list[str] = []
    for number in range(arguments.kills):
        rebuild = ["--rebuild"] if len(before) == len(wanted) else []
        before = [] if rebuild else before
        kill_one([*command, *rebuild], folder, chance.uniform(0, arguments.seconds))
        now = held(folder)
        check_photos(before, now, wanted)
        counts = f"{len(before)} -> {len(now)} of {len(wanted)} photos"
        print(f"kill {number + 1}: {counts}", flush=True)
        before = now


def add_command(photos: Path, folder: Path, model: str) -> list[str]:
    """The words of a process that adds photos to a library in small batches."""
    options = [
        "--index",
        str(folder),
        "--model",
        model,
        "--captions",
        "1",
        "--batch",
        "2",
    ]
    return [sys.executable, "-c", COMMAND, "index", "add", str(photos), *options]


def check_photos(before: list[str], now: list[str], wanted: list[str]) -> None:
    """Fail where a library has lost a photo since the kill before, or has one twice."""
    assert len(now) == len(set(now)), "a photo stands twice"
    assert set(before) <= set(now) <= set(wanted), (
        "a photo was lost, or is none of ours"
    )


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def kill_one(command: list[str], folder: Path, delay: float) -> None:
    """Start, wait until something is written, wait a little more, kill."""
    latest = newest(folder)
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as adding:
        while newest(folder) == latest and adding.poll() is None:
            time.sleep(0.01)
        time.sleep(delay)
        adding.kill()


def newest(folder: Path) -> set[str]:
    """The versions of the library's table."""
    return {path.name for path in folder.glob("photos.lance/_versions/*")}


if __name__ == "__main__":
    main()
