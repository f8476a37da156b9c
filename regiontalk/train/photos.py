"""Training pictures in memory, and their augmentation: random crop, flip and colour, boxes moved with them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional

from regiontalk.images.open import ImageError, open_image
from regiontalk.images.preprocessing import Preprocessing
from regiontalk.records import Example


class AugmentConfig(BaseModel):
    """How training pictures are changed at random."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    least: float = Field(
        0.6, gt=0, le=1, description="smallest side of a crop, as a share of the picture's"
    )
    flip: float = Field(
        0.5, ge=0, le=1, description="share of mirrored pictures; 0 where words say left and right"
    )
    colour: float = Field(
        0.3, ge=0, le=1, description="largest relative change of brightness, contrast, saturation"
    )
    hue: float = Field(
        0.0, ge=0, le=0.5, description="largest turn of the hue, as a share of the colour circle"
    )
    turn: float = Field(0.0, ge=0, le=45, description="largest rotation either way, in degrees")


AUGMENT: Final = AugmentConfig()


class PictureStore:
    """Pictures of a data set as uint8 (M, 3, S, S), decoded once; 6,000 of 224 pixels take 0.9 GB."""

    def __init__(self, examples: Sequence[Example], preprocessing: Preprocessing) -> None:
        """Decode every photo; one that cannot be read stays grey and its name stands in ``broken``."""
        size = preprocessing.size
        self.pixels = torch.full((len(examples), 3, size, size), 127, dtype=torch.uint8)
        self.broken: list[str] = []
        self._mean = torch.tensor(preprocessing.mean).view(3, 1, 1) * 255
        self._std = torch.tensor(preprocessing.std).view(3, 1, 1) * 255
        for row, example in enumerate(examples):
            try:
                self.pixels[row] = self._read(example.photo, preprocessing)
            except ImageError as error:
                self.broken.append(str(error))

    def _read(self, path: Path, preprocessing: Preprocessing) -> Tensor:
        """One picture (3, S, S) in 0..255, by the same road as in use."""
        pixels = torch.from_numpy(preprocessing.to_pixels(open_image(path)))
        return (pixels * self._std + self._mean).round().clamp(0, 255).to(torch.uint8)

    def batch(self, rows: Sequence[int] | Tensor) -> Tensor:
        """Normalised float pixels (B, 3, S, S) of the rows."""
        return self.normalise(self.pixels[torch.as_tensor(rows)].float())

    def normalise(self, pixels: Tensor) -> Tensor:
        """Values in 0..255 to network input."""
        return (pixels - self._mean) / self._std


def augment(
    pixels: Tensor, boxes_xyxy: Tensor, mask: Tensor, config: AugmentConfig = AUGMENT
) -> tuple[Tensor, Tensor, Tensor]:
    """A random crop, rotation, flip and change of colour for each picture.

    Args:
        pixels: (B, 3, S, S) in 0..255.
        boxes_xyxy: (B, G, 4) network pixels, padded.
        mask: (B, G), True = a box.
        config: how much.

    Returns:
        pixels, boxes and mask; a box that loses more than 60 % of its area to the crop is masked
        out. In a rotated picture a box is what encloses the rotated one; what comes in from outside
        repeats the picture's edge.
    """
    batch, _, size, _ = pixels.shape
    side = config.least + (1 - config.least) * torch.rand(batch, 2)
    start = torch.rand(batch, 2) * (1 - side)  # in shares of the picture
    flip = torch.where(torch.rand(batch) < config.flip, -1.0, 1.0)
    theta = torch.zeros(batch, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = side[:, 0] * flip, side[:, 1]
    theta[:, :, 2] = 2 * start + side - 1  # centre of the crop in -1..1
    if config.turn:  # nothing is drawn for what is off, so that other settings keep their numbers
        angle = math.radians(config.turn) * (2 * torch.rand(batch) - 1)
        cos, sin = angle.cos(), angle.sin()
        theta[:, :, :2] = torch.stack([cos, -sin, sin, cos], -1).view(-1, 2, 2) @ theta[:, :, :2]
    grid = functional.affine_grid(theta, [batch, 3, size, size], align_corners=False)
    out = functional.grid_sample(
        pixels, grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    moved = (boxes_xyxy / size - start.repeat(1, 2)[:, None]) / side.repeat(1, 2)[:, None] * size
    x1, y1, x2, y2 = moved.unbind(-1)
    turned = torch.where(
        flip[:, None, None] < 0, torch.stack([size - x2, y1, size - x1, y2], -1), moved
    )
    if config.turn:
        turned = _enclosing(boxes_xyxy, theta, size)
    cut = turned.clamp(0, size)
    area = (turned[..., 2:] - turned[..., :2]).prod(-1)
    seen = (cut[..., 2:] - cut[..., :2]).prod(-1)
    kept = mask & (seen >= 0.4 * area) & ((cut[..., 2:] - cut[..., :2]).min(-1).values >= 4)
    out = _turn_hue(out, config.hue) if config.hue else out
    return _recolour(out, config.colour), cut, kept


def _enclosing(boxes_xyxy: Tensor, theta: Tensor, size: int) -> Tensor:
    """Where boxes (B, G, 4) go when a picture is sampled at theta (B, 2, 3): the boxes around their moved corners."""
    corners = (
        boxes_xyxy[..., [0, 1, 2, 1, 2, 3, 0, 3]].reshape(*boxes_xyxy.shape[:2], 4, 2) / size * 2
        - 1
    )
    # theta leads from the new picture to the old one, so its inverse moves a corner
    back = torch.linalg.inv(theta[:, :, :2]).transpose(1, 2)
    moved = ((corners - theta[:, None, None, :, 2]) @ back[:, None] + 1) / 2 * size
    return torch.cat([moved.amin(2), moved.amax(2)], -1)


def _recolour(pixels: Tensor, most: float) -> Tensor:
    """Brightness, contrast and saturation of (B, 3, S, S) in 0..255, each changed by up to ``most``."""
    bright, contrast, saturate = (1 + most * (2 * torch.rand(3, len(pixels), 1, 1, 1) - 1)).unbind(
        0
    )
    pixels = pixels * bright
    middle = pixels.mean((1, 2, 3), keepdim=True)
    pixels = middle + (pixels - middle) * contrast
    grey = pixels.mean(1, keepdim=True)
    return (grey + (pixels - grey) * saturate).clamp(0, 255)


def _turn_hue(pixels: Tensor, most: float) -> Tensor:
    """Colours of (B, 3, S, S) in 0..255 turned about the grey axis by up to ``most`` of a whole turn."""
    angle = 2 * math.pi * most * (2 * torch.rand(len(pixels), 1, 1) - 1)
    cos, third = angle.cos(), 1 / 3
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(
        3
    )  # Rodrigues, about (1, 1, 1) / sqrt 3
    turn = cos * torch.eye(3) + angle.sin() * cross + (1 - cos) * third
    return torch.einsum("bij,bjhw->bihw", turn, pixels).clamp(0, 255)


def pad_boxes(boxes: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Boxes of several pictures as (B, G, 4) with the mask (B, G), True = a box; G is at least 1."""
    width = max(1, max((len(rows) for rows in boxes), default=0))
    padded, mask = (
        torch.zeros(len(boxes), width, 4),
        torch.zeros(len(boxes), width, dtype=torch.bool),
    )
    for row, values in enumerate(boxes):
        padded[row, : len(values)] = torch.from_numpy(values)
        mask[row, : len(values)] = True
    return padded, mask
