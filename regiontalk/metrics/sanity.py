"""Do boxes look as if they were read in the wrong way?

A wrong convention gives a mAP of 0.0006 and no error. Enter: for each photo its size in
pixels, the detections and the true boxes, as they came. Leave: how many detections
cannot be boxes or leave the photo, and how well the truths are covered when the same
four numbers are read otherwise: another convention (x, y, width, height; centre; rows
first) or another image size (0..1, a network's square, a scaled long side). Where
another reading covers the truths much better, the report says which.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regiontalk.boxes import iou
from regiontalk.records import FloatArray

Photo = tuple[tuple[int, int], FloatArray, FloatArray]
"""Size, detections (N, 4), true boxes (M, 4) of one photo."""

SLACK = 1.0  # pixels beyond the edge that rounding explains
PHOTOS = 300  # looked at for the readings: enough for a mean, a second of work
CLEARLY = (
    1.25,
    0.05,
)  # another reading must be better by this factor and by this much IoU
AS_GIVEN = "x1,y1,x2,y2 in pixels"


@dataclass(frozen=True)
class BoxSanity:
    """What looks wrong with a set of boxes.

    Attributes:
        detections: how many there are.
        broken: empty, inverted or not finite; they match nothing.
        outside: detections that leave their photo by more than a pixel.
        truths_outside: true boxes that do, so that the size or the truths are wrong.
        readings: way of reading the numbers to the mean best IoU of a true box, best first; empty
            without truths.
        lines: what to tell a person; empty where all is well.
    """

    detections: int
    broken: int
    outside: int
    truths_outside: int
    readings: dict[str, float]
    lines: tuple[str, ...]


def box_sanity(photos: Sequence[Photo]) -> BoxSanity:
    """Look a set of detections over.

    Args:
        photos: sizes, detections and truths, all as given.
    """
    detections = sum(len(boxes) for _, boxes, _ in photos)
    broken = sum(int((~usable_boxes(boxes)).sum()) for _, boxes, _ in photos)
    outside = sum(int(_leaves(boxes, size).sum()) for size, boxes, _ in photos)
    truths_outside = sum(int(_leaves(truths, size).sum()) for size, _, truths in photos)
    lines = []
    if broken:
        lines.append(
            f"{broken} of {detections} detections are empty, inverted or not finite; "
            "they match nothing"
        )
    if outside:
        lines.append(
            f"{outside} of {detections} detections leave their photo; is the picture size the same?"
        )
    if truths_outside:
        lines.append(
            f"{truths_outside} true boxes leave their photo; do they refer to a "
            "picture of another size?"
        )
    readings = compare_readings(photos)
    lines += _better_reading(readings)
    return BoxSanity(
        detections, broken, outside, truths_outside, readings, tuple(lines)
    )


def _better_reading(readings: dict[str, float]) -> list[str]:
    """A line that names the best reading of boxes.

    Where it is clearly better than the one that was given.
    """
    best = next(iter(readings), AS_GIVEN)
    if best == AS_GIVEN:
        return []
    as_given, as_best = readings[AS_GIVEN], readings[best]
    factor, difference = CLEARLY
    if as_best <= max(factor * as_given, difference + as_given):
        return []
    return [
        f"the detections look like {best}: mean best IoU {as_best:.2f} read so, "
        f"{as_given:.2f} as {AS_GIVEN}"
    ]


def compare_readings(photos: Sequence[Photo]) -> dict[str, float]:
    """Mean best IoU of the true boxes under each reading of the detections.

    Best first, ties as given. The size of an unknown image is taken from the largest
    coordinate seen anywhere: boxes of a network that sees 224x224 pixels end near 224
    whatever the photos measure.
    """
    used = [photo for photo in photos if len(photo[1]) and len(photo[2])][:PHOTOS]
    largest = _largest_coordinate(used)
    if largest is None:
        return {}
    totals: defaultdict[str, float] = defaultdict(float)
    for size_wh, boxes, truths in used:
        for name, reread in _readings(boxes, size_wh, largest).items():
            usable = reread[usable_boxes(reread)]
            best_ious = iou(truths, usable).max(axis=1, initial=0.0)
            totals[name] += float(best_ious.sum())
    count = sum(len(truths) for _, _, truths in used)
    means = {name: total / count for name, total in totals.items()}
    return dict(sorted(means.items(), key=lambda item: -item[1]))


def _largest_coordinate(photos: Sequence[Photo]) -> float | None:
    """Of all detections; None where no number is finite."""
    maxima = []
    for _, boxes, _ in photos:
        finite = boxes[np.isfinite(boxes)]
        if len(finite):
            maxima.append(float(finite.max()))
    return max(maxima, default=None)


def usable_boxes(boxes_xyxy: FloatArray) -> NDArray[np.bool_]:
    """Which of (N, 4) are boxes at all: finite, x1 < x2 and y1 < y2."""
    is_finite = np.isfinite(boxes_xyxy).all(axis=1)
    is_proper = (boxes_xyxy[:, :2] < boxes_xyxy[:, 2:]).all(axis=1)
    return np.asarray(is_finite & is_proper, dtype=np.bool_)


def _leaves(boxes_xyxy: FloatArray, size_wh: tuple[int, int]) -> NDArray[np.bool_]:
    """Which of (N, 4) have a corner outside the photo by more than rounding."""
    low = boxes_xyxy.min(axis=1, initial=0.0) < -SLACK
    high = (boxes_xyxy.reshape(-1, 2, 2) > np.array(size_wh) + SLACK).any(axis=(1, 2))
    return np.asarray(low | high, dtype=np.bool_)


def _readings(
    boxes: FloatArray, size_wh: tuple[int, int], largest: float
) -> dict[str, FloatArray]:
    """The same numbers (N, 4) read in every way, as x1, y1, x2, y2 in pixels of the photo."""
    readings: dict[str, FloatArray] = {}
    for scale, factor_wh in _scales(size_wh, largest).items():
        factors = np.array([*factor_wh, *factor_wh])
        for form, pixels in _forms(boxes).items():
            readings[f"{form} in {scale}"] = np.asarray(
                pixels * factors, dtype=np.float32
            )
    return readings


def _forms(boxes: FloatArray) -> dict[str, FloatArray]:
    """The same numbers (N, 4) in every convention."""
    first, second = boxes[:, :2], boxes[:, 2:]
    return {
        "x1,y1,x2,y2": boxes,
        "x,y,width,height": np.concatenate([first, first + second], axis=1),
        "centre x,y,width,height": np.concatenate(
            [first - second / 2, first + second / 2], axis=1
        ),
        "y1,x1,y2,x2": boxes[:, [1, 0, 3, 2]],
    }


def _scales(size_wh: tuple[int, int], largest: float) -> dict[str, tuple[float, float]]:
    """What takes the numbers to pixels of the photo, for every size that they may refer to."""
    width, height = size_wh
    largest = max(largest, 1e-6)
    side, square = (
        largest,
        f"pixels of a picture squashed to {largest:.0f}x{largest:.0f}",
    )
    if largest <= 1.01:
        side, square = 1.0, "shares 0..1 of the photo"
    long_side = max(size_wh) / largest
    return {
        "pixels": (1.0, 1.0),
        square: (width / side, height / side),
        f"pixels of a picture scaled to a long side of {largest:.0f}": (
            long_side,
            long_side,
        ),
    }
