"""Whether a caption is true of a region: the head that is taught with captions that are wrong.

The generator says what a region most likely is and has never seen a region that is
nothing it knows; it then says the nearest name. This head is taught with the
generator's own captions on proposals, right and wrong, as the image-text matching loss
of ALBEF (Li et al., 2021) is with pairs that do not belong together. It is bilinear of
low rank, and a small hidden layer reads the products too (after Kim et al., 2017); a caption costs
some hundred thousand multiplications.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

GEOMETRY = 4  # corners of a box as shares of the image's side


class CaptionCheck(nn.Module):
    """The logit that a caption is true of a region."""

    def __init__(
        self, region_size: int, text_size: int, rank: int, hidden: int = 0
    ) -> None:
        """Build for region features of ``region_size`` and caption vectors of ``text_size``.

        ``hidden`` is the size of the layer that reads the ``rank`` products; 0 = none does.
        """
        super().__init__()
        self.region = nn.Linear(region_size + GEOMETRY, rank)
        self.text = nn.Linear(text_size, rank)
        self.hidden = nn.Linear(rank, hidden) if hidden else None
        self.output = nn.Linear(hidden, 1) if hidden else None

    def forward(self, regions: Tensor, corners: Tensor, texts: Tensor) -> Tensor:
        """Logits (R,) of R pairs.

        Args:
            regions: (R, F) region features.
            corners: (R, 4) x1, y1, x2, y2 of their boxes as shares of the image's side.
            texts: (R, D) sums of the captions' word vectors s.
        """
        products = self.region(torch.cat([regions, corners], -1)) * self.text(texts)
        logits: Tensor = products.sum(-1) / math.sqrt(products.shape[-1])
        if self.hidden is None or self.output is None:
            return logits
        read: Tensor = self.output(functional.relu(self.hidden(products)))
        return logits + read.squeeze(-1)

    @torch.no_grad()
    def with_product(self, region: nn.Linear, text: nn.Linear) -> CaptionCheck:
        """This check plus a product, in one rank more.

        Args:
            region: region features (R, F) to (R, 1).
            text: sums of word vectors (R, D) to (R, 1), by which that is multiplied.
        """
        rank = self.text.out_features + 1
        hidden = 0 if self.hidden is None else self.hidden.out_features
        check = CaptionCheck(region.in_features, text.in_features, rank, hidden)
        # sums of products are divided by the root of the rank, which grows
        growth = math.sqrt(rank / (rank - 1))
        corners = functional.pad(region.weight, (0, GEOMETRY))
        _fill(check.region, self.region, growth**0.5, corners, region.bias)
        root = math.sqrt(rank)
        _fill(check.text, self.text, growth**0.5, root * text.weight, root * text.bias)
        if check.hidden is not None and self.hidden is not None:
            # it passes over the new product
            check.hidden.weight.copy_(
                functional.pad(self.hidden.weight / growth, (0, 1))
            )
            check.hidden.bias.copy_(self.hidden.bias)
            check.output = self.output
        return check.eval()


def _fill(
    layer: nn.Linear, old: nn.Linear, scale: float, weight: Tensor, bias: Tensor
) -> None:
    """Give a layer the outputs of an old one times ``scale`` and, behind them, a new one."""
    layer.weight.copy_(torch.cat([scale * old.weight, weight]))
    layer.bias.copy_(torch.cat([scale * old.bias, bias]))
