"""The kinds of stages: what each reads, which part of the model learns in it, and by which terms.

A run asks every stage the questions of `Stage` and nothing else. `PhotoStage` moves the extractor
on decoded photos (``proposer``, ``joint``, ``refine``); `AlignStage` (``warm``, ``align``) and
`GenerateStage` read frozen features; `PhotoCheckStage` is fitted at once on what all have left.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import nn

from regiontalk.model.config import DecodingConfig
from regiontalk.model.region_model import RegionModel
from regiontalk.model.weights import fingerprint
from regiontalk.train.align import AlignConfig, AlignTerms, absorb_standard
from regiontalk.train.features import FrozenFeatures, settle_statistics
from regiontalk.train.generate import GenerateConfig, GenerateTerms
from regiontalk.train.inputs import Inputs
from regiontalk.train.joint import JointConfig, JointTerms, made_ready, taking_part
from regiontalk.train.judges import align_judge, generate_judge
from regiontalk.train.loop import MoreTerms, Terms, no_more
from regiontalk.train.pairs import inferred_pairs
from regiontalk.train.photo_check import PhotoCheckConfig, train_photo_check
from regiontalk.train.region_texts import BoxText
from regiontalk.train.sentences import sentence_numbers
from regiontalk.train.watch import Judge, Watch

LOG_NAME = "log.jsonl"  # of the judgements on dev, all stages in one file
SHAPING = (
    "extractor",
    "aligner",
    "augment",
    "vectors",
    "sources",
)  # sections that shape all stages


class Lesson(NamedTuple):
    """What a stage learns.

    Attributes:
        terms: the loss terms of a step.
        watch: what judges them on dev, if anything.
        rest: the terms of the other parts of a step, where its batch is computed in parts.
    """

    terms: Terms
    watch: Watch | None = None
    rest: MoreTerms = no_more


class Stage(ABC):
    """One stage of a run.

    Attributes:
        name: its section in the recipe.
        rounds: trainings by steps, each with a checkpoint of its own; 0 = `finish` does it all.
    """

    rounds = 1

    def __init__(self, name: str, inputs: Inputs) -> None:
        """Take what the stage reads; nothing is computed yet."""
        self.name = name
        self.inputs = inputs
        self.config: Any = getattr(inputs.recipe, name)

    def why_left_out(self) -> str | None:
        """The reason for which these data teach the stage nothing; None where they do."""
        return None

    def begin(self, model: RegionModel) -> None:  # noqa: B027  most need nothing
        """Bring the model into the form in which the stage starts.

        Done again when it is only loaded.
        """

    @abstractmethod
    def learns(self, model: RegionModel) -> nn.Module:
        """The part of the model whose weights a checkpoint of the stage holds."""

    def made_ready(self, model: RegionModel) -> nn.Module:
        """`learns`, in training mode."""
        return self.learns(model).train()

    @abstractmethod
    def lesson(self, model: RegionModel, number: int) -> Lesson:
        """What is learnt in one of the rounds.

        The inputs are computed where they are not there yet.
        """

    def finish(self, model: RegionModel) -> None:  # noqa: B027  most need nothing
        """What is left to do when all rounds are trained or loaded."""

    @abstractmethod
    def sections(self) -> Sequence[str]:
        """The sections of the recipe that shape the stage beside its own and `SHAPING`."""

    def fingerprint(self, model: RegionModel) -> dict[str, Any]:
        """All that shapes the stage beside its optimiser.

        So no other run's checkpoint is gone on with.

        Args:
            model: as the stages before have left it.
        """
        values = self.section_values(defaults=False)
        values["vectors"]["file"] = self.inputs.vectors
        values["photos"] = self.inputs.content
        values["seed"] = self.inputs.recipe.seed
        # the first recurrent weights are orthogonal, and their last digits depend on the number of
        # threads
        values["begin"] = fingerprint(self.learns(model), without="recur.")
        if self.inputs.memory is not None:
            values["memory"] = self.inputs.memory.fingerprint()
        return values

    def defaults(self) -> dict[str, Any]:
        """The defaults of `fingerprint`.

        What a checkpoint of an older version had where it does not say.
        """
        return self.section_values(defaults=True)

    def section_values(self, *, defaults: bool) -> dict[str, Any]:
        """What the recipe says in the sections that shape the stage.

        Or what is usual where it does not say.
        """
        values: dict[str, dict[str, Any]] = {}
        for name in (self.name, *SHAPING, *self.sections()):
            section = getattr(self.inputs.recipe, name)
            values[name] = (type(section)() if defaults else section).model_dump(
                by_alias=True
            )
        values["vectors"]["file"] = ""
        return values


class PhotoStage(Stage):
    """A stage that looks at photos: the backbone, where it moves, and the heads on its maps."""

    config: JointConfig

    def why_left_out(self) -> str | None:
        """Proposals need boxes; ``joint`` learns from sentences as well."""
        if (
            self.name != "joint"
            and self.config.only_places
            and not self.inputs.has_boxes
        ):
            return (
                "no photo of the data has a box; --start mini has proposals that learnt"
            )
        return None

    def learns(self, model: RegionModel) -> nn.Module:
        """The model, without the generator where the stage has no captions."""
        return taking_part(model, self.config)

    def made_ready(self, model: RegionModel) -> nn.Module:
        """The same, with what of it stands still."""
        return made_ready(model, self.config)

    def lesson(self, model: RegionModel, number: int) -> Lesson:
        """Proposals, sentences, phrases and captions of augmented photos."""
        inputs = self.inputs
        store, changes = inputs.store(model), inputs.recipe.augment
        terms = JointTerms(
            model,
            inputs.examples,
            store,
            self.config,
            changes,
            processes=inputs.processes,
        )
        return Lesson(terms)

    def sections(self) -> Sequence[str]:
        """The generator's, where it learns."""
        return ("generator",) if self.config.speaks else ()


