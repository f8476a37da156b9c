"""Soft attention of [2] against plain loops, and by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from regiontalk.generate.attention import SoftAttention, doubly_stochastic


def slow_attention(
    model: SoftAttention, h: Tensor, values: Tensor
) -> tuple[Tensor, list[float]]:
    """One row: the energy of every place, their softmax, the gated mean.

    The mean is of the annotation vectors.
    """
    energies = []
    for a in values:
        hidden = torch.tanh(
            model.key.weight @ a + model.query.weight @ h + model.query.bias
        )
        energies.append(float(model.energy.weight[0] @ hidden))
    mass = sum(math.exp(energy) for energy in energies)
    weights = [math.exp(energy) / mass for energy in energies]
    context = sum(weight * a for weight, a in zip(weights, values, strict=True))
    gate = 1 / (1 + math.exp(-float(model.gate.weight[0] @ h + model.gate.bias[0])))
    return gate * context, weights


@pytest.mark.parametrize(("rows", "places"), [(1, 1), (3, 7), (4, 2)], ids=str)
@torch.no_grad()
def test_against_plain_loops(rows: int, places: int) -> None:
    torch.manual_seed(0)
    model = SoftAttention(6, 5)
    h, values = torch.randn(rows, 5) * 2, torch.randn(rows, places, 6) * 2
    context, weights = model(h, values, model.key(values))
    assert context.shape == (rows, 6) and weights.shape == (rows, places)
    for row in range(rows):
        expected, slow_weights = slow_attention(model, h[row], values[row])
        torch.testing.assert_close(context[row], expected, rtol=1e-4, atol=1e-5)
        assert weights[row].tolist() == pytest.approx(slow_weights, abs=1e-5)


@torch.no_grad()
def test_attention_by_hand() -> None:
    # A = H = 1; key weight 1, query 0, energy weight ln 3 / tanh 1: places 1 and 0 have energies ln
    # 3 and 0
    model = SoftAttention(1, 1)
    for parameter in model.parameters():
        parameter.zero_()
    model.key.weight.fill_(1.0)
    model.energy.weight.fill_(math.log(3) / math.tanh(1))
    values = torch.tensor([[[1.0], [0.0]]])
    context, weights = model(torch.tensor([[2.0]]), values, model.key(values))
    # softmax(ln 3, 0) = 3/4, 1/4; the mean is .75; the gate is sigmoid(0) = .5
    assert weights[0].tolist() == pytest.approx(
        [0.75, 0.25]
    ) and context.item() == pytest.approx(0.375)


@pytest.mark.parametrize(
    "lengths",
    [[3], [4, 2, 0], [1, 1]],
    ids=["one row", "padded, one empty", "one word each"],
)
def test_doubly_stochastic(lengths: list[int]) -> None:
    torch.manual_seed(0)
    weights = torch.rand(len(lengths), 4, 3).softmax(2)
    mask = torch.arange(4) < torch.tensor(lengths)[:, None]
    expected = 0.0
    for row, length in enumerate(lengths):
        for place in range(3):
            expected += (
                1 - sum(float(weights[row, t, place]) for t in range(length))
            ) ** 2
    assert float(doubly_stochastic(weights, mask)) == pytest.approx(
        expected / len(lengths), abs=1e-6
    )


def test_doubly_stochastic_by_hand() -> None:
    # two words over two places: sums 1.5 and 0.5, (1 - 1.5)^2 + (1 - .5)^2 = .5; a padded third
    # word adds nothing
    weights = torch.tensor([[[1.0, 0.0], [0.5, 0.5], [9.0, 9.0]]])
    assert float(doubly_stochastic(weights, torch.tensor([[True, True, False]]))) == 0.5
