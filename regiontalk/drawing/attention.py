"""Where a model that attends looked while it wrote each word, and the picture of it that [2] is known for.

`look` reads a sentence by teacher forcing, which is the same step that wrote it, and returns the
attention of every word; `draw_looks` lays it over the photo, a small picture a word, all on one
sheet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from regiontalk import boxes as box_ops
from regiontalk.drawing.draw import contact_sheet, titled
from regiontalk.records import FloatArray, checked_boxes
from regiontalk.regions.config import CELLS
from regiontalk.runtime.predictor import PhotoFeatures, Predictor

_SIDE = 320  # pixels across a small picture
_DIM = 0.22  # of its light stays where a word did not look


@dataclass(frozen=True)
class Looks:
    """Where a model looked at every word.

    Attributes:
        words: T words.
        boxes_xyxy: (P, 4) what it could look at, in pixels of the photo: cells of a grid, or
            regions, row 0 the photo.
        weights: (T, P) attention, each row adds up to at most 1 (less where a cell lies outside the
            photo).
        size_wh: width and height of the photo in pixels.
    """

    words: tuple[str, ...]
    boxes_xyxy: FloatArray
    weights: FloatArray
    size_wh: tuple[int, int]

    def __post_init__(self) -> None:
        checked_boxes(self.boxes_xyxy)
        if self.weights.shape != (len(self.words), len(self.boxes_xyxy)):
            raise ValueError(
                f"weights: expected ({len(self.words)}, {len(self.boxes_xyxy)}), one a word and box, "
                f"got {self.weights.shape}"
            )


def look(
    predictor: Predictor,
    features: PhotoFeatures,
    sentence: Sequence[str],
    size_wh: tuple[int, int],
    box_xyxy: FloatArray | None = None,
) -> Looks:
    """The attention of every word of a sentence about one photo or a box of it.

    Args:
        predictor: of a model that attends.
        features: of the photo, B = 1.
        sentence: T tokens.
        size_wh: width and height of the photo in pixels.
        box_xyxy: (4,) network pixels, what the sentence is about; None for the whole photo.

    Raises:
        ValueError: the model does not attend.
    """
    config = predictor.config.generator
    if not config.attention:
        raise ValueError(
            f"attention: {predictor.config.name!r} does not attend (attention = 0); take a model that does"
        )
    box = predictor.whole_photos(1) if box_xyxy is None else box_xyxy.reshape(1, 1, 4)
    attended = predictor.propose(features, config.regions)[0] if config.regions else None
    numbers = predictor.vocabulary.encode(sentence)
    _, weights = predictor.read_captions(predictor.start(features, box, attended), [numbers])
    assert weights is not None  # as it attends
    boxes = _cells(box[0, 0]) if attended is None else attended[0]
    places = predictor.preprocessing.to_original(boxes, size_wh)
    inside = (places[:, 2:] - places[:, :2]).min(1) > 0
    return Looks(tuple(sentence), places[inside], weights[0, : len(sentence)][:, inside], size_wh)


def _cells(box_xyxy: FloatArray) -> FloatArray:
    """The cells of a box (4,), row by row: (CELLS * CELLS, 4)."""
    x, y = (
        np.linspace(box_xyxy[axis], box_xyxy[axis + 2], CELLS + 1, dtype=np.float32)
        for axis in (0, 1)
    )
    left, top = np.meshgrid(x[:-1], y[:-1])
    right, bottom = np.meshgrid(x[1:], y[1:])
    return np.stack([left, top, right, bottom], -1).reshape(-1, 4)


def heat(looks: Looks, word: int, size_wh: tuple[int, int]) -> NDArray[np.float32]:
    """The attention of a word as light (height, width) in 0..1, 1 where it looked most; smoothed by half a box.

    >>> left, right = [0, 0, 4, 8], [4, 0, 8, 8]
    >>> looks = Looks(("dog",), np.array([left, right], np.float32), np.array([[1, 0]], np.float32), (8, 8))
    >>> light = heat(looks, 0, (80, 80))
    >>> bool(light[40, 0] > 0.99), bool(light[40, 79] < 0.2)
    (True, True)
    """
    light = np.zeros((size_wh[1], size_wh[0]), dtype=np.float32)
    boxes = box_ops.rescale(looks.boxes_xyxy, looks.size_wh, size_wh)
    for (x1, y1, x2, y2), weight in zip(
        boxes.round().astype(int).tolist(), looks.weights[word], strict=True
    ):
        light[y1:y2, x1:x2] += weight
    smallest = float((boxes[:, 2:] - boxes[:, :2]).mean(1).min())
    grey = Image.fromarray((255 * light / max(float(light.max()), 1e-9)).astype(np.uint8))
    smooth = np.asarray(grey.filter(ImageFilter.GaussianBlur(smallest / 2)), dtype=np.float32)
    return np.asarray(smooth / max(float(smooth.max()), 1.0), dtype=np.float32)


def draw_looks(image: Image.Image, looks: Looks, columns: int = 5) -> Image.Image:
    """One sheet: the photo with its sentence, then the photo once a word, bright where the word looked.

    Args:
        image: the photo at any size.
        looks: of a sentence about it.
        columns: pictures in a row.
    """
    size_wh = _SIDE, max(1, round(_SIDE * image.height / image.width))
    photo = image.convert("RGB").resize(size_wh, Image.Resampling.LANCZOS)
    pixels = np.asarray(photo, dtype=np.float32)
    pictures = [titled(photo, " ".join(looks.words))]
    for row, word in enumerate(looks.words):
        light = _DIM + (1 - _DIM) * heat(looks, row, size_wh)
        pictures.append(titled(Image.fromarray((pixels * light[..., None]).astype(np.uint8)), word))
    return contact_sheet(pictures, columns, _SIDE)
