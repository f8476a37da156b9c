"""The alignment stage alone, on frozen features.

Equations (1) to (9) of [1] in whatever setting the aligner has.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, Self

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from regiontalk.align.loss import fragment_loss
from regiontalk.align.model import Aligner
from regiontalk.align.torch_score import word_products
from regiontalk.model.region_model import RegionModel
from regiontalk.records import Example
from regiontalk.train.features import FrozenFeatures
from regiontalk.train.loop import OptimiserConfig
from regiontalk.train.processes import ALONE, Processes
from regiontalk.train.sentences import (
    Sentences,
    batch_rows,
    random_spans,
    sentence_numbers,
)
from regiontalk.train.vocabulary import phrase_texts

HARDEST_AFTER = (
    "of loss = hardest: share of the steps that learn from all negatives "
    "first; random heads need some"
)


class FragmentConfig(BaseModel):
    """The fragment loss of [3], beside the sentences' loss."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight: float = Field(0.0, ge=0, description="0 = without it")
    warm: float = Field(
        0.25,
        ge=0,
        le=1,
        description="share of the steps before labels are guessed from the products",
    )
    over: Literal["sum", "mean"] = Field(
        "sum",
        description="sum as printed; mean lets the few fragments of a pair count like "
        "the many of strangers",
    )


