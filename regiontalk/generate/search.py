"""Greedy choice, sampling and beam search over any language model that can be asked for its next word.

Search knows one function, ``step(words, state) -> (log_probabilities, state)``: from the words (R,)
int64 just written by the R sentences now alive, and the model's state, to the log-probabilities (R,
V) of the next word and the next state. A state is a tensor with R rows, None, `Fixed`, or a tuple
of states. All sentences start with START.

All rows (photos, regions) decode together and leave the batch as they finish, so a finished row
costs nothing. A sentence is at most ``max_words`` words and END; one that has ``max_words`` words
must end, and pays the model's price for its END. So every result is a whole sentence with its exact
log-probability under the model, and a beam as wide as the tree of prefixes finds the best of them
all. Where the model allows no sentence at all, a row gets an empty one worth -inf. Ties go to the
sentence that finished earlier, then to the better prefix, then to the lowest word number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor
from torch.nn import functional

from regiontalk.text.vocabulary import END, PAD, START, UNKNOWN

State = TypeVar("State")
Step = Callable[[Tensor, State], tuple[Tensor, State]]

FORBIDDEN = (
    PAD,
    START,
    UNKNOWN,
)  # numbers that are no words: never written unless the caller says so


@dataclass(frozen=True)
class Hypothesis:
    """A sentence that search has found.

    Attributes:
        words: word numbers without START and END.
        log_probability: of the words and their END under the model; -inf where the model allows no
            sentence at all.
        score: what hypotheses are ranked by, ``log_probability / length ** length_power``; the
            length counts END.
    """

    words: tuple[int, ...]
    log_probability: float
    score: float


@dataclass(frozen=True)
class Fixed:
    """A part of a state that never changes and is the same for all beams of a row: annotation vectors, the picture.

    Beam search repeats it once and moves it only when rows leave, not at every word. The step
    returns it as it came.

    Attributes:
        value: a tensor with R rows, or a tuple of such.
    """

    value: Any


def greedy(
    step: Step[State],
    state: State,
    rows: int,
    max_words: int,
    *,
    forbidden: Sequence[int] = FORBIDDEN,
    length_power: float = 0.0,
) -> list[list[Hypothesis]]:
    """The likeliest word at every step, the lowest number on ties: what `beam` finds with one beam.

    Args:
        step: the model, see the head of this file.
        state: its first state, with ``rows`` rows.
        rows: R, how many sentences to write.
        max_words: the longest sentence, END not counted.
        forbidden: word numbers that are never written.
        length_power: only changes the score that is reported.

    Returns:
        One list of one hypothesis for each row.

    Raises:
        ValueError: an argument is out of range, or the step returns another shape or NaN.
    """

    def choose(log_probabilities: Tensor, alive: Tensor, position: int) -> Tensor:
        return log_probabilities.argmax(dim=1)

    return _follow(step, state, rows, max_words, forbidden, length_power, choose)


def sample(
    step: Step[State],
    state: State,
    rows: int,
    max_words: int,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
    *,
    forbidden: Sequence[int] = FORBIDDEN,
    length_power: float = 0.0,
) -> list[list[Hypothesis]]:
    """Words drawn from ``softmax(log p / temperature)`` without the forbidden ones.

    All chance is drawn before the first word, so a row's sentence does not depend on when other
    rows finish, and the first rows of a larger batch are those of a smaller one with the same seed.

    Args:
        step: the model, see the head of this file.
        state: its first state, with ``rows`` rows.
        rows: R, how many sentences to write.
        max_words: the longest sentence, END not counted.
        temperature: above 0; below 1 sharpens, above 1 flattens. The log-probability reported is
            the model's own.
        generator: the source of chance; None = torch's default one.
        forbidden: word numbers that are never written.
        length_power: only changes the score that is reported.

    Returns:
        One list of one hypothesis for each row.

    Raises:
        ValueError: an argument is out of range, or the step returns another shape or NaN.
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(
            f"temperature: expected a finite number above 0, got {temperature}; for the mode use greedy"
        )
    source = generator.device if generator is not None else torch.device("cpu")
    chances = torch.rand(
        max(rows, 0), max(max_words, 0), generator=generator, device=source, dtype=torch.float64
    )

    def choose(log_probabilities: Tensor, alive: Tensor, position: int) -> Tensor:
        mass = (
            (log_probabilities.float() / temperature)
            .softmax(dim=1)
            .nan_to_num()
            .double()
            .cumsum(dim=1)
        )
        level = chances[:, position].to(mass.device)[alive, None] * mass[:, -1:]
        # right=True passes over words without mass: the first word whose mass exceeds the level
        return torch.searchsorted(mass, level, right=True).squeeze(1).clamp(max=mass.shape[1] - 1)

    return _follow(step, state, rows, max_words, forbidden, length_power, choose)


