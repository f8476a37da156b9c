"""ROUGE-L as coco-caption computes it (Lin, 2004): the longest common subsequence with the best reference, beta = 1.2.

The subsequence is found with bit rows (Hyyro, 2004): one whole number holds a row of the textbook
table, so a word costs four operations on it instead of one a cell.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from regiontalk.metrics.ngrams import Tokens, require_pairs

_BETA = 1.2


def rouge_l(
    candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]
) -> NDArray[np.float64]:
    """ROUGE-L of each candidate; the corpus figure is the mean.

    With p the best precision and r the best recall over the references (each by itself, as
    coco-caption does): ``F = (1 + b^2) p r / (r + b^2 p)``.

    Returns:
        (C,) float64 in 0..1; 0 where nothing is in common or the candidate is empty.

    Raises:
        ValueError: the lists do not belong together.
    """
    require_pairs(candidates, references)
    scores = np.zeros(len(candidates))
    for row, (candidate, group) in enumerate(zip(candidates, references, strict=True)):
        masks: dict[str, int] = {}
        for position, word in enumerate(candidate):
            masks[word] = masks.get(word, 0) | 1 << position
        common = [_common(masks, len(candidate), reference) for reference in group]
        precision = max(common) / max(len(candidate), 1)
        recall = max(
            shared / max(len(reference), 1) for shared, reference in zip(common, group, strict=True)
        )
        if precision and recall:
            scores[row] = (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)
    return scores


def longest_common_subsequence(first: Tokens, second: Tokens) -> int:
    """How many words stand in both in the same order, with gaps allowed.

    >>> longest_common_subsequence("a b c d".split(), "a c b d".split())
    3
    """
    masks: dict[str, int] = {}
    for position, word in enumerate(first):
        masks[word] = masks.get(word, 0) | 1 << position
    return _common(masks, len(first), second)


def _common(masks: dict[str, int], length: int, second: Tokens) -> int:
    """The same from the places of each word in the first sentence (bit i: word i)."""
    full = (1 << length) - 1
    row = full  # a zero bit marks a place where the subsequence grows
    for word in second:
        here = masks.get(word)
        if here is not None:
            both = row & here
            row = (row + both) | (row - both)
    return length - (row & full).bit_count()
