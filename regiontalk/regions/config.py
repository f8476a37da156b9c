"""Sizes and choices of the region side of a model."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from regiontalk.deprecation import renamed_keys

CELLS = 7  # a side of the grid that a box is pooled to


class ExtractorConfig(BaseModel):
    """Sizes of the extractor."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: str = Field("mobilenet_edgetpu_100", description="a timm model name")
    same_padding: bool = Field(
        True, description="TensorFlow's padding, as the backbone's weights want it"
    )
    size: int = Field(
        224, ge=32, le=4096, description="side of the square network image in pixels"
    )
    fit: Literal["squash", "pad"] = Field(
        "squash", description="how a photo becomes square"
    )
    features: int = Field(
        512, ge=1, le=1_000_000, description="F, the length of a region vector"
    )
    neck: bool = Field(
        True,
        description="learn the region map from strides 16 and 32; else it is those two "
        "maps, standardised",
    )
    proposal_width: int = Field(
        96, ge=8, le=100_000, description="channels of the proposal head"
    )
    nms_iou: float = Field(
        0.5,
        gt=0,
        le=1,
        description="IoU above which the weaker of two proposals goes",
        serialization_alias="overlap",  # in fingerprints, which never change
    )
    pool: Literal["mean", "grid"] = Field(
        "mean", description="a region vector is its mean cell, or all 7x7 in a row"
    )
    crops: str | None = Field(
        None,
        description="a network that runs on every box's crop, such as vgg19 or alexnet",
    )
    pixels: Literal["imagenet", "unit"] = Field(
        "imagenet",
        description="normalised by ImageNet's mean and deviation, or to -1..1",
    )

    @model_validator(mode="before")
    @classmethod
    def _take_old_keys(cls, values: Any, info: ValidationInfo) -> Any:
        """Read the keys of the version before; a model's own file may keep them."""
        return renamed_keys(values, {"overlap": "nms_iou"}, info.context)


class PrecomputedConfig(BaseModel):
    """What a model expects of precomputed features."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    features: int = Field(
        ge=1, le=1_000_000, description="F, the length of a region vector"
    )
    regions: int = Field(
        ge=0,
        le=10_000,
        description="most regions of a photo beside the whole photo; the best by score are read",
    )
