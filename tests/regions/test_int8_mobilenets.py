"""Networks in whole numbers: by hand, against plain loops, and rounded from a float one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from regiontalk.regions.backbones import Backbone
from regiontalk.regions.int8_mobilenets import (
    CENTRE,
    Int8Between,
    Int8Conv2d,
    Int8Head,
    Int8MobileNet,
    Int8Residual,
    MapScale,
    pixel_bytes,
)
from regiontalk.regions.mobilenets import NETWORKS, SameConv2d


def filled(layer: Int8Conv2d, seed: int = 0) -> Int8Conv2d:
    """A layer with weights, factors and biases drawn by a seed."""
    torch.manual_seed(seed)
    layer.weight.copy_(torch.randint(-127, 128, layer.weight.shape))
    layer.scale.copy_(torch.rand(layer.scale.shape) * 0.01)
    layer.bias.copy_(torch.randint(-2000, 2000, layer.bias.shape))
    return layer


def test_by_hand() -> None:
    """(200 - 128) * 3 + (100 - 128) * -2 + 10 = 282; 282 * 0.25 = 70.5, to even 70, + 128."""
    layer = Int8Conv2d(nn.Conv2d(2, 1, 1), enter_zero=CENTRE, leave_zero=CENTRE)
    layer.weight.copy_(torch.tensor([3, -2]).view(1, 2, 1, 1))
    layer.scale.fill_(0.25)
    layer.bias.fill_(10)
    entering = torch.tensor([200, 100], dtype=torch.uint8).view(1, 2, 1, 1)
    leaving = layer(entering)
    assert leaving.dtype == torch.uint8
    assert leaving.item() == 198


@pytest.mark.parametrize(
    ("conv", "enter_zero", "leave_zero"),
    [
        pytest.param(nn.Conv2d(4, 6, 1), CENTRE, 0, id="expands"),
        pytest.param(nn.Conv2d(4, 4, 3, padding=1, groups=4), 0, 0, id="depthwise"),
        pytest.param(SameConv2d(3, 5, 3, 2), CENTRE, 0, id="stem"),
        pytest.param(SameConv2d(4, 4, 5, 2, groups=4), 0, 0, id="strided"),
        pytest.param(nn.Conv2d(4, 2, 1), 0, CENTRE, id="linear"),
    ],
)
def test_against_loops(conv: nn.Conv2d, enter_zero: int, leave_zero: int) -> None:
    layer = filled(Int8Conv2d(conv, enter_zero=enter_zero, leave_zero=leave_zero))
    entering = torch.randint(0, 256, (2, conv.in_channels, 7, 6), dtype=torch.uint8)
    leaving = layer(entering)
    left, right, top, bottom = layer.padding(entering)
    height, width = 7 + top + bottom, 6 + left + right
    padded = torch.full((2, conv.in_channels, height, width), enter_zero)
    padded[:, :, top : top + 7, left : left + 6] = entering.long()
    kernel, stride = conv.kernel_size[0], layer.stride
    shape = conv(torch.zeros(1, conv.in_channels, 7, 6)).shape[1:]
    assert leaving.shape == (2, *shape)
    for index in torch.cartesian_prod(*map(torch.arange, (2, *shape))).tolist():
        photo, channel, row, column = index
        first = 0 if conv.groups == 1 else channel
        inside = padded[
            photo,
            first : first + layer.weight.shape[1],
            row * stride : row * stride + kernel,
            column * stride : column * stride + kernel,
        ]
        total = ((inside - enter_zero) * layer.weight[channel].long()).sum()
        steps = (total + layer.bias[channel]).float() * layer.scale[channel]
        wanted = min(max(round(steps.item()) + leave_zero, 0), 255)
        assert leaving[tuple(index)].item() == wanted, index


def test_a_residual_adds_steps_and_stops_at_the_ends() -> None:
    block = Int8Residual(nn.Identity())
    entering = torch.tensor([0, 100, 128, 130, 255], dtype=torch.uint8)
    assert block(entering).tolist() == [0, 72, 128, 132, 255]


def test_the_head_is_rectified_and_not_rounded() -> None:
    head = Int8Head(nn.Conv2d(1, 1, 1), 6.0)
    head.weight.fill_(2)
    head.scale.fill_(0.05)
    entering = torch.tensor([[[[100, 129, 250]]]], dtype=torch.uint8)
    leaving = head(entering).flatten()
    torch.testing.assert_close(leaving, torch.tensor([0.0, 0.1, 6.0]))


def test_a_layer_between_float_ones_and_back_by_hand() -> None:
    """Values 1.0 and 3.0 are 2 and 6 steps of 0.5; 2 * 10 + 6 * -5 + 3 = -7; half is -3.5 steps.

    Of 0.1 from 2.0 on: 1.65, for what leaves is not rounded.
    """
    between = Int8Between(nn.Conv2d(2, 1, 1))
    between.enter_scale.fill_(0.5)
    between.conv.weight.copy_(torch.tensor([10, -5]).view(1, 2, 1, 1))
    between.conv.scale.fill_(0.5)
    between.conv.bias.fill_(3)
    between.leave.scale.fill_(0.1)
    between.leave.offset.fill_(2.0)
    values = torch.tensor([1.0, 3.0]).view(1, 2, 1, 1)
    assert between(values).item() == pytest.approx(1.65)
    assert between.to_conv()(values).item() == pytest.approx(1.65)


def test_a_map_has_its_values() -> None:
    scale = MapScale(2)
    scale.scale.copy_(torch.tensor([0.5, 2.0]))
    scale.offset.copy_(torch.tensor([1.0, -1.0]))
    codes = torch.tensor([130, 127], dtype=torch.uint8).view(1, 2, 1, 1)
    assert scale(codes).flatten().tolist() == [2.0, -3.0]


def test_pixels_are_the_bytes_that_they_were() -> None:
    codes = torch.arange(256)
    assert pixel_bytes(codes / 255 * 2 - 1).equal(codes.to(torch.uint8))


@pytest.mark.parametrize("name", list(NETWORKS))
def test_maps_have_the_float_networks_shapes(name: str) -> None:
    backbone = Backbone(name, light=True)
    wanted = [values.shape for values in backbone(pixels())]
    backbone.use_int8()
    network = backbone.net
    assert isinstance(network, Int8MobileNet)
    maps = backbone(pixels())
    assert [values.shape for values in maps] == wanted
    assert all(values.dtype == torch.float32 for values in maps)
    assert not list(network.parameters()), "nothing of it learns"


def test_a_network_without_such_a_form_is_told() -> None:
    with pytest.raises(ValueError, match=r"resnet18.*has no form in int8; one of"):
        Backbone("resnet18").use_int8()


def pixels() -> Tensor:
    """Two photos of noise."""
    return torch.rand(2, 3, 64, 64) * 2 - 1
