"""The whole model: extractor, aligner and generator with their vocabulary and preprocessing, and its folder on disk.

A folder holds ``config.json`` (format, kind, sizes), ``model.safetensors`` (fp16),
``vocabulary.json`` and a model card ``README.md``, and is enough by itself. Loading is strict;
nothing is ever unpickled.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from regiontalk.align.model import Aligner
from regiontalk.align.pairs import Chain
from regiontalk.generate.half_precision import HalfGenerator
from regiontalk.generate.model import Generator
from regiontalk.generate.search import Hypothesis, Step, beam
from regiontalk.images.preprocessing import Preprocessing
from regiontalk.model.config import DecodingConfig, ModelConfig
from regiontalk.model.storage import Unfilled, load_strictly, open_folder, save_folder
from regiontalk.regions.backbones import Backbone
from regiontalk.regions.crops import CropExtractor, CropNetwork
from regiontalk.regions.extractor import CELLS, Maps, OnePassExtractor
from regiontalk.regions.features import GEOMETRY_SIZE, PLACE_SIZE, box_geometry
from regiontalk.regions.precomputed import GivenExtractor
from regiontalk.text.vocabulary import END, Vocabulary, phrase_starts


def write_captions(
    generator: Generator | HalfGenerator,
    decoding: DecodingConfig,
    condition: Tensor,
    annotations: Tensor | None = None,
    mask: Tensor | None = None,
    beams: int | None = None,
    min_words: int = 0,
) -> list[Hypothesis]:
    """The best caption of each of R conditions (R, C), by beam search.

    Args:
        generator: what writes.
        decoding: how.
        condition: (R, C).
        annotations: (R, P, F), or None without attention.
        mask: (R, P), True = an annotation vector; None where all count.
        beams: K; None takes the model's own.
        min_words: no caption ends before it.
    """
    step, state = generator.search_step(condition, annotations, mask)
    hypotheses_by_row = beam(
        without_early_end(step, min_words),
        state,
        len(condition),
        decoding.max_words,
        decoding.beams if beams is None else beams,
        length_power=decoding.length_power,
        keep=1,
    )
    return [hypotheses[0] for hypotheses in hypotheses_by_row]


def without_early_end(step: Step[Any], min_words: int) -> Step[Any]:
    """A search step for which no sentence ends before ``min_words`` words; good for one search."""
    written = itertools.count()

    def longer_step(words: Tensor, state: Any) -> tuple[Tensor, Any]:
        log_probabilities, next_state = step(words, state)
        if next(written) < min_words:
            log_probabilities = log_probabilities.index_fill(
                1, words.new_tensor([END]), float("-inf")
            )
        return log_probabilities, next_state

    return longer_step if min_words else step


class RegionModel(nn.Module):
    """Extractor, aligner and generator in one module."""

    def __init__(
        self,
        *,
        config: ModelConfig,
        vocabulary: Vocabulary,
        backbone: Backbone | None = None,
        crops: CropNetwork | None = None,
    ) -> None:
        """Build from sizes; the backbone and the crops' network may come ready with their weights."""
        super().__init__()
        self.config = config
        self.vocabulary = vocabulary
        sizes = config.extractor
        usual = Preprocessing(size=sizes.size, fit=sizes.fit)
        half = (0.5, 0.5, 0.5)
        self.preprocessing = (
            usual if sizes.pixels == "imagenet" else replace(usual, mean=half, std=half)
        )
        self.extractor = self._extractor(backbone, crops)
        self.aligner = Aligner(
            features=self.extractor.vector_size, vocabulary=len(vocabulary), config=config.aligner
        )
        self.generator = Generator(
            features=self.condition_size(),
            annotation=(
                self.extractor.vector_size if config.generator.regions else self.extractor.cell_size
            )
            + (PLACE_SIZE if config.generator.places else 0),
            vocabulary=vocabulary,
            config=config.generator,
        )
        self.photo_check = nn.Linear(self.extractor.vector_size, 1) if config.photo_check else None

    def _extractor(self, backbone: Backbone | None, crops: CropNetwork | None) -> OnePassExtractor:
        """The extractor that the settings describe, on ready networks where there are any."""
        sizes = self.config.extractor
        if self.config.given is not None:
            return GivenExtractor(given=self.config.given, config=sizes)
        backbone = backbone or Backbone(sizes.backbone, same_padding=sizes.same_padding)
        if sizes.crops is None:
            return OnePassExtractor(backbone=backbone, config=sizes)
        return CropExtractor(
            backbone=backbone, network=crops or CropNetwork(sizes.crops), config=sizes
        )

    def regions(self, usual: int) -> int:
        """How many boxes compete beside the whole photo: the usual number, or as many as a model reads given ones."""
        return usual if self.config.given is None else self.config.given.regions

    def chain(self, beta: float | None = None) -> Chain:
        """How this model's snippets are inferred; ``beta`` None takes its own."""
        decoding = self.config.decoding
        words = self.vocabulary.words

        def starts(sentence: Sequence[int]) -> list[bool]:
            return phrase_starts([words[number] for number in sentence])

        smoothing = decoding.beta if beta is None else beta
        return Chain(smoothing, decoding.region_prior, starts if decoding.phrases else None)

    def photo_vectors(self, maps: Maps) -> Tensor:
        """The region vectors (B, F) of the whole photos."""
        size = self.config.extractor.size
        whole = maps.regions.new_tensor([0, 0, size, size]).expand(len(maps.regions), 1, 4)
        return self.extractor.vectors(maps, whole)[:, 0]

    def photo_probability(self, maps: Maps) -> Tensor:
        """How likely each of B pictures is a photo, (B,) in 0..1; ones for a model without that check."""
        if self.photo_check is None:
            return maps.regions.new_ones(len(maps.regions))
        logits: Tensor = self.photo_check(self.photo_vectors(maps).float())
        return logits.sigmoid()[:, 0]

    def condition_size(self) -> int:
        """C, the length of what the generator is conditioned on."""
        embedded = self.config.generator.source == "embedding"
        source = self.config.aligner.size if embedded else self.extractor.vector_size
        vectors = source * (2 if self.config.generator.with_photo else 1)
        return vectors + (GEOMETRY_SIZE if self.config.generator.geometry else 0)

    def conditions(
        self, maps: Maps, boxes_xyxy: Tensor, seen_xyxy: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """What the generator reads of boxes: conditions (B*N, C) and annotation vectors (B*N, P, F) or None.

        Args:
            maps: of B photos.
            boxes_xyxy: (B, N, 4) network pixels.
            seen_xyxy: (B, P, 4), what attention looks at where that is regions; None proposes them.

        Raises:
            ValueError: the model was trained on given features, where nothing teaches the
                generator.
        """
        if self.config.given is not None:
            raise ValueError(
                f"model {self.config.name!r}: expected one that writes captions; this one was trained on given "
                "features, and only aligns and locates"
            )
        size = self.config.extractor.size
        whole = boxes_xyxy.new_tensor([0, 0, size, size]).expand(len(boxes_xyxy), 1, 4)
        vectors = self.extractor.vectors(maps, torch.cat([whole, boxes_xyxy], 1))
        condition = self.condition(vectors[:, 1:], vectors[:, :1], boxes_xyxy).flatten(0, 1)
        if not self.config.generator.attention:
            return condition, None
        return condition, self._annotations(maps, boxes_xyxy, seen_xyxy).flatten(0, 1)

    def condition(self, vectors: Tensor, photo_vectors: Tensor, boxes_xyxy: Tensor) -> Tensor:
        """What the generator reads of boxes, from their region vectors.

        Args:
            vectors: (B, N, F) of the boxes.
            photo_vectors: (B, 1, F) of the whole photos.
            boxes_xyxy: (B, N, 4) network pixels.

        Returns:
            (B, N, C).
        """
        config = self.config.generator
        if config.source == "embedding":
            vectors, photo_vectors = (
                self.aligner.regions(vectors),
                self.aligner.regions(photo_vectors),
            )
        parts = [vectors]
        if config.with_photo:
            parts.append(photo_vectors.expand_as(vectors))
        if config.geometry:
            parts.append(box_geometry(boxes_xyxy, self.config.extractor.size).to(vectors.dtype))
        return torch.cat(parts, -1)

    def _annotations(self, maps: Maps, boxes_xyxy: Tensor, seen_xyxy: Tensor | None) -> Tensor:
        """What attention looks at: (B, N, P, F), the cells of each box, or for all boxes the photo's regions."""
        config = self.config.generator
        if not config.regions:
            grids, bins = self.extractor.grids(maps, boxes_xyxy, CELLS), CELLS
            where = boxes_xyxy
        else:
            where = (
                self.extractor.propose(maps, config.regions)[0] if seen_xyxy is None else seen_xyxy
            )
            grids, bins = self.extractor.vectors(maps, where)[:, :, None], 1
        if config.places:
            grids = torch.cat([grids, self.extractor.places(where, bins).to(grids.dtype)], -1)
        if config.regions:
            grids = grids.squeeze(2)[:, None].expand(-1, boxes_xyxy.shape[1], -1, -1)
        return grids

    def save_pretrained(self, folder: Path, card: str) -> None:
        """Write the model folder: fp16 weights, sizes, words and the model card.

        Every file is written under another name first, ``config.json`` last, so that a folder
        without it is no model.
        """
        save_folder(folder, self, self.config, self.vocabulary, card)

    @classmethod
    def from_folder(cls, folder: Path) -> RegionModel:
        """Read what `save_pretrained` wrote, ready for use: fp32, evaluation mode, batch norm folded.

        Raises:
            ValueError: a file is missing, has another format, or holds tensors of other names or
                shapes.
        """
        config, vocabulary = open_folder(folder, ModelConfig)
        sizes = config.extractor
        with Unfilled():
            looks = config.given is None  # else there is nothing to build
            backbone = (
                Backbone(sizes.backbone, same_padding=sizes.same_padding, light=True)
                if looks
                else None
            )
            model = cls(config=config, vocabulary=vocabulary, backbone=backbone)
        if config.folded:
            model.extractor.fold()
        load_strictly(model, folder / "model.safetensors")
        return model.eval()

    def folded(self) -> RegionModel:
        """This model with every batch norm folded into its convolution: the form that is saved for use."""
        if not self.config.folded:
            self.extractor.fold()
            self.config = self.config.model_copy(update={"folded": True})
        return self.eval()


def reachable(device: str | torch.device) -> torch.device:
    """A device on which this torch can compute.

    >>> reachable("cpu")
    device(type='cpu')

    Raises:
        ValueError: an unknown name, or a device that is not there.
    """
    try:
        return torch.zeros(1, device=device).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # each backend has its own
        first = (str(error).splitlines() or [""])[0].rstrip(".")
        raise ValueError(
            f"device: expected cpu, or an accelerator that torch reaches, got {device!r} ({first})"
        ) from error
