"""The generator stage on frozen features: photos with sentences, inferred pairs, annotated phrases, or a mixture."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from regiontalk.generate.attention import doubly_stochastic
from regiontalk.generate.model import caption_loss
from regiontalk.model.region_model import RegionModel
from regiontalk.records import Example
from regiontalk.regions.extractor import Maps
from regiontalk.text.vocabulary import PAD
from regiontalk.train.features import FrozenFeatures
from regiontalk.train.loop import OptimiserConfig
from regiontalk.train.processes import ALONE, Processes
from regiontalk.train.region_texts import BoxWords, region_texts
from regiontalk.train.self_critical import CiderReward, self_critical_loss, with_own_words
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
Conditions = Callable[[Sequence[Sequence[BoxWords]]], Condition]


class GenerateConfig(BaseModel):
    """What the generator stage trains on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    optimiser: OptimiserConfig = OptimiserConfig()
    batch: int = Field(32, ge=1, description="photos a step")
    captions: int = Field(2, ge=0, description="whole-photo sentences a photo in a step")
    pairs: int = Field(2, ge=0, description="(region, snippet) pairs a photo in a step")
    phrases: int = Field(
        0, ge=0, description="(true box, annotated phrase) pairs a photo in a step"
    )
    names: int = Field(0, ge=0, description="(box, class name) pairs a photo in a step")
    unseen: int = Field(
        0, ge=0, description="sentences without a photo in a step; the condition is blank"
    )
    unseen_until: float = Field(
        1.0, ge=0, le=1, description="share of the steps that read them: speak first, then see"
    )
    weight_captions: float = Field(1.0, ge=0, description="of the photos' sentences")
    weight_pairs: float = Field(1.0, ge=0, description="of the inferred pairs")
    weight_phrases: float = Field(1.0, ge=0, description="of the annotated phrases")
    weight_names: float = Field(1.0, ge=0, description="of the class names")
    weight_unseen: float = Field(1.0, ge=0, description="of the sentences without a photo")
    smoothing: float = Field(0.1, ge=0, lt=1, description="label smoothing")
    penalty: float = Field(0.0, ge=0, description="lambda of the doubly stochastic penalty of [2]")
    sampling: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the words read that are the model's own, reached in a straight rise",
    )
    reward: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the steps, the last ones, whose captions learn from their CIDEr",
    )
    rounds: int = Field(
        0, ge=0, description="EM: how often pairs are inferred anew with the generator, and learnt"
    )
    responsibility: float = Field(
        0.1, ge=0, description="weight of the generator where pairs are inferred anew"
    )

    @property
    def reads_boxes(self) -> bool:
        """Whether words on boxes that people or detectors drew are learnt."""
        return bool(self.phrases or self.names)

    def learns_from(self, example: Example) -> bool:
        """Whether a photo has something to learn from."""
        return bool(example.captions or phrase_texts(example))


