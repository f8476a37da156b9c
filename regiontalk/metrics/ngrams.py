"""N-grams of candidates and references as whole-number arrays: the ground under BLEU and CIDEr-D.

Sentences enter as token lists. Every word becomes a number, every n-gram becomes a number made from
that of its first n - 1 words and that of its last word, so counting is sorting and nothing is
hashed twice. C candidates, one a photo; R references of all photos in one row; P distinct
(sentence, n-gram) pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
Tokens = Sequence[str]


@dataclass(frozen=True)
class Counts:
    """How often each n-gram of one order stands in each sentence.

    Attributes:
        sentence: (P,) row of the sentence, rising.
        gram: (P,) number of the n-gram, rising inside a sentence.
        times: (P,) how often it occurs there, at least 1.
        grams: how many distinct n-grams there are in all sentences together.
        words: (grams, n) the word numbers of each.
    """

    sentence: IntArray
    gram: IntArray
    times: IntArray
    grams: int
    words: IntArray


@dataclass(frozen=True)
class SentenceTable:
    """Sentences as one row of word numbers.

    Attributes:
        words: (T,) word numbers of all sentences one after the other.
        lengths: (S,) words of each sentence.
        names: the distinct words, by number.
    """

    words: IntArray
    lengths: IntArray
    names: tuple[str, ...]

    @classmethod
    def build(cls, sentences: Sequence[Tokens]) -> SentenceTable:
        """Number the words of the sentences in the order in which they first occur."""
        lengths = np.fromiter(map(len, sentences), dtype=np.int64, count=len(sentences))
        flat = list(chain.from_iterable(sentences))
        names = tuple(dict.fromkeys(flat))
        number = {word: index for index, word in enumerate(names)}
        words = np.fromiter(
            map(number.__getitem__, flat), dtype=np.int64, count=len(flat)
        )
        return cls(words, lengths, names)

    def counts(self, longest: int = 4) -> Iterator[Counts]:
        """`Counts` of the n-grams of 1, 2, ... ``longest`` words."""
        sentence = np.repeat(np.arange(len(self.lengths)), self.lengths)
        ends = np.repeat(np.cumsum(self.lengths), self.lengths)
        word_count = max(len(self.names), 1)
        starts = np.arange(len(self.words))
        gram = self.words
        words = np.arange(len(self.names))[:, None]
        for order in range(1, longest + 1):
            if order > 1:
                # words left in the sentence
                is_long_enough = ends[starts] - starts >= order
                starts = starts[is_long_enough]
                keys = (
                    gram[is_long_enough] * word_count + self.words[starts + order - 1]
                )
                distinct, gram = np.unique(keys, return_inverse=True)
                words = np.column_stack(
                    [words[distinct // word_count], distinct % word_count]
                )
            yield _count(sentence[starts], gram, words)


def _count(sentence: IntArray, gram: IntArray, words: IntArray) -> Counts:
    """The counts of n-grams, given sentence and number of each and the words of each number."""
    width = max(len(words), 1)
    keys, times = np.unique(sentence * width + gram, return_counts=True)
    return Counts(
        keys // width, keys % width, times.astype(np.int64), len(words), words
    )


def flatten(references: Sequence[Sequence[Tokens]]) -> tuple[list[Tokens], IntArray]:
    """All references in one list, and the photo that each belongs to, (R,).

    The photo is a row of ``references``.
    """
    group_sizes = [len(group) for group in references]
    photo = np.repeat(np.arange(len(references)), group_sizes).astype(np.int64)
    return list(chain.from_iterable(references)), photo


def ngrams(words: Tokens, order: int) -> list[tuple[str, ...]]:
    """All runs of ``order`` words of a sentence, in order.

    >>> ngrams(["a", "red", "dog"], 2)
    [('a', 'red'), ('red', 'dog')]
    """
    starts = range(len(words) - order + 1)
    return [tuple(words[start : start + order]) for start in starts]


def lookup(keys: IntArray, wanted: IntArray) -> tuple[IntArray, NDArray[np.bool_]]:
    """Where each wanted key stands among rising ``keys``, and whether it is there.

    >>> lookup(np.array([2, 5, 9]), np.array([5, 6]))
    (array([1, 2]), array([ True, False]))
    """
    if not len(keys):
        return np.zeros(len(wanted), dtype=np.int64), np.zeros(
            len(wanted), dtype=np.bool_
        )
    positions = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return positions, keys[positions] == wanted


def require_pairs(
    candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]
) -> None:
    """Refuse lists that do not belong together.

    Raises:
        ValueError: another number of groups than of candidates, or a group without a reference.
    """
    if len(candidates) != len(references):
        raise ValueError(
            f"references: expected one group a candidate, {len(candidates)}, got "
            f"{len(references)}; pair them by id"
        )
    empty = [row for row, group in enumerate(references) if not len(group)]
    if empty:
        raise ValueError(
            f"references: expected at least one for every candidate, got none in row {empty[0]}"
        )
    if candidates and isinstance(candidates[0], str):
        raise ValueError(
            "candidates: expected lists of tokens, got a string; use ptb_tokenize or "
            "str.split first"
        )
