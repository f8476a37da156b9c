"""What word vectors are made of.

The word or its context, and which words have long vectors (docs/protocols.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from regiontalk.evaluate.result import lists
from regiontalk.records import FloatArray

MIN_COUNT = 10  # times that a word must be met before its vectors are judged
NAMED = 15

Sentences = tuple[Sequence[Sequence[str]], FloatArray, NDArray[np.bool_]]
"""Tokens of C sentences, their vectors (C, T, D), and a mask (C, T) that is True at a word."""


@dataclass(frozen=True)
class SpokenWords:
    """Sums over the word vectors s_t that were met.

    Attributes:
        count: word -> how often.
        total: word -> sum of its vectors (D,).
        squares: word -> sum of their squared lengths.
        lengths: word -> sum of their lengths.
    """

    count: dict[str, int]
    total: dict[str, NDArray[np.float64]]
    squares: dict[str, float]
    lengths: dict[str, float]

    @classmethod
    def empty(cls) -> SpokenWords:
        """No word yet."""
        return cls({}, {}, {}, {})

    @classmethod
    def of(
        cls,
        tokens: Sequence[Sequence[str]],
        vectors: FloatArray,
        mask: NDArray[np.bool_],
    ) -> SpokenWords:
        """The words of C sentences and their vectors (C, T, D).

        The mask (C, T) is True at a word.
        """
        rows = vectors[mask].astype(np.float64)
        squares = (rows**2).sum(axis=1)
        sums = cls.empty()
        words = chain.from_iterable(tokens)
        for word, row, square in zip(words, rows, squares.tolist(), strict=True):
            sums.count[word] = sums.count.get(word, 0) + 1
            sums.total[word] = sums.total.get(word, 0.0) + row
            sums.squares[word] = sums.squares.get(word, 0.0) + square
            sums.lengths[word] = sums.lengths.get(word, 0.0) + square**0.5
        return sums

    def joined(self, later: SpokenWords) -> SpokenWords:
        """Both together, added up in this one: a data set has thousands of photos."""
        for word, times in later.count.items():
            self.count[word] = self.count.get(word, 0) + times
            self.total[word] = self.total.get(word, 0.0) + later.total[word]
            self.squares[word] = self.squares.get(word, 0.0) + later.squares[word]
            self.lengths[word] = self.lengths.get(word, 0.0) + later.lengths[word]
        return self


def share_of_word(words: SpokenWords, min_count: int = MIN_COUNT) -> float | None:
    """How much of the spread of word vectors the word alone explains, 0..1.

    What remains is context. One minus the mean squared distance of a vector to its
    word's mean over that to the mean of all, with the means' own sampling error taken
    out (n - 1 in place of n for each word).

    Returns:
        None where no word was met ``min_count`` times, or all vectors are equal.
    """
    times = _frequent(words, max(2, min_count))
    if not times:
        return None
    counts = np.array(list(times.values()), dtype=np.float64)
    total = counts.sum()
    means = np.stack([words.total[name] for name in times]) / counts[:, None]
    squares = np.array([words.squares[name] for name in times])
    within = (squares - counts * (means**2).sum(axis=1)).clip(min=0)
    centre = (counts[:, None] * means).sum(axis=0) / total
    spread = squares.sum() / total - float((centre**2).sum())
    if spread <= 0:
        return None
    inside = float((within * counts / (counts - 1)).sum() / total)
    return max(0.0, 1.0 - inside / float(spread))


def _frequent(words: SpokenWords, min_count: int) -> dict[str, int]:
    """The words that were met ``min_count`` times, and how often."""
    return {name: times for name, times in words.count.items() if times >= min_count}


def spreads(
    words: SpokenWords, photos: Iterable[Sentences], min_count: int = MIN_COUNT
) -> NDArray[np.float64]:
    """What each photo adds to the two sums of `share_of_word`.

    With the means as they are over all photos.

    Returns:
        (P, 2) squared distances of its word vectors to their word's mean and to the mean of all,
        over the words met ``min_count`` times; one minus the ratio of the sums is the share.
    """
    times = _frequent(words, max(2, min_count))
    means = {name: words.total[name] / count for name, count in times.items()}
    total = np.sum([words.total[name] for name in times], axis=0)
    centre = total / max(1, sum(times.values()))
    rows = [np.zeros((0, 2))]
    for tokens, vectors, mask in photos:
        inside = spread = 0.0
        word_vectors = vectors[mask].astype(np.float64)
        for name, vector in zip(chain.from_iterable(tokens), word_vectors, strict=True):
            if name not in times:
                continue
            inside += _squared(vector - means[name]) * times[name] / (times[name] - 1)
            spread += _squared(vector - centre)
        rows.append(np.array([[inside, spread]]))
    return np.concatenate(rows)


def _squared(vector: NDArray[np.float64]) -> float:
    """The squared length."""
    return float((vector**2).sum())


def by_length(words: SpokenWords, min_count: int = MIN_COUNT) -> list[str]:
    """Words met ``min_count`` times, by falling mean vector length ||s_t||; ties by spelling."""
    mean_lengths = {
        name: words.lengths[name] / times
        for name, times in _frequent(words, min_count).items()
    }
    return sorted(mean_lengths, key=lambda name: (-mean_lengths[name], name))


def word_notes(words: SpokenWords) -> list[str]:
    """Both findings as remarks."""
    order = by_length(words)
    if not order or share_of_word(words) is None:
        return [f"no word was met {MIN_COUNT} times: nothing is said of word vectors"]
    return [
        "spread of word vectors: the share that comes from the word; the rest comes "
        "from its context",
        *lists(
            {"longest word vectors": order[:NAMED], "shortest": order[::-1][:NAMED]}
        ),
    ]
