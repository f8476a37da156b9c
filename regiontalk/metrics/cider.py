"""CIDEr-D (Vedantam et al., CVPR 2015), which the coco-caption code and most tables call "CIDEr".

Candidate and reference become tf-idf vectors of their n-grams, n = 1..4; a reference vector's products with the clipped
candidate vector, over both lengths, give the similarity, damped by how far the lengths are apart (sigma 6), times ten.
Document frequencies come from the references at hand: the figure of one caption depends on the whole set, and that of
a set of one picture is 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from regiontalk.metrics.ngrams import Counts, IntArray, SentenceTable, Tokens, flatten, lookup, require_pairs

ORDERS = 4
_SIGMA = 6.0

FloatArray = NDArray[np.float64]


def cider_d(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> FloatArray:
    """CIDEr-D of each candidate; the corpus figure is the mean.

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
        similarity += _cosine(rows, picture, len(candidates), len(table.lengths))
    bigrams = np.maximum(table.lengths - 1, 0)  # coco-caption measures a sentence in bigrams
    apart = bigrams[: len(candidates)][picture] - bigrams[len(candidates) :]
    similarity *= np.exp(-(apart.astype(np.float64) ** 2) / (2 * _SIGMA**2)) / ORDERS
    sums = np.bincount(picture, weights=similarity, minlength=len(candidates))
    return np.asarray(10.0 * sums / np.bincount(picture, minlength=len(candidates)))


def _cosine(rows: Counts, picture: IntArray, count: int, sentences: int) -> FloatArray:
    """(R,) clipped similarity of each reference to its picture's candidate for one order of n-gram."""
    width = max(rows.grams, 1)
    mine = rows.sentence < count
    owner = picture[rows.sentence[~mine] - count]
    pictures_with = np.bincount(np.unique(owner * width + rows.gram[~mine]) % width, minlength=width)
    rarity = np.log(float(count)) - np.log(np.maximum(pictures_with, 1))
    weights = rows.times * rarity[rows.gram]
    lengths = np.sqrt(np.bincount(rows.sentence, weights=weights**2, minlength=sentences))

    place, found = lookup(rows.sentence[mine] * width + rows.gram[mine], owner * width + rows.gram[~mine])
    if not mine.any():
        return np.zeros(len(picture))
    theirs = weights[~mine]
    products = np.where(found, np.minimum(weights[mine][place], theirs) * theirs, 0.0)
    dots = np.bincount(rows.sentence[~mine] - count, weights=products, minlength=len(picture))
    both = lengths[:count][picture] * lengths[count:]
    return np.asarray(np.divide(dots, both, out=dots, where=both != 0))
