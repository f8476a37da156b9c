"""The image-sentence scores as training differentiates them.

`align.score` on tensors, its twin line by line.
"""

from __future__ import annotations

from torch import Tensor


def word_products(regions: Tensor, words: Tensor, word_mask: Tensor) -> Tensor:
    """Products v . s of the W words that are there, without the padding between them.

    Args:
        regions: (B, N, D).
        words: (C, T, D).
        word_mask: (C, T), True = a word.

    Returns:
        (N, B, W): regions come first in memory, so that their maximum runs along whole rows and
        costs next to nothing.
    """
    photos, count, _ = regions.shape
    flat_regions = regions.transpose(0, 1).flatten(0, 1)  # (N*B, D)
    products = flat_regions @ words[word_mask].T  # (N*B, W)
    return products.view(count, photos, -1)


def maxsim(
    regions: Tensor, words: Tensor, region_mask: Tensor, word_mask: Tensor
) -> Tensor:
    """Eq. 8 of [1]: S_kl = sum_t max_i v_i . s_t.

    Args:
        regions: (B, N, D).
        words: (C, T, D).
        region_mask: (B, N), True = a region.
        word_mask: (C, T), True = a word.

    Returns:
        (B, C) scores; a photo without regions or a sentence without words scores 0.
    """
    products = word_products(regions, words, word_mask)
    if not region_mask.all():
        is_region = region_mask.T[:, :, None]
        products = products.masked_fill(~is_region, float("-inf"))
    # (B, W)
    best = products.max(0).values if products.requires_grad else products.amax(0)
    best = best.masked_fill(best.isneginf(), 0.0)
    return _sentence_sums(best, word_mask)


def sum_positive(
    regions: Tensor, words: Tensor, region_mask: Tensor, word_mask: Tensor
) -> Tensor:
    """Eq. 7 of [1], from [3]: S_kl = sum_t sum_i max(0, v_i . s_t). Shapes as in `maxsim`."""
    products = word_products(regions, words, word_mask).clamp(min=0)
    if not region_mask.all():
        products = products * region_mask.T[:, :, None]
    return _sentence_sums(products.sum(0), word_mask)


def _sentence_sums(values: Tensor, word_mask: Tensor) -> Tensor:
    """The sums (B, C) of what W words are worth (B, W) over each sentence's own.

    The mask is (C, T).
    """
    photos = len(values)
    padded = values.new_zeros(photos, word_mask.numel())
    padded[:, word_mask.flatten()] = values
    return padded.view(photos, *word_mask.shape).sum(2)


def mean_positive(
    regions: Tensor,
    words: Tensor,
    region_mask: Tensor,
    word_mask: Tensor,
    *,
    smoothing: float = 5.0,
) -> Tensor:
    """Eq. 7 divided by N_k (T_l + 5), so that all sizes compare ([3]).

    Shapes as in `maxsim`.
    """
    region_counts = region_mask.sum(1).clamp(min=1)  # (B,)
    word_counts = word_mask.sum(1) + smoothing  # (C,)
    cells = region_counts[:, None] * word_counts[None]  # (B, C)
    return sum_positive(regions, words, region_mask, word_mask) / cells
