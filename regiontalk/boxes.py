"""The only box arithmetic of the package, pixels, xyxy, on numpy arrays.

The same figures as torchvision.ops.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


def rescale(
    boxes_xyxy: FloatArray, from_wh: tuple[float, float], to_wh: tuple[float, float]
) -> FloatArray:
    """Boxes of an image of size ``from_wh`` in pixels of the same image stored at ``to_wh``.

    >>> rescale(np.array([[10, 10, 20, 40]], dtype=np.float32), (100, 200), (50, 50)).tolist()
    [[5.0, 2.5, 10.0, 10.0]]
    """
    scale_x = to_wh[0] / from_wh[0]
    scale_y = to_wh[1] / from_wh[1]
    scale = np.array([scale_x, scale_y, scale_x, scale_y], dtype=np.float32)
    return boxes_xyxy.astype(np.float32) * scale


def from_xywh(bbox: Any) -> tuple[float, float, float, float]:
    """The corners of a box x, y, width, height, which is COCO's convention.

    >>> from_xywh([10, 20, 100, 10])
    (10.0, 20.0, 110.0, 30.0)

    Raises:
        TypeError, ValueError: it is not four numbers.
    """
    x, y, width, height = (float(value) for value in bbox)
    return x, y, x + width, y + height


def clip(boxes_xyxy: FloatArray, size_wh: tuple[float, float]) -> FloatArray:
    """Boxes (N, 4) cut at the image's edges."""
    limits = np.array([*size_wh, *size_wh], dtype=np.float32)
    return boxes_xyxy.clip(0, limits)


def area(boxes_xyxy: FloatArray) -> FloatArray:
    """Areas (N,) in square pixels."""
    widths = boxes_xyxy[:, 2] - boxes_xyxy[:, 0]
    heights = boxes_xyxy[:, 3] - boxes_xyxy[:, 1]
    return np.asarray(widths * heights, dtype=np.float32)


def iou(first_xyxy: FloatArray, second_xyxy: FloatArray) -> FloatArray:
    """Intersection over union of every pair: (N, 4) and (M, 4) to (N, M).

    >>> left = np.array([[0, 0, 10, 10]], dtype=np.float32)
    >>> right = np.array([[5, 0, 15, 10]], dtype=np.float32)
    >>> iou(left, right).round(3).tolist()
    [[0.3330000042915344]]
    """
    shared = intersection(first_xyxy, second_xyxy)
    total = area(first_xyxy)[:, None] + area(second_xyxy)
    return np.asarray(shared / (total - shared))


def intersection(first_xyxy: FloatArray, second_xyxy: FloatArray) -> FloatArray:
    """Area that every pair shares in square pixels: (N, 4) and (M, 4) to (N, M)."""
    first_sides = first_xyxy.T[:, :, None]  # (4, N, 1)
    second_sides = second_xyxy.T[:, None]  # (4, 1, M)
    return np.asarray(shared_area(first_sides, second_sides), dtype=np.float32)


def shared_area(first_sides: NDArray[Any], second_sides: NDArray[Any]) -> NDArray[Any]:
    """Area that boxes share, from their x1, y1, x2 and y2 (4, ...), which broadcast.

    In the arrays' own dtype.
    """
    first_x1, first_y1, first_x2, first_y2 = first_sides
    second_x1, second_y1, second_x2, second_y2 = second_sides
    widths = np.minimum(first_x2, second_x2) - np.maximum(first_x1, second_x1)
    heights = np.minimum(first_y2, second_y2) - np.maximum(first_y1, second_y1)
    return np.asarray(widths.clip(0) * heights.clip(0))


def shared_of_smaller(first_xyxy: FloatArray, second_xyxy: FloatArray) -> FloatArray:
    """How much of the smaller box lies in the other, for every pair: (N, 4) and (M, 4) to (N, M).

    >>> inner = np.array([[2, 2, 4, 4]], dtype=np.float32)
    >>> outer = np.array([[0, 0, 10, 10]], dtype=np.float32)
    >>> shared_of_smaller(inner, outer).tolist()
    [[1.0]]
    """
    shared = intersection(first_xyxy, second_xyxy)
    smaller = np.minimum(area(first_xyxy)[:, None], area(second_xyxy))
    return np.asarray(shared / smaller, dtype=np.float32)


