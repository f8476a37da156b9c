"""How weights and activations become whole numbers with little lost: pure functions.

A layer's weights W (R, K) are replaced by whole numbers Q times a scale a row. What is
lost is what its outputs lose on real inputs x, E |W x - Q s x|^2, so the covariance of
x decides which way each weight is rounded (GPTQ, Frantar et al., 2023), after least
squares has made good what the layers before have lost. G groups stand for a depthwise
convolution's channels, each with its own K inputs; a dense one has a single group.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

LARGEST_WEIGHT = 127
# of two weights that processors without VNNI add in 16 bits: 255 * 128 is below 2^15
LARGEST_PAIR = 128
# of products with bytes; with as large a bias it is below 2^24, where float32 is exact
LARGEST_SUM = 2**23 - 1
Pairs = Literal["none", "neighbours", "any"]
"""Which two of a row's products a processor may add in 16 bits."""

_RIDGE = 0.02  # of the mean variance: how much least squares trusts the float weights
_DAMPING = 0.01  # of the mean variance, so that the covariance has an inverse
_SMALLEST_SCALE = 4e-5  # which fp16 still holds; 255 of it are below 2^24
_RANGES = (1.15, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.22, 0.16)  # of the extremes
_SMALLEST_RANGE = 1e-3
_SMALLEST = 1e-6  # variance, of channels that never vary
_BYTE = 255


class Moments(NamedTuple):
    """What is known of a layer's inputs x and of the outputs y that it should have.

    Attributes:
        input_mean: (G, K).
        output_mean: (G, R).
        covariance: (G, K, K) of x.
        cross: (G, R, K) of y and x.
    """

    input_mean: Tensor
    output_mean: Tensor
    covariance: Tensor
    cross: Tensor


def measure_moments(chunks: Iterator[tuple[Tensor, Tensor]]) -> Moments:
    """The moments of inputs (G, K, S) and outputs (G, R, S) that come a few at a time."""
    inputs, outputs = next(chunks)
    moments, count = _sums(inputs, outputs), inputs.shape[2]
    for inputs, outputs in chunks:
        for total, more in zip(moments, _sums(inputs, outputs), strict=True):
            total.add_(more)
        count += inputs.shape[2]
    for sums in moments:
        sums.div_(count)
    means = moments.input_mean[:, None, :]
    moments.covariance.sub_(moments.input_mean[:, :, None] * means)
    moments.cross.sub_(moments.output_mean[:, :, None] * means)
    return moments


def _sums(inputs: Tensor, outputs: Tensor) -> Moments:
    """Sums over the last axis where `Moments` has means."""
    return Moments(
        inputs.sum(2), outputs.sum(2), inputs @ inputs.mT, outputs @ inputs.mT
    )


def least_squares(weights: Tensor, moments: Moments) -> Tensor:
    """The weights (G, R, K) that give the outputs best, held to those that there are."""
    ridge = _RIDGE * _diagonal(moments.covariance)
    left = (moments.covariance + ridge).double()
    right = (moments.cross + weights @ ridge).double()
    solved: Tensor = torch.linalg.solve(left, right.transpose(1, 2))
    return solved.transpose(1, 2).to(weights.dtype)


def row_scales(weights: Tensor, pairs: Pairs) -> Tensor:
    """The scale (G, R) by which each row of weights (G, R, K) fits int8, as fp16 holds it."""
    scale = weights.abs().amax(2) / LARGEST_WEIGHT
    scale = torch.maximum(scale, weights.abs().sum(2) * _BYTE / LARGEST_SUM)
    if pairs != "none":
        two_sums = [_largest_pair(sign * weights, pairs) for sign in (1, -1)]
        # two steps less, which rounding may add
        scale = torch.maximum(scale, torch.maximum(*two_sums) / (LARGEST_PAIR - 2))
    return scale.clamp_min(_SMALLEST_SCALE).half().float()


def _largest_pair(weights: Tensor, pairs: Pairs) -> Tensor:
    """The largest sum (G, R) of two positive weights of a row."""
    positive = weights.clamp_min(0)
    if weights.shape[2] < 2:
        return positive.amax(2)
    if pairs == "any":
        return positive.topk(2, 2).values.sum(2)
    even = positive.shape[2] // 2 * 2
    return (positive[:, :, :even:2] + positive[:, :, 1:even:2]).amax(2)


