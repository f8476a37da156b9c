"""From an RGB photo to the input of a network, and boxes there and back.

`Preprocessing` is the one road from pixels to network, shared by training and use: an RGB image of
any size enters, float32 (3, size, size) leaves; boxes (N, 4) ``boxes_xyxy`` travel between original
pixels and network pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Preprocessing:
    """From an RGB image to network input, and boxes there and back.

    Part of every model's configuration.

    Attributes:
        size: side of the square that the network sees, in pixels.
        fit: "squash" stretches the whole image to the square; "pad" keeps its aspect and centres
            it on the mean colour. Nothing is ever cut off.
        mean: of the training images of the backbone, a channel, for values in 0..1.
        std: their standard deviations.

    Raises:
        ValueError: a value out of range; names the key.
    """

    size: int = 224
    fit: str = "squash"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        if (
            isinstance(self.size, bool)
            or not isinstance(self.size, int)
            or self.size < 1
        ):
            raise ValueError(
                "preprocessing size: expected a whole number of pixels from 1 up, got "
                f"{self.size!r}"
            )
        if self.fit not in ("squash", "pad"):
            raise ValueError(
                f"preprocessing fit: expected 'squash' or 'pad', got {self.fit!r}"
            )
        for name in ("mean", "std"):
            object.__setattr__(self, name, _three(name, getattr(self, name)))

    def to_pixels(
        self, image: Image.Image, size_wh: tuple[int, int] | None = None
    ) -> FloatArray:
        """Network input of an RGB image.

        Float32 (3, size, size), normalised, bilinear with antialiasing.

        Args:
            image: RGB (`open_image`).
            size_wh: the original's size where ``image`` was decoded small (`Photo.size_wh`), so
                that "pad" places it to the pixel where `to_network` expects it; None takes the
                image's own.
        """
        left, top, width, height = self._placement(size_wh or image.size)
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        # the mean colour
        square = np.zeros((3, self.size, self.size), dtype=np.float32)
        inside = square[:, top : top + height, left : left + width]
        inside[:] = np.asarray(image).transpose(2, 0, 1)
        mean = np.array(self.mean, dtype=np.float32)[:, None, None]
        std = np.array(self.std, dtype=np.float32)[:, None, None]
        inside *= 1 / (255 * std)
        inside -= mean / std
        return square

    def to_network(self, boxes_xyxy: Any, size_wh: tuple[int, int]) -> FloatArray:
        """Boxes (N, 4) of the original image in network pixels.

        >>> Preprocessing(size=100).to_network([[20, 10, 40, 50]], (200, 50)).tolist()
        [[10.0, 20.0, 20.0, 100.0]]
        """
        left, top, width, height = self._placement(size_wh)
        scale = np.array([width / size_wh[0], height / size_wh[1]] * 2)
        shift = np.array([left, top, left, top])
        boxes = _rows(boxes_xyxy) * scale + shift
        return np.asarray(boxes, dtype=np.float32)

    def to_original(self, boxes_xyxy: Any, size_wh: tuple[int, int]) -> FloatArray:
        """Boxes (N, 4) in network pixels as pixels of the original image, cut at its edges.

        A box that lies wholly in the padding comes back without area: drop it before making a
        record.
        """
        left, top, width, height = self._placement(size_wh)
        scale = np.array([size_wh[0] / width, size_wh[1] / height] * 2)
        shift = np.array([left, top, left, top])
        boxes = (_rows(boxes_xyxy) - shift) * scale
        limits = np.array([*size_wh, *size_wh])
        return np.asarray(boxes.clip(0, limits), dtype=np.float32)

    def _placement(self, size_wh: tuple[int, int]) -> tuple[int, int, int, int]:
        """Where the image lies in the square: left, top, width, height in whole network pixels."""
        if size_wh[0] < 1 or size_wh[1] < 1:
            raise ValueError(
                f"size_wh: expected a width and a height of at least 1, got {size_wh}"
            )
        if self.fit == "squash":
            return 0, 0, self.size, self.size
        scale = self.size / max(size_wh)
        width, height = (max(1, round(side * scale)) for side in size_wh)
        left, top = (self.size - width) // 2, (self.size - height) // 2
        return left, top, width, height


def _three(name: str, values: Any) -> tuple[float, ...]:
    """Three finite numbers, above 0 where they are deviations."""
    must_be_positive = name == "std"
    expected = (
        "three finite numbers above 0" if must_be_positive else "three finite numbers"
    )
    message = f"preprocessing {name}: expected {expected}, got {values!r}"
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise ValueError(message) from error
    is_valid = len(numbers) == 3 and all(math.isfinite(number) for number in numbers)
    if not is_valid or (must_be_positive and min(numbers) <= 0):
        raise ValueError(message)
    return numbers


def _rows(boxes_xyxy: Any) -> NDArray[np.float64]:
    """Boxes as float64 (N, 4); an empty list gives (0, 4)."""
    boxes = np.asarray(boxes_xyxy, dtype=np.float64)
    if boxes.size == 0:
        return np.zeros((0, 4))
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(
            f"boxes: expected shape (N, 4) as x1,y1,x2,y2, got {boxes.shape}"
        )
    return boxes
