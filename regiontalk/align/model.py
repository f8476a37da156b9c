"""The alignment model: two encoders and one score.

It never sees a target; the losses stand in `loss.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from regiontalk.align.config import AlignerConfig
from regiontalk.align.encoders import GRUSentenceEncoder, RegionEncoder, SentenceEncoder
from regiontalk.align.loss import info_nce, max_margin
from regiontalk.align.torch_score import maxsim, mean_positive, sum_positive
from regiontalk.text.vocabulary import END, pad_token_ids

_SCORES: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "maxsim": maxsim,
    "sum_positive": sum_positive,
    "mean_positive": mean_positive,
}


class Aligner(nn.Module):
    """Region and sentence encoders behind one score."""

    def __init__(
        self, *, features: int, vocabulary: int, config: AlignerConfig
    ) -> None:
        """Build for region vectors of length ``features`` and ``vocabulary`` words."""
        super().__init__()
        self.config = config
        self.regions = RegionEncoder(
            features, config.size, normalise=config.normalise, dropout=config.dropout
        )
        if config.sentence == "last":
            self.words: SentenceEncoder | GRUSentenceEncoder = GRUSentenceEncoder(
                vocabulary=vocabulary,
                word_size=config.word_size,
                size=config.size,
                dropout=config.dropout,
            )
        else:
            self.words = SentenceEncoder(
                vocabulary=vocabulary,
                word_size=config.word_size,
                hidden=config.hidden,
                size=config.size,
                cell=config.cell,
                normalise=config.normalise,
                dropout=config.dropout,
            )
        # of a random direction: zeros would only ever beat products below 0
        if config.null:
            self.null = nn.Parameter(torch.randn(config.size) / config.size**0.5)
        # inverse temperature of InfoNCE
        self.log_scale = nn.Parameter(torch.tensor(math.log(20.0)))

    def embed_regions(self, features: Tensor) -> Tensor:
        """Region vectors v (B, N, D) of region features (B, N, F)."""
        vectors: Tensor = self.regions(features)
        return vectors

    def encode_text(self, sentences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Word vectors s (C, T, D) and mask (C, T) of C lists of token ids.

        END is added where the model reads it. The mask is True at the words that the
        score counts: all of them, or with ``sentence = last`` the last alone.
        """
        closing = [END] if self.config.sentence_token else []
        token_ids, is_word = pad_token_ids(
            [[*sentence, *closing] for sentence in sentences]
        )
        device = self.log_scale.device
        mask = torch.from_numpy(is_word).to(device)
        vectors: Tensor = self.words(torch.from_numpy(token_ids).to(device), mask)
        if self.config.sentence == "last":
            word_follows = functional.pad(mask[:, 1:], (0, 1))
            mask = mask & ~word_follows
        return vectors, mask

    def choices(self, regions: Tensor) -> Tensor:
        """What a word may choose.

        The regions (B, N, D) and, where the model has it, NULL after them (B, N+1, D).
        """
        if not self.config.null:
            return regions
        null = self.null.to(regions.dtype).expand(len(regions), 1, -1)
        return torch.cat([regions, null], 1)

    def score(
        self, regions: Tensor, words: Tensor, region_mask: Tensor, word_mask: Tensor
    ) -> Tensor:
        """Scores (B, C) of region vectors v (B, N, D) and word vectors s (C, T, D)."""
        score = _SCORES[self.config.score]
        choices = self.choices(regions)
        added = choices.shape[1] - regions.shape[1]  # 1 with NULL
        choice_mask = functional.pad(region_mask, (0, added), value=True)
        return score(choices, words, choice_mask, word_mask)

    def loss(
        self, scores: Tensor, photo_of_sentence: Tensor, *, warm: bool = False
    ) -> Tensor:
        """The configured loss of a block of scores (B, C).

        ``warm`` takes all negatives where it is the hardest's.
        """
        if self.config.loss == "info_nce":
            scale = self.log_scale.exp().clamp(max=100.0)
            return info_nce(scores, photo_of_sentence, scale)
        negatives = "sum" if warm else self.config.loss
        return max_margin(
            scores, photo_of_sentence, margin=self.config.margin, negatives=negatives
        )
