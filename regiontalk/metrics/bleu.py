"""Corpus BLEU-1..4 as coco-caption computes it.

Papineni et al., ACL 2002, closest reference length. A candidate and its references
become ten whole numbers (`bleu_statistics`); BLEU of any set of candidates is a
function of their sum (`corpus_bleu`), which is what makes a bootstrap of it cheap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
_TINY, _SMALL = (
    1e-15,
    1e-9,
)  # coco-caption's constants: an order without a match is tiny, not 0


def bleu_statistics(
    candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]
) -> IntArray:
    """What BLEU needs to know of each candidate.

    Args:
        candidates: C token lists; an empty one is allowed.
        references: C groups of at least one token list.

    Returns:
        (C, 10): words of the candidate, words of the closest reference (the shorter of two equally
        close), n-grams offered for n = 1..4, and of those the ones found in a reference, each at
        most as often as in the reference that has it most often.

    Raises:
        ValueError: the lists do not belong together.
    """
    require_pairs(candidates, references)
    flat, photo = flatten(references)
    table = SentenceTable.build([*candidates, *flat])
    count = len(candidates)
    matches = []
    for rows in table.counts(ORDERS):
        is_candidate = rows.sentence < count
        photo_of_gram = photo[rows.sentence[~is_candidate] - count]
        matches.append(_clipped(rows, is_candidate, photo_of_gram, count))
    lengths, reference_lengths = table.lengths[:count], table.lengths[count:]
    offered = np.maximum(lengths[:, None] - np.arange(ORDERS), 0)
    closest = _closest_lengths(lengths, reference_lengths, photo)
    return np.column_stack([lengths, closest, offered, *matches]).astype(np.int64)


def corpus_bleu(totals: NDArray[Any]) -> NDArray[np.float64]:
    """BLEU-1..4 of summed statistics.

    Args:
        totals: (..., 10) sums of `bleu_statistics` rows.

    Returns:
        (..., 4) float64 in 0..1.
    """
    totals = np.asarray(totals, dtype=np.float64)
    length, closest = totals[..., 0], totals[..., 1]
    offered, matched = totals[..., 2 : 2 + ORDERS], totals[..., 2 + ORDERS :]
    precision = (matched + _TINY) / (offered + _SMALL)
    means = np.cumprod(precision, axis=-1) ** (1.0 / np.arange(1, ORDERS + 1))
    ratio = (length + _TINY) / (closest + _SMALL)
    # an empty corpus has ratio ~0; its penalty is exp(-huge) = 0
    with np.errstate(over="ignore"):
        penalty = np.where(ratio < 1, np.exp(1 - 1 / ratio), 1.0)
    return np.asarray(means * penalty[..., None])


def _clipped(
    rows: Counts, is_candidate: NDArray[np.bool_], photo_of_gram: IntArray, count: int
) -> IntArray:
    """(C,) n-grams of each candidate that stand in its references, clipped.

    Args:
        rows: n-grams of all sentences.
        is_candidate: which of them belong to a candidate.
        photo_of_gram: of the others the photo.
        count: C.
    """
    width = max(rows.grams, 1)
    reference_keys = photo_of_gram * width + rows.gram[~is_candidate]
    order = np.argsort(reference_keys, kind="stable")
    reference_keys = reference_keys[order]
    reference_times = rows.times[~is_candidate][order]
    first = np.flatnonzero(np.diff(reference_keys, prepend=-1))
    if not len(first):
        return np.zeros(count, dtype=np.int64)
    # of the reference that has it most
    max_times = np.maximum.reduceat(reference_times, first)
    sentence, times = rows.sentence[is_candidate], rows.times[is_candidate]
    candidate_keys = sentence * width + rows.gram[is_candidate]
    positions, in_references = lookup(reference_keys[first], candidate_keys)
    matched = np.where(in_references, np.minimum(max_times[positions], times), 0)
    return np.bincount(sentence, weights=matched, minlength=count).astype(np.int64)


def _closest_lengths(
    lengths: IntArray, reference_lengths: IntArray, photo: IntArray
) -> IntArray:
    """(C,) length of the reference closest to each candidate's.

    The shorter of two equally close.
    """
    distances = np.abs(reference_lengths - lengths[photo])
    order = np.lexsort((reference_lengths, distances, photo))
    first = np.flatnonzero(np.diff(photo[order], prepend=-1))
    return reference_lengths[order][first]