def _follow(
    step: Step[State],
    state: State,
    rows: int,
    max_words: int,
    forbidden: Sequence[int],
    length_power: float,
    choose: Callable[[Tensor, Tensor, int], Tensor],
) -> list[list[Hypothesis]]:
    """One sentence a row, each word by ``choose(log-probabilities (R, V), alive (R,), position) -> words (R,)``."""
    _check(rows, max_words, forbidden, length_power)
    device = _device(state)
    banned = torch.tensor(sorted(set(forbidden)), dtype=torch.int64, device=device)
    alive = torch.arange(rows, device=device)
    words = torch.full((rows,), START, device=device)
    written = torch.full((rows, max_words), END, device=device)
    totals = torch.zeros(rows, dtype=torch.float64, device=device)
    with torch.no_grad():
        for position in range(max_words + 1):
            if not len(alive):
                break
            log_probabilities, state = step(words, state)
            _check_step(log_probabilities, len(alive), forbidden)
            allowed = log_probabilities.index_fill(1, banned, -math.inf)
            words = (
                choose(allowed, alive, position)
                if position < max_words
                else torch.full_like(alive, END)
            )
            values = allowed.gather(1, words[:, None]).squeeze(1).double()
            totals[alive] += values
            words = words.masked_fill(
                values.isneginf(), END
            )  # no word is possible: the row stops, worth -inf
            going = (words != END).nonzero().squeeze(1)
            if position < max_words:
                written[alive, position] = words
            if len(going) < len(alive):
                alive, words, state = alive[going], words[going], reorder(state, going)
    lengths = (written != END).sum(1).double() + 1
    columns = (written.tolist(), totals.tolist(), (totals / lengths**length_power).tolist())
    found = zip(*columns, strict=True)
    return [
        [_hypothesis(row if total > -math.inf else [], total, score)] for row, total, score in found
    ]


def beam(
    step: Step[State],
    state: State,
    rows: int,
    max_words: int,
    beams: int,
    *,
    forbidden: Sequence[int] = FORBIDDEN,
    length_power: float = 0.0,
    keep: int | None = None,
    horizon: int | None = None,
) -> list[list[Hypothesis]]:
    """The best sentences that ``beams`` prefixes a row can find.

    Of a row's continuations, ranked by log-probability, those among the first K that end are
    sentences, and the first K that do not end are the next prefixes. A row is done when no prefix
    can become better than its ``keep`` sentences.

    Args:
        step: the model, see the head of this file; first asked for ``rows`` rows, then for rows x
            beams.
        state: its first state, with ``rows`` rows.
        rows: R, how many sentences to write.
        max_words: the longest sentence, END not counted.
        beams: K, prefixes kept for a row.
        forbidden: word numbers that are never written.
        length_power: ranks by log-probability / length ** power: 0 by probability, 1 by the mean a
            word.
        keep: how many sentences a row wants, at most ``beams``, which None stands for. 1 finishes
            soonest.
        horizon: how many words a prefix may hope to write for nothing (only length_power gives them
            a use); None = up to max_words, which is exact; 0 stops soonest.

    Returns:
        For each row at most ``keep`` hypotheses, best first, and at least one.

    Raises:
        ValueError: an argument is out of range, or the step returns another shape or NaN.
    """
    _check(rows, max_words, forbidden, length_power)
    keep = beams if keep is None else keep
    horizon = max_words if horizon is None else horizon
    _check_beam(beams, keep, horizon)
    found: list[list[Hypothesis]] = [[] for _ in range(rows)]
    hunt = _Hunt.start(rows, max_words, keep, _device(state))
    words = torch.full((rows,), START, device=hunt.total.device)
    with torch.no_grad():
        for position in range(max_words + 1):
            if not len(hunt.rows):
                break
            log_probabilities, state = step(words, state)
            _check_step(log_probabilities, len(words), forbidden)
            width = hunt.total.shape[1]  # 1 at first, then K
            hunt, parents, heads = hunt.grow(
                log_probabilities, beams, position, forbidden, length_power
            )
            # the longest sentence that a prefix may become: it bears the same log-probability best
            hopeful = hunt.hopeful(min(position + 2 + horizon, max_words + 1) ** length_power)
            index = torch.arange(len(parents), device=words.device)[:, None] * width + parents
            all_go_on = bool(hopeful.all())
            if not all_go_on:
                hunt.select(~hopeful).report(found)
                hunt, index, heads = hunt.select(hopeful), index[hopeful], heads[hopeful]
            words = heads.flatten()
            state = reorder(state, index.flatten(), inside_rows=all_go_on and position > 0)
    return found


