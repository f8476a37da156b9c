"""The road from picture to network.

Window of deep pictures, preprocessing, boxes there and back.
"""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as transforms

from regiontalk.images import modes as pixels
from regiontalk.images.modes import window
from regiontalk.images.preprocessing import Preprocessing


def slow_window(values: np.ndarray) -> list[list[int]]:
    """Percentiles by their definition: linear between the two nearest of the sorted values."""
    numbers = sorted(float(value) for value in values.ravel() if np.isfinite(value))

    def percentile(share: float) -> float:
        place = share / 100 * (len(numbers) - 1)
        below = int(place)
        above = min(below + 1, len(numbers) - 1)
        return numbers[below] + (place - below) * (numbers[above] - numbers[below])

    low, high = percentile(0.5), percentile(99.5)
    if high <= low:
        low, high = numbers[0], numbers[-1]
    if high <= low:
        return [[128] * values.shape[1] for _ in values]
    return [
        [
            round(255 * min(1.0, max(0.0, (float(value) - low) / (high - low))))
            for value in row
        ]
        for row in values
    ]


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(
            np.random.default_rng(1).integers(900, 1300, (20, 30)).astype(np.uint16),
            id="random-16-bit",
        ),
        pytest.param(
            np.random.default_rng(2).normal(size=(20, 30)).astype(np.float32),
            id="random-float",
        ),
        pytest.param(
            np.pad(np.full((1, 1), 60_000, dtype=np.uint16), 20), id="one-bright-dot"
        ),
        pytest.param(np.full((3, 4), 777, dtype=np.uint16), id="constant"),
        pytest.param(np.full((1, 1), 65_535, dtype=np.uint16), id="one-pixel"),
    ],
)
def test_window_against_loops(values: np.ndarray) -> None:
    # halves round either way
    assert np.abs(window(values).astype(int) - slow_window(values)).max() <= 1


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        # 0.5 % of the way from 0 to 200 is 1, 99.5 % is 199; (100 - 1) / 198 * 255 = 127.5, which
        # rounds to even: 128
        pytest.param([[0, 100, 200]], [[0, 128, 255]], id="by-hand"),
        pytest.param(
            [[float("nan"), 0.0, 1.0]], [[0, 0, 255]], id="not-a-number-is-dark"
        ),
        pytest.param([[float("nan")]], [[128]], id="nothing-finite"),
    ],
)
def test_window_by_hand(values: list[list[float]], wanted: list[list[int]]) -> None:
    assert window(np.array(values)).tolist() == wanted


def test_window_of_a_large_picture_takes_little_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = (
        np.random.default_rng(3)
        .normal(9000, 500, (2500, 3000))
        .clip(0, 65_535)
        .astype(np.uint16)
    )
    tracemalloc.start()
    found = window(values)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * values.size, (
        "under eight bytes a pixel, where one float64 copy has eight"
    )
    monkeypatch.setattr(pixels, "_SAMPLE", values.size)
    assert np.abs(window(values).astype(int) - found).max() <= 2
    values[:] = 0
    values[1, 1] = 7  # in no sample
    monkeypatch.setattr(pixels, "_SAMPLE", 1 << 20)
    assert window(values)[1, 1] == 255 and window(values).sum() == 255


def slow_to_network(
    box: list[float], size_wh: tuple[int, int], size: int, fit: str
) -> list[float]:
    wide, high, left, top = size, size, 0, 0
    if fit == "pad":
        longer = max(size_wh)
        wide, high = (
            max(1, round(size_wh[0] * size / longer)),
            max(1, round(size_wh[1] * size / longer)),
        )
        left, top = (size - wide) // 2, (size - high) // 2
    x1, y1, x2, y2 = box
    return [
        x1 * wide / size_wh[0] + left,
        y1 * high / size_wh[1] + top,
        x2 * wide / size_wh[0] + left,
        y2 * high / size_wh[1] + top,
    ]


@pytest.mark.parametrize("fit", ["squash", "pad"])
@pytest.mark.parametrize(
    "size_wh",
    [(640, 480), (480, 640), (224, 224), (1, 1), (1000, 3), (333, 777)],
    ids=str,
)
def test_boxes_there_and_back(fit: str, size_wh: tuple[int, int]) -> None:
    preprocessing = Preprocessing(size=224, fit=fit)
    corners = np.random.default_rng(3).random((50, 2, 2)) * size_wh
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(
        np.float32
    )
    moved = preprocessing.to_network(boxes, size_wh)
    assert moved.dtype == np.float32
    assert np.allclose(
        moved,
        [slow_to_network(box, size_wh, 224, fit) for box in boxes.tolist()],
        atol=1e-3,
    )
    assert moved.min() >= 0 and moved.max() <= 224
    assert np.allclose(
        preprocessing.to_original(moved, size_wh), boxes, atol=1e-4 * max(size_wh)
    )