class FrozenStage(Stage):
    """A stage that reads features frozen from the extractor as the stages before have left it."""

    def begin(self, model: RegionModel) -> None:
        """Settle the statistics of a map that no stage has trained."""
        with self.inputs.processes.main_first():
            settle_statistics(
                model.extractor,
                self.inputs.examples,
                model.preprocessing,
                self.inputs.out / "statistics",
                self.inputs.log,
            )

    def sections(self) -> Sequence[str]:
        """How the features are made."""
        return ("features",)

    def fingerprint(self, model: RegionModel) -> dict[str, Any]:
        """The same, with the extractor or the features that somebody else computed."""
        values, precomputed = super().fingerprint(model), self.inputs.given
        values["features"]["extractor"] = (
            fingerprint(model.extractor)
            if precomputed is None
            else precomputed.freeze(model.preprocessing).fingerprint()
        )
        return values

    def watch(self, judge: Judge, photos: int) -> Watch:
        """What judges the stage, once an epoch of so many photos."""
        return Watch(
            stage=self.name,
            judge=judge,
            figure="score",
            epoch=photos // max(1, min(self.config.batch, photos)),
            folder=self.inputs.out / self.name,
            path=self.inputs.out / LOG_NAME,
            log=self.inputs.log,
        )


class AlignStage(FrozenStage):
    """The aligner on frozen features."""

    config: AlignConfig

    def why_left_out(self) -> str | None:
        """An aligner that has read phrases alone has learnt nothing of sentences."""
        if any(example.captions for example in self.inputs.examples):
            return None
        return "no photo has a sentence, only its boxes have phrases"

    def learns(self, model: RegionModel) -> nn.Module:
        """The aligner."""
        return model.aligner

    def lesson(self, model: RegionModel, number: int) -> Lesson:
        """Sentences and spans of them against regions; the aligner's last stage is judged."""
        inputs, config = self.inputs, self.config
        features = inputs.features(model, self.name)
        terms = AlignTerms.of_examples(
            model, config, inputs.examples, features, processes=inputs.processes
        )
        watch = None
        if inputs.dev and self.name == "align":
            dev_features = inputs.dev_features(model)
            dev_terms = AlignTerms.of_examples(model, config, inputs.dev, dev_features)
            watch = self.watch(align_judge(dev_terms), len(terms.usable))
        held = inputs.with_memory(
            terms, lambda kept, step: kept.align_loss(model.aligner, step)
        )
        return Lesson(held, watch)

    def finish(self, model: RegionModel) -> None:
        """Let an aligner that learnt standardised features read them as they are."""
        if self.config.standardise:
            absorb_standard(model.aligner, self.inputs.features(model, self.name))


