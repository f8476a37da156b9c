"""Which photos of a library may answer a query: every region in 96 bytes, and all photos compared at once.

A region vector is v = W_m f + b_m (eq. 1 of [1]), so regions differ most along the first left
singular vectors of [W_m b_m]. A sketch keeps a vector's coordinates along those, a byte each; eq. 8
over sketches is one product of small integers a region and word, which takes a hundred thousand
photos in tens of milliseconds. Its order is only that of candidates. The basis follows from the
model alone, so it is the same on every machine and for every photo.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regiontalk.align.encoders import RegionEncoder
from regiontalk.records import FloatArray

SIZE = 96  # coordinates of a sketch, a byte each; benchmarks/index_speed.py measures what it finds
LONGEST = 0.5  # a coordinate of a unit vector beyond this is cut; with 256 of them hardly one is
_TOGETHER = 2048  # photos whose products fit the cache
_WORDS = 8  # products with 8 or 16 words take half the time of those with 7 or 11

Bytes = NDArray[np.int8]


@torch.no_grad()
def sketch_basis(regions: RegionEncoder) -> FloatArray:
    """The directions (D, S) along which the regions of a model differ most, S = 96 or D where that is less."""
    weights = torch.cat([regions.project.weight, regions.project.bias[:, None]], 1)
    basis = torch.linalg.svd(weights.cpu().double(), full_matrices=False).U[:, :SIZE]
    largest = basis.gather(
        0, basis.abs().argmax(0, keepdim=True)
    )  # the sign of a singular vector is nobody's choice
    return np.asarray((basis * largest.sign()).numpy(), dtype=np.float32)


def sketch(vectors: FloatArray, basis: FloatArray) -> Bytes:
    """Sketches (..., S) of unit vectors (..., D)."""
    return (vectors @ basis * (127 / LONGEST)).round().clip(-127, 127).astype(np.int8)


@dataclass(frozen=True)
class Sketches:
    """All photos of a library.

    Attributes:
        ids: (P,) by which the table knows its rows, rising.
        regions: (P, N, S) int8; a photo with fewer regions has its first one again.
    """

    ids: NDArray[np.uint64]
    regions: Tensor

    @torch.inference_mode()
    def best(
        self, words: FloatArray, count: int, among: NDArray[np.uint64] | None = None
    ) -> NDArray[np.uint64]:
        """The ids of the ``count`` photos whose regions answer best, best first.

        Args:
            words: (T, S) the query's vectors along the basis, each as long as its weight.
            count: how many at most.
            among: only photos with these ids; None for all.
        """
        chosen = None if among is None else np.flatnonzero(np.isin(self.ids, among))
        if len(self.ids if chosen is None else chosen) <= count:
            return self.ids if chosen is None else self.ids[chosen]
        regions = self.regions if chosen is None else self.regions[torch.from_numpy(chosen)]
        words = np.pad(words, ((0, -len(words) % _WORDS), (0, 0)))
        length = np.abs(words).max(axis=1, keepdims=True).clip(min=1e-12)
        quantized_words = torch.from_numpy(
            (words * (127 / length)).round().astype(np.int8)
        ).T.contiguous()  # (S, T)
        weights = torch.from_numpy(length.astype(np.float32))  # (T, 1)
        scores = []
        for block in torch.split(regions, _TOGETHER):
            products = torch._int_mm(block.flatten(0, 1), quantized_words).view(
                *block.shape[:2], -1
            )
            scores.append((products.amax(1).float() @ weights)[:, 0])
        best: NDArray[np.int64] = torch.cat(scores).topk(count).indices.numpy()
        return self.ids[best] if chosen is None else self.ids[chosen[best]]
