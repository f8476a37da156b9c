"""A recipe: the TOML file of one published run, as records; `train.run` runs it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from regiontalk.align.config import AlignerConfig
from regiontalk.deprecation import renamed_keys
from regiontalk.files import read_text
from regiontalk.generate.config import GeneratorConfig
from regiontalk.model.config import DecodingConfig
from regiontalk.model.storage import describe_errors
from regiontalk.records import Example
from regiontalk.regions.config import ExtractorConfig
from regiontalk.train.align import AlignConfig
from regiontalk.train.generate import GenerateConfig
from regiontalk.train.joint import JointConfig
from regiontalk.train.photo_check import PhotoCheckConfig
from regiontalk.train.photos import AugmentConfig
from regiontalk.train.word_vectors import VectorsConfig

STEPPED_STAGES = ("proposer", "warm", "joint", "refine", "align", "generate")
STAGES = (*STEPPED_STAGES, "photo_check")  # in the order in which they run
RECIPES = Path(__file__).parents[1] / "recipes"


class FeaturesConfig(BaseModel):
    """What the frozen stages read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    regions: int = Field(19, ge=0, description="proposals beside the whole photo")
    views: int = Field(
        1,
        ge=1,
        description="1 for the photos as they are; each more is an augmented copy",
    )
    min_words: int = Field(
        2,
        ge=1,
        description="shorter snippets teach the generator nothing and are left out",
        serialization_alias="least_words",  # in fingerprints, which never change
    )
    trim: bool = Field(
        False,
        description="snippets lose function words at their ends, so that no caption breaks off",
    )

    @model_validator(mode="before")
    @classmethod
    def _take_old_keys(cls, values: Any, info: ValidationInfo) -> Any:
        """Read the keys of the version before."""
        return renamed_keys(values, {"least_words": "min_words"}, info.context)


class SourcesConfig(BaseModel):
    """What words are taken from beside the photos' own sentences and phrases."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_score: float = Field(
        0.45,
        ge=0,
        le=1,
        description="names that a detector gives below it are left out",
    )
    unseen_min_count: int = Field(
        20,
        ge=1,
        description="words seen so often in sentences without photos are kept too",
    )


class Recipe(BaseModel):
    """One run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="what results call the model")
    seed: int = Field(0, description="of the first weights")
    min_count: int = Field(
        5, ge=1, description="words seen less often in training are unknown"
    )
    extractor: ExtractorConfig = ExtractorConfig()
    aligner: AlignerConfig = AlignerConfig()
    generator: GeneratorConfig = GeneratorConfig()
    decoding: DecodingConfig = DecodingConfig()
    augment: AugmentConfig = AugmentConfig()
    features: FeaturesConfig = FeaturesConfig()
    vectors: VectorsConfig = VectorsConfig()
    sources: SourcesConfig = SourcesConfig()
    proposer: JointConfig | None = None
    warm: AlignConfig | None = None
    joint: JointConfig | None = None
    refine: JointConfig | None = None
    align: AlignConfig | None = None
    generate: GenerateConfig | None = None
    photo_check: PhotoCheckConfig | None = None
    int8: bool = Field(
        False, description="the finished model's decoder is stored and computes in int8"
    )
    int8_backbone: bool = Field(
        False, description="and its backbone, rounded on training photos"
    )

    @model_validator(mode="before")
    @classmethod
    def _take_old_keys(cls, values: Any, info: ValidationInfo) -> Any:
        """Read the keys of the version before."""
        return renamed_keys(values, {"least_count": "min_count"}, info.context)

    @model_validator(mode="after")
    def _parts_meet(self) -> Self:
        """Refuse choices that contradict each other before anything is trained."""
        clashes = [*_clashes_of_generator(self), *_clashes_of_aligner(self)]
        if clashes:
            raise ValueError("; ".join(f"cannot meet: {text}" for text in clashes))
        return self

    @property
    def teaches_aligner(self) -> bool:
        """Whether a stage teaches words and regions where to stand."""
        return bool(self.warm or self.joint or self.align)

    @property
    def reads_maps(self) -> bool:
        """Whether the generator's stage needs whole region maps: attention and EM rounds do."""
        return self.generate is not None and bool(
            self.generator.attention or self.generate.rounds
        )

    @property
    def reads_aligner(self) -> bool:
        """Whether the generator's stage depends on the aligner.

        On its pairs, or on its region vectors.
        """
        pairs = self.generate is not None and bool(self.generate.pairs)
        return pairs or self.generator.source == "embedding"

    def in_steps(self, examples: Sequence[Example]) -> Recipe:
        """This recipe with the epochs of its stages as steps, for these training photos."""
        update = {}
        for name in STEPPED_STAGES:
            stage = getattr(self, name)
            if stage is not None:
                photos = sum(map(stage.learns_from, examples))
                optimiser = stage.optimiser.in_steps(photos, stage.batch)
                update[name] = stage.model_copy(update={"optimiser": optimiser})
        return self.model_copy(update=update)

    @classmethod
    def read(cls, path: Path) -> Recipe:
        """The recipe of a TOML file.

        Raises:
            ValueError: not TOML, or unknown keys and values out of range: all of them in one
                message.
        """
        return read_recipe(path, cls)


