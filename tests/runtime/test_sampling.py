"""Sampling: frequencies, seeds, and rows that do not depend on each other."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from regiontalk.runtime.search import Hypothesis, greedy, sample
from regiontalk.text.vocabulary import END, PAD, START, UNKNOWN

INF = math.inf
Array = NDArray[Any]
A, B, C = 4, 5, 6  # the first three real words


def flat(values: dict[int, float], vocabulary: int = 7) -> Any:
    """A step with the same probabilities after every word."""
    row = np.full(vocabulary, -INF)
    for word, probability in values.items():
        row[word] = math.log(probability)
    return lambda words, state: (np.tile(row, (len(words), 1)), state)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_sampling_frequencies(temperature: float) -> None:
    # one word, then END at any price: p(word) is proportional to p ** (1 / temperature) over the
    # allowed words
    values = {PAD: 0.2, END: 0.1, A: 0.4, B: 0.25, C: 0.05}
    rows = 20_000
    found = sample(flat(values), (), rows, 1, temperature, np.random.default_rng(1))
    allowed = {word: values[word] ** (1 / temperature) for word in (END, A, B, C)}
    for word, weight in allowed.items():
        sentence = () if word == END else (word,)
        share = sum(row[0].words == sentence for row in found) / rows
        probability = weight / sum(allowed.values())
        assert share == pytest.approx(
            probability, abs=4 * math.sqrt(probability * (1 - probability) / rows)
        )
    priced = {row[0].words: row[0].log_probability for row in found}
    assert priced[()] == pytest.approx(math.log(0.1)) and priced[(A,)] == pytest.approx(
        math.log(0.4 * 0.1)
    )


def test_sampling_is_seeded_and_does_not_depend_on_other_rows() -> None:
    tables = np.random.default_rng(0).normal(size=(8, 12, 12)) * 2
    tables -= np.log(np.exp(tables).sum(2, keepdims=True))

    def step(words: Array, row: Array) -> tuple[Array, Array]:
        return tables[row, words], row  # depends on the row and on the last word

    def draw(rows: int, seed: int) -> list[Hypothesis]:
        chance = np.random.default_rng(seed)
        return [
            row[0]
            for row in sample(
                step, np.arange(rows), rows, 6, 1.3, chance, length_power=1.0
            )
        ]

    together = draw(8, 5)
    assert together == draw(8, 5) != draw(8, 6)
    assert together[:3] == draw(3, 5) and together[:1] == draw(1, 5)
    for row, hypothesis in enumerate(together):
        total = 0.0
        for before, after in itertools.pairwise((START, *hypothesis.words, END)):
            total += float(tables[row, before, after])
        assert hypothesis.log_probability == pytest.approx(total, abs=1e-6)
        assert hypothesis.score == pytest.approx(
            total / (len(hypothesis.words) + 1), abs=1e-6
        )
    cold = sample(step, np.arange(8), 8, 6, 1e-6)
    assert [row[0].words for row in cold] == [
        row[0].words for row in greedy(step, np.arange(8), 8, 6)
    ]


def test_sampling_where_no_word_is_possible() -> None:
    assert (
        sample(flat({UNKNOWN: 1.0}), np.zeros((2, 1)), 2, 3)
        == [[Hypothesis((), -INF, -INF)]] * 2
    )
