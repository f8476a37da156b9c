"""MobileNet-EdgeTPU and EfficientNet-Lite, the backbones of bundled models, without timm.

The same networks with the same names of tensors as timm's, so weights pass between them (a test
holds each against timm's). A model that is loaded for use takes these: timm brings torchvision and
torch's compiler, which start three times slower and hold 200 MB more than all the rest of a caption
(benchmarks/cold_start.py).

Pixels (B, 3, S, S) enter; stages leave maps at strides 2, 4, 8, 16, 32, the head convolution
(B, 1280, S/32, S/32).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal, NamedTuple

from torch import Tensor, nn
from torch.nn import functional


class Stage(NamedTuple):
    """Blocks of one size: ``expansions`` has the growth of each block inside it."""

    kind: Literal["plain", "separable", "fused", "inverted"]
    kernel: int
    stride: int
    channels: int
    expansions: tuple[int, ...]


class Network(NamedTuple):
    """One network.

    Attributes:
        stages: after the stem of 32 channels.
        ends: for each of the strides 2, 4, 8, 16, 32 the number of the last stage that has it.
        same_padding: TensorFlow's padding; None leaves the choice to whoever builds it.
        norm_eps: of the batch norms.
        largest: activations are cut there (ReLU6); None for plain ReLU.
    """

    stages: tuple[Stage, ...]
    ends: tuple[int, ...]
    same_padding: bool | None
    norm_eps: float
    largest: float | None


def _lite(width: float, depth: float) -> Network:
    """EfficientNet-Lite (the B0 stages, wider and deeper).

    Its stem, head and first and last stage keep their size.
    """
    stages = [Stage("separable", 3, 1, _round_channels(16 * width), (1,))]
    sizes = (  # kernel, stride, channels, blocks
        (3, 2, 24, 2),
        (5, 2, 40, 2),
        (3, 2, 80, 3),
        (5, 1, 112, 3),
        (5, 2, 192, 4),
    )
    for kernel, stride, base_channels, blocks in sizes:
        channels = _round_channels(base_channels * width)
        expansions = (6,) * math.ceil(blocks * depth)
        stages.append(Stage("inverted", kernel, stride, channels, expansions))
    stages.append(Stage("inverted", 3, 1, _round_channels(320 * width), (6,)))
    return Network(
        tuple(stages), (0, 1, 2, 4, 6), same_padding=True, norm_eps=1e-3, largest=6.0
    )


def _round_channels(channels: float) -> int:
    """The nearest multiple of 8, but never below nine tenths of what was asked for."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    if rounded < 0.9 * channels:
        rounded += 8
    return rounded


NETWORKS = {
    "mobilenet_edgetpu_100": Network(
        (
            Stage("plain", 1, 1, 16, (1,)),
            Stage("fused", 3, 2, 32, (8, 4, 4, 4)),
            Stage("fused", 3, 2, 48, (8, 4, 4, 4)),
            Stage("inverted", 3, 2, 96, (8, 4, 4, 4)),
            Stage("inverted", 3, 1, 96, (8, 4, 4, 4)),
            Stage("inverted", 5, 2, 160, (8, 4, 4, 4)),
            Stage("inverted", 3, 1, 192, (8,)),
        ),
        (0, 1, 2, 4, 6),
        same_padding=None,
        norm_eps=1e-5,
        largest=None,
    ),
    "tf_efficientnet_lite0": _lite(1.0, 1.0),
    "tf_efficientnet_lite1": _lite(1.0, 1.1),
    "tf_efficientnet_lite2": _lite(1.1, 1.2),
}
STEM_CHANNELS = 32


class MobileNet(nn.Module):
    """A network without its classifier, with as much of timm's interface as `Backbone` asks for."""

    num_features = 1280

    def __init__(self, name: str, *, same_padding: bool = False) -> None:
        """Build the network of `NETWORKS`.

        ``same_padding`` is for the one that leaves the choice.
        """
        super().__init__()
        network = NETWORKS[name]
        if network.same_padding is not None:
            same_padding = network.same_padding
        build = _Builder(network, same_padding)
        self.conv_stem = build.conv(3, STEM_CHANNELS, 3, 2)
        self.bn1 = build.norm(STEM_CHANNELS)
        stages, channels = [], STEM_CHANNELS
        for stage in network.stages:
            stages.append(build.stage(stage, channels))
            channels = stage.channels
        self.blocks = nn.Sequential(*stages)
        self.conv_head = build.conv(channels, self.num_features, 1, 1)
        self.bn2 = build.norm(self.num_features)
        self._ends = network.ends
        self.feature_info = [
            {
                "module": f"blocks.{row}",
                "reduction": 2 << level,
                "num_chs": network.stages[row].channels,
            }
            for level, row in enumerate(network.ends)
        ]

    def forward_intermediates(
        self, pixels: Tensor, indices: Sequence[int]
    ) -> tuple[Tensor, list[Tensor]]:
        """The map after the head convolution.

        And the maps of the chosen rows of ``feature_info``.
        """
        wanted = [self._ends[row] for row in indices]
        maps = []
        features = self.bn1(self.conv_stem(pixels))
        for number, stage in enumerate(self.blocks):
            features = stage(features)
            if number in wanted:
                maps.append(features)
        return self.bn2(self.conv_head(features)), maps


