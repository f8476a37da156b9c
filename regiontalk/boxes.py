"""The only box arithmetic of the package, pixels, xyxy; the same figures as torchvision.ops.

torchvision itself is not imported: it brings torch's compiler, which takes longer to start than a
caption to write. Every function takes and returns numpy arrays where the result meets a record, and
tensors where it meets a network; the name or the docstring says which.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from regiontalk.records import FloatArray


def rescale(
    boxes_xyxy: FloatArray, from_wh: tuple[float, float], to_wh: tuple[float, float]
) -> FloatArray:
    """Boxes of a picture of size ``from_wh`` in pixels of the same picture stored at ``to_wh``.

    >>> rescale(np.array([[10, 10, 20, 40]], dtype=np.float32), (100, 200), (50, 50)).tolist()
    [[5.0, 2.5, 10.0, 10.0]]
    """
    scale = np.array([to_wh[0] / from_wh[0], to_wh[1] / from_wh[1]] * 2, dtype=np.float32)
    return boxes_xyxy.astype(np.float32) * scale


def clip(boxes_xyxy: Tensor, size_wh: tuple[float, float]) -> Tensor:
    """Boxes (N, 4) cut at the picture's edges."""
    x, y = boxes_xyxy[:, 0::2].clamp(0, size_wh[0]), boxes_xyxy[:, 1::2].clamp(0, size_wh[1])
    return torch.stack([x, y], -1).flatten(1)


def area(boxes_xyxy: FloatArray) -> FloatArray:
    """Areas (N,) in square pixels."""
    wide = boxes_xyxy[:, 2] - boxes_xyxy[:, 0]
    return np.asarray(wide * (boxes_xyxy[:, 3] - boxes_xyxy[:, 1]), dtype=np.float32)


def iou(first_xyxy: FloatArray, second_xyxy: FloatArray) -> FloatArray:
    """Intersection over union of every pair: (N, 4) and (M, 4) to (N, M), numpy in and out.

    >>> left, right = np.array([[0, 0, 10, 10]], dtype=np.float32), np.array([[5, 0, 15, 10]], dtype=np.float32)
    >>> iou(left, right).round(3).tolist()
    [[0.3330000042915344]]
    """
    return pairwise_iou(torch.from_numpy(first_xyxy), torch.from_numpy(second_xyxy)).numpy()


def pairwise_iou(first_xyxy: Tensor, second_xyxy: Tensor) -> Tensor:
    """Intersection over union of every pair: (N, 4) and (M, 4) to (N, M), tensors in and out."""
    shared = pairwise_intersection(first_xyxy, second_xyxy)
    first, second = (
        (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        for boxes in (first_xyxy, second_xyxy)
    )
    return shared / (first[:, None] + second - shared)


def pairwise_intersection(first_xyxy: Tensor, second_xyxy: Tensor) -> Tensor:
    """Area that every pair shares in square pixels: (N, 4) and (M, 4) to (N, M), tensors in and out."""
    low = torch.maximum(first_xyxy[:, None, :2], second_xyxy[:, :2])  # (N, M, 2)
    high = torch.minimum(first_xyxy[:, None, 2:], second_xyxy[:, 2:])
    wide, tall = (high - low).clamp(min=0).unbind(2)
    return wide * tall


def shared_of_smaller(first_xyxy: FloatArray, second_xyxy: FloatArray) -> FloatArray:
    """How much of the smaller box lies in the other, for every pair: (N, 4) and (M, 4) to (N, M), numpy in and out.

    >>> inner, outer = np.array([[2, 2, 4, 4]], dtype=np.float32), np.array([[0, 0, 10, 10]], dtype=np.float32)
    >>> shared_of_smaller(inner, outer).tolist()
    [[1.0]]
    """
    corners = (torch.from_numpy(first_xyxy), torch.from_numpy(second_xyxy))
    shared = pairwise_intersection(*corners).numpy()
    return np.asarray(
        shared / np.minimum(area(first_xyxy)[:, None], area(second_xyxy)), dtype=np.float32
    )


def union_box(boxes_xyxy: FloatArray) -> FloatArray:
    """The smallest box (4,) around all of (N, 4): the "merged box" of Flickr30k Entities."""
    return np.concatenate([boxes_xyxy[:, :2].min(axis=0), boxes_xyxy[:, 2:].max(axis=0)])


def non_maximum_suppression(
    boxes_xyxy: Tensor, scores: Tensor, threshold: float, most: int | None = None
) -> Tensor:
    """Greedy choice: the best box stays, those over ``threshold`` IoU with it go, and so on with what is left.

    Args:
        boxes_xyxy: (N, 4).
        scores: (N,); of equals the first row is the better.
        threshold: IoU.
        most: stop when so many are chosen; None chooses to the end.

    Returns:
        Row numbers of the boxes kept (at most ``most``,) int64, by falling score.
    """
    order = scores.argsort(descending=True, stable=True)
    x1, y1, x2, y2 = boxes_xyxy[order].float().cpu().numpy().T.copy()
    areas = (x2 - x1) * (y2 - y1)
    left = np.arange(len(order))
    kept: list[int] = []
    while len(left) and (most is None or len(kept) < most):
        best, left = left[0], left[1:]
        kept.append(int(best))
        wide = np.minimum(x2[left], x2[best]) - np.maximum(x1[left], x1[best])
        tall = np.minimum(y2[left], y2[best]) - np.maximum(y1[left], y1[best])
        shared = wide.clip(0) * tall.clip(0)
        # float64, or 0.6 would be rounded up to the nearest float32 before the comparison
        left = left[shared / (areas[best] + areas[left] - shared) <= np.float64(threshold)]
    return order[torch.tensor(kept, dtype=torch.int64, device=order.device)]
