"""``regiontalk scale caption`` killed (SIGKILL) at random moments: the rows must be those of an undisturbed run.

    python benchmarks/scale_kills.py --photos ../shared/data/coco/val2017 --count 600 --kills 5

``--count`` photos are made of real ones, different by a pixel. One job runs undisturbed. Another is
started as often as it takes; in each of the first ``--kills`` starts, a random time after its first
part, its driver or a process of Ray (a worker, or an actor with the model) is killed. A killed
worker must not end the job. At the end both outputs are compared row for row. Memory of the driver
and of all of its processes is sampled while the undisturbed job runs.

With ``--workers 1 2`` the undisturbed job runs once for each number, and throughput is compared:
for that the machine must be quiet, and have a core more than workers.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from regiontalk.cli.photos import find_photos
from regiontalk.scale.output import Output

COMMAND = "from regiontalk.cli.main import app; app()"
SECONDS = 2.0  # between samples of memory


def make_photos(real: Sequence[str], count: int, folder: Path) -> None:
    """Copies of real photos that differ in the first pixel, and one file that is no photo."""
    folder.mkdir()
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 no photo")
    for number in range(count - 1):
        with Image.open(real[number % len(real)]) as opened:
            image = opened.convert("RGB")
        image.putpixel((0, 0), (number % 256, number // 256 % 256, number // 65536))
        image.save(folder / f"{number:06}.png", compress_level=1)


def processes_below(pid: int) -> list[int]:
    """A process and all below it (Linux)."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        parents.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    processes, waiting = [], [pid]
    while waiting:
        processes.append(waiting.pop())
        waiting += parents.get(processes[-1], [])
    return processes


def name_of(pid: int) -> str:
    """The title of a process; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def resident_mb(pid: int) -> float:
    """Memory of a process without what it shares, in MB."""
    try:
        _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0.0
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE") / 1e6


def command(photos: Path, output: Path, workers: int, options: Sequence[str]) -> list[str]:
    """The command of a job."""
    words = ["scale", "caption", str(photos), "--output", str(output), "--workers", str(workers)]
    return [sys.executable, "-c", COMMAND, *words, *options]


def run_whole(words: Sequence[str]) -> dict[str, Any]:
    """An undisturbed job: its last line, seconds, and memory of the driver and of the largest worker over time."""
    start = time.perf_counter()
    samples: list[dict[str, float]] = []
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as job:
        os.set_blocking(job.stderr.fileno(), False)  # type: ignore[union-attr]
        log = ""
        while job.poll() is None:
            time.sleep(SECONDS)
            log += job.stderr.read() or ""  # type: ignore[union-attr]
            workers = [pid for pid in processes_below(job.pid) if name_of(pid).startswith("ray::")]
            samples.append(
                {
                    "seconds": time.perf_counter() - start,
                    "driver_mb": resident_mb(job.pid),
                    "largest_worker_mb": max(map(resident_mb, workers), default=0.0),
                }
            )
        log += job.stderr.read() or ""  # type: ignore[union-attr]
    if job.returncode:
        raise RuntimeError(log)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "last line": log.splitlines()[-1], "memory": samples}


def kill_one(words: Sequence[str], output: Path, chance: random.Random, longest: float) -> str:
    """Start a job, wait for a part more and a random time, kill a process of it; what was killed."""
    there = parts(output)
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as job:
        while parts(output) == there and job.poll() is None:
            time.sleep(0.05)
        time.sleep(chance.uniform(0, longest))
        workers = [pid for pid in processes_below(job.pid) if name_of(pid).startswith("ray::Map")]
        victim = chance.choice([job.pid, *workers])
        name = "driver" if victim == job.pid else name_of(victim).strip()
        if job.poll() is not None:
            return "nothing: the job was faster"
        os.kill(victim, signal.SIGKILL)
        if victim != job.pid and job.wait() != 0:
            raise RuntimeError(f"the job did not survive that {name} was killed")
    return name


def parts(output: Path) -> frozenset[str]:
    """The files that count."""
    return frozenset(path.name for path in output.glob("part-*"))


def rows_of(output: Path) -> list[str]:
    """All rows as text, sorted."""
    return sorted(json.dumps(row, sort_keys=True) for row in Output(str(output)).rows())


def campaign(
    photos: Path, output: Path, kills: int, longest: float, options: Sequence[str]
) -> Iterator[str]:
    """Kill and start again until the job has ended; what was killed."""
    chance = random.Random(0)
    words = command(photos, output, 1, options)
    for _ in range(kills):
        yield kill_one(words, output, chance, longest)
    subprocess.run(words, check=True, stderr=subprocess.DEVNULL)


def main() -> None:
    """Run, kill, compare, print and write."""
    arguments = parse_arguments()
    options = ["--model", arguments.model, "--batch", arguments.batch]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        real = find_photos([arguments.photos]).paths
        make_photos(real, arguments.count, folder / "photos")
        runs: dict[str, Any] = {}
        for workers in arguments.workers:
            words = command(folder / "photos", folder / f"whole-{workers}", workers, options)
            runs[f"{workers} workers"] = run_whole(words)
            print(workers, "workers:", runs[f"{workers} workers"]["last line"], flush=True)
        killed = []
        for name in campaign(
            folder / "photos", folder / "killed", arguments.kills, arguments.longest, options
        ):
            killed.append(name)
            print(f"killed {name}: {len(parts(folder / 'killed'))} parts", flush=True)
        undisturbed = rows_of(folder / f"whole-{arguments.workers[0]}")
        rows = rows_of(folder / "killed")
        assert len(rows) == arguments.count, f"{len(rows)} rows of {arguments.count} photos"
        assert rows == undisturbed, "a row differs from that of the undisturbed job"
    print(f"{len(killed)} kills, {len(rows)} rows, all as in the undisturbed job")
    if arguments.json:
        values = {"photos": arguments.count, "killed": killed, "runs": runs}
        arguments.json.write_text(json.dumps(values, indent=2) + "\n")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", required=True, help="folder of real photos")
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--longest", type=float, default=20.0, help="seconds from a part to a kill")
    parser.add_argument("--workers", type=int, nargs="+", default=[1])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--batch", default="16")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
