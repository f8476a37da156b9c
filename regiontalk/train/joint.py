"""Stage one: the backbone and every head together, from photos, sentences and boxes without names.

Each step runs the backbone once on a batch of augmented photos and adds up four terms: proposals
(where things are), sentences and short spans of sentences against photos (what they are called;
MaxSim over the regions proposed in that same step), and the words of whole-photo captions. Spans
make words answer for themselves: a query is often a phrase.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Literal, NamedTuple

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
from regiontalk.train.photos import (
    AUGMENT,
    AugmentConfig,
    Changes,
    PictureStore,
    change_boxes,
    change_pixels,
    draw_changes,
    pad_boxes,
)
from regiontalk.train.phrases import (
    BoxPhrase,
    box_names,
    choose_phrases,
    embed_phrases,
    likely_true,
    one_box_phrases,
    phrase_loss,
)
from regiontalk.train.processes import ALONE, Processes
from regiontalk.train.sentences import (
    Sentences,
    batch_rows,
    count_targets,
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
        3,
        ge=0,
        description="random spans of sentences a photo that the aligner reads in a step",
    )
    span_words: int = Field(5, ge=1, description="longest span")
    phrases: int = Field(
        0,
        ge=0,
        description="annotated (box, phrase) pairs a photo that the aligner reads in a step",
    )
    weight_sentence: float = Field(
        1.0, ge=0, description="of the sentences' alignment loss"
    )
    weight_span: float = Field(0.5, ge=0, description="of the spans' alignment loss")
    weight_phrase: float = Field(
        1.0, ge=0, description="of the phrases' alignment loss"
    )
    weight_proposal: float = Field(0.5, ge=0, description="of the proposal losses")
    weight_caption: float = Field(0.5, ge=0, description="of the generator's loss")
    smoothing: float = Field(
        0.1, ge=0, lt=1, description="label smoothing of the generator's loss"
    )
    hardest_after: float = Field(0.0, ge=0, le=1, description=HARDEST_AFTER)
    spare_alike: bool = Field(
        False,
        description="a phrase that shares a content word with those of another's box "
        "is no negative of it",
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
        sentences = (
            self.weight_sentence or (self.weight_span and self.spans) or self.speaks
        )
        return not sentences


class Batch(NamedTuple):
    """The photos of a step, B on this process and those of all, and what of them is random.

    Attributes:
        pixels: (B, 3, S, S) network input, of this process's photos.
        recompute: whether the maps are computed again for the gradient (`in_chunks`).
        boxes_xyxy: (B of all, G, 4) network pixels, as people drew them, moved with the photos.
        mask: (B of all, G), True = a box that is still in the picture.
        rows: B of all, which photos of the data set these are.
        captioned: places in ``rows`` of those with sentences.
        sentences: of these.
        chooser: what is random; the same on all processes.
        is_warm: hardest negatives are still all negatives.
    """

    pixels: Tensor
    recompute: bool
    boxes_xyxy: Tensor
    mask: Tensor
    rows: Sequence[int]
    captioned: Sequence[int]
    sentences: Sequence[Sentences]
    chooser: random.Random
    is_warm: bool


class JointTerms:
    """The loss terms of a step, as `loop.train` wants them."""

    def __init__(
        self,
        model: RegionModel,
        examples: Sequence[Example],
        store: PictureStore,
        config: JointConfig,
        changes: AugmentConfig = AUGMENT,
        processes: Processes = ALONE,
    ) -> None:
        """Hold the data set in memory: pictures, word numbers and boxes in network pixels."""
        self.model = model
        self.store = store
        self.config = config
        self.changes = changes
        self.processes = processes
        vocabulary = model.vocabulary
        self.sentences = sentence_numbers(examples, vocabulary)
        self.phrases: list[list[BoxPhrase]] = []
        self.names: list[dict[int, set[int]]] = []
        if config.phrases:
            self.phrases = [
                one_box_phrases(example, vocabulary) for example in examples
            ]
        if config.spare_alike:
            self.names = [box_names(phrases, vocabulary) for phrases in self.phrases]
        self.boxes = [
            network_boxes(example, model.preprocessing) for example in examples
        ]
        self.usable = [
            row
            for row in range(len(examples))
            if self.sentences[row]
            or len(self.boxes[row])
            or (self.phrases and self.phrases[row])
        ]

    def __call__(self, step: int) -> Mapping[str, Tensor]:
        """Named terms of one step on the batch that belongs to it."""
        config, model = self.config, self.model
        batch = self._read(step)
        losses: dict[str, Tensor] = {}
        with torch.autocast(batch.pixels.device.type, dtype=torch.bfloat16):
            maps = model.extractor.in_chunks(batch.pixels, recompute=batch.recompute)
            if batch.captioned:
                losses |= self._alignment_terms(batch, maps)
            if config.phrases:
                losses |= self._phrase_terms(batch, maps)
            if batch.captioned and config.speaks:
                losses["captions"] = config.weight_caption * self._caption_loss(
                    batch, maps
                )
        places = proposal_loss(
            self.processes.gather(maps.objectness),
            self.processes.gather(maps.boxes_xyxy),
            model.extractor.proposals.anchors,
            batch.boxes_xyxy,
            batch.mask,
        )
        return losses | {
            name: config.weight_proposal * value for name, value in places.items()
        }

    def _read(self, step: int) -> Batch:
        """The photos of a step, this process's part of them augmented.

        What stands still in the step is frozen.
        """
        config = self.config
        device = next(self.model.parameters()).device
        is_frozen = self._freeze_layers(step)
        rows = batch_rows(self.usable, config.batch, step, config.optimiser.seed)
        pixels, boxes, mask = self._augment(rows)
        captioned = [index for index, row in enumerate(rows) if self.sentences[row]]
        return Batch(
            pixels=pixels.to(device).contiguous(memory_format=torch.channels_last),
            # where every layer learns, the maps of a large photo are many
            recompute=bool(config.frozen_stride) and not is_frozen,
            boxes_xyxy=boxes.to(device),
            mask=mask.to(device),
            rows=rows,
            captioned=captioned,
            sentences=[self.sentences[rows[index]] for index in captioned],
            chooser=random.Random(config.optimiser.step_seed(step)),
            is_warm=step < config.hardest_after * config.optimiser.steps,
        )

    def _freeze_layers(self, step: int) -> bool:
        """Let the first layers of the backbone stand still from a certain step on.

        Whether they do in this one.
        """
        config = self.config
        is_frozen = bool(config.frozen_stride) and step >= config.frozen_after
        if config.frozen_stride and config.optimiser.backbone_learning_rate:
            self.model.extractor.backbone.freeze(
                config.frozen_stride if is_frozen else 0
            )
        return is_frozen

    def _augment(self, rows: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Network input of this process's photos, and boxes and mask of all, changed at random."""
        bounds = self.processes.bounds(len(rows))
        photos = self.store.pixels[torch.tensor(rows[slice(*bounds)])].float()
        changes = self._draw_changes(len(rows))
        boxes, mask = pad_boxes([self.boxes[row] for row in rows])
        boxes, mask = change_boxes(boxes, mask, changes, photos.shape[-1])
        pixels = self.store.normalise(change_pixels(photos, changes.part(*bounds)))
        return pixels, boxes, mask

    def _draw_changes(self, photos: int) -> Changes:
        """How the photos of all processes are augmented, as the main process draws it."""
        drawn = draw_changes(photos, self.changes)._asdict()
        names = [name for name, values in drawn.items() if values is not None]
        agreed = self.processes.agree([drawn[name] for name in names])
        return Changes(**drawn | dict(zip(names, agreed, strict=True)))

    def _captioned_maps(self, batch: Batch, maps: Maps) -> tuple[Maps, tuple[int, int]]:
        """The maps of this process's photos with sentences.

        And which of the batch's ``captioned`` these are.
        """
        first, last = self.processes.bounds(len(batch.rows))
        bounds = bisect_left(batch.captioned, first), bisect_left(batch.captioned, last)
        places = [index - first for index in batch.captioned[slice(*bounds)]]
        return Maps(*(values[places] for values in maps)), bounds

    def _alignment_terms(self, batch: Batch, maps: Maps) -> dict[str, Tensor]:
        """Sentences, and spans of them, against the regions proposed in this step."""
        config = self.config
        has_spans = bool(config.weight_span and config.spans)
        if not (config.weight_sentence or has_spans):
            return {}
        captioned_maps, bounds = self._captioned_maps(batch, maps)
        regions = self.processes.gather(self._embed_proposals(captioned_maps))
        losses = {}
        if config.weight_sentence:
            loss = self._alignment_loss(batch, regions, batch.sentences, bounds, 0.0)
            losses["sentences"] = config.weight_sentence * loss
        if has_spans:
            spans = random_spans(
                batch.sentences, config.spans, config.span_words, batch.chooser
            )
            loss = self._alignment_loss(batch, regions, spans, bounds, 0.5)
            losses["spans"] = config.weight_span * loss
        return losses

    def _embed_proposals(self, maps: Maps) -> Tensor:
        """The proposals of B photos as the aligner sees them (B, N, D); B may be 0."""
        model = self.model
        if not len(maps.regions):
            return model.aligner.log_scale.new_zeros(0, 1, model.aligner.config.size)
        boxes, _ = model.extractor.propose(maps, self.config.regions)
        regions: Tensor = model.aligner.embed_regions(
            model.extractor.vectors(maps, boxes)
        )
        return regions

    def _alignment_loss(
        self,
        batch: Batch,
        regions: Tensor,
        texts: Sequence[Sequence[list[int]]],
        bounds: tuple[int, int],
        drop_whole: float,
    ) -> Tensor:
        """`alignment_loss` of the texts of all photos with sentences."""
        aligner, processes = self.model.aligner, self.processes
        read = Texts.read(aligner, texts, processes, bounds)
        return alignment_loss(
            aligner, regions, read, drop_whole, warm=batch.is_warm, processes=processes
        )

    def _phrase_terms(self, batch: Batch, maps: Maps) -> dict[str, Tensor]:
        """Phrases against the boxes that people drew for them."""
        config, processes = self.config, self.processes
        phrases = [self.phrases[row] for row in batch.rows]
        chosen = choose_phrases(phrases, batch.mask, config.phrases, batch.chooser)
        if not any(chosen):
            return {}
        spared = None
        if config.spare_alike:
            spared = likely_true(chosen, [self.names[row] for row in batch.rows])
        first, last = processes.bounds(len(batch.rows))
        regions, words, word_mask = embed_phrases(
            self.model,
            maps,
            batch.boxes_xyxy[first:last],
            chosen[first:last],
        )
        loss = phrase_loss(
            self.model.aligner,
            processes.gather(regions),
            processes.gather(words),
            processes.gather(word_mask),
            spared=spared,
            warm=batch.is_warm,
        )
        return {"phrases": config.weight_phrase * loss}

    def _caption_loss(self, batch: Batch, maps: Maps) -> Tensor:
        """Cross-entropy of whole-photo captions."""
        chooser = batch.chooser
        chosen = [
            chooser.sample(texts, min(self.config.captions, len(texts)))
            for texts in batch.sentences
        ]
        maps, (first, last) = self._captioned_maps(batch, maps)
        counted_by_all = sum(map(count_targets, chosen))
        counted = sum(map(count_targets, chosen[first:last]))
        loss = maps.objectness.new_zeros(())
        if counted:
            loss = self._teach_captions(maps, chosen[first:last])
        return self.processes.weigh(loss, counted, counted_by_all)

    def _teach_captions(self, maps: Maps, chosen: Sequence[Sentences]) -> Tensor:
        """Mean cross-entropy of sentences of whole photos, those of B photos."""
        model = self.model
        owner = torch.tensor(
            [photo for photo, texts in enumerate(chosen) for _ in texts]
        )
        size = model.config.extractor.size
        photo_boxes = maps.boxes_xyxy.new_tensor([0, 0, size, size]).expand(
            len(chosen), 1, 4
        )
        condition, grids = model.conditions(maps, photo_boxes)
        device = condition.device
        inputs, targets = teacher_words(list(chain.from_iterable(chosen)))
        logits, _ = model.generator(
            condition, grids, inputs.to(device), rows=owner.to(device)
        )
        return caption_loss(logits, targets.to(device), self.config.smoothing)


def made_ready(model: RegionModel, config: JointConfig) -> nn.Module:
    """`taking_part` as the stage trains and leaves it.

    The layout in memory, and what of the model stands still.
    """
    model.to(memory_format=torch.channels_last)
    model.train()
    moving = config.optimiser.backbone_learning_rate > 0
    model.extractor.backbone.requires_grad_(moving).train(
        moving and not config.fixed_statistics
    )
    if moving:
        silence_dead_channels(model.extractor.backbone)
        depthwise_in_float32(model.extractor.backbone)
    return taking_part(model, config)


def taking_part(model: RegionModel, config: JointConfig) -> nn.Module:
    """The model, without its generator where the stage has no captions.

    Another one goes on from the same regions.
    """
    if config.speaks:
        return model
    return nn.ModuleDict({"extractor": model.extractor, "aligner": model.aligner})