def union_box(boxes_xyxy: FloatArray) -> FloatArray:
    """The smallest box (4,) around all of (N, 4): the "merged box" of Flickr30k Entities."""
    top_left = boxes_xyxy[:, :2].min(axis=0)
    bottom_right = boxes_xyxy[:, 2:].max(axis=0)
    return np.concatenate([top_left, bottom_right])


def non_maximum_suppression(
    boxes_xyxy: FloatArray,
    scores: FloatArray,
    nms_iou: float,
    max_count: int | None = None,
) -> NDArray[np.int64]:
    """Greedy choice: the best box stays, those over ``nms_iou`` with it go.

    And so on with what is left.

    Args:
        boxes_xyxy: (N, 4).
        scores: (N,); of equals the first row is the better.
        nms_iou: IoU above which the weaker of two boxes goes.
        max_count: stop when so many are chosen; None chooses to the end.

    Returns:
        Row numbers of the chosen boxes (at most ``max_count``,) int64, by falling score.
    """
    order = np.argsort(-scores, kind="stable")
    ordered_boxes = np.asarray(boxes_xyxy[order], dtype=np.float32)
    sides = ordered_boxes.T.copy()  # (4, N): each side in one run of memory
    areas = area(ordered_boxes)
    remaining = np.arange(len(order))
    chosen: list[int] = []
    while len(remaining) and (max_count is None or len(chosen) < max_count):
        best, remaining = remaining[0], remaining[1:]
        chosen.append(int(best))
        shared = shared_area(sides[:, best], sides[:, remaining])
        overlaps = shared / (areas[best] + areas[remaining] - shared)
        # float64, or 0.6 would be rounded up to the nearest float32 before the comparison
        remaining = remaining[overlaps <= np.float64(nms_iou)]
    return order[np.array(chosen, dtype=np.int64)]


def soft_non_maximum_suppression(
    boxes_xyxy: FloatArray, scores: FloatArray, threshold: float, max_count: int
) -> NDArray[np.int64]:
    """Greedy choice in which what overlaps a chosen box is not dropped but falls behind.

    Linear Soft-NMS (Bodla et al., ICCV 2017, eq. 3): the score of a box that overlaps
    the chosen one by more than ``threshold`` is multiplied by 1 - IoU. So the first
    boxes are as different as after strict suppression, and many boxes still find things
    that stand close together.

    Args:
        boxes_xyxy: (N, 4).
        scores: (N,) at least 0; of equals the first row is the better.
        threshold: IoU.
        max_count: choose at most so many.

    Returns:
        Row numbers (at most ``max_count``,) int64, in the order of choice.

    >>> boxes = np.array([[0, 0, 9, 9], [0, 0, 9, 8], [20, 0, 29, 9]], dtype=np.float32)
    >>> soft_non_maximum_suppression(boxes, np.array([0.9, 0.8, 0.3]), 0.4, 3).tolist()
    [0, 2, 1]
    """
    x1, y1, x2, y2 = np.asarray(boxes_xyxy, dtype=np.float32).T.copy()
    areas = (x2 - x1) * (y2 - y1)
    remaining = np.array(scores, dtype=np.float64)
    chosen = np.zeros(min(max_count, len(remaining)), dtype=np.int64)
    for rank in range(len(chosen)):
        best = chosen[rank] = remaining.argmax()
        wide = np.minimum(x2, x2[best]) - np.maximum(x1, x1[best])
        tall = np.minimum(y2, y2[best]) - np.maximum(y1, y1[best])
        shared = wide.clip(0) * tall.clip(0)
        overlap = shared / (areas[best] + areas - shared)
        remaining *= np.where(overlap > threshold, 1 - overlap, 1.0)
        remaining[chosen[: rank + 1]] = -1.0  # below every score, 0 included
    return chosen