class AlignConfig(BaseModel):
    """What the alignment stage trains on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    optimiser: OptimiserConfig = OptimiserConfig()
    batch: int = Field(
        100, ge=2, description="photos a step; the paper takes 100 pairs"
    )
    captions: int = Field(
        1, ge=1, description="sentences a photo in a step; the paper takes 1"
    )
    spans: int = Field(
        0, ge=0, description="random spans of sentences a photo in a step"
    )
    span_words: int = Field(5, ge=1, description="longest span")
    weight_span: float = Field(0.5, ge=0, description="of the spans' loss")
    phrases: bool = Field(
        False,
        description="a photo without sentences is read by the phrases on its boxes",
    )
    noise: float = Field(
        0.0,
        ge=0,
        description="standard deviation of noise on region vectors, relative to their own",
    )
    standardise: bool = Field(
        False,
        description="learn on features of mean 0 and mean length 1, then take that "
        "into W_m and b_m of eq. 1",
    )
    hardest_after: float = Field(0.0, ge=0, le=1, description=HARDEST_AFTER)
    shuffle: bool = Field(
        False,
        description="give every photo another photo's sentences: what chance looks like",
    )
    fragments: FragmentConfig = FragmentConfig()

    def learns_from(self, example: Example) -> bool:
        """Whether a photo has something to learn from."""
        return bool(example.captions or (self.phrases and phrase_texts(example)))


class Batch(NamedTuple):
    """What one step learns, on all processes.

    Attributes:
        rows: B rows of the features, a view of each photo.
        captions: of each photo, the sentences of this step.
        spans: of each photo, parts of its sentences; empty where the stage learns none.
    """

    rows: Sequence[int]
    captions: Sequence[Sentences]
    spans: Sequence[Sentences]


class AlignTerms:
    """The loss terms of a step, as `loop.train` wants them."""

    def __init__(
        self,
        aligner: Aligner,
        features: FrozenFeatures,
        sentences: Sequence[Sentences],
        config: AlignConfig,
        processes: Processes = ALONE,
    ) -> None:
        """Hold the features and the word numbers of each photo's sentences."""
        self.aligner = aligner
        self.features = features
        self.config = config
        self.processes = processes
        self.sentences = list(sentences)
        if config.shuffle:
            random.Random(config.optimiser.seed).shuffle(self.sentences)
        self.usable = [row for row, texts in enumerate(self.sentences) if texts]
        self.views = features.views
        self.standard = _standard(features) if config.standardise else None

    @classmethod
    def of_examples(
        cls,
        model: RegionModel,
        config: AlignConfig,
        examples: Sequence[Example],
        features: FrozenFeatures,
        processes: Processes = ALONE,
    ) -> Self:
        """What the aligner learns of photos with these features."""
        sentences = sentence_numbers(examples, model.vocabulary)
        if config.phrases:
            for row, example in enumerate(examples):
                texts = dict.fromkeys(phrase_texts(example))
                sentences[row] = sentences[row] or [
                    model.vocabulary.encode(text) for text in texts
                ]
        return cls(model.aligner, features, sentences, config, processes)

    def __call__(self, step: int) -> Mapping[str, Tensor]:
        """Named terms of one step."""
        batch = self._choose(step)
        vectors, mask = self._read(self.processes.share(batch.rows))
        with torch.autocast(
            vectors.device.type,
            dtype=torch.bfloat16,
            enabled=self.aligner.config.normalise,
        ):
            # (B, N, D), (B, N): from here on of all processes
            regions = self.processes.gather(self.aligner.embed_regions(vectors))
            mask = self.processes.gather(mask)
            return self._terms(batch, regions, mask, step)

    def _choose(self, step: int) -> Batch:
        """The photos and texts of a step; the same on all processes."""
        config = self.config
        chooser = random.Random(config.optimiser.step_seed(step))
        photos = batch_rows(self.usable, config.batch, step, config.optimiser.seed)
        rows = [
            photo + self.features.photos * chooser.randrange(self.views)
            for photo in photos
        ]
        sentences = [self.sentences[photo] for photo in photos]
        captions = [
            chooser.sample(texts, min(config.captions, len(texts)))
            for texts in sentences
        ]
        spans: list[Sentences] = []
        if config.spans:
            spans = random_spans(sentences, config.spans, config.span_words, chooser)
        return Batch(rows, captions, spans)

    def _terms(
        self, batch: Batch, regions: Tensor, mask: Tensor, step: int
    ) -> dict[str, Tensor]:
        """Named terms of encoded regions (B, N, D), mask (B, N), and the texts of the batch."""
        config = self.config
        captions = Texts.read(self.aligner, batch.captions, self.processes)
        losses = {"sentences": self._loss(regions, captions, mask, 0.0, step)}
        if config.fragments.weight:
            fragments = self._fragments(regions, mask, captions, step)
            losses["fragments"] = config.fragments.weight * fragments
        if config.spans:
            spans = Texts.read(self.aligner, batch.spans, self.processes)
            losses["spans"] = config.weight_span * self._loss(
                regions, spans, mask, 0.5, step
            )
        return losses

    def _read(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Region vectors (B, N, F) of some rows as the aligner learns them.

        And their mask (B, N).
        """
        device = self.aligner.log_scale.device
        vectors = self.features.read_vectors(rows).to(device)
        mask = self.features.read_mask(rows).to(device)
        if self.standard is not None:
            centre, scale = self.standard
            vectors = (vectors - centre.to(device)) / scale
        if self.config.noise:
            real = vectors if mask.all() else vectors[mask]
            vectors = vectors + self.config.noise * real.std() * torch.randn_like(
                vectors
            )
        return vectors, mask

    def _loss(
        self, regions: Tensor, texts: Texts, mask: Tensor, drop_whole: float, step: int
    ) -> Tensor:
        """`alignment_loss` of the whole batch."""
        is_warm = step < self.config.hardest_after * self.config.optimiser.steps
        return alignment_loss(
            self.aligner,
            regions,
            texts,
            drop_whole,
            mask,
            warm=is_warm,
            processes=self.processes,
        )

    def _fragments(
        self, regions: Tensor, region_mask: Tensor, texts: Texts, step: int
    ) -> Tensor:
        """The loss of [3] over every region (B, N, D), mask (B, N), and word of the batch."""
        config = self.config.fragments
        warm = step < config.warm * self.config.optimiser.steps
        products = word_products(regions, texts.words, texts.mask)
        photo_of_word = texts.owner[:, None].expand_as(texts.mask)[texts.mask]
        return fragment_loss(
            products,
            photo_of_word,
            region_mask,
            len(texts.owner),
            warm=warm,
            over=config.over,
        )


def absorb_standard(aligner: Aligner, features: FrozenFeatures) -> None:
    """Let an aligner that learnt standardised features read them as they are.

    Args:
        aligner: changed in place.
        features: those that it learnt.
    """
    centre, scale = _standard(features)
    aligner.regions.absorb(centre.to(aligner.log_scale.device), scale)


def _standard(features: FrozenFeatures) -> tuple[Tensor, float]:
    """The mean (F,) of region vectors and the mean length of what is left of them.

    Over up to 1,000 photos.
    """
    rows = range(0, features.photos, max(1, features.photos // 1000))
    some = features.read_vectors(rows)[features.read_mask(rows)]
    centre = some.mean(0)
    return centre, float((some - centre).norm(dim=1).mean())


class Texts(NamedTuple):
    """The texts of a batch of photos, as the aligner reads them.

    Attributes:
        owner: (C,) which photo each belongs to.
        words: (C, T, D) word vectors s.
        mask: (C, T), True = a word that counts.
    """

    owner: Tensor
    words: Tensor
    mask: Tensor

    @classmethod
    def read(
        cls,
        aligner: Aligner,
        texts: Sequence[Sequence[Sequence[int]]],
        processes: Processes = ALONE,
        bounds: tuple[int, int] | None = None,
    ) -> Self:
        """Read, for each photo of a batch, its texts as word numbers.

        Each process reads those of its photos.

        Args:
            aligner: reads them.
            texts: of the photos of all processes.
            processes: those that share the batch.
            bounds: the first and last + 1 of this process's photos; None = an equal part.
        """
        first, last = bounds or processes.bounds(len(texts))
        words, mask = read_words(
            aligner, [text for group in texts[first:last] for text in group]
        )
        photo_of_text = [photo for photo, group in enumerate(texts) for _ in group]
        owner = torch.tensor(photo_of_text, device=words.device)
        return cls(owner, processes.gather(words), processes.gather(mask))


def read_words(
    aligner: Aligner, texts: Sequence[Sequence[int]]
) -> tuple[Tensor, Tensor]:
    """Word vectors (C, T, D) and mask (C, T) of texts as word numbers; C may be 0."""
    if texts:
        return aligner.encode_text(texts)
    nothing = aligner.log_scale.new_zeros(0, 1, aligner.config.size)
    return nothing, torch.zeros(0, 1, dtype=torch.bool, device=nothing.device)


def alignment_loss(
    aligner: Aligner,
    regions: Tensor,
    texts: Texts,
    drop_whole: float,
    mask: Tensor | None = None,
    *,
    warm: bool = False,
    processes: Processes = ALONE,
) -> Tensor:
    """The configured loss of photos against all texts of the batch.

    Args:
        aligner: score and loss.
        regions: (B, N, D) encoded regions v.
        texts: of these photos.
        drop_whole: share of the photos that answer without their whole-photo region: then a phrase
            must be found in a part of the photo.
        mask: (B, N), True = a region; None = all are.
        warm: hardest negatives are still all negatives.
        processes: those that compute the same loss.
    """
    blank = torch.ones(regions.shape[:2], dtype=torch.bool, device=regions.device)
    region_mask = blank if mask is None else mask.clone()
    (chance,) = processes.agree([torch.rand(len(regions), device=regions.device)])
    region_mask[:, 0] = chance >= drop_whole
    return aligner.loss(
        aligner.score(regions, texts.words, region_mask, texts.mask),
        texts.owner,
        warm=warm,
    )
