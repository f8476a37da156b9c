"""The caption generator: a conditional language model of a photo or of any region; equations (13) to (15) of [1].

A condition (R, C) says what to describe: the region's vector, with or without the whole photo's
beside it. With attention the model also sees annotation vectors (R, P, F), the cells of the region
or other regions. The same `_advance` serves teacher forcing and search, so that what is trained is
what is decoded.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from regiontalk.generate.attention import SoftAttention
from regiontalk.generate.cells import CELLS
from regiontalk.generate.config import GeneratorConfig
from regiontalk.text.vocabulary import PAD, START, Vocabulary


class Generator(nn.Module):
    """Words one by one, given a picture or a region."""

    def __init__(
        self, *, features: int, annotation: int, vocabulary: Vocabulary, config: GeneratorConfig
    ) -> None:
        """Build the model.

        Args:
            features: C, the length of a condition.
            annotation: F, the length of an annotation vector (unused without attention).
            vocabulary: its size gives V, its counts the first output bias.
            config: sizes and choices.
        """
        super().__init__()
        self.config = config
        hidden, word_size = config.hidden, config.word_size
        self.cell = CELLS[config.cell](hidden)
        self.embed = nn.Embedding(len(vocabulary), word_size, padding_idx=PAD)
        self.word_drive = nn.Linear(word_size, self.cell.gates * hidden)  # W_hx and b_h
        if config.bottleneck:
            self.squeeze = nn.Linear(features, config.bottleneck)
        drives = self.cell.states if config.picture == "state" else self.cell.gates
        self.picture = nn.Linear(config.bottleneck or features, drives * hidden)  # W_hi of eq. 13
        if config.attention:
            self.annotate = nn.Linear(annotation, config.attention)
            self.attend = SoftAttention(config.attention, hidden)
            self.context_drive = nn.Linear(config.attention, self.cell.gates * hidden, bias=False)
            self.context_out = nn.Linear(config.attention, word_size, bias=False)
            self.deep = nn.Linear(hidden, word_size)
        self.output = nn.Linear(
            word_size if config.attention else hidden, len(vocabulary)
        )  # W_oh and b_o
        self.output.bias.data.copy_(vocabulary_log_frequency(vocabulary))
        self.dropout = nn.Dropout(config.dropout)
        self.condition_dropout = nn.Dropout(config.condition_dropout)

    @property
    def cell_parts(self) -> int:
        """Tensors of a cell state: those of the recurrence, and what attention looking after it saw last."""
        return self.cell.states + (self.config.attention > 0 and self.config.look == "after")

    def start(
        self, condition: Tensor, annotations: Tensor | None, mask: Tensor | None = None
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Prepare R pictures or regions.

        Args:
            condition: (R, C).
            annotations: (R, P, F), or None without attention.
            mask: (R, P), True = an annotation vector, False = padding; None where all count.

        Returns:
            The first cell state, and the memory that stays the same while words are written:
            (picture drive,) or (picture drive, values, keys) and perhaps the mask, each with R
            rows.
        """
        condition = self.condition_dropout(condition)
        if self.config.bottleneck:
            condition = functional.relu(self.squeeze(condition))
        picture = self.picture(condition)
        if self.config.picture == "state":
            state = torch.tanh(picture).chunk(self.cell.states, -1)
        else:
            # shape[0], not len(), which the export would take for a constant
            size = picture.shape[0], self.config.hidden
            state = tuple(picture.new_zeros(size) for _ in range(self.cell.states))
        if not self.config.attention:
            return state, (picture,)
        if annotations is None:
            raise ValueError(
                "generator: expected annotation vectors (R, P, F), got None; the model attends"
            )
        values = functional.relu(self.annotate(annotations))
        if (
            self.config.look == "after"
        ):  # what was seen last is part of the state: the next word's drive reads it
            state = (*state, values.new_zeros(values.shape[0], self.config.attention))
        return state, (picture, values, self.attend.key(values), *([] if mask is None else [mask]))

    def forward(
        self,
        condition: Tensor,
        annotations: Tensor | None,
        words: Tensor,
        mask: Tensor | None = None,
        rows: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Teacher forcing.

        Args:
            condition: (R, C).
            annotations: (R, P, F) or None.
            words: (S, T) int64, START first, then words, then PAD.
            mask: (R, P), True = an annotation vector; None where all count.
            rows: (S,) int64, which of R each text is about; None where text s is about s.

        Returns:
            logits (S, T, V) of the word after each, and attention (S, T, P) or None; both 0 where a
            text is over.
        """
        return self.read(*self.start(condition, annotations, mask), words, rows)

    def read(
        self,
        state: tuple[Tensor, ...],
        memory: tuple[Tensor, ...],
        words: Tensor,
        rows: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """`forward` from what `start` prepared once, for several readings of the same rows."""
        count, longest = words.shape
        places = torch.arange(longest, device=words.device)
        lengths, order = ((words != PAD) * (1 + places)).amax(1).sort(descending=True, stable=True)
        own = order if rows is None else rows[order]
        state, memory = (
            tuple(part.index_select(0, own) for part in parts) for parts in (state, memory)
        )
        goes_on = (
            lengths > places[:, None]
        )  # (T, S): the longest texts stand first, so fewer and fewer rows go on
        where = (order * longest + places[:, None])[
            goes_on
        ]  # of every word that is read, step by step
        words = words.flatten()[where]
        embedded = self.dropout(self.embed(words))
        live = goes_on.sum(1).tolist()
        inputs = (
            part.split(live) for part in (embedded, self.word_drive(embedded), words == START)
        )
        outputs, looks = [], []
        for vector, drive, first in zip(*inputs, strict=True):
            state, memory = (
                tuple(part[: len(first)] for part in parts) for parts in (state, memory)
            )
            state, context, look = self._advance(drive, first, state, memory)
            outputs.append(self._hidden_output(vector, state[0], context))
            looks.append(look)

        def spread(found: Tensor) -> Tensor:
            whole = found.new_zeros(count * longest, found.shape[1])
            return whole.index_copy(0, where, found).view(count, longest, -1)

        logits = self.output(self.dropout(torch.cat(outputs)))
        seen = [look for look in looks if look is not None]
        return spread(logits), spread(torch.cat(seen)) if seen else None

    def look_step(
        self, words: Tensor, state: tuple[Tensor, ...], memory: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...], Tensor | None]:
        """One word further, for search; the rows of all three agree.

        Returns:
            Log-probabilities (R, V), the next cell state, and attention (R, P) or None.
        """
        embedded = self.embed(words)
        state, context, look = self._advance(
            self.word_drive(embedded), words == START, state, memory
        )
        logits = self.output(self._hidden_output(embedded, state[0], context))
        return logits.float().log_softmax(-1), state, look

    def _advance(
        self, drive: Tensor, first: Tensor, state: tuple[Tensor, ...], memory: tuple[Tensor, ...]
    ) -> tuple[tuple[Tensor, ...], Tensor | None, Tensor | None]:
        """Eq. 14: the next state from the word's drive (R, G*H); ``first`` (R,), True = t is 1."""
        if self.config.picture == "every":
            drive = drive + memory[0]
        elif self.config.picture == "first":
            drive = drive + memory[0] * first[:, None]
        if not self.config.attention:
            return self.cell(drive, state), None, None
        if self.config.look == "after":
            state = self.cell(drive + self.context_drive(state[-1]), state[:-1])
            context, look = self.attend(state[0], *memory[1:])
            return (*state, context), context, look
        context, look = self.attend(state[0], *memory[1:])
        return self.cell(drive + self.context_drive(context), state), context, look

    def _hidden_output(self, embedded: Tensor, h: Tensor, context: Tensor | None) -> Tensor:
        """What the softmax of eq. 15 reads: h alone, or with attention the deep output of [2]."""
        return (
            h
            if context is None
            else torch.tanh(embedded + self.deep(h) + self.context_out(context))
        )


def vocabulary_log_frequency(vocabulary: Vocabulary) -> Tensor:
    """Log unigram frequency (V,) of every word; END counts as often as the most frequent word, the others hardly."""
    counts = torch.full((len(vocabulary),), 1e-2)
    counts[4:] = torch.tensor(vocabulary.counts, dtype=torch.float32)
    counts[2] = counts.max()  # a sentence has one END and, in this data, about one "a"
    return (counts / counts.sum()).log()


def caption_loss(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy of the next word: logits (R, T, V), targets (R, T) int64 with PAD where nothing counts."""
    counted = targets != PAD
    return functional.cross_entropy(
        logits[counted].float(), targets[counted], label_smoothing=smoothing
    )
