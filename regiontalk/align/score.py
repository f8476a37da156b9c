"""The image-sentence scores, pure: equations (7) and (8) of [1], and (7) as [3] divides it.

With L2-normalised vectors (8) is ColBERT's MaxSim. Evaluation and search rank by these functions
alone; `align.torch_score` has them with gradients, for training, and a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

_SMOOTHING = 5.0  # words that [3] adds to a sentence's length
# multiplications: OpenBLAS starts threads for more than the first; products of more than the
# second are worth them
_ALONE, _WORTH_THREADS = 1 << 18, 1 << 24


def affinity(regions: FloatArray, words: FloatArray) -> FloatArray:
    """All products v_i . s_t of photos and sentences.

    Args:
        regions: (B, N, D) region vectors v.
        words: (C, T, D) word vectors s.

    Returns:
        (B, C, T, N).
    """
    size = regions.shape[2]
    flat_words = words.reshape(-1, size)  # (C*T, D)
    flat_regions = regions.reshape(-1, size)  # (B*N, D)
    products = inner_products(flat_words, flat_regions)
    by_sentence = products.reshape(*words.shape[:2], *regions.shape[:2])  # (C, T, B, N)
    return by_sentence.transpose(2, 0, 1, 3)


def region_prior(
    words: FloatArray, objectness: FloatArray, weight: float, choices: int
) -> FloatArray:
    """What stands beside v . s in eq. 11 where regions have a prior: ``weight * |s| * log q``.

    A proposal holds a thing more or less surely, and sentences speak of things. The whole photo is
    no proposal: it counts as much as the best of them, so that it wins only where the words say so.

    Args:
        words: (..., T, D) word vectors s.
        objectness: (..., N) q in 0..1, the whole photo first.
        weight: 0 gives eq. 11 as printed.
        choices: N, or N + 1 with NULL, which counts like the whole photo.

    Returns:
        (..., T, choices).
    """
    quality = np.asarray(objectness, dtype=np.float32)
    log_quality = np.log(quality.clip(1e-4))
    proposals = log_quality[..., 1:]
    has_proposals = log_quality.shape[-1] > 1
    whole_photo = proposals.max(-1, keepdims=True) if has_proposals else log_quality
    null_count = choices - log_quality.shape[-1]
    null = np.broadcast_to(whole_photo, (*whole_photo.shape[:-1], null_count))
    prior = np.concatenate([whole_photo, proposals, null], -1)  # (..., choices)
    lengths = np.linalg.norm(words, axis=-1, keepdims=True)  # (..., T, 1)
    return np.asarray(weight * lengths * prior[..., None, :], dtype=np.float32)


def maxsim(
    regions: FloatArray,
    words: FloatArray,
    region_mask: NDArray[np.bool_],
    word_mask: NDArray[np.bool_],
) -> FloatArray:
    """Eq. 8 of [1]: S_kl = sum_t max_i v_i . s_t.

    Args:
        regions: (B, N, D).
        words: (C, T, D).
        region_mask: (B, N), True = a region.
        word_mask: (C, T), True = a word.

    Returns:
        (B, C) scores; a photo without regions or a sentence without words scores 0.
    """
    products = _word_products(regions, words, word_mask)
    if not region_mask.all():
        products[~region_mask.T] = -np.inf
    best = products.max(0)  # (B, W)
    return _sentence_sums(np.where(np.isneginf(best), 0.0, best), word_mask)


def sum_positive(
    regions: FloatArray,
    words: FloatArray,
    region_mask: NDArray[np.bool_],
    word_mask: NDArray[np.bool_],
) -> FloatArray:
    """Eq. 7 of [1], from [3]: S_kl = sum_t sum_i max(0, v_i . s_t). Shapes as in `maxsim`."""
    products = _word_products(regions, words, word_mask).clip(0)  # (N, B, W)
    is_region = region_mask.T[:, :, None]
    sums = (products * is_region).sum(0)  # (B, W)
    return _sentence_sums(sums, word_mask)


def mean_positive(
    regions: FloatArray,
    words: FloatArray,
    region_mask: NDArray[np.bool_],
    word_mask: NDArray[np.bool_],
) -> FloatArray:
    """Eq. 7 divided by N_k (T_l + 5), so that all sizes compare ([3]).

    Shapes as in `maxsim`.
    """
    region_counts = region_mask.sum(1).clip(1)  # (B,)
    word_counts = word_mask.sum(1) + _SMOOTHING  # (C,)
    cells = region_counts[:, None] * word_counts[None]  # (B, C)
    sums = sum_positive(regions, words, region_mask, word_mask)
    return np.asarray(sums / cells, dtype=np.float32)


SCORES: Mapping[str, Callable[..., FloatArray]] = {
    "maxsim": maxsim,
    "sum_positive": sum_positive,
    "mean_positive": mean_positive,
}
"""By the name that a model's configuration gives its score."""


def _word_products(
    regions: FloatArray, words: FloatArray, word_mask: NDArray[np.bool_]
) -> FloatArray:
    """Products v . s of the W words that are there, without the padding between them: (N, B, W).

    Regions come first in memory, so that their maximum runs along whole rows and costs next to
    nothing.
    """
    photos, count, size = regions.shape
    flat_regions = regions.transpose(1, 0, 2).reshape(-1, size)  # (N*B, D)
    products = inner_products(flat_regions, words[word_mask])  # (N*B, W)
    return products.reshape(count, photos, -1)


def inner_products(first: FloatArray, second: FloatArray) -> FloatArray:
    """Products (M, N) of vectors (M, D) with (N, D).

    Those of one photo are computed a few rows at a time: threads of a BLAS wait busily for 25 ms
    after their work, on the cores that the model needs next.
    """
    if len(first) * second.size > _WORTH_THREADS:
        return first @ second.T
    rows = max(1, _ALONE // max(1, second.size))
    blocks = range(0, max(1, len(first)), rows)
    return np.concatenate([first[row : row + rows] @ second.T for row in blocks])


def _sentence_sums(values: FloatArray, word_mask: NDArray[np.bool_]) -> FloatArray:
    """The sums (B, C) of what W words are worth (B, W) over each sentence's own.

    The mask is (C, T).
    """
    photos = len(values)
    padded = np.zeros((photos, word_mask.size), dtype=np.float32)
    padded[:, word_mask.ravel()] = values
    by_word = padded.reshape(photos, *word_mask.shape)  # (B, C, T)
    return np.asarray(by_word.sum(2), dtype=np.float32)
