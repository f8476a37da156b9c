"""Greedy choice, sampling and beam search over any language model.

It is asked for its next word and nothing else. Search knows one function, ``step(words,
state) -> (log_probabilities, state)``: from the words (R,) int64 just written by the R
sentences now alive, and the model's state, to the log-probabilities (R, V) of the next
word and the next state, in numpy. A state is an array with R rows (of numpy, or a
tensor that stays where it is), None, `Fixed`, or a tuple of states. All sentences start
with START.

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

import numpy as np
from numpy.typing import NDArray

from regiontalk.records import FloatArray
from regiontalk.text.vocabulary import END, PAD, START, UNKNOWN

State = TypeVar("State")
IntArray = NDArray[np.int64]
Step = Callable[[IntArray, State], tuple[FloatArray, State]]

FORBIDDEN = (
    PAD,
    START,
    UNKNOWN,
)  # numbers that are no words: never written unless the caller says so

# up to so many are found by a pass each, ten times as fast as sorting for a few
MAX_PASSES = 16


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
    """A part of a state that never changes and is the same for all beams of a row.

    Annotation vectors, the picture. Beam search repeats it once and moves it only when
    rows leave, not at every word. The step returns it as it came.

    Attributes:
        value: an array with R rows, or a tuple of such.
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

    def choose(
        log_probabilities: FloatArray, alive: IntArray, position: int
    ) -> IntArray:
        return np.asarray(log_probabilities.argmax(1))

    return _follow(step, state, rows, max_words, forbidden, length_power, choose)