def round_rows(
    weights: Tensor, scale: Tensor, covariance: Tensor, pairs: Pairs = "none"
) -> Tensor:
    """Whole numbers (G, R, K) whose multiples of ``scale`` stand for weights (G, R, K).

    GPTQ: column by column, each rounding's error is made good by the columns that follow.

    Args:
        weights: float.
        scale: (G, R).
        covariance: (G, K, K) of the inputs.
        pairs: which two of a row must not exceed `LARGEST_PAIR`.
    """
    upper = _factor(covariance)
    remaining, steps = weights.clone(), torch.zeros_like(weights)
    for column in range(weights.shape[2]):
        rounded = (remaining[:, :, column] / scale).round()
        if pairs == "neighbours" and column % 2:
            rounded = _beside(steps[:, :, column - 1], rounded)
        rounded = rounded.clamp(-LARGEST_WEIGHT, LARGEST_WEIGHT)
        steps[:, :, column] = rounded
        error = remaining[:, :, column] - rounded * scale
        error = error / upper[:, column, column, None]
        follow = upper[:, column, None, column + 1 :]
        remaining[:, :, column + 1 :] -= error[:, :, None] * follow
    return steps


def _factor(covariance: Tensor) -> Tensor:
    """The upper Cholesky factor (G, K, K) of the damped covariance's inverse."""
    damped = covariance + _DAMPING * _diagonal(covariance)
    inverse = torch.linalg.inv(damped.double())
    upper: Tensor = torch.linalg.cholesky((inverse + inverse.mT) / 2, upper=True)
    return upper.float()


def _beside(neighbour: Tensor, rounded: Tensor) -> Tensor:
    """Weights of which none has a larger sum with its neighbour than `LARGEST_PAIR`."""
    high = LARGEST_PAIR - neighbour.clamp_min(0)
    low = -LARGEST_PAIR - neighbour.clamp_max(0)
    return torch.minimum(torch.maximum(rounded, low), high)


def rectified_scale(values: Tensor, largest: float | None) -> Tensor:
    """The step (C,) of each channel of rectified values (C, S) that loses least."""
    rectified = values.clamp(0, largest)
    extreme = rectified.amax(1).clamp_min(_SMALLEST_RANGE)
    losses, scales = [], []
    for share in _RANGES:
        scale = (extreme * share).clamp_max(largest or float("inf")) / _BYTE
        rounded = (rectified / scale[:, None]).round().clamp(0, _BYTE)
        losses.append((rounded * scale[:, None] - rectified).square().mean(1))
        scales.append(scale)
    best = torch.stack(losses).argmin(0, keepdim=True)
    return torch.stack(scales).gather(0, best)[0]


def balanced(scale: Tensor) -> Tensor:
    """Steps (C,) half way to the largest.

    A channel's own step loses none of its values, but makes the next layer's weights uneven.
    """
    return (scale * scale.max()).sqrt()


def stream_scales(maps: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """One step (C,) for the channels of several maps (C, S), and the middle of each (C,)."""
    spans = [values.amax(1) - values.amin(1) for values in maps]
    extreme = torch.stack(spans).amax(0).clamp_min(_SMALLEST_RANGE)
    choices = [_stream_choice(maps, extreme, share) for share in _RANGES]
    best = torch.stack([loss for loss, _, _ in choices]).argmin(0, keepdim=True)
    scales = torch.stack([scale for _, scale, _ in choices])
    middles = torch.stack([by_map for _, _, by_map in choices])
    chosen = middles.gather(0, best[:, None].expand(1, len(maps), -1))[0]
    return scales.gather(0, best)[0], list(chosen)


def _stream_choice(
    maps: Sequence[Tensor], extreme: Tensor, share: float
) -> tuple[Tensor, Tensor, Tensor]:
    """What steps over a share of the extreme spans (C,) lose (C,), those steps, and middles."""
    scale = extreme * share / _BYTE
    middles = torch.stack([_middle(values, share) for values in maps])
    loss = torch.zeros_like(scale)
    for values, middle in zip(maps, middles, strict=True):
        steps = (values - middle[:, None]) / scale[:, None]
        error = (steps - steps.round().clamp(-128, 127)) * scale[:, None]
        loss = loss + error.square().mean(1)
    return loss, scale, middles


def _middle(values: Tensor, share: float) -> Tensor:
    """The middle (C,) of a share of the range of values (C, S), about their mean."""
    mean = values.mean(1)
    middle = (values.amin(1) + values.amax(1)) / 2
    return mean + min(share, 1.0) * (middle - mean)


def _diagonal(covariance: Tensor) -> Tensor:
    """The mean variance of each group (G, K, K), on the diagonal."""
    variance = covariance.diagonal(dim1=1, dim2=2).mean(1).clamp_min(_SMALLEST)
    return variance[:, None, None] * torch.eye(covariance.shape[1])
