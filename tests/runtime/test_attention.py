"""Where words attended, against the generator's own attention."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from regiontalk.captioner import RegionCaptioner
from regiontalk.model.region_model import RegionModel
from regiontalk.runtime.attention import attention_maps
from regiontalk.runtime.predictor import PhotoFeatures
from regiontalk.runtime.torch_engine import TorchPredictor
from regiontalk.text.vocabulary import START

PHOTO = Image.fromarray(
    np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
)


@torch.no_grad()
def test_the_maps_are_those_of_the_generator(
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
