"""Soft attention of [2]: where each word looks.

`e_ti = f_att(a_i, h_{t-1})`, `alpha = softmax(e)`, `z_t = beta_t sum_i alpha_ti a_i` with the gate
`beta_t = sigmoid(f_beta(h_{t-1}))`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SoftAttention(nn.Module):
    """Additive attention with the gate, over annotation vectors of length A."""

    def __init__(self, size: int, hidden: int) -> None:
        """Attend to vectors of length A = ``size`` from a state of H = ``hidden``."""
        super().__init__()
        self.query = nn.Linear(hidden, size)
        self.key = nn.Linear(size, size, bias=False)
        self.energy = nn.Linear(size, 1, bias=False)
        self.gate = nn.Linear(hidden, 1)

    def forward(
        self, h: Tensor, values: Tensor, keys: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Attend once.

        Args:
            h: (R, H) the state before this word.
            values: (R, P, A) annotation vectors a.
            keys: (R, P, A) ``self.key(values)``, computed once a row.
            mask: (R, P), True = a vector, False = padding, which gets no weight; None where all
                count.

        Returns:
            context z (R, A) and weights alpha (R, P).
        """
        query = self.query(h)[:, None]  # (R, 1, A)
        energy = self.energy(torch.tanh(keys + query)).squeeze(-1)  # (R, P)
        if mask is not None:
            lowest = torch.finfo(energy.dtype).min
            energy = energy.masked_fill(~mask, lowest)
        weights = energy.softmax(-1)
        context = (weights[:, None] @ values).squeeze(1)  # (R, A)
        gate = torch.sigmoid(self.gate(h))  # (R, 1)
        return gate * context, weights


def doubly_stochastic(weights: Tensor, mask: Tensor) -> Tensor:
    """The penalty sum_i (1 - sum_t alpha_ti)^2 of [2], a mean over rows.

    Args:
        weights: (R, T, P) attention of every step.
        mask: (R, T), True = a step that counts.
    """
    counted = weights * mask[..., None]
    totals = counted.sum(1)  # (R, P)
    deviations = (1 - totals).square().sum(1)  # (R,)
    return deviations.mean()
