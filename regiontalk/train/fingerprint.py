"""The numbers of a recipe that shape a stage, and what is usual for them: what makes a checkpoint one of this run."""

from __future__ import annotations

from typing import Any

from regiontalk.model.config import DecodingConfig, ModelConfig
from regiontalk.model.hub import resolve_model
from regiontalk.model.storage import open_folder
from regiontalk.regions.config import ExtractorConfig
from regiontalk.train.joint import JointConfig
from regiontalk.train.recipe import Recipe


def stage_numbers(recipe: Recipe, name: str) -> dict[str, Any]:
    """All that a recipe says of a stage beside its optimiser, by section."""
    return _numbers(recipe, name, usual=False)


def usual_numbers(recipe: Recipe, name: str) -> dict[str, Any]:
    """The defaults of `stage_numbers`: what a checkpoint of an older version had where it does not say."""
    return _numbers(recipe, name, usual=True)


def reads_aligner(recipe: Recipe) -> bool:
    """Whether the generator's stage depends on the aligner: on its pairs, or on its region vectors."""
    pairs = recipe.generate is not None and bool(recipe.generate.pairs)
    return pairs or recipe.generator.source == "embedding"


def _numbers(recipe: Recipe, name: str, usual: bool) -> dict[str, Any]:
    """The sections that shape a stage, as the recipe has them or at their defaults."""
    stage, decoding = getattr(recipe, name), DecodingConfig() if usual else recipe.decoding
    keys = [name, "extractor", "aligner", "augment", "vectors", "sources"]
    if name == "generate" or (
        isinstance(stage, JointConfig) and stage.speaks
    ):  # else it is not trained
        keys.append("generator")
    if not isinstance(stage, JointConfig):
        keys.append("features")
    sections = {key: getattr(recipe, key) for key in keys}
    parts = {
        key: (type(part)() if usual else part).model_dump(by_alias=True)
        for key, part in sections.items()
    }
    parts["vectors"]["file"] = ""
    if name == "generate" and reads_aligner(recipe):
        parts["pairs"] = {
            "beta": decoding.beta,
            "prior": decoding.region_prior,
            "phrases": decoding.phrases,
        }
    return parts


def extractor_sizes(recipe: Recipe, start: str | None) -> ExtractorConfig:
    """The extractor that runs: the recipe's, or the start model's, whose boxes become vectors as the recipe has it."""
    if start is None:
        return recipe.extractor
    taken, _ = open_folder(resolve_model(start), ModelConfig)
    if taken.precomputed is not None:
        raise ValueError(
            f"--start {start}: expected a model that looks at photos, got one that reads given features"
        )
    return taken.extractor.model_copy(
        update={"pool": recipe.extractor.pool, "crops": recipe.extractor.crops}
    )
