"""Training pictures in memory, and their augmentation.

Random crop, flip and colour, boxes moved with them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator
from torch import Tensor
from torch.nn import functional

from regiontalk.deprecation import renamed_keys
from regiontalk.images.open import ImageError, open_image
from regiontalk.images.preprocessing import Preprocessing
from regiontalk.records import Example


class AugmentConfig(BaseModel):
    """How training pictures are changed at random."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_crop: float = Field(
        0.6,
        gt=0,
        le=1,
        description="smallest side of a crop, as a share of the photo's",
        serialization_alias="least",  # in fingerprints, which never change
    )
    flip: float = Field(
        0.5,
        ge=0,
        le=1,
        description="share of mirrored pictures; 0 where words say left and right",
    )
    colour: float = Field(
        0.3,
        ge=0,
        le=1,
        description="largest relative change of brightness, contrast, saturation",
    )
    hue: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="largest turn of the hue, as a share of the colour circle",
    )
    turn: float = Field(
        0.0, ge=0, le=45, description="largest rotation either way, in degrees"
    )
    jitter: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="largest shift of a taught box's sides in a frozen view, as a share of "
        "its width or height: proposals are no more exact",
    )

    @model_validator(mode="before")
    @classmethod
    def _take_old_keys(cls, values: Any, info: ValidationInfo) -> Any:
        """Read the keys of the version before."""
        return renamed_keys(values, {"least": "min_crop"}, info.context)


AUGMENT: Final = AugmentConfig()


class PictureStore:
    """Pictures of a data set as uint8 (M, 3, S, S), decoded once.

    6,000 of 224 pixels take 0.9 GB.
    """

    def __init__(
        self, examples: Sequence[Example], preprocessing: Preprocessing
    ) -> None:
        """Decode every photo.

        One that cannot be read stays grey and its name stands in ``broken``.
        """
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


class Changes(NamedTuple):
    """What was drawn for B photos; other settings draw the same numbers, as what is off draws none.

    Attributes:
        side: (B, 2) width and height of the crop, as shares of the photo's.
        start: (B, 2) its left upper corner, as shares of the photo's sides.
        flip: (B,) -1 for a mirrored photo, else 1.
        angle: (B,) radians of the rotation; None = it is off.
        hue: (B, 1, 1) radians of the turn of the hue; None = it is off.
        colour: (3, B, 1, 1, 1) factors of brightness, contrast and saturation.
    """

    side: Tensor
    start: Tensor
    flip: Tensor
    angle: Tensor | None
    hue: Tensor | None
    colour: Tensor

    def part(self, first: int, last: int) -> Changes:
        """The changes of some of the photos."""
        rows = slice(first, last)
        angle = None if self.angle is None else self.angle[rows]
        hue = None if self.hue is None else self.hue[rows]
        colour = self.colour[:, rows]
        return Changes(
            self.side[rows], self.start[rows], self.flip[rows], angle, hue, colour
        )


