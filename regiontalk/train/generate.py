"""The generator stage on frozen features: photos with sentences, inferred pairs, annotated phrases, or a mixture."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from regiontalk.generate.attention import doubly_stochastic
from regiontalk.generate.model import caption_loss
from regiontalk.model.region_model import RegionModel
from regiontalk.regions.extractor import Maps
from regiontalk.text.vocabulary import PAD, UNKNOWN
from regiontalk.train.features import FrozenFeatures
from regiontalk.train.loop import OptimiserConfig
from regiontalk.train.self_critical import CiderReward, self_critical_loss, with_own_words
from regiontalk.train.sentences import Sentences, batch_rows, teacher_words

# a box (4,) in network pixels and the words that describe it
BoxWords = tuple[Tensor, list[int]]
# texts of some photos -> conditions, annotation vectors, and which condition is whose
Conditions = Callable[[Sequence[Sequence[BoxWords]]], tuple[Tensor, Tensor | None, Tensor]]


class GenerateConfig(BaseModel):
    """What the generator stage trains on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    optimiser: OptimiserConfig = OptimiserConfig()
    batch: int = Field(32, ge=1, description="photos a step")
    parts: int = Field(
        1,
        ge=1,
        description="a batch that does not fit is computed in so many parts, with the same gradient",
    )
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


