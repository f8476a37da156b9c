"""Losses over a block of image-sentence scores: the max-margin of [1] (9), the hardest negative of [6], InfoNCE.

Each takes scores (B, C) and the photo of each sentence, so that captions of the same photo are
never negatives of each other, and returns one number: a mean over the true pairs. The fragment loss
of [3] goes one level down, to the products (N, B, W) of every region and word.
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
    scores: Tensor,
    photo_of_sentence: Tensor,
    *,
    margin: float = 1.0,
    negatives: Literal["sum", "hardest"] = "sum",
) -> Tensor:
    """Eq. 9 of [1]: sum_l max(0, S_kl - S_kk + 1) + sum_l max(0, S_lk - S_kk + 1) for every true pair kk.

    Args:
        scores: (B, C) of photos k and sentences l.
        photo_of_sentence: (C,) which row each sentence belongs to.
        margin: the 1 of the equation.
        negatives: ``sum`` as printed, or ``hardest``, which keeps the largest violation of each sum
            ([6]).

    Returns:
        () mean over the C true pairs.
    """
    pairs = true_pairs(photo_of_sentence, len(scores))
    true = scores[photo_of_sentence, torch.arange(scores.shape[1], device=scores.device)]  # (C,)
    # a sentence against the other photos: down its column
    by_photo = (scores - true + margin).clamp(min=0).masked_fill(pairs, 0)  # (B, C)
    # a photo against the other photos' sentences: along its row, once for each of its own sentences
    rows = scores[photo_of_sentence]  # (C, C)
    by_sentence = (
        (rows - true[:, None] + margin).clamp(min=0).masked_fill(pairs[photo_of_sentence], 0)
    )
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


def fragment_loss(
    products: Tensor,
    photo_of_word: Tensor,
    region_mask: Tensor,
    pairs: int,
    *,
    warm: bool = False,
    over: Literal["sum", "mean"] = "sum",
) -> Tensor:
    """The multiple-instance loss of [3]: C_F = sum_i sum_t max(0, 1 - y_it v_i . s_t).

    y_it is -1 where region and word belong to different photos; inside a pair it is the sign of the
    product, and +1 for every word's best region whatever its sign: the labels are guessed from the
    model itself (mi-SVM).

    Args:
        products: (N, B, W) of `score.word_products`.
        photo_of_word: (W,) which photo each word belongs to.
        region_mask: (B, N), True = a region.
        pairs: C, how many sentences the words are of.
        warm: every y inside a pair is +1, for the first steps, when the products say nothing yet.
        over: ``sum`` as printed, a mean over the C true pairs; ``mean`` takes the mean over each
            label's own fragments, because a batch has far more strangers than pairs, and their sum
            drowns the few that belong together.

    Returns:
        ().
    """
    own = true_pairs(photo_of_word, products.shape[1])
    real = region_mask.T[:, :, None]
    known = products.detach().masked_fill(~real, float("-inf"))  # labels have no gradient
    together = real & own & (warm | (known > 0) | (known == known.amax(0)))
    hinge = (1 - torch.where(together, products, -products)).clamp(min=0) * real
    if over == "sum":
        return hinge.sum() / pairs
    means = [
        (hinge * label).sum() / label.sum().clamp(min=1) for label in (together, real & ~together)
    ]
    return means[0] + means[1]