@pytest.mark.parametrize(
    ("fit", "box", "wanted"),
    [
        # squash 200x50 to 100x100: x halves, y doubles
        pytest.param("squash", [20, 10, 40, 50], [10, 20, 20, 100], id="squash"),
        # pad: 200x50 becomes 100x25, (100 - 25) // 2 = 37 rows above it; 10 / 2 + 37 = 42, 50 / 2 +
        # 37 = 62
        pytest.param("pad", [20, 10, 40, 50], [10, 42, 20, 62], id="pad"),
    ],
)
def test_to_network_by_hand(fit: str, box: list[float], wanted: list[float]) -> None:
    assert Preprocessing(size=100, fit=fit).to_network([box], (200, 50)).tolist() == [
        wanted
    ]


def test_boxes_of_the_padding_are_cut_at_the_photo() -> None:
    # 200x50 at size 100 lies in rows 37..62: a box of rows 0..50 starts above the photo; (50 - 37)
    # * 2 = 26
    back = Preprocessing(size=100, fit="pad").to_original(
        [[0, 0, 100, 50], [0, 0, 100, 20]], (200, 50)
    )
    assert back.tolist() == [[0, 0, 200, 26], [0, 0, 200, 0]]


@pytest.mark.parametrize("method", ["to_network", "to_original"])
def test_boxes_empty_and_wrong(method: str) -> None:
    change = getattr(Preprocessing(), method)
    assert change([], (10, 10)).shape == (0, 4)
    with pytest.raises(ValueError, match=r"expected shape \(N, 4\)"):
        change([1, 2, 3, 4], (10, 10))
    with pytest.raises(ValueError, match="size_wh"):
        change([[1, 2, 3, 4]], (0, 10))


@pytest.mark.parametrize("fit", ["squash", "pad"])
@pytest.mark.parametrize(
    "size_wh", [(150, 100), (90, 130), (64, 64), (1, 1), (300, 2)], ids=str
)
def test_to_pixels_against_pillow(fit: str, size_wh: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(
        0, 256, (*size_wh[::-1], 3), dtype=np.uint8
    )
    image = Image.fromarray(noise)
    preprocessing = Preprocessing(size=64, fit=fit)
    left, top, right, bottom = preprocessing.to_network([[0, 0, *size_wh]], size_wh)[
        0
    ].astype(int)
    canvas = np.tile(np.array(preprocessing.mean), (64, 64, 1))
    # Pillow's is always antialiased
    small = image.resize((right - left, bottom - top), Image.Resampling.BILINEAR)
    canvas[top:bottom, left:right] = np.asarray(small) / 255
    wanted = ((canvas - preprocessing.mean) / preprocessing.std).transpose(2, 0, 1)
    tensor = preprocessing.to_pixels(image)
    assert (tensor.shape, tensor.dtype) == ((3, 64, 64), np.float32)
    assert np.abs(tensor - wanted).max() < 1e-5


def test_to_pixels_by_hand() -> None:
    # white: (1 - 0.5) / 0.25 = 2
    preprocessing = Preprocessing(size=2, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    assert (
        preprocessing.to_pixels(Image.new("RGB", (5, 3), "white")).tolist()
        == [[[2.0, 2.0], [2.0, 2.0]]] * 3
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": 0}, "size: expected"),
        ({"size": 2.5}, "size: expected"),
        ({"size": True}, "size: expected"),
        ({"fit": "crop"}, "expected 'squash' or 'pad', got 'crop'"),
        ({"mean": [0.5, 0.5]}, "mean: expected three"),
        ({"mean": 0.5}, "mean: expected three"),
        ({"mean": ["red", "green", "blue"]}, "mean: expected three"),
        ({"std": [0.2, 0.2, 0.0]}, "std: expected three"),
        ({"std": [0.2, 0.2, float("nan")]}, "std: expected three"),
    ],
    ids=str,
)
def test_preprocessing_errors(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Preprocessing(**values)


@pytest.mark.parametrize(
    "size", [(300, 200), (224, 224), (50, 90)], ids=["smaller", "as it is", "larger"]
)
@pytest.mark.parametrize("fit", ["squash", "pad"])
def test_network_input_is_torchvisions(size: tuple[int, int], fit: str) -> None:
    picture = Image.fromarray(
        np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    )
    road = Preprocessing(fit=fit)
    pixels = road.to_pixels(picture)
    left, top, wide, high = road._placement(size)
    judge = transforms.resize(
        transforms.pil_to_tensor(picture), [high, wide], antialias=True
    )
    judge = transforms.normalize(
        transforms.to_dtype(judge, torch.float32, scale=True), road.mean, road.std
    )
    inside = torch.from_numpy(pixels[:, top : top + high, left : left + wide])
    # Pillow and torchvision round 8 bits apart by one at most, 1 / 255 / 0.224
    torch.testing.assert_close(inside, judge, rtol=1e-5, atol=0.0176)
    assert pixels.flags.c_contiguous and pixels.dtype == np.float32
