"""Regions and words into one space: equations (1) to (6) of [1].

Region features (B, N, F) become v (B, N, D); token ids (C, T) become s (C, T, D). As
printed, lengths carry meaning; ``normalise`` makes every v a unit vector and gives
every s a length that is its share of the sentence, so that eq. (8) is a weighted mean
of cosines. `GRUSentenceEncoder` reads a sentence as a whole instead: one unit vector.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from regiontalk.text.vocabulary import PAD


class RegionEncoder(nn.Module):
    """Eq. 1 of [1]: v = W_m CNN(I_b) + b_m."""

    def __init__(
        self, features: int, size: int, *, normalise: bool, dropout: float = 0.0
    ) -> None:
        """Map F ``features`` to D = ``size``; ``normalise`` gives unit vectors."""
        super().__init__()
        self.project = nn.Linear(features, size)
        self.dropout = nn.Dropout(dropout)
        self.normalise = normalise

    def forward(self, features: Tensor) -> Tensor:
        """(B, N, F) to (B, N, D)."""
        vectors: Tensor = self.project(self.dropout(features))
        if not self.normalise:
            return vectors
        return functional.normalize(vectors.float(), dim=-1)

    @torch.no_grad()
    def absorb(self, centre: Tensor, scale: float) -> None:
        """Take over (features - ``centre``) / ``scale``.

        From here on the plain features give the same vectors.
        """
        weight, bias = self.project.weight, self.project.bias
        weight.div_(scale)
        bias.sub_(weight @ centre)


class ReluRNN(nn.Module):
    """Eq. 4 and 5 of [1], one direction: h_t = f(e_t + W h_{t-1} + b), f = ReLU.

    Padding is passed over.
    """

    def __init__(self, size: int) -> None:
        """One direction with H = ``size``."""
        super().__init__()
        self.recur = nn.Linear(size, size)
        # a ReLU recurrence with gain 1 grows over long sentences
        nn.init.orthogonal_(self.recur.weight, gain=0.5)

    def forward(self, inputs: Tensor, mask: Tensor, backward: bool) -> Tensor:
        """(C, T, H) inputs e and (C, T) mask, True = a word, to (C, T, H)."""
        if torch.compiler.is_compiling():
            return self._exported(inputs, mask, backward)
        count, length, hidden = inputs.shape
        state = inputs.new_zeros(count, hidden)
        states: list[Tensor] = []
        steps = range(length)
        if backward:
            steps = steps[::-1]
        for t in steps:
            next_state = functional.relu(inputs[:, t] + self.recur(state))
            # before the first word the state stays 0
            state = torch.where(mask[:, t, None], next_state, state)
            states.append(state)
        if backward:
            states.reverse()
        return torch.stack(states, 1)

    def _exported(self, inputs: Tensor, mask: Tensor, backward: bool) -> Tensor:
        """`forward` as the one ONNX operator that it is.

        A loop over words would hold for one length alone. Of padding the states are 0, not the
        last word's; nobody reads them.
        """
        count, length, hidden = inputs.shape
        bias = self.recur.bias
        # the operator multiplies e_t by a matrix, which eq. 4 does not
        weights = torch.eye(hidden)[None], self.recur.weight[None]
        biases = torch.cat([bias, torch.zeros_like(bias)])[None]
        lengths = mask.sum(1).to(torch.int32)
        states = torch.onnx.ops.symbolic(
            "RNN",
            (inputs.transpose(0, 1), *weights, biases, lengths),
            {
                "activations": ["Relu"],
                "direction": "reverse" if backward else "forward",
                "hidden_size": hidden,
            },
            dtype=inputs.dtype,
            shape=(length, 1, count, hidden),
        )
        return states.squeeze(1).transpose(0, 1)


class SentenceEncoder(nn.Module):
    """Eq. 2 to 6 of [1]: word vectors, two summed directions.

    One vector a word in the space of the regions.
    """

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
            self.forwards = ReluRNN(hidden)
            self.backwards = ReluRNN(hidden)
        else:
            self.recurrent = nn.GRU(
                hidden, hidden, batch_first=True, bidirectional=True
            )
        self.output = nn.Linear(hidden, size)
        self.share = nn.Linear(hidden, 1) if normalise else None
        self.cell = cell

    def forward(self, token_ids: Tensor, mask: Tensor | None) -> Tensor:
        """Token ids (C, T) and mask (C, T), True = a word, to s (C, T, D); rows of padding are 0.

        Without a mask all are words: sentences of one length.
        """
        word_vectors = self.dropout(self.embed(token_ids))
        inputs = functional.relu(self.input(word_vectors))  # eq. 3: e_t
        states = self.dropout(self._summed_states(inputs, mask))  # hf_t + hb_t
        vectors = self.output(states)  # eq. 6
        is_word = torch.ones_like(token_ids) if mask is None else mask
        if self.share is None:
            return functional.relu(vectors) * is_word[..., None]
        logits = self.share(states).float().squeeze(-1)  # (C, T)
        weights = functional.softplus(logits) * is_word
        shares = weights / weights.sum(1, keepdim=True).clamp(min=1e-6)
        return functional.normalize(vectors.float(), dim=-1) * shares[..., None]

    def _summed_states(self, inputs: Tensor, mask: Tensor | None) -> Tensor:
        """The sum of the two directions' states (C, T, H): eq. 4 and 5."""
        if self.cell == "gru":
            states = self._gru_states(inputs, mask)  # (C, T, 2H)
            first, second = states.chunk(2, -1)
            summed: Tensor = first + second
            return summed
        if mask is None:
            mask = torch.ones(inputs.shape[:2], dtype=torch.bool, device=inputs.device)
        forward_states = self.forwards(inputs, mask, backward=False)
        backward_states = self.backwards(inputs, mask, backward=True)
        both: Tensor = forward_states + backward_states
        return both

    def _gru_states(self, inputs: Tensor, mask: Tensor | None) -> Tensor:
        """The states (C, T, 2H) of both directions, side by side."""
        # an exported GRU is told the lengths by its graph (`runtime.export`):
        # packing does not export
        if mask is None or torch.compiler.is_compiling():
            states: Tensor = self.recurrent(inputs)[0]
            return states
        count, length, hidden = inputs.shape
        if not count:  # torch cannot pack a batch of no sentences
            return inputs.new_zeros(0, length, 2 * hidden)
        lengths = mask.sum(1).clamp(min=1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(
            inputs, lengths, batch_first=True, enforce_sorted=False
        )
        packed_states, _ = self.recurrent(packed)
        states, _ = nn.utils.rnn.pad_packed_sequence(packed_states, batch_first=True)
        missing_steps = length - states.shape[1]
        return functional.pad(states, (0, 0, 0, missing_steps))


class GRUSentenceEncoder(nn.Module):
    """A GRU whose last state, at length 1, is the vector of the sentence.

    The text side of cosine ranking. The state after every word is given, so a word's
    row stands for the words up to it and the last row for all.
    """

    def __init__(
        self, *, vocabulary: int, word_size: int, size: int, dropout: float = 0.0
    ) -> None:
        """Build the encoder with H = D = ``size``."""
        super().__init__()
        self.embed = nn.Embedding(vocabulary, word_size, padding_idx=PAD)
        self.dropout = nn.Dropout(dropout)
        self.recurrent = nn.GRU(word_size, size, batch_first=True)

    def forward(self, token_ids: Tensor, mask: Tensor | None) -> Tensor:
        """Token ids (C, T) and mask (C, T), True = a word, to unit vectors (C, T, D).

        Rows of padding are 0.
        """
        if not len(token_ids):  # torch runs no GRU over no sentences
            shape = (*token_ids.shape, self.recurrent.hidden_size)
            return torch.zeros(shape, device=token_ids.device)
        word_vectors = self.dropout(self.embed(token_ids))
        # padding comes after the words and changes none
        states, _ = self.recurrent(word_vectors)
        vectors = functional.normalize(states.float(), dim=-1)
        return vectors if mask is None else vectors * mask[..., None]
