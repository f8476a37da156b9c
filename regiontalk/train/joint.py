"""Stage one: the backbone and every head together, from photos, sentences and boxes without names.

Each step runs the backbone once on a batch of augmented photos and adds up four terms: proposals
(where things are), sentences and short spans of sentences against photos (what they are called;
MaxSim over the regions proposed in that same step), and the words of whole-photo captions. Spans
make words answer for themselves: a query is often a phrase.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from regiontalk.generate.model import caption_loss
from regiontalk.model.region_model import RegionModel
from regiontalk.records import Example
from regiontalk.regions.backbones import depthwise_in_float32, silence_dead_channels
from regiontalk.regions.extractor import Maps
from regiontalk.regions.proposals import proposal_loss
from regiontalk.train.align import HARDEST_AFTER, Texts, alignment_loss
from regiontalk.train.loop import OptimiserConfig
from regiontalk.train.photos import AUGMENT, AugmentConfig, PictureStore, augment, pad_boxes
from regiontalk.train.phrases import (
    box_names,
    choose_phrases,
    likely_true,
    one_box_phrases,
    phrase_loss,
)
from regiontalk.train.sentences import (
    batch_rows,
    network_boxes,
    random_spans,
    sentence_numbers,
    teacher_words,
)


class JointConfig(BaseModel):
    """What stage one trains on and how its terms are weighed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    optimiser: OptimiserConfig = OptimiserConfig()
    batch: int = Field(64, ge=2, description="photos a step")
    regions: int = Field(19, ge=0, description="proposals beside the whole photo")
    captions: int = Field(
        2, ge=0, description="sentences a photo that the generator learns in a step"
    )
    spans: int = Field(
        3, ge=0, description="random spans of sentences a photo that the aligner reads in a step"
    )
    span_words: int = Field(5, ge=1, description="longest span")
    phrases: int = Field(
        0,
        ge=0,
        description="annotated (box, phrase) pairs a photo that the aligner reads in a step",
    )
    weight_sentence: float = Field(1.0, ge=0, description="of the sentences' alignment loss")
    weight_span: float = Field(0.5, ge=0, description="of the spans' alignment loss")
    weight_phrase: float = Field(1.0, ge=0, description="of the phrases' alignment loss")
    weight_proposal: float = Field(0.5, ge=0, description="of the proposal losses")
    weight_caption: float = Field(0.5, ge=0, description="of the generator's loss")
    smoothing: float = Field(0.1, ge=0, lt=1, description="label smoothing of the generator's loss")
    hardest_after: float = Field(0.0, ge=0, le=1, description=HARDEST_AFTER)
    spare_alike: bool = Field(
        False,
        description="a phrase that shares a content word with those of another's box is no negative of it",
    )

    frozen_stride: Literal[0, 8, 16] = Field(
        0, description="layers up to the map at this stride stand still"
    )
    frozen_after: int = Field(0, ge=0, description="steps in which they move first")
    fixed_statistics: bool = Field(
        False, description="the backbone's batch norms keep their mean and variance"
    )

    def learns_from(self, example: Example) -> bool:
        """Whether a photo has something to learn from."""
        return bool(example.captions or len(example.boxes_xyxy))

    @property
    def speaks(self) -> bool:
        """Whether the generator learns."""
        return bool(self.captions and self.weight_caption)

    @property
    def only_places(self) -> bool:
        """Whether boxes are all that it learns from."""
        sentences = self.weight_sentence or (self.weight_span and self.spans) or self.speaks
        return not sentences


