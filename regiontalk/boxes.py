"""The only box arithmetic of the package: thin names over torchvision.ops, pixels, xyxy.

Every function takes and returns numpy arrays where the result meets a record, and tensors where it meets a network;
the name or the docstring says which.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchvision import ops

from regiontalk.records import FloatArray


def rescale(boxes_xyxy: FloatArray, from_wh: tuple[float, float], to_wh: tuple[float, float]) -> FloatArray:
    """Boxes of a picture of size ``from_wh`` in pixels of the same picture stored at ``to_wh``.

    >>> rescale(np.array([[10, 10, 20, 40]], dtype=np.float32), (100, 200), (50, 50)).tolist()
    [[5.0, 2.5, 10.0, 10.0]]
    """
    scale = np.array([to_wh[0] / from_wh[0], to_wh[1] / from_wh[1]] * 2, dtype=np.float32)
    return boxes_xyxy.astype(np.float32) * scale


def clip(boxes_xyxy: Tensor, size_wh: tuple[float, float]) -> Tensor:
    """Boxes (N, 4) cut at the picture's edges."""
    clipped: Tensor = ops.clip_boxes_to_image(boxes_xyxy, (size_wh[1], size_wh[0]))  # torchvision takes height first
    return clipped


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
    overlaps: Tensor = ops.box_iou(first_xyxy, second_xyxy)
    return overlaps


def union_box(boxes_xyxy: FloatArray) -> FloatArray:
    """The smallest box (4,) around all of (N, 4): the "merged box" of Flickr30k Entities."""
    return np.concatenate([boxes_xyxy[:, :2].min(axis=0), boxes_xyxy[:, 2:].max(axis=0)])


def non_maximum_suppression(boxes_xyxy: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Row numbers of the boxes kept, by falling score; a box over ``threshold`` IoU of a better one goes."""
    kept: Tensor = ops.nms(boxes_xyxy, scores, threshold)
    return kept
