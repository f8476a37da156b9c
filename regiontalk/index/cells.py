"""Which photos of a large library may answer a query, by cells of regions.

Without a look at all of them. The sketches of regions (`projections`) are clustered in
two levels, b groups of b cells, C = b^2. A photo is the cells of its regions, two bytes
each. A query compares its words with the centers of the cells alone; for each word the
best cells are opened until they hold `POSTINGS` regions, and a photo's score is eq. 8
of [1] over the centers of its opened cells. A word costs C products and `POSTINGS`
steps however many photos there are, and one addition for each photo. As in PLAID
(Santhanam et al., 2022) this is the first of three stages: the best photos are then
compared by their sketches, and the best of those exactly.

B pictures, N regions, T words, S coordinates of a sketch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regiontalk.index.projections import Bytes, largest
from regiontalk.records import FloatArray

Codes = NDArray[np.uint16]

MAX_BRANCH = 256  # a code has two bytes
POSTINGS = 50_000  # regions in the cells that are opened for a word
SAMPLE = 16  # regions a cell that the centers are learned from
REGIONS = 32  # a cell, until there are `MAX_BRANCH` squared cells
_ROUNDS = 6  # of k-means
_TOGETHER = 16_384  # sketches whose products with the centers fit the cache


@dataclass(frozen=True)
class Centers:
    """The centers of all cells.

    Attributes:
        groups: (b, S) float32.
        cells: (b, b, S) float32; cell ``g * b + c`` is the c-th of group g.
    """

    groups: FloatArray
    cells: FloatArray

    @property
    def flat(self) -> FloatArray:
        """All centers, (b * b, S)."""
        return self.cells.reshape(-1, self.cells.shape[2])

    @classmethod
    def learn(cls, sketches: Bytes, branch: int, seed: int = 0) -> Centers:
        """Centers by k-means in two levels.

        Args:
            sketches: (M, S) of a sample of regions.
            branch: b, at most `MAX_BRANCH`; fewer where there are fewer sketches.
            seed: of the first centers.
        """
        branch = max(1, min(branch, MAX_BRANCH, len(sketches)))
        random = np.random.default_rng(seed)
        shuffled = random.permutation(len(sketches))
        groups = _kmeans(sketches[shuffled[: 256 * branch]], branch, random)
        group_of = _nearest(sketches, groups)
        cells = [
            _kmeans(sketches[group_of == number], branch, random)
            for number in range(branch)
        ]
        return cls(groups, np.stack(cells))

    def codes(self, sketches: Bytes) -> Codes:
        """The cells (...) of sketches (..., S): the nearest cell of the nearest group."""
        flat = sketches.reshape(-1, sketches.shape[-1])
        group_of = _nearest(flat, self.groups)
        codes = np.empty(len(flat), dtype=np.uint16)
        order = np.argsort(group_of, kind="stable")
        bounds = np.searchsorted(group_of[order], np.arange(1, len(self.groups)))
        for number, rows in enumerate(np.split(order, bounds)):
            codes[rows] = number * self.cells.shape[1] + _nearest(
                flat[rows], self.cells[number]
            )
        return codes.reshape(sketches.shape[:-1])


def branch_for(regions: int) -> int:
    """The branch b for so many regions in all."""
    return int(min(MAX_BRANCH, max(2, np.ceil((regions / REGIONS) ** 0.5))))


class Cells:
    """The photos of a library by the cells of their regions."""

    def __init__(self, centers: Centers, codes: Codes) -> None:
        """Take the codes (P, N) of photos; a photo with fewer regions has its first one again."""
        self.centers = centers
        self._count = len(codes)
        flat = codes.ravel()
        counts = np.bincount(flat, minlength=len(centers.flat))
        self._bounds = np.concatenate([[0], np.cumsum(counts)])
        order = np.argsort(flat, kind="stable")  # by radix for two bytes
        order //= max(1, codes.shape[1])  # in place: eight bytes a region are much
        self._photos = order.astype(np.uint32)

    def __len__(self) -> int:
        return self._count

    def best(
        self,
        words: FloatArray,
        count: int,
        allowed: NDArray[np.bool_] | None = None,
        postings: int = POSTINGS,
    ) -> NDArray[np.int64]:
        """The ``count`` photos whose cells answer best, best first, as their places.

        Args:
            words: (T, S) the query's vectors along the basis of the sketches.
            count: how many at most.
            allowed: (P,) which photos may answer; None for all.
            postings: regions in the cells that are opened for a word.
        """
        scores = np.zeros(self._count, dtype=np.float32)
        for products in words @ self.centers.flat.T:  # (C,) of one word
            scores += self._word_scores(products, postings)
        if allowed is not None:
            scores[~allowed] = -np.inf
            count = min(count, int(allowed.sum()))
        count = min(count, self._count)
        if not count:
            return np.zeros(0, dtype=np.int64)
        return largest(scores, count)

    def _word_scores(self, products: FloatArray, postings: int) -> FloatArray:
        """The best opened cell's product for each photo (P,).

        The least of them where none is opened.
        """
        lengths = np.diff(self._bounds)
        # four times the cells that the regions fill on average are enough, and all are not sorted
        limit = min(
            len(products),
            16 + 4 * postings * len(products) // max(1, len(self._photos)),
        )
        order = largest(products, limit)
        opened = order[: 1 + int(np.searchsorted(np.cumsum(lengths[order]), postings))]
        opened = opened[::-1]  # the best is written last and stays
        scores = np.full(self._count, products[opened[0]], dtype=np.float32)
        slices = [
            self._photos[self._bounds[cell] : self._bounds[cell + 1]] for cell in opened
        ]
        scores[np.concatenate(slices)] = np.repeat(products[opened], lengths[opened])
        return scores


def _kmeans(sketches: Bytes, count: int, random: np.random.Generator) -> FloatArray:
    """Centers (count, S) of sketches (M, S).

    An empty cell keeps its center, which a sketch gave it.
    """
    if not len(sketches):
        return np.zeros((count, sketches.shape[1]), dtype=np.float32)
    first = random.choice(len(sketches), count, replace=len(sketches) < count)
    centers = sketches[first].astype(np.float32)
    if len(sketches) <= count:
        return centers
    for _ in range(_ROUNDS):
        nearest = _nearest(sketches, centers)
        order = np.argsort(nearest, kind="stable")
        cells, starts = np.unique(nearest[order], return_index=True)
        sums = np.add.reduceat(sketches[order], starts, axis=0, dtype=np.float32)
        centers[cells] = sums / np.diff([*starts, len(order)])[:, None]
    return centers


def _nearest(sketches: Bytes, centers: FloatArray) -> NDArray[np.int64]:
    """The nearest center (M,) of each sketch (M, S)."""
    nearest = np.empty(len(sketches), dtype=np.int64)
    lengths = (centers**2).sum(axis=1) / 2
    for start in range(0, len(sketches), _TOGETHER):
        block = sketches[start : start + _TOGETHER].astype(np.float32)
        nearest[start : start + _TOGETHER] = (block @ centers.T - lengths).argmax(
            axis=1
        )
    return nearest
