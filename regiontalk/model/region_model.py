"""The whole model and its folder on disk.

Extractor, aligner and generator with their vocabulary and preprocessing. A folder holds
``config.json`` (format, kind, sizes), ``model.safetensors`` (fp16), ``vocabulary.json``
and a model card ``README.md``, and is enough by itself. Loading is strict; nothing is
ever unpickled.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from regiontalk.align.caption_check import CaptionCheck
from regiontalk.align.model import Aligner
from regiontalk.align.pairs import Chain
from regiontalk.generate.model import Generator
from regiontalk.model.config import ModelConfig, chain_of, preprocessing_of
from regiontalk.model.int8 import use_float, use_int8
from regiontalk.model.storage import open_folder
from regiontalk.model.weights import load_strictly, save_folder, skip_init
from regiontalk.regions.backbones import Backbone
from regiontalk.regions.config import CELLS
from regiontalk.regions.crops import CropExtractor, CropNetwork
from regiontalk.regions.extractor import Maps, OnePassExtractor
from regiontalk.regions.features import GEOMETRY_SIZE, PLACE_SIZE, box_geometry
from regiontalk.regions.precomputed_extractor import PrecomputedExtractor
from regiontalk.text.vocabulary import Vocabulary


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
        """Build from sizes.

        The backbone and the crops' network may come ready with their weights.
        """
        super().__init__()
        self.config = config
        self.vocabulary = vocabulary
        self.preprocessing = preprocessing_of(config.extractor)
        self.extractor = self._extractor(backbone, crops)
        self.aligner = Aligner(
            features=self.extractor.vector_size,
            vocabulary=len(vocabulary),
            config=config.aligner,
        )
        self.generator = Generator(
            features=self.condition_size(),
            annotation=self.annotation_size(),
            vocabulary=vocabulary,
            config=config.generator,
        )
        self.photo_check = (
            nn.Linear(self.extractor.vector_size, 1) if config.photo_check else None
        )
        self.caption_check = None
        if config.caption_check:
            self.caption_check = CaptionCheck(
                self.extractor.vector_size,
                config.aligner.size,
                config.caption_check,
                config.caption_check_hidden,
            )

    def _extractor(
        self, backbone: Backbone | None, crops: CropNetwork | None
    ) -> OnePassExtractor:
        """The extractor that the settings describe, on ready networks where there are any."""
        sizes = self.config.extractor
        if self.config.precomputed is not None:
            return PrecomputedExtractor(sizes=self.config.precomputed, config=sizes)
        backbone = backbone or Backbone(sizes.backbone, same_padding=sizes.same_padding)
        if sizes.crops is None:
            return OnePassExtractor(backbone=backbone, config=sizes)
        network = crops or CropNetwork(sizes.crops)
        return CropExtractor(backbone=backbone, network=network, config=sizes)

    def chain(self, beta: float | None = None) -> Chain:
        """How this model's snippets are inferred; ``beta`` None takes its own."""
        return chain_of(self.config.decoding, self.vocabulary, beta)

    def photo_vectors(self, maps: Maps) -> Tensor:
        """The region vectors (B, F) of the whole photos."""
        whole_photos = self._whole_photos(maps.regions)
        return self.extractor.vectors(maps, whole_photos)[:, 0]

    def _whole_photos(self, like: Tensor) -> Tensor:
        """The box of every whole photo (B, 1, 4) in network pixels.

        Of the dtype and device of B rows.
        """
        size = self.config.extractor.size
        return like.new_tensor([0, 0, size, size]).expand(len(like), 1, 4)

    def condition_size(self) -> int:
        """C, the length of what the generator is conditioned on."""
        config = self.config.generator
        is_embedded = config.source == "embedding"
        vector_size = (
            self.config.aligner.size if is_embedded else self.extractor.vector_size
        )
        vectors = 2 if config.with_photo else 1
        geometry_size = GEOMETRY_SIZE if config.geometry else 0
        return vectors * vector_size + geometry_size

    def annotation_size(self) -> int:
        """The length of an annotation vector, of a region or of a cell."""
        config = self.config.generator
        vector_size = (
            self.extractor.vector_size if config.regions else self.extractor.cell_size
        )
        return vector_size + (PLACE_SIZE if config.places else 0)

    def conditions(
        self,
        maps: Maps,
        boxes_xyxy: Tensor,
        seen_xyxy: Tensor | None = None,
        vectors: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """What the generator reads of boxes.

        Conditions (B*N, C) and annotation vectors (B*N, P, F) or None.

        Args:
            maps: of B photos.
            boxes_xyxy: (B, N, 4) network pixels.
            seen_xyxy: (B, P, 4), what attention looks at where that is regions; None proposes them.
            vectors: (B, 1 + N, F) region vectors of the whole photo and the boxes, where they are
                known.

        Raises:
            ValueError: the model was trained on precomputed features, where nothing teaches the
                generator.
        """
        if self.config.precomputed is not None:
            raise ValueError(
                f"model {self.config.name!r}: expected one that writes captions; this "
                "one was trained on given features, and only aligns and locates"
            )
        config = self.config.generator
        if vectors is None:
            boxes = torch.cat([self._whole_photos(boxes_xyxy), boxes_xyxy], 1)
            vectors = self.extractor.vectors(maps, boxes)
        photo_vectors, region_vectors = vectors[:, :1], vectors[:, 1:]
        conditions = self.condition(region_vectors, photo_vectors, boxes_xyxy).flatten(
            0, 1
        )
        if not config.attention:
            return conditions, None
        attended_xyxy = boxes_xyxy
        if config.regions:
            proposed, _ = self.extractor.propose(maps, config.regions)
            attended_xyxy = proposed if seen_xyxy is None else seen_xyxy
        annotations = self.annotation_vectors(maps, attended_xyxy)
        return conditions, self.of_each_box(annotations, boxes_xyxy.shape[1]).flatten(
            0, 1
        )

    def condition(
        self, vectors: Tensor, photo_vectors: Tensor, boxes_xyxy: Tensor
    ) -> Tensor:
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
            vectors = self.aligner.embed_regions(vectors)
            photo_vectors = self.aligner.embed_regions(photo_vectors)
        parts = [vectors]
        if config.with_photo:
            parts.append(photo_vectors.expand_as(vectors))
        if config.geometry:
            geometry = box_geometry(boxes_xyxy, self.config.extractor.size)
            parts.append(geometry.to(vectors.dtype))
        return torch.cat(parts, -1)

    def annotation_vectors(self, maps: Maps, boxes_xyxy: Tensor) -> Tensor:
        """What attention looks at.

        Cells of boxes (B, N, 4), (B, N, P, F), or as one list the regions (B, N, F).
        """
        config = self.config.generator
        bins = 1 if config.regions else CELLS
        if config.regions:
            vectors = self.extractor.vectors(maps, boxes_xyxy)[:, :, None]
        else:
            vectors = self.extractor.grids(maps, boxes_xyxy, CELLS)
        if config.places:
            places = self.extractor.places(boxes_xyxy, bins).to(vectors.dtype)
            vectors = torch.cat([vectors, places], -1)
        return vectors.squeeze(2) if config.regions else vectors

    def of_each_box(self, annotations: Tensor, boxes: int) -> Tensor:
        """`annotation_vectors` as (B, N, P, F).

        The regions of a photo are looked at for each of its boxes.
        """
        if not self.config.generator.regions:
            return annotations
        return annotations[:, None].expand(-1, boxes, -1, -1)

    def save_pretrained(self, folder: Path, card: str) -> None:
        """Write the model folder: fp16 weights, sizes, words and the model card.

        Every file is written under another name first, ``config.json`` last, so that a folder
        without it is no model.
        """
        save_folder(folder, self, self.config, self.vocabulary, card)

    @classmethod
    def from_folder(cls, folder: Path) -> RegionModel:
        """Read what `save_pretrained` wrote, ready for use.

        Fp32, evaluation mode, batch norm folded.

        Raises:
            ValueError: a file is missing, has another format, or holds tensors of other names or
                shapes.
        """
        config, vocabulary = open_folder(folder, ModelConfig)
        sizes = config.extractor
        with skip_init():
            backbone = None
            if config.precomputed is None:  # else there is nothing to build
                backbone = Backbone(
                    sizes.backbone, same_padding=sizes.same_padding, light=True
                )
            model = cls(config=config, vocabulary=vocabulary, backbone=backbone)
        if config.folded:
            model.extractor.fold()
        if config.int8_backbone:
            model.extractor.backbone.use_int8()
        if config.int8_proposals:
            model.extractor.proposals.use_int8()
        if config.int8:
            use_int8(model.generator, empty=True)
        load_strictly(model, folder / "model.safetensors")
        return model.eval()

    def in_int8(self) -> RegionModel:
        """This model with the decoder's largest layers in int8 (`model.int8`), in place.

        A form for use alone.
        """
        if not self.config.int8:
            use_int8(self.generator)
            self.config = self.config.model_copy(update={"int8": True})
        return self.eval()

    def trainable(self) -> RegionModel:
        """This model with all layers that can learn in floating point, in place.

        So stages train them.
        """
        if self.config.int8_proposals:
            self.extractor.proposals.use_float()
            self.config = self.config.model_copy(update={"int8_proposals": False})
        if self.config.int8:
            use_float(self.generator)
            self.config = self.config.model_copy(update={"int8": False})
        return self

    def folded(self) -> RegionModel:
        """This model with every batch norm folded into its convolution.

        The form that is saved for use.
        """
        if not self.config.folded:
            self.extractor.fold()
            self.config = self.config.model_copy(update={"folded": True})
        return self.eval()


def resolve_device(device: str | torch.device) -> torch.device:
    """A device on which this torch can compute.

    >>> resolve_device("cpu")
    device(type='cpu')

    Raises:
        ValueError: an unknown name, or a device that is not there.
    """
    try:
        return torch.zeros(1, device=device).device
    except (
        RuntimeError,
        AssertionError,
        NotImplementedError,
    ) as error:  # each backend has its own
        first_line = str(error).partition("\n")[0].rstrip(".")
        raise ValueError(
            "device: expected cpu, or an accelerator that torch reaches, got "
            f"{device!r} ({first_line})"
        ) from error
