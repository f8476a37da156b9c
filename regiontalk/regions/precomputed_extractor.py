"""The extractor of a model that looks at no pixel.

Its regions and their vectors come from elsewhere.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regiontalk.regions.config import ExtractorConfig, PrecomputedConfig
from regiontalk.regions.extractor import Maps, OnePassExtractor


class PrecomputedExtractor(OnePassExtractor):
    """An extractor without weights.

    What it says of a photo stands in the maps that `precomputed_features` makes.
    """

    def __init__(self, *, sizes: PrecomputedConfig, config: ExtractorConfig) -> None:
        """Take the length of the vectors.

        Of ``config`` only the network image's size and fit count.
        """
        nn.Module.__init__(self)  # not the parent's: there is no backbone
        self.config = config
        self.stride = 1
        self.map_size = self.cell_size = self.vector_size = sizes.features

    def forward(self, pixels: Tensor) -> Maps:
        """Refused: there is nothing to see here.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "this model reads given features: expected maps made by "
            "precomputed_features, got pixels"
        )

    def fold(self) -> None:
        """Nothing to fold."""

    def propose(self, maps: Maps, count: int) -> tuple[Tensor, Tensor]:
        """The whole image and the first ``count`` precomputed boxes, fewer where fewer are read.

        Boxes (B, 1 + N, 4) and scores (B, 1 + N); an empty box of score 0 is no region.
        """
        rows = slice(0, 1 + count)
        return maps.boxes_xyxy[:, rows], maps.objectness[:, rows]

    def vectors(self, maps: Maps, boxes_xyxy: Tensor) -> Tensor:
        """Region vectors (B, N, F) of the first boxes (B, N, 4) of `propose`.

        Raises:
            ValueError: other boxes, for which nobody computed anything.
        """
        count = boxes_xyxy.shape[1]
        if not torch.equal(maps.boxes_xyxy[:, :count], boxes_xyxy):
            raise ValueError(
                "this model reads given features: expected their own boxes, got "
                "others, which have none"
            )
        return maps.regions[:, :count]

    def grids(self, maps: Maps, boxes_xyxy: Tensor, bins: int = 0) -> Tensor:
        """Refused: a precomputed vector has no cells.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "this model reads given features, one vector a box: there are no cells to look at"
        )
