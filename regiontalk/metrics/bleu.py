"""Corpus BLEU-1..4 as coco-caption computes it (Papineni et al., ACL 2002, closest reference length).

A candidate and its references become ten whole numbers (`bleu_statistics`); BLEU of any set of
candidates is a function of their sum (`corpus_bleu`), which is what makes a bootstrap of it cheap.
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
_TINY, _SMALL = 1e-15, 1e-9  # coco-caption's constants: an order without a match is tiny, not 0


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
    flat, picture = flatten(references)
    table = SentenceTable.build([*candidates, *flat])
    count = len(candidates)
    lengths, columns = table.lengths[:count], []
    for rows in table.counts(ORDERS):
        mine = rows.sentence < count
        owner = picture[rows.sentence[~mine] - count]
        columns.append(_clipped(rows, mine, owner, count))
    offered = np.maximum(lengths[:, None] - np.arange(ORDERS), 0)
    closest = _closest_lengths(lengths, table.lengths[count:], picture)
    return np.column_stack([lengths, closest, offered, *columns]).astype(np.int64)


def corpus_bleu(totals: NDArray[Any]) -> NDArray[np.float64]:
    """BLEU-1..4 of summed statistics.

    Args:
        totals: (..., 10) sums of `bleu_statistics` rows.

    Returns:
        (..., 4) float64 in 0..1.
    """
    totals = np.asarray(totals, dtype=np.float64)
    length, closest = totals[..., 0], totals[..., 1]
    precision = (totals[..., 2 + ORDERS :] + _TINY) / (totals[..., 2 : 2 + ORDERS] + _SMALL)
    means = np.cumprod(precision, axis=-1) ** (1.0 / np.arange(1, ORDERS + 1))
    ratio = (length + _TINY) / (closest + _SMALL)
    with np.errstate(over="ignore"):  # an empty corpus has ratio ~0; its penalty is exp(-huge) = 0
        penalty = np.where(ratio < 1, np.exp(1 - 1 / ratio), 1.0)
    return np.asarray(means * penalty[..., None])


def _clipped(rows: Counts, mine: NDArray[np.bool_], owner: IntArray, count: int) -> IntArray:
    """(C,) n-grams of each candidate found in its references, clipped."""
    width = max(rows.grams, 1)
    keys = owner * width + rows.gram[~mine]
    order = np.argsort(keys, kind="stable")
    keys, most = keys[order], rows.times[~mine][order]
    first = np.flatnonzero(np.diff(keys, prepend=-1))
    if not len(first):
        return np.zeros(count, dtype=np.int64)
    positions, in_references = lookup(keys[first], rows.sentence[mine] * width + rows.gram[mine])
    matched = np.where(
        in_references, np.minimum(np.maximum.reduceat(most, first)[positions], rows.times[mine]), 0
    )
    return np.bincount(rows.sentence[mine], weights=matched, minlength=count).astype(np.int64)


def _closest_lengths(lengths: IntArray, others: IntArray, picture: IntArray) -> IntArray:
    """(C,) length of the reference closest to each candidate's, the shorter of two equally close."""
    order = np.lexsort((others, np.abs(others - lengths[picture]), picture))
    first = np.flatnonzero(np.diff(picture[order], prepend=-1))
    return others[order][first]
