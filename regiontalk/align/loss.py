"""Losses over a block of image-sentence scores: the max-margin of [1] (9), the hardest negative of [6], InfoNCE.

Each takes scores (B, C) and the photo of each sentence, so that captions of the same photo are never negatives of each
other, and returns one number: a mean over the true pairs.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional


def true_pairs(photo_of_sentence: Tensor, photos: int) -> Tensor:
    """(B, C) bool, True = sentence c was written for photo b."""
    return torch.arange(photos, device=photo_of_sentence.device)[:, None] == photo_of_sentence


def max_margin(
    scores: Tensor, photo_of_sentence: Tensor, *, margin: float = 1.0, negatives: Literal["sum", "hardest"] = "sum"
) -> Tensor:
    """Eq. 9 of [1]: sum_l max(0, S_kl - S_kk + 1) + sum_l max(0, S_lk - S_kk + 1) for every true pair kk.

    Args:
        scores: (B, C) of photos k and sentences l.
        photo_of_sentence: (C,) which row each sentence belongs to.
        margin: the 1 of the equation.
        negatives: ``sum`` as printed, or ``hardest``, which keeps the largest violation of each sum ([6]).

    Returns:
        () mean over the C true pairs.
    """
    pairs = true_pairs(photo_of_sentence, len(scores))
    true = scores[photo_of_sentence, torch.arange(scores.shape[1], device=scores.device)]  # (C,)
    # a sentence against the other photos: down its column
    by_photo = (scores - true + margin).clamp(min=0).masked_fill(pairs, 0)  # (B, C)
    # a photo against the other photos' sentences: along its row, once for each of its own sentences
    rows = scores[photo_of_sentence]  # (C, C)
    by_sentence = (rows - true[:, None] + margin).clamp(min=0).masked_fill(pairs[photo_of_sentence], 0)
    if negatives == "hardest":
        return (by_photo.max(0).values + by_sentence.max(1).values).mean()
    return (by_photo.sum(0) + by_sentence.sum(1)).mean()


def info_nce(scores: Tensor, photo_of_sentence: Tensor, scale: Tensor | float) -> Tensor:
    """Cross-entropy of the true photo among the photos and of each true sentence among other photos' sentences.

    Args:
        scores: (B, C).
        photo_of_sentence: (C,).
        scale: inverse temperature.

    Returns:
        () mean of the two directions.
    """
    logits = scores.float() * scale
    to_photo = functional.cross_entropy(logits.T, photo_of_sentence)
    pairs = true_pairs(photo_of_sentence, len(scores))
    others = logits.masked_fill(pairs, float("-inf")).logsumexp(1)  # (B,)
    true = logits[photo_of_sentence, torch.arange(scores.shape[1], device=scores.device)]
    to_sentence = functional.softplus(others[photo_of_sentence] - true).mean()
    return (to_photo + to_sentence) / 2