class _Hunt(NamedTuple):
    """What beam search knows of the R rows that still write: up to K prefixes of each and the sentences found.

    ``rows`` (R,) place of each row in the answer; ``total`` (R, K) log-probability of the prefixes,
    falling, -inf where there are not so many; ``written`` (R, K, max_words) their words, filled up
    with END. Of the best sentences: ``scores`` (R, keep), falling, and ``totals`` (R, keep), -inf
    where none is yet; ``sentences`` (R, keep, max_words).
    """

    rows: Tensor
    total: Tensor
    written: Tensor
    scores: Tensor
    totals: Tensor
    sentences: Tensor

    @classmethod
    def start(cls, rows: int, max_words: int, keep: int, device: torch.device) -> _Hunt:
        """One empty prefix and no sentence in every row."""
        nothing = torch.full((rows, keep), -math.inf, device=device)
        blank = torch.full((rows, keep, max_words), END, device=device)
        return cls(
            torch.arange(rows, device=device),
            nothing.new_zeros(rows, 1),
            blank[:, :1],
            nothing,
            nothing,
            blank,
        )

    def grow(
        self,
        log_probabilities: Tensor,
        beams: int,
        position: int,
        forbidden: Sequence[int],
        length_power: float,
    ) -> tuple[_Hunt, Tensor, Tensor]:
        """One word further: the next hunt, and of each of its prefixes the parent and the last word, both (R, K)."""
        sums = self.total[:, :, None] + log_probabilities.view(
            *self.total.shape, -1
        )  # (R, width, V)
        ends = sums[:, :, END].clone()
        if position == self.written.shape[2]:  # all that is left must end here, and nothing goes on
            ended = self.collect(ends, position, length_power)
            nowhere = torch.zeros_like(ends, dtype=torch.int64)
            return ended._replace(total=torch.full_like(ends, -math.inf)), nowhere, nowhere
        sums[:, :, [END, *forbidden]] = -math.inf
        total, places = _best(sums.flatten(1), beams)
        parents = places // sums.shape[2]
        words = (places % sums.shape[2]).masked_fill(total == -math.inf, END)
        # only an END among the first K continuations counts, so that one beam is greedy; ending
        # wins a tie
        better = (total[:, None] > ends[:, :, None]).sum(2) + (
            ends[:, None] > ends[:, :, None]
        ).sum(2)
        hunt = self.collect(ends.masked_fill(better >= beams, -math.inf), position, length_power)
        written = _take(self.written, parents)
        written[:, :, position] = words
        return hunt._replace(total=total, written=written), parents, words

    def collect(self, ends: Tensor, position: int, length_power: float) -> _Hunt:
        """With the prefixes that end here: ``ends`` (R, K), their log-probability with END, -inf where it is none."""
        if not bool((ends > -math.inf).any()):
            return self
        keep = self.scores.shape[1]
        # sentences found before stand first, and the sort is stable, so they stay first on ties
        scores = torch.cat([self.scores, ends / (position + 1) ** length_power], dim=1)
        scores, order = scores.sort(dim=1, descending=True, stable=True)
        order = order[:, :keep]
        totals = torch.cat([self.totals, ends], dim=1).gather(1, order)
        sentences = _take(torch.cat([self.sentences, self.written], dim=1), order)
        return self._replace(scores=scores[:, :keep], totals=totals, sentences=sentences)

    def hopeful(self, divisor: float) -> Tensor:
        """(R,) bool, True = the best prefix, divided by that, beats the worst sentence kept."""
        return self.total[:, 0] / divisor > self.scores[:, -1]

    def select(self, rest: Tensor) -> _Hunt:
        """The rows (R,) bool, True = kept."""
        return _Hunt(*(part[rest] for part in self))

    def report(self, found: list[list[Hypothesis]]) -> None:
        """Put the sentences of all rows in their places."""
        columns = (self.rows, self.sentences, self.totals, self.scores)
        for place, sentences, totals, scores in zip(
            *(column.tolist() for column in columns), strict=True
        ):
            found[place] = [
                _hypothesis(words, total, score)
                for words, total, score in zip(sentences, totals, scores, strict=True)
                if total > -math.inf
            ] or [_hypothesis([], -math.inf, -math.inf)]


