"""Variety and novelty, by hand and against a slow twin."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from regiontalk.metrics.diversity import distinct, found_in, measure_diversity


def test_by_hand() -> None:
    # "a dog runs", "a dog": 5 words of which a, dog, runs are distinct, 3 pairs of which "a dog",
    # "dog runs" are distinct, mean length 5/2; the empty caption counts nowhere; "a dog" stands in
    # training, "a dog runs" does not.
    found = measure_diversity(
        [["a", "dog", "runs"], ["a", "dog"], []], [["a", "dog"], ["runs"]]
    )
    assert (found.distinct_1, found.distinct_2) == (3 / 5, 2 / 3)
    assert (
        found.vocabulary,
        found.mean_length,
        found.distinct_captions,
        found.in_training,
    ) == (
        3,
        2.5,
        1.0,
        0.5,
    )


def test_found_in_training_however_it_is_cut() -> None:
    training = [["the", "man", "'s", "t-shirt", "is", "red"]]
    assert found_in(
        [["the", "mans", "tshirt", "is", "red"], ["the", "man", "is", "red"]], training
    ).tolist() == [
        True,
        False,
    ]


def test_nothing_said() -> None:
    found = measure_diversity([[]])
    assert found.to_dict() == {
        "distinct_1": None,
        "distinct_2": None,
        "vocabulary": 0,
        "mean_length": None,
        "distinct_captions": None,
        "in_training": None,
    }


def test_slow_twin() -> None:
    random = np.random.default_rng(0)
    captions = [
        random.choice(list("abc"), size=random.integers(1, 6)).tolist()
        for _ in range(30)
    ]
    pairs = [pair for words in captions for pair in pairwise(words)]
    assert distinct(captions, 2) == len(set(pairs)) / len(pairs)
    assert found_in(captions, captions[:10]).tolist() == [
        words in captions[:10] for words in captions
    ]


def test_errors() -> None:
    with pytest.raises(ValueError, match="1 word or more"):
        distinct([["a"]], 0)
