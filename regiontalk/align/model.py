"""The alignment model: two encoders and one score. It never sees a target; the losses stand in `loss.py`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from regiontalk.align.encoders import RegionEncoder, SentenceEncoder
from regiontalk.align.loss import info_nce, max_margin
from regiontalk.align.score import maxsim, sum_positive
from regiontalk.text import END, pad_words


class AlignerConfig(BaseModel):
    """Sizes and choices of the alignment model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(256, ge=1, description="D, the space that regions and words share")
    word_size: int = Field(300, ge=1, description="length of a word vector")
    hidden: int = Field(300, ge=1, description="H of the sentence encoder")
    cell: Literal["relu", "gru"] = Field("relu", description="recurrence; relu is the paper's")
    normalise: bool = Field(False, description="unit region vectors, words weighted inside their sentence")
    score: Literal["maxsim", "sum_positive"] = Field("maxsim", description="eq. 8 or eq. 7")
    loss: Literal["sum", "hardest", "info_nce"] = Field("sum", description="eq. 9, its hardest negatives, or InfoNCE")
    margin: float = Field(1.0, gt=0, description="the 1 of eq. 9; 0.2 suits cosines")
    sentence_token: bool = Field(False, description="END is read after the words, for what a sentence says as a whole")
    dropout: float = Field(0.0, ge=0, lt=1, description="on region features, word vectors and summed states")


class Aligner(nn.Module):
    """Region and sentence encoders behind one score."""

    def __init__(self, *, features: int, vocabulary: int, config: AlignerConfig) -> None:
        """Build for region vectors of length ``features`` and ``vocabulary`` words."""
        super().__init__()
        self.config = config
        self.regions = RegionEncoder(features, config.size, normalise=config.normalise, dropout=config.dropout)
        self.words = SentenceEncoder(
            vocabulary=vocabulary,
            word_size=config.word_size,
            hidden=config.hidden,
            size=config.size,
            cell=config.cell,
            normalise=config.normalise,
            dropout=config.dropout,
        )
        self.log_scale = nn.Parameter(torch.tensor(math.log(20.0)))  # inverse temperature of InfoNCE

    def read(self, sentences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Word vectors s (C, T, D) and mask (C, T) of C lists of word numbers, END added where the model reads it."""
        closing = [END] if self.config.sentence_token else []
        words, mask = pad_words([[*sentence, *closing] for sentence in sentences])
        device = self.log_scale.device
        return self.words(words.to(device), mask.to(device)), mask.to(device)

    def score(self, regions: Tensor, words: Tensor, region_mask: Tensor, word_mask: Tensor) -> Tensor:
        """Scores (B, C) of region vectors v (B, N, D) and word vectors s (C, T, D)."""
        function = maxsim if self.config.score == "maxsim" else sum_positive
        return function(regions, words, region_mask, word_mask)

    def loss(self, scores: Tensor, photo_of_sentence: Tensor) -> Tensor:
        """The configured loss of a block of scores (B, C)."""
        if self.config.loss == "info_nce":
            return info_nce(scores, photo_of_sentence, self.log_scale.exp().clamp(max=100.0))
        return max_margin(scores, photo_of_sentence, margin=self.config.margin, negatives=self.config.loss)
