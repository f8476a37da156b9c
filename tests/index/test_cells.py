"""Cells: the score by hand and against plain loops, and that they find what sketches find."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from regiontalk.index.cells import MAX_BRANCH, Cells, Centers, branch_for
from regiontalk.index.projections import Sketches, largest

FOUR = Centers(  # two groups of two cells: right and up, left and down
    np.array([[5, 5], [-5, -5]], dtype=np.float32),
    np.array([[[10, 0], [0, 10]], [[-10, 0], [0, -10]]], dtype=np.float32),
)


def test_codes_by_hand() -> None:
    sketches = np.array([[[9, 1], [1, 9]], [[-9, -1], [-1, -9]]], dtype=np.int8)
    assert FOUR.codes(sketches).tolist() == [[0, 1], [2, 3]]
    assert FOUR.codes(np.zeros((0, 2, 2), dtype=np.int8)).shape == (0, 2)


def test_scores_by_hand() -> None:
    """Words right and up.

    Photo 0 has right alone: 10 + 0; photo 1 both: 10 + 10; photo 2 left and down: 0 +
    0.
    """
    cells = Cells(FOUR, np.array([[0, 0], [0, 1], [2, 3]], dtype=np.uint16))
    words = np.array([[1, 0], [0, 1]], dtype=np.float32)
    assert cells.best(words, 3).tolist() == [1, 0, 2]
    assert cells.best(words, 1).tolist() == [1]
    assert cells.best(words, 2, np.array([True, False, True])).tolist() == [0, 2]
    assert cells.best(words, 2, np.array([False] * 3)).tolist() == []
    assert Cells(FOUR, np.zeros((0, 2), dtype=np.uint16)).best(words, 2).tolist() == []


def clouds(count: int, random: np.random.Generator) -> NDArray[np.int8]:
    """Sketches (count, 4, 8) of photos whose regions lie near 40 points."""
    points = random.normal(scale=40, size=(40, 8))
    regions = points[random.integers(0, 40, (count, 4))] + random.normal(
        scale=4, size=(count, 4, 8)
    )
    return regions.round().clip(-127, 127).astype(np.int8)


@pytest.mark.parametrize("postings", [10, 200, 10**6])
def test_scores_against_plain_loops(postings: int) -> None:
    """For each word cells are opened from the best one until they hold ``postings`` regions."""
    random = np.random.default_rng(0)
    sketches = clouds(100, random)
    centers = Centers.learn(sketches.reshape(-1, 8), 4)
    codes = centers.codes(sketches)
    words = random.normal(size=(3, 8)).astype(np.float32)
    expected = np.zeros(100)
    for products in words @ centers.flat.T:
        opened: list[int] = []
        # of equal centers the same first
        for cell in largest(products, len(products)).tolist():
            if np.isin(codes, opened).sum() >= postings:
                break
            opened.append(cell)
        for photo in range(100):
            here = [products[cell] for cell in codes[photo] if cell in opened]
            expected[photo] += max(here, default=products[opened[-1]])
    places = Cells(centers, codes).best(words, 100, None, postings)
    np.testing.assert_allclose(np.sort(expected)[::-1], expected[places], rtol=1e-5)


def test_the_best_of_many_photos() -> None:
    random = np.random.default_rng(1)
    sketches = clouds(3000, random)
    centers = Centers.learn(sketches[::3].reshape(-1, 8), 8)
    words = random.normal(size=(3, 8)).astype(np.float32)
    best = Sketches(np.arange(3000, dtype=np.uint64), sketches).best(words, 10)
    shortlist = Cells(centers, centers.codes(sketches)).best(words, 300, None, 1000)
    assert len(set(best.tolist()) & set(shortlist.tolist())) >= 9


@pytest.mark.parametrize("count", [1, 3, 20])
def test_centers_of_few_sketches(count: int) -> None:
    sketches = np.random.default_rng(2).integers(-9, 9, (count, 8)).astype(np.int8)
    centers = Centers.learn(sketches, 16)
    assert np.isfinite(centers.flat).all()
    assert centers.codes(sketches).max() < len(centers.flat)


def test_cells_grow_with_the_regions() -> None:
    branches = [
        branch_for(count) for count in (0, 10**3, 10**5, 10**6, 2 * 10**7, 10**12)
    ]
    assert (
        branches == sorted(branches) and branches[0] >= 2 and branches[-1] == MAX_BRANCH
    )
