"""Word vectors: word against context, and lengths."""

from __future__ import annotations

import numpy as np
import pytest

from regiontalk.evaluate.word_variance import (
    SpokenWords,
    by_length,
    share_of_word,
    spreads,
    word_notes,
)


def spoken(rows: list[tuple[str, list[float]]]) -> SpokenWords:
    """One sentence a word."""
    vectors = np.array([[vector] for _, vector in rows], dtype=np.float32)
    return SpokenWords.of(
        [[word] for word, _ in rows], vectors, np.ones((len(rows), 1), dtype=bool)
    )


@pytest.mark.parametrize(
    ("rows", "share"),
    [
        pytest.param(
            [("a", [1.0]), ("a", [1.0]), ("b", [-1.0]), ("b", [-1.0])],
            1.0,
            id="the word says it all",
        ),
        # every word has the mean 0: nothing comes from the word
        pytest.param(
            [("a", [1.0]), ("a", [-1.0]), ("b", [1.0]), ("b", [-1.0])],
            0.0,
            id="context says it all",
        ),
        # a: 3 and 1 (mean 2, variance with n - 1: 2), b the same below 0; centre 0, spread (9 + 1 +
        # 9 + 1) / 4 = 5: 1 - 2 / 5
        pytest.param(
            [("a", [3.0]), ("a", [1.0]), ("b", [-3.0]), ("b", [-1.0])], 0.6, id="both"
        ),
        pytest.param([("a", [1.0]), ("a", [1.0])], None, id="no spread"),
        pytest.param([("a", [1.0]), ("b", [2.0])], None, id="too rare"),
    ],
)
def test_share_of_word(
    rows: list[tuple[str, list[float]]], share: float | None
) -> None:
    found = share_of_word(spoken(rows), min_count=2)
    assert found == (None if share is None else pytest.approx(share))


def test_share_of_word_has_no_bias() -> None:
    random = np.random.default_rng(0)
    rows = [
        (f"w{word}", random.normal(size=3).tolist())
        for word in range(200)
        for _ in range(3)
    ]
    found = share_of_word(spoken(rows), min_count=2)
    assert found is not None and found < 0.1  # without n - 1 it would say a third


def test_spreads_add_up_to_the_share() -> None:
    random = np.random.default_rng(1)
    sentences = [
        [str(word) for word in random.choice(list("abcd"), size=size)]
        for size in (3, 5, 4, 6)
    ]
    photos = []
    words = SpokenWords.empty()
    for sentence in sentences:
        vectors, mask = (
            random.normal(size=(1, 7, 2)),
            np.arange(7)[None] < len(sentence),
        )
        photos.append(([sentence], vectors, mask))
        words = words.joined(SpokenWords.of([sentence], vectors, mask))
    rows = spreads(words, photos, min_count=2)
    assert rows.shape == (4, 2)
    assert max(0.0, 1 - rows[:, 0].sum() / rows[:, 1].sum()) == pytest.approx(
        share_of_word(words, min_count=2)
    )


def test_by_length() -> None:
    words = spoken(
        [
            ("a", [3.0, 4.0]),
            ("a", [0.0, 1.0]),
            ("the", [0.5, 0.0]),
            ("dog", [6.0, 8.0]),
            ("cat", [3.0, 0.0]),
        ]
    )
    # means: a (5 + 1) / 2 = 3, dog 10, cat 3, the 0.5; a before cat by spelling
    assert by_length(words, min_count=1) == ["dog", "a", "cat", "the"]
    assert by_length(words, min_count=2) == ["a"]


def test_sums_and_padding() -> None:
    vectors = np.array([[[1.0], [9.0]], [[2.0], [3.0]]], dtype=np.float32)
    mask = np.array([[True, False], [True, True]])
    both = SpokenWords.of([["a"], ["a", "b"]], vectors, mask).joined(
        spoken([("b", [1.0])])
    )
    assert both.count == {"a": 2, "b": 2} and both.lengths == {"a": 3.0, "b": 4.0}


def test_notes() -> None:
    assert "nothing is said" in word_notes(SpokenWords.empty())[0]
    lines = word_notes(spoken([("a", [1.0]), ("b", [-2.0])] * 10))
    assert lines[0].startswith("spread of word vectors") and lines[1:] == [
        "longest word vectors: b, a",
        "shortest: a, b",
    ]
