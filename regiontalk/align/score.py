"""The image-sentence scores, pure: equations (7) and (8) of [1], and (7) as [3] divides it.

With L2-normalised vectors (8) is ColBERT's MaxSim. Training, evaluation and search rank by these
functions alone.
"""

from __future__ import annotations

import torch
from torch import Tensor


def affinity(regions: Tensor, words: Tensor) -> Tensor:
    """All products v_i . s_t of photos and sentences.

    Args:
        regions: (B, N, D) region vectors v.
        words: (C, T, D) word vectors s.

    Returns:
        (B, C, T, N).
    """
    flat = words.flatten(0, 1) @ regions.flatten(0, 1).T  # (C*T, B*N)
    return flat.view(*words.shape[:2], *regions.shape[:2]).permute(2, 0, 1, 3)


def region_prior(words: Tensor, objectness: Tensor, weight: float, choices: int) -> Tensor:
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
    logs = objectness.float().clamp(min=1e-4).log()
    best = logs[..., 1:].amax(-1, keepdim=True) if logs.shape[-1] > 1 else logs
    null = best.expand(*best.shape[:-1], choices - logs.shape[-1])
    lengths: Tensor = words.float().norm(dim=-1, keepdim=True)
    return weight * lengths * torch.cat([best, logs[..., 1:], null], -1)[..., None, :]


def word_products(regions: Tensor, words: Tensor, word_mask: Tensor) -> Tensor:
    """`affinity` of the W words that are there, without the padding between them.

    Args:
        regions: (B, N, D).
        words: (C, T, D).
        word_mask: (C, T), True = a word.

    Returns:
        (N, B, W): regions come first in memory, so that their maximum runs along whole rows and
        costs next to nothing.
    """
    flat = regions.transpose(0, 1).flatten(0, 1) @ words[word_mask].T  # (N*B, W)
    return flat.view(regions.shape[1], regions.shape[0], -1)


def maxsim(regions: Tensor, words: Tensor, region_mask: Tensor, word_mask: Tensor) -> Tensor:
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
        products = products.masked_fill(~region_mask.T[:, :, None], float("-inf"))
    best = products.max(0).values if products.requires_grad else products.amax(0)  # (B, W)
    return _sentences(best.masked_fill(best.isneginf(), 0.0), word_mask)


def sum_positive(regions: Tensor, words: Tensor, region_mask: Tensor, word_mask: Tensor) -> Tensor:
    """Eq. 7 of [1], from [3]: S_kl = sum_t sum_i max(0, v_i . s_t). Shapes as in `maxsim`."""
    products = word_products(regions, words, word_mask).clamp(min=0)
    if not region_mask.all():
        products = products * region_mask.T[:, :, None]
    return _sentences(products.sum(0), word_mask)


def _sentences(values: Tensor, word_mask: Tensor) -> Tensor:
    """The sums (B, C) of what W words are worth (B, W) over each sentence's own, by the mask (C, T)."""
    padded = values.new_zeros(len(values), word_mask.numel())
    padded[:, word_mask.flatten()] = values
    return padded.view(len(values), *word_mask.shape).sum(2)


def mean_positive(
    regions: Tensor,
    words: Tensor,
    region_mask: Tensor,
    word_mask: Tensor,
    *,
    smoothing: float = 5.0,
) -> Tensor:
    """Eq. 7 divided by N_k (T_l + 5), so that photos and sentences of any size compare ([3]). Shapes as in `maxsim`."""
    cells = (
        region_mask.sum(1).clamp(min=1)[:, None] * (word_mask.sum(1) + smoothing)[None]
    )  # (B, C)
    return sum_positive(regions, words, region_mask, word_mask) / cells


@torch.no_grad()
def maxsim_blocks(
    regions: Tensor, words: Tensor, region_mask: Tensor, word_mask: Tensor, cells: int = 20_000_000
) -> Tensor:
    """`maxsim` in blocks of sentences, so that no more than ``cells`` products stand in memory at once."""
    step = max(1, cells // max(1, regions.shape[0] * regions.shape[1] * words.shape[1]))
    blocks = [
        maxsim(regions, words[start : start + step], region_mask, word_mask[start : start + step])
        for start in range(0, len(words), step)
    ]
    return torch.cat(blocks, 1) if blocks else regions.new_zeros(len(regions), 0)
