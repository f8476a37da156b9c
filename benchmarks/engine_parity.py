"""Whether both engines say the same.

Captions and boxes of many photos, word for word and to the pixel. python
benchmarks/engine_parity.py --photos DATA/flickr8k/images --limit 1000 --json
out/parity.json
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regiontalk import ImageResult, RegionCaptioner
from regiontalk.files import write_data
from regiontalk.images.suffixes import SUFFIXES

TOGETHER = 8


def main() -> None:
    """Print the shares and write them as JSON."""
    arguments = parse_arguments()
    paths = spread_photos(arguments.photos, arguments.limit)
    onnx = RegionCaptioner.from_pretrained(arguments.model, engine="onnx")
    torch = RegionCaptioner.from_pretrained(arguments.model, engine="torch")
    tally = Tally()
    for start in range(0, len(paths), TOGETHER):
        batch = [str(path) for path in paths[start : start + TOGETHER]]
        results = zip(onnx.caption_many(batch), torch.caption_many(batch), strict=True)
        for onnx_result, torch_result in results:
            tally.add(captions_by_box(onnx_result), captions_by_box(torch_result))
    report = {
        "photos": len(paths),
        "captions": tally.captions,
        "found by both": tally.regions / tally.captions,
        "word for word": tally.same_words / tally.captions,
        "boxes within 0.5 pixels": tally.same_boxes / tally.captions,
        "largest distance": tally.largest,
    }
    print(json.dumps(report, indent=2))
    if arguments.json is not None:
        text = json.dumps(report, indent=2) + "\n"
        write_data(arguments.json, text.encode())


def spread_photos(folder: Path, limit: int) -> list[Path]:
    """At most so many photos, spread over the folder, whose order may follow its sources."""
    paths = sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES
    )
    stride = max(1, len(paths) // limit)
    return paths[::stride][:limit]


Box = tuple[float, float, float, float]
ByBox = dict[tuple[int, ...], tuple[str | None, Box]]
"""Where a caption is, to the nearest two pixels, to its text and its box."""


@dataclass
class Tally:
    """What both engines agree on.

    Attributes:
        captions: of the first engine.
        regions: of these, at a place where the second has one.
        same_words: of these, word for word the same.
        same_boxes: of these, boxes within half a pixel.
        largest: distance of two corners, in pixels.
    """

    captions: int = 0
    regions: int = 0
    same_words: int = 0
    same_boxes: int = 0
    largest: float = 0.0

    def add(self, first: ByBox, second: ByBox) -> None:
        """Compare the captions of one photo."""
        self.captions += len(first)
        for rounded_box, (text, box) in first.items():
            if rounded_box not in second:
                continue
            second_text, second_box = second[rounded_box]
            distance = float(np.abs(np.subtract(box, second_box)).max())
            self.regions += 1
            self.same_words += text == second_text
            self.same_boxes += distance <= 0.5
            self.largest = max(self.largest, distance)


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


def captions_by_box(result: ImageResult) -> ByBox:
    """The captions of a result by where they are, to the nearest two pixels.

    The whole photo is among them.
    """
    captions = [*([] if result.caption is None else [result.caption]), *result.regions]
    by_box = {}
    for caption in captions:
        rounded = tuple(round(value / 2) for value in caption.box)
        by_box[rounded] = (caption.text, caption.box)
    return by_box


if __name__ == "__main__":
    main()