class Batch(NamedTuple):
    """What one step learns.

    Attributes:
        photos: B numbers of photos.
        rows: B rows of the features, a view of each.
        texts: kind -> for each photo its boxes and words.
        unseen: sentences without a photo.
    """

    photos: list[int]
    rows: list[int]
    texts: Mapping[str, list[list[BoxWords]]]
    unseen: list[list[int]]


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
        """
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
        size = model.config.extractor.size
        self._whole = torch.tensor([0.0, 0.0, size, size])
        self._rewarded_from = (1 - config.reward) * config.optimiser.steps
        self._reward = CiderReward(sentences, model.vocabulary) if config.reward else None

    def __call__(self, step: int) -> Mapping[str, Tensor]:
        """Named terms of one step, or of its first part."""
        return self._part_terms(step, 0)

    def rest(self, step: int) -> Iterator[Mapping[str, Tensor]]:
        """The terms of the other parts of a step: those of all parts add up to those of the whole batch."""
        for part in range(1, self.config.parts):
            yield self._part_terms(step, part)

    def _part_terms(self, step: int, part: int) -> dict[str, Tensor]:
        """The terms of one part; texts count in proportion to their words, as they would in the whole batch."""
        config, batch = self.config, self._choose(step)
        losses = {} if part else self._unseen_terms(batch.unseen, step)
        chosen = slice(part, None, config.parts)
        photos, rows = batch.photos[chosen], batch.rows[chosen]
        if not rows:
            return losses
        conditions = self.conditions(rows)
        reward = self._reward if step >= self._rewarded_from else None
        for name, all_texts in batch.texts.items():
            texts = all_texts[chosen]
            if not any(texts):
                continue
            if name == "captions" and reward is not None:
                losses["reward"] = self._reward_term(conditions, photos, reward)
                continue
            terms = self._terms(
                name, *conditions(texts), [words for own in texts for _, words in own], step
            )
            shares = _shares(texts, all_texts)
            weight = getattr(config, f"weight_{name}")
            losses |= {key: weight * shares[key != name] * value for key, value in terms.items()}
        return losses

    def _choose(self, step: int) -> Batch:
        """The photos and texts of a step; the same for every part of it."""
        config = self.config
        chooser = random.Random(config.optimiser.seed * 1_000_003 + step)
        photos = batch_rows(self.usable, config.batch, step, config.optimiser.seed)
        rows = [photo + self.features.photos * chooser.randrange(self.views) for photo in photos]
        captions = [_some(self.sentences[photo], config.captions, chooser) for photo in photos]
        texts = {"captions": [[(self._whole, words) for words in some] for some in captions]}
        sources = {
            "pairs": (self.pairs, rows, config.pairs),
            "phrases": (self.phrases, photos, config.phrases),
            "names": (self.names, photos, config.names),
        }
        for name, (box_words, numbers, count) in sources.items():
            if count:
                texts[name] = [_some(box_words[number], count, chooser) for number in numbers]
        unseen: list[list[int]] = []
        if config.unseen and self.unseen and step < config.unseen_until * config.optimiser.steps:
            unseen = _some(self.unseen, config.unseen, chooser)
        return Batch(photos, rows, texts, unseen)

    def _reward_term(
        self, conditions: Conditions, photos: Sequence[int], reward: CiderReward
    ) -> Tensor:
        """The self-critical loss of whole-photo captions."""
        condition, annotations, _ = conditions([[(self._whole, [])] for _ in photos])
        return self_critical_loss(
            self.model.generator,
            condition,
            annotations,
            photos,
            reward,
            draws=max(2, self.config.captions),
            max_words=self.model.config.decoding.max_words,
        )

    def _unseen_terms(self, texts: Sequence[list[int]], step: int) -> dict[str, Tensor]:
        """Cross-entropy of sentences without a photo, read under a blank condition."""
        if not texts:
            return {}
        blank = torch.zeros(1, self.model.condition_size(), device=self._device)
        annotations = None
        if self.model.config.generator.attention:
            annotations = torch.zeros(
                1, 1, self.model.generator.annotate.in_features, device=self._device
            )
        rows = torch.zeros(len(texts), dtype=torch.int64, device=self._device)
        terms = self._terms("unseen", blank, annotations, rows, texts, step)
        return {key: self.config.weight_unseen * value for key, value in terms.items()}

    def box_texts(self, photo: int) -> list[BoxWords]:
        """The phrases and the names on boxes of a photo."""
        return [*(self.phrases or self._none)[photo], *(self.names or self._none)[photo]]

    def conditions(self, rows: Sequence[int]) -> Conditions:
        """From texts of the photos of these rows to their conditions, annotation vectors, and which condition is whose.

        A model that attends needs region maps; any other reads region vectors alone.
        """
        config = self.model.config.generator
        maps = seen = None
        if config.attention:
            maps = Maps(*(part.to(self._device) for part in self.features.read_maps(rows)))
            seen = (
                self.features.read_boxes(rows)[:, : 1 + config.regions].to(self._device)
                if config.regions
                else None
            )

        def read(texts: Sequence[Sequence[BoxWords]]) -> tuple[Tensor, Tensor | None, Tensor]:
            boxes, places = _gather_boxes(texts)
            places = places.to(self._device)
            with torch.no_grad():
                if maps is not None:
                    return *self.model.conditions(maps, boxes.to(self._device), seen), places
                whole = self._whole.expand(len(rows), 1, 4)
                vectors = self.features.find_vectors(rows, torch.cat([whole, boxes], 1)).to(
                    self._device
                )
                condition = self.model.condition(
                    vectors[:, 1:], vectors[:, :1], boxes.to(self._device)
                )
                return condition.flatten(0, 1), None, places

        return read

    def _terms(
        self,
        name: str,
        condition: Tensor,
        annotations: Tensor | None,
        rows: Tensor,
        texts: Sequence[list[int]],
        step: int,
    ) -> dict[str, Tensor]:
        """Cross-entropy of texts, R of them."""
        inputs, targets = (words.to(self._device) for words in teacher_words(texts))
        if self.config.sampling:
            share = self.config.sampling * step / self.config.optimiser.steps
            own = None if annotations is None else annotations[rows]
            inputs = with_own_words(self.model.generator, condition[rows], own, inputs, share)
        with torch.autocast(self._device.type, dtype=torch.bfloat16):
            logits, looks = self.model.generator(condition, annotations, inputs, rows=rows)
        losses = {name: caption_loss(logits, targets, self.config.smoothing)}
        if self.config.penalty and looks is not None:
            losses[f"{name}_attention"] = self.config.penalty * doubly_stochastic(
                looks, targets != PAD
            )
        return losses


def _shares(
    texts: Sequence[Sequence[BoxWords]], all_texts: Sequence[Sequence[BoxWords]]
) -> tuple[float, float]:
    """The share that some of the texts have of all known words, with the END of each text, and of all texts."""
    counts = []
    for groups in (texts, all_texts):
        numbers = [words for group in groups for _, words in group]
        known = sum(word != UNKNOWN for words in numbers for word in words)
        counts.append((known + len(numbers), len(numbers)))
    (words, count), (all_words, all_count) = counts
    return words / all_words, count / all_count


def _gather_boxes(texts: Sequence[Sequence[BoxWords]]) -> tuple[Tensor, Tensor]:
    """Boxes (B, M, 4) of the texts of B photos, padded with zeros, and for each text its row among B*M."""
    most = max(len({id(box) for box, _ in own}) for own in texts)
    boxes, places = torch.zeros(len(texts), most, 4), []
    for photo, own in enumerate(texts):
        columns: dict[int, int] = {}  # a box with many texts is pooled once
        for box, _ in own:
            column = columns.setdefault(id(box), len(columns))
            boxes[photo, column] = box
            places.append(photo * most + column)
    return boxes, torch.tensor(places)


def _some(items: Sequence[Any], count: int, chooser: random.Random) -> list[Any]:
    """Up to ``count`` of the items, by chance."""
    return chooser.sample(items, min(count, len(items)))
