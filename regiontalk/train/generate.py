"""The generator stage on frozen features.

Photos with sentences, inferred pairs, annotated phrases, or a mixture.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator
from torch import Tensor

from regiontalk.deprecation import renamed_keys
from regiontalk.generate.attention import doubly_stochastic
from regiontalk.generate.model import caption_loss
from regiontalk.model.region_model import RegionModel
from regiontalk.records import Example
from regiontalk.regions.extractor import Maps
from regiontalk.text.vocabulary import PAD
from regiontalk.train.features import FrozenFeatures
from regiontalk.train.loop import OptimiserConfig
from regiontalk.train.processes import ALONE, Item, Processes
from regiontalk.train.region_texts import BoxText, in_views, region_texts
from regiontalk.train.self_critical import (
    CiderReward,
    self_critical_loss,
    with_own_words,
)
from regiontalk.train.sentences import (
    Sentences,
    batch_rows,
    count_targets,
    sentence_numbers,
    teacher_words,
)
from regiontalk.train.vocabulary import phrase_texts

# conditions (R, C), annotation vectors (R, P, F) or None, and the row of each text's condition
Condition = tuple[Tensor, Tensor | None, Tensor]
Conditions = Callable[[Sequence[Sequence[BoxText]]], Condition]


OLD_GENERATE_KEYS = {
    "penalty": "attention_penalty",
    "sampling": "scheduled_sampling",
    "reward": "self_critical",
}


class GenerateConfig(BaseModel):
    """What the generator stage trains on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    optimiser: OptimiserConfig = OptimiserConfig()
    batch: int = Field(32, ge=1, description="photos a step")
    parts: int = Field(
        1,
        ge=1,
        description="a batch that does not fit is computed in so many parts, with the "
        "same gradient",
    )
    captions: int = Field(
        2, ge=0, description="whole-photo sentences a photo in a step"
    )
    pairs: int = Field(2, ge=0, description="(region, snippet) pairs a photo in a step")
    phrases: int = Field(
        0, ge=0, description="(true box, annotated phrase) pairs a photo in a step"
    )
    names: int = Field(0, ge=0, description="(box, class name) pairs a photo in a step")
    unseen: int = Field(
        0,
        ge=0,
        description="sentences without a photo in a step; the condition is blank",
    )
    unseen_until: float = Field(
        1.0,
        ge=0,
        le=1,
        description="share of the steps that read them: speak first, then see",
    )
    weight_captions: float = Field(1.0, ge=0, description="of the photos' sentences")
    weight_pairs: float = Field(1.0, ge=0, description="of the inferred pairs")
    weight_phrases: float = Field(1.0, ge=0, description="of the annotated phrases")
    weight_names: float = Field(1.0, ge=0, description="of the class names")
    weight_unseen: float = Field(
        1.0, ge=0, description="of the sentences without a photo"
    )
    smoothing: float = Field(0.1, ge=0, lt=1, description="label smoothing")
    # serialization aliases: fingerprints of checkpoints never change
    attention_penalty: float = Field(
        0.0,
        ge=0,
        description="lambda of the doubly stochastic penalty of [2]",
        serialization_alias="penalty",
    )
    scheduled_sampling: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the words read that are the model's own, reached in a straight rise",
        serialization_alias="sampling",
    )
    self_critical: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the steps, the last ones, whose captions learn from their CIDEr",
        serialization_alias="reward",
    )
    rounds: int = Field(
        0,
        ge=0,
        description="EM: how often pairs are inferred anew with the generator, and learnt",
    )
    responsibility: float = Field(
        0.1, ge=0, description="weight of the generator where pairs are inferred anew"
    )

    @model_validator(mode="before")
    @classmethod
    def _take_old_keys(cls, values: Any, info: ValidationInfo) -> Any:
        """Read the keys of the version before."""
        return renamed_keys(values, OLD_GENERATE_KEYS, info.context)

    @property
    def reads_boxes(self) -> bool:
        """Whether words on boxes that people or detectors drew are learnt."""
        return bool(self.phrases or self.names)

    def learns_from(self, example: Example) -> bool:
        """Whether a photo has something to learn from."""
        return bool(example.captions or phrase_texts(example))


class Batch(NamedTuple):
    """What one step learns, on all processes.

    Attributes:
        photos: B numbers of photos.
        rows: B rows of the features, a view of each.
        texts: kind -> for each photo its boxes and words.
        unseen: sentences without a photo.
    """

    photos: Sequence[int]
    rows: Sequence[int]
    texts: Mapping[str, Sequence[Sequence[BoxText]]]
    unseen: Sequence[list[int]]