class NormAct(nn.BatchNorm2d):
    """Batch norm and what follows it; `fold_batch_norm` leaves only ``act``."""

    def __init__(
        self,
        channels: int,
        *,
        eps: float = 1e-5,
        rectify: bool = True,
        largest: float | None = None,
    ) -> None:
        """Normalise (B, ``channels``, h, w); what is rectified is cut at ``largest``."""
        super().__init__(channels, eps=eps)
        self.act: nn.Module = nn.Identity()
        if rectify:
            self.act = (
                nn.ReLU(inplace=True)
                if largest is None
                else nn.Hardtanh(0.0, largest, inplace=True)
            )

    def forward(self, features: Tensor) -> Tensor:
        """Normalised, then rectified."""
        rectified: Tensor = self.act(super().forward(features))
        return rectified


def same_padding_sides(
    size_hw: Sequence[int], kernel_hw: Sequence[int], stride_hw: Sequence[int]
) -> list[int]:
    """TensorFlow's padding of a map: left, right, top and bottom, as `functional.pad` takes it."""
    sides: list[int] = []
    for axis in (1, 0):  # functional.pad takes the last axis first
        length, kernel, stride = size_hw[axis], kernel_hw[axis], stride_hw[axis]
        steps = -(-length // stride) - 1  # from the first kernel to the last
        total = max(steps * stride + kernel - length, 0)
        before = total // 2
        sides += [before, total - before]
    return sides


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow does.

    The odd pixel of padding stands at the right and at the bottom.
    """

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) to (B, C', ceil(h / stride), ceil(w / stride))."""
        sides = same_padding_sides(features.shape[2:], self.kernel_size, self.stride)
        return super().forward(functional.pad(features, sides))


class Residual(nn.Sequential):
    """A block that is added to what entered it."""

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w), as it came."""
        inside = features
        for layer in self:
            inside = layer(inside)
        return features + inside


class _Builder:
    """Convolutions, norms and blocks of one network."""

    def __init__(self, network: Network, same_padding: bool) -> None:
        self._network = network
        self._same_padding = same_padding

    def stage(self, stage: Stage, channels: int) -> nn.Sequential:
        """The blocks of a stage that ``channels`` enter.

        Only the first may stride or change their number.
        """
        blocks = []
        for row, expansion in enumerate(stage.expansions):
            stride = stage.stride if row == 0 else 1
            blocks.append(self.block(stage, channels, expansion, stride, skip=row > 0))
            channels = stage.channels
        return nn.Sequential(*blocks)

    def conv(
        self, enter: int, leave: int, kernel: int, stride: int, groups: int = 1
    ) -> nn.Conv2d:
        """A convolution without bias; with stride 1 the two paddings are the same."""
        if self._same_padding and stride > 1:
            return SameConv2d(enter, leave, kernel, stride, groups=groups, bias=False)
        return nn.Conv2d(
            enter, leave, kernel, stride, padding=kernel // 2, groups=groups, bias=False
        )

    def norm(self, channels: int, *, rectify: bool = True) -> NormAct:
        """A batch norm with the network's activation."""
        return NormAct(
            channels,
            eps=self._network.norm_eps,
            rectify=rectify,
            largest=self._network.largest,
        )

    def block(
        self, stage: Stage, enter: int, expansion: int, stride: int, *, skip: bool
    ) -> nn.Sequential:
        """Each convolution with its norm.

        The last of a block that expands or separates is linear.
        """
        convolutions = _convolutions(stage, enter, expansion, stride)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for number, (name, sizes) in enumerate(convolutions.items(), start=1):
            layers[name] = self.conv(*sizes)
            is_linear = stage.kind != "plain" and number == len(convolutions)
            layers[f"bn{number}"] = self.norm(sizes.leave, rectify=not is_linear)
        return Residual(layers) if skip else nn.Sequential(layers)


class _Sizes(NamedTuple):
    """One convolution: channels that enter and leave, and the arguments of its kernel."""

    enter: int
    leave: int
    kernel: int
    stride: int = 1
    groups: int = 1


def _convolutions(
    stage: Stage, enter: int, expansion: int, stride: int
) -> dict[str, _Sizes]:
    """The convolutions of a block in their order, by timm's names."""
    inside, kernel, leave = enter * expansion, stage.kernel, stage.channels
    if stage.kind == "plain":
        return {"conv": _Sizes(enter, leave, kernel, stride)}
    if stage.kind == "separable":
        return {
            "conv_dw": _Sizes(enter, enter, kernel, stride, groups=enter),
            "conv_pw": _Sizes(enter, leave, 1),
        }
    if stage.kind == "fused":
        return {
            "conv_exp": _Sizes(enter, inside, kernel, stride),
            "conv_pwl": _Sizes(inside, leave, 1),
        }
    return {
        "conv_pw": _Sizes(enter, inside, 1),
        "conv_dw": _Sizes(inside, inside, kernel, stride, groups=inside),
        "conv_pwl": _Sizes(inside, leave, 1),
    }
