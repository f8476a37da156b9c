"""Where a model attended while it wrote each word ([2]).

Read by teacher forcing, the same step that wrote it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from regiontalk.records import AttentionMaps, FloatArray
from regiontalk.regions.config import CELLS
from regiontalk.runtime.predictor import PhotoFeatures, Predictor


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
            f"attention: {predictor.config.name!r} does not attend (attention = 0); "
            "take a model that does"
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
