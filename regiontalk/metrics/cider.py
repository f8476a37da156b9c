"""CIDEr-D (Vedantam et al., CVPR 2015), which the coco-caption code and most tables call "CIDEr".

Candidate and reference become tf-idf vectors of their n-grams, n = 1..4; a reference vector's
products with the clipped candidate vector, over both lengths, give the similarity, damped by how
far the lengths are apart (sigma 6), times ten. Document frequencies come from the references at
hand: the figure of one caption depends on the whole set, and that of a set of one photo is 0. Or
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
    ngrams,
    require_pairs,
)

ORDERS = 4
_SIGMA = 6.0

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class DocumentFrequencies:
    """In how many photos each n-gram occurs.

    Attributes:
        photos: of the set.
        of: n-gram -> photos with it in a reference.
    """

    photos: int
    of: Mapping[tuple[str, ...], int]


def document_frequencies(references: Sequence[Sequence[Tokens]]) -> DocumentFrequencies:
    """Count the n-grams of a set of references, once for many calls of `cider_d`."""
    photo_counts: Counter[tuple[str, ...]] = Counter()
    for group in references:
        photo_counts.update(_all_ngrams(group))
    return DocumentFrequencies(len(references), photo_counts)


def _all_ngrams(sentences: Sequence[Tokens]) -> set[tuple[str, ...]]:
    """The distinct n-grams of all orders."""
    distinct: set[tuple[str, ...]] = set()
    for tokens in sentences:
        for order in range(1, ORDERS + 1):
            distinct.update(ngrams(tokens, order))
    return distinct


def cider_d(
    candidates: Sequence[Tokens],
    references: Sequence[Sequence[Tokens]],
    frequencies: DocumentFrequencies | None = None,
) -> FloatArray:
    """CIDEr-D of each candidate; the corpus figure is the mean.

    Args:
        candidates: C captions as tokens.
        references: those of each candidate's photo.
        frequencies: of a larger set; None counts them in ``references``.

    Returns:
        (C,) float64, 0 to 10.

    Raises:
        ValueError: the lists do not belong together.
    """
    require_pairs(candidates, references)
    if not candidates:
        return np.zeros(0)
    flat, photo = flatten(references)
    table = SentenceTable.build([*candidates, *flat])
    similarity = np.zeros(len(flat))
    for rows in table.counts(ORDERS):
        rarity = (
            None if frequencies is None else _set_rarity(rows, table.names, frequencies)
        )
        similarity += _cosine(rows, photo, len(candidates), len(table.lengths), rarity)
    # coco-caption measures a sentence in bigrams
    bigrams = np.maximum(table.lengths - 1, 0)
    difference = bigrams[: len(candidates)][photo] - bigrams[len(candidates) :]
    similarity *= (
        np.exp(-(difference.astype(np.float64) ** 2) / (2 * _SIGMA**2)) / ORDERS
    )
    sums = np.bincount(photo, weights=similarity, minlength=len(candidates))
    return np.asarray(10.0 * sums / np.bincount(photo, minlength=len(candidates)))


def _set_rarity(
    rows: Counts, names: Sequence[str], frequencies: DocumentFrequencies
) -> FloatArray:
    """(grams,) log of the photos of a set over those with the n-gram."""
    photo_counts = []
    for word_numbers in rows.words.tolist():
        ngram = tuple(names[number] for number in word_numbers)
        photo_counts.append(frequencies.of.get(ngram, 0))
    photos_with = np.array(photo_counts, dtype=np.float64)
    log_photos = np.log(float(max(frequencies.photos, 1)))
    return np.asarray(log_photos - np.log(np.maximum(photos_with, 1)))


def _cosine(
    rows: Counts,
    photo: IntArray,
    count: int,
    sentences: int,
    rarity: FloatArray | None = None,
) -> FloatArray:
    """(R,) clipped similarity of each reference to its photo's candidate.

    For one order of n-gram.
    """
    is_candidate = rows.sentence < count
    reference = rows.sentence[~is_candidate] - count
    if rarity is None:
        rarity = _reference_rarity(
            photo[reference], rows.gram[~is_candidate], count, rows.grams
        )
    weights = rows.times * rarity[rows.gram]
    products = _clipped_products(rows, weights, is_candidate, photo[reference])
    dots = np.bincount(reference, weights=products, minlength=len(photo))
    dots = dots.astype(np.float64)  # of nothing at all bincount makes whole numbers
    lengths = np.sqrt(
        np.bincount(rows.sentence, weights=weights**2, minlength=sentences)
    )
    both_lengths = lengths[:count][photo] * lengths[count:]
    return np.asarray(np.divide(dots, both_lengths, out=dots, where=both_lengths != 0))


def _clipped_products(
    rows: Counts, weights: FloatArray, is_candidate: NDArray[np.bool_], photo: IntArray
) -> FloatArray:
    """For each n-gram of a reference its weight times the candidate's, at most its own.

    ``photo`` is that of each.
    """
    reference_weights = weights[~is_candidate]
    if not is_candidate.any():
        return np.zeros(len(reference_weights))
    candidate_keys = rows.sentence[is_candidate] * rows.grams + rows.gram[is_candidate]
    reference_keys = photo * rows.grams + rows.gram[~is_candidate]
    positions, is_shared = lookup(candidate_keys, reference_keys)
    clipped = np.minimum(weights[is_candidate][positions], reference_weights)
    return np.where(is_shared, clipped * reference_weights, 0.0)


def _reference_rarity(
    photo: IntArray, gram: IntArray, count: int, grams: int
) -> FloatArray:
    """(grams,) log inverse share of the ``count`` photos whose references hold each n-gram."""
    pairs = np.unique(photo * grams + gram)
    photos_with = np.bincount(pairs % max(grams, 1), minlength=grams)
    return np.asarray(np.log(float(count)) - np.log(np.maximum(photos_with, 1)))
