"""From words to snippets: the chain of equations (10)-(12) of [1], decoded exactly.

Every word of a sentence has one hidden region. A region is worth its affinity with the word (11),
and two neighbouring words on one region are worth ``beta`` more (12); the best labelling is the
argmax of the sum (10). Viterbi finds it in O(T N) a sentence, because the pairwise term is Potts:
the best predecessor of a region is either itself or the best of all regions. Each maximal run of
words on one region is then a snippet, the training text of the second stage.

affinity (..., T, N) -> labels (..., T) -> snippets. Dimension letters as in `regiontalk.records`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

NO_LABEL = -1  # the label of padding


def viterbi(
    affinity: NDArray[Any],
    beta: float,
    words: NDArray[Any] | None = None,
    regions: NDArray[Any] | None = None,
    starts: NDArray[Any] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The region of every word along the best path, Eq. 10 of [1].

    It maximises ``sum_t affinity[t, a_t] + beta * sum_t 1[a_t = a_t+1]``. Ties are
    broken from the last word backwards: a word stays on the region of the word after it
    where that costs nothing, and otherwise takes the lowest region number. Masked words
    are bridged: the words on either side of one are neighbours. The work is done in
    float64.

    Args:
        affinity: (..., T, N) the products v_i.s_t of one sentence or of a padded batch.
        beta: the reward of staying on a region, finite and at least 0; 0 lets every word choose for
            itself, a large one puts the whole sentence on one region.
        words: (..., T) bool, True = a word; None = all are.
        regions: (..., N) bool, True = a region; None = all are.
        starts: (..., T) bool, True = the region may change before this word; None = before every
            word. With it the best labelling is sought among those whose regions change nowhere
            else, so that a phrase stays whole.

    Returns:
        labels (..., T) int64, `NO_LABEL` at masked words, and the reached totals (...,) float64, 0
        where no word is.

    Raises:
        ValueError: a shape does not fit, beta is negative or not finite, an affinity that counts is
            not finite, or a sentence with words has no region.
    """
    scores = np.asarray(affinity, dtype=np.float64)
    _check_arguments(scores, beta)
    *batch, length, count = scores.shape
    is_word = _mask("words", words, (*batch, length))
    is_region = _mask("regions", regions, (*batch, count))
    is_start = _mask("starts", starts, (*batch, length))
    _check_affinities(scores, is_word, is_region)
    if not count:  # nothing but padding is left
        return np.full((*batch, length), NO_LABEL), np.zeros(batch)
    worth = np.where(is_word[..., None], scores, 0.0)
    worth = np.where(is_region[..., None, :], worth, -np.inf)
    best, came_from = _forward(worth, float(beta), is_word & is_start, is_region)
    labels = np.where(is_word, _backward(best, came_from), NO_LABEL)
    return labels, _totals(best, float(beta), is_word)


