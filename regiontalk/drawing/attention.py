"""The figure that [2] is known for.

Attention over the photo, a small image a word, all on one sheet.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from regiontalk import boxes as box_ops
from regiontalk.drawing.draw import contact_sheet, titled
from regiontalk.records import AttentionMaps

_SIDE = 320  # pixels across a small image
_DIM = 0.22  # of its light stays where a word did not attend


def heatmap(
    maps: AttentionMaps, word: int, size_wh: tuple[int, int]
) -> NDArray[np.float32]:
    """The attention of a word as light (height, width) in 0..1, 1 where it is highest.

    Smoothed by half a box.

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
    """One sheet: the photo with its sentence, then the photo once a word.

    It is bright where the word attends.

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