def reorder(state: State, rows: Tensor, *, inside_rows: bool = False) -> State:
    """The chosen rows of every tensor of a state, which may be a tensor, None, `Fixed`, or a (named) tuple of those.

    Args:
        state: tensors with R rows.
        rows: (R',) int64, row numbers, repeats allowed.
        inside_rows: True = no row of the search leaves or is repeated, so `Fixed` parts stay as
            they are.

    Raises:
        ValueError: the state holds something else.
    """
    if state is None:
        return state
    if isinstance(state, Tensor):
        return cast(State, state.index_select(0, rows))
    if isinstance(state, Fixed):
        return state if inside_rows else cast(State, Fixed(reorder(state.value, rows)))
    if isinstance(state, tuple):
        parts = [reorder(part, rows, inside_rows=inside_rows) for part in state]
        return cast(State, type(state)(*parts) if hasattr(state, "_fields") else tuple(parts))
    raise ValueError(
        f"state: expected tensors in nested tuples, Fixed or None, got {type(state).__name__}"
    )


def _best(sums: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` largest of each row of (R, M), falling, the lowest place first on ties: values and places.

    A row with fewer is filled up with -inf, whose places mean nothing but are legal.
    """
    rows, size = sums.shape
    values, places = sums.topk(min(count + 1, size), dim=1)
    # topk may take any of several equals: one more than asked for tells whether the border runs
    # through equals
    if size > count and bool(
        (values[:, -2] == values[:, -1]).logical_and(values[:, -1] > -math.inf).any()
    ):
        border = values[:, -2:-1]
        equal = sums == border
        wanted = count - (sums > border).sum(1, keepdim=True)
        places = (
            ((sums > border) | (equal & (equal.cumsum(1) <= wanted)))
            .nonzero()[:, 1]
            .view(rows, count)
        )
    places = places[:, :count].sort(dim=1).values
    values, order = sums.gather(1, places).sort(dim=1, descending=True, stable=True)
    missing = (0, max(0, count - size))
    return functional.pad(values, missing, value=-math.inf), functional.pad(
        places.gather(1, order), missing
    )


def _take(sentences: Tensor, order: Tensor) -> Tensor:
    """Sentences (R, K, W) in the order (R, K') of each row: (R, K', W)."""
    return sentences.gather(1, order[:, :, None].expand(-1, -1, sentences.shape[2]))


def _hypothesis(words: Sequence[int], total: float, score: float) -> Hypothesis:
    """The hypothesis of a row of words filled up with END."""
    return Hypothesis(tuple(takewhile(lambda word: word != END, words)), total, score)


def _device(state: Any) -> torch.device:
    """Where a state lives; the CPU if it holds no tensor."""
    if isinstance(state, Tensor):
        return state.device
    parts = (
        (state.value,) if isinstance(state, Fixed) else state if isinstance(state, tuple) else ()
    )
    devices = [_device(part) for part in parts if part is not None]
    return next((device for device in devices if device.type != "cpu"), torch.device("cpu"))


def _check(rows: int, max_words: int, forbidden: Sequence[int], length_power: float) -> None:
    """Refuse arguments that no search can work with."""
    if rows < 0 or max_words < 1:
        raise ValueError(
            f"search: expected rows >= 0 and max_words >= 1, got {rows=}, {max_words=}"
        )
    if END in forbidden or any(number < 0 for number in forbidden):
        raise ValueError(
            f"forbidden: expected word numbers other than END ({END}), got {tuple(forbidden)}"
        )
    if not (math.isfinite(length_power) and length_power >= 0):
        raise ValueError(
            f"length_power: expected a finite number of at least 0, got {length_power}"
        )


def _check_beam(beams: int, keep: int, horizon: int) -> None:
    """Refuse what no beam can work with."""
    if not 1 <= keep <= beams or horizon < 0:
        raise ValueError(
            f"beam: expected 1 <= keep <= beams and horizon >= 0, got {keep=}, {beams=}, {horizon=}"
        )


def _check_step(log_probabilities: Tensor, rows: int, forbidden: Sequence[int]) -> None:
    """Refuse what a step returned unless it is (R, V) without NaN, with room for END and all that is forbidden."""
    least = max([END, *forbidden]) + 1
    if (
        log_probabilities.ndim != 2
        or len(log_probabilities) != rows
        or log_probabilities.shape[1] < least
    ):
        shape = tuple(log_probabilities.shape)
        raise ValueError(
            f"step: expected log-probabilities ({rows}, V) with V >= {least}, got {shape}"
        )
    if log_probabilities.amax().isnan():  # the largest is NaN as soon as one is
        raise ValueError(
            "step: expected log-probabilities, got NaN; are the weights or the features finite?"
        )
