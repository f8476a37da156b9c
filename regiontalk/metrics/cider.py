"""CIDEr-D (Vedantam et al., CVPR 2015), which the coco-caption code and most tables call "CIDEr".

Candidate and reference become tf-idf vectors of their n-grams, n = 1..4; a reference vector's
products with the clipped candidate vector, over both lengths, give the similarity, damped by how
far the lengths are apart (sigma 6), times ten. Document frequencies come from the references at
hand: the figure of one caption depends on the whole set, and that of a set of one picture is 0. Or
they come from a larger set, counted before (`document_frequencies`): then a few captions get the
figures that they would get inside that set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regiontalk.metrics.ngrams import (
    Counts,
    IntArray,
    SentenceTable,
    Tokens,
    flatten,
    lookup,
    require_pairs,
)

ORDERS = 4
_SIGMA = 6.0

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class DocumentFrequencies:
    """In how many pictures each n-gram occurs.

    Attributes:
        pictures: of the set.
        of: n-gram -> pictures with it in a reference.
    """

    pictures: int
    of: Mapping[tuple[str, ...], int]


def document_frequencies(references: Sequence[Sequence[Tokens]]) -> DocumentFrequencies:
    """Count the n-grams of a set of references, once for many calls of `cider_d`."""
    ngram_counts: Counter[tuple[str, ...]] = Counter()
    for group in references:
        ngram_counts.update(
            {
                tuple(tokens[start : start + order])
                for tokens in group
                for order in range(1, ORDERS + 1)
                for start in range(len(tokens) - order + 1)
            }
        )
    return DocumentFrequencies(len(references), ngram_counts)


def cider_d(
    candidates: Sequence[Tokens],
    references: Sequence[Sequence[Tokens]],
    frequencies: DocumentFrequencies | None = None,
) -> FloatArray:
    """CIDEr-D of each candidate; the corpus figure is the mean.

    Args:
        candidates: C captions as tokens.
        references: those of each candidate's picture.
        frequencies: of a larger set; None counts them in ``references``.

    Returns:
        (C,) float64, 0 to 10.

    Raises:
        ValueError: the lists do not belong together.
    """
    require_pairs(candidates, references)
    if not candidates:
        return np.zeros(0)
    flat, picture = flatten(references)
    table = SentenceTable.build([*candidates, *flat])
    similarity = np.zeros(len(flat))
    for rows in table.counts(ORDERS):
        rarity = None if frequencies is None else _given_rarity(rows, table.names, frequencies)
        similarity += _cosine(rows, picture, len(candidates), len(table.lengths), rarity)
    bigrams = np.maximum(table.lengths - 1, 0)  # coco-caption measures a sentence in bigrams
    apart = bigrams[: len(candidates)][picture] - bigrams[len(candidates) :]
    similarity *= np.exp(-(apart.astype(np.float64) ** 2) / (2 * _SIGMA**2)) / ORDERS
    sums = np.bincount(picture, weights=similarity, minlength=len(candidates))
    return np.asarray(10.0 * sums / np.bincount(picture, minlength=len(candidates)))


def _given_rarity(
    rows: Counts, names: Sequence[str], frequencies: DocumentFrequencies
) -> FloatArray:
    """(grams,) log of the pictures of a set over those with the n-gram."""
    grams = [tuple(names[number] for number in words) for words in rows.words.tolist()]
    pictures_with = np.array([frequencies.of.get(gram, 0) for gram in grams], dtype=np.float64)
    return np.asarray(
        np.log(float(max(frequencies.pictures, 1))) - np.log(np.maximum(pictures_with, 1))
    )


def _cosine(
    rows: Counts, picture: IntArray, count: int, sentences: int, rarity: FloatArray | None = None
) -> FloatArray:
    """(R,) clipped similarity of each reference to its picture's candidate for one order of n-gram."""
    width = max(rows.grams, 1)
    mine = rows.sentence < count
    owner = picture[rows.sentence[~mine] - count]
    if rarity is None:
        rarity = _reference_rarity(owner, rows.gram[~mine], count, width)
    weights = rows.times * rarity[rows.gram]
    lengths = np.sqrt(np.bincount(rows.sentence, weights=weights**2, minlength=sentences))

    positions, is_shared = lookup(
        rows.sentence[mine] * width + rows.gram[mine], owner * width + rows.gram[~mine]
    )
    if not mine.any():
        return np.zeros(len(picture))
    theirs = weights[~mine]
    products = np.where(is_shared, np.minimum(weights[mine][positions], theirs) * theirs, 0.0)
    dots = np.bincount(rows.sentence[~mine] - count, weights=products, minlength=len(picture))
    dots = dots.astype(np.float64)  # of nothing at all bincount makes whole numbers
    both = lengths[:count][picture] * lengths[count:]
    return np.asarray(np.divide(dots, both, out=dots, where=both != 0))


def _reference_rarity(owner: IntArray, gram: IntArray, count: int, width: int) -> FloatArray:
    """(width,) log inverse share of the ``count`` pictures whose references hold each n-gram."""
    pairs = np.unique(owner * width + gram)
    pictures_with = np.bincount(pairs % width, minlength=width)
    return np.asarray(np.log(float(count)) - np.log(np.maximum(pictures_with, 1)))
