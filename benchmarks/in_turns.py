"""How much faster this version is than another checkout: one photo, and a library.

    git worktree add ../before 263ce03
    python benchmarks/in_turns.py ../before --photos DATA/flickr8k/images --rounds 20
    python benchmarks/in_turns.py ../before --photos DATA/coco/val2017 --library 64 --rounds 6

A process of each version holds the model, and both work in turns, so that they see the
same machine; medians, the first quarter left out. One photo: a turn is ten photos, each
captioned by itself and, where there are so many, once; in shorter turns a version finds
the cores as the other has left them. A library: a turn adds photos of 24 megapixels
without captions to a new one. Both versions run with this Python; the one before may
need torch.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from index_add import SIZE, camera_photos

HERE = Path(__file__).resolve().parents[1]
CAPTION = """
def work(paths):
    captioner.caption(paths[0])
"""
ADD = """
import tempfile
from regiontalk.index.library import PhotoIndex

def work(paths):
    with tempfile.TemporaryDirectory() as folder:
        library = PhotoIndex.open_or_create(f"{folder}/photos", captioner)
        assert library.add(captioner, paths, captions=0).added == len(paths)
"""
TURNS = """
import json, sys, time
from regiontalk import RegionCaptioner
captioner = RegionCaptioner.from_pretrained("mini")
for line in sys.stdin:
    paths, begun, used = json.loads(line), time.perf_counter(), time.process_time()
    work(paths)
    print(time.perf_counter() - begun, time.process_time() - used, flush=True)
"""


class Worker:
    """A version that does its work when it is told to."""

    def __init__(self, tree: Path, work: str) -> None:
        """Start it; ``work`` is Python that defines ``work(paths)``."""
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", work + TURNS],
            env={**os.environ, "PYTHONPATH": str(tree)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def milliseconds(self, paths: Sequence[str]) -> list[float]:
        """Of a photo, by the clock and of a processor."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{json.dumps(paths)}\n")
        self._process.stdin.flush()
        seconds = map(float, self._process.stdout.readline().split())
        return [1000 * value / len(paths) for value in seconds]

    def stop(self) -> None:
        """End it."""
        self._process.terminate()


def in_turns(
    workers: Sequence[Worker], turns: Sequence[Sequence[Sequence[str]]]
) -> list[tuple[float, float]]:
    """Milliseconds of a photo in each version, by the clock and of a processor; medians.

    Args:
        workers: the versions.
        turns: of each turn its works, of each work the photos.
    """
    milliseconds: list[list[list[float]]] = [[] for _ in workers]
    for number, turn in enumerate(turns):
        for worker, measured in zip(workers, milliseconds, strict=True):
            passed = [worker.milliseconds(paths) for paths in turn]
            if number >= len(turns) // 4:
                measured += passed
    medians = []
    for measured in milliseconds:
        clock, processor = zip(*measured, strict=True)
        medians.append((statistics.median(clock), statistics.median(processor)))
    return medians


def caption_turns(paths: Sequence[str], rounds: int) -> list[list[list[str]]]:
    """Turns of ten photos, drawn from all of a folder."""
    chosen = random.Random(0).sample(paths, min(len(paths), 10 * rounds))
    photos = itertools.islice(itertools.cycle(chosen), 10 * rounds)
    each = [[path] for path in photos]
    return [each[first : first + 10] for first in range(0, len(each), 10)]


def library_turns(
    paths: Sequence[str], count: int, rounds: int, folder: Path
) -> list[list[list[str]]]:
    """Turns that add the same large photos."""
    large = camera_photos(list(paths), count, folder)
    size = statistics.mean(path.stat().st_size for path in large) / 1e6
    print(f"{count} photos of {SIZE[0]} x {SIZE[1]}, {size:.1f} MB each")
    return [[[str(path) for path in large]]] * rounds


def main() -> None:
    """Print milliseconds of both versions, and the ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", type=Path, help="a checkout of another version")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--library", type=int, default=0, metavar="PHOTOS")
    arguments = parser.parse_args()
    paths = sorted(map(str, arguments.photos.resolve().glob("*.jpg")))
    rounds, count = arguments.rounds, arguments.library
    with tempfile.TemporaryDirectory() as folder:
        if count:
            turns, work = library_turns(paths, count, rounds, Path(folder)), ADD
        else:
            turns, work = caption_turns(paths, rounds), CAPTION
        trees = [arguments.before.resolve(), HERE]
        workers = [Worker(tree, work) for tree in trees]
        before, now = in_turns(workers, turns)
        for worker in workers:
            worker.stop()
    report(before, now)


def report(before: Sequence[float], now: Sequence[float]) -> None:
    """Print the milliseconds of both versions and their ratio."""
    for unit, old, new in zip(("ms", "ms of a processor"), before, now, strict=True):
        print(f"before {old:.1f}, now {new:.1f} {unit} a photo: {old / new:.2f} times")


if __name__ == "__main__":
    main()
