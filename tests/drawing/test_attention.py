"""Where words looked: against the generator's own attention, and the light on the sheet."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from regiontalk.captioner import RegionCaptioner
from regiontalk.drawing.attention import (
    AttentionMaps,
    attention_maps,
    draw_attention,
    heatmap,
)
from regiontalk.model.region_model import RegionModel
from regiontalk.runtime.predictor import PhotoFeatures
from regiontalk.runtime.torch_engine import TorchPredictor
from regiontalk.text.vocabulary import START

PHOTO = Image.fromarray(
    np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
)


@torch.no_grad()
def test_the_looks_are_those_of_the_generator(
    make_tiny: Callable[..., RegionModel],
) -> None:
    model = make_tiny()
    maps = model.extractor(torch.linspace(-2, 2, 3 * 64 * 64).view(1, 3, 64, 64).sin())
    features = PhotoFeatures(*(part.numpy() for part in maps))
    words = model.vocabulary.words[4:7]
    whole, part = torch.tensor([0.0, 0, 64, 64]), torch.tensor([8.0, 16, 50, 44])
    for box, given in ((whole, None), (part, part.numpy())):
        found = attention_maps(TorchPredictor(model), features, words, (128, 64), given)
        numbers = torch.tensor([[START, *model.vocabulary.encode(words)[:-1]]])
        _, expected = model.generator(*model.conditions(maps, box[None, None]), numbers)
        torch.testing.assert_close(torch.from_numpy(found.weights), expected[0])
        assert found.words == tuple(words) and found.boxes_xyxy.shape == (49, 4)
        x1, y1, x2, y2 = (
            box * torch.tensor([2, 1, 2, 1])
        ).tolist()  # the photo is twice as wide as high
        np.testing.assert_allclose(
            found.boxes_xyxy[0],
            [x1, y1, x1 + (x2 - x1) / 7, y1 + (y2 - y1) / 7],
            rtol=1e-5,
        )
        np.testing.assert_allclose(
            found.boxes_xyxy[1, :2], [x1 + (x2 - x1) / 7, y1], rtol=1e-5
        )
        np.testing.assert_allclose(found.boxes_xyxy[-1, 2:], [x2, y2], rtol=1e-5)


def test_cells_in_the_padding_are_left_out(
    make_tiny: Callable[..., RegionModel],
) -> None:
    found = RegionCaptioner(predictor=TorchPredictor(make_tiny(fit="pad"))).look(
        PHOTO, "a dog"
    )
    assert 0 < len(found.boxes_xyxy) < 49 and (found.weights.sum(1) < 1).all()
    assert found.boxes_xyxy.min() >= 0 and (found.boxes_xyxy[:, 2:] <= (90, 60)).all()


def test_regions(make_tiny: Callable[..., RegionModel]) -> None:
    model = make_tiny()
    model.config = model.config.model_copy(
        update={"generator": model.config.generator.model_copy(update={"regions": 5})}
    )
    found = RegionCaptioner(predictor=TorchPredictor(model)).look(PHOTO, "a dog")
    assert found.boxes_xyxy[0].tolist() == [0, 0, 90, 60] and found.weights.shape == (
        2,
        len(found.boxes_xyxy),
    )


def test_a_model_that_does_not_attend(make_tiny: Callable[..., RegionModel]) -> None:
    captioner = RegionCaptioner(predictor=TorchPredictor(make_tiny()))
    assert captioner.attends
    plain = captioner.config.generator.model_copy(update={"attention": 0})
    captioner.predictor.config = captioner.config.model_copy(
        update={"generator": plain}
    )
    assert not captioner.attends
    with pytest.raises(
        ValueError, match=r"attention: 'tiny' does not attend \(attention = 0\)"
    ):
        captioner.look(PHOTO, "a dog")


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
    top = (
        sheet[100].max(1).astype(int)
    )  # through the three pictures: the photo, dog, cat
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
