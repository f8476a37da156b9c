"""Photos added to a library in an hour, from 24-megapixel JPEGs, with all captions and without.

    python benchmarks/index_add.py --source DATA/coco/val2017 --photos 32 --json index_add.json

Real photos (the full-resolution COCO ones) are enlarged to 6000x4000 and saved as a camera would,
about 8 MB each. The time is that of `PhotoIndex.add` alone: reading, hashing, decoding, the model,
and the commits; the model is loaded before, and warmed up with one photo.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from regiontalk import RegionCaptioner
from regiontalk.cli.photos import find_photos
from regiontalk.evaluate.suite import write_json
from regiontalk.index.library import PhotoIndex

SIZE = (6000, 4000)


def camera_photos(sources: list[str], count: int, folder: Path) -> list[Path]:
    """So many different JPEGs of 24 megapixels.

    With the grain that makes a camera's files large.
    """
    chance, paths = np.random.default_rng(0), []
    for number in range(count):
        with Image.open(sources[number % len(sources)]) as image:
            large = image.convert("RGB").resize(SIZE, Image.Resampling.BICUBIC)
        grain = chance.integers(-6, 7, (SIZE[1], SIZE[0], 1), dtype=np.int16)
        pixels = (
            (np.asarray(large, dtype=np.int16) + grain).clip(0, 255).astype(np.uint8)
        )
        path = folder / f"{number}.jpg"
        Image.fromarray(pixels).save(path, quality=92)
        paths.append(path)
    return paths


def main() -> None:
    """Make the photos, add them twice, print and write."""
    arguments = parse_arguments()
    captioner = RegionCaptioner.from_pretrained(arguments.model)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        paths = camera_photos(
            list(find_photos([arguments.source]).paths), arguments.photos + 1, folder
        )
        report_values = {
            "photos": arguments.photos,
            "pixels": SIZE[0] * SIZE[1],
            "mean_bytes": round(
                sum(path.stat().st_size for path in paths) / len(paths)
            ),
            "threads": torch.get_num_threads(),
        }
        for name, captions in (("with captions", None), ("without captions", 0)):
            library = PhotoIndex.open_or_create(folder / name, captioner)
            seconds = time_adding(library, captioner, paths, captions)
            report_values[f"photos an hour, {name}"] = round(
                arguments.photos / seconds * 3600
            )
    print(json.dumps(report_values, indent=2))
    if arguments.json:
        write_json(arguments.json, report_values)


def time_adding(
    library: PhotoIndex,
    captioner: RegionCaptioner,
    paths: list[Path],
    captions: int | None,
) -> float:
    """Seconds for all photos but the first, which warms up."""
    library.add(captioner, paths[:1], captions=captions)
    start = time.perf_counter()
    report = library.add(captioner, paths[1:], captions=captions)
    seconds = time.perf_counter() - start
    if report.added != len(paths) - 1:
        raise ValueError(f"expected {len(paths) - 1} photos added, got {report}")
    return seconds


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", required=True, help="folder of photos to enlarge")
    parser.add_argument("--photos", type=int, default=32)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
