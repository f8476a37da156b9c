"""Photos a second of ``regiontalk scale caption`` by number of workers, and memory while it runs.

    python benchmarks/scale_throughput.py --source DATA/coco/val2017 --photos 300 --workers 1 2

Copies of real photos that differ by a pixel are captioned once with each number of workers, one
thread each. Photos a second are counted between the first part and the last, so that the start of
Ray and of the workers, which a long job does not notice, is told apart. Memory of the driver and of
the largest worker is sampled every two seconds and plotted. The figures are those of a quiet
machine only where there is a core for each worker and one more; the load is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scale_kills import command, make_photos, name_of, processes_below, resident_mb

from regiontalk.cli.photos import find_photos
from regiontalk.scale.output import Output

SECONDS = 2.0  # between samples


def run(words: Sequence[str], output: Path, photos: int) -> dict[str, Any]:
    """A job with its samples: seconds, parts that count, MB of the driver and of the largest worker."""
    start = time.perf_counter()
    samples: list[dict[str, float]] = []
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as job:
        while job.poll() is None:
            time.sleep(SECONDS)
            workers = [pid for pid in processes_below(job.pid) if name_of(pid).startswith("ray::")]
            samples.append(
                {
                    "seconds": time.perf_counter() - start,
                    "parts": len(list(output.glob("part-*"))),
                    "driver_mb": resident_mb(job.pid),
                    "largest_worker_mb": max(map(resident_mb, workers), default=0.0),
                }
            )
    if job.returncode:
        raise RuntimeError(f"the job ended with code {job.returncode}")
    seconds = time.perf_counter() - start
    rows = sum(1 for _ in Output(str(output)).rows(["photo"]))
    if rows != photos:
        raise RuntimeError(f"{rows} rows of {photos} photos")
    return {"seconds": seconds, **steady(output, photos), "samples": samples}


def steady(output: Path, photos: int) -> dict[str, float]:
    """Photos a second from the first part to the last, by the times of their files."""
    times = sorted(path.stat().st_mtime for path in output.glob("part-*"))
    share = (len(times) - 1) / len(times)
    seconds = times[-1] - times[0]
    return {"photos_per_second": photos * share / seconds} if seconds else {}


def plot(runs: Sequence[dict[str, Any]], path: Path) -> None:
    """Memory over time, a panel for each number of workers."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        1, len(runs), figsize=(5 * len(runs), 3.5), layout="constrained", squeeze=False
    )
    for axis, values in zip(axes[0], runs, strict=True):
        seconds = [sample["seconds"] for sample in values["samples"]]
        for name in ("driver_mb", "largest_worker_mb"):
            label = name.removesuffix("_mb").replace("_", " ")
            axis.plot(seconds, [sample[name] for sample in values["samples"]], label=label)
        axis.set(title=f"{values['workers']} workers", xlabel="seconds", ylabel="MB", ylim=0)
        axis.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Run, print, write and plot."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", required=True, help="folder of real photos")
    parser.add_argument("--photos", type=int, default=300)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--batch", default="16")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    options = ["--model", arguments.model, "--batch", arguments.batch]
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_photos(find_photos([arguments.source]).paths, arguments.photos, folder / "photos")
        for workers in arguments.workers:
            output = folder / f"by {workers}"
            words = command(folder / "photos", output, workers, options)
            load = os.getloadavg()[0]
            values = run(words, output, arguments.photos)
            runs.append({"workers": workers, "load before": load, **values})
            figures = {name: value for name, value in runs[-1].items() if name != "samples"}
            last = values["samples"][-len(values["samples"]) // 2 :]
            for name in ("driver_mb", "largest_worker_mb"):
                figures[f"most {name} in the second half"] = max(row[name] for row in last)
                figures[f"most {name}"] = max(row[name] for row in values["samples"])
            print(json.dumps(figures), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(runs, indent=2) + "\n")
    if arguments.plot:
        plot(runs, arguments.plot)


if __name__ == "__main__":
    main()
