"""BLEU: by hand, and against a slow twin from the definition."""

from __future__ import annotations

from collections import Counter
from math import exp

import numpy as np
import pytest

from regiontalk.metrics.bleu import bleu_statistics, corpus_bleu


def slow_statistics(candidate: list[str], references: list[list[str]]) -> list[int]:
    closest = min(
        (abs(len(other) - len(candidate)), len(other)) for other in references
    )[1]
    offered, found = [], []
    for order in range(1, 5):
        mine = Counter(
            tuple(candidate[i : i + order]) for i in range(len(candidate) - order + 1)
        )
        most: Counter[tuple[str, ...]] = Counter()
        for other in references:
            most |= Counter(
                tuple(other[i : i + order]) for i in range(len(other) - order + 1)
            )
        offered.append(sum(mine.values()))
        found.append(sum((mine & most).values()))
    return [len(candidate), closest, *offered, *found]


def test_by_hand() -> None:
    # "a a b" against "a b c" and "a a": words a (twice in "a a"), b: 3 of 3. Pairs "a a" and "a b":
    # 2 of 2. Triple "a a b": in no reference, 0 of 1. Lengths 3 against 2 and 3: closest 3, no
    # penalty.
    row = bleu_statistics(["a a b".split()], [["a b c".split(), "a a".split()]])
    assert row.tolist() == [[3, 3, 3, 2, 1, 0, 3, 2, 0, 0]]
    assert corpus_bleu(row[0]) == pytest.approx(
        [1, 1, (1e-15) ** (1 / 3), (1e-15 * 1e-6) ** (1 / 4)], rel=1e-6
    )


def test_brevity_by_hand() -> None:
    # 2 words against 4: exp(1 - 4/2) = e^-1; all words match, so BLEU-1 is that.
    row = bleu_statistics(["a b".split()], [["a b c d".split()]])
    assert corpus_bleu(row[0])[0] == pytest.approx(exp(-1))


@pytest.mark.parametrize("seed", range(5))
def test_slow_twin(seed: int) -> None:
    random = np.random.default_rng(seed)
    words = list("abcde")

    def sentence() -> list[str]:
        return random.choice(words, size=random.integers(0, 9)).tolist()

    candidates = [sentence() for _ in range(12)]
    references = [
        [sentence() for _ in range(random.integers(1, 5))] for _ in candidates
    ]
    wanted = [
        slow_statistics(candidate, group)
        for candidate, group in zip(candidates, references, strict=True)
    ]
    assert bleu_statistics(candidates, references).tolist() == wanted


def test_sums_of_many_at_once() -> None:
    totals = np.array([[3, 3, 3, 2, 1, 0, 3, 2, 0, 0], [5, 6, 5, 4, 3, 2, 4, 2, 1, 0]])
    assert corpus_bleu(totals)[1] == pytest.approx(corpus_bleu(totals[1]))


@pytest.mark.parametrize(
    ("candidates", "references", "message"),
    [
        pytest.param([["a"]], [], "one group a candidate", id="other-number"),
        pytest.param(
            [["a"]], [[]], "at least one for every candidate", id="no-reference"
        ),
        pytest.param(["a"], [[["a"]]], "lists of tokens", id="string"),
    ],
)
def test_errors(
    candidates: list[list[str]], references: list[list[list[str]]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        bleu_statistics(candidates, references)


def test_empty() -> None:
    assert bleu_statistics([], []).shape == (0, 10)
    assert corpus_bleu(bleu_statistics([[]], [[["a"]]])[0]).max() < 1e-3
