"""Attention drawn: the light on the photo and the sheet."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from regiontalk.drawing.attention import draw_attention, heatmap
from regiontalk.records import AttentionMaps


def halves(weights: list[list[float]]) -> AttentionMaps:
    """Words that look at the left and the right half of a photo of 40x20."""
    boxes = np.array([[0, 0, 20, 20], [20, 0, 40, 20]], dtype=np.float32)
    return AttentionMaps(
        ("dog", "cat")[: len(weights)],
        boxes,
        np.array(weights, dtype=np.float32),
        (40, 20),
    )


@pytest.mark.parametrize(
    ("weights", "left", "right"),
    [
        pytest.param([1.0, 0.0], (0.95, 1.0), (0.0, 0.05), id="left"),
        pytest.param([0.1, 0.4], (0.2, 0.35), (0.95, 1.0), id="mostly right"),
        pytest.param([0.5, 0.5], (0.99, 1.0), (0.99, 1.0), id="everywhere"),
        pytest.param([0.0, 0.0], (0.0, 0.0), (0.0, 0.0), id="nowhere"),
    ],
)
def test_heat(
    weights: list[float], left: tuple[float, float], right: tuple[float, float]
) -> None:
    light = heatmap(halves([weights]), 0, (200, 100))
    assert light.shape == (100, 200)
    assert left[0] <= light[50, 5] <= left[1] and right[0] <= light[50, -5] <= right[1]
    assert (np.diff(light[50]) <= 1e-6).all() or (np.diff(light[50]) >= -1e-6).all(), (
        "smooth from side to side"
    )


def test_the_sheet() -> None:
    sheet = np.asarray(
        draw_attention(
            Image.new("RGB", (40, 20), "white"), halves([[1.0, 0.0], [0.0, 1.0]])
        )
    )
    # through the three pictures: the photo, dog, cat
    top = sheet[100].max(1).astype(int)
    photo, dog, cat = (top[8 + 328 * place :][:320] for place in range(3))
    assert photo.min() == 255
    assert dog[5] > 240 > 80 > dog[-5] and cat[-5] > 240 > 80 > cat[5]


def test_weights_that_do_not_fit() -> None:
    with pytest.raises(
        ValueError,
        match=r"weights: expected \(2, 2\), one a word and box, got \(1, 2\)",
    ):
        AttentionMaps(
            ("dog", "cat"),
            halves([[1, 0]]).boxes_xyxy,
            np.ones((1, 2), np.float32),
            (40, 20),
        )
