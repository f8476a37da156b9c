"""Search against brute force over all sentences.

And against plain loops, and arithmetic by hand.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from regiontalk.runtime.search import FORBIDDEN, Fixed, Hypothesis, beam, greedy, sample
from regiontalk.text.vocabulary import END, PAD, START, UNKNOWN

INF = math.inf
Array = NDArray[Any]
A, B, C = 4, 5, 6  # the first three real words


class Tree:
    """A language model that is a table.

    The log-probabilities of the next word depend on the row and on all words.
    """

    def __init__(
        self,
        seed: int,
        vocabulary: int = 7,
        *,
        quarters: bool = False,
        holes: float = 0.0,
    ) -> None:
        self.seed, self.vocabulary, self.quarters, self.holes = (
            seed,
            vocabulary,
            quarters,
            holes,
        )
        self.asked: list[int] = []  # rows of every step
        self.known: dict[tuple[int, tuple[int, ...]], Array] = {}

    def table(self, row: int, prefix: tuple[int, ...]) -> Array:
        if (row, prefix) not in self.known:
            chance = np.random.default_rng([self.seed, row, *prefix])
            values = chance.normal(size=self.vocabulary) * 2
            values -= np.log(np.exp(values).sum())
            if self.quarters:  # exact in any precision, and full of ties
                values = -chance.integers(0, 4, self.vocabulary) / 4
            values[chance.random(self.vocabulary) < self.holes] = -INF
            self.known[row, prefix] = values
        return self.known[row, prefix]

    def start(self, rows: Sequence[int]) -> tuple[Array, Array]:
        return np.array(rows, dtype=np.int64), np.zeros((len(rows), 0), dtype=np.int64)

    def step(
        self, words: Array, state: tuple[Array, Array]
    ) -> tuple[Array, tuple[Array, Array]]:
        row, before = state
        assert len(words) == len(row) == len(before)
        assert bool(((words == START) == (before.shape[1] == 0)).all())
        self.asked.append(len(words))
        history = np.concatenate([before, words[:, None]], 1)
        tables = [
            self.table(r, tuple(h[1:]))
            for r, h in zip(row.tolist(), history.tolist(), strict=True)
        ]
        return np.stack(tables) if tables else np.zeros((0, self.vocabulary)), (
            row,
            history,
        )


def flat(values: dict[int, float], vocabulary: int = 7) -> Any:
    """A step with the same probabilities after every word."""
    row = np.full(vocabulary, -INF)
    for word, probability in values.items():
        row[word] = math.log(probability)
    return lambda words, state: (np.tile(row, (len(words), 1)), state)


def all_sentences(
    model: Tree, row: int, max_words: int, power: float
) -> list[Hypothesis]:
    """Brute force: every sentence of at most max_words words, best first."""
    found = []
    allowed = [
        word for word in range(model.vocabulary) if word not in (*FORBIDDEN, END)
    ]
    for length in range(max_words + 1):
        for words in itertools.product(allowed, repeat=length):
            total = 0.0
            for position, word in enumerate((*words, END)):
                total += float(model.table(row, words[:position])[word])
            if total > -INF:
                found.append(Hypothesis(words, total, total / (length + 1) ** power))
    return sorted(found, key=lambda hypothesis: -hypothesis.score)


def slow_beam(
    model: Tree,
    row: int,
    max_words: int,
    beams: int,
    keep: int,
    power: float,
    horizon: int | None = None,
) -> list[Hypothesis]:
    """The definition of the beam in plain loops; with horizon None it never stops early."""
    live: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    found: list[Hypothesis] = []
    for position in range(max_words + 1):
        tables = [model.table(row, words).tolist() for _, words in live]
        ends = [
            total + table[END] for (total, _), table in zip(live, tables, strict=True)
        ]
        going = [
            (live[rank][0] + value, rank, word)
            for rank, table in enumerate(tables)
            for word, value in enumerate(table)
            if word not in (*FORBIDDEN, END) and value > -INF
        ]
        going = sorted(going, key=lambda item: (-item[0], item[1], item[2]))[:beams]
        for rank, end in enumerate(ends):
            better = sum(item[0] > end for item in going) + sum(
                other > end for other in ends
            )
            if end > -INF and (better < beams or position == max_words):
                found.append(
                    Hypothesis(live[rank][1], end, end / (position + 1) ** power)
                )
        found = sorted(found, key=lambda hypothesis: -hypothesis.score)[:keep]
        live = [(total, (*live[rank][1], word)) for total, rank, word in going]
        if not live or position == max_words:
            break
        if horizon is not None and len(found) == keep:
            reach = min(position + 2 + horizon, max_words + 1)
            if live[0][0] / reach**power <= found[-1].score:
                break
    return found or [Hypothesis((), -INF, -INF)]


def assert_same(got: list[Hypothesis], expected: list[Hypothesis]) -> None:
    assert [item.words for item in got] == [item.words for item in expected]
    assert [item.score for item in got] == pytest.approx(
        [item.score for item in expected], abs=1e-6
    )
    assert [item.log_probability for item in got] == pytest.approx(
        [i.log_probability for i in expected], abs=1e-6
    )


@pytest.mark.parametrize("power", [0.0, 0.7, 1.0], ids=lambda power: f"power {power}")
@pytest.mark.parametrize(
    ("vocabulary", "max_words", "seed", "holes"),
    [
        (7, 3, 0, 0.0),
        (7, 3, 1, 0.0),
        (6, 4, 2, 0.0),
        (9, 2, 3, 0.0),
        (5, 3, 4, 0.0),
        (7, 1, 5, 0.0),
        (7, 3, 6, 0.3),
    ],
    ids=["3 words", "another", "long", "wide", "one word", "at most one", "holes"],
)
def test_a_beam_as_wide_as_the_tree_is_exact(
    vocabulary: int, max_words: int, seed: int, holes: float, power: float
) -> None:
    model = Tree(seed, vocabulary, holes=holes)
    beams = sum((vocabulary - 4) ** length for length in range(max_words + 1))
    expected = [all_sentences(model, row, max_words, power) for row in range(3)]
    everything = beam(
        model.step, model.start(range(3)), 3, max_words, beams, length_power=power
    )
    first = beam(
        model.step,
        model.start(range(3)),
        3,
        max_words,
        beams,
        length_power=power,
        keep=1,
    )
    for row in range(3):
        assert_same(everything[row], expected[row] or [Hypothesis((), -INF, -INF)])
        assert_same(first[row], expected[row][:1] or [Hypothesis((), -INF, -INF)])


@pytest.mark.parametrize("quarters", [False, True], ids=["smooth", "ties"])
@pytest.mark.parametrize("holes", [0.0, 0.4], ids=["all possible", "holes"])
@pytest.mark.parametrize(
    ("beams", "keep", "power", "horizon"),
    [
        pytest.param(1, 1, 0.0, None, id="beam 1"),
        pytest.param(2, 2, 0.0, None, id="beam 2"),
        pytest.param(3, 1, 0.0, None, id="beam 3, best only"),
        pytest.param(5, 5, 1.0, None, id="mean log-probability"),
        pytest.param(3, 2, 0.7, None, id="power 0.7"),
        pytest.param(3, 1, 0.7, 0, id="horizon 0"),
        pytest.param(4, 2, 1.0, 2, id="horizon 2"),
        pytest.param(40, 3, 0.5, None, id="wider than the words"),
    ],
)
def test_beam_against_plain_loops(
    beams: int,
    keep: int,
    power: float,
    horizon: int | None,
    holes: float,
    quarters: bool,
) -> None:
    for seed in range(4):
        model = Tree(seed, 9, quarters=quarters, holes=holes)
        got = beam(
            model.step,
            model.start(range(4)),
            4,
            5,
            beams,
            length_power=power,
            keep=keep,
            horizon=horizon,
        )
        for row in range(4):
            assert_same(got[row], slow_beam(model, row, 5, beams, keep, power, horizon))


@pytest.mark.parametrize("quarters", [False, True], ids=["smooth", "ties"])
@pytest.mark.parametrize("holes", [0.0, 0.5], ids=["all possible", "holes"])
def test_greedy_is_the_argmax_and_a_beam_of_one(holes: float, quarters: bool) -> None:
    for seed in range(8):
        model = Tree(seed, 9, quarters=quarters, holes=holes)
        got = greedy(model.step, model.start(range(5)), 5, 4)
        one = beam(model.step, model.start(range(5)), 5, 4, 1)
        for row in range(5):
            words: tuple[int, ...] = ()
            total = 0.0
            while True:
                table = model.table(row, words).tolist()
                legal = [END] if len(words) == 4 else [END, *range(4, 9)]
                word = max(legal, key=lambda number: (table[number], -number))
                total += table[word]
                if word == END or total == -INF:
                    break
                words = (*words, word)
            expected = Hypothesis(words if total > -INF else (), total, total)
            assert_same(got[row], [expected])
            assert_same(one[row], [expected])


def test_by_hand() -> None:
    # After START: A .5, B .4, END .1. After A: END .3, A .35, B .35. After B: END .9, A .1. After
    # two words: END 1.
    tables = {
        (): {A: 0.5, B: 0.4, END: 0.1},
        (A,): {END: 0.3, A: 0.35, B: 0.35},
        (B,): {END: 0.9, A: 0.1},
    }
    model = Tree(0)
    for words in itertools.chain.from_iterable(
        itertools.product((A, B), repeat=length) for length in range(3)
    ):
        row = np.full(7, -INF)
        for word, probability in tables.get(words, {END: 1.0}).items():
            row[word] = math.log(probability)
        model.known[0, words] = row
    # greedy takes A (.5), then A (.35, lower number than B), then END (1): .175
    (((words, total, _),),) = [
        [(h.words, h.log_probability, h.score) for h in row]
        for row in greedy(model.step, model.start([0]), 1, 5)
    ]
    assert words == (A, A) and math.exp(total) == pytest.approx(0.175)
    # two beams: "B END" .4 * .9 = .36; then "A A END" and "A B END" .5 * .35 = .175 each, the lower
    # words first; "END" at once, .1, is not among the first two at its step, and "A END", .15, is
    # worth less than A A and A B
    (found,) = beam(model.step, model.start([0]), 1, 5, 2)
    assert [hypothesis.words for hypothesis in found] == [(B,), (A, A)]
    assert [
        math.exp(hypothesis.log_probability) for hypothesis in found
    ] == pytest.approx([0.36, 0.175])
    # by the mean a word: log .36 / 2 = -.511, log .175 / 3 = -.581
    (found,) = beam(model.step, model.start([0]), 1, 5, 2, length_power=1.0)
    assert [hypothesis.score for hypothesis in found] == pytest.approx(
        [-0.5108, -0.5810], abs=1e-4
    )


class Case(NamedTuple):
    """A step with the same probabilities after every word, and what must come out."""

    values: dict[int, float]
    max_words: int
    words: tuple[int, ...]
    probability: float


FLAT = [
    pytest.param(Case({END: 0.6, A: 0.4}, 5, (), 0.6), id="END at once"),
    pytest.param(
        Case({END: 0.01, A: 0.99}, 3, (A, A, A), 0.99**3 * 0.01),
        id="max_words reached, END paid",
    ),
    pytest.param(Case({A: 1.0}, 3, (), 0.0), id="END impossible"),
    pytest.param(Case({PAD: 0.9, END: 0.1}, 3, (), 0.1), id="pad forbidden"),
    pytest.param(
        Case({START: 0.3, UNKNOWN: 0.3, A: 0.25, END: 0.15}, 1, (A,), 0.25 * 0.15),
        id="start, unk forbidden",
    ),
    pytest.param(Case({UNKNOWN: 1.0}, 3, (), 0.0), id="nothing but forbidden"),
    pytest.param(Case({A: 0.5, B: 0.5}, 2, (), 0.0), id="no END, two words"),
]


@pytest.mark.parametrize("case", FLAT)
@pytest.mark.parametrize("rows", [1, 3], ids=["one row", "three rows"])
def test_greedy_on_flat_probabilities(case: Case, rows: int) -> None:
    found = greedy(flat(case.values), np.zeros((rows, 1)), rows, case.max_words)
    assert [[item.words for item in row] for row in found] == [[case.words]] * rows
    assert math.exp(found[-1][0].log_probability) == pytest.approx(case.probability)


@pytest.mark.parametrize("beams", [1, 2, 5])
@pytest.mark.parametrize("rows", [1, 3], ids=["one row", "three rows"])
def test_beam_never_does_worse_than_greedy_here(rows: int, beams: int) -> None:
    for parameter in FLAT:
        case = parameter.values[0]
        found = beam(
            flat(case.values), np.zeros((rows, 1)), rows, case.max_words, beams
        )
        assert len(found) == rows
        for row in found:
            assert math.exp(row[0].log_probability) >= case.probability - 1e-6
            assert not {PAD, START, UNKNOWN, END} & {
                word for item in row for word in item.words
            }


@pytest.mark.parametrize(
    ("forbidden", "words"),
    [
        ((), (UNKNOWN,)),
        ((UNKNOWN,), (A,)),
        (FORBIDDEN, (A,)),
        ((UNKNOWN, A), (B,)),
        ([A, A, UNKNOWN], (B,)),
    ],
    ids=["none", "unk", "default", "a word as well", "repeated"],
)
def test_forbidden(forbidden: Sequence[int], words: tuple[int, ...]) -> None:
    step = flat({UNKNOWN: 0.6, A: 0.25, B: 0.1, END: 0.05})
    for found in (
        greedy(step, (), 1, 1, forbidden=forbidden),
        beam(step, (), 1, 1, 1, forbidden=forbidden),
        sample(step, (), 1, 1, 1e-3, forbidden=forbidden),
    ):
        assert found[0][0].words == words


def test_ties_go_to_the_lowest_words() -> None:
    # 19 words and END, all alike
    step = flat({number: 0.05 for number in (END, *range(4, 23))}, 23)
    assert [item.words for item in beam(step, (), 1, 2, 4)[0]] == [(), (A,), (B,), (C,)]
    assert greedy(step, (), 1, 2)[0][0].words == ()
    # without END the four first of 19 equal words, then of 4 x 19 equal pairs
    never = flat({number: 0.05 for number in range(4, 23)} | {END: 1e-9}, 23)
    assert [item.words for item in beam(never, (), 1, 1, 4)[0]] == [
        (A,),
        (B,),
        (C,),
        (7,),
    ]
    assert [item.words for item in beam(never, (), 1, 2, 4)[0]] == [
        (A, A),
        (A, B),
        (A, C),
        (A, 7),
    ]


@pytest.mark.parametrize(
    "dtype", [np.float16, np.float32, np.float64], ids=lambda dtype: dtype.__name__
)
def test_precision_of_the_step(dtype: type[np.floating[Any]]) -> None:
    model = Tree(3, 9, quarters=True)

    def step(words: Array, state: Any) -> Any:
        table, state = model.step(words, state)
        return table.astype(dtype), state

    for row, found in enumerate(beam(step, model.start(range(4)), 4, 5, 3)):
        assert_same(found, slow_beam(model, row, 5, 3, 3, 0.0))


def test_a_batch_is_its_rows() -> None:
    model = Tree(11, 12)
    together = beam(model.step, model.start(range(6)), 6, 6, 3, length_power=0.6)
    assert [len(row) for row in together] == [3] * 6
    for row in range(6):
        assert beam(model.step, model.start([row]), 1, 6, 3, length_power=0.6) == [
            together[row]
        ]
        assert greedy(model.step, model.start([row]), 1, 6) == [
            greedy(model.step, model.start(range(6)), 6, 6)[row]
        ]


def test_no_rows() -> None:
    model = Tree(0)
    assert beam(model.step, model.start([]), 0, 5, 3) == []
    assert greedy(model.step, model.start([]), 0, 5) == []
    assert sample(model.step, model.start([]), 0, 5) == []
    assert model.asked == []


def test_finished_rows_leave_the_batch() -> None:
    # Row r writes A exactly r times, then END: it is certain, so a row needs r + 1 steps and no
    # more.
    lengths = [0, 3, 1, 3]

    def step(words: Array, state: tuple[Array]) -> tuple[Array, tuple[Array]]:
        asked.append(len(words))
        table = np.full((len(words), 6), -INF)
        done = state[0] <= 0
        table[done, END] = 0.0
        table[~done, A] = math.log(0.9)
        table[~done, B] = math.log(0.1)
        return table, (state[0] - 1,)

    asked: list[int] = []
    found = beam(step, (np.array(lengths),), 4, 9, 2, keep=1)
    assert [row[0].words for row in found] == [(A,) * length for length in lengths]
    assert asked == [4, 3 * 2, 2 * 2, 2 * 2]
    asked.clear()
    assert [row[0].words for row in greedy(step, (np.array(lengths),), 4, 9)] == [
        (A,) * n for n in lengths
    ]
    assert asked == [4, 3, 2, 2]


def test_horizon_stops_sooner() -> None:
    model = Tree(5, 30)
    asked = {}
    for horizon in (None, 3, 0):
        model.asked.clear()
        found = beam(
            model.step,
            model.start(range(3)),
            3,
            12,
            3,
            length_power=1.0,
            keep=1,
            horizon=horizon,
        )
        asked[horizon] = sum(model.asked)
        assert len(found) == 3
    assert asked[0] <= asked[3] <= asked[None] and asked[0] < asked[None]


def test_fixed_parts_follow_their_rows() -> None:
    model = Tree(8, 9)
    seen: list[Array] = []

    def step(words: Array, state: tuple[Any, Fixed]) -> tuple[Array, tuple[Any, Fixed]]:
        inner, fixed = state
        row, _, pair = inner[0], inner[1], fixed.value
        assert np.array_equal(row, pair[0]) and np.array_equal(row * 10, pair[1])
        seen.append(pair[0])
        table, inner = model.step(words, inner)
        return table, (inner, fixed)

    rows = np.arange(5)
    found = beam(
        step, (model.start(range(5)), Fixed((rows, rows * 10))), 5, 6, 3, keep=1
    )
    assert found == beam(model.step, model.start(range(5)), 5, 6, 3, keep=1)
    assert any(before is after for before, after in itertools.pairwise(seen)), (
        "moved at every word"
    )
    assert greedy(
        step, (model.start(range(5)), Fixed((rows, rows * 10))), 5, 6
    ) == greedy(model.step, model.start(range(5)), 5, 6)


def test_an_lstm_alone_and_in_a_batch() -> None:
    torch.manual_seed(0)
    cell, embed, out = (
        torch.nn.LSTMCell(16, 16),
        torch.nn.Embedding(40, 16),
        torch.nn.Linear(16, 40),
    )

    @torch.no_grad()
    def step(
        words: Array, state: tuple[Tensor, Tensor]
    ) -> tuple[Array, tuple[Tensor, Tensor]]:
        state = cell(embed(torch.from_numpy(words)), state)  # the state stays a tensor
        return (out(state[0]) * 8).log_softmax(1).numpy(), state

    state = (torch.randn(6, 16), torch.randn(6, 16))
    together = beam(step, state, 6, 10, 4)
    for row in range(6):
        (alone,) = beam(
            step, (state[0][row : row + 1], state[1][row : row + 1]), 1, 10, 4
        )
        assert [item.words for item in alone] == [item.words for item in together[row]]
        for item in alone:  # the price of a sentence is what teacher forcing says
            h, total = (state[0][row : row + 1], state[1][row : row + 1]), 0.0
            for before, after in itertools.pairwise((START, *item.words, END)):
                table, h = step(np.array([before]), h)
                total += table[0, after].item()
            assert item.log_probability == pytest.approx(total, abs=1e-4)
