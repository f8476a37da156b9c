"""Sizes and choices of the caption generator."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from regiontalk.deprecation import renamed_keys


class GeneratorConfig(BaseModel):
    """Sizes and choices of the generator."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cell: Literal["relu", "gru", "lstm"] = Field(
        "relu", description="recurrence; relu is the paper's"
    )
    hidden: int = Field(512, ge=1, le=100_000, description="H")
    word_size: int = Field(512, ge=1, le=100_000, description="length of a word vector")
    image: Literal["first", "every", "state"] = Field(
        "first",
        description="where the image enters: at t = 1 (eq. 14), at every step, or as "
        "the first state ([2])",
        serialization_alias="picture",  # in fingerprints, which never change
    )
    attention: int = Field(
        0,
        ge=0,
        le=100_000,
        description="A, length of an annotation vector; 0 = no attention",
    )
    regions: int = Field(
        0,
        ge=0,
        le=10_000,
        description="what attention looks at: 0 = the cells of the box, else the photo "
        "and so many proposals",
    )
    places: bool = Field(
        False, description="annotation vectors also say where in the photo they stand"
    )
    look: Literal["before", "after"] = Field(
        "before",
        description="attention looks with h_{t-1} ([2]), or with h_t, which read the "
        "word (Luong et al. 2015)",
    )
    source: Literal["feature", "embedding"] = Field(
        "feature", description="condition on region vectors or v of eq. 1"
    )
    with_photo: bool = Field(
        True, description="the whole photo's vector stands beside the region's"
    )
    geometry: bool = Field(
        False,
        description="the condition also says where the box stands and how large it is",
    )
    bottleneck: int = Field(
        0,
        ge=0,
        le=100_000,
        description="the condition first becomes so many rectified numbers; 0 = no",
    )
    condition_dropout: float = Field(0.0, ge=0, lt=1, description="on the condition")
    dropout: float = Field(
        0.5, ge=0, lt=1, description="on word vectors and before the output"
    )

    @model_validator(mode="before")
    @classmethod
    def _take_old_keys(cls, values: Any, info: ValidationInfo) -> Any:
        """Read the keys of the version before; a model's own file may keep them."""
        return renamed_keys(values, {"picture": "image"}, info.context)

    @model_validator(mode="after")
    def _attends(self) -> Self:
        """Refuse a choice about attention where there is none."""
        fields = type(self).model_fields
        for name in ("regions", "places", "look"):
            is_default = getattr(self, name) == fields[name].default
            if not is_default and not self.attention:
                raise ValueError(
                    f"cannot meet: {name} and attention = 0; it says how attention looks"
                )
        return self
