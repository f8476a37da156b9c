"""A recipe on its way: data, model and folder, and the run of its stages.

Stages run in this order, each where its section stands in the file: ``proposer`` teaches the
proposal head on the frozen backbone, ``warm`` the aligner on the frozen features of its regions,
``joint`` moves the backbone and all heads together, ``refine`` teaches the proposals of the backbone
as it then is, and on features that are frozen from there on ``align`` and ``generate`` finish the
heads. Every stage keeps its checkpoint under the output
folder, so the same command goes on where a run was killed; a finished stage is only loaded.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regiontalk.datasets.names import DETECTOR, add_names, read_results
from regiontalk.datasets.splits import read_split
from regiontalk.model.config import ModelConfig
from regiontalk.model.hub import resolve_model
from regiontalk.model.region_model import RegionModel, resolve_device
from regiontalk.model.weights import fingerprint
from regiontalk.records import Example
from regiontalk.regions.backbones import Backbone
from regiontalk.regions.crops import CropNetwork
from regiontalk.regions.sources import PrecomputedRegions
from regiontalk.runtime.export import export_runtime, why_not
from regiontalk.text.vocabulary import SPECIAL, Vocabulary, tokenize
from regiontalk.train.align import AlignConfig, AlignTerms
from regiontalk.train.changes import content_hash, data_manifest, restart_changed
from regiontalk.train.checkpoint import steps_done
from regiontalk.train.features import FrozenFeatures, freeze_features, settle_statistics
from regiontalk.train.fingerprint import (
    extractor_sizes,
    reads_aligner,
    stage_numbers,
    usual_numbers,
)
from regiontalk.train.generate import BoxWords, GenerateConfig, GenerateTerms
from regiontalk.train.grow import grow_model, grown_vocabulary, hold_old_rows
from regiontalk.train.joint import JointConfig, made_ready, taking_part, train_joint
from regiontalk.train.judges import align_judge, generate_judge
from regiontalk.train.keep import WEIGHT, Kept, Memory, with_kept
from regiontalk.train.loop import Log, recall, train
from regiontalk.train.pairs import box_phrases, inferred_pairs, unique_boxes
from regiontalk.train.photo_check import PhotoCheckConfig, train_photo_check
from regiontalk.train.photos import PictureStore
from regiontalk.train.precomputed import GivenFeatures
from regiontalk.train.recipe import Recipe, stages_of
from regiontalk.train.sentences import Sentences, sentence_numbers
from regiontalk.train.watch import Judge, Watch, restore_best
from regiontalk.train.word_vectors import begin_with_vectors, read_text

SMALL = 20_000  # words of all texts, below which rare words are kept rather than lost
ENOUGH_COVERED = 0.8  # of the words of the texts
PHOTO_STAGES = ("proposer", "joint", "refine")  # that look at pictures, not at frozen features
LOG_NAME = "log.jsonl"  # of the judgements on dev, all stages in one file


class Run:
    """A recipe on its way: data, model and folder."""

    def __init__(
        self,
        *,
        recipe: Recipe,
        data: Path | Sequence[Path],
        out: Path,
        log: Log,
        limit: int | None = None,
        device: str = "cpu",
        given: PrecomputedRegions | None = None,
        names: Sequence[Path] = (),
        sentences: Sequence[Path] = (),
        examples: Sequence[Example] | None = None,
        dev: Sequence[Example] = (),
        base: RegionModel | None = None,
        memory: Memory | None = None,
    ) -> None:
        """Read the training split.

        Args:
            recipe: what is trained.
            data: a data folder, or several, whose photos are put together.
            out: the run's folder.
            log: takes lines of progress.
            limit: keeps the first photos only.
            device: where torch computes.
            given: keeps the photos with features of its own.
            names: results of detectors in COCO's format for photos of the data.
            sentences: texts, one sentence a line, that belong to no photo.
            examples: the training photos, where they have been read already.
            dev: photos on which the frozen stages are judged; none judges nothing.
            base: a whole model that goes on learning, its vocabulary grown.
            memory: everyday photos of which the base must not forget what it knows.

        Raises:
            ValueError: there is no data, no photo of it has words (or features), or torch cannot
                compute on the device.
        """
        self.recipe, self.out, self.log, self.device = recipe, out, log, resolve_device(device)
        self.examples = list(examples) if examples is not None else self._read_folders(data)
        self.examples = self.examples[:limit]
        self.dev, self.base, self.memory = list(dev), base, memory
        for path in names:
            self.examples = self._name_boxes(path)
        self.unseen = list(chain.from_iterable(map(read_text, sentences)))
        if self.unseen:
            log(f"{len(self.unseen)} sentences without photos")
        self.given: GivenFeatures | None = None
        if given is not None:
            self.given = GivenFeatures(
                given, self.examples, recipe.features, out / "features_given", log
            )
            self.examples = self.given.examples
        if not any(example.captions or example.phrases for example in self.examples):
            folders = [data] if isinstance(data, Path) else data
            raise ValueError(
                f"{', '.join(map(str, folders))}: expected training photos with words, "
                f"got {len(self.examples)} photos"
                + (" without" if self.examples else "; the lines above say why")
            )
        self.boxes = any(
            len(example.boxes_xyxy) for example in self.examples
        )  # whether proposals can learn
        self.recipe = in_steps(self.recipe, self.examples)
        self._content = content_hash(self.examples, self.unseen)
        self._kept: Kept | None = None
        self._store: PictureStore | None = None
        self._vectors = (
            ""  # a hash of the word vectors that the model began with, where a file gave them
        )

    def build(
        self,
        start: str | None,
        weights: Path | None,
        published: bool = False,
        vectors: Path | None = None,
    ) -> RegionModel:
        """The model before its first stage.

        Args:
            start: a model whose extractor is taken over, instead of fresh weights; how boxes become
                vectors is still the recipe's choice.
            weights: a local state dict of the backbone, or of the crops' network where the recipe
                has one.
            published: download the published weights of both.
            vectors: a file of word vectors.

        Raises:
            ValueError: files or models that do not fit the recipe.
        """
        recipe = self.recipe
        torch.manual_seed(recipe.seed)
        if self.base is not None:
            return self._grow(self.base).to(self.device)
        taken = None if start is None else RegionModel.from_folder(resolve_model(start))
        sizes = extractor_sizes(recipe, start)
        taught = self.boxes and any(
            part and part.weight_proposal for part in (recipe.proposer, recipe.joint, recipe.refine)
        )
        if not taught and taken is None and self.given is None:
            why = (
                "no section [proposer] or [joint] teaches them"
                if self.boxes
                else "no photo of the data has a box"
            )
            self.log(f"boxes are random: {why}, and there is no --start")
        vocabulary = self._vocabulary()
        config = ModelConfig(
            name=recipe.name,
            extractor=sizes,
            aligner=recipe.aligner,
            generator=recipe.generator,
            decoding=recipe.decoding,
            precomputed=None if self.given is None else self.given.sizes,
            photo_check=recipe.photo_check is not None,
        )
        backbone = crops = None
        if self.given is None:
            fresh = published and taken is None
            backbone = Backbone(sizes.backbone, pretrained=fresh, same_padding=sizes.same_padding)
            crops = None if sizes.crops is None else CropNetwork(sizes.crops, pretrained=published)
            if weights is not None:
                (crops or backbone).load_weights(weights)
        model = RegionModel(config=config, vocabulary=vocabulary, backbone=backbone, crops=crops)
        if taken is not None:
            if taken.config.folded:
                model.folded()
            model.extractor.take_over(taken.extractor)
        parts = [
            ("aligner", model.aligner.words.embed, recipe.vectors.aligner),
            ("generator", model.generator.embed, recipe.vectors.generator),
        ]
        self._vectors = begin_with_vectors(parts, vocabulary, vectors, self.log)
        return model.to(self.device)

    def _read_folders(self, data: Path | Sequence[Path]) -> list[Example]:
        """The training photos of all folders; what was wrong with them is logged."""
        read_examples: list[Example] = []
        for folder in [data] if isinstance(data, Path) else data:
            examples, reports = read_split(folder, "train")
            read_examples += examples
            for report in reports:
                for line in report.lines():
                    self.log(line)
        return read_examples

    def _grow(self, base: RegionModel) -> RegionModel:
        """The whole start model under the recipe's name, with the words of the photos' texts."""
        texts = all_texts(self.examples)
        vocabulary = grown_vocabulary(base.vocabulary, texts, self.recipe.least_count)
        new_words = vocabulary.words[len(base.vocabulary) :]
        some = ", ".join(new_words[:8]) + (", ..." if len(new_words) > 8 else "")
        self.log(f"vocabulary: {len(base.vocabulary)} words and {len(new_words)} new ones: {some}")
        model = grow_model(base, vocabulary, texts)
        update = {"name": self.recipe.name, "decoding": self.recipe.decoding}
        model.config = model.config.model_copy(update=update)
        hold_old_rows(model, len(base.vocabulary))
        return model.eval()

    def _name_boxes(self, path: Path) -> list[Example]:
        """The examples with the names that a detector's results give them."""
        results = read_results(path, min_score=self.recipe.sources.min_score)
        named = add_names(self.examples, results)
        changed = sum(
            len(new.phrases) > len(old.phrases)
            for new, old in zip(named, self.examples, strict=True)
        )
        self.log(f"{path.name}: names on boxes of {changed} photos")
        if not changed:
            raise ValueError(
                f"{path}: expected results for photos of the data, got none whose file_name or image_id is theirs"
            )
        return named

    def _vocabulary(self) -> Vocabulary:
        """The words that the photos' texts hold often enough, every class name, and frequent words of other texts."""
        shown: Counter[str] = Counter()
        names: Counter[str] = Counter()
        for example in self.examples:
            for caption in example.captions:
                shown.update(tokenize(caption))
            for phrase in example.phrases:
                if phrase.source == DETECTOR:
                    names.update(tokenize(phrase.text))
                elif phrase.caption is None:  # else its words stand in the caption
                    shown.update(tokenize(phrase.text))
        unseen = Counter(word for sentence in self.unseen for word in tokenize(sentence))
        least, least_unseen = self._least_count(shown), self.recipe.sources.unseen_min_count
        counts = shown + names + unseen
        known = {word for word, count in (shown + names).items() if count >= least}
        known |= {word for word, count in unseen.items() if count >= least_unseen}
        known -= set(SPECIAL)
        kept = sorted(known, key=lambda word: (-counts[word], word))
        total = sum(shown.values())
        covered = sum(count for word, count in shown.items() if word in known)
        self.log(
            f"vocabulary: {len(kept)} words, which cover {covered / max(1, total):.1%} of the photos' texts"
        )
        if not kept:
            raise ValueError(
                f"captions: expected words of letters or digits, got none in {len(self.examples)} photos"
            )
        return Vocabulary(kept, [counts[word] for word in kept])

    def _least_count(self, shown: Counter[str]) -> int:
        """How often a word must be seen: as the recipe has it, or less where a small set would lose its words."""
        total, least = sum(shown.values()), self.recipe.least_count

        def covered(count: int) -> float:
            return sum(seen for seen in shown.values() if seen >= count) / max(1, total)

        if least == 1 or covered(least) >= ENOUGH_COVERED:
            return least
        left = sum(seen >= least for seen in shown.values())
        told = (
            f"least_count = {least} leaves {left} words, {covered(least):.0%} of the photos' texts"
        )
        if total > SMALL:
            self.log(f"{told}; set least_count = 1 to keep the others")
            return least
        lower = next(
            count
            for count in range(least - 1, 0, -1)
            if count == 1 or covered(count) >= ENOUGH_COVERED
        )
        self.log(f"{told}; the data are few, so it is lowered to {lower}")
        return lower

    def stage(self, name: str, model: RegionModel) -> None:
        """Run one stage of the recipe on the model, or go on with it.

        Raises:
            ValueError: the recipe has no such section.
        """
        config = getattr(self.recipe, name)
        if config is None:
            raise ValueError(f"recipe {self.recipe.name!r}: expected a section [{name}], got none")
        if name == "photo_check":
            self._fit_photo_check(model, config)
            return
        if name in ("proposer", "refine") and config.only_places and not self.boxes:
            self.log(
                f"stage {name}: left out, no photo of the data has a box; --start mini has proposals that learnt"
            )
            return
        if name in ("warm", "align") and not any(example.captions for example in self.examples):
            self.log(
                f"stage {name}: left out, no photo has a sentence, only its boxes have phrases"
            )
            return
        self.log(f"stage {name}: {config.optimiser.steps} steps")
        shared = self._begin(name, model)
        self._restart_changed(shared)
        if name == "generate":
            self._generate(model, config, shared)
        elif steps_done(shared["folder"]) >= config.optimiser.last:
            self._recall(name, model, shared)
        elif name in PHOTO_STAGES:
            store, changes = self.store(model), self.recipe.augment
            train_joint(
                model, self.examples, store, config, changes=changes, log=self.log, **shared
            )
        else:
            terms = self.align_terms(model, config, self.examples, self.features(model, name))
            watch = None
            if self.dev and name == "align":
                dev_terms = self.align_terms(model, config, self.dev, self.dev_features(model))
                watch = self._watch(name, align_judge(dev_terms), len(terms.usable), config.batch)
            aligner = model.aligner.train()
            steps = self._holding(terms, lambda kept, step: kept.align_loss(aligner, step))
            train(aligner, steps, config.optimiser, log=self.log, watch=watch, **shared)
            terms.finish()

    def _holding(
        self,
        terms: Callable[[int], Mapping[str, Tensor]],
        loss: Callable[[Kept, int], Tensor],
    ) -> Callable[[int], Mapping[str, Tensor]]:
        """Terms of a step, with what is known held where there is a memory of it."""
        if self.memory is None or self.base is None:
            return terms
        if self._kept is None:
            self._kept = Kept(self.memory, self.base)
        kept = self._kept
        return with_kept(terms, lambda step: loss(kept, step), WEIGHT)

    def align_terms(
        self,
        model: RegionModel,
        config: AlignConfig,
        examples: Sequence[Example],
        features: FrozenFeatures,
    ) -> AlignTerms:
        """What the aligner learns of photos with these features."""
        sentences = sentence_numbers(examples, model.vocabulary)
        if config.phrases:
            sentences = [
                own or [model.vocabulary.encode(text) for text in dict.fromkeys(phrase_texts(one))]
                for own, one in zip(sentences, examples, strict=True)
            ]
        return AlignTerms(model.aligner, features, sentences, config)

    def generate_terms(
        self,
        model: RegionModel,
        config: GenerateConfig,
        examples: Sequence[Example],
        features: FrozenFeatures,
    ) -> GenerateTerms:
        """What the generator learns of photos with these features, without inferred pairs."""
        phrases, names = self._box_words(model, examples)
        sentences = sentence_numbers(examples, model.vocabulary)
        return GenerateTerms(model, features, sentences, [], phrases, config, names=names)

    def _watch(self, name: str, judge: Judge, usable: int, batch: int) -> Watch:
        """What judges a stage on dev."""
        return Watch(
            stage=name,
            judge=judge,
            figure="score",
            epoch=usable // max(1, min(batch, usable)),
            folder=self.out / name,
            path=self.out / LOG_NAME,
            log=self.log,
        )

    def dev_features(self, model: RegionModel) -> FrozenFeatures:
        """The frozen features of the dev photos."""
        return freeze_features(
            model.extractor.eval(),
            self.dev,
            lambda: PictureStore(self.dev, model.preprocessing),
            self.out / "features_dev",
            regions=self.recipe.features.regions,
            maps=self._reads_maps(),
            taught=self._taught_boxes(model, self.dev),
        )

    def _fit_photo_check(self, model: RegionModel, config: PhotoCheckConfig) -> None:
        """Fit the check on the finished features; it takes a minute and has no checkpoint."""
        features = self.features(model.eval(), "photo_check")
        step = max(1, features.photos // config.photos)
        vectors = features.read_vectors(range(0, features.photos, step))[:, 0]
        train_photo_check(model, vectors, config, self.log)

    def recall(self, name: str, model: RegionModel) -> None:
        """Only load what a stage before the wanted ones has left, as far as it has run."""
        steps = self._recall(name, model, self._begin(name, model))
        last = getattr(self.recipe, name).optimiser.last
        self.log(
            f"stage {name}: {f'loaded, {steps} of {last} steps' if steps else 'has not run; going on without it'}"
        )

    def _begin(self, name: str, model: RegionModel) -> dict[str, Any]:
        """What makes a stage this run's: its folder, its settings and what is usual for them."""
        if name not in PHOTO_STAGES:
            settle_statistics(
                model.extractor,
                self.examples,
                model.preprocessing,
                self.out / "statistics",
                self.log,
            )
        usual = json.dumps(usual_numbers(self.recipe, name))
        return {"folder": self.out / name, "settings": self.settings(name, model), "usual": usual}

    def _restart_changed(self, shared: Mapping[str, Any]) -> None:
        """Start a stage again where the data that it began with have changed."""
        folder, settings, usual = shared["folder"], shared["settings"], shared["usual"]
        restart_changed(folder, settings, usual, data_manifest(self.examples), self.log)

    def _recall(self, name: str, model: RegionModel, shared: dict[str, Any]) -> int:
        """Load the checkpoint of a stage, without the pictures and features that it learnt on; its steps."""
        config = getattr(self.recipe, name)
        if not steps_done(shared["folder"]):
            return 0
        if name in PHOTO_STAGES:
            return recall(made_ready(model, config), config.optimiser, **shared)
        if name == "generate":
            if steps_done(shared["folder"]) < config.optimiser.last:
                return recall(model.generator, config.optimiser, **shared)
            self._generate(model, config, shared)  # finished rounds are only loaded
            return int(config.optimiser.last)
        steps = recall(model.aligner, config.optimiser, **shared)
        restore_best(shared["folder"], model.aligner)
        if config.standardise:  # what the features were brought to is only known from them
            AlignTerms(model.aligner, self.features(model, name), [], config).finish()
        return steps

    def _generate(self, model: RegionModel, config: GenerateConfig, shared: dict[str, Any]) -> None:
        """The generator's stage and its EM rounds; a finished one is only loaded."""
        sentences = sentence_numbers(self.examples, model.vocabulary)
        features = cache(
            lambda: self.features(model, "generate")
        )  # not built before somebody reads them
        for number in range(1 + config.rounds):
            if number:  # an EM round: its checkpoint belongs to what the round before has learnt
                told = {"round": number, "before": fingerprint(model.generator)}
                settings = json.dumps(json.loads(shared["settings"]) | told)
                shared = shared | {
                    "settings": settings,
                    "folder": self.out / f"generate_{number + 1}",
                }
                self.log(f"stage generate: EM round {number} of {config.rounds}")
                self._restart_changed(shared)
            if steps_done(shared["folder"]) >= config.optimiser.last:
                recall(model.generator, config.optimiser, **shared)
                restore_best(shared["folder"], model.generator)
                continue
            weight = config.responsibility if number else 0.0
            pairs = self.pairs(model.eval(), features(), sentences, weight) if config.pairs else []
            phrases, names = self._box_words(model, self.examples)
            unseen = (
                [model.vocabulary.encode(sentence) for sentence in self.unseen]
                if config.unseen
                else []
            )
            terms = GenerateTerms(
                model.eval(),
                features(),
                sentences,
                pairs,
                phrases,
                config,
                names=names,
                unseen=unseen,
            )
            watch = None
            if self.dev and not number:
                dev_terms = self.generate_terms(model, config, self.dev, self.dev_features(model))
                judge = generate_judge(dev_terms, [example.captions for example in self.dev])
                watch = self._watch("generate", judge, len(terms.usable), config.batch)
            generator = model.generator.train()
            steps = self._holding(terms, lambda kept, step: kept.generate_loss(model, step))
            train(
                generator,
                steps,
                config.optimiser,
                log=self.log,
                watch=watch,
                **shared,
            )

    def _box_words(
        self, model: RegionModel, examples: Sequence[Example]
    ) -> tuple[list[list[BoxWords]], list[list[BoxWords]]]:
        """People's phrases and a detector's names on boxes, where the generator learns them."""
        stage = self.recipe.generate
        phrases = stage is not None and stage.phrases
        names = stage is not None and stage.names
        return (
            box_phrases(examples, model, "annotator") if phrases else [],
            box_phrases(examples, model, DETECTOR) if names else [],
        )

    def settings(self, name: str, model: RegionModel) -> str:
        """One text for all that shapes a stage beside its optimiser, so that no other run's checkpoint is gone on with.

        Args:
            name: of the stage.
            model: as the stages before have left it.
        """
        parts, stage = stage_numbers(self.recipe, name), getattr(self.recipe, name)
        parts["vectors"]["file"] = self._vectors
        parts["photos"] = self._content
        if isinstance(stage, JointConfig):
            learns = taking_part(model, stage)
        else:
            learns = model.generator if name == "generate" else model.aligner
        # the first recurrent weights are orthogonal, and their last digits depend on the number of
        # threads
        parts["begin"] = fingerprint(learns, without="recur.")
        if not isinstance(
            stage, JointConfig
        ):  # what they read was made by weights that other stages trained
            given = None if self.given is None else self.given.freeze(model.preprocessing)
            parts["features"]["extractor"] = (
                fingerprint(model.extractor) if given is None else given.fingerprint()
            )
        if self.memory is not None:
            parts["memory"] = self.memory.fingerprint()
        if name == "generate" and reads_aligner(self.recipe):
            parts["pairs"]["aligner"] = fingerprint(model.aligner)
        return json.dumps(parts)

    def store(self, model: RegionModel) -> PictureStore:
        """The pictures, decoded when first needed."""
        if self._store is None:
            self.log(f"decoding {len(self.examples)} photos")
            self._store = PictureStore(self.examples, model.preprocessing)
            for line in self._store.broken:
                self.log(f"left grey: {line}")
        return self._store

    def features(self, model: RegionModel, stage: str) -> FrozenFeatures:
        """The frozen features of the training split under the model's extractor; one file for the last two stages."""
        if self.given is not None:
            return self.given.freeze(model.preprocessing)
        settings = self.recipe.features
        return freeze_features(
            model.extractor.eval(),
            self.examples,
            lambda: self.store(model),
            self.out / ("features_warm" if stage == "warm" else "features"),
            regions=settings.regions,
            views=settings.views,
            maps=stage != "warm" and self._reads_maps(),
            taught=self._taught_boxes(model, self.examples) if stage != "warm" else (),
            changes=self.recipe.augment,
            log=self.log,
        )

    def _reads_maps(self) -> bool:
        """Whether the generator's stage needs whole region maps: attention and EM rounds do."""
        stage = self.recipe.generate
        return stage is not None and bool(self.recipe.generator.attention or stage.rounds)

    def _taught_boxes(
        self, model: RegionModel, examples: Sequence[Example]
    ) -> list[NDArray[np.float32]]:
        """The boxes (G, 4) in network pixels of each photo whose words the generator learns from region vectors."""
        stage = self.recipe.generate
        if stage is None or self.recipe.generator.attention or not (stage.phrases or stage.names):
            return []
        phrases, names = self._box_words(model, examples)
        nothing: list[list[BoxWords]] = [[] for _ in examples]
        return unique_boxes(
            [
                [*first, *second]
                for first, second in zip(phrases or nothing, names or nothing, strict=True)
            ]
        )

    def pairs(
        self,
        model: RegionModel,
        features: FrozenFeatures,
        sentences: Sequence[Sentences],
        weight: float,
    ) -> list[list[BoxWords]]:
        """The inferred pairs of every row of the features; ``weight`` is the generator's say."""
        least, trim = self.recipe.features.least_words, self.recipe.features.trim
        found = inferred_pairs(
            model, features, sentences, least_words=least, trim=trim, weight=weight
        )
        self.log(f"{sum(map(len, found))} inferred pairs in {len(found)} views of photos")
        return found


def phrase_texts(example: Example) -> list[str]:
    """The words of the phrases that have a box."""
    return [phrase.text for phrase in example.phrases if phrase.boxes]


def all_texts(examples: Sequence[Example]) -> list[str]:
    """Every sentence, and every phrase that stands in none."""
    return [
        text
        for example in examples
        for text in (
            *example.captions,
            *(phrase.text for phrase in example.phrases if phrase.caption is None),
        )
    ]


def in_steps(recipe: Recipe, examples: Sequence[Example]) -> Recipe:
    """The recipe with the epochs of its stages as steps, for these photos."""
    spoken = sum(bool(example.captions) for example in examples)
    worded = sum(bool(example.captions or phrase_texts(example)) for example in examples)
    taught = sum(bool(example.captions or len(example.boxes_xyxy)) for example in examples)
    update = {}
    for name in stages_of(recipe):
        stage = getattr(recipe, name)
        if isinstance(stage, PhotoCheckConfig):
            continue
        reads_phrases = isinstance(stage, GenerateConfig) or getattr(stage, "phrases", False)
        photos = taught if isinstance(stage, JointConfig) else worded if reads_phrases else spoken
        optimiser = stage.optimiser.in_steps(photos, stage.batch)
        update[name] = stage.model_copy(update={"optimiser": optimiser})
    return recipe.model_copy(update=update)


def run_recipe(
    run: Run,
    stages: Sequence[str],
    *,
    start: str | None,
    weights: Path | None,
    published: bool,
    card: str,
    vectors: Path | None = None,
) -> Path:
    """Run the stages on what the recipe's earlier ones have left, and save the model for use; returns its folder."""
    model = run.build(start, weights, published, vectors)
    every = stages_of(run.recipe)
    first = min((every.index(name) for name in stages if name in every), default=0)
    for name in (
        every[:first] if run.given is None else ()
    ):  # who looks at no photo learns nothing from them before
        run.recall(name, model)
    for name in stages:
        run.stage(name, model)
    folder = run.out / "model"
    save_for_use(folder, model, card, run.log)
    return folder


def save_for_use(folder: Path, model: RegionModel, card: str, log: Log) -> None:
    """Write a trained model's folder, with graphs for use without torch where it and this installation allow them.

    Args:
        folder: of the model.
        model: its batch norms are folded.
        card: the text of its ``README.md``.
        log: takes a line where there are no graphs.
    """
    model.folded().save_pretrained(folder, card)
    reason = why_not(model)
    if reason is None:
        try:
            export_runtime(folder)
        except ImportError as error:
            reason = str(error)
    if reason is not None:
        log(f"no graphs for use without torch: {reason}")
