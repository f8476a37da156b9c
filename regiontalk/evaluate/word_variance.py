"""What word vectors are made of: the word or its context, and which words have long vectors (docs/protocols.md)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regiontalk.evaluate.result import lists
from regiontalk.records import FloatArray

LEAST = 10  # times that a word must be met before anything is said of it
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
        cls, tokens: Sequence[Sequence[str]], vectors: FloatArray, mask: NDArray[np.bool_]
    ) -> SpokenWords:
        """The words of C sentences and their vectors (C, T, D); the mask (C, T) is True at a word."""
        names = [word for sentence in tokens for word in sentence]
        rows = vectors[mask].astype(np.float64)
        squares = (rows**2).sum(axis=1)
        found = cls.empty()
        for name, row, square in zip(names, rows, squares, strict=True):
            found.count[name] = found.count.get(name, 0) + 1
            found.total[name] = found.total.get(name, 0.0) + row
            found.squares[name] = found.squares.get(name, 0.0) + float(square)
            found.lengths[name] = found.lengths.get(name, 0.0) + float(square) ** 0.5
        return found

    def joined(self, other: SpokenWords) -> SpokenWords:
        """Both together, added up in this one: a data set has thousands of parts."""
        for name, times in other.count.items():
            self.count[name] = self.count.get(name, 0) + times
            self.total[name] = self.total.get(name, 0.0) + other.total[name]
            self.squares[name] = self.squares.get(name, 0.0) + other.squares[name]
            self.lengths[name] = self.lengths.get(name, 0.0) + other.lengths[name]
        return self


def share_of_word(words: SpokenWords, least: int = LEAST) -> float | None:
    """How much of the spread of word vectors the word alone explains, 0..1; the rest is context.

    One minus the mean squared distance of a vector to its word's mean over that to the mean of all,
    with the means' own sampling error taken out (n - 1 in place of n for each word).

    Returns:
        None where no word was met ``least`` times, or all vectors are equal.
    """
    kept = [name for name, times in words.count.items() if times >= max(2, least)]
    if not kept:
        return None
    times = np.array([words.count[name] for name in kept], dtype=np.float64)
    means = np.stack([words.total[name] for name in kept]) / times[:, None]
    squares = np.array([words.squares[name] for name in kept])
    within = (squares - times * (means**2).sum(axis=1)).clip(min=0)
    centre = (times[:, None] * means).sum(axis=0) / times.sum()
    spread = squares.sum() / times.sum() - float((centre**2).sum())
    if spread <= 0:
        return None
    inside = float((within * times / (times - 1)).sum() / times.sum())
    return max(0.0, 1.0 - inside / float(spread))


def spreads(
    words: SpokenWords, photos: Iterable[Sentences], least: int = LEAST
) -> NDArray[np.float64]:
    """What each photo adds to the two sums of `share_of_word`, with the means as they are over all photos.

    Returns:
        (P, 2) squared distances of its word vectors to their word's mean and to the mean of all,
        over the words met ``least`` times; one minus the ratio of the sums is the share.
    """
    times = {name: count for name, count in words.count.items() if count >= max(2, least)}
    means = {name: words.total[name] / count for name, count in times.items()}
    centre = np.sum([words.total[name] for name in times], axis=0) / max(1, sum(times.values()))
    rows = []
    for tokens, vectors, mask in photos:
        inside = spread = 0.0
        names = (word for sentence in tokens for word in sentence)
        for name, row in zip(names, vectors[mask].astype(np.float64), strict=True):
            if name in times:
                inside += float(((row - means[name]) ** 2).sum()) * times[name] / (times[name] - 1)
                spread += float(((row - centre) ** 2).sum())
        rows.append([inside, spread])
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def by_length(words: SpokenWords, least: int = LEAST) -> list[str]:
    """Words met ``least`` times, by falling mean vector length ||s_t||; ties by spelling."""
    mean = {
        name: words.lengths[name] / times for name, times in words.count.items() if times >= least
    }
    return sorted(mean, key=lambda name: (-mean[name], name))


def word_notes(words: SpokenWords) -> list[str]:
    """Both findings as remarks."""
    order = by_length(words)
    if not order or share_of_word(words) is None:
        return [f"no word was met {LEAST} times: nothing is said of word vectors"]
    return [
        "spread of word vectors: the share that comes from the word; the rest comes from its context",
        *lists({"longest word vectors": order[:NAMED], "shortest": order[::-1][:NAMED]}),
    ]
