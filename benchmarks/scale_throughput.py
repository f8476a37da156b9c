"""Photos a second of ``regiontalk scale caption`` by number of workers, and memory while it runs.

    python benchmarks/scale_throughput.py --source ../shared/data/flickr8k/images --photos 20000 \
        --workers 1 2 --json scale_throughput.json --plot docs/assets/scale-memory.png

Copies of real photos that differ by a pixel are captioned once with each number of workers, one
thread each. Photos a second are counted between the first part and the last, so that the start of
Ray and of the workers, which a long job does not notice, is told apart. Memory of the driver and of
all processes below it is sampled every two seconds and plotted. Photos a second are those of a
quiet machine only where there is a core for each worker and one more; the load is printed. What a
photo costs the processor, by kind of process, hardly depends on what else the machine does. With
``--folder`` photos and outputs stay for `scale_kills.py`.
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

from scale_jobs import SECONDS, Sample, command, make_photos, sample

from regiontalk.cli.photos import find_photos
from regiontalk.scale.output import Output

CURVES = {
    "driver_mb": "driver",
    "largest_captioning_worker_mb": "largest captioning worker",
    "ray_and_workers_mb": "all below the driver",
}


def run(words: Sequence[str], output: Path, photos: int) -> dict[str, Any]:
    """A job with its samples of memory, and its throughput.

    Raises:
        RuntimeError: the job failed, or rows are missing.
    """
    start = time.perf_counter()
    samples: list[Sample] = []
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as job:
        while job.poll() is None:
            samples.append(sample(job.pid, output, start))
            time.sleep(SECONDS)
    if job.returncode:
        raise RuntimeError(f"the job ended with code {job.returncode}")
    seconds = time.perf_counter() - start
    rows = sum(1 for _ in Output(str(output)).rows(["photo"]))
    if rows != photos:
        raise RuntimeError(f"{rows} rows of {photos} photos")
    figures = {**steady(output, photos), **cpu_per_photo(samples, photos)}
    return {"seconds": seconds, **figures, "samples": samples}


def cpu_per_photo(samples: Sequence[Sample], photos: int) -> dict[str, float]:
    """Milliseconds of the processor that a photo costs each kind of process, without the start.

    Counted between the first and the last sample that saw a part more, with all workers there.
    """
    working = [
        row
        for row in samples
        if row["parts"] and row["largest_captioning_worker_mb"] > 0
    ]
    if not working or working[-1]["parts"] == working[0]["parts"]:
        return {}
    first = working[0]
    last = next(row for row in working if row["parts"] == working[-1]["parts"])
    count = photos * (last["parts"] - first["parts"]) / working[-1]["parts"]
    names = [name for name in first if name.endswith("_cpu_s")]
    return {
        f"{name.removesuffix('_s')}_ms_a_photo": 1e3
        * (last[name] - first[name])
        / count
        for name in names
    }


def steady(output: Path, photos: int) -> dict[str, float]:
    """Photos a second from the first part to the last, by the times of their files."""
    times = sorted(path.stat().st_mtime for path in output.glob("part-*"))
    share = (len(times) - 1) / len(times)
    seconds = times[-1] - times[0]
    return {"photos_per_second": photos * share / seconds} if seconds else {}


def summary(values: dict[str, Any]) -> dict[str, Any]:
    """The figures of a run with the greatest memory of its two halves in place of all samples."""
    figures = {name: value for name, value in values.items() if name != "samples"}
    samples = values["samples"]
    halves = (samples[: len(samples) // 2], samples[len(samples) // 2 :])
    for name in CURVES:
        figures[f"{name} by halves"] = [greatest(half, name) for half in halves]
    return figures


def greatest(samples: Sequence[Sample], name: str) -> int:
    """The most that a value of the samples was."""
    return round(max((row[name] for row in samples), default=0.0))


def plot(runs: Sequence[dict[str, Any]], path: Path) -> None:
    """Memory over time, a panel for each number of workers."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        1, len(runs), figsize=(5 * len(runs), 3.5), layout="constrained", squeeze=False
    )
    for axis, values in zip(axes[0], runs, strict=True):
        minutes = [row["seconds"] / 60 for row in values["samples"]]
        for name, label in CURVES.items():
            axis.plot(minutes, [row[name] for row in values["samples"]], label=label)
        title = f"{values['workers']} worker{'s' if values['workers'] > 1 else ''}"
        axis.set(
            title=f"{title}, {values['photos']:,} photos", xlabel="minutes", ylabel="MB"
        )
        axis.set_ylim(0)
        axis.legend()
    figure.savefig(path, dpi=120)


def measure(folder: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The figures of one job for each number of workers."""
    make_photos(
        find_photos([arguments.source]).paths, arguments.photos, folder / "photos"
    )
    runs: list[dict[str, Any]] = []
    for workers in arguments.workers:
        output = folder / f"by-{workers}"
        words = command(folder / "photos", output, workers, arguments.options.split())
        load = os.getloadavg()[0]
        values = run(words, output, arguments.photos)
        runs.append(
            {"workers": workers, "photos": arguments.photos, "load": load, **values}
        )
        print(json.dumps(summary(runs[-1])), flush=True)
    return runs


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", required=True, help="folder of real photos")
    parser.add_argument("--photos", type=int, default=300)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument(
        "--options", default="--batch 64 --regions 0 --beam 1", help="of scale caption"
    )
    parser.add_argument("--folder", type=Path, help="keeps photos and outputs")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    return parser.parse_args()


def main() -> None:
    """Run, print, write and plot."""
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as temporary:
        runs = measure(arguments.folder or Path(temporary), arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(runs, indent=2) + "\n")
    if arguments.plot:
        plot(runs, arguments.plot)


if __name__ == "__main__":
    main()