def draw_changes(photos: int, config: AugmentConfig) -> Changes:
    """Draw the changes of so many photos."""
    side = config.min_crop + (1 - config.min_crop) * torch.rand(photos, 2)
    start = torch.rand(photos, 2) * (1 - side)
    flip = torch.where(torch.rand(photos) < config.flip, -1.0, 1.0)
    angle = hue = None
    if config.turn:
        angle = math.radians(config.turn) * (2 * torch.rand(photos) - 1)
    if config.hue:
        hue = 2 * math.pi * config.hue * (2 * torch.rand(photos, 1, 1) - 1)
    colour = 1 + config.colour * (2 * torch.rand(3, photos, 1, 1, 1) - 1)
    return Changes(side, start, flip, angle, hue, colour)


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
        pixels, boxes and mask, as `change_pixels` and `change_boxes` give them.
    """
    changes = draw_changes(len(pixels), config)
    return change_pixels(pixels, changes), *change_boxes(
        boxes_xyxy, mask, changes, pixels.shape[-1]
    )


def change_pixels(pixels: Tensor, changes: Changes) -> Tensor:
    """Changed pixels (B, 3, S, S) in 0..255.

    What comes in from outside repeats the picture's edge.
    """
    grid = functional.affine_grid(
        _sampling(changes), list(pixels.shape), align_corners=False
    )
    cropped = functional.grid_sample(
        pixels, grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    if changes.hue is not None:
        cropped = _turn_hue(cropped, changes.hue)
    return _recolour(cropped, changes.colour)


def change_boxes(
    boxes_xyxy: Tensor, mask: Tensor, changes: Changes, size: int
) -> tuple[Tensor, Tensor]:
    """Where boxes go when their picture is changed.

    Args:
        boxes_xyxy: (B, G, 4) network pixels, padded.
        mask: (B, G), True = a box.
        changes: of the pictures.
        size: S, the side of a picture.

    Returns:
        boxes (B, G, 4) and mask (B, G); a box that loses more than 60 % of its area to the crop is
        masked out. In a rotated picture a box is what encloses the rotated one.
    """
    if changes.angle is None:
        moved = _crop_boxes(boxes_xyxy, changes, size)
    else:
        moved = _enclosing(boxes_xyxy, _sampling(changes), size)
    visible = moved.clamp(0, size)
    area = (moved[..., 2:] - moved[..., :2]).prod(-1)
    visible_area = (visible[..., 2:] - visible[..., :2]).prod(-1)
    visible_side = (visible[..., 2:] - visible[..., :2]).min(-1).values
    return visible, mask & (visible_area >= 0.4 * area) & (visible_side >= 4)


def jitter_boxes(boxes_xyxy: Tensor, share: float, size: int) -> Tensor:
    """Boxes (B, G, 4) whose sides are shifted by chance, inside a picture of ``size`` pixels.

    Each by up to ``share`` of the box's width or height.
    """
    sides_wh = boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]
    shift = share * (2 * torch.rand(boxes_xyxy.shape) - 1)
    return (boxes_xyxy + shift * sides_wh.repeat(1, 1, 2)).clamp(0, size)


def _sampling(changes: Changes) -> Tensor:
    """The affine maps (B, 2, 3) from places in the new picture to those in the old.

    Both in -1..1.
    """
    side, start, flip = changes.side, changes.start, changes.flip
    theta = torch.zeros(len(side), 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = side[:, 0] * flip, side[:, 1]
    theta[:, :, 2] = 2 * start + side - 1  # centre of the crop
    if changes.angle is not None:
        cos, sin = changes.angle.cos(), changes.angle.sin()
        turn = torch.stack([cos, -sin, sin, cos], -1).view(-1, 2, 2)
        theta[:, :, :2] = turn @ theta[:, :, :2]
    return theta


def _crop_boxes(boxes_xyxy: Tensor, changes: Changes, size: int) -> Tensor:
    """Boxes (B, G, 4) in a picture that is cropped and perhaps mirrored, not rotated."""
    start, side = (
        values.repeat(1, 2)[:, None] for values in (changes.start, changes.side)
    )
    moved = (boxes_xyxy / size - start) / side * size
    left, top, right, bottom = moved.unbind(-1)
    mirrored = torch.stack([size - right, top, size - left, bottom], -1)
    return torch.where(changes.flip[:, None, None] < 0, mirrored, moved)


def _enclosing(boxes_xyxy: Tensor, theta: Tensor, size: int) -> Tensor:
    """Where boxes (B, G, 4) go when a picture is sampled at theta (B, 2, 3).

    The boxes around their moved corners.
    """
    corners = (
        boxes_xyxy[..., [0, 1, 2, 1, 2, 3, 0, 3]].reshape(*boxes_xyxy.shape[:2], 4, 2)
        / size
        * 2
        - 1
    )
    # theta leads from the new picture to the old one, so its inverse moves a corner
    back = torch.linalg.inv(theta[:, :, :2]).transpose(1, 2)
    moved = ((corners - theta[:, None, None, :, 2]) @ back[:, None] + 1) / 2 * size
    return torch.cat([moved.amin(2), moved.amax(2)], -1)


def _recolour(pixels: Tensor, factors: Tensor) -> Tensor:
    """Brightness, contrast and saturation of (B, 3, S, S) in 0..255.

    Times the factors (3, B, 1, 1, 1).
    """
    bright, contrast, saturate = factors.unbind(0)
    pixels = pixels * bright
    middle = pixels.mean((1, 2, 3), keepdim=True)
    pixels = middle + (pixels - middle) * contrast
    grey = pixels.mean(1, keepdim=True)
    return (grey + (pixels - grey) * saturate).clamp(0, 255)


def _turn_hue(pixels: Tensor, angle: Tensor) -> Tensor:
    """Colours of (B, 3, S, S) in 0..255 turned about the grey axis.

    The angles (B, 1, 1) are in radians.
    """
    # Rodrigues, about (1, 1, 1) / sqrt 3
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    cos, third = angle.cos(), 1 / 3
    turn = cos * torch.eye(3) + angle.sin() * cross + (1 - cos) * third
    return torch.einsum("bij,bjhw->bihw", turn, pixels).clamp(0, 255)


def pad_boxes(boxes: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Boxes of several pictures as (B, G, 4) with the mask (B, G), True = a box.

    G is at least 1.
    """
    width = max(1, max((len(rows) for rows in boxes), default=0))
    padded, mask = (
        torch.zeros(len(boxes), width, 4),
        torch.zeros(len(boxes), width, dtype=torch.bool),
    )
    for row, values in enumerate(boxes):
        padded[row, : len(values)] = torch.from_numpy(values)
        mask[row, : len(values)] = True
    return padded, mask
