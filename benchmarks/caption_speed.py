"""How long one photo takes on each engine, and how long and large a cold start is.

Side by side in one run.

    python benchmarks/caption_speed.py --json out/caption_speed.json --plot docs/caption_time.png

A JPEG of 640x480 pixels is decoded, captioned (ten regions and the whole) and, for the cold start,
captioned by the command line in a new process. The engines take turns, so that the ratio does not
depend on what else the machine does. Also printed: where the time of ONNX Runtime goes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from regiontalk import RegionCaptioner
from regiontalk.files import write_data

SIZE = (640, 480)
ENGINES = ("onnx", "torch")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--cold-rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--regions", type=int, default=10)
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--plot", type=Path, help="a picture of where the time of a photo goes"
    )
    return parser.parse_args()


def main() -> None:
    """Print the table and write it as JSON."""
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        photo = save_photo(Path(folder))
        report = {
            "threads": arguments.threads,
            "warm": warm(
                arguments.model,
                photo,
                arguments.threads,
                arguments.regions,
                arguments.rounds,
            ),
            "cold": cold(
                arguments.model, photo, arguments.threads, arguments.cold_rounds
            ),
            "parts": parts(
                arguments.model, photo, arguments.threads, arguments.regions
            ),
        }
    print(json.dumps(report, indent=2))
    if arguments.json is not None:
        text = json.dumps(report, indent=2) + "\n"
        write_data(arguments.json, text.encode())
    if arguments.plot is not None:
        draw_parts(report["parts"], arguments.plot)


def save_photo(folder: Path) -> Path:
    """The astronaut of scikit-image as a JPEG file of 640x480."""
    from skimage import data

    path = folder / "photo.jpg"
    Image.fromarray(data.astronaut()).resize(SIZE).save(path, quality=90)
    return path


def warm(
    model: str, photo: Path, threads: int, regions: int, rounds: int
) -> dict[str, Any]:
    """Milliseconds of a photo with a loaded model, the engines in turn, and their ratio."""
    import torch

    torch.set_num_threads(threads)
    captioners = {
        engine: RegionCaptioner.from_pretrained(model, engine=engine, threads=threads)
        for engine in ENGINES
    }
    times: dict[str, list[float]] = {engine: [] for engine in ENGINES}
    for number in range(rounds + 2):
        for engine, captioner in captioners.items():
            milliseconds = clock(lambda: captioner.caption(photo, regions=regions))  # noqa: B023
            if number >= 2:
                times[engine].append(milliseconds)
    medians = {engine: statistics.median(values) for engine, values in times.items()}
    return {**medians, "torch / onnx": medians["torch"] / medians["onnx"]}


def cold(model: str, photo: Path, threads: int, rounds: int) -> dict[str, Any]:
    """Seconds and peak megabytes of ``regiontalk caption`` in a new process, by engine."""
    report: dict[str, Any] = {}
    runs: dict[str, list[tuple[float, float]]] = {engine: [] for engine in ENGINES}
    for _ in range(rounds):
        for engine in ENGINES:
            runs[engine].append(run_command(model, photo, engine, threads))
    for engine, pairs in runs.items():
        report[engine] = {
            "seconds": statistics.median(seconds for seconds, _ in pairs),
            "peak MB": statistics.median(peak for _, peak in pairs),
        }
    return report


def run_command(
    model: str, photo: Path, engine: str, threads: int
) -> tuple[float, float]:
    """Seconds and peak megabytes of one command."""
    program = (
        "import resource, subprocess, sys, time\n"
        "started = time.perf_counter()\n"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
        "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024\n"
        "print(time.perf_counter() - started, peak)"
    )
    command = [str(Path(sys.executable).with_name("regiontalk")), "caption", str(photo)]
    command += ["--model", model, "--engine", engine, "--threads", str(threads)]
    output = subprocess.run(
        [sys.executable, "-c", program, *command],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    seconds, peak = map(float, output.split())
    return seconds, peak


def parts(model: str, photo: Path, threads: int, regions: int) -> dict[str, float]:
    """Milliseconds of the parts of one photo on ONNX Runtime: medians of 20."""
    captioner = RegionCaptioner.from_pretrained(model, engine="onnx", threads=threads)
    medians = {}
    for name, step in steps_of(captioner, photo, regions).items():
        medians[name] = statistics.median(clock(step) for _ in range(20))
    return medians


def steps_of(
    captioner: RegionCaptioner, photo: Path, regions: int
) -> dict[str, Callable[[], Any]]:
    """Each step from a file to captions as a call whose inputs are ready."""
    predictor, preprocessing = captioner.predictor, captioner.preprocessing
    opened = captioner.open(photo)
    pixels = preprocessing.to_pixels(opened.image, opened.size_wh)[None]
    features = predictor.encode_photos(pixels)
    boxes, _ = predictor.propose(
        features, max(regions, captioner.config.decoding.candidates)
    )
    captions = captioner.write(features, boxes[:, 1:])
    return {
        "file to RGB": lambda: captioner.open(photo),
        "resize": lambda: preprocessing.to_pixels(opened.image, opened.size_wh),
        "backbone and proposals": lambda: predictor.encode_photos(pixels),
        "choice of regions": lambda: predictor.propose(features, boxes.shape[1] - 1),
        "region features": lambda: predictor.region_features(features, boxes),
        "words of the photo": lambda: captioner.write(
            features, boxes[:, :1], of_photos=True
        ),
        "words of the regions": lambda: captioner.write(features, boxes[:, 1:]),
        "confidence": lambda: captioner.confidence_features(
            features, boxes[:, 1:], captions
        ),
    }


def draw_parts(milliseconds: Mapping[str, float], path: Path) -> None:
    """One bar for each part of a photo's time, in the order in which they come."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(7, 2.8), layout="constrained")
    names, values = list(milliseconds), list(milliseconds.values())
    bars = axis.barh(names, values, color="#4477aa")
    axis.bar_label(bars, fmt="%.1f", padding=3)
    axis.invert_yaxis()
    axis.margins(x=0.12)
    axis.set_xlabel(f"milliseconds of one photo; together {sum(values):.0f}")
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def clock(step: Callable[[], Any]) -> float:
    """Wall clock of one run, in milliseconds."""
    started = time.perf_counter()
    step()
    return 1e3 * (time.perf_counter() - started)


if __name__ == "__main__":
    main()
