"""Inferred (region, snippet) pairs.

The half of [1] that turns sentences about photos into sentences about regions. Every
word of a sentence takes a region by the chain of eq. 10 to 12
(`align.snippets.viterbi`); each maximal run of words on one region is a snippet of that
region. The pairs are the second stage's training set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from regiontalk.align.score import FloatArray, region_prior
from regiontalk.align.snippets import snippets, viterbi


@dataclass(frozen=True)
class Pair:
    """A region and the words that name it.

    Attributes:
        caption: which sentence of the photo.
        first: position of the snippet's first word in the sentence.
        words: its token ids.
        region: row of the region; 0 is the whole photo.
        score: sum of v . s over its words (eq. 11), without the prior and the opinion that helped
            to choose them.
    """

    caption: int
    first: int
    words: tuple[int, ...]
    region: int
    score: float


@dataclass(frozen=True)
class Chain:
    """How regions are given to words; as it stands, eq. 10 to 12 as printed.

    Attributes:
        beta: reward of a word for standing on its neighbour's region (eq. 12), in units of the
            score.
        prior: weight of log objectness beside v . s in eq. 11 (`align.score.region_prior`).
        starts: of a sentence of token ids, before which words the region may change; None =
            before all.
    """

    beta: float = 0.0
    prior: float = 0.0
    starts: Callable[[Sequence[int]], Sequence[bool]] | None = None


def infer_pairs(
    regions: FloatArray,
    objectness: FloatArray,
    words: FloatArray,
    sentences: Sequence[Sequence[Sequence[int]]],
    chain: Chain,
    opinion: Callable[[int, Sequence[Sequence[int]]], FloatArray] | None = None,
) -> list[list[Pair]]:
    """The pairs of B photos.

    Args:
        regions: (B, N, D) what words may choose: region vectors v, row 0 the whole photo, and
            perhaps NULL after them (N is then one more than the objectness has).
        objectness: (B, N) of the regions, for the chain's prior.
        words: (C, T, D) word vectors s of all sentences, photo by photo.
        sentences: for each photo its sentences as token ids; an empty sentence gives no pair.
        chain: how the words choose.
        opinion: another model's say in eq. 11: from the place of a photo among the B and its
            sentences to what is added to v . s, (sentences, T, N); None where there is no other.

    Returns:
        For each photo its pairs in the order of sentences and words; words on the NULL region are
        in none.
    """
    pairs: list[list[Pair]] = [[] for _ in sentences]
    rows = _flatten(sentences)
    if not rows:
        return pairs
    photo_of = np.array([row.photo for row in rows])
    products = words @ regions[photo_of].transpose(0, 2, 1)  # (C, T, N)
    scores = products  # what the words choose by
    if chain.prior:
        scores = scores + region_prior(
            words, objectness[photo_of], chain.prior, choices=regions.shape[1]
        )
    if opinion is not None:
        scores = scores + _opinions(opinion, sentences, scores.shape)
    is_word, is_start = _word_masks(rows, words.shape[1], chain)
    labels, _ = viterbi(scores, chain.beta, is_word, starts=is_start)
    null_region = objectness.shape[1]  # its words name nothing
    for row, row_labels, row_products in zip(rows, labels, products, strict=True):
        for pair in _pairs_of(row, row_labels, row_products):
            if pair.region != null_region:
                pairs[row.photo].append(pair)
    return pairs


class _Row(NamedTuple):
    """One sentence of the flat list: its photo, its number among that photo's, its token ids."""

    photo: int
    caption: int
    words: Sequence[int]


def _pairs_of(row: _Row, labels: NDArray[np.int64], products: FloatArray) -> list[Pair]:
    """The pairs of one sentence: its snippets by labels (T,), their scores by products (T, N)."""
    pairs: list[Pair] = []
    for run in snippets(labels[: len(row.words)]):
        score = float(products[run.words, run.region].sum())
        words = tuple(row.words[run.words])
        pairs.append(Pair(row.caption, run.first, words, run.region, score))
    return pairs


def _flatten(sentences: Sequence[Sequence[Sequence[int]]]) -> list[_Row]:
    """All sentences, photo by photo."""
    return [
        _Row(photo, caption, words)
        for photo, captions in enumerate(sentences)
        for caption, words in enumerate(captions)
    ]


def _word_masks(
    rows: Sequence[_Row], longest: int, chain: Chain
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where the words are and before which the region may change, both (C, T).

    The token that closes a sentence is no word here.
    """
    lengths = np.array([len(row.words) for row in rows])
    is_word = np.arange(longest) < lengths[:, None]
    is_start = is_word.copy()
    if chain.starts is not None:
        for number, row in enumerate(rows):
            is_start[number, : len(row.words)] = chain.starts(row.words)
    return is_word, is_start


def _opinions(
    opinion: Callable[[int, Sequence[Sequence[int]]], FloatArray],
    sentences: Sequence[Sequence[Sequence[int]]],
    shape: tuple[int, ...],
) -> FloatArray:
    """What another model adds to the products of all sentences, (C, T, N).

    0 where it says nothing.
    """
    choices = shape[2]
    added = np.zeros(shape, dtype=np.float32)
    row = 0
    for photo, captions in enumerate(sentences):
        if not captions:
            continue
        for table in opinion(photo, captions):  # (T, N)
            null = table.mean(1, keepdims=True)  # neither way
            with_null = np.concatenate([table, null], 1)
            added[row, : len(table)] = with_null[:, :choices]
            row += 1
    return added
