"""MobileNets that compute in whole numbers, from the pixels to the maps.

Jacob et al. (2018) with a step for every channel: what a layer hands on are bytes, q =
value / step + zero point, and all steps are folded into the next layer's weights. A
layer multiplies bytes by int8 weights, adds in int32, and brings the sum back to a byte
with one factor a channel. ReLU6 needs no operator: rectified channels have the zero
point 0, and a byte ends at 255. The channels of a residual stream keep their steps
through a whole stage, so that adding two of them adds whole numbers.

Whole numbers have no last digits in which engines or processors could differ: torch
multiplies the same ones in float32, which is exact below 2^24 (`train.rounding` holds
weights to that), and ONNX Runtime has operators for them. The last convolution
and the maps leave as float32.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from regiontalk.regions.int8_operators import (
    matmul_integer_to_float,
    onnx_operator,
    uint8_constant,
)
from regiontalk.regions.mobilenets import (
    NETWORKS,
    MobileNet,
    Residual,
    SameConv2d,
    same_padding_sides,
)

CENTRE = 128  # zero point of pixels and of what is not rectified
LARGEST = 255
PIXEL_STEPS = 127.5  # bytes in the unit of a pixel in -1..1


class Int8Conv2d(nn.Module):
    """A convolution of bytes (B, C, h, w) that gives bytes.

    Attributes:
        weight: (C', C / groups, k, k) int8.
        scale: (C',) what the sum of a channel is multiplied by to be in its steps.
        bias: (C',) int32, in the units of the sum.
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, conv: nn.Conv2d, *, enter_zero: int, leave_zero: int) -> None:
        """An empty layer of a convolution's sizes; zero points of what enters and leaves."""
        super().__init__()
        self.register_buffer("weight", torch.zeros(conv.weight.shape, dtype=torch.int8))
        self.register_buffer("scale", torch.zeros(conv.out_channels))
        bias = torch.zeros(conv.out_channels, dtype=torch.int32)
        self.register_buffer("bias", bias)
        self.enter_zero, self.leave_zero = enter_zero, leave_zero
        self.stride, self.groups = conv.stride[0], conv.groups
        self._kernel, self._padding = conv.kernel_size[0], int(conv.padding[0])
        self._is_same = isinstance(conv, SameConv2d)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) uint8 to (B, C', h', w') uint8."""
        if torch.onnx.is_in_onnx_export():
            return self._symbolic(features)
        steps = self.sums(features) * self.scale[:, None, None]
        lowest = -self.leave_zero
        rounded = steps.clamp_(lowest, lowest + LARGEST).round_()
        return rounded.add_(self.leave_zero).to(torch.uint8)

    def sums(self, features: Tensor) -> Tensor:
        """The sums (B, C', h', w') of bytes, whole numbers in float32."""
        with torch.autocast(features.device.type, enabled=False):
            centred = features.float().sub_(self.enter_zero)
            padded = functional.pad(centred, self.padding(features))
            weight = self.weight.float()
            sums = functional.conv2d(
                padded, weight, None, self.stride, groups=self.groups
            )
            return sums.add_(self.bias[:, None, None])

    def padding(self, features: Tensor) -> list[int]:
        """Cells before and after the width and the height, as `functional.pad` takes them."""
        if not self._is_same:
            return [self._padding] * 4
        kernel_hw, stride_hw = [self._kernel] * 2, [self.stride] * 2
        return same_padding_sides(features.shape[2:], kernel_hw, stride_hw)

    def _symbolic(self, features: Tensor) -> Tensor:
        """The same as an ONNX operator; all steps are 1."""
        left, right, top, bottom = self.padding(features)
        height, width = (
            (length + before + after - self._kernel) // self.stride + 1
            for length, before, after in zip(
                features.shape[2:], (top, left), (bottom, right), strict=True
            )
        )
        step = torch.ones(())  # everything is counted in steps
        zero_of_weights = torch.zeros((), dtype=torch.int8)
        inputs = [
            *(features, step, uint8_constant(self.enter_zero)),
            *(self.weight, self.scale, zero_of_weights),
            *(step, uint8_constant(self.leave_zero), self.bias),
        ]
        attributes = {
            "kernel_shape": [self._kernel] * 2,
            "strides": [self.stride] * 2,
            "group": self.groups,
            "pads": [top, left, bottom, right],
        }
        shape = (features.shape[0], len(self.scale), height, width)
        return onnx_operator("QLinearConv", inputs, attributes, shape)


class Int8Head(Int8Conv2d):
    """The last convolution: its sums are not rounded again, for nothing multiplies them."""

    def __init__(self, conv: nn.Conv2d, largest: float | None) -> None:
        """An empty layer of a convolution's sizes, rectified and cut at ``largest``."""
        super().__init__(conv, enter_zero=CENTRE, leave_zero=0)
        self._largest = largest

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) uint8 to (B, C', h, w) float32."""
        if torch.onnx.is_in_onnx_export():
            return self._symbolic(features)
        outputs: Tensor = self.sums(features) * self.scale[:, None, None]
        return outputs.clamp(0.0, self._largest)

    def _symbolic(self, features: Tensor) -> Tensor:
        """The same as a product of matrices, much faster in ONNX Runtime than ConvInteger."""
        cells = features.permute(0, 2, 3, 1)
        outputs = matmul_integer_to_float(
            cells,
            self.weight.flatten(1),
            zero=self.enter_zero,
            scale=self.scale,
            offset=self.bias * self.scale,
        )
        return outputs.clamp(0.0, self._largest).permute(0, 3, 1, 2)


class Int8Residual(nn.Sequential):
    """A block that is added to what entered it, in the same steps."""

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) uint8, as it came."""
        inside = features
        for layer in self:
            inside = layer(inside)
        if torch.onnx.is_in_onnx_export():
            scaled = [torch.ones(()), uint8_constant(CENTRE)]
            inputs = [features, *scaled, inside, *scaled, *scaled]
            name = "com.microsoft::QLinearAdd"
            return onnx_operator(name, inputs, {}, features.shape)
        return add_bytes(features, inside)


def add_bytes(features: Tensor, inside: Tensor) -> Tensor:
    """The sum of two maps of bytes in the same steps, cut at the ends of a byte."""
    steps = features.short() + inside.short() - CENTRE
    return steps.clamp_(0, LARGEST).to(torch.uint8)


class MapScale(nn.Module):
    """From the bytes of a stage to the values of its map."""

    scale: Tensor
    offset: Tensor

    def __init__(self, channels: int) -> None:
        """Empty; both (C,)."""
        super().__init__()
        self.register_buffer("scale", torch.zeros(channels))
        self.register_buffer("offset", torch.zeros(channels))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) uint8 to float32."""
        steps = features.float() - CENTRE
        return steps * self.scale[:, None, None] + self.offset[:, None, None]


class Int8Between(nn.Module):
    """A convolution between layers in float, of rectified values (B, C, h, w).

    What leaves it is not rounded: a byte that engines round differently, for the layers
    before are in float, would then move many.
    """

    enter_scale: Tensor

    def __init__(self, conv: nn.Conv2d) -> None:
        """Empty, of a convolution's sizes."""
        super().__init__()
        self.register_buffer("enter_scale", torch.ones(conv.in_channels))
        self.conv = Int8Conv2d(conv, enter_zero=0, leave_zero=CENTRE)
        self.leave = MapScale(conv.out_channels)
        self._sizes = (conv.in_channels, conv.out_channels, *conv.kernel_size)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) to (B, C', h, w), float32."""
        codes = self.codes(features)
        if torch.onnx.is_in_onnx_export():
            return self._symbolic(codes)
        values = self.conv.sums(codes) * self.scale[:, None, None]
        return values + self.leave.offset[:, None, None]

    @property
    def scale(self) -> Tensor:
        """What the sums (C',) of bytes are multiplied by to be values."""
        return self.conv.scale * self.leave.scale

    def _symbolic(self, codes: Tensor) -> Tensor:
        """The same as a product of matrices: each cell's window is a row."""
        kernel = self._sizes[2]
        height, width = codes.shape[2:]
        cells = codes.permute(0, 2, 3, 1)
        padded = functional.pad(cells, [0, 0, *self.conv.padding(codes)])
        windows = [
            padded[:, top : top + height, left : left + width]
            for top in range(kernel)
            for left in range(kernel)
        ]
        values = matmul_integer_to_float(
            torch.cat(windows, 3),
            self.conv.weight.permute(0, 2, 3, 1).flatten(1),
            zero=self.conv.enter_zero,
            scale=self.scale,
            offset=self.conv.bias * self.scale + self.leave.offset,
        )
        return values.permute(0, 3, 1, 2)

    def codes(self, features: Tensor) -> Tensor:
        """The bytes that stand for values."""
        steps = (features.float() / self.enter_scale[:, None, None]).round()
        return steps.clamp(0.0, float(LARGEST)).to(torch.uint8)

    @torch.no_grad()
    def to_conv(self) -> nn.Conv2d:
        """The same convolution in floating point, which can learn."""
        enter, leave, kernel, _ = self._sizes
        conv = nn.Conv2d(enter, leave, kernel, padding=kernel // 2)
        weight = self.conv.weight * self.scale[:, None, None, None]
        conv.weight.copy_(weight / self.enter_scale[:, None, None])
        assert conv.bias is not None
        conv.bias.copy_(self.conv.bias * self.scale + self.leave.offset)
        return conv.to(self.scale.device)


class Int8MobileNet(nn.Module):
    """A network of `NETWORKS` in whole numbers, with as much of timm's interface as `MobileNet`.

    It is for use, and learns no more.
    """

    num_features = MobileNet.num_features

    def __init__(self, name: str, *, same_padding: bool = False) -> None:
        """Empty layers; a file fills them, or `train.round_backbone`."""
        super().__init__()
        network = NETWORKS[name]
        exact: Any = MobileNet(name, same_padding=same_padding)
        self.conv_stem = Int8Conv2d(exact.conv_stem, enter_zero=CENTRE, leave_zero=0)
        stages, enter_zero = [], 0
        for exact_blocks in exact.blocks:
            blocks = []
            for block in exact_blocks:
                layers, enter_zero = _rounded_layers(block, enter_zero)
                is_residual = isinstance(block, Residual)
                blocks.append((Int8Residual if is_residual else nn.Sequential)(layers))
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.conv_head = Int8Head(exact.conv_head, network.largest)
        self._ends = network.ends
        self.feature_info = exact.feature_info
        # the rows of `feature_info` at strides 8 and 16, which `Backbone` asks for
        scales = {
            str(end): MapScale(network.stages[end].channels)
            for end in network.ends[2:4]
        }
        self.maps = nn.ModuleDict(scales)

    def forward_intermediates(
        self, pixels: Tensor, indices: Sequence[int]
    ) -> tuple[Tensor, list[Tensor]]:
        """As `MobileNet`, of pixels (B, 3, S, S) in -1..1."""
        wanted = [self._ends[row] for row in indices]
        maps = []
        features = self.conv_stem(pixel_bytes(pixels))
        for number, stage in enumerate(self.blocks):
            features = stage(features)
            if number in wanted:
                maps.append(self.maps[str(number)](features))
        return self.conv_head(features), maps


def pixel_bytes(pixels: Tensor) -> Tensor:
    """The bytes of pixels in -1..1: what they were before they were normalised."""
    steps = (pixels.float() * PIXEL_STEPS + PIXEL_STEPS).round()
    return steps.clamp(0.0, float(LARGEST)).to(torch.uint8)


def _rounded_layers(
    block: nn.Sequential, enter_zero: int
) -> tuple[OrderedDict[str, nn.Module], int]:
    """A block's convolutions, empty, in whole numbers, and the zero point of what leaves them.

    The norms between them are in their steps.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    children: list[Any] = list(block.named_children())
    for (name, conv), (_, norm) in zip(children[::2], children[1::2], strict=True):
        leave_zero = CENTRE if isinstance(norm.act, nn.Identity) else 0
        layers[name] = Int8Conv2d(conv, enter_zero=enter_zero, leave_zero=leave_zero)
        enter_zero = leave_zero
    return layers, enter_zero
