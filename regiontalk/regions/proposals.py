"""Our own proposals: class-agnostic boxes from the same maps that the region vectors come from.

A small feature pyramid over the backbone's three maps and one head shared by its levels. Each cell
holds A anchors; for each anchor the head gives an objectness (trained to be the IoU that its box
will have) and a box. Boxes teach it where things are, never what they are called.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from regiontalk.regions.backbones import STRIDES

# Anchor sides in network pixels for a 224-pixel image, two a level; scaled with the image.
_SIDES = ((14, 26), (44, 76), (120, 180))
_RATIOS = (0.5, 1.0, 2.0)  # height over width
_LARGEST_STEP = math.log(8.0)  # keeps exp() of a wild prediction finite


def anchor_boxes(size: int) -> Tensor:
    """All anchors (A, 4) xyxy of a square image of ``size`` pixels.

    Level by level, cell by cell.
    """
    levels = []
    for stride, sides in zip(STRIDES, _SIDES, strict=True):
        cells = math.ceil(size / stride)
        positions = (torch.arange(cells, dtype=torch.float32) + 0.5) * stride
        y, x = torch.meshgrid(positions, positions, indexing="ij")
        centres = torch.stack([x, y], -1).reshape(-1, 1, 2)  # (cells^2, 1, 2)
        shapes = [
            (side / ratio**0.5, side * ratio**0.5)
            for side in sides
            for ratio in _RATIOS
        ]
        half_wh = torch.tensor(shapes) * (size / 224 / 2)  # (A/cell, 2)
        anchors = torch.cat([centres - half_wh, centres + half_wh], -1)
        levels.append(anchors.reshape(-1, 4))
    return torch.cat(levels)


class ProposalHead(nn.Module):
    """Feature pyramid and shared head."""

    def __init__(
        self, channels: tuple[int, ...], *, size: int, width: int = 96
    ) -> None:
        """Build for maps of ``channels`` at strides 8, 16, 32 of a ``size``-pixel image."""
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(count, width, 1) for count in channels)
        self.smooth = nn.ModuleList(nn.GroupNorm(8, width) for _ in channels)
        self.tower = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(8, width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(8, width),
            nn.ReLU(),
        )
        per_cell = len(_RATIOS) * len(_SIDES[0])
        self.output = nn.Conv2d(width, per_cell * 5, 1)
        nn.init.normal_(self.output.weight, std=0.01)
        # objectness starts near the share of anchors that hold a thing, so that the first steps are
        # calm
        self.output.get_parameter("bias").data.view(per_cell, 5)[:, 0] = -4.0
        self.size = size

    def use_int8(self) -> None:
        """Let the tower multiply whole numbers, empty, in place; a file fills it."""
        # here: a head in float needs none of it
        from regiontalk.regions.int8_mobilenets import Int8Between

        for row, layer in enumerate(self.tower):
            if isinstance(layer, nn.Conv2d):
                self.tower[row] = Int8Between(layer)

    def use_float(self) -> None:
        """Undo `use_int8`, in place, for training."""
        from regiontalk.regions.int8_mobilenets import Int8Between

        for row, layer in enumerate(self.tower):
            if isinstance(layer, Int8Between):
                self.tower[row] = layer.to_conv()

    @property
    def anchors(self) -> Tensor:
        """`anchor_boxes` (A, 4) where the weights are."""
        return anchor_boxes(self.size).to(self.output.weight.device)

    def pyramid(self, maps: tuple[Tensor, ...]) -> list[Tensor]:
        """What the tower reads of maps at strides 8, 16, 32, the finest first."""
        coarser: Tensor | None = None
        levels: list[Tensor] = []
        for level in (2, 1, 0):
            features = self.lateral[level](maps[level])
            if coarser is not None:
                size = features.shape[-2:]
                features = features + functional.interpolate(
                    coarser, size=size, mode="nearest"
                )
            coarser = features
            levels.insert(0, functional.relu(self.smooth[level](features)))
        return levels

    def forward(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Objectness logits (B, A) and boxes (B, A, 4) of maps at strides 8, 16, 32.

        The boxes are in network pixels.
        """
        predictions = []
        for features in self.pyramid(maps):
            # (B, h, w, A/cell * 5)
            output = self.output(self.tower(features)).permute(0, 2, 3, 1)
            predictions.append(output.reshape(features.shape[0], -1, 5))
        flat = torch.cat(predictions, 1).float()  # (B, A, 5)
        return flat[..., 0], decode_boxes(self.anchors, flat[..., 1:])


