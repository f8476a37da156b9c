"""Inferred (region, snippet) pairs: the half of [1] that turns sentences about photos into sentences about regions.

Every word of a sentence takes a region by the chain of eq. 10 to 12 (`align.snippets.viterbi`);
each maximal run of words on one region is a snippet of that region. The pairs are the second
stage's training set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from regiontalk.align.score import region_prior
from regiontalk.align.snippets import snippets, viterbi
from regiontalk.records import FloatArray


@dataclass(frozen=True)
class Pair:
    """A region and the words that name it.

    Attributes:
        caption: which sentence of the photo.
        first: position of the snippet's first word in the sentence.
        words: its word numbers.
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
        starts: of a sentence of word numbers, before which words the region may change; None =
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
        sentences: for each photo its sentences as word numbers; an empty sentence gives no pair.
        chain: how the words choose.
        opinion: another model's say in eq. 11: from the place of a photo among the B and its
            sentences to what is added to v . s, (sentences, T, N); None where there is no other.

    Returns:
        For each photo its pairs in the order of sentences and words; words on the NULL region are
        in none.
    """
    flat = [(photo, sentence) for photo, own in enumerate(sentences) for sentence in own]
    pairs: list[list[Pair]] = [[] for _ in sentences]
    if not flat:
        return pairs
    photo_of = np.array([photo for photo, _ in flat])
    plain = words @ regions[photo_of].transpose(0, 2, 1)  # (C, T, N)
    products = plain
    if chain.prior:
        quality = objectness[photo_of]
        products = plain + region_prior(words, quality, chain.prior, regions.shape[1])
    if opinion is not None:
        products = products + _opinions(opinion, sentences, products.shape)
    lengths = np.array([len(sentence) for _, sentence in flat])
    # without the token that closes a sentence
    is_word = np.arange(words.shape[1]) < lengths[:, None]
    is_start = is_word.copy()
    if chain.starts is not None:
        for row, (_, sentence) in enumerate(flat):
            is_start[row, : len(sentence)] = chain.starts(sentence)
    labels, _ = viterbi(products, chain.beta, is_word, starts=is_start)
    caption_of = [caption for own in sentences for caption in range(len(own))]
    for row, (photo, sentence) in enumerate(flat):
        for run in snippets(labels[row, : len(sentence)]):
            if run.region == objectness.shape[1]:  # NULL: these words name nothing
                continue
            score = float(plain[row, run.words, run.region].sum())
            named = tuple(sentence[run.words])
            pairs[photo].append(Pair(caption_of[row], run.first, named, run.region, score))
    return pairs


def _opinions(
    opinion: Callable[[int, Sequence[Sequence[int]]], FloatArray],
    sentences: Sequence[Sequence[Sequence[int]]],
    shape: tuple[int, ...],
) -> FloatArray:
    """What another model adds to the products of all sentences, (C, T, N); 0 where it says nothing."""
    added = np.zeros(shape, dtype=np.float32)
    row = 0
    for photo, own in enumerate(sentences):
        for table in opinion(photo, own) if own else ():
            whole = np.concatenate([table, table.mean(1, keepdims=True)], 1)  # NULL: neither way
            added[row, : len(table)] = whole[:, : shape[2]]
            row += 1
    return added
