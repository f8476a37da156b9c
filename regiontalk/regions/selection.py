"""Which of the thousands of boxes of a proposal head are taken for regions.

On numpy arrays, for training and use.
"""

from __future__ import annotations

import numpy as np

from regiontalk import boxes as box_ops
from regiontalk.records import FloatArray

_MIN_SIDE = 6.0  # network pixels; thinner boxes are dropped
_CANDIDATES = 400  # boxes that suppression looks at, at least


def select_regions(
    objectness: FloatArray,
    boxes_xyxy: FloatArray,
    count: int,
    *,
    size: int,
    nms_iou: float,
) -> tuple[FloatArray, FloatArray]:
    """The whole image and the ``count`` best proposals of each of B images.

    Args:
        objectness: (B, A) logits.
        boxes_xyxy: (B, A, 4) network pixels.
        count: boxes wanted beside the whole image, which fills the places that are left.
        size: image side in network pixels, where boxes are cut.
        nms_iou: IoU above which the weaker of two boxes falls behind.

    Returns:
        boxes (B, 1 + count, 4), row 0 the whole image, and their objectness (B, 1 + count) in
        0..1, in the order of choice; the score of a filled place is 0.
    """
    images = len(objectness)
    whole_image = np.array([0, 0, size, size], dtype=np.float32)
    boxes = np.tile(whole_image, (images, 1 + count, 1))
    scores = np.zeros((images, 1 + count), dtype=np.float32)
    scores[:, 0] = 1.0
    for image, (logits, candidates) in enumerate(
        zip(objectness, boxes_xyxy, strict=True)
    ):
        best, quality = select_best(
            logits, candidates, count, size=size, nms_iou=nms_iou
        )
        rows = slice(1, 1 + len(best))
        boxes[image, rows] = best
        scores[image, rows] = quality
    return boxes, scores


def select_best(
    objectness: FloatArray,
    boxes_xyxy: FloatArray,
    count: int,
    *,
    size: int,
    nms_iou: float,
) -> tuple[FloatArray, FloatArray]:
    """The best proposals of one image by soft suppression.

    At most ``count`` boxes and their objectness.
    """
    # ten candidates a place: with fewer, one large thing that fills the image leaves no others
    max_candidates = min(max(_CANDIDATES, 10 * count), len(objectness))
    top = np.argpartition(-objectness, max_candidates - 1)[:max_candidates]
    by_score = np.argsort(-objectness[top], kind="stable")
    top = top[by_score]
    candidates = box_ops.clip(boxes_xyxy[top], (size, size))
    scores = 1 / (1 + np.exp(-objectness[top]))
    sides_wh = candidates[:, 2:] - candidates[:, :2]
    is_large = sides_wh.min(axis=1) >= _MIN_SIDE
    candidates, scores = candidates[is_large], scores[is_large]
    chosen = box_ops.soft_non_maximum_suppression(candidates, scores, nms_iou, count)
    return candidates[chosen], np.asarray(scores[chosen], dtype=np.float32)