def _totals(
    best: NDArray[np.float64], beta: float, is_word: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The total (...,) of eq. 10 from the best paths' values (..., N).

    Switching was charged in these.
    """
    neighbour_pairs = (is_word.sum(-1) - 1).clip(0)
    totals = best.max(-1) + beta * neighbour_pairs
    return np.where(is_word.any(-1), totals, 0.0)


def _check_arguments(scores: NDArray[np.float64], beta: float) -> None:
    """Refuse scores of another rank, and a beta that rewards changes."""
    if scores.ndim < 2:
        raise ValueError(
            f"affinity: expected (..., T, N), words by regions, got {scores.shape}"
        )
    if not (math.isfinite(beta) and beta >= 0):
        raise ValueError(
            f"beta: expected a finite number of at least 0, got {beta}; 0 treats words "
            "independently"
        )


def _check_affinities(
    scores: NDArray[np.float64],
    is_word: NDArray[np.bool_],
    is_region: NDArray[np.bool_],
) -> None:
    """Refuse words without a region to stand on, and products that are no finite numbers."""
    has_words = is_word.any(-1)
    has_regions = is_region.any(-1)
    if not (has_regions | ~has_words).all():
        raise ValueError(
            "affinity: expected at least one region for every sentence with words, "
            f"got N={scores.shape[-1]}"
        )
    counts_here = is_word[..., None] & is_region[..., None, :]
    if not np.isfinite(scores[counts_here]).all():
        raise ValueError(
            "affinity: expected finite numbers where words meet regions; mask the padding"
        )


def _mask(
    name: str, mask: NDArray[Any] | None, shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    """The mask as a bool array of that shape, all True where none was given."""
    if mask is None:
        return np.ones(shape, dtype=bool)
    values = np.asarray(mask)
    if values.dtype != bool or values.shape != shape:
        raise ValueError(
            f"{name}: expected a bool mask of shape {shape}, got {values.dtype} {values.shape}"
        )
    return values


def _forward(
    worth: NDArray[np.float64],
    beta: float,
    may_change: NDArray[np.bool_],
    is_region: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], list[NDArray[np.int64]]]:
    """The best value of a path that ends on each region (..., N).

    And for every word the predecessors (..., N). Switching is charged instead of
    staying being paid: the same argmax, and a huge beta cannot swamp the affinities.
    """
    best = np.where(is_region, 0.0, -np.inf)
    itself = np.broadcast_to(np.arange(best.shape[-1]), best.shape)
    came_from: list[NDArray[np.int64]] = []
    for t in range(worth.shape[-2]):
        # With N predecessors and a Potts cost, max over b of (best_b - beta 1[b != a]) is one of
        # two.
        rival = best.argmax(-1, keepdims=True)
        after_move = np.take_along_axis(best, rival, -1) - beta
        moves = (best < after_move) & may_change[..., t, None]
        came_from.append(np.where(moves, rival, itself))
        best = np.where(moves, after_move, best) + worth[..., t, :]
    return best, came_from


def _backward(
    best: NDArray[np.float64], came_from: list[NDArray[np.int64]]
) -> NDArray[np.int64]:
    """The labels (..., T) of the best path, read from its last word."""
    label = best.argmax(-1, keepdims=True)
    labels = [label]
    for parents in reversed(came_from[1:]):
        label = np.take_along_axis(parents, label, -1)
        labels.append(label)
    return np.concatenate(labels[::-1], axis=-1)[..., : len(came_from)]


@dataclass(frozen=True)
class Snippet:
    """A maximal run of words on one region.

    Attributes:
        first: position of its first word in the sentence.
        last: position of its last word, which belongs to it.
        region: row of the region.
    """

    first: int
    last: int
    region: int

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.last or self.region < 0:
            raise ValueError(
                f"snippet: expected 0 <= first <= last and a region of at least 0, got {self}"
            )

    def __len__(self) -> int:
        return self.last - self.first + 1

    @property
    def words(self) -> slice:
        """The slice that cuts the snippet out of its sentence's words."""
        return slice(self.first, self.last + 1)


def snippets(labels: NDArray[Any] | Sequence[int]) -> list[Snippet]:
    """The maximal runs of one sentence's labels, in its order.

    `NO_LABEL` breaks a run and is no snippet.

    >>> snippets([4, 4, 0, -1])
    [Snippet(first=0, last=1, region=4), Snippet(first=2, last=2, region=0)]

    Args:
        labels: (T,) whole numbers, as `viterbi` returns them for one sentence.

    Raises:
        ValueError: labels are not one row of whole numbers.
    """
    row = np.asarray(labels)
    if row.ndim != 1 or (row.size and row.dtype.kind not in "iu"):
        raise ValueError(
            f"labels: expected (T,) whole numbers of one sentence, got {row.dtype} {row.shape}"
        )
    changes = np.flatnonzero(np.diff(row)) + 1
    bounds = [0, *changes.tolist(), len(row)]
    runs = pairwise(bounds)
    return [
        Snippet(first, stop - 1, int(row[first]))
        for first, stop in runs
        if stop > first and row[first] >= 0
    ]
