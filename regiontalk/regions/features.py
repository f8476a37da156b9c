"""RoIAlign as two small matrix products.

Bilinear sampling on an axis-aligned grid is separable: a bin's mean over its sample points is
`w_y^T M w_x` with one weight vector an axis. So pooling a box needs no gather, runs as batched
matrix products in any precision, and its gradient is as fast as its value. It equals
``torchvision.ops.roi_align(aligned=True)`` for boxes inside the image.
"""

from __future__ import annotations

import torch
from torch import Tensor


def axis_weights(
    low: Tensor, high: Tensor, length: int, bins: int, samples: int = 2
) -> Tensor:
    """Weights of ``length`` cells for the ``bins`` equal parts of the intervals [low, high].

    Args:
        low: (R,) starts in cells (pixels / stride), 0 at the map's edge.
        high: (R,) ends in cells.
        length: cells along this axis.
        bins: parts of an interval.
        samples: sample points a bin.

    Returns:
        (R, bins, length), each row summing to 1.
    """
    points = bins * samples
    steps = (torch.arange(points, device=low.device, dtype=low.dtype) + 0.5) / points
    sample_points = low[:, None] + (high - low)[:, None] * steps  # (R, points)
    # a cell's value stands at its centre, hence the half (aligned=True)
    positions = (sample_points - 0.5).clamp(0, length - 1)
    cells = torch.arange(length, device=low.device, dtype=low.dtype)
    distances = (positions[..., None] - cells).abs()  # (R, points, length)
    hat = (1 - distances).clamp(min=0)
    return hat.view(-1, bins, samples, length).mean(2)


def roi_grid(feature_map: Tensor, boxes_xyxy: Tensor, stride: int, bins: int) -> Tensor:
    """Pool every box to a grid of ``bins`` x ``bins`` cells (RoIAlign).

    Args:
        feature_map: (B, F, h, w).
        boxes_xyxy: (B, N, 4) in network pixels.
        stride: network pixels a cell.
        bins: cells along a side of the result.

    Returns:
        (B, N, bins * bins, F), row by row.
    """
    batch, _, height, width = feature_map.shape
    x1, y1, x2, y2 = (boxes_xyxy.flatten(0, 1) / stride).unbind(-1)
    rows = axis_weights(y1, y2, height, bins).view(batch, -1, bins, height)
    columns = axis_weights(x1, x2, width, bins).view(batch, -1, bins, width)
    # one (bins*bins, h*w) matrix a box, so that a single product with the (h*w, F) map does the
    # pooling
    weights = rows[:, :, :, None, :, None] * columns[:, :, None, :, None, :]
    weights = weights.flatten(4, 5).flatten(1, 3)  # (B, N*bins*bins, h*w)
    cells = feature_map.flatten(2).transpose(1, 2)  # (B, h*w, F)
    pooled = weights.to(feature_map.dtype) @ cells
    return pooled.view(batch, -1, bins * bins, pooled.shape[2])


PLACE_SIZE = 8  # numbers that say where a cell stands


def roi_places(boxes_xyxy: Tensor, size: int, bins: int) -> Tensor:
    """Where in the photo the cells of `roi_grid` stand.

    Sines and cosines, as a vector of features has no place. With x in -1..1 across the
    photo, (sin, cos)(pi x / 2) and (sin, cos)(pi x), then the same of y.

    Args:
        boxes_xyxy: (B, N, 4) in network pixels.
        size: side of the photo in network pixels.
        bins: cells along a side of a box.

    Returns:
        (B, N, bins * bins, PLACE_SIZE), row by row.
    """
    steps = (
        torch.arange(bins, device=boxes_xyxy.device, dtype=torch.float32) + 0.5
    ) / bins
    low = boxes_xyxy[..., :2, None].float()
    high = boxes_xyxy[..., 2:, None].float()
    centres = (low + (high - low) * steps) / size * 2 - 1  # (B, N, 2, bins), x and y
    frequencies = centres.new_tensor([torch.pi / 2, torch.pi])
    angles = centres[..., None] * frequencies  # (B, N, 2, bins, 2)
    waves = torch.cat([angles.sin(), angles.cos()], -1)  # (B, N, 2, bins, 4)
    across, down = waves.unbind(2)
    shape = (*boxes_xyxy.shape[:2], bins, bins, 4)
    columns = across[:, :, None].expand(shape)
    rows = down[:, :, :, None].expand(shape)
    return torch.cat([columns, rows], -1).flatten(2, 3)


GEOMETRY_SIZE = 7  # numbers that say where a box stands and how large it is


def box_geometry(boxes_xyxy: Tensor, size: int) -> Tensor:
    """Corners, width and height of boxes (B, N, 4) as shares of the photo's ``size``.

    All are 1 for the whole photo. The last number tells a sentence about the photo from
    a phrase about a region that nearly fills it.

    Returns:
        (B, N, GEOMETRY_SIZE).
    """
    corners = boxes_xyxy.float() / size
    sides = corners[..., 2:] - corners[..., :2]
    is_whole = (sides == 1).all(-1, keepdim=True)
    return torch.cat([corners, sides, is_whole.to(sides.dtype)], -1)


def roi_mean(
    feature_map: Tensor, boxes_xyxy: Tensor, stride: int, bins: int = 7
) -> Tensor:
    """The mean of `roi_grid` over its cells: (B, N, F), at a fraction of its cost."""
    batch, _, height, width = feature_map.shape
    x1, y1, x2, y2 = (boxes_xyxy.flatten(0, 1) / stride).unbind(-1)
    rows = axis_weights(y1, y2, height, 1, 2 * bins)  # (B*N, 1, h)
    columns = axis_weights(x1, x2, width, 1, 2 * bins)
    weights = (rows.transpose(1, 2) * columns).reshape(batch, -1, height * width)
    cells = feature_map.flatten(2).transpose(1, 2)  # (B, h*w, F)
    return weights.to(feature_map.dtype) @ cells