class JointTerms:
    """The loss terms of a step, as `loop.train` wants them."""

    def __init__(
        self,
        model: RegionModel,
        examples: Sequence[Example],
        store: PictureStore,
        config: JointConfig,
        changes: AugmentConfig = AUGMENT,
    ) -> None:
        """Hold the data set in memory: pictures, word numbers and boxes in network pixels."""
        self.model, self.store, self.config, self.changes = model, store, config, changes
        self.sentences = sentence_numbers(examples, model.vocabulary)
        self.phrases = (
            [one_box_phrases(example, model.vocabulary) for example in examples]
            if config.phrases
            else []
        )
        self.names = (
            [box_names(own, model.vocabulary) for own in self.phrases] if config.spare_alike else []
        )
        self.boxes = [network_boxes(example, model.preprocessing) for example in examples]
        self.usable = [
            row
            for row in range(len(examples))
            if self.sentences[row] or len(self.boxes[row]) or (self.phrases and self.phrases[row])
        ]

    def __call__(self, step: int) -> Mapping[str, Tensor]:
        """Named terms of one step on the batch that belongs to it."""
        config, model = self.config, self.model
        is_frozen = bool(config.frozen_stride) and step >= config.frozen_after
        if config.frozen_stride and config.optimiser.backbone_rate:
            model.extractor.backbone.freeze(config.frozen_stride if is_frozen else 0)
        chooser = random.Random(config.optimiser.step_seed(step))
        rows = batch_rows(self.usable, config.batch, step, config.optimiser.seed)
        truth, mask = pad_boxes([self.boxes[row] for row in rows])
        pixels, truth, mask = augment(
            self.store.pixels[torch.tensor(rows)].float(), truth, mask, self.changes
        )
        device = next(model.parameters()).device
        pixels, truth, mask = (
            self.store.normalise(pixels).to(device),
            truth.to(device),
            mask.to(device),
        )
        captioned = [place for place, row in enumerate(rows) if self.sentences[row]]
        sentences = [self.sentences[rows[place]] for place in captioned]
        losses: dict[str, Tensor] = {}
        warm = step < config.hardest_after * config.optimiser.steps
        with torch.autocast(device.type, dtype=torch.bfloat16):
            whole = (
                bool(config.frozen_stride) and not is_frozen
            )  # every layer learns: a large picture's maps are many
            pixels = pixels.contiguous(memory_format=torch.channels_last)
            maps = model.extractor.in_chunks(pixels, recompute=whole)
            if captioned and (config.weight_sentence or (config.weight_span and config.spans)):
                own = Maps(*(values[captioned] for values in maps))
                regions, _ = model.extractor.propose(own, config.regions)
                vectors = model.aligner.regions(model.extractor.vectors(own, regions))
            if captioned and config.weight_sentence:
                texts = Texts.read(model.aligner, sentences)
                losses["sentences"] = config.weight_sentence * alignment_loss(
                    model.aligner, vectors, texts, 0.0, warm=warm
                )
            if captioned and config.weight_span and config.spans:
                spans = Texts.read(
                    model.aligner, random_spans(sentences, config.spans, config.span_words, chooser)
                )
                losses["spans"] = config.weight_span * alignment_loss(
                    model.aligner, vectors, spans, 0.5, warm=warm
                )
            if config.phrases and (
                chosen := choose_phrases(
                    [self.phrases[row] for row in rows], mask, config.phrases, chooser
                )
            ):
                spared = (
                    likely_true(chosen, [self.names[row] for row in rows])
                    if config.spare_alike
                    else None
                )
                losses["phrases"] = config.weight_phrase * phrase_loss(
                    model, maps, truth, chosen, spared=spared, warm=warm
                )
            if captioned and config.speaks:
                own = Maps(*(values[captioned] for values in maps))
                losses["captions"] = config.weight_caption * self._captions(own, sentences, chooser)
        places = proposal_loss(
            maps.objectness, maps.boxes_xyxy, model.extractor.proposals.anchors, truth, mask
        )
        return losses | {name: config.weight_proposal * value for name, value in places.items()}

    def _captions(
        self, maps: Maps, sentences: Sequence[Sequence[list[int]]], chooser: random.Random
    ) -> Tensor:
        """Cross-entropy of whole-photo captions."""
        chosen = [
            chooser.sample(group, min(self.config.captions, len(group))) for group in sentences
        ]
        owner = torch.tensor([photo for photo, group in enumerate(chosen) for _ in group])
        size = self.model.config.extractor.size
        whole = maps.boxes_xyxy.new_tensor([0, 0, size, size]).expand(len(sentences), 1, 4)
        condition, grids = self.model.conditions(maps, whole)
        inputs, targets = teacher_words([sentence for group in chosen for sentence in group])
        logits, _ = self.model.generator(
            condition, grids, inputs.to(condition.device), rows=owner.to(condition.device)
        )
        return caption_loss(logits, targets.to(condition.device), self.config.smoothing)


def made_ready(model: RegionModel, config: JointConfig) -> nn.Module:
    """`taking_part` as the stage trains and leaves it: the layout in memory, and what of the model stands still."""
    model.to(memory_format=torch.channels_last)
    model.train()
    moving = config.optimiser.backbone_rate > 0
    model.extractor.backbone.requires_grad_(moving).train(moving and not config.fixed_statistics)
    if moving:
        silence_dead_channels(model.extractor.backbone)
        depthwise_in_float32(model.extractor.backbone)
    return taking_part(model, config)


def taking_part(model: RegionModel, config: JointConfig) -> nn.Module:
    """The model, without its generator where the stage has no captions: another one goes on from the same regions."""
    if config.speaks:
        return model
    return nn.ModuleDict({"extractor": model.extractor, "aligner": model.aligner})
