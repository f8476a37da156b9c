"""How much faster this version is than another checkout: one photo, and a library.

    git worktree add ../before 263ce03
    python benchmarks/in_turns.py ../before --photos DATA/coco/val2017 --rounds 40
    python benchmarks/in_turns.py ../before --photos DATA/coco/val2017 --library 40

One photo: a process of each version holds the model and captions the photos in turns,
so that both see the same machine; medians, the first quarter left out. A library: each
version adds photos of 24 megapixels without captions, `--library` of them and then a
quarter as many, and the difference counts, so that no start does; two rounds. Both
versions run with this Python; the one before may need torch.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from index_add import SIZE, camera_photos

HERE = Path(__file__).resolve().parents[1]
CAPTION = """
import sys, time
from regiontalk import RegionCaptioner
captioner = RegionCaptioner.from_pretrained("mini")
for line in sys.stdin:
    begun = time.perf_counter()
    captioner.caption(line.strip())
    print(time.perf_counter() - begun, flush=True)
"""
ADD = "from regiontalk.cli.main import app; app()"


def python(tree: Path) -> dict[str, str]:
    """The environment in which a version is imported."""
    return {**os.environ, "PYTHONPATH": str(tree)}


def caption_in_turns(
    trees: Sequence[Path], photos: Sequence[Path], rounds: int
) -> list[float]:
    """Milliseconds of one photo by each version, model loaded."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-P", "-c", CAPTION],
            env=python(tree),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for tree in trees
    ]
    seconds: list[list[float]] = [[] for _ in trees]
    for number in range(rounds):
        for process, times in zip(processes, seconds, strict=True):
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(f"{photos[number % len(photos)]}\n")
            process.stdin.flush()
            times.append(float(process.stdout.readline()))
    for process in processes:
        process.terminate()
    return [1000 * statistics.median(times[rounds // 4 :]) for times in seconds]


def add(tree: Path, photos: Sequence[Path]) -> tuple[float, float]:
    """Seconds of the clock and of the processor to add photos to a new library."""
    with tempfile.TemporaryDirectory() as library:
        names = [str(path) for path in photos]
        options = ["--index", f"{library}/photos", "--captions", "0"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        begun = time.perf_counter()
        subprocess.run(
            [sys.executable, "-P", "-c", ADD, "index", "add", *names, *options],
            env=python(tree),
            check=True,
            capture_output=True,
        )
        passed = time.perf_counter() - begun
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return passed, used


def compare_libraries(
    trees: Sequence[Path], photos: Sequence[Path], count: int
) -> None:
    """Print what a photo of a library costs each version."""
    with tempfile.TemporaryDirectory() as folder:
        large = camera_photos([str(path) for path in photos], count, Path(folder))
        few = large[: count // 4]
        size = statistics.mean(path.stat().st_size for path in large) / 1e6
        print(f"{count} photos of {SIZE[0]} x {SIZE[1]}, {size:.1f} MB each")
        for tree in [*trees, *trees]:
            many_times, few_times = add(tree, large), add(tree, few)
            clock, processor = (
                1000 * (many - less) / (count - len(few))
                for many, less in zip(many_times, few_times, strict=True)
            )
            print(
                f"{tree.name}: {clock:.0f} ms a photo, {processor:.0f} of a processor"
            )


def main() -> None:
    """Print milliseconds of both versions, and the ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", type=Path, help="a checkout of another version")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--library", type=int, default=0, metavar="PHOTOS")
    arguments = parser.parse_args()
    trees = [arguments.before.resolve(), HERE]
    photos = sorted(arguments.photos.resolve().glob("*.jpg"))
    if arguments.library:
        compare_libraries(trees, photos, arguments.library)
        return
    before, now = caption_in_turns(trees, photos, arguments.rounds)
    print(f"before {before:.1f} ms, now {now:.1f} ms: {before / now:.2f} times")


if __name__ == "__main__":
    main()