class GenerateTerms:
    """The loss terms of a step, as `loop.train` wants them."""

    def __init__(
        self,
        model: RegionModel,
        features: FrozenFeatures,
        sentences: Sequence[Sentences],
        pairs: Sequence[Sequence[BoxWords]],
        phrases: Sequence[Sequence[BoxWords]],
        config: GenerateConfig,
        *,
        names: Sequence[Sequence[BoxWords]] = (),
        unseen: Sequence[list[int]] = (),
        processes: Processes = ALONE,
    ) -> None:
        """Hold the training texts.

        Args:
            model: only its generator is trained.
            features: with region maps.
            sentences: of each photo.
            pairs: of each *row* of the features: every view has its own boxes.
            phrases: of each photo, their boxes on view 0.
            config: the mixture.
            names: of each photo, class names on boxes of view 0.
            unseen: sentences without photos, as word numbers.
            processes: those that share a batch.
        """
        self.processes = processes
        self.model, self.features, self.config = model, features, config
        self.sentences, self.pairs, self.phrases = sentences, pairs, phrases
        self.names, self.unseen = names, unseen
        self._none: list[list[BoxWords]] = [[] for _ in sentences]
        taught = zip(
            sentences, phrases or [[]] * len(sentences), names or [[]] * len(sentences), strict=True
        )
        self.usable = [row for row, texts in enumerate(taught) if any(texts)]
        # a phrase's box is only known on the photo as it is
        boxes_taught = config.phrases or config.names
        self.views = 1 if boxes_taught else len(features.boxes_xyxy) // features.photos
        self._device = next(model.parameters()).device
        self._rewarded_from = (1 - config.reward) * config.optimiser.steps
        self._reward = CiderReward(sentences, model.vocabulary) if config.reward else None

    @classmethod
    def of_examples(
        cls,
        model: RegionModel,
        config: GenerateConfig,
        examples: Sequence[Example],
        features: FrozenFeatures,
        *,
        pairs: Sequence[Sequence[BoxWords]] = (),
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
        """Named terms of one step."""
        config = self.config
        chooser = random.Random(config.optimiser.step_seed(step))
        photos = batch_rows(self.usable, config.batch, step, config.optimiser.seed)
        rows = [photo + self.features.photos * chooser.randrange(self.views) for photo in photos]
        texts_by_kind = self._choose(photos, rows, chooser)
        conditions = self.conditions(self.processes.share(rows))
        losses = self._unseen_terms(step, chooser)
        reward = self._reward if step >= self._rewarded_from else None
        for kind, texts in texts_by_kind.items():
            if not any(texts):
                continue
            if kind == "captions" and reward is not None:
                here = self.processes.share(photos)
                losses["reward"] = self._reward_loss(here, conditions, reward)
                continue
            weight = getattr(config, f"weight_{kind}")
            terms = self._kind_terms(kind, texts, conditions, step)
            losses |= {name: weight * value for name, value in terms.items()}
        return losses

    def _choose(
        self, photos: Sequence[int], rows: Sequence[int], chooser: random.Random
    ) -> dict[str, list[list[BoxWords]]]:
        """The texts that the generator learns of each photo of a batch, by kind."""
        config = self.config
        photo_box = self._whole_photo()
        captions = [_some(self.sentences[photo], config.captions, chooser) for photo in photos]
        chosen = {"captions": [[(photo_box, words) for words in texts] for texts in captions]}
        if config.pairs:
            chosen["pairs"] = [_some(self.pairs[row], config.pairs, chooser) for row in rows]
        if config.phrases:
            chosen["phrases"] = [
                _some(self.phrases[photo], config.phrases, chooser) for photo in photos
            ]
        if config.names:
            chosen["names"] = [_some(self.names[photo], config.names, chooser) for photo in photos]
        return chosen

    def _whole_photo(self) -> Tensor:
        """The box (4,) of a whole photo."""
        size = self.model.config.extractor.size
        return torch.tensor([0.0, 0.0, size, size])

    def _kind_terms(
        self, kind: str, texts: Sequence[Sequence[BoxWords]], conditions: Conditions, step: int
    ) -> dict[str, Tensor]:
        """The terms of the texts of a batch of one kind, this process's photos as their part of the whole."""
        words_by_photo = [[words for _, words in pairs] for pairs in texts]
        batch_texts = [words for group in words_by_photo for words in group]
        texts_here = self.processes.share(texts)
        if not any(texts_here):
            return self._terms(kind, None, [], batch_texts, step)
        words = [words for group in self.processes.share(words_by_photo) for words in group]
        return self._terms(kind, conditions(texts_here), words, batch_texts, step)

    def _reward_loss(
        self, photos: Sequence[int], conditions: Conditions, reward: CiderReward
    ) -> Tensor:
        """What captions that the generator draws for whole photos are worth."""
        photo_box = self._whole_photo()
        condition, annotations, _ = conditions([[(photo_box, [])] for _ in photos])
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

    def _unseen_terms(self, step: int, chooser: random.Random) -> dict[str, Tensor]:
        """Cross-entropy of sentences without a photo, read under a blank condition."""
        config = self.config
        is_over = step >= config.unseen_until * config.optimiser.steps
        if not (config.unseen and self.unseen) or is_over:
            return {}
        batch_texts = _some(self.unseen, config.unseen, chooser)
        texts = self.processes.share(batch_texts)
        blank = torch.zeros(1, self.model.condition_size(), device=self._device)
        annotations = None
        if self.model.config.generator.attention:
            annotations = torch.zeros(
                1, 1, self.model.generator.annotate.in_features, device=self._device
            )
        rows = torch.zeros(len(texts), dtype=torch.int64, device=self._device)
        terms = self._terms("unseen", (blank, annotations, rows), texts, batch_texts, step)
        return {name: config.weight_unseen * value for name, value in terms.items()}

    def box_texts(self, photo: int) -> list[BoxWords]:
        """The phrases and the names on boxes of a photo."""
        return [*(self.phrases or self._none)[photo], *(self.names or self._none)[photo]]

    def conditions(self, rows: Sequence[int]) -> Conditions:
        """From texts of the photos of these rows to their conditions, annotation vectors, and which condition is whose.

        A model that attends needs region maps; any other reads region vectors alone.
        """
        return (
            self._from_maps(rows)
            if self.model.config.generator.attention
            else (self._from_vectors(rows))
        )

    def _from_maps(self, rows: Sequence[int]) -> Conditions:
        """`conditions` of a model that attends to cells of the maps, or to the first regions."""
        maps = Maps(*(values.to(self._device) for values in self.features.read_maps(rows)))
        attended = self.model.config.generator.regions
        attended_boxes = None
        if attended:
            boxes = self.features.read_boxes(rows)[:, : 1 + attended]
            attended_boxes = boxes.to(self._device)

        @torch.no_grad()
        def read(texts: Sequence[Sequence[BoxWords]]) -> Condition:
            boxes, places = _gather_boxes(texts)
            boxes, places = boxes.to(self._device), places.to(self._device)
            return *self.model.conditions(maps, boxes, attended_boxes), places

        return read

    def _from_vectors(self, rows: Sequence[int]) -> Conditions:
        """`conditions` of a model that reads region vectors."""
        photo_box = self._whole_photo().expand(len(rows), 1, 4)

        @torch.no_grad()
        def read(texts: Sequence[Sequence[BoxWords]]) -> Condition:
            boxes, places = _gather_boxes(texts)
            vectors = self.features.find_vectors(rows, torch.cat([photo_box, boxes], 1))
            vectors = vectors.to(self._device)
            condition = self.model.condition(vectors[:, 1:], vectors[:, :1], boxes.to(self._device))
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
        """Cross-entropy of the R texts of this process, as their part of the mean over those of all.

        Args:
            name: of the term.
            condition: what the texts are about; None where this process has none.
            texts: this process's.
            batch_texts: of all processes.
            step: of the stage.
        """
        counted, counted_by_all = count_targets(texts), count_targets(batch_texts)
        has_penalty = bool(self.config.penalty and self.model.generator.config.attention)
        loss = penalty = torch.zeros((), device=self._device)
        if condition is not None and texts:
            loss, penalty = self._teach(condition, texts, step)
        weigh = self.processes.weigh
        losses = {name: weigh(loss, counted, counted_by_all)}
        if has_penalty:
            mean_penalty = weigh(penalty, len(texts), len(batch_texts))
            losses[f"{name}_attention"] = self.config.penalty * mean_penalty
        return losses

    def _teach(
        self, condition: Condition, texts: Sequence[list[int]], step: int
    ) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy of R texts, and the penalty on where the generator looked; 0 without attention."""
        config, generator = self.config, self.model.generator
        vectors, annotations, rows = condition
        inputs, targets = (words.to(self._device) for words in teacher_words(texts))
        if config.sampling:
            share = config.sampling * step / config.optimiser.steps
            attended = None if annotations is None else annotations[rows]
            inputs = with_own_words(generator, vectors[rows], attended, inputs, share)
        with torch.autocast(self._device.type, dtype=torch.bfloat16):
            logits, looks = generator(vectors, annotations, inputs, rows=rows)
        loss = caption_loss(logits, targets, config.smoothing)
        if not config.penalty or looks is None:
            return loss, loss.new_zeros(())
        return loss, doubly_stochastic(looks, targets != PAD)


def _gather_boxes(texts: Sequence[Sequence[BoxWords]]) -> tuple[Tensor, Tensor]:
    """Boxes (B, M, 4) of the texts of B photos, padded with zeros, and for each text its row among B*M."""
    most = max(len({id(box) for box, _ in pairs}) for pairs in texts)
    boxes, places = torch.zeros(len(texts), most, 4), []
    for photo, pairs in enumerate(texts):
        columns: dict[int, int] = {}  # a box with many texts is pooled once
        for box, _ in pairs:
            column = columns.setdefault(id(box), len(columns))
            boxes[photo, column] = box
            places.append(photo * most + column)
    return boxes, torch.tensor(places)


def _some(items: Sequence[Any], count: int, chooser: random.Random) -> list[Any]:
    """Up to ``count`` of the items, by chance."""
    return chooser.sample(items, min(count, len(items)))