class GenerateStage(FrozenStage):
    """The generator on frozen features, and its EM rounds."""

    config: GenerateConfig

    def __init__(self, name: str, inputs: Inputs) -> None:
        """Take what the stage reads; each EM round is one more training."""
        super().__init__(name, inputs)
        self.rounds = 1 + self.config.rounds
        self._features: FrozenFeatures | None = None

    def learns(self, model: RegionModel) -> nn.Module:
        """The generator."""
        return model.generator

    def lesson(self, model: RegionModel, number: int) -> Lesson:
        """Captions, pairs that the aligner infers, and phrases.

        In EM rounds the pairs have the generator's say. The first round is judged.
        """
        inputs, config = self.inputs, self.config
        model.eval()
        if self._features is None:  # they stay the same in all rounds
            self._features = inputs.features(model, self.name)
        features = self._features
        weight = config.responsibility if number else 0.0
        terms = GenerateTerms.of_examples(
            model,
            config,
            inputs.examples,
            features,
            pairs=self.pairs(model, features, weight) if config.pairs else (),
            unseen=inputs.unseen if config.unseen else (),
            processes=inputs.processes,
        )
        watch = None
        if inputs.dev and not number:
            dev_features = inputs.dev_features(model)
            dev_terms = GenerateTerms.of_examples(
                model, config, inputs.dev, dev_features
            )
            judge = generate_judge(
                dev_terms, [example.captions for example in inputs.dev]
            )
            watch = self.watch(judge, len(terms.usable))
        held = inputs.with_memory(
            terms, lambda kept, step: kept.generate_loss(model, step)
        )
        return Lesson(held, watch, terms.rest)

    def pairs(
        self, model: RegionModel, features: FrozenFeatures, weight: float
    ) -> list[list[BoxText]]:
        """The inferred pairs of every row of the features.

        Args:
            model: in evaluation mode.
            features: of the training photos.
            weight: of the generator's say.
        """
        sentences = sentence_numbers(self.inputs.examples, model.vocabulary)
        settings = self.inputs.recipe.features
        pairs_by_row = inferred_pairs(
            model,
            features,
            sentences,
            min_words=settings.min_words,
            trim=settings.trim,
            weight=weight,
        )
        count = sum(map(len, pairs_by_row))
        self.inputs.log(
            f"{count} inferred pairs in {len(pairs_by_row)} views of photos"
        )
        return pairs_by_row

    def sections(self) -> Sequence[str]:
        """How the features are made, and the generator's."""
        return ("features", "generator")

    def fingerprint(self, model: RegionModel) -> dict[str, Any]:
        """The same, with the aligner where the stage depends on it."""
        values = super().fingerprint(model)
        if "pairs" in values:
            values["pairs"]["aligner"] = fingerprint(model.aligner)
        return values

    def section_values(self, *, defaults: bool) -> dict[str, Any]:
        """The same, with how pairs are decoded where the stage depends on the aligner."""
        values, recipe = super().section_values(defaults=defaults), self.inputs.recipe
        if recipe.reads_aligner:
            decoding = DecodingConfig() if defaults else recipe.decoding
            values["pairs"] = {
                "beta": decoding.beta,
                "prior": decoding.region_prior,
                "phrases": decoding.phrases,
            }
        return values


class PhotoCheckStage(Stage):
    """The check that tells photos from other pictures.

    It is fitted in a minute and has no checkpoint.
    """

    rounds = 0
    config: PhotoCheckConfig

    def learns(self, model: RegionModel) -> nn.Module:
        """The check."""
        if model.photo_check is None:
            raise ValueError(
                "photo check: expected a model that has one; its config has none"
            )
        return model.photo_check

    def lesson(self, model: RegionModel, number: int) -> Lesson:
        """None: nothing is learnt by steps."""
        return Lesson(lambda step: {})

    def sections(self) -> Sequence[str]:
        """None more."""
        return ()

    def finish(self, model: RegionModel) -> None:
        """Fit it on whole-photo vectors."""
        features = self.inputs.features(model.eval(), self.name)
        step = max(1, features.photos // self.config.photos)
        vectors = features.read_vectors(range(0, features.photos, step))[:, 0]
        train_photo_check(model, vectors, self.config, self.inputs.log)


KINDS: dict[str, type[Stage]] = {
    "proposer": PhotoStage,
    "warm": AlignStage,
    "joint": PhotoStage,
    "refine": PhotoStage,
    "align": AlignStage,
    "generate": GenerateStage,
    "photo_check": PhotoCheckStage,
}


def make_stage(name: str, inputs: Inputs) -> Stage:
    """The stage of a section.

    Raises:
        ValueError: the recipe has no such section.
    """
    if getattr(inputs.recipe, name, None) is None:
        raise ValueError(
            f"recipe {inputs.recipe.name!r}: expected a section [{name}], got none"
        )
    return KINDS[name](name, inputs)
