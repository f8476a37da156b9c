"""Losses over a block of image-sentence scores.

The max-margin of [1] (9), the hardest negative of [6], InfoNCE. Each takes scores (B,
C) and the photo of each sentence, so that captions of the same photo are never
negatives of each other, and returns one number: a mean over the true pairs. The
fragment loss of [3] goes one level down, to the products (N, B, W) of every region and
word.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional


def true_pairs(photo_of_sentence: Tensor, photos: int) -> Tensor:
    """(B, C) bool, True = sentence c was written for photo b."""
    photo_rows = torch.arange(photos, device=photo_of_sentence.device)
    return photo_rows[:, None] == photo_of_sentence


def max_margin(
    scores: Tensor,
    photo_of_sentence: Tensor,
    *,
    margin: float = 1.0,
    negatives: Literal["sum", "hardest"] = "sum",
) -> Tensor:
    """Eq. 9 of [1], the max-margin loss.

    For every true pair kk the sum over l of max(0, S_kl - S_kk + 1) and of
    max(0, S_lk - S_kk + 1).

    Args:
        scores: (B, C) of photos k and sentences l.
        photo_of_sentence: (C,) which row each sentence belongs to.
        margin: the 1 of the equation.
        negatives: ``sum`` as printed, or ``hardest``, which keeps the largest violation of each sum
            ([6]).

    Returns:
        () mean over the C true pairs.
    """
    is_pair = true_pairs(photo_of_sentence, len(scores))  # (B, C)
    true_scores = _true_scores(scores, photo_of_sentence)  # (C,)
    # a sentence against the other photos: down its column
    violations = (scores - true_scores + margin).clamp(min=0)
    by_photo = violations.masked_fill(is_pair, 0)  # (B, C)
    # a photo against the other photos' sentences: along its row, once for each of its own sentences
    rows = scores[photo_of_sentence]  # (C, C)
    violations = (rows - true_scores[:, None] + margin).clamp(min=0)
    by_sentence = violations.masked_fill(is_pair[photo_of_sentence], 0)
    if negatives == "hardest":
        return (by_photo.max(0).values + by_sentence.max(1).values).mean()
    return (by_photo.sum(0) + by_sentence.sum(1)).mean()


def _true_scores(scores: Tensor, photo_of_sentence: Tensor) -> Tensor:
    """The score (C,) of each sentence with its own photo, from (B, C)."""
    columns = torch.arange(scores.shape[1], device=scores.device)
    return scores[photo_of_sentence, columns]


def info_nce(
    scores: Tensor, photo_of_sentence: Tensor, scale: Tensor | float
) -> Tensor:
    """Cross-entropy of the true photo among photos and of each true sentence.

    The latter among other photos' sentences.

    Args:
        scores: (B, C).
        photo_of_sentence: (C,).
        scale: inverse temperature.

    Returns:
        () mean of the two directions.
    """
    logits = scores.float() * scale
    to_photo = functional.cross_entropy(logits.T, photo_of_sentence)
    is_pair = true_pairs(photo_of_sentence, len(scores))
    negatives = logits.masked_fill(is_pair, float("-inf")).logsumexp(1)  # (B,)
    true_logits = _true_scores(logits, photo_of_sentence)  # (C,)
    to_sentence = functional.softplus(negatives[photo_of_sentence] - true_logits).mean()
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
    of_one_photo = true_pairs(photo_of_word, products.shape[1])  # (B, W)
    is_region = region_mask.T[:, :, None]  # (N, B, 1)
    # labels have no gradient
    guesses = products.detach().masked_fill(~is_region, float("-inf"))
    is_best = guesses == guesses.amax(0)
    # (N, B, W)
    is_positive = is_region & of_one_photo & (warm | (guesses > 0) | is_best)
    agreement = torch.where(is_positive, products, -products)  # y v . s
    hinge = (1 - agreement).clamp(min=0) * is_region
    if over == "sum":
        return hinge.sum() / pairs
    return _masked_mean(hinge, is_positive) + _masked_mean(
        hinge, is_region & ~is_positive
    )


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """The mean of the values where the mask is True; 0 where it nowhere is."""
    return (values * mask).sum() / mask.sum().clamp(min=1)
