"""ONNX operators on bytes, as layers in whole numbers write them while a graph is exported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def uint8_constant(value: int) -> Tensor:
    """A constant of a graph."""
    return torch.tensor(value, dtype=torch.uint8)


def onnx_operator(
    name: str,
    inputs: Sequence[Tensor],
    attributes: dict[str, Any],
    shape: Sequence[Any],
    dtype: torch.dtype = torch.uint8,
) -> Tensor:
    """One operator; ``shape`` and ``dtype`` are those of its result."""
    result: Tensor = torch.onnx.ops.symbolic(
        name, inputs, attributes, dtype=dtype, shape=shape, version=1
    )
    return result


def matmul_integer_to_float(
    codes: Tensor,
    weight: Tensor,
    *,
    zero: int,
    scale: Tensor,
    offset: Tensor | None = None,
) -> Tensor:
    """Bytes times whole numbers, as float32 (..., C).

    Unsigned bytes times signed ones are what processors multiply fastest.

    Args:
        codes: (..., K) uint8.
        weight: (C, K) int8.
        zero: the byte that stands for 0.
        scale: (C,) what the sums are multiplied by.
        offset: (C,) added then; None adds nothing.
    """
    zeros = uint8_constant(zero), torch.zeros(len(scale), dtype=torch.int8)
    inputs = [codes, weight.T, torch.ones(()), scale, *zeros]
    if offset is not None:
        inputs.append(offset)
    name = "com.microsoft::MatMulIntegerToFloat"
    return onnx_operator(
        name, inputs, {}, (*codes.shape[:-1], len(scale)), torch.float32
    )