def _clashes_of_generator(recipe: Recipe) -> Iterator[str]:
    """Choices about the generator and its stage that contradict others."""
    stage, generator, regions = (
        recipe.generate,
        recipe.generator,
        recipe.features.regions,
    )
    if stage is None:
        return
    if not (stage.captions or stage.pairs or stage.phrases or stage.names):
        yield (
            "generate.captions, generate.pairs, generate.phrases and generate.names = 0: "
            "nothing is left to learn"
        )
    if stage.attention_penalty and not generator.attention:
        yield "generate.attention_penalty and generator.attention = 0: the penalty is on attention"
    if stage.self_critical and not stage.captions:
        yield (
            "generate.self_critical and generate.captions = 0: it is about captions "
            "of whole photos"
        )
    if stage.parts > 1 and stage.self_critical:
        yield (
            "generate.parts and generate.self_critical: "
            "every caption of a photo is scored against the others"
        )
    if stage.rounds and not stage.pairs:
        yield "generate.rounds and generate.pairs = 0: an EM round is about pairs"
    if generator.source == "embedding" and not recipe.teaches_aligner:
        yield (
            "generator.source = embedding and no section [warm], [joint] or [align]: "
            "nothing teaches the embedding"
        )
    if generator.regions > regions:
        yield (
            f"generator.regions = {generator.regions} and features.regions = {regions}: "
            "attention can look at no more regions than there are"
        )
    if stage.pairs:
        yield from _clashes_of_pairs(recipe)


def _clashes_of_pairs(recipe: Recipe) -> Iterator[str]:
    """What contradicts pairs of regions and snippets that the aligner infers."""
    if not recipe.features.regions:
        yield (
            "generate.pairs and features.regions = 0: "
            "the whole photo is no part of itself to pair words with"
        )
    if recipe.aligner.sentence == "last":
        yield (
            "generate.pairs and aligner.sentence = last: "
            "pairs come from words, and only the whole sentence has a vector"
        )
    if not recipe.teaches_aligner:
        yield (
            "generate.pairs and no section [warm], [joint] or [align]: "
            "nothing teaches the aligner that infers them"
        )


def _clashes_of_aligner(recipe: Recipe) -> Iterator[str]:
    """Choices about the aligner and the stages that teach it that contradict others."""
    warm, joint, align = recipe.warm, recipe.joint, recipe.align
    if align and align.standardise and (warm or joint):
        yield (
            "align.standardise and a section [warm] or [joint]: "
            "the aligner has learnt features as they are"
        )
    loss = recipe.aligner.loss
    if loss != "hardest" and any(
        stage and stage.hardest_after for stage in (warm, joint, align)
    ):
        yield f"hardest_after and aligner.loss = {loss}: it is about hardest negatives"
    has_fragments = any(stage and stage.fragments.weight for stage in (warm, align))
    if recipe.aligner.normalise and has_fragments:
        yield (
            "align.fragments and aligner.normalise = true: "
            "a product of unit vectors never reaches the margin of 1"
        )
    if joint and joint.spare_alike and not joint.phrases:
        yield "joint.spare_alike and joint.phrases = 0: it is about phrases"
    if joint and recipe.extractor.crops is not None:
        yield (
            "extractor.crops and a section [joint]: it moves a backbone that the vectors of crops "
            "do not come from; train [proposer] and [align]"
        )


Plan = TypeVar("Plan", bound=BaseModel)


def bundled_recipes() -> dict[str, Path]:
    """The recipes in the package, by name."""
    return {path.stem: path for path in sorted(RECIPES.glob("*.toml"))}


def read_recipe(path: Path, record: type[Plan]) -> Plan:
    """A record of any kind of run from its TOML file, or from the bundled recipe of that name.

    Raises:
        ValueError: as `Recipe.read`.
    """
    bundled = bundled_recipes()
    if not path.is_file() and str(path) in bundled:
        path = bundled[str(path)]
    try:
        return record.model_validate(tomllib.loads(read_text(path)))
    except ValidationError as error:
        raise ValueError(f"{path}: {describe_errors(error, record)}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected TOML ({error})") from error
    except OSError as error:
        raise ValueError(
            f"{path}: expected a recipe, a TOML file or one of {', '.join(bundled)} "
            f"({error.strerror or error})"
        ) from error


def stages_of(recipe: Recipe) -> list[str]:
    """The sections that the recipe has, in the order in which they run."""
    return [name for name in STAGES if getattr(recipe, name) is not None]
