"""The recurrent cells against their equations one number at a time.

And against torch's own cells.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from regiontalk.generate.cells import CELLS, GruCell, LstmCell, ReluCell

HIDDEN = 5


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def slow_cell(
    name: str, cell: nn.Module, drive: list[float], state: list[list[float]]
) -> list[list[float]]:
    """One row, one number at a time; gates stand one after the other in the drive."""
    weight, bias = cell.recur.weight.tolist(), cell.recur.bias
    h = state[0]
    recur = [sum(w * x for w, x in zip(row, h, strict=True)) for row in weight]
    if bias is not None:
        recur = [value + b for value, b in zip(recur, bias.tolist(), strict=True)]
    fresh_h, fresh_c = [], []
    for i in range(HIDDEN):
        if name == "relu":
            fresh_h.append(max(0.0, drive[i] + recur[i]))
        elif name == "gru":
            reset = sigmoid(drive[i] + recur[i])
            update = sigmoid(drive[HIDDEN + i] + recur[HIDDEN + i])
            candidate = math.tanh(drive[2 * HIDDEN + i] + reset * recur[2 * HIDDEN + i])
            fresh_h.append((1 - update) * candidate + update * h[i])
        else:
            enter, forget, fresh, leave = (
                drive[k * HIDDEN + i] + recur[k * HIDDEN + i] for k in range(4)
            )
            fresh_c.append(
                sigmoid(forget + 1) * state[1][i] + sigmoid(enter) * math.tanh(fresh)
            )
            fresh_h.append(sigmoid(leave) * math.tanh(fresh_c[i]))
    return [fresh_h, fresh_c] if name == "lstm" else [fresh_h]


def inputs(
    cell: ReluCell | GruCell | LstmCell, rows: int
) -> tuple[Tensor, tuple[Tensor, ...]]:
    chance = torch.Generator().manual_seed(rows)
    drive = torch.randn(rows, cell.gates * HIDDEN, generator=chance) * 2
    return drive, tuple(
        torch.randn(rows, HIDDEN, generator=chance) for _ in range(cell.states)
    )


@pytest.mark.parametrize("rows", [1, 4, 0])
@pytest.mark.parametrize("name", sorted(CELLS))
@torch.no_grad()
def test_against_plain_numbers(name: str, rows: int) -> None:
    torch.manual_seed(0)
    cell = CELLS[name](HIDDEN)
    drive, state = inputs(cell, rows)
    for _ in range(3):  # the state of a step feeds the next
        fresh = cell(drive, state)
        assert [part.shape for part in fresh] == [(rows, HIDDEN)] * cell.states
        for row in range(rows):
            expected = slow_cell(
                name, cell, drive[row].tolist(), [part[row].tolist() for part in state]
            )
            for part, values in zip(fresh, expected, strict=True):
                assert part[row].tolist() == pytest.approx(values, abs=1e-5)
        state = fresh


@pytest.mark.parametrize("name", ["gru", "lstm"])
@torch.no_grad()
def test_against_torch(name: str) -> None:
    torch.manual_seed(0)
    cell = CELLS[name](HIDDEN)
    judge = nn.GRUCell(3, HIDDEN) if name == "gru" else nn.LSTMCell(3, HIDDEN)
    judge.weight_hh.copy_(cell.recur.weight)
    judge.bias_hh.zero_()
    if name == "gru":
        judge.bias_hh.copy_(cell.recur.bias)
    else:
        judge.bias_hh[HIDDEN : 2 * HIDDEN] = 1.0  # the forget gate's +1
    words = torch.randn(4, 3)
    _, state = inputs(cell, 4)
    got = cell(words @ judge.weight_ih.T + judge.bias_ih, state)
    expected = (judge(words, state[0]),) if name == "gru" else judge(words, state)
    for part, other in zip(got, expected, strict=True):
        torch.testing.assert_close(part, other)


@torch.no_grad()
def test_by_hand() -> None:
    relu, gru, lstm = ReluCell(1), GruCell(1), LstmCell(1)
    for cell in (relu, gru, lstm):
        cell.recur.weight.fill_(2.0)
    gru.recur.bias.zero_()
    h = torch.tensor([[0.5]])
    # eq. 14: max(0, -0.4 + 2 * 0.5) = 0.6, and max(0, -3 + 1) = 0
    assert relu(torch.tensor([[-0.4]]), (h,))[0].item() == pytest.approx(0.6)
    assert relu(torch.tensor([[-3.0]]), (h,))[0].item() == 0
    # reset and update sigmoid(-1 + 1) = .5, candidate tanh(.5 + .5 * 1) = tanh 1 = .7616; .5 *
    # .7616 + .5 * .5 = .6308
    assert gru(torch.tensor([[-1.0, -1.0, 0.5]]), (h,))[0].item() == pytest.approx(
        0.6308, abs=1e-4
    )
    # the recurrence adds 2 * .5 = 1 to every gate: enter sigmoid(0) = .5, forget sigmoid(-1 + 1) =
    # .5 with the +1, fresh tanh(1) = .7616, leave sigmoid(0) = .5; c = .5 * 2 + .5 * .7616 =
    # 1.3808, h = .5 * tanh(1.3808) = .5 * .8811 = .4406
    h_next, c_next = lstm(
        torch.tensor([[-1.0, -2.0, 0.0, -1.0]]), (h, torch.tensor([[2.0]]))
    )
    assert c_next.item() == pytest.approx(
        1.3808, abs=1e-4
    ) and h_next.item() == pytest.approx(0.4406, abs=1e-4)
