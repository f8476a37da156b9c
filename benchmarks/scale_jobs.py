"""What the benchmarks of ``regiontalk scale caption`` share.

Photos, the command, and its processes. Photos are copies of real ones that differ by a
pixel, and one file that is no photo. A job runs as a user starts it, in a process of
its own; psutil sees the driver, Ray's processes and the workers.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path

import psutil
from PIL import Image

COMMAND = "from regiontalk.cli.main import app; app()"
SECONDS = 2.0  # between samples of memory
ACTOR = "ray::MapWorker"  # a process with the model
# a process for tasks, here those that read; between two of them it is idle
READER = ("ray::IDLE", "ray::MapBatches", "ray::ReadParquet")
TASK = "ray::"  # any process that Ray started for work, an actor too

Sample = dict[str, float]


def make_photos(real: Sequence[str], count: int, folder: Path) -> None:
    """JPEG copies of real photos, each with another first pixel, and one file that is no photo."""
    if folder.exists():
        return  # an earlier run made them
    partial = folder.with_name(f".{folder.name}")
    partial.mkdir(parents=True)
    (partial / "broken.jpg").write_bytes(b"\xff\xd8 no photo")
    for number, source in zip(range(count - 1), cycle(real), strict=False):
        with Image.open(source) as opened:
            image = opened.convert("RGB")
        round_number = number // len(real)  # copies of one photo differ in this alone
        image.putpixel((0, 0), (round_number * 40 % 256, round_number * 90 % 256, 128))
        image.save(partial / f"{number:06}.jpg", quality=95)
    partial.rename(folder)


def command(
    photos: Path, output: Path, workers: int, options: Sequence[str]
) -> list[str]:
    """The command of a job."""
    words = [
        "scale",
        "caption",
        str(photos),
        "--output",
        str(output),
        "--workers",
        str(workers),
    ]
    return [sys.executable, "-c", COMMAND, *words, *options]


def parts(output: Path) -> frozenset[str]:
    """The names of the files that count."""
    return frozenset(path.name for path in output.glob("part-*"))


def processes(pid: int, title: str = "") -> Iterator[psutil.Process]:
    """The processes below one whose title begins with a text.

    Those that have just ended are left out.
    """
    try:
        below = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return
    for process in below:
        if title_of(process).startswith(title):
            yield process


def title_of(process: psutil.Process) -> str:
    """The title of a process; empty where it has ended."""
    try:
        return " ".join(process.cmdline()).strip()
    except psutil.Error:
        return ""


def resident_mb(process: psutil.Process) -> float:
    """Memory of a process without what it shares, in MB; 0 where it has ended."""
    try:
        memory = process.memory_info()
    except psutil.Error:
        return 0.0
    return float(memory.rss - memory.shared) / 1e6


def cpu_seconds(process: psutil.Process) -> float:
    """Processor time of a process; 0 where it has ended."""
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def cpu_by_group(pid: int) -> Sample:
    """Processor time until now.

    Of a job's driver, of the processes that caption, of all others of Ray's.
    """
    sums = {"captioning_cpu_s": 0.0, "readers_cpu_s": 0.0, "ray_cpu_s": 0.0}
    for process in processes(pid):
        title = title_of(process)
        if title.startswith(ACTOR):
            group = "captioning_cpu_s"
        else:
            group = "readers_cpu_s" if title.startswith(READER) else "ray_cpu_s"
        sums[group] += cpu_seconds(process)
    driver = cpu_seconds(psutil.Process(pid)) if psutil.pid_exists(pid) else 0.0
    return {"driver_cpu_s": driver, **sums}


def sample(pid: int, output: Path, start: float) -> Sample:
    """Seconds since ``start``, parts that count, memory and processor time.

    Of a job's driver and its workers.
    """
    actors = [resident_mb(process) for process in processes(pid, ACTOR)]
    tasks = [resident_mb(process) for process in processes(pid, TASK)]
    everything = [resident_mb(process) for process in processes(pid)]
    return {
        "seconds": time.perf_counter() - start,
        "parts": len(parts(output)),
        "driver_mb": resident_mb(psutil.Process(pid))
        if psutil.pid_exists(pid)
        else 0.0,
        "largest_captioning_worker_mb": max(actors, default=0.0),
        "largest_worker_mb": max(tasks, default=0.0),
        "ray_and_workers_mb": sum(everything),
        **cpu_by_group(pid),
    }
