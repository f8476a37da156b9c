"""How many frames a second a film gives.

Reading alone, watching for scene changes, and with ten regions captioned.

    python benchmarks/film_speed.py --model mini --json out/film_speed.json

The film is made of photos over which a window glides (640x360, 25 frames a second, MPEG-4). Wall
clock and processor time (of all threads); on a machine that does other work as well, the second is
the one to trust. A film keeps up with life while frames are captioned faster than they are taken:
at one a second, anything above 1.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from regiontalk import RegionCaptioner, open_image
from regiontalk.export.alt_text import distinct
from regiontalk.files import write_data
from regiontalk.video.frames import open_video
from regiontalk.video.timeline import Tracker

SHARED = Path(__file__).resolve().parents[2] / "shared/data/coco/val2017"
SIZE, RATE, SECONDS = (640, 360), 25, 4  # of the film, and of each of its photos


def main() -> None:
    """Print the table and write it as JSON."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)
    captioner = RegionCaptioner.from_pretrained(arguments.model)
    report: dict[str, Any] = {
        "model": captioner.config.name,
        **vars(arguments),
        "json": None,
    }
    report["load"] = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        film = make_film(Path(folder) / "film.mp4", arguments.photos)
        report["rows"] = [
            measured("read every frame", lambda: read(film, 0, None)),
            measured(
                "read, take one a second",
                lambda: read(film, 1, None)[:1] * (arguments.photos * SECONDS * RATE),
            ),
            measured(
                "look for scene changes",
                lambda: read(film, 0, 0.3)[:1] * (arguments.photos * SECONDS * RATE),
            ),
            measured(
                "caption",
                lambda: watch(captioner, film, arguments.frames, arguments.regions),
            ),
        ]
    show(report)
    if arguments.json is not None:
        write_data(arguments.json, (json.dumps(report, indent=2) + "\n").encode())


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument(
        "--photos", type=int, default=5, help="photos in the film, four seconds each"
    )
    parser.add_argument(
        "--frames", type=int, default=20, help="frames that are captioned"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--regions", type=int, default=10)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def make_film(path: Path, photos: int) -> str:
    """A film of photos over which a window glides."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), RATE, SIZE)
    for photo in sorted(SHARED.glob("*.jpg"))[:photos]:
        large = np.asarray(open_image(photo).resize((SIZE[0] + 100, SIZE[1] + 100)))[
            ..., ::-1
        ]
        for step in range(RATE * SECONDS):
            left = step * 100 // (RATE * SECONDS)
            writer.write(
                np.ascontiguousarray(
                    large[left : left + SIZE[1], left : left + SIZE[0]]
                )
            )
    writer.release()
    return str(path)


def read(film: str, every: float, change: float | None) -> list[float]:
    """The times of the frames taken."""
    with open_video(film) as opened:
        return [frame.time for frame in opened.frames(every, change)]


def watch(
    captioner: RegionCaptioner, film: str, most: int, regions: int
) -> list[float]:
    """Caption and join frames as the command does, as many as wanted."""
    tracker, times = Tracker(3), []
    with open_video(film) as opened:
        for frame in opened.frames(0.5):
            result = captioner.caption(frame.image, regions=regions)
            tracker.add(frame.time, result.caption, distinct(result.regions))
            times.append(frame.time)
            if len(times) == most:
                break
    return times


def measured(name: str, run: Callable[[], list[float]]) -> dict[str, Any]:
    """Frames a second of one run."""
    wall, processor = time.perf_counter(), time.process_time()
    count = len(run())
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    return {
        "what": name,
        "frames": count,
        "a second": count / wall,
        "a processor second": count / processor,
    }


def show(found: dict[str, Any]) -> None:
    """The table."""
    print(
        f"{found['model']}: {found['regions']} regions, {found['threads']} threads, "
        f"load {found['load']:.1f}"
    )
    print(f"{'frames':26} {'number':>7} {'a second':>10} {'a processor second':>20}")
    for row in found["rows"]:
        print(
            f"{row['what']:26} {row['frames']:7d} {row['a second']:10.1f} "
            f"{row['a processor second']:20.1f}"
        )


if __name__ == "__main__":
    main()
