"""Where a model attended while it wrote each word, and the figure that [2] is known for.

`attention_maps` reads a sentence by teacher forcing, which is the same step that wrote it, and
returns the attention of every word; `draw_attention` lays it over the photo, a small image a word,
all on one sheet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from regiontalk import boxes as box_ops
from regiontalk.deprecation import renamed_names
from regiontalk.drawing.draw import contact_sheet, titled
from regiontalk.records import FloatArray, checked_boxes
from regiontalk.regions.config import CELLS
from regiontalk.runtime.predictor import PhotoFeatures, Predictor

_SIDE = 320  # pixels across a small image
_DIM = 0.22  # of its light stays where a word did not attend


@dataclass(frozen=True)
class AttentionMaps:
    """Where a model attended at every word.

    Attributes:
        words: T words.
        boxes_xyxy: (P, 4) what it could attend to, in pixels of the photo: cells of a grid, or
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


def attention_maps(
    predictor: Predictor,
    features: PhotoFeatures,
    sentence: Sequence[str],
    size_wh: tuple[int, int],
    box_xyxy: FloatArray | None = None,
) -> AttentionMaps:
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
    attended = (
        predictor.propose(features, config.regions)[0] if config.regions else None
    )
    token_ids = predictor.vocabulary.encode(sentence)
    state = predictor.start(features, box, attended)
    _, weights = predictor.read_captions(state, [token_ids])
    assert weights is not None  # as it attends
    network_boxes = _cells(box[0, 0]) if attended is None else attended[0]
    boxes = predictor.preprocessing.to_original(network_boxes, size_wh)
    sides_wh = boxes[:, 2:] - boxes[:, :2]
    is_inside = sides_wh.min(1) > 0
    sentence_weights = weights[0, : len(sentence)][:, is_inside]
    return AttentionMaps(tuple(sentence), boxes[is_inside], sentence_weights, size_wh)


def _cells(box_xyxy: FloatArray) -> FloatArray:
    """The cells of a box (4,), row by row: (CELLS * CELLS, 4)."""
    x1, y1, x2, y2 = box_xyxy
    x = np.linspace(x1, x2, CELLS + 1, dtype=np.float32)
    y = np.linspace(y1, y2, CELLS + 1, dtype=np.float32)
    left, top = np.meshgrid(x[:-1], y[:-1])
    right, bottom = np.meshgrid(x[1:], y[1:])
    return np.stack([left, top, right, bottom], -1).reshape(-1, 4)


def heatmap(
    maps: AttentionMaps, word: int, size_wh: tuple[int, int]
) -> NDArray[np.float32]:
    """The attention of a word as light (height, width) in 0..1, 1 where it is highest; smoothed by half a box.

    >>> left, right = [0, 0, 4, 8], [4, 0, 8, 8]
    >>> maps = AttentionMaps(
    ...     ("dog",), np.array([left, right], np.float32), np.array([[1, 0]], np.float32), (8, 8)
    ... )
    >>> light = heatmap(maps, 0, (80, 80))
    >>> bool(light[40, 0] > 0.99), bool(light[40, 79] < 0.2)
    (True, True)
    """
    width, height = size_wh
    light = np.zeros((height, width), dtype=np.float32)
    boxes = box_ops.rescale(maps.boxes_xyxy, maps.size_wh, size_wh)
    whole_pixels = boxes.round().astype(int).tolist()
    for (x1, y1, x2, y2), weight in zip(whole_pixels, maps.weights[word], strict=True):
        light[y1:y2, x1:x2] += weight
    brightest = max(float(light.max()), 1e-9)
    grey = Image.fromarray((255 * light / brightest).astype(np.uint8))
    sides_wh = boxes[:, 2:] - boxes[:, :2]
    smallest_side = float(sides_wh.mean(1).min())
    blurred = grey.filter(ImageFilter.GaussianBlur(smallest_side / 2))
    smooth = np.asarray(blurred, dtype=np.float32)
    return np.asarray(smooth / max(float(smooth.max()), 1.0), dtype=np.float32)


def draw_attention(
    image: Image.Image, maps: AttentionMaps, columns: int = 5
) -> Image.Image:
    """One sheet: the photo with its sentence, then the photo once a word, bright where the word attends.

    Args:
        image: the photo at any size.
        maps: of a sentence about it.
        columns: images in a row.
    """
    size_wh = _SIDE, max(1, round(_SIDE * image.height / image.width))
    photo = image.convert("RGB").resize(size_wh, Image.Resampling.LANCZOS)
    pixels = np.asarray(photo, dtype=np.float32)
    images = [titled(photo, " ".join(maps.words))]
    for row, word in enumerate(maps.words):
        light = _DIM + (1 - _DIM) * heatmap(maps, row, size_wh)
        lit_pixels = (pixels * light[..., None]).astype(np.uint8)
        images.append(titled(Image.fromarray(lit_pixels), word))
    return contact_sheet(images, columns, _SIDE)


__getattr__ = renamed_names(
    __name__,
    {
        "Looks": "AttentionMaps",
        "look": "attention_maps",
        "heat": "heatmap",
        "draw_looks": "draw_attention",
    },
)
