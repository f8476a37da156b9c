"""CIDEr-D: by hand, and against a slow twin from the definition."""

from __future__ import annotations

from collections import Counter
from math import exp, log, sqrt

import numpy as np
import pytest

from regiontalk.metrics.cider import cider_d, document_frequencies

Grams = Counter[tuple[str, ...]]


def grams(words: list[str], order: int) -> Grams:
    return Counter(tuple(words[i : i + order]) for i in range(len(words) - order + 1))


def slow_cider(
    candidates: list[list[str]], references: list[list[list[str]]]
) -> list[float]:
    scores = []
    for candidate, group in zip(candidates, references, strict=True):
        total = 0.0
        for other in group:
            damp = exp(
                -((max(len(candidate) - 1, 0) - max(len(other) - 1, 0)) ** 2) / 72
            )
            for order in range(1, 5):
                photos = [
                    set().union(*(grams(words, order) for words in each))
                    for each in references
                ]

                def weigh(
                    words: list[str],
                    order: int = order,
                    photos: list[set[str]] = photos,
                ) -> dict[str, float]:
                    return {
                        gram: times
                        * (
                            log(len(references))
                            - log(max(1, sum(gram in photo for photo in photos)))
                        )
                        for gram, times in grams(words, order).items()
                    }

                mine, theirs = weigh(candidate), weigh(other)
                norm = sqrt(sum(x * x for x in mine.values())) * sqrt(
                    sum(x * x for x in theirs.values())
                )
                dot = sum(
                    min(mine[gram], theirs[gram]) * theirs[gram]
                    for gram in mine
                    if gram in theirs
                )
                total += damp * (dot / norm if norm else 0.0)
        scores.append(10 * total / 4 / len(group))
    return scores


def test_by_hand() -> None:
    # Two photos; "a" stands in both, so its weight is log 2 - log 2 = 0; "b" in one, weight log 2.
    # Order 1 of photo 0: both vectors are (b: log 2), similarity 1. Order 2: "a b" is in one photo,
    # weight log 2, similarity 1. Orders 3 and 4 are empty: 0. Same lengths, so 10 * (1 + 1 + 0 + 0)
    # / 4 = 5. Photo 1 shares only "a": 0.
    assert cider_d(
        ["a b".split(), "a x".split()], [["a b".split()], ["a c".split()]]
    ) == pytest.approx([5.0, 0.0])


@pytest.mark.parametrize("seed", range(4))
def test_slow_twin(seed: int) -> None:
    random = np.random.default_rng(seed)

    def sentence() -> list[str]:
        return random.choice(list("abcdef"), size=random.integers(0, 9)).tolist()

    candidates = [sentence() for _ in range(8)]
    references = [
        [sentence() for _ in range(random.integers(1, 4))] for _ in candidates
    ]
    assert cider_d(candidates, references) == pytest.approx(
        slow_cider(candidates, references), abs=1e-12
    )


def test_a_part_of_a_set_gets_the_figures_of_the_whole() -> None:
    random = np.random.default_rng(7)
    sentences = [
        [
            random.choice(list("abcd"), size=random.integers(0, 9)).tolist()
            for _ in "123"
        ]
        for _ in range(9)
    ]
    candidates, references = (
        [own[0] for own in sentences],
        [own[1:] for own in sentences],
    )
    whole = cider_d(candidates, references)
    frequencies = document_frequencies(references)
    assert frequencies.photos == 9 and frequencies.of[("a",)] == sum(
        "a" in x + y for x, y in references
    )
    assert cider_d(candidates[2:4], references[2:4], frequencies) == pytest.approx(
        whole[2:4]
    )
    assert cider_d(candidates[:1], references[:1], frequencies) == pytest.approx(
        whole[:1]
    )


def test_one_photo_scores_nothing() -> None:
    assert cider_d([["a"]], [[["a"]]]).tolist() == [0.0]


def test_empty() -> None:
    assert cider_d([], []).shape == (0,)
    assert cider_d([[], []], [[["a"]], [["b"]]]).tolist() == [0.0, 0.0]


def test_errors() -> None:
    with pytest.raises(ValueError, match="one group a candidate"):
        cider_d([["a"]], [])


def test_references_shorter_than_an_n_gram() -> None:
    said = ["a dog runs fast".split(), "a cat sleeps here".split()]
    assert cider_d(said, [[["dog"]], [["cat"]]]).tolist() == pytest.approx(
        slow_cider(said, [[["dog"]], [["cat"]]]), abs=1e-12
    )