def decode_boxes(anchors: Tensor, steps: Tensor) -> Tensor:
    """Boxes (B, A, 4): anchors (A, 4) moved by steps (B, A, 4).

    A step is the shift of the centre in sides and the log of the growth.
    """
    low, high = anchors[:, :2], anchors[:, 2:]
    anchor_wh = high - low
    shift, log_growth = steps[..., :2], steps[..., 2:]
    centres = (high + low) / 2 + shift * anchor_wh
    half_wh = anchor_wh * log_growth.clamp(-_LARGEST_STEP, _LARGEST_STEP).exp() / 2
    return torch.cat([centres - half_wh, centres + half_wh], -1)


def proposal_loss(
    objectness: Tensor,
    boxes_xyxy: Tensor,
    anchors: Tensor,
    truth_xyxy: Tensor,
    truth_mask: Tensor,
) -> dict[str, Tensor]:
    """Quality focal loss on objectness and GIoU loss on boxes.

    An anchor is positive at IoU >= 0.5 with a true box, or as the best anchor of one; negative
    under 0.4. The target of a positive objectness is the IoU that its predicted box has, so that
    ranking follows localisation. A photo in which nobody marked a box is no evidence that it shows
    nothing: it takes no part.

    Args:
        objectness: (B, A) logits.
        boxes_xyxy: (B, A, 4) predicted boxes, network pixels.
        anchors: (A, 4).
        truth_xyxy: (B, G, 4) true boxes, padded.
        truth_mask: (B, G), True = a true box.

    Returns:
        ``objectness`` and ``box`` terms, each a mean over the batch's positives.
    """
    # here: using a model needs no torchvision
    from torchvision.ops import generalized_box_iou_loss

    positive, ignored, owner = _assign_anchors(anchors, truth_xyxy, truth_mask)
    photo, anchor = positive.nonzero(as_tuple=True)  # (P,) each
    predicted = boxes_xyxy[photo, anchor]
    target = truth_xyxy[photo, owner[photo, anchor]]
    count = max(1, len(photo))
    quality = torch.zeros_like(objectness)
    quality[photo, anchor] = _paired_iou(predicted.detach(), target)
    entropy = functional.binary_cross_entropy_with_logits(
        objectness, quality, reduction="none"
    )
    focus = (objectness.detach().sigmoid() - quality).abs().square()
    has_boxes = truth_mask.any(1)[:, None]
    counted = (positive | ~ignored) & has_boxes
    box = generalized_box_iou_loss(predicted, target, reduction="sum") / count
    return {"objectness": (entropy * focus * counted).sum() / count, "box": box}


def _assign_anchors(
    anchors: Tensor, truth_xyxy: Tensor, truth_mask: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Which anchors are positive, which are ignored, and the true box of each; all (B, A)."""
    overlaps = pairwise_iou(anchors, truth_xyxy.flatten(0, 1))
    overlaps = overlaps.view(len(anchors), *truth_mask.shape).permute(1, 0, 2)
    overlaps = overlaps.masked_fill(~truth_mask[:, None], -1.0)  # (B, A, G)
    best, owner = overlaps.max(2)
    positive = best >= 0.5
    ignored = (best >= 0.4) & (best < 0.5)
    nearest_anchor = overlaps.argmax(1)  # (B, G)
    photo, column = truth_mask.nonzero(as_tuple=True)
    anchor = nearest_anchor[photo, column]
    positive[photo, anchor] = True
    owner[photo, anchor] = column
    return positive, ignored, owner


def _paired_iou(first_xyxy: Tensor, second_xyxy: Tensor) -> Tensor:
    """IoU (P,) of box p of the one with box p of the other."""
    shared = _intersection(first_xyxy, second_xyxy)
    total = _area(first_xyxy) + _area(second_xyxy)
    return shared / (total - shared).clamp(min=1e-6)


def pairwise_iou(first_xyxy: Tensor, second_xyxy: Tensor) -> Tensor:
    """IoU (N, M) of every box of (N, 4) with every box of (M, 4).

    `boxes.iou`, where the tensors are.
    """
    shared = _intersection(first_xyxy[:, None], second_xyxy)  # (N, M)
    total = _area(first_xyxy)[:, None] + _area(second_xyxy)
    return shared / (total - shared)


def _intersection(first_xyxy: Tensor, second_xyxy: Tensor) -> Tensor:
    """Area that boxes (..., 4) share with others (..., 4), which broadcast."""
    low = torch.maximum(first_xyxy[..., :2], second_xyxy[..., :2])
    high = torch.minimum(first_xyxy[..., 2:], second_xyxy[..., 2:])
    return (high - low).clamp(min=0).prod(-1)


def _area(boxes_xyxy: Tensor) -> Tensor:
    """Areas (...) of boxes (..., 4)."""
    sides_wh = boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]
    return sides_wh[..., 0] * sides_wh[..., 1]
