"""Sizes and choices of the alignment model."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class AlignerConfig(BaseModel):
    """Sizes and choices of the alignment model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(
        256, ge=1, le=100_000, description="D, the space that regions and words share"
    )
    word_size: int = Field(300, ge=1, le=100_000, description="length of a word vector")
    hidden: int = Field(300, ge=1, le=100_000, description="H of the sentence encoder")
    cell: Literal["relu", "gru"] = Field(
        "relu", description="recurrence; relu is the paper's"
    )
    normalise: bool = Field(
        False, description="unit region vectors, words weighted inside their sentence"
    )
    score: Literal["maxsim", "sum_positive", "mean_positive"] = Field(
        "maxsim",
        description="eq. 8, eq. 7, or eq. 7 divided by N (T + 5) as [3] has it",
    )
    loss: Literal["sum", "hardest", "info_nce"] = Field(
        "sum", description="eq. 9, its hardest negatives, or InfoNCE"
    )
    margin: float = Field(1.0, gt=0, description="the 1 of eq. 9; 0.2 suits cosines")
    sentence_token: bool = Field(
        False,
        description="END is read after the words, for what a sentence says as a whole",
    )
    dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="on region features, word vectors and summed states",
    )
    sentence: Literal["words", "last"] = Field(
        "words",
        description="a vector a word, or the last state of a one-way GRU for the whole sentence",
    )
    null: bool = Field(
        False,
        description="a learnt NULL region that words which name nothing may choose",
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
                    "sentence = last and normalise = false cannot meet: its sentence "
                    "vectors have length 1"
                )
            if self.hidden != self.size:
                raise ValueError(
                    f"hidden = {self.hidden} and size = {self.size} cannot meet: with "
                    "sentence = last the state itself is the sentence vector, so both "
                    "must be equal"
                )
        return self
