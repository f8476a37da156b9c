"""MobileNet-EdgeTPU (depth multiplier 1), the backbone of the bundled model, without timm.

The same network with the same names of tensors as timm's ``mobilenet_edgetpu_100`` (a test holds the two together), so
weights pass between them. A model that is loaded for use takes this one: timm brings torchvision and torch's compiler,
which start three times slower and hold 200 MB more than all the rest of a caption (benchmarks/cold_start.py).

Pixels (B, 3, S, S) enter; stages leave maps at strides 2, 4, 8, 16, 32, the head convolution (B, 1280, S/32, S/32).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

NAME = "mobilenet_edgetpu_100"

# One stage a line: fused expansion, kernel, stride, channels, growth of each block inside it.
_STAGES = (
    (True, 3, 2, 32, (8, 4, 4, 4)),
    (True, 3, 2, 48, (8, 4, 4, 4)),
    (False, 3, 2, 96, (8, 4, 4, 4)),
    (False, 3, 1, 96, (8, 4, 4, 4)),
    (False, 5, 2, 160, (8, 4, 4, 4)),
    (False, 3, 1, 192, (8,)),
)
_ENDS = ((0, 2), (1, 4), (2, 8), (4, 16), (6, 32))  # the last stage of each stride


class MobileNetEdgeTpu(nn.Module):
    """The network without its classifier, with as much of timm's interface as `Backbone` asks for."""

    num_features = 1280

    def __init__(self, *, same_padding: bool) -> None:
        """Build it; ``same_padding`` is TensorFlow's, which the published weights want."""
        super().__init__()
        self.conv_stem = _conv(3, 32, 3, 2, same_padding)
        self.bn1 = NormAct(32)
        channels = [16, *(stage[3] for stage in _STAGES)]
        stages = [nn.Sequential(_block([("conv", 32, 16, 1, 1, 1)], same_padding, skip=False))]
        for before, (fused, kernel, stride, after, growths) in zip(channels, _STAGES, strict=False):
            blocks = []
            for place, growth in enumerate(growths):
                enter, step = (before, stride) if place == 0 else (after, 1)
                layers = _layers(fused, kernel, step, enter, enter * growth, after)
                blocks.append(_block(layers, same_padding, skip=place > 0))
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.conv_head = _conv(channels[-1], self.num_features, 1, 1, same_padding)
        self.bn2 = NormAct(self.num_features)
        self.feature_info = [{"reduction": stride, "num_chs": channels[stage]} for stage, stride in _ENDS]

    def forward_intermediates(self, pixels: Tensor, indices: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
        """The map after the head convolution, and the maps of the chosen rows of ``feature_info``."""
        wanted = [_ENDS[row][0] for row in indices]
        maps = []
        features = self.bn1(self.conv_stem(pixels))
        for number, stage in enumerate(self.blocks):
            features = stage(features)
            if number in wanted:
                maps.append(features)
        return self.bn2(self.conv_head(features)), maps


class NormAct(nn.BatchNorm2d):
    """Batch norm and what follows it; `fold_batch_norm` leaves only ``act``."""

    def __init__(self, channels: int, *, rectify: bool = True) -> None:
        """Normalise (B, ``channels``, h, w)."""
        super().__init__(channels)
        self.act: nn.Module = nn.ReLU(inplace=True) if rectify else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """Normalised, then rectified."""
        rectified: Tensor = self.act(super().forward(features))
        return rectified


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow does: the odd pixel of padding stands at the right and at the bottom."""

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) to (B, C', ceil(h / stride), ceil(w / stride))."""
        sides: list[int] = []
        for axis in (1, 0):  # functional.pad takes the last axis first
            length, kernel, stride = features.shape[2 + axis], self.kernel_size[axis], self.stride[axis]
            total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
            sides += [total // 2, total - total // 2]
        return super().forward(functional.pad(features, sides))


class Residual(nn.Sequential):
    """A block that is added to what entered it."""

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w), as it came."""
        inside = features
        for part in self:
            inside = part(inside)
        return features + inside


def _layers(fused: bool, kernel: int, stride: int, enter: int, inside: int, leave: int) -> list[tuple[Any, ...]]:
    """Convolutions of a block: name, channels in and out, kernel, stride, groups."""
    if fused:
        return [("conv_exp", enter, inside, kernel, stride, 1), ("conv_pwl", inside, leave, 1, 1, 1)]
    return [
        ("conv_pw", enter, inside, 1, 1, 1),
        ("conv_dw", inside, inside, kernel, stride, inside),
        ("conv_pwl", inside, leave, 1, 1, 1),
    ]


def _block(layers: Sequence[tuple[Any, ...]], same_padding: bool, *, skip: bool) -> nn.Sequential:
    """Each convolution with its norm; the last of an expanding block is linear (``conv_pwl``)."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (name, enter, leave, kernel, stride, groups) in enumerate(layers, 1):
        parts[name] = _conv(enter, leave, kernel, stride, same_padding, groups)
        parts[f"bn{number}"] = NormAct(leave, rectify=name != "conv_pwl")
    return Residual(parts) if skip else nn.Sequential(parts)


def _conv(enter: int, leave: int, kernel: int, stride: int, same_padding: bool, groups: int = 1) -> nn.Conv2d:
    """A convolution without bias; with stride 1 the two paddings are the same."""
    if same_padding and stride > 1:
        return SameConv2d(enter, leave, kernel, stride, groups=groups, bias=False)
    return nn.Conv2d(enter, leave, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
