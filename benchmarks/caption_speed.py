"""How long one photo takes, once a model is loaded: decoding the file, ten regions and the photo, and the drawing.

    python benchmarks/caption_speed.py --model mini --json out/caption_speed.json

A JPEG of 640x480 pixels is captioned with the model's own search; in every round the backbone alone
runs as well, so that the ratio does not depend on what else the machine does. Wall clock and
processor time (of all threads) in milliseconds. A model without training writes captions of full
length; ``--words 8`` cuts them to a usual length.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from PIL import Image

from regiontalk import ImageResult, RegionCaptioner, draw, open_image
from regiontalk.files import write_whole
from regiontalk.runtime.torch_engine import TorchPredictor

SHARED = Path(__file__).resolve().parents[2] / "shared/data/coco/val2017"
SIZE = (640, 480)
PARTS = ("caption", "draw", "whole", "backbone")


def main() -> None:
    """Print the table and write it as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument(
        "--rounds", type=int, default=30, help="20 or more for figures that are quoted"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--regions", type=int, default=10)
    parser.add_argument("--words", type=int, help="longest caption; the model's own if unset")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    captioner = RegionCaptioner.from_pretrained(arguments.model)
    if arguments.words is not None:
        config = captioner.config
        decoding = config.decoding.model_copy(update={"max_words": arguments.words})
        captioner.config = config.model_copy(update={"decoding": decoding})
    with tempfile.TemporaryDirectory() as folder:
        times, result = measure(
            captioner, save_photo(Path(folder)), arguments.regions, arguments.rounds
        )
    found = {
        "model": captioner.config.name,
        "threads": arguments.threads,
        "regions": arguments.regions,
    }
    found |= {"rounds": arguments.rounds, "words": words(result), "load": os.getloadavg()[0]}
    found |= {"machine": platform.processor() or platform.machine(), "torch": torch.__version__}
    found["milliseconds"] = {name: summary(rounds) for name, rounds in times.items()}
    ratios = [whole / alone for whole, alone in zip(times["whole"], times["backbone"], strict=True)]
    found["whole / backbone"] = {"median": statistics.median(ratios), "p90": p90(ratios)}
    show(found)
    if arguments.json is not None:
        write_whole(
            arguments.json, lambda path: path.write_text(json.dumps(found, indent=2) + "\n")
        )


def save_photo(folder: Path) -> Path:
    """A photo of 640x480 as a JPEG file: of COCO where it is at hand, else the astronaut of scikit-image."""
    if SHARED.is_dir():
        picture = open_image(sorted(SHARED.glob("*.jpg"))[0])
    else:
        from skimage import data

        picture = Image.fromarray(data.astronaut())
    path = folder / "photo.jpg"
    picture.resize(SIZE).save(path, quality=90)
    return path


def measure(
    captioner: RegionCaptioner, photo: Path, regions: int, rounds: int
) -> tuple[dict[str, list[float]], ImageResult]:
    """Milliseconds of every round, after two that do not count, and what was said."""
    opened = open_image(photo)
    pixels = captioner.preprocessing.to_tensor(opened)[None]
    pixels = pixels.to(captioner.device).contiguous(memory_format=torch.channels_last)
    result = captioner.caption(photo, regions=regions)
    steps: dict[str, Callable[[], Any]] = {
        "caption": lambda: captioner.caption(photo, regions=regions),
        "draw": lambda: draw(open_image(photo), result),
        "backbone": lambda: cast(TorchPredictor, captioner.predictor).model.extractor.backbone(
            pixels
        ),
    }
    times: dict[str, list[float]] = {
        name: [] for kind in ("", " cpu") for name in (part + kind for part in PARTS)
    }
    with torch.inference_mode():
        for number in range(rounds + 2):
            took = {name: clock(step) for name, step in steps.items()}
            took["whole"] = (
                took["caption"][0] + took["draw"][0],
                took["caption"][1] + took["draw"][1],
            )
            if number >= 2:
                for name, (wall, processor) in took.items():
                    times[name].append(wall)
                    times[name + " cpu"].append(processor)
    return times, result


def clock(step: Callable[[], Any]) -> tuple[float, float]:
    """Wall clock and processor time of one run, in milliseconds."""
    wall, processor = time.perf_counter(), time.process_time()
    step()
    return 1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - processor)


def words(result: ImageResult) -> float:
    """Mean length of the captions that were not held back."""
    spoken = [
        item.text.split()
        for item in (result.caption, *result.regions)
        if item is not None and item.text
    ]
    return statistics.mean(len(text) for text in spoken) if spoken else 0.0


def summary(rounds: list[float]) -> dict[str, float]:
    """What is reported of the rounds."""
    return {"median": statistics.median(rounds), "p90": p90(rounds), "least": min(rounds)}


def p90(values: list[float]) -> float:
    """The value that nine of ten do not exceed."""
    return (
        statistics.quantiles(values, n=10, method="inclusive")[-1] if len(values) > 1 else values[0]
    )


def show(found: dict[str, Any]) -> None:
    """The table."""
    setting = f"{found['regions']} regions, {found['threads']} threads, {found['words']:.1f} words a caption"
    print(f"{found['model']}: {setting}")
    print(f"{'ms':14} {'median':>8} {'p90':>8} {'least':>8}")
    for name, row in found["milliseconds"].items():
        print(f"{name:14} {row['median']:8.1f} {row['p90']:8.1f} {row['least']:8.1f}")
    ratio = found["whole / backbone"]
    print(
        f"whole / backbone alone: {ratio['median']:.1f} (p90 {ratio['p90']:.1f}); load {found['load']:.1f}"
    )


if __name__ == "__main__":
    main()
