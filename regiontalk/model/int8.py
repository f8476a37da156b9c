"""The decoder's layers in int8: half the bytes on disk, a third of the time a word takes.

Each row of a weight matrix stands on a grid of its own; what enters is rounded row by
row while the model runs, so that a caption does not depend on what is decoded beside it.
Weights take 127 of 255 steps: products of two neighbours then fit the 16 bits in which
processors without VNNI add them. Both engines multiply the same whole numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from regiontalk.regions.int8_operators import matmul_integer_to_float

LARGEST_INPUT = 127
LARGEST_WEIGHT = 63
_CENTRE = 128  # the byte that stands for 0
_SMALLEST = 1e-12  # of a row's largest number, so that a row of zeros stays one


class Int8Linear(nn.Module):
    """y = x W^T + b with W and x in whole numbers, and what both are multiplied by."""

    weight: Tensor
    weight_scale: Tensor

    def __init__(self, enter: int, leave: int, *, bias: bool) -> None:
        """An empty layer from ``enter`` numbers to ``leave``; a file fills it, or `from_linear`."""
        super().__init__()
        self.register_buffer("weight", torch.zeros(leave, enter, dtype=torch.int8))
        self.register_buffer("weight_scale", torch.zeros(leave))
        self.bias = nn.Parameter(torch.zeros(leave)) if bias else None

    @classmethod
    @torch.no_grad()
    def from_linear(cls, linear: nn.Linear) -> Int8Linear:
        """The nearest layer in int8; each row's largest weight takes the grid's last step."""
        layer = cls(
            linear.in_features, linear.out_features, bias=linear.bias is not None
        )
        weight = linear.weight.detach()
        # as fp16 will hold it, so that a saved model is the one that was measured
        scale = (weight.abs().amax(1).clamp_min(1e-4) / LARGEST_WEIGHT).half().float()
        steps = (weight / scale[:, None]).round().clamp(-LARGEST_WEIGHT, LARGEST_WEIGHT)
        layer.weight.copy_(steps)
        layer.weight_scale.copy_(scale)
        if layer.bias is not None and linear.bias is not None:
            layer.bias.copy_(linear.bias)
        return layer.to(weight.device)

    @torch.no_grad()
    def to_linear(self) -> nn.Linear:
        """The same layer in floating point, which can learn."""
        leave, enter = self.weight.shape
        linear = nn.Linear(enter, leave, bias=self.bias is not None)
        linear.weight.copy_(self.weight * self.weight_scale[:, None])
        if self.bias is not None:
            linear.bias.copy_(self.bias)
        return linear.to(self.weight.device)

    def forward(self, inputs: Tensor) -> Tensor:
        """(R, enter) to (R, leave)."""
        largest = inputs.abs().amax(-1, keepdim=True).clamp_min(_SMALLEST)
        input_scale = largest / LARGEST_INPUT
        steps = (inputs / input_scale).round()
        outputs = self._product(steps) * input_scale
        return outputs if self.bias is None else outputs + self.bias

    def _product(self, steps: Tensor) -> Tensor:
        """Whole numbers (R, enter) times the weights, in float32 (R, leave)."""
        if torch.onnx.is_in_onnx_export():
            codes = (steps + _CENTRE).to(torch.uint8)
            return matmul_integer_to_float(
                codes, self.weight, zero=_CENTRE, scale=self.weight_scale
            )
        # sums of whole numbers below 2^24 are exact in float32
        return functional.linear(steps, self.weight.float()) * self.weight_scale


def use_int8(generator: nn.Module, *, empty: bool = False) -> None:
    """Put the layers that every word passes through in int8, in place.

    ``empty`` leaves them for a file to fill.
    """
    for parent, name in _layers(generator):
        linear = getattr(parent, name)
        if empty:
            sizes = linear.in_features, linear.out_features
            layer = Int8Linear(*sizes, bias=linear.bias is not None)
        else:
            layer = Int8Linear.from_linear(linear)
        setattr(parent, name, layer)


def use_float(generator: nn.Module) -> None:
    """Undo `use_int8`, in place, for training; the weights stay on their grid until they learn."""
    for parent, name in _layers(generator):
        setattr(parent, name, getattr(parent, name).to_linear())


def _layers(generator: nn.Module) -> list[tuple[nn.Module, str]]:
    """The layers of a generator that every word passes through, each by its parent and name."""
    cell = generator.get_submodule("cell")
    return [(generator, "word_drive"), (cell, "recur"), (generator, "output")]
