"""The one-pass extractor.

Proposals, region vectors and the whole photo's vector from one run of one backbone.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from regiontalk.regions.backbones import STRIDES, Backbone, fold_batch_norm, fold_pair
from regiontalk.regions.config import CELLS, ExtractorConfig
from regiontalk.regions.features import roi_grid, roi_mean, roi_places
from regiontalk.regions.proposals import ProposalHead
from regiontalk.regions.selection import select_regions


class Maps(NamedTuple):
    """What one run of the backbone leaves: all that regions need."""

    regions: Tensor  # (B, F, h, w) at the extractor's stride
    objectness: Tensor  # (B, A) logits
    boxes_xyxy: Tensor  # (B, A, 4) network pixels


class OnePassExtractor(nn.Module):
    """Backbone, region map and proposal head."""

    def __init__(self, *, backbone: Backbone, config: ExtractorConfig) -> None:
        """Take a built backbone; the rest has the sizes of ``config``."""
        super().__init__()
        _, middle, final = backbone.channels
        self.backbone = backbone
        self.config = config
        self.stride = STRIDES[1]
        # channels of `Maps.regions` and of an annotation vector
        self.map_size = self.cell_size = config.features
        self.vector_size = config.features * (CELLS**2 if config.pool == "grid" else 1)
        if config.neck:
            self.middle = nn.Conv2d(middle, config.features, 1, bias=False)
            self.final = nn.Conv2d(final, config.features, 1, bias=False)
            self.norm: nn.Module = nn.BatchNorm2d(config.features)
        elif config.features != final + middle:
            raise ValueError(
                f"extractor: features = {config.features} and neck = false cannot "
                "meet: without a neck a region vector has the length of the backbone's "
                f"last two maps, {final + middle} for {config.backbone}"
            )
        else:
            # nothing to learn, only each channel brought to one scale, so that no map drowns the
            # other
            self.norm = nn.BatchNorm2d(config.features, affine=False)
        self.proposals = ProposalHead(
            backbone.channels, size=config.size, width=config.proposal_width
        )

    def forward(self, pixels: Tensor) -> Maps:
        """Maps of normalised pixels (B, 3, S, S)."""
        fine, middle, final = self.backbone(pixels)
        objectness, boxes_xyxy = self.proposals((fine, middle, final))
        if self.config.neck:
            coarse = _resize(self.final(final), middle)
            regions = functional.relu(self.norm(self.middle(middle) + coarse))
        else:
            coarse = _resize(final, middle)
            regions = self.norm(torch.cat([coarse, middle], 1))
        return Maps(regions, objectness, boxes_xyxy)

    def in_chunks(
        self, pixels: Tensor, photos: int = 16, *, recompute: bool = False
    ) -> Maps:
        """`forward`, so many photos at a time.

        Their maps fit a processor's cache, and memory stays low.

        Args:
            pixels: (B, 3, S, S) normalised.
            photos: of a chunk.
            recompute: what the gradient needs is computed again chunk by chunk instead of held for
                all of them: where every layer learns, 96 photos of 320 pixels would take 24 GB.
        """
        from torch.utils.checkpoint import checkpoint  # here: using a model needs none

        chunks: list[Maps] = []
        for first in range(0, len(pixels), photos):
            chunk = pixels[first : first + photos]
            if recompute:
                chunks.append(checkpoint(self, chunk, use_reentrant=False))
            else:
                chunks.append(self(chunk))
        return Maps(*(torch.cat(values) for values in zip(*chunks, strict=True)))

    def take_over(self, source: OnePassExtractor) -> None:
        """Take the weights of another extractor of the same sizes.

        A crops' network that it lacks stays as it is.
        """
        current = self.state_dict()
        state = {key: value for key, value in current.items() if _of_crops(key)}
        for key, value in source.state_dict().items():
            if key in current or not _of_crops(key):
                state[key] = value
        self.load_state_dict(state)

    def fold(self) -> None:
        """Fold every batch norm into the convolutions before it, in place: the form for use."""
        fold_batch_norm(self.backbone)
        if self.config.neck and isinstance(self.norm, nn.BatchNorm2d):
            fold_pair(self.final, self.norm, scale_also=(self.middle,))
            self.norm = nn.Identity()

    @torch.no_grad()
    def propose(self, maps: Maps, count: int) -> tuple[Tensor, Tensor]:
        """The whole image and the ``count`` best proposals of each image.

        See `selection.select_regions`.

        Returns:
            boxes (B, 1 + count, 4) in network pixels, row 0 the whole image, and scores (B, 1 +
            count) in 0..1.
        """
        objectness = maps.objectness.float().cpu().numpy()
        candidates = maps.boxes_xyxy.float().cpu().numpy()
        boxes, scores = select_regions(
            objectness,
            candidates,
            count,
            size=self.config.size,
            nms_iou=self.config.nms_iou,
        )
        device = maps.boxes_xyxy.device
        return torch.from_numpy(boxes).to(device), torch.from_numpy(scores).to(device)

    def vectors(self, maps: Maps, boxes_xyxy: Tensor) -> Tensor:
        """Region vectors (B, N, F) of boxes (B, N, 4) in network pixels."""
        if self.config.pool == "grid":
            return self.grids(maps, boxes_xyxy).flatten(2)
        return roi_mean(maps.regions, boxes_xyxy, self.stride)

    def grids(self, maps: Maps, boxes_xyxy: Tensor, bins: int = CELLS) -> Tensor:
        """Annotation vectors (B, N, bins * bins, F) of boxes (B, N, 4).

        For soft attention; boxes in network pixels.
        """
        return roi_grid(maps.regions, boxes_xyxy, self.stride, bins)

    def places(self, boxes_xyxy: Tensor, bins: int = CELLS) -> Tensor:
        """Where the vectors of `grids` stand in the photo: (B, N, bins * bins, PLACE_SIZE)."""
        return roi_places(boxes_xyxy, self.config.size, bins)


def _resize(features: Tensor, like: Tensor) -> Tensor:
    """A map (B, C, h, w) brought to the cells of another, bilinearly."""
    cells = like.shape[-2:]
    return functional.interpolate(
        features, size=cells, mode="bilinear", align_corners=False
    )


def _of_crops(key: str) -> bool:
    """Whether a name of a state dict is of the network that runs on crops."""
    return key.startswith("network.")
