"""Whether both engines say the same: captions and boxes of many photos, word for word and to the pixel.

python benchmarks/engine_parity.py --photos DATA/flickr8k/images --limit 1000 --json out/parity.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from regiontalk import ImageResult, RegionCaptioner
from regiontalk.files import write_data
from regiontalk.images.suffixes import SUFFIXES

TOGETHER = 8


def main() -> None:
    """Print the shares and write them as JSON."""
    arguments = parse_arguments()
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
        for onnx_result, torch_result in zip(
            first.caption_many(batch), second.caption_many(batch), strict=True
        ):
            mine, theirs = (captions_by_box(result) for result in (onnx_result, torch_result))
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
        write_data(arguments.json, text.encode())


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, required=True, help="a folder")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def captions_by_box(
    result: ImageResult,
) -> dict[tuple[int, ...], tuple[str | None, tuple[float, float, float, float]]]:
    """The captions of a result by where they are, to the nearest two pixels; the whole photo among them."""
    captions = [*([] if result.caption is None else [result.caption]), *result.regions]
    by_box = {}
    for caption in captions:
        rounded = tuple(round(value / 2) for value in caption.box)
        by_box[rounded] = (caption.text, caption.box)
    return by_box


if __name__ == "__main__":
    main()
