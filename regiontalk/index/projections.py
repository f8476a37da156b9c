"""Which photos of a library may answer a query.

Every region in 96 bytes, and all photos compared at once. A region vector is v = W_m f
+ b_m (eq. 1 of [1]), so regions differ most along the first left singular vectors of
[W_m b_m]. A sketch keeps a vector's coordinates along those, a byte each; eq. 8 over
sketches is one short product a region and word, which takes a hundred thousand photos
in about a third of a second of one core. Its order is only that of candidates. The
basis follows from the model alone, so it is the same on every machine and for every
photo.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regiontalk.records import FloatArray
from regiontalk.runtime.predictor import Predictor

SIZE = 96  # coordinates of a sketch, a byte each; benchmarks/index_speed.py measures what it finds
LONGEST = 0.5  # a coordinate of a unit vector beyond this is cut; with 256 of them hardly one is
_TOGETHER = 2048  # photos whose products fit the cache

Bytes = NDArray[np.int8]


def sketch_basis(model: Predictor) -> FloatArray:
    """The directions (D, S) along which the regions of a model differ most.

    S is 96, or D where that is less.
    """
    weight, bias = (
        model.tensor(f"aligner.regions.project.{name}") for name in ("weight", "bias")
    )
    weights = np.concatenate([weight, bias[:, None]], 1).astype(np.float64)
    basis = np.linalg.svd(weights, full_matrices=False).U[:, :SIZE]
    # the sign of a singular vector is nobody's choice
    largest = np.take_along_axis(basis, np.abs(basis).argmax(0, keepdims=True), 0)
    return np.asarray(basis * np.sign(largest), dtype=np.float32)


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
    regions: Bytes

    def take(self, mask: NDArray[np.bool_]) -> Sketches:
        """Only the photos of a mask (P,)."""
        return Sketches(self.ids[mask], self.regions[mask])

    def join(self, other: Sketches) -> Sketches:
        """These photos and those of another one, which are none of these."""
        ids = np.concatenate([self.ids, other.ids])
        order = ids.argsort()
        return Sketches(
            ids[order], np.concatenate([self.regions, other.regions])[order]
        )

    def best(
        self, words: FloatArray, count: int, among: NDArray[np.uint64] | None = None
    ) -> NDArray[np.uint64]:
        """The ids of the ``count`` photos whose regions answer best, best first.

        Args:
            words: (T, S) the query's vectors along the basis, each as long as its weight.
            count: how many at most.
            among: only photos with these ids; None for all.
        """
        if among is not None:
            return self.take(np.isin(self.ids, among)).best(words, count)
        if len(self.ids) <= count:
            return self.ids
        scores = np.empty(len(self.ids), dtype=np.float32)
        for first in range(0, len(self.ids), _TOGETHER):
            block = self.regions[first : first + _TOGETHER]
            flat = block.reshape(-1, block.shape[2]).astype(np.float32)
            products = (flat @ words.T).reshape(*block.shape[:2], -1)
            scores[first : first + _TOGETHER] = products.max(1).sum(1)
        return self.ids[largest(scores, count)]


def largest(scores: FloatArray, count: int) -> NDArray[np.int64]:
    """The rows of the ``count`` largest scores of (P,), the largest first.

    P is at least ``count``.
    """
    places = np.argpartition(-scores, count - 1)[:count]
    return places[np.argsort(-scores[places], kind="stable")]
