"""The sizes and choices of a whole model: ``config.json`` is `ModelConfig`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from regiontalk.align.config import AlignerConfig
from regiontalk.align.pairs import Chain
from regiontalk.deprecation import renamed_keys
from regiontalk.generate.config import GeneratorConfig
from regiontalk.images.preprocessing import Preprocessing
from regiontalk.regions.config import ExtractorConfig, PrecomputedConfig
from regiontalk.text.vocabulary import Vocabulary, phrase_starts

FORMAT: Final = 1


class Calibration(BaseModel):
    """Confidence = sigmoid of a weighted sum of what speaks for a caption.

    That is ``bias`` + ``per_word`` * mean log-probability a word + ``per_match`` * alignment of
    caption and box + ``per_box`` * log objectness of the box (0 for boxes that a user gave) +
    ``per_check`` * what the model's caption check says of them (0 where it has none). Fitted on dev
    (docs/notebook.md); the defaults give the mean log-probability a plain meaning before that.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bias: float = 2.0
    per_word: float = 1.0
    per_match: float = 0.0
    per_box: float = 0.0
    per_check: float = 0.0


class DecodingConfig(BaseModel):
    """How the model speaks unless the caller says otherwise; chosen on dev."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    beams: int = Field(3, ge=1, le=1000, description="K of the beam search")
    length_power: float = Field(
        0.7,
        ge=0,
        description="captions are ranked by log-probability / length ** power",
    )
    max_words: int = Field(20, ge=1, le=1000, description="longest caption")
    photo_min_words: int = Field(
        0,
        ge=0,
        le=1000,
        description="a whole photo's sentence has at least so many words",
    )
    photo_beams: int | None = Field(
        None, ge=1, description="K of whole photos, where it is not `beams`"
    )
    photo_candidates: int | None = Field(
        None,
        ge=1,
        description="sentences of a photo that search goes on for and `photo_alignment` chooses "
        "from, where it is not all K",
    )
    photo_alignment: float = Field(
        0.0,
        ge=0,
        description="of a photo's sentences the one with the best rank plus so much "
        "times eq. 8 is taken",
    )
    photo_repetition: float = Field(
        0.0,
        ge=0,
        description="what a sentence that says a content word twice loses of its rank",
    )
    threshold: float = Field(
        0.3, ge=0, le=1, description="a region below this confidence gets no words"
    )
    photo_threshold: float = Field(
        0.5,
        ge=0,
        le=1,
        description="a photo's sentence below this confidence is hedged",
    )
    region_beams: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="K of regions, where it is not that of whole photos",
    )
    region_length_power: float | None = Field(
        None,
        ge=0,
        description="length_power of regions, where it is not that of whole photos",
    )
    candidates: int = Field(
        0,
        ge=0,
        le=10_000,
        description="regions captioned, of which those most worth reading are returned",
    )
    merge_overlap: float = Field(
        0.5,
        gt=0,
        le=1,
        description="share of the smaller of two boxes of one kind of thing that makes them one",
    )
    box_voting: float | None = Field(
        None,
        gt=0,
        le=1,
        description="IoU from which boxes of one thing vote on its place; none: the best box",
    )
    photo_check: float = Field(
        0.0,
        ge=0,
        le=1,
        description="an image less likely a photo gets no words; 0 = not asked",
    )
    neutral_margin: float = Field(
        0.0,
        ge=0,
        description="man or woman is said where it is likelier than the other by so "
        "much in log-probability",
    )
    photo_neutral_margin: float | None = Field(
        None,
        ge=0,
        description="the same of whole photos, where it is not `neutral_margin`",
    )
    photo: Calibration = Calibration()
    region: Calibration = Calibration()
    beta: float = Field(
        0.0,
        ge=0,
        description="smoothing of word paths where snippets are inferred (eq. 12)",
    )
    phrases: bool = Field(
        False, description="those paths change regions only where a phrase may begin"
    )
    region_prior: float = Field(
        0.0, ge=0, description="weight of log objectness beside v . s (eq. 11)"
    )


class ModelConfig(BaseModel):
    """The parts of one model; ``config.json`` is this record."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = FORMAT
    kind: Literal["regiontalk"] = "regiontalk"
    name: str = Field("unnamed", description="what results call the model")
    extractor: ExtractorConfig = ExtractorConfig()
    aligner: AlignerConfig = AlignerConfig()
    generator: GeneratorConfig = GeneratorConfig()
    decoding: DecodingConfig = DecodingConfig()
    precomputed: PrecomputedConfig | None = Field(
        None,
        description="region vectors come from somebody else, not from the photo",
        serialization_alias="given",  # in fingerprints, which never change
    )
    photo_check: bool = Field(
        False, description="the model tells photos from other images"
    )
    caption_check: int = Field(
        0,
        ge=0,
        le=1024,
        description="rank of the head that tells whether a caption is true of a region; 0 = none",
    )
    caption_check_hidden: int = Field(
        0, ge=0, le=4096, description="size of that head's hidden layer; 0 = none"
    )
    folded: bool = Field(
        False,
        description="batch norms are folded into their convolutions, for use only",
    )
    int8: bool = Field(
        False,
        description="the decoder's largest layers are in int8 (`model.int8`), for use only",
    )
    int8_backbone: bool = Field(
        False,
        description="the backbone computes in whole numbers (`regions.int8_mobilenets`) and "
        "learns no more",
    )
    int8_proposals: bool = Field(
        False, description="so does the tower of the proposal head, for use only"
    )

    @model_validator(mode="before")
    @classmethod
    def _take_old_keys(cls, values: Any, info: ValidationInfo) -> Any:
        """Read the keys of the version before; a model's own file may keep them."""
        return renamed_keys(values, {"given": "precomputed"}, info.context)


def preprocessing_of(sizes: ExtractorConfig) -> Preprocessing:
    """The road from a photo to the network that these sizes describe."""
    imagenet = Preprocessing(size=sizes.size, fit=sizes.fit)
    if sizes.pixels == "imagenet":
        return imagenet
    half = (0.5, 0.5, 0.5)
    return replace(imagenet, mean=half, std=half)


def chain_of(
    decoding: DecodingConfig, vocabulary: Vocabulary, beta: float | None = None
) -> Chain:
    """How a model's snippets are inferred; ``beta`` None takes its own."""

    def starts(sentence: Sequence[int]) -> list[bool]:
        words = [vocabulary.words[token_id] for token_id in sentence]
        return phrase_starts(words)

    smoothing = decoding.beta if beta is None else beta
    return Chain(smoothing, decoding.region_prior, starts if decoding.phrases else None)
