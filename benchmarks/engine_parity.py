"""Whether both engines say the same: captions and boxes of many photos, word for word and to the pixel.

python benchmarks/engine_parity.py --photos DATA/flickr8k/images --limit 1000 --json out/parity.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from regiontalk import ImageResult, RegionCaptioner
from regiontalk.files import atomic_write
from regiontalk.images.suffixes import SUFFIXES

TOGETHER = 8


def main() -> None:
    """Print the shares and write them as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, required=True, help="a folder")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    paths = sorted(path for path in arguments.photos.rglob("*") if path.suffix.lower() in SUFFIXES)
    # spread over the folder, whose order may follow its sources
    paths = paths[:: max(1, len(paths) // arguments.limit)][: arguments.limit]
    first, second = (
        RegionCaptioner.from_pretrained(arguments.model, engine=engine)
        for engine in ("onnx", "torch")
    )
    captions = same_words = regions = same_boxes = 0
    largest = 0.0
    for start in range(0, len(paths), TOGETHER):
        batch = [str(path) for path in paths[start : start + TOGETHER]]
        for one, other in zip(first.caption_many(batch), second.caption_many(batch), strict=True):
            mine, theirs = (by_box(result) for result in (one, other))
            for key, (text, box) in mine.items():
                captions += 1
                if key not in theirs:
                    continue
                regions += 1
                same_words += text == theirs[key][0]
                distance = float(np.abs(np.subtract(box, theirs[key][1])).max())
                same_boxes += distance <= 0.5
                largest = max(largest, distance)
    report = {
        "photos": len(paths),
        "captions": captions,
        "found by both": regions / captions,
        "word for word": same_words / captions,
        "boxes within 0.5 pixels": same_boxes / captions,
        "largest distance": largest,
    }
    print(json.dumps(report, indent=2))
    if arguments.json is not None:
        text = json.dumps(report, indent=2) + "\n"
        atomic_write(arguments.json, lambda path: path.write_text(text))


def by_box(
    result: ImageResult,
) -> dict[tuple[int, ...], tuple[str | None, tuple[float, float, float, float]]]:
    """The captions of a result by where they are, to the nearest two pixels; the whole photo among them."""
    captions = [*([] if result.caption is None else [result.caption]), *result.regions]
    return {
        tuple(round(value / 2) for value in caption.box): (caption.text, caption.box)
        for caption in captions
    }


if __name__ == "__main__":
    main()