def sample(
    step: Step[State],
    state: State,
    rows: int,
    max_words: int,
    temperature: float = 1.0,
    generator: np.random.Generator | None = None,
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
        generator: the source of chance; None = a fresh one, seeded by the system.
        forbidden: word numbers that are never written.
        length_power: only changes the score that is reported.

    Returns:
        One list of one hypothesis for each row.

    Raises:
        ValueError: an argument is out of range, or the step returns another shape or NaN.
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(
            f"temperature: expected a finite number above 0, got {temperature}; for "
            "the mode use greedy"
        )
    source = np.random.default_rng() if generator is None else generator
    chances = source.random((max(rows, 0), max(max_words, 0)))

    def choose(
        log_probabilities: FloatArray, alive: IntArray, position: int
    ) -> IntArray:
        scaled = log_probabilities.astype(np.float64) / temperature
        highest = scaled.max(1, keepdims=True)
        mass = np.exp(scaled - np.where(np.isfinite(highest), highest, 0.0)).cumsum(1)
        level = chances[alive, position][:, None] * mass[:, -1:]
        # the first word whose mass exceeds the level: words without mass are passed over
        return np.asarray((mass <= level).sum(1).clip(max=mass.shape[1] - 1))

    return _follow(step, state, rows, max_words, forbidden, length_power, choose)


def _follow(
    step: Step[State],
    state: State,
    rows: int,
    max_words: int,
    forbidden: Sequence[int],
    length_power: float,
    choose: Callable[[FloatArray, IntArray, int], IntArray],
) -> list[list[Hypothesis]]:
    """One sentence a row, each word chosen by ``choose``.

    ``choose(log-probabilities (R, V), alive (R,), position) -> words (R,)``.
    """
    _check(rows, max_words, forbidden, length_power)
    alive = np.arange(rows)
    words = np.full(rows, START)
    written = np.full((rows, max_words), END)
    totals = np.zeros(rows)
    for position in range(max_words + 1):
        if not len(alive):
            break
        log_probabilities, state = _ask(step, words, state, forbidden)
        allowed = log_probabilities.copy()
        allowed[:, list(forbidden)] = -np.inf
        is_last = position == max_words
        words = (
            np.full_like(alive, END) if is_last else choose(allowed, alive, position)
        )
        words, chosen = _stop_impossible(words, allowed)
        totals[alive] += chosen
        if not is_last:
            written[alive, position] = words
        alive, words, state = _drop_finished(alive, words, state)
    return _one_each(written, totals, length_power)


def _drop_finished(
    alive: IntArray, words: IntArray, state: State
) -> tuple[IntArray, IntArray, State]:
    """The rows (R,) whose last word is not END, their words and their state."""
    still_alive = np.flatnonzero(words != END)
    if len(still_alive) == len(alive):
        return alive, words, state
    return alive[still_alive], words[still_alive], reorder(state, still_alive)


def _stop_impossible(
    words: IntArray, allowed: FloatArray
) -> tuple[IntArray, NDArray[np.float64]]:
    """The words (R,) chosen of (R, V), and their log-probabilities (R,).

    END where none is possible.
    """
    chosen = allowed[np.arange(len(words)), words].astype(np.float64)
    return np.where(np.isneginf(chosen), END, words), chosen


def _one_each(
    written: IntArray, totals: NDArray[np.float64], length_power: float
) -> list[list[Hypothesis]]:
    """The one hypothesis of each row, of its words (R, W) and its log-probability (R,).

    The words are filled up with END.
    """
    lengths = (written != END).sum(1) + 1
    scores = totals / lengths**length_power
    hypotheses = []
    for words, total, score in zip(
        written.tolist(), totals.tolist(), scores.tolist(), strict=True
    ):
        hypotheses.append(
            [_hypothesis(words if total > -math.inf else [], total, score)]
        )
    return hypotheses


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
    keep, horizon = _beam_limits(beams, keep, horizon, max_words)
    sentences: list[list[Hypothesis]] = [[] for _ in range(rows)]
    hunt = _Hunt.start(rows, max_words, keep)
    words = np.full(rows, START)
    for position in range(max_words + 1):
        if not len(hunt.rows):
            break
        log_probs, state = _ask(step, words, state, forbidden)
        hunt, parents, words = hunt.grow(
            log_probs, beams, position, forbidden, length_power
        )
        is_hopeful = hunt.hopeful(
            min(position + 2 + horizon, max_words + 1), length_power
        )
        hunt = hunt.report_finished(is_hopeful, sentences)
        words = words[is_hopeful].ravel()
        state = reorder(
            state,
            parents[is_hopeful].ravel(),
            inside_rows=position > 0 and bool(is_hopeful.all()),
        )
    return sentences


class _Hunt(NamedTuple):
    """What beam search knows of the R rows that still write.

    Up to K prefixes of each and the sentences found. ``rows`` (R,) place of each row in
    the answer; ``total`` (R, K) log-probability of the prefixes, falling, -inf where
    there are not so many; ``written`` (R, K, max_words) their words, filled up with
    END. Of the best sentences: ``scores`` (R, keep), falling, and ``totals`` (R, keep),
    -inf where none is yet; ``sentences`` (R, keep, max_words).
    """

    rows: IntArray
    total: FloatArray
    written: IntArray
    scores: FloatArray
    totals: FloatArray
    sentences: IntArray

    @classmethod
    def start(cls, rows: int, max_words: int, keep: int) -> _Hunt:
        """One empty prefix and no sentence in every row."""
        nothing = np.full((rows, keep), -np.inf, dtype=np.float32)
        blank = np.full((rows, keep, max_words), END)
        total = np.zeros((rows, 1), dtype=np.float32)
        return cls(np.arange(rows), total, blank[:, :1], nothing, nothing, blank)

    def grow(
        self,
        log_probabilities: FloatArray,
        beams: int,
        position: int,
        forbidden: Sequence[int],
        length_power: float,
    ) -> tuple[_Hunt, IntArray, IntArray]:
        """One word further: the next hunt.

        And of each of its prefixes the state's row and the last word, (R, K).
        """
        vocabulary = log_probabilities.shape[1]
        sums = self.total[:, :, None] + log_probabilities.reshape(
            *self.total.shape, vocabulary
        )
        ends = sums[:, :, END].copy()
        if position == self.written.shape[2]:
            return self.end(ends, position, length_power)
        sums[:, :, [END, *forbidden]] = -np.inf
        total, parents, words = _best_continuations(sums, beams)
        hunt = self.collect(_in_beam(ends, total, beams), position, length_power)
        written = _take(self.written, parents)
        written[:, :, position] = words
        first_rows = np.arange(len(parents))[:, None] * self.total.shape[1]
        return hunt._replace(total=total, written=written), first_rows + parents, words

    def end(
        self, ends: FloatArray, position: int, length_power: float
    ) -> tuple[_Hunt, IntArray, IntArray]:
        """`grow` where no word is left to write.

        All prefixes end here (R, K), and nothing goes on.
        """
        hunt = self.collect(ends, position, length_power)
        nowhere = np.zeros_like(ends, dtype=np.int64)
        return hunt._replace(total=np.full_like(ends, -np.inf)), nowhere, nowhere

    def collect(self, ends: FloatArray, position: int, length_power: float) -> _Hunt:
        """The hunt with the prefixes that end here.

        ``ends`` (R, K), their log-probability with END, -inf where it is none.
        """
        if not (ends > -np.inf).any():
            return self
        keep = self.scores.shape[1]
        # sentences found before stand first, and the sort is stable, so they stay first on ties
        scores = np.concatenate([self.scores, ends / (position + 1) ** length_power], 1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :keep]
        totals = np.concatenate([self.totals, ends], 1)
        sentences = np.concatenate([self.sentences, self.written], 1)
        return self._replace(
            scores=_take(scores, order),
            totals=_take(totals, order),
            sentences=_take(sentences, order),
        )

    def hopeful(self, longest: int, length_power: float) -> NDArray[np.bool_]:
        """(R,) bool, True = the best prefix may become better than the worst sentence kept.

        It would bear its log-probability best as the ``longest`` sentence that it may become.
        """
        return np.asarray(self.total[:, 0] / longest**length_power > self.scores[:, -1])

    def select(self, is_chosen: NDArray[np.bool_]) -> _Hunt:
        """The rows (R,) bool, True = chosen."""
        arrays: Any = (array[is_chosen] for array in self)
        return _Hunt(*arrays)

    def report_finished(
        self, is_hopeful: NDArray[np.bool_], results: list[list[Hypothesis]]
    ) -> _Hunt:
        """The rows (R,) bool, True = hopeful; the sentences of the others go to their places."""
        if is_hopeful.all():
            return self
        self.select(~is_hopeful).report(results)
        return self.select(is_hopeful)

    def report(self, results: list[list[Hypothesis]]) -> None:
        """Put the sentences of all rows in their places."""
        rows = zip(
            self.rows.tolist(),
            self.sentences.tolist(),
            self.totals.tolist(),
            self.scores.tolist(),
            strict=True,
        )
        for row, sentences, totals, scores in rows:
            hypotheses = map(_hypothesis, sentences, totals, scores)
            possible = [each for each in hypotheses if each.log_probability > -math.inf]
            results[row] = possible or [_hypothesis([], -math.inf, -math.inf)]


def _in_beam(ends: FloatArray, total: FloatArray, beams: int) -> FloatArray:
    """The ends (R, K) among a row's first ``beams`` continuations.

    It is -inf for others, so that one beam is greedy. ``total`` (R, K) are its best
    continuations that do not end; ending wins a tie.
    """
    better_words = (total[:, None] > ends[:, :, None]).sum(2)
    better_ends = (ends[:, None] > ends[:, :, None]).sum(2)
    return np.where(better_words + better_ends >= beams, -np.inf, ends)


def reorder(state: State, rows: IntArray, *, inside_rows: bool = False) -> State:
    """The chosen rows of every array of a state.

    A state is an array, None, `Fixed`, or a (named) tuple of those.

    Args:
        state: arrays with R rows.
        rows: (R',) int64, row numbers, repeats allowed.
        inside_rows: True = no row of the search leaves or is repeated, so `Fixed` parts stay as
            they are.

    Raises:
        ValueError: the state holds something else.
    """
    if state is None:
        return state
    if hasattr(state, "shape"):
        return cast(State, cast(Any, state)[rows])
    if isinstance(state, Fixed):
        return state if inside_rows else cast(State, Fixed(reorder(state.value, rows)))
    if isinstance(state, tuple):
        items = [reorder(item, rows, inside_rows=inside_rows) for item in state]
        return cast(
            State, type(state)(*items) if hasattr(state, "_fields") else tuple(items)
        )
    raise ValueError(
        f"state: expected arrays in nested tuples, Fixed or None, got {type(state).__name__}"
    )


def _best_continuations(
    sums: FloatArray, count: int
) -> tuple[FloatArray, IntArray, IntArray]:
    """Of the sums (R, K, V) of prefixes and words the ``count`` best.

    Log-probability, prefix and word, (R, count). The word is END where a row has not so
    many.
    """
    total, columns = _best(sums.reshape(len(sums), -1), count)
    parents, words = np.divmod(columns, sums.shape[2])
    return total, parents, np.where(total == -np.inf, END, words)


def _best(sums: FloatArray, count: int) -> tuple[FloatArray, IntArray]:
    """The ``count`` largest of each row of (R, M), falling, the first column first on ties.

    Values and columns. A row with fewer is filled up with -inf, whose columns mean
    nothing but are legal.
    """
    if count <= min(MAX_PASSES, sums.shape[1]):
        return _best_by_passes(sums, count)
    columns = np.argsort(-sums, axis=1, kind="stable")[:, :count]
    values = np.take_along_axis(sums, columns, 1)
    missing = ((0, 0), (0, count - columns.shape[1]))
    return np.pad(values, missing, constant_values=-np.inf), np.pad(columns, missing)


def _best_by_passes(sums: FloatArray, count: int) -> tuple[FloatArray, IntArray]:
    """`_best` for few: each pass takes the largest that is left."""
    rows, remaining = np.arange(len(sums)), sums.copy()
    values = np.empty((len(sums), count), dtype=sums.dtype)
    columns = np.empty((len(sums), count), dtype=np.int64)
    for rank in range(count):
        best = columns[:, rank] = remaining.argmax(1)
        values[:, rank] = remaining[rows, best]
        remaining[rows, best] = -np.inf
    return values, columns


def _take(values: NDArray[Any], order: IntArray) -> NDArray[Any]:
    """Values (R, K, ...) in the order (R, K') of each row: (R, K', ...)."""
    # what numpy's take_along_axis does, which spends most of its time on checks
    chosen: NDArray[Any] = values[np.arange(len(order))[:, None], order]
    return chosen


def _hypothesis(words: Sequence[int], total: float, score: float) -> Hypothesis:
    """The hypothesis of a row of words filled up with END."""
    return Hypothesis(tuple(takewhile(lambda word: word != END, words)), total, score)


def _check(
    rows: int, max_words: int, forbidden: Sequence[int], length_power: float
) -> None:
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


def _beam_limits(
    beams: int, keep: int | None, horizon: int | None, max_words: int
) -> tuple[int, int]:
    """``keep`` and ``horizon`` of a beam with their defaults.

    Refuses what no beam can work with.
    """
    keep = beams if keep is None else keep
    horizon = max_words if horizon is None else horizon
    if not 1 <= keep <= beams or horizon < 0:
        raise ValueError(
            f"beam: expected 1 <= keep <= beams and horizon >= 0, got {keep=}, {beams=}, {horizon=}"
        )
    return keep, horizon


def _ask(
    step: Step[State], words: IntArray, state: State, forbidden: Sequence[int]
) -> tuple[FloatArray, State]:
    """What a step answers, checked."""
    log_probs, next_state = step(words, state)
    _check_step(log_probs, len(words), forbidden)
    return log_probs, next_state


def _check_step(
    log_probabilities: FloatArray, rows: int, forbidden: Sequence[int]
) -> None:
    """Refuse what a step returned unless it is (R, V) without NaN.

    With room for END and all that is forbidden.
    """
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
    # the largest is NaN as soon as one is
    if np.isnan(log_probabilities.max(initial=-np.inf)):
        raise ValueError(
            "step: expected log-probabilities, got NaN; are the weights or the features finite?"
        )
