"""The alignment model: two encoders and one score. It never sees a target; the losses stand in `loss.py`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from regiontalk.align.encoders import LastState, RegionEncoder, SentenceEncoder
from regiontalk.align.loss import info_nce, max_margin
from regiontalk.align.score import maxsim, mean_positive, sum_positive
from regiontalk.text.vocabulary import END, pad_words

_SCORES: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "maxsim": maxsim,
    "sum_positive": sum_positive,
    "mean_positive": mean_positive,
}


class AlignerConfig(BaseModel):
    """Sizes and choices of the alignment model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(256, ge=1, description="D, the space that regions and words share")
    word_size: int = Field(300, ge=1, description="length of a word vector")
    hidden: int = Field(300, ge=1, description="H of the sentence encoder")
    cell: Literal["relu", "gru"] = Field("relu", description="recurrence; relu is the paper's")
    normalise: bool = Field(
        False, description="unit region vectors, words weighted inside their sentence"
    )
    score: Literal["maxsim", "sum_positive", "mean_positive"] = Field(
        "maxsim", description="eq. 8, eq. 7, or eq. 7 divided by N (T + 5) as [3] has it"
    )
    loss: Literal["sum", "hardest", "info_nce"] = Field(
        "sum", description="eq. 9, its hardest negatives, or InfoNCE"
    )
    margin: float = Field(1.0, gt=0, description="the 1 of eq. 9; 0.2 suits cosines")
    sentence_token: bool = Field(
        False, description="END is read after the words, for what a sentence says as a whole"
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="on region features, word vectors and summed states"
    )
    sentence: Literal["words", "last"] = Field(
        "words",
        description="a vector a word, or the last state of a one-way GRU for the whole sentence",
    )
    null: bool = Field(
        False, description="a learnt NULL region that words which name nothing may choose"
    )

    @model_validator(mode="after")
    def _parts_meet(self) -> AlignerConfig:
        """Refuse choices that exclude each other."""
        if self.sentence == "last":
            if self.cell != "gru":
                raise ValueError(
                    f"sentence = last and cell = {self.cell} cannot meet: the last state is a GRU's"
                )
            if not self.normalise:
                raise ValueError(
                    "sentence = last and normalise = false cannot meet: its sentence vectors have length 1"
                )
            if self.hidden != self.size:
                raise ValueError(
                    f"hidden = {self.hidden} and size = {self.size} cannot meet: with sentence = last the state itself "
                    "is the sentence vector, so both must be equal"
                )
        return self


class Aligner(nn.Module):
    """Region and sentence encoders behind one score."""

    def __init__(self, *, features: int, vocabulary: int, config: AlignerConfig) -> None:
        """Build for region vectors of length ``features`` and ``vocabulary`` words."""
        super().__init__()
        self.config = config
        self.regions = RegionEncoder(
            features, config.size, normalise=config.normalise, dropout=config.dropout
        )
        if config.sentence == "last":
            self.words: SentenceEncoder | LastState = LastState(
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
        if config.null:  # of a random direction: zeros would only ever beat products below 0
            self.null = nn.Parameter(torch.randn(config.size) / config.size**0.5)
        self.log_scale = nn.Parameter(
            torch.tensor(math.log(20.0))
        )  # inverse temperature of InfoNCE

    def read(self, sentences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Word vectors s (C, T, D) and mask (C, T) of C lists of word numbers, END added where the model reads it.

        The mask is True at the words that the score counts: all of them, or with ``sentence =
        last`` the last alone.
        """
        closing = [END] if self.config.sentence_token else []
        words, mask = pad_words([[*sentence, *closing] for sentence in sentences])
        device = self.log_scale.device
        words, mask = words.to(device), mask.to(device)
        counted = (
            mask & ~functional.pad(mask[:, 1:], (0, 1)) if self.config.sentence == "last" else mask
        )
        return self.words(words, mask), counted

    def choices(self, regions: Tensor) -> Tensor:
        """What a word may choose: the regions (B, N, D) and, where the model has it, NULL after them (B, N+1, D)."""
        if not self.config.null:
            return regions
        return torch.cat([regions, self.null.to(regions.dtype).expand(len(regions), 1, -1)], 1)

    def score(
        self, regions: Tensor, words: Tensor, region_mask: Tensor, word_mask: Tensor
    ) -> Tensor:
        """Scores (B, C) of region vectors v (B, N, D) and word vectors s (C, T, D)."""
        choices = self.choices(regions)
        mask = functional.pad(region_mask, (0, choices.shape[1] - regions.shape[1]), value=True)
        return _SCORES[self.config.score](choices, words, mask, word_mask)

    def loss(self, scores: Tensor, photo_of_sentence: Tensor, *, warm: bool = False) -> Tensor:
        """The configured loss of a block of scores (B, C); ``warm`` takes all negatives where it is the hardest's."""
        if self.config.loss == "info_nce":
            return info_nce(scores, photo_of_sentence, self.log_scale.exp().clamp(max=100.0))
        negatives = "sum" if warm else self.config.loss
        return max_margin(scores, photo_of_sentence, margin=self.config.margin, negatives=negatives)
