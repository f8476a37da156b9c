"""Regions and words into one space: equations (1) to (6) of [1].

Region vectors (B, N, F) become v (B, N, D); word numbers (C, T) become s (C, T, D). As printed,
lengths carry meaning; ``normalise`` makes every v a unit vector and gives every s a length that is
its share of the sentence, so that eq. (8) is a weighted mean of cosines. `LastState` reads a
sentence as a whole instead: one unit vector.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from regiontalk.text.vocabulary import PAD


class RegionEncoder(nn.Module):
    """Eq. 1 of [1]: v = W_m CNN(I_b) + b_m."""

    def __init__(self, features: int, size: int, *, normalise: bool, dropout: float = 0.0) -> None:
        """Map F ``features`` to D = ``size``; ``normalise`` gives unit vectors."""
        super().__init__()
        self.project = nn.Linear(features, size)
        self.dropout = nn.Dropout(dropout)
        self.normalise = normalise

    def forward(self, features: Tensor) -> Tensor:
        """(B, N, F) to (B, N, D)."""
        vectors = self.project(self.dropout(features))
        return functional.normalize(vectors.float(), dim=-1) if self.normalise else vectors

    @torch.no_grad()
    def absorb(self, centre: Tensor, scale: float) -> None:
        """Take over (features - ``centre``) / ``scale``: from here on the plain features give the same vectors."""
        self.project.weight.div_(scale)
        self.project.bias.sub_(self.project.weight @ centre)


class ReluRecurrence(nn.Module):
    """Eq. 4 and 5 of [1]: h_t = f(e_t + W h_{t-1} + b), f = ReLU, one direction, padding passed over."""

    def __init__(self, size: int) -> None:
        """One direction with H = ``size``."""
        super().__init__()
        self.recur = nn.Linear(size, size)
        nn.init.orthogonal_(
            self.recur.weight, gain=0.5
        )  # a ReLU recurrence with gain 1 grows over long sentences

    def forward(self, inputs: Tensor, mask: Tensor, backward: bool) -> Tensor:
        """(C, T, H) inputs e and (C, T) mask, True = a word, to (C, T, H)."""
        state = inputs.new_zeros(inputs.shape[0], inputs.shape[2])
        states: list[Tensor] = []
        order = range(inputs.shape[1])
        for step in reversed(order) if backward else order:
            fresh = functional.relu(inputs[:, step] + self.recur(state))
            state = torch.where(
                mask[:, step, None], fresh, state
            )  # before the first word the state stays 0
            states.append(state)
        return torch.stack(states[::-1] if backward else states, 1)


class SentenceEncoder(nn.Module):
    """Eq. 2 to 6 of [1]: word vectors, two summed directions, one vector a word in the space of the regions."""

    def __init__(
        self,
        *,
        vocabulary: int,
        word_size: int,
        hidden: int,
        size: int,
        cell: Literal["relu", "gru"],
        normalise: bool,
        dropout: float = 0.0,
    ) -> None:
        """Build the encoder; ``cell`` relu is the paper's, gru the other setting."""
        super().__init__()
        self.embed = nn.Embedding(vocabulary, word_size, padding_idx=PAD)
        self.input = nn.Linear(word_size, hidden)
        self.dropout = nn.Dropout(dropout)
        self.normalise = normalise
        if cell == "relu":
            self.forwards, self.backwards = ReluRecurrence(hidden), ReluRecurrence(hidden)
        else:
            self.recurrent = nn.GRU(hidden, hidden, batch_first=True, bidirectional=True)
        self.output = nn.Linear(hidden, size)
        self.share = nn.Linear(hidden, 1) if normalise else None
        self.cell = cell

    def forward(self, words: Tensor, mask: Tensor | None) -> Tensor:
        """Word numbers (C, T) and mask (C, T), True = a word, to s (C, T, D); rows of padding are 0.

        Without a mask all are words: sentences of one length.
        """
        inputs = functional.relu(self.input(self.dropout(self.embed(words))))  # eq. 3: e_t
        both = self.dropout(self._directions(inputs, mask))  # hf_t + hb_t
        vectors = self.output(both)  # eq. 6
        is_word = torch.ones_like(words) if mask is None else mask
        if self.share is None:
            return functional.relu(vectors) * is_word[..., None]
        weight = functional.softplus(self.share(both).float().squeeze(-1)) * is_word
        weight = weight / weight.sum(1, keepdim=True).clamp(min=1e-6)
        return functional.normalize(vectors.float(), dim=-1) * weight[..., None]

    def _directions(self, inputs: Tensor, mask: Tensor | None) -> Tensor:
        """The sum of the two directions' states (C, T, H): eq. 4 and 5."""
        # an exported GRU is told the lengths by its graph (`runtime.export`), packing does not export
        if self.cell == "gru" and (mask is None or torch.compiler.is_exporting()):
            first, second = self.recurrent(inputs)[0].chunk(2, -1)
            summed: Tensor = first + second
            return summed
        if mask is None:
            mask = torch.ones(inputs.shape[:2], dtype=torch.bool, device=inputs.device)
        if self.cell == "relu":
            both: Tensor = self.forwards(inputs, mask, backward=False) + self.backwards(
                inputs, mask, backward=True
            )
            return both
        if not len(inputs):  # torch cannot pack a batch of no sentences
            return inputs
        lengths = mask.sum(1).clamp(min=1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(
            inputs, lengths, batch_first=True, enforce_sorted=False
        )
        states, _ = nn.utils.rnn.pad_packed_sequence(self.recurrent(packed)[0], batch_first=True)
        states = functional.pad(states, (0, 0, 0, inputs.shape[1] - states.shape[1]))
        first, second = states.chunk(2, -1)
        return first + second


class LastState(nn.Module):
    """A GRU whose last state, at length 1, is the vector of the sentence: the text side of cosine ranking.

    The state after every word is given, so a word's row stands for the words up to it and the last
    row for all.
    """

    def __init__(self, *, vocabulary: int, word_size: int, size: int, dropout: float = 0.0) -> None:
        """Build the encoder with H = D = ``size``."""
        super().__init__()
        self.embed = nn.Embedding(vocabulary, word_size, padding_idx=PAD)
        self.dropout = nn.Dropout(dropout)
        self.recurrent = nn.GRU(word_size, size, batch_first=True)

    def forward(self, words: Tensor, mask: Tensor | None) -> Tensor:
        """Word numbers (C, T) and mask (C, T), True = a word, to unit vectors (C, T, D); rows of padding are 0."""
        if not len(words):  # torch runs no GRU over no sentences
            return torch.zeros(*words.shape, self.recurrent.hidden_size, device=words.device)
        states, _ = self.recurrent(
            self.dropout(self.embed(words))
        )  # padding comes after the words and changes none
        vectors = functional.normalize(states.float(), dim=-1)
        return vectors if mask is None else vectors * mask[..., None]
