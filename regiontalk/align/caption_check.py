"""Whether a caption is true of a region: the head that is taught with captions that are wrong.

The generator says what a region most likely is and has never seen a region that is
nothing it knows; it then says the nearest name. This head is taught with the
generator's own captions on proposals, right and wrong, as the image-text matching loss
of ALBEF (Li et al., 2021) is with pairs that do not belong together. It is bilinear of
low rank, so a caption costs a few thousand multiplications.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

GEOMETRY = 4  # corners of a box as shares of the image's side


class CaptionCheck(nn.Module):
    """The logit that a caption is true of a region."""

    def __init__(self, region_size: int, text_size: int, rank: int) -> None:
        """Build for region features of ``region_size`` and caption vectors of ``text_size``."""
        super().__init__()
        self.region = nn.Linear(region_size + GEOMETRY, rank)
        self.text = nn.Linear(text_size, rank)

    def forward(self, regions: Tensor, corners: Tensor, texts: Tensor) -> Tensor:
        """Logits (R,) of R pairs.

        Args:
            regions: (R, F) region features.
            corners: (R, 4) x1, y1, x2, y2 of their boxes as shares of the image's side.
            texts: (R, D) sums of the captions' word vectors s.
        """
        projected = self.region(torch.cat([regions, corners], -1)) * self.text(texts)
        logits: Tensor = projected.sum(-1) / math.sqrt(projected.shape[-1])
        return logits

    @torch.no_grad()
    def with_product(self, region: nn.Linear, text: nn.Linear) -> CaptionCheck:
        """This check plus a product, in one rank more.

        Args:
            region: region features (R, F) to (R, 1).
            text: sums of word vectors (R, D) to (R, 1), by which that is multiplied.
        """
        old_rank, text_size = self.text.weight.shape
        rank, region_size = old_rank + 1, region.in_features
        check = CaptionCheck(region_size, text_size, rank)
        # sums of products are divided by the root of the rank, which grows
        scale = (rank / old_rank) ** 0.25
        for mine, theirs in ((check.region, self.region), (check.text, self.text)):
            mine.weight[:old_rank] = scale * theirs.weight
            mine.bias[:old_rank] = scale * theirs.bias
        check.region.weight[old_rank] = functional.pad(region.weight[0], (0, GEOMETRY))
        check.region.bias[old_rank] = region.bias[0]
        check.text.weight[old_rank] = math.sqrt(rank) * text.weight[0]
        check.text.bias[old_rank] = math.sqrt(rank) * text.bias[0]
        return check.eval()
