"""How weights and activations become whole numbers: against brute force and by hand."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from regiontalk.train.rounding import (
    LARGEST_PAIR,
    LARGEST_WEIGHT,
    Moments,
    balanced,
    least_squares,
    measure_moments,
    rectified_scale,
    round_rows,
    row_scales,
    stream_scales,
)


def correlated(size: int, count: int = 4000) -> Tensor:
    """Inputs (1, K, S) that depend on each other."""
    torch.manual_seed(0)
    return (torch.randn(size, size) @ torch.randn(size, count))[None]


def covariance_of(inputs: Tensor) -> Tensor:
    """(1, K, K)."""
    centred = inputs - inputs.mean(2, keepdim=True)
    return centred @ centred.mT / inputs.shape[2]


def loss(weights: Tensor, steps: Tensor, scale: Tensor, covariance: Tensor) -> float:
    """What the outputs of all rows lose."""
    error = weights - steps * scale[:, :, None]
    return float((error @ covariance * error).sum())


def test_moments_of_chunks_are_those_of_all() -> None:
    torch.manual_seed(0)
    inputs, outputs = torch.randn(2, 3, 50) + 1, torch.randn(2, 4, 50) - 2
    chunks = zip(inputs.split(20, 2), outputs.split(20, 2), strict=True)
    moments = measure_moments(chunks)
    for group in range(2):
        both = torch.cat([inputs[group], outputs[group]])
        wanted = torch.cov(both, correction=0)
        torch.testing.assert_close(moments.covariance[group], wanted[:3, :3])
        torch.testing.assert_close(moments.cross[group], wanted[3:, :3])
    torch.testing.assert_close(moments.input_mean, inputs.mean(2))
    torch.testing.assert_close(moments.output_mean, outputs.mean(2))


def test_least_squares_finds_the_weights_of_a_line() -> None:
    inputs = correlated(5)
    truth = torch.randn(1, 2, 5)
    moments = measure_moments(iter([(inputs, truth @ inputs)]))
    solved = least_squares(truth, moments)
    torch.testing.assert_close(solved, truth, rtol=1e-3, atol=1e-3)
    # held to other weights, it moves most of the way
    others = truth + 1
    moved = least_squares(others, moments)
    assert (moved - truth).abs().mean() < 0.7 * (others - truth).abs().mean()


def test_dead_inputs_keep_their_weights() -> None:
    zeros = torch.zeros(1, 3, 3)
    moments = Moments(torch.zeros(1, 3), torch.zeros(1, 2), zeros, torch.zeros(1, 2, 3))
    weights = torch.randn(1, 2, 3)
    torch.testing.assert_close(least_squares(weights, moments), weights)


def test_rounding_is_near_the_best_there_is() -> None:
    """All 4 ** 5 ways to round five weights up or down are tried."""
    inputs = correlated(5)
    covariance = covariance_of(inputs)
    weights, scale = torch.randn(1, 1, 5), torch.full((1, 1), 0.3)
    low = (weights / scale).floor()
    ways = [
        low + torch.tensor(way).view(1, 1, 5)
        for way in itertools.product((-1, 0, 1, 2), repeat=5)
    ]
    losses = [loss(weights, way, scale, covariance) for way in ways]
    steps = round_rows(weights, scale, covariance)
    plain = loss(weights, (weights / scale).round(), scale, covariance)
    assert loss(weights, steps, scale, covariance) <= max(2 * min(losses), 0.5 * plain)


def test_rounding_beats_the_nearest_numbers() -> None:
    covariance = covariance_of(correlated(48))
    weights = torch.randn(1, 16, 48)
    scale = row_scales(weights, "none")
    nearest = (weights / scale[:, :, None]).round()
    steps = round_rows(weights, scale, covariance)
    assert loss(weights, steps, scale, covariance) < 0.7 * loss(
        weights, nearest, scale, covariance
    )
    assert steps.abs().max() <= LARGEST_WEIGHT


@pytest.mark.parametrize("pairs", ["neighbours", "any"])
def test_two_products_fit_16_bits(pairs: str) -> None:
    torch.manual_seed(1)
    weights = torch.randn(1, 64, 27 if pairs == "any" else 40)
    weights[0, 0] = 1.0  # the worst row: all alike
    covariance = covariance_of(correlated(weights.shape[2]))
    scale = row_scales(weights, pairs)  # type: ignore[arg-type]
    steps = round_rows(weights, scale, covariance, pairs)  # type: ignore[arg-type]
    even = steps[:, :, : steps.shape[2] // 2 * 2].unflatten(2, (-1, 2))
    for sign in (1, -1):
        sums = (sign * even).clamp_min(0).sum(3)
        assert sums.max() <= LARGEST_PAIR
        assert 255 * sums.max() < 2**15


def test_sums_are_exact_in_float32() -> None:
    weights = torch.ones(1, 1, 4000)  # with 127 steps each they would exceed 2^24
    steps = weights / row_scales(weights, "none")[:, :, None]
    assert 127 * 4000 * 255 > 2**24
    assert steps.sum() * 255 < 1.01 * 2**23


def test_scales_are_what_fp16_holds() -> None:
    scale = row_scales(torch.randn(1, 9, 20), "none")
    assert scale.equal(scale.half().float())
    assert row_scales(torch.zeros(1, 1, 4), "none").item() > 0


def test_a_step_loses_little_of_rectified_values() -> None:
    torch.manual_seed(0)
    values = torch.stack([torch.rand(5000) * 4, torch.randn(5000), torch.zeros(5000)])
    scale = rectified_scale(values, None)
    assert scale[0].item() == pytest.approx(4 / 255, rel=0.16)
    rectified = values[1].clamp_min(0)

    def lost(step: Tensor) -> Tensor:
        rounded = (rectified / step).round().clamp_max(255) * step
        return (rounded - rectified).square().mean()

    for step in rectified.max() / 255 * torch.tensor([1.15, 1.0, 0.8, 0.5]):
        assert lost(scale[1]) <= lost(step)
    assert scale[2].item() > 0
    assert rectified_scale(values, 6.0).max() <= 6 / 255


def test_balanced_steps_are_half_way_by_hand() -> None:
    assert balanced(torch.tensor([1.0, 4.0])).tolist() == [2.0, 4.0]


def test_maps_of_a_stage_share_steps_and_have_their_own_middles() -> None:
    torch.manual_seed(0)
    first, second = torch.rand(1, 5000) * 10, torch.rand(1, 5000) * 20 - 50
    scale, middles = stream_scales([first, second])
    assert scale.item() == pytest.approx(20 / 255, rel=0.16)
    assert middles[0].item() == pytest.approx(5, abs=0.2)
    assert middles[1].item() == pytest.approx(-40, abs=0.2)
