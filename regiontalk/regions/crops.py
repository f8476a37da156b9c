"""The paper's own region features.

A network runs on the crop of every box, warped to 224 pixels ([1], 3.1.1). A region
vector is what the layer before the classifier says (the 4096 numbers of fc7 for AlexNet
and VGG-19), or the last map, pooled to 7x7 cells and laid out in a row. Where to look
still comes from the one-pass proposer, or from whatever source of boxes the user names:
this class is an `OnePassExtractor` with other vectors.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from regiontalk.regions.backbones import (
    Backbone,
    load_local,
    published_torchvision,
    timm_network,
)
from regiontalk.regions.config import CELLS, ExtractorConfig
from regiontalk.regions.extractor import Maps, OnePassExtractor
from regiontalk.regions.features import axis_weights

SIDE = 224  # pixels of a crop
TORCHVISION = ("alexnet",)  # networks that timm does not have
_TOGETHER = 64  # crops in memory at once


class CropNetwork(nn.Module):
    """A classifier without its last layer: crops (R, 3, 224, 224) to (R, F)."""

    net: Any  # neither library's networks share a typed interface

    def __init__(self, name: str, *, pretrained: bool = False) -> None:
        """Build it.

        Args:
            name: a timm model name, such as ``vgg19``, or ``alexnet``.
            pretrained: download the published weights (needs a network the first time).

        Raises:
            ValueError: no such network, or its published weights cannot be had.
        """
        super().__init__()
        if name in TORCHVISION:
            from torchvision.models import get_model

            self.net = get_model(name, weights=None)
            if pretrained:
                self.net.load_state_dict(published_torchvision(name))
            self.vector_size = int(self.net.classifier[-1].in_features)
            self.cell_size = int(self.net.features[-3].out_channels)
            self.net.classifier[-1] = nn.Identity()
        else:
            self.net = timm_network(name, pretrained)
            self.cell_size = int(self.net.num_features)
            self.vector_size = int(
                getattr(self.net, "head_hidden_size", None) or self.cell_size
            )
        self._channels_last = getattr(self.net, "output_fmt", "NCHW") == "NHWC"

    def forward(self, crops: Tensor) -> Tensor:
        """The layer before the classifier: (R, F)."""
        vectors: Tensor = self.net(crops)
        return vectors

    def cells(self, crops: Tensor, bins: int) -> Tensor:
        """The last map, pooled to ``bins`` x ``bins``: (R, bins * bins, C), row by row."""
        if hasattr(self.net, "forward_intermediates"):
            last_map = self.net.forward_intermediates(crops)[0]
            if self._channels_last:
                last_map = last_map.permute(0, 3, 1, 2)
        else:
            last_map = self.net.features(crops)
        pooled = functional.adaptive_avg_pool2d(last_map, bins)  # (R, C, bins, bins)
        return pooled.flatten(2).transpose(1, 2)

    def load_weights(self, path: Path) -> None:
        """Fill it from a safetensors state dict of the same network, its classifier left out.

        Raises:
            FileNotFoundError: no such file.
            ValueError: the file holds other tensors than the network.
        """
        load_local(self.net, path)


class CropExtractor(OnePassExtractor):
    """Proposals of one pass over the photo, vectors of one pass over every crop.

    Its maps are the pixels themselves.
    """

    def __init__(
        self, *, backbone: Backbone, network: CropNetwork, config: ExtractorConfig
    ) -> None:
        """Take both networks built; the crops' network stays as it is, in training too."""
        super().__init__(backbone=backbone, config=config)
        self.network = network.requires_grad_(False)
        self.stride = 1
        self.map_size = 3
        self.cell_size = network.cell_size
        self.vector_size = network.vector_size
        if config.pool == "grid":
            self.vector_size = network.cell_size * CELLS**2

    def forward(self, pixels: Tensor) -> Maps:
        """Proposals of normalised pixels (B, 3, S, S), and the pixels."""
        maps = super().forward(pixels)
        return maps._replace(regions=pixels)

    @torch.no_grad()
    def vectors(self, maps: Maps, boxes_xyxy: Tensor) -> Tensor:
        """Region vectors (B, N, F) of boxes (B, N, 4) in network pixels."""
        if self.config.pool == "grid":
            return self.grids(maps, boxes_xyxy).flatten(2)
        vectors = [self.network(crops) for crops in self._crops(maps, boxes_xyxy)]
        return _by_photo(vectors, boxes_xyxy, self.vector_size)

    @torch.no_grad()
    def grids(self, maps: Maps, boxes_xyxy: Tensor, bins: int = CELLS) -> Tensor:
        """Annotation vectors (B, N, bins * bins, C) of boxes (B, N, 4).

        For soft attention; boxes in network pixels.
        """
        cells = [
            self.network.cells(crops, bins) for crops in self._crops(maps, boxes_xyxy)
        ]
        return _by_photo(cells, boxes_xyxy, bins * bins, self.cell_size)

    def train(self, mode: bool = True) -> Self:
        """Training leaves the crops' network as in use: it has dropout and perhaps batch norms."""
        super().train(mode)
        self.network.eval()
        return self

    def _crops(self, maps: Maps, boxes_xyxy: Tensor) -> Iterator[Tensor]:
        """The crops of all boxes, some at a time: none is kept while the next are cut."""
        photos, count, _ = boxes_xyxy.shape
        if torch.compiler.is_compiling():  # who runs the graph asks for few at a time
            copies = maps.regions[:, None].expand(-1, count, -1, -1, -1)
            yield crop(copies.flatten(0, 1), boxes_xyxy.flatten(0, 1), SIDE)
            return
        photo_rows = torch.arange(photos, device=boxes_xyxy.device)
        photo_of_box = photo_rows.repeat_interleave(count)
        flat_boxes = boxes_xyxy.flatten(0, 1)
        for first in range(0, len(flat_boxes), _TOGETHER):
            chunk = slice(first, first + _TOGETHER)
            yield crop(maps.regions[photo_of_box[chunk]], flat_boxes[chunk], SIDE)


def _by_photo(chunks: list[Tensor], boxes_xyxy: Tensor, *shape: int) -> Tensor:
    """What was computed of all boxes (B, N, 4), chunk by chunk, as (B, N, *shape)."""
    rows = torch.cat(chunks) if chunks else boxes_xyxy.new_zeros(0, *shape)
    return rows.view(*boxes_xyxy.shape[:2], *shape)


def crop(pixels: Tensor, boxes_xyxy: Tensor, side: int) -> Tensor:
    """Warp one box of each image to a square.

    Bilinear, two samples a pixel and axis (RoIAlign of the pixels).

    Args:
        pixels: (R, 3, h, w).
        boxes_xyxy: (R, 4) in those pixels.
        side: of the result.

    Returns:
        (R, 3, side, side).
    """
    height, width = pixels.shape[2:]
    x1, y1, x2, y2 = boxes_xyxy.to(pixels.dtype).unbind(-1)
    rows = axis_weights(y1, y2, height, side)[:, None]  # (R, 1, side, h)
    columns = axis_weights(x1, x2, width, side)[:, None]  # (R, 1, side, w)
    return rows @ pixels @ columns.transpose(2, 3)