class GenerateTerms:
    """The loss terms of a step, as `loop.train` wants them."""

    def __init__(
        self,
        model: RegionModel,
        features: FrozenFeatures,
        sentences: Sequence[Sentences],
        pairs: Sequence[Sequence[BoxText]],
        phrases: Sequence[Sequence[BoxText]],
        config: GenerateConfig,
        *,
        names: Sequence[Sequence[BoxText]] = (),
        unseen: Sequence[list[int]] = (),
        processes: Processes = ALONE,
    ) -> None:
        """Hold the training texts.

        Args:
            model: only its generator is trained.
            features: with region maps.
            sentences: of each photo.
            pairs: of each *row* of the features: every view has its own boxes.
            phrases: of each row, on people's boxes.
            config: the mixture.
            names: of each row, class names on boxes.
            unseen: sentences without photos, as word numbers.
            processes: those that share a batch.
        """
        self.processes = processes
        self.model = model
        self.features = features
        self.config = config
        self.sentences = sentences
        self.pairs = pairs
        self.phrases = phrases
        self.names = names
        self.unseen = unseen
        self._none: list[list[BoxText]] = [[] for _ in sentences]
        self.usable = [
            row for row, texts in enumerate(sentences) if texts or self.box_texts(row)
        ]
        # what attends has no taught boxes: those of phrases are known on the photo as it is alone
        has_boxes = features.taught_boxes is not None or not config.reads_boxes
        self.views = features.views if has_boxes else 1
        self._device = next(model.parameters()).device
        size = model.config.extractor.size
        self._photo_box = torch.tensor([0.0, 0.0, size, size])
        self._rewarded_from = (1 - config.self_critical) * config.optimiser.steps
        self._reward = (
            CiderReward(sentences, model.vocabulary) if config.self_critical else None
        )

    @classmethod
    def of_examples(
        cls,
        model: RegionModel,
        config: GenerateConfig,
        examples: Sequence[Example],
        features: FrozenFeatures,
        *,
        pairs: Sequence[Sequence[BoxText]] = (),
        unseen: Sequence[str] = (),
        processes: Processes = ALONE,
    ) -> Self:
        """What the generator learns of photos with these features.

        Args:
            model: only its generator is trained.
            config: the mixture.
            examples: the photos.
            features: of them.
            pairs: of each row of the features.
            unseen: sentences without photos.
            processes: those that share a batch.
        """
        sentences = sentence_numbers(examples, model.vocabulary)
        phrases, names = region_texts(
            examples, model, phrases=bool(config.phrases), names=bool(config.names)
        )
        phrases, names = in_views(phrases, features), in_views(names, features)
        unseen_words = [model.vocabulary.encode(sentence) for sentence in unseen]
        return cls(
            model,
            features,
            sentences,
            pairs,
            phrases,
            config,
            names=names,
            unseen=unseen_words,
            processes=processes,
        )

    def __call__(self, step: int) -> Mapping[str, Tensor]:
        """Named terms of one step, or of its first part."""
        return self._part_terms(step, 0)

    def rest(self, step: int) -> Iterator[Mapping[str, Tensor]]:
        """The terms of the other parts of a step.

        Those of all parts add up to those of the whole batch.
        """
        for number in range(1, self.config.parts):
            yield self._part_terms(step, number)

    def _part_terms(self, step: int, part: int) -> dict[str, Tensor]:
        """The terms of one part of this process's photos.

        All processes name the same, 0 where they have no text.
        """
        batch = self._choose(step)
        losses = {} if part else self._unseen_terms(batch.unseen, step)
        rows = self._take_part(batch.rows, part)
        conditions = self.conditions(rows)
        reward = self._reward if step >= self._rewarded_from else None
        for kind, texts in batch.texts.items():
            if not any(texts):
                continue
            if kind == "captions" and reward is not None:
                photos = self._take_part(batch.photos, part)
                losses["reward"] = self._reward_term(photos, conditions, reward)
                continue
            weight = getattr(self.config, f"weight_{kind}")
            terms = self._kind_terms(kind, texts, part, conditions, step)
            losses |= {name: weight * value for name, value in terms.items()}
        return losses

    def _choose(self, step: int) -> Batch:
        """The photos and texts of a step; the same for every part of it and on all processes."""
        config = self.config
        chooser = random.Random(config.optimiser.step_seed(step))
        photos = batch_rows(self.usable, config.batch, step, config.optimiser.seed)
        rows = [
            photo + self.features.photos * chooser.randrange(self.views)
            for photo in photos
        ]
        texts = self._choose_texts(photos, rows, chooser)
        unseen: list[list[int]] = []
        if (
            config.unseen
            and self.unseen
            and step < config.unseen_until * config.optimiser.steps
        ):
            unseen = _some(self.unseen, config.unseen, chooser)
        return Batch(photos, rows, texts, unseen)

    def _choose_texts(
        self, photos: Sequence[int], rows: Sequence[int], chooser: random.Random
    ) -> dict[str, list[list[BoxText]]]:
        """The boxes and words of each photo of a batch, by kind.

        Args:
            photos: of the batch.
            rows: of the same photos' features, in the view that was drawn.
            chooser: what is random; its draws come in the order of the kinds.
        """
        config = self.config
        chosen: dict[str, list[list[BoxText]]] = {"captions": []}
        for photo in photos:
            sentences = _some(self.sentences[photo], config.captions, chooser)
            chosen["captions"].append(
                [BoxText(self._photo_box, words) for words in sentences]
            )
        sources = {
            "pairs": (self.pairs, config.pairs),
            "phrases": (self.phrases, config.phrases),
            "names": (self.names, config.names),
        }
        for kind, (box_words, count) in sources.items():
            if count:
                chosen[kind] = [_some(box_words[row], count, chooser) for row in rows]
        return chosen

    def _take_part(self, items: Sequence[Item], part: int) -> Sequence[Item]:
        """What this process computes in one part, of an item for each photo of the batch."""
        return self.processes.share(items)[part :: self.config.parts]

    def _kind_terms(
        self,
        kind: str,
        texts: Sequence[Sequence[BoxText]],
        part: int,
        conditions: Conditions,
        step: int,
    ) -> dict[str, Tensor]:
        """The terms of the texts of a batch of one kind.

        Those of one part as their share of the whole.
        """
        batch_words = _words_of(texts)
        part_texts = self._take_part(texts, part)
        if not any(part_texts):
            return self._terms(kind, None, [], batch_words, step)
        return self._terms(
            kind, conditions(part_texts), _words_of(part_texts), batch_words, step
        )

    def _reward_term(
        self, photos: Sequence[int], conditions: Conditions, reward: CiderReward
    ) -> Tensor:
        """What captions that the generator draws for whole photos are worth."""
        condition, annotations, _ = conditions(
            [[BoxText(self._photo_box, [])] for _ in photos]
        )
        return self_critical_loss(
            self.model.generator,
            condition,
            annotations,
            photos,
            reward,
            draws=max(2, self.config.captions),
            max_words=self.model.config.decoding.max_words,
            processes=self.processes,
        )

    def _unseen_terms(
        self, batch_texts: Sequence[list[int]], step: int
    ) -> dict[str, Tensor]:
        """Cross-entropy of sentences without a photo, read under a blank condition."""
        if not batch_texts:
            return {}
        texts = self.processes.share(batch_texts)
        blank = torch.zeros(1, self.model.condition_size(), device=self._device)
        annotations = None
        if self.model.config.generator.attention:
            annotations = torch.zeros(
                1, 1, self.model.generator.annotate.in_features, device=self._device
            )
        rows = torch.zeros(len(texts), dtype=torch.int64, device=self._device)
        terms = self._terms(
            "unseen", (blank, annotations, rows), texts, batch_texts, step
        )
        return {
            name: self.config.weight_unseen * value for name, value in terms.items()
        }

    def box_texts(self, photo: int) -> list[BoxText]:
        """The phrases and the names on boxes of a photo."""
        return [
            *(self.phrases or self._none)[photo],
            *(self.names or self._none)[photo],
        ]

    def conditions(self, rows: Sequence[int]) -> Conditions:
        """From texts of the photos of these rows to their conditions.

        And annotation vectors, and which condition is whose. A model that attends needs
        region maps; any other reads region vectors alone.
        """
        if self.model.config.generator.attention:
            return self._from_maps(rows)
        return self._from_vectors(rows)

    def _from_maps(self, rows: Sequence[int]) -> Conditions:
        """`conditions` of a model that attends to cells of the maps, or to the first regions."""
        maps = Maps(
            *(values.to(self._device) for values in self.features.read_maps(rows))
        )
        attended = self.model.config.generator.regions
        attended_boxes = None
        if attended:
            boxes = self.features.read_boxes(rows)[:, : 1 + attended]
            attended_boxes = boxes.to(self._device)

        @torch.no_grad()
        def read(texts: Sequence[Sequence[BoxText]]) -> Condition:
            boxes, places = _gather_boxes(texts)
            boxes, places = boxes.to(self._device), places.to(self._device)
            return *self.model.conditions(maps, boxes, attended_boxes), places

        return read

    def _from_vectors(self, rows: Sequence[int]) -> Conditions:
        """`conditions` of a model that reads region vectors."""
        photo_box = self._photo_box.expand(len(rows), 1, 4)

        @torch.no_grad()
        def read(texts: Sequence[Sequence[BoxText]]) -> Condition:
            boxes, places = _gather_boxes(texts)
            vectors = self.features.find_vectors(rows, torch.cat([photo_box, boxes], 1))
            vectors = vectors.to(self._device)
            condition = self.model.condition(
                vectors[:, 1:], vectors[:, :1], boxes.to(self._device)
            )
            return condition.flatten(0, 1), None, places.to(self._device)

        return read

    def _terms(
        self,
        name: str,
        condition: Condition | None,
        texts: Sequence[list[int]],
        batch_texts: Sequence[list[int]],
        step: int,
    ) -> dict[str, Tensor]:
        """Cross-entropy of R texts of this process.

        As their share of the mean over those of the batch.

        Args:
            name: of the term.
            condition: what the texts are about; None where there are none.
            texts: of one part of this process's photos.
            batch_texts: of all parts and processes.
            step: of the stage.
        """
        counted, counted_by_all = count_targets(texts), count_targets(batch_texts)
        has_penalty = bool(
            self.config.attention_penalty and self.model.generator.config.attention
        )
        loss = penalty = torch.zeros((), device=self._device)
        if condition is not None and texts:
            loss, penalty = self._teach(condition, texts, step)
        weigh = self.processes.weigh
        losses = {name: weigh(loss, counted, counted_by_all)}
        if has_penalty:
            mean_penalty = weigh(penalty, len(texts), len(batch_texts))
            losses[f"{name}_attention"] = self.config.attention_penalty * mean_penalty
        return losses

    def _teach(
        self, condition: Condition, texts: Sequence[list[int]], step: int
    ) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy of R texts, and the penalty on where the generator looked.

        0 without attention.
        """
        config, generator = self.config, self.model.generator
        vectors, annotations, rows = condition
        inputs, targets = (words.to(self._device) for words in teacher_words(texts))
        if config.scheduled_sampling:
            share = config.scheduled_sampling * step / config.optimiser.steps
            attended = None if annotations is None else annotations[rows]
            inputs = with_own_words(generator, vectors[rows], attended, inputs, share)
        with torch.autocast(self._device.type, dtype=torch.bfloat16):
            logits, looks = generator(vectors, annotations, inputs, rows=rows)
        loss = caption_loss(logits, targets, config.smoothing)
        if not config.attention_penalty or looks is None:
            return loss, loss.new_zeros(())
        return loss, doubly_stochastic(looks, targets != PAD)


def _gather_boxes(texts: Sequence[Sequence[BoxText]]) -> tuple[Tensor, Tensor]:
    """Boxes (B, M, 4) of the texts of B photos, padded with zeros.

    And for each text its row among B*M.
    """
    most = max(map(_count_boxes, texts))
    boxes, rows = torch.zeros(len(texts), most, 4), []
    for photo, photo_texts in enumerate(texts):
        columns: dict[int, int] = {}  # a box with many texts is pooled once
        for text in photo_texts:
            column = columns.setdefault(id(text.box_xyxy), len(columns))
            boxes[photo, column] = text.box_xyxy
            rows.append(photo * most + column)
    return boxes, torch.tensor(rows)


def _words_of(texts: Sequence[Sequence[BoxText]]) -> list[list[int]]:
    """The token ids of all texts, photo by photo."""
    return [text.token_ids for text in chain.from_iterable(texts)]


def _count_boxes(texts: Sequence[BoxText]) -> int:
    """How many different boxes the texts of a photo are about."""
    return len({id(text.box_xyxy) for text in texts})


def _some(items: Sequence[Any], count: int, chooser: random.Random) -> list[Any]:
    """Up to ``count`` of the items, by chance."""
    return chooser.sample(items, min(count, len(items)))
