"""RoI pooling as matrix products against torchvision's roi_align.

And against plain bilinear sampling.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torchvision.ops import roi_align

from regiontalk.regions.features import (
    PLACE_SIZE,
    axis_weights,
    roi_grid,
    roi_mean,
    roi_places,
)


def boxes_inside(batch: int, count: int, width: int, height: int) -> Tensor:
    """Random boxes inside a picture.

    The whole picture first, a sliver and a box at each edge among them.
    """
    chance = torch.Generator().manual_seed(batch + count)
    corners = torch.rand(batch, count, 2, 2, generator=chance).sort(
        2
    ).values * torch.tensor([width, height])
    boxes = corners.flatten(2)
    boxes[..., 2:] = torch.maximum(boxes[..., 2:], boxes[..., :2] + 0.5).minimum(
        torch.tensor([width, height])
    )
    special = [
        [0, 0, width, height],
        [0, 0, 3, height],
        [width - 3, 0, width, height],
        [0, height - 2, width, height],
        [5, 5, 5.25, 5.25],
    ]
    for row, box in enumerate(special[:count]):
        boxes[:, row] = torch.tensor(box, dtype=torch.float32)
    return boxes


def slow_pool(
    feature_map: Tensor, box: Tensor, stride: int, bins: int, samples: int = 2
) -> Tensor:
    """The definition of RoIAlign for one box.

    Bilinear samples on a grid, their mean in each bin: (bins, bins, F).
    """
    _, height, width = feature_map.shape
    x1, y1, x2, y2 = (float(value) / stride for value in box)
    pooled = torch.zeros(bins, bins, len(feature_map))
    points = bins * samples
    for row in range(points):
        for column in range(points):
            y = min(max(y1 + (y2 - y1) * (row + 0.5) / points - 0.5, 0.0), height - 1)
            x = min(max(x1 + (x2 - x1) * (column + 0.5) / points - 0.5, 0.0), width - 1)
            top, left = math.floor(y), math.floor(x)
            for cell_y, weight_y in (
                (top, 1 - (y - top)),
                (min(top + 1, height - 1), y - top),
            ):
                for cell_x, weight_x in (
                    (left, 1 - (x - left)),
                    (min(left + 1, width - 1), x - left),
                ):
                    value = feature_map[:, cell_y, cell_x] * weight_y * weight_x
                    pooled[row // samples, column // samples] += value / samples**2
    return pooled


@pytest.mark.parametrize("bins", [1, 2, 3, 7])
@pytest.mark.parametrize(
    ("batch", "count", "height", "width", "stride"),
    [
        pytest.param(1, 1, 7, 7, 32, id="whole picture"),
        pytest.param(2, 9, 14, 14, 16, id="batch"),
        pytest.param(3, 6, 5, 9, 32, id="not square"),
        pytest.param(1, 5, 1, 1, 32, id="one cell"),
        pytest.param(2, 0, 7, 7, 32, id="no boxes"),
    ],
)
def test_equals_torchvision(
    batch: int, count: int, height: int, width: int, stride: int, bins: int
) -> None:
    feature_map = torch.randn(
        batch, 6, height, width, generator=torch.Generator().manual_seed(0)
    )
    boxes = boxes_inside(batch, count, width * stride, height * stride)
    judge = roi_align(
        feature_map, list(boxes), bins, 1 / stride, sampling_ratio=2, aligned=True
    )
    expected = (
        judge.flatten(2).transpose(1, 2).unflatten(0, (batch, count))
        if count
        else torch.zeros(2, 0, bins**2, 6)
    )
    got = roi_grid(feature_map, boxes, stride, bins)
    assert got.shape == (batch, count, bins * bins, 6)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        roi_mean(feature_map, boxes, stride, bins),
        expected.mean(2),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("bins", [1, 2])
def test_equals_the_definition(bins: int) -> None:
    feature_map = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    boxes = boxes_inside(2, 7, 40, 32)
    got = roi_grid(feature_map, boxes, 8, bins)
    for b in range(2):
        for n in range(7):
            expected = slow_pool(feature_map[b], boxes[b, n], 8, bins).flatten(0, 1)
            torch.testing.assert_close(got[b, n], expected, rtol=1e-4, atol=1e-5)


def test_by_hand() -> None:
    # cells 0 1 2 3 in a row; the interval [1, 3] has its two samples at 1.5 and 2.5, the centres of
    # cells 1 and 2
    weights = axis_weights(torch.tensor([1.0]), torch.tensor([3.0]), 4, 1)
    assert weights.tolist() == [[[0, 0.5, 0.5, 0]]]
    # two bins over [0, 2]: samples at .25, .75 and at 1.25, 1.75, which are -.25, .25 and .75, 1.25
    # from centre 0. -.25 is held at 0, so the first bin is (1 + .75) / 2 of cell 0; the second is
    # .25 / 2, (.75 + .75) / 2, .25 / 2
    weights = axis_weights(torch.tensor([0.0]), torch.tensor([2.0]), 4, 2)
    assert weights.tolist() == [[[0.875, 0.125, 0, 0], [0.125, 0.75, 0.125, 0]]]
    # a map with the values 0 1 2 3 from left to right: the mean over [1, 3] is 1.5
    ramp = torch.arange(4.0).expand(1, 1, 4, 4)
    assert roi_mean(
        ramp, torch.tensor([[[10.0, 0, 30, 40]]]), 10
    ).item() == pytest.approx(1.5)


def test_weights_are_shares() -> None:
    low = torch.rand(50, generator=torch.Generator().manual_seed(0)) * 9
    weights = axis_weights(low, low + 1, 10, 3)
    assert weights.shape == (50, 3, 10) and (weights >= 0).all()
    torch.testing.assert_close(weights.sum(2), torch.ones(50, 3))


def test_gradient_equals_torchvision() -> None:
    feature_map = torch.randn(
        2, 3, 6, 6, generator=torch.Generator().manual_seed(2)
    ).requires_grad_()
    boxes = boxes_inside(2, 5, 48, 48)
    target = torch.randn(2, 5, 9, 3, generator=torch.Generator().manual_seed(3))
    (ours,) = torch.autograd.grad(
        (roi_grid(feature_map, boxes, 8, 3) * target).sum(), feature_map
    )
    judge = roi_align(
        feature_map, list(boxes), 3, 1 / 8, sampling_ratio=2, aligned=True
    )
    judged = judge.flatten(2).transpose(1, 2).unflatten(0, (2, 5))
    (theirs,) = torch.autograd.grad((judged * target).sum(), feature_map)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_maps(dtype: torch.dtype) -> None:
    feature_map = torch.randn(1, 4, 7, 7, generator=torch.Generator().manual_seed(4))
    boxes = boxes_inside(1, 6, 224, 224)
    got = roi_grid(feature_map.to(dtype), boxes, 32, 2)
    assert got.dtype == dtype
    torch.testing.assert_close(
        got.float(), roi_grid(feature_map, boxes, 32, 2), rtol=0.05, atol=0.05
    )


def test_places_by_hand() -> None:
    # one bin of the left half of a 40-pixel photo: centre (10, 20), that is x = -0.5, y = 0
    found = roi_places(torch.tensor([[[0.0, 0, 20, 40]]]), 40, 1)[0, 0, 0].tolist()
    root = math.sqrt(0.5)
    # sin(-pi/4), sin(-pi/2), cos(-pi/4), cos(-pi/2), then sin 0, sin 0, cos 0, cos 0
    assert found == pytest.approx([-root, -1, root, 0, 0, 0, 1, 1], abs=1e-6)


@pytest.mark.parametrize("bins", [1, 2, 7])
def test_places_and_their_slow_twin(bins: int) -> None:
    boxes = boxes_inside(2, 5, 96, 96)
    found = roi_places(boxes, 96, bins)
    assert found.shape == (2, boxes.shape[1], bins * bins, PLACE_SIZE)
    for photo in range(2):
        for number, (x1, y1, x2, y2) in enumerate(boxes[photo].tolist()):
            for row in range(bins):
                for column in range(bins):
                    x = (x1 + (x2 - x1) * (column + 0.5) / bins) / 48 - 1
                    y = (y1 + (y2 - y1) * (row + 0.5) / bins) / 48 - 1
                    waves = [
                        wave(value * math.pi / part)
                        for value in (x, y)
                        for wave in (math.sin, math.cos)
                        for part in (2, 1)
                    ]
                    assert found[
                        photo, number, row * bins + column
                    ].tolist() == pytest.approx(waves, abs=1e-5)
