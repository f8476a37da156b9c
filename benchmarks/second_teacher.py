r"""Names on boxes that two detectors agree on, beside those that one of them is sure of.

    python benchmarks/second_teacher.py --data DATA/coco_more DATA \
        --results DATA/coco_more/detections.json DATA/coco_more/detections_flickr8k.json \
        --detector yolox_nano.onnx --out runs/second_names.json

The first detector's results are COCO results; a recipe takes those of score 0.45 and more by
itself. Written here, in the same format, is what it leaves out and the second detector sees too
(IoU 0.5, the same class), and what the second is sure of where the first has nothing. `regiontalk
train` and `regiontalk teach-check` take the file with ``--names``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontalk import boxes as box_ops
from regiontalk.cli.progress import Meter
from regiontalk.datasets.names import (
    COCO_CATEGORIES,
    MIN_SCORE,
    NamedBox,
    boxes_of,
    read_results,
)
from regiontalk.files import write_data
from regiontalk.images.open import ImageError, open_image
from regiontalk.records import Example, FloatArray
from regiontalk.regions.detectors import YoloxDetector
from regiontalk.train.inputs import read_folders

SAME_IOU = 0.5
AGREES_FROM = 0.15  # the second detector's score where the first one sees the same
ALONE_FROM = 0.5  # where the first one sees nothing: right in 82 of 100 on dev
DETECTOR_SIDE = 416  # the photo is enlarged to it
NUMBER_OF_CLASS = {name: number for number, name in COCO_CATEGORIES.items()}


def second_opinion(
    first: Sequence[NamedBox], second: Sequence[NamedBox]
) -> list[NamedBox]:
    """What two detectors' boxes of one photo add to those that the first is sure of.

    >>> box = (0.0, 0.0, 9.0, 9.0)
    >>> dog, cat = NamedBox("dog", box, 0.4), NamedBox("cat", box, 0.9)
    >>> [each.name for each in second_opinion([dog], [dog])]
    ['dog']
    >>> [each.name for each in second_opinion([dog], [cat])]
    ['cat']
    >>> second_opinion([cat], [dog])
    []
    """
    overlap = box_ops.iou(_corners(first), _corners(second)) >= SAME_IOU  # (F, S)
    is_same = _names(first)[:, None] == _names(second)
    scores = np.array([theirs.score for theirs in second])
    is_sure = np.array([mine.score >= MIN_SCORE for mine in first], dtype=bool)
    is_confirmed = (overlap & is_same & (scores >= AGREES_FROM)).any(1)
    is_known = (overlap & (is_same | is_sure[:, None])).any(0)
    is_alone = (scores >= ALONE_FROM) & ~is_known
    confirmed = [first[row] for row in np.flatnonzero(is_confirmed & ~is_sure).tolist()]
    return confirmed + [second[row] for row in np.flatnonzero(is_alone).tolist()]


def _corners(boxes: Sequence[NamedBox]) -> FloatArray:
    return np.array([each.box for each in boxes], dtype=np.float32).reshape(-1, 4)


def _names(boxes: Sequence[NamedBox]) -> NDArray[np.str_]:
    return np.array([each.name for each in boxes], dtype=np.str_)


def detect(detector: YoloxDetector, example: Example) -> list[NamedBox]:
    """The second detector's boxes in pixels of the stored photo, which it sees in its true shape.

    Raises:
        ImageError: the photo cannot be opened.
    """
    image = open_image(example.photo)
    true_wh = np.array(example.size_wh or image.size)
    seen_wh = tuple((true_wh * DETECTOR_SIDE / true_wh.max()).round().astype(int))
    detections = detector.detect(image.resize(seen_wh))
    boxes = box_ops.rescale(
        np.array([each.box for each in detections], dtype=np.float32).reshape(-1, 4),
        seen_wh,
        image.size,
    )
    return [
        NamedBox(each.label, tuple(box), each.score)
        for each, box in zip(detections, boxes.tolist(), strict=True)
    ]


def result_rows(photo: str, boxes: Sequence[NamedBox]) -> list[dict[str, Any]]:
    """The boxes of a photo as COCO results, which a recipe takes: two opinions, or a sure one."""
    rows: list[dict[str, Any]] = []
    for named in boxes:
        x1, y1, x2, y2 = named.box
        row = {"file_name": photo, "category_id": NUMBER_OF_CLASS[named.name]}
        bbox = [round(value, 1) for value in (x1, y1, x2 - x1, y2 - y1)]
        rows.append(row | {"bbox": bbox, "score": max(named.score, MIN_SCORE)})
    return rows


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--results", type=Path, nargs="+", required=True)
    parser.add_argument("--detector", type=Path, required=True, help="YOLOX, ONNX")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    """Write the names and print how many."""
    arguments = parse_arguments()
    first_by_photo: dict[str, Sequence[NamedBox]] = {}
    for path in arguments.results:
        first_by_photo |= read_results(path, min_score=0.0)
    detector = YoloxDetector.load(arguments.detector, min_score=AGREES_FROM)
    examples = read_folders(arguments.data, print)
    rows: list[dict[str, Any]] = []
    with Meter(len(examples)) as meter:
        for example in examples:
            meter.advance()
            first = boxes_of(example, first_by_photo)
            try:
                second = detect(detector, example)
            except ImageError:
                continue
            rows += result_rows(example.photo.name, second_opinion(first, second))
    write_data(arguments.out, json.dumps(rows).encode())
    print(f"{len(rows)} names on boxes of {len(examples)} photos: {arguments.out}")


if __name__ == "__main__":
    main()
