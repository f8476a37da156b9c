"""ROUGE-L as coco-caption computes it (Lin, 2004).

The longest common subsequence with the best reference, beta = 1.2. The subsequence is
found with bit rows (Hyyro, 2004): one whole number holds a row of the textbook table,
so a word costs four operations on it instead of one a cell.
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
        masks = _masks(candidate)
        precision = recall = 0.0
        for reference in group:
            common = _common(masks, len(candidate), reference)
            precision = max(precision, common / max(len(candidate), 1))
            recall = max(recall, common / max(len(reference), 1))
        if precision and recall:
            weighed = recall + _BETA**2 * precision
            scores[row] = (1 + _BETA**2) * precision * recall / weighed
    return scores


def longest_common_subsequence(first: Tokens, second: Tokens) -> int:
    """How many words stand in both in the same order, with gaps allowed.

    >>> longest_common_subsequence("a b c d".split(), "a c b d".split())
    3
    """
    return _common(_masks(first), len(first), second)


def _masks(words: Tokens) -> dict[str, int]:
    """The positions of each word in a sentence as bits (bit i: word i)."""
    masks: dict[str, int] = {}
    for position, word in enumerate(words):
        masks[word] = masks.get(word, 0) | 1 << position
    return masks


def _common(masks: dict[str, int], length: int, second: Tokens) -> int:
    """The length of the subsequence, given the positions of the words of the first sentence."""
    all_ones = (1 << length) - 1
    row = all_ones  # a zero bit marks a position where the subsequence grows
    for word in second:
        positions = masks.get(word)
        if positions is not None:
            shared = row & positions
            row = (row + shared) | (row - shared)
    return length - (row & all_ones).bit_count()
