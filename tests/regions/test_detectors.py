"""Detectors: the arithmetic of YOLOX by hand and backwards.

Torchvision and our regions with fakes; a real network.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from regiontalk.regions.detectors import (
    TorchvisionDetector,
    YoloxDetector,
    coco_names,
    decode_yolox,
    letterbox,
)

SHARED = Path(__file__).parents[3] / "shared"
NAMES = ["dog", "cat", "car"]
CELLS = 64 + 16 + 4  # of a network of 64 pixels: 8x8, 4x4 and 2x2


@pytest.mark.parametrize(
    ("size_wh", "scale", "inside"),
    [
        pytest.param((128, 32), 0.5, (64, 16), id="wide"),
        pytest.param((32, 64), 1.0, (32, 64), id="high"),
        pytest.param((16, 16), 4.0, (64, 64), id="small"),
        pytest.param((6400, 1), 0.01, (64, 1), id="a line"),
    ],
)
def test_letterbox(
    size_wh: tuple[int, int], scale: float, inside: tuple[int, int]
) -> None:
    pixels, found = letterbox(Image.new("RGB", size_wh, (10, 20, 30)), 64)
    assert (
        found == pytest.approx(scale)
        and pixels.shape == (3, 64, 64)
        and pixels.dtype == np.float32
    )
    expected = np.full((3, 64, 64), 114.0)
    # blue first
    expected[:, : inside[1], : inside[0]] = np.array([30, 20, 10])[:, None, None]
    assert (pixels == expected).all()


def silent() -> np.ndarray:
    """The output of a network that sees nothing."""
    return np.zeros((CELLS, 5 + len(NAMES)), dtype=np.float32)


def seen(
    raw: np.ndarray,
    cell: tuple[int, int, int],
    box: tuple[float, ...],
    score: float,
    name: str,
) -> None:
    """Let the cell (stride, column, row) say that a thing is at x1, y1, x2, y2.

    In network pixels.
    """
    stride, column, row = cell
    place = {8: 0, 16: 64, 32: 80}[stride] + row * (64 // stride) + column
    x1, y1, x2, y2 = (value / stride for value in box)
    raw[place, :4] = [
        (x1 + x2) / 2 - column,
        (y1 + y2) / 2 - row,
        math.log(x2 - x1),
        math.log(y2 - y1),
    ]
    raw[place, 4], raw[place, 5 + NAMES.index(name)] = score, 1.0


def test_decoding_by_hand() -> None:
    raw = silent()
    # stride 16, column 2, row 1: centre (2 + 0.5, 1 + 0.25) * 16 = (40, 20); sides e^0 * 16 = 16
    # and e^ln2 * 16 = 32
    raw[64 + 1 * 4 + 2] = [0.5, 0.25, 0.0, math.log(2), 0.8, 0.1, 0.5, 0.2]
    boxes, scores, classes = decode_yolox(raw, 64)
    np.testing.assert_allclose(boxes[70], [32, 4, 48, 36], rtol=1e-6)
    assert scores[70] == pytest.approx(0.8 * 0.5) and classes[70] == 1
    assert (np.delete(scores, 70) == 0).all()


@pytest.mark.parametrize(
    "cell", [(8, 0, 0), (8, 7, 3), (16, 1, 2), (32, 1, 1)], ids=str
)
def test_decoding_backwards(cell: tuple[int, int, int]) -> None:
    raw = silent()
    seen(raw, cell, (3.0, 5.0, 30.0, 61.0), 0.7, "car")
    boxes, scores, classes = decode_yolox(raw, 64)
    best = int(scores.argmax())
    np.testing.assert_allclose(boxes[best], [3, 5, 30, 61], rtol=1e-4)
    assert NAMES[classes[best]] == "car"


class FakeSession:
    """Answers with what it was given, as onnxruntime would."""

    def __init__(
        self, raw: np.ndarray, shape: tuple[Any, ...] = (1, 3, 64, 64)
    ) -> None:
        self.raw, self.shape = raw, shape

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="images", shape=list(self.shape))]

    def run(self, outputs: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        assert inputs["images"].shape == (1, 3, 64, 64)
        return [self.raw[None]]


def test_yolox() -> None:
    raw = silent()
    seen(raw, (8, 1, 1), (8, 8, 24, 24), 0.6, "dog")
    seen(raw, (8, 2, 1), (9, 8, 25, 24), 0.9, "dog")  # the same dog, better seen
    # another thing in the same place stays
    seen(raw, (16, 1, 1), (8, 8, 24, 24), 0.5, "cat")
    seen(raw, (32, 0, 0), (40, 0, 90, 20), 0.4, "car")  # leaves the photo
    seen(raw, (32, 1, 0), (40, 30, 60, 60), 0.4, "car")  # lies in the grey
    seen(raw, (32, 1, 1), (0, 0, 60, 20), 0.2, "dog")  # not sure enough
    found = YoloxDetector(FakeSession(raw), NAMES).detect(Image.new("RGB", (128, 48)))
    assert [(thing.label, pytest.approx(thing.score)) for thing in found] == [
        ("dog", 0.9),
        ("cat", 0.5),
        ("car", 0.4),
    ]
    # twice as large as in the network
    np.testing.assert_allclose(found[0].box, [18, 16, 50, 48], rtol=1e-4)
    np.testing.assert_allclose(found[2].box, [80, 0, 128, 40], rtol=1e-4, atol=1e-4)


def test_nothing() -> None:
    assert (
        YoloxDetector(FakeSession(silent()), NAMES).detect(Image.new("RGB", (128, 48)))
        == []
    )


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        pytest.param(
            lambda: YoloxDetector(FakeSession(silent(), (1, 3, 64, 32)), NAMES),
            ValueError,
            r"expected one input \(1, 3, S, S\), got \[1, 3, 64, 32\]",
            id="not square",
        ),
        pytest.param(
            lambda: YoloxDetector(FakeSession(silent()), ["dog"]).detect(
                Image.new("RGB", (9, 9))
            ),
            ValueError,
            r"expected output \(1, 84, 6\), got \(1, 84, 8\)",
            id="other classes",
        ),
        pytest.param(
            lambda: YoloxDetector.load(Path("gone.onnx")),
            FileNotFoundError,
            "gone.onnx: expected",
            id="no file",
        ),
    ],
)
def test_errors(
    make: Callable[[], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make()


def test_a_file_that_is_no_network(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "words.onnx").write_text("these are only words")
    with pytest.raises(ValueError, match=r"words\.onnx: expected an ONNX network"):
        YoloxDetector.load(tmp_path / "words.onnx")


def test_onnxruntime_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net.onnx").touch()
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"pip install 'regiontalk\[objects\]'"):
        YoloxDetector.load(tmp_path / "net.onnx")


def test_torchvision() -> None:
    class Fake(torch.nn.Linear):
        def forward(
            self, pictures: list[torch.Tensor]
        ) -> list[dict[str, torch.Tensor]]:
            assert pictures[0].shape == (3, 40, 60) and pictures[0].max() <= 1
            boxes = torch.tensor([[0.0, 0, 20, 20], [5, 5, 70, 30], [0, 0, 9, 9]])
            return [
                {
                    "boxes": boxes,
                    "scores": torch.tensor([0.6, 0.9, 0.3]),
                    "labels": torch.tensor([1, 2, 1]),
                }
            ]

    found = TorchvisionDetector(Fake(1, 1), NAMES).detect(Image.new("RGB", (60, 40)))
    assert [(thing.label, thing.box) for thing in found] == [
        ("car", (5, 5, 60, 30)),
        ("cat", (0, 0, 20, 20)),
    ]


def test_the_names_of_coco() -> None:
    names = coco_names()
    assert len(names) == len(set(names)) == 80 and (names[0], names[16], names[79]) == (
        "person",
        "dog",
        "toothbrush",
    )


@pytest.mark.skipif(
    not (SHARED / "weights" / "yolox_nano.onnx").is_file(), reason="the data are absent"
)
def test_real_photos() -> None:
    pytest.importorskip("onnxruntime")
    detector = YoloxDetector.load(SHARED / "weights" / "yolox_nano.onnx")
    photos = SHARED / "data" / "coco" / "val2017"
    surfer = detector.detect(Image.open(photos / "000000004765.jpg"))
    assert {thing.label for thing in surfer} == {"person", "surfboard"}
    planes = detector.detect(Image.open(photos / "000000001761.jpg"))
    assert [thing.label for thing in planes] == ["airplane", "airplane"]
    x1, y1, x2, y2 = planes[0].box  # the larger plane, top left of the middle
    assert 140 < x1 < 165 and 5 < y1 < 25 and 215 < x2 < 240 and 80 < y2 < 100
