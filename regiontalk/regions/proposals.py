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

# Anchor sides in network pixels for a 224-pixel picture, two a level; scaled with the picture.
_SIDES = ((14, 26), (44, 76), (120, 180))
_RATIOS = (0.5, 1.0, 2.0)  # height over width
_LARGEST_STEP = math.log(8.0)  # keeps exp() of a wild prediction finite


def anchor_boxes(size: int) -> Tensor:
    """All anchors (A, 4) xyxy of a square picture of ``size`` pixels, level by level, cell by cell."""
    levels = []
    for stride, sides in zip(STRIDES, _SIDES, strict=True):
        cells = math.ceil(size / stride)
        centre = (torch.arange(cells, dtype=torch.float32) + 0.5) * stride
        shapes = [(side / ratio**0.5, side * ratio**0.5) for side in sides for ratio in _RATIOS]
        half = torch.tensor(shapes) * (size / 224 / 2)  # (A/cell, 2)
        y, x = torch.meshgrid(centre, centre, indexing="ij")
        middle = torch.stack([x, y], -1).reshape(-1, 1, 2)
        levels.append(torch.cat([middle - half, middle + half], -1).reshape(-1, 4))
    return torch.cat(levels)


class ProposalHead(nn.Module):
    """Feature pyramid and shared head."""

    def __init__(self, channels: tuple[int, ...], *, size: int, width: int = 96) -> None:
        """Build for maps of ``channels`` at strides 8, 16, 32 of a ``size``-pixel picture."""
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

    @property
    def anchors(self) -> Tensor:
        """`anchor_boxes` (A, 4) where the weights are."""
        return anchor_boxes(self.size).to(self.output.weight.device)

    def forward(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Objectness logits (B, A) and boxes (B, A, 4) in network pixels of maps at strides 8, 16, 32."""
        above: Tensor | None = None
        levels = []
        for level in (2, 1, 0):
            here = self.lateral[level](maps[level])
            if above is not None:
                here = here + functional.interpolate(above, size=here.shape[-2:], mode="nearest")
            above = here
            levels.append(self.tower(functional.relu(self.smooth[level](here))))
        rows = [
            self.output(level).permute(0, 2, 3, 1).reshape(level.shape[0], -1, 5)
            for level in reversed(levels)
        ]
        flat = torch.cat(rows, 1).float()
        return flat[..., 0], decode_boxes(self.anchors, flat[..., 1:])


def decode_boxes(anchors: Tensor, steps: Tensor) -> Tensor:
    """Boxes (B, A, 4): anchors (A, 4) moved by steps (B, A, 4) = shift of the centre in sides, log of the growth."""
    side = anchors[:, 2:] - anchors[:, :2]
    middle = (anchors[:, 2:] + anchors[:, :2]) / 2 + steps[..., :2] * side
    half = side * steps[..., 2:].clamp(-_LARGEST_STEP, _LARGEST_STEP).exp() / 2
    return torch.cat([middle - half, middle + half], -1)


def proposal_loss(
    objectness: Tensor, boxes_xyxy: Tensor, anchors: Tensor, truth_xyxy: Tensor, truth_mask: Tensor
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
    from torchvision.ops import generalized_box_iou_loss  # here: using a model needs no torchvision

    overlap = pairwise_iou(anchors, truth_xyxy.flatten(0, 1)).view(len(anchors), *truth_mask.shape)
    overlap = overlap.permute(1, 0, 2).masked_fill(~truth_mask[:, None], -1.0)  # (B, A, G)
    best, owner = overlap.max(2)  # (B, A)
    positive, ignored = best >= 0.5, (best >= 0.4) & (best < 0.5)
    champion = overlap.argmax(1)  # (B, G): the anchor nearest to each true box
    batch, column = truth_mask.nonzero(as_tuple=True)
    positive[batch, champion[batch, column]] = True
    owner[batch, champion[batch, column]] = column
    rows, places = positive.nonzero(as_tuple=True)
    predicted, wanted = boxes_xyxy[rows, places], truth_xyxy[rows, owner[rows, places]]
    count = max(1, len(rows))
    quality = torch.zeros_like(objectness)
    quality[rows, places] = _paired_iou(predicted.detach(), wanted)
    entropy = functional.binary_cross_entropy_with_logits(objectness, quality, reduction="none")
    focus = (objectness.detach().sigmoid() - quality).abs().square()
    kept = (positive | ~ignored) & truth_mask.any(1)[:, None]
    box = generalized_box_iou_loss(predicted, wanted, reduction="sum") / count
    return {"objectness": (entropy * focus * kept).sum() / count, "box": box}


def _paired_iou(first_xyxy: Tensor, second_xyxy: Tensor) -> Tensor:
    """IoU (P,) of box p of the one with box p of the other."""
    low = torch.maximum(first_xyxy[:, :2], second_xyxy[:, :2])
    high = torch.minimum(first_xyxy[:, 2:], second_xyxy[:, 2:])
    shared = (high - low).clamp(min=0).prod(1)
    total = (first_xyxy[:, 2:] - first_xyxy[:, :2]).prod(1) + (
        second_xyxy[:, 2:] - second_xyxy[:, :2]
    ).prod(1)
    return shared / (total - shared).clamp(min=1e-6)


def pairwise_iou(first_xyxy: Tensor, second_xyxy: Tensor) -> Tensor:
    """IoU (N, M) of every box of (N, 4) with every box of (M, 4): `boxes.iou`, where the tensors are."""
    low = torch.maximum(first_xyxy[:, None, :2], second_xyxy[:, :2])  # (N, M, 2)
    high = torch.minimum(first_xyxy[:, None, 2:], second_xyxy[:, 2:])
    shared = (high - low).clamp(min=0).prod(2)
    first, second = (
        (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        for boxes in (first_xyxy, second_xyxy)
    )
    return shared / (first[:, None] + second - shared)
