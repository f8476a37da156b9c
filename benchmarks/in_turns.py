"""How much faster this version is than another checkout: one photo, and a library.

    git worktree add ../before 263ce03
    python benchmarks/in_turns.py ../before --photos DATA/coco_more/dev --rounds 50
    python benchmarks/in_turns.py ../before --photos DATA/coco/val2017 --library 64 --rounds 6

A process of each version holds the model, and both work in turns, so that they see the
same machine; medians, the first quarter left out. One photo: each is captioned once
where there are as many as rounds. A library: each version adds photos of 24 megapixels
without captions to a new one. Both versions run with this Python; the one before may
need torch.
"""

from __future__ import annotations

import argparse
import json
import os
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


def in_turns(
    work: str, trees: Sequence[Path], inputs: Sequence[Sequence[str]]
) -> list[tuple[float, float]]:
    """Milliseconds of a photo in each version, by the clock and of a processor; medians.

    Args:
        work: Python that defines ``work(paths)``.
        trees: checkouts.
        inputs: of each round the photos.
    """
    processes = [
        subprocess.Popen(
            [sys.executable, "-P", "-c", work + TURNS],
            env={**os.environ, "PYTHONPATH": str(tree)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for tree in trees
    ]
    seconds: list[list[list[float]]] = [[] for _ in trees]
    for paths in inputs:
        for process, times in zip(processes, seconds, strict=True):
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(f"{json.dumps(paths)}\n")
            process.stdin.flush()
            passed = map(float, process.stdout.readline().split())
            times.append([1000 * value / len(paths) for value in passed])
    for process in processes:
        process.terminate()
    medians = []
    for times in seconds:
        clock, processor = zip(*times[-(-len(inputs) // 4) :], strict=True)
        medians.append((statistics.median(clock), statistics.median(processor)))
    return medians


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
    paths = sorted(map(str, arguments.photos.resolve().glob("*.jpg")))
    with tempfile.TemporaryDirectory() as folder:
        if arguments.library:
            large = camera_photos(paths, arguments.library, Path(folder))
            size = statistics.mean(path.stat().st_size for path in large) / 1e6
            print(f"{len(large)} photos of {SIZE[0]} x {SIZE[1]}, {size:.1f} MB each")
            inputs, work = [[str(path) for path in large]] * arguments.rounds, ADD
        else:
            inputs = [[paths[row % len(paths)]] for row in range(arguments.rounds)]
            work = CAPTION
        before, now = in_turns(work, trees, inputs)
    for unit, old, new in zip(("ms", "ms of a processor"), before, now, strict=True):
        print(f"before {old:.1f}, now {new:.1f} {unit} a photo: {old / new:.2f} times")


if __name__ == "__main__":
    main()
