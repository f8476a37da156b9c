"""The caption generator: a conditional language model of a photo or of any region.

Equations (13) to (15) of [1]. A condition (R, C) says what to describe: the region's
vector, with or without the whole photo's beside it. With attention the model also sees
annotation vectors (R, P, F), the cells of the region or other regions. The same
`_advance` serves teacher forcing and search, so that what is trained is what is
decoded.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from regiontalk.generate.attention import SoftAttention
from regiontalk.generate.cells import CELLS
from regiontalk.generate.config import GeneratorConfig
from regiontalk.text.vocabulary import END, PAD, SPECIAL, START, Vocabulary

Tensors = tuple[Tensor, ...]


class Generator(nn.Module):
    """Words one by one, given a photo or a region."""

    def __init__(
        self,
        *,
        features: int,
        annotation: int,
        vocabulary: Vocabulary,
        config: GeneratorConfig,
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
        drive_size = self.cell.gates * hidden
        self.embed = nn.Embedding(len(vocabulary), word_size, padding_idx=PAD)
        self.word_drive = nn.Linear(word_size, drive_size)  # W_hx and b_h
        if config.bottleneck:
            self.squeeze = nn.Linear(features, config.bottleneck)
        image_size = (
            self.cell.states * hidden if config.image == "state" else drive_size
        )
        # W_hi of eq. 13; named as in files
        self.picture = nn.Linear(config.bottleneck or features, image_size)
        if config.attention:
            self._add_attention(annotation, config)
        output_size = word_size if config.attention else hidden
        self.output = nn.Linear(output_size, len(vocabulary))  # W_oh and b_o
        self.output.bias.data.copy_(vocabulary_log_frequency(vocabulary))
        self.dropout = nn.Dropout(config.dropout)
        self.condition_dropout = nn.Dropout(config.condition_dropout)

    def _add_attention(self, annotation: int, config: GeneratorConfig) -> None:
        """The layers that only a model with attention has."""
        size = config.attention
        self.annotate = nn.Linear(annotation, size)
        self.attend = SoftAttention(size, config.hidden)
        self.context_drive = nn.Linear(
            size, self.cell.gates * config.hidden, bias=False
        )
        self.context_out = nn.Linear(size, config.word_size, bias=False)
        self.deep = nn.Linear(config.hidden, config.word_size)

    @property
    def cell_parts(self) -> int:
        """Tensors of a cell state.

        Those of the recurrence, and what attention looking after it saw last.
        """
        keeps_context = self.config.attention > 0 and self.config.look == "after"
        return self.cell.states + int(keeps_context)

    def start(
        self, condition: Tensor, annotations: Tensor | None, mask: Tensor | None = None
    ) -> tuple[Tensors, Tensors]:
        """Prepare R photos or regions.

        Args:
            condition: (R, C).
            annotations: (R, P, F), or None without attention.
            mask: (R, P), True = an annotation vector, False = padding; None where all count.

        Returns:
            The first cell state, and the memory that stays the same while words are written:
            (image drive,) or (image drive, values, keys) and perhaps the mask, each with R rows.
        """
        condition = self.condition_dropout(condition)
        if self.config.bottleneck:
            condition = functional.relu(self.squeeze(condition))
        image_drive = self.picture(condition)
        state = self._first_state(image_drive)
        if not self.config.attention:
            return state, (image_drive,)
        if annotations is None:
            raise ValueError(
                "generator: expected annotation vectors (R, P, F), got None; the model attends"
            )
        values = functional.relu(self.annotate(annotations))  # (R, P, A)
        if self.config.look == "after":
            # the last context is part of the state: the next word's drive reads it
            no_context = values.new_zeros(values.shape[0], self.config.attention)
            state = (*state, no_context)
        memory = image_drive, values, self.attend.key(values)
        return state, memory if mask is None else (*memory, mask)

    def _first_state(self, image_drive: Tensor) -> Tensors:
        """The recurrence's state before the first word."""
        if self.config.image == "state":
            return torch.tanh(image_drive).chunk(self.cell.states, -1)
        # shape[0], not len(), which the export would take for a constant
        shape = image_drive.shape[0], self.config.hidden
        return tuple(image_drive.new_zeros(shape) for _ in range(self.cell.states))

    def forward(
        self,
        condition: Tensor,
        annotations: Tensor | None,
        token_ids: Tensor,
        mask: Tensor | None = None,
        rows: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Teacher forcing.

        Args:
            condition: (R, C).
            annotations: (R, P, F) or None.
            token_ids: (S, T) int64, START first, then words, then PAD.
            mask: (R, P), True = an annotation vector; None where all count.
            rows: (S,) int64, which of R each text is about; None where text s is about s.

        Returns:
            logits (S, T, V) of the word after each, and attention (S, T, P) or None; both 0 where a
            text is over.
        """
        state, memory = self.start(condition, annotations, mask)
        return self.read(state, memory, token_ids, rows)

    def read(
        self,
        state: Tensors,
        memory: Tensors,
        token_ids: Tensor,
        rows: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """`forward` from what `start` prepared once, for several readings of the same rows."""
        plan = _ReadingPlan(token_ids)
        text_rows = plan.order if rows is None else rows[plan.order]
        state = tuple(tensor.index_select(0, text_rows) for tensor in state)
        memory = tuple(tensor.index_select(0, text_rows) for tensor in memory)
        outputs, attention = self._read_steps(plan, state, memory)
        logits = self.output(self.dropout(outputs))  # (W, V)
        return plan.spread(logits), None if attention is None else plan.spread(
            attention
        )

    def _read_steps(
        self, plan: _ReadingPlan, state: Tensors, memory: Tensors
    ) -> tuple[Tensor, Tensor | None]:
        """What the softmax reads at each of the plan's W words.

        And their attention (W, P) or None.
        """
        embedded = self.dropout(self.embed(plan.token_ids))  # (W, E)
        steps = zip(
            torch.split(embedded, plan.live_counts),
            torch.split(self.word_drive(embedded), plan.live_counts),
            torch.split(plan.token_ids == START, plan.live_counts),
            strict=True,
        )
        outputs: list[Tensor] = []
        attention: list[Tensor] = []
        for vectors, drive, is_first in steps:
            live = len(is_first)
            state = tuple(tensor[:live] for tensor in state)
            memory = tuple(tensor[:live] for tensor in memory)
            state, context, weights = self._advance(drive, is_first, state, memory)
            outputs.append(self._hidden_output(vectors, state[0], context))
            if weights is not None:
                attention.append(weights)
        return torch.cat(outputs), torch.cat(attention) if attention else None

    def look_step(
        self, token_ids: Tensor, state: Tensors, memory: Tensors
    ) -> tuple[Tensor, Tensors, Tensor | None]:
        """One word further, for search; the rows of all three agree.

        Returns:
            Log-probabilities (R, V), the next cell state, and attention (R, P) or None.
        """
        embedded = self.embed(token_ids)
        drive = self.word_drive(embedded)
        state, context, weights = self._advance(
            drive, token_ids == START, state, memory
        )
        logits = self.output(self._hidden_output(embedded, state[0], context))
        return logits.float().log_softmax(-1), state, weights

    def _advance(
        self, drive: Tensor, is_first: Tensor, state: Tensors, memory: Tensors
    ) -> tuple[Tensors, Tensor | None, Tensor | None]:
        """Eq. 14: the next state from the word's drive (R, G*H).

        With attention also its context and weights. ``is_first`` is (R,), True = t is
        1.
        """
        image_drive, *annotations = memory
        if self.config.image == "every":
            drive = drive + image_drive
        elif self.config.image == "first":
            drive = drive + image_drive * is_first[:, None]
        if not self.config.attention:
            return self.cell(drive, state), None, None
        if self.config.look == "after":
            *cell_state, last_context = state
            drive = drive + self.context_drive(last_context)
            next_state = self.cell(drive, tuple(cell_state))
            context, weights = self.attend(next_state[0], *annotations)
            return (*next_state, context), context, weights
        context, weights = self.attend(state[0], *annotations)
        drive = drive + self.context_drive(context)
        return self.cell(drive, state), context, weights

    def _hidden_output(
        self, embedded: Tensor, h: Tensor, context: Tensor | None
    ) -> Tensor:
        """What the softmax of eq. 15 reads: h alone, or with attention the deep output of [2]."""
        if context is None:
            return h
        return torch.tanh(embedded + self.deep(h) + self.context_out(context))


class _ReadingPlan:
    """S texts of token ids (S, T) as one row of the W words that are there, step by step.

    The longest texts stand first, so that each step reads the first rows of the step before.

    Attributes:
        order: (S,) int64, the texts by falling length.
        token_ids: (W,) int64 of the first step, then the second, and so on.
        live_counts: T, how many texts go on at each step.
    """

    def __init__(self, token_ids: Tensor) -> None:
        self._shape = token_ids.shape
        longest = token_ids.shape[1]
        steps = torch.arange(longest, device=token_ids.device)
        lengths = ((token_ids != PAD) * (1 + steps)).amax(1)  # (S,)
        lengths, self.order = lengths.sort(descending=True, stable=True)
        goes_on = lengths > steps[:, None]  # (T, S)
        # (T, S), where each stands in (S, T)
        cells = self.order * longest + steps[:, None]
        self._cells = cells[goes_on]  # (W,)
        self.token_ids = token_ids.flatten()[self._cells]
        self.live_counts: list[int] = goes_on.sum(1).tolist()

    def spread(self, values: Tensor) -> Tensor:
        """Values of the words (W, X) where the words stood, (S, T, X); 0 elsewhere."""
        count, longest = self._shape
        zeros = values.new_zeros(count * longest, values.shape[1])
        return zeros.index_copy(0, self._cells, values).view(count, longest, -1)


def vocabulary_log_frequency(vocabulary: Vocabulary) -> Tensor:
    """Log unigram frequency (V,) of every word.

    END counts as often as the most frequent word, the others hardly.
    """
    counts = torch.full((len(vocabulary),), 1e-2)
    counts[len(SPECIAL) :] = torch.tensor(vocabulary.counts, dtype=torch.float32)
    # a sentence has one END and, in this data, about one "a"
    counts[END] = counts.max()
    frequencies = counts / counts.sum()
    return frequencies.log()


def caption_loss(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy of the next word.

    Logits (R, T, V), targets (R, T) int64 with PAD where nothing counts.
    """
    counted = targets != PAD
    return functional.cross_entropy(
        logits[counted].float(), targets[counted], label_smoothing=smoothing
    )
