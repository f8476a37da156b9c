"""Recurrent cells behind one signature.

So the generator and the search know none of them by name. A cell takes ``drive`` (R,
gates * H), the sum of all that enters from outside (the word, the image, the attended
context, the bias), and its state, and returns the next state; ``state[0]`` is always h
(R, H).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

State = tuple[Tensor, ...]


class ReluCell(nn.Module):
    """Eq. 14 of [1]: h_t = f(drive + W_hh h_{t-1}), f = ReLU."""

    gates, states = 1, 1

    def __init__(self, hidden: int) -> None:
        """Recurrence of H = ``hidden``."""
        super().__init__()
        self.recur = nn.Linear(hidden, hidden, bias=False)
        # the identity: what the state holds stays until something is added (Le, Jaitly & Hinton
        # 2015); a smaller start forgets the image of t = 1 within a few words
        nn.init.eye_(self.recur.weight)

    def forward(self, drive: Tensor, state: State) -> State:
        """(R, H) drive to the next (h,)."""
        (h,) = state
        next_h = functional.relu(drive + self.recur(h))
        return (next_h,)


class GruCell(nn.Module):
    """Gated recurrent unit (Cho et al. 2014); gates in the order reset, update, candidate."""

    gates, states = 3, 1

    def __init__(self, hidden: int) -> None:
        """Recurrence of H = ``hidden``."""
        super().__init__()
        self.recur = nn.Linear(hidden, 3 * hidden)

    def forward(self, drive: Tensor, state: State) -> State:
        """(R, 3H) drive to the next (h,)."""
        (h,) = state
        drive_reset, drive_update, drive_candidate = drive.chunk(3, -1)
        h_reset, h_update, h_candidate = self.recur(h).chunk(3, -1)
        reset = torch.sigmoid(drive_reset + h_reset)
        update = torch.sigmoid(drive_update + h_update)
        candidate = torch.tanh(drive_candidate + reset * h_candidate)
        next_h = candidate + update * (h - candidate)
        return (next_h,)


class LstmCell(nn.Module):
    """Long short-term memory; gates in the order input, forget, candidate, output."""

    gates, states = 4, 2

    def __init__(self, hidden: int) -> None:
        """Recurrence of H = ``hidden``."""
        super().__init__()
        self.recur = nn.Linear(hidden, 4 * hidden, bias=False)

    def forward(self, drive: Tensor, state: State) -> State:
        """(R, 4H) drive to the next (h, c)."""
        h, c = state
        gates = drive + self.recur(h)
        input_gate, forget_gate, candidate, output_gate = gates.chunk(4, -1)
        remembered = torch.sigmoid(forget_gate + 1.0) * c  # +1: remember at first
        next_c = remembered + torch.sigmoid(input_gate) * torch.tanh(candidate)
        next_h = torch.sigmoid(output_gate) * torch.tanh(next_c)
        return next_h, next_c


CELLS: dict[str, type[ReluCell] | type[GruCell] | type[LstmCell]] = {
    "relu": ReluCell,
    "gru": GruCell,
    "lstm": LstmCell,
}
