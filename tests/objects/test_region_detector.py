"""Which detector a word means, and our own captions as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from regiontalk.captioner import RegionCaptioner
from regiontalk.model.region_model import RegionModel
from regiontalk.objects.region_detector import RegionDetector, find_detector
from regiontalk.records import ImageResult, RegionCaption
from regiontalk.regions.detectors import TorchvisionDetector
from regiontalk.runtime.torch_engine import TorchPredictor


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        pytest.param(
            "yolox:gone.onnx", FileNotFoundError, "gone.onnx: expected", id="no file"
        ),
        pytest.param(
            "yolo", ValueError, "expected one of yolox:FILE.onnx, torch", id="no kind"
        ),
        pytest.param(
            "yolox:", ValueError, "expected one of yolox:FILE.onnx", id="no name"
        ),
        pytest.param(
            "torchvision:gone.safetensors", FileNotFoundError, "gone", id="no weights"
        ),
    ],
)
def test_errors(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        find_detector(text)


def test_published_weights_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*arguments: Any, **settings: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr(TorchvisionDetector, "load", offline)
    with pytest.raises(
        OSError,
        match=r"cannot be downloaded \(no network\); name a local file with torchvision:",
    ):
        find_detector("torchvision")


def test_our_own_regions(
    make_tiny: Callable[..., RegionModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner = RegionCaptioner(predictor=TorchPredictor(make_tiny()))
    said = [("a dog", 0.4), (None, 0.1), ("a cat", 0.8), ("a dog", 0.9)]
    regions = tuple(
        RegionCaption((0, 0, 5 + place, 5), *one, score=0.5)
        for place, one in enumerate(said)
    )
    result = ImageResult(
        "photo", (60, 40), "tiny", RegionCaption((0, 0, 60, 40), "a park", 0.9), regions
    )
    monkeypatch.setattr(captioner, "caption", lambda image, regions: result)
    found = RegionDetector(captioner).detect(Image.new("RGB", (60, 40)))
    assert [(thing.label, thing.box[2], thing.score) for thing in found] == [
        ("a dog", 8, 0.9),
        ("a cat", 7, 0.8),
    ]
