"""Photos that are almost the same, and a share of a data set held out without parting any of them.

A photo's sketch is whether each of 16 x 16 cells is brighter than the next (a difference hash); two
photos whose sketches differ in few places are near-duplicates: frames of one film, copies in
another size. Colours count one by one, as screens differ in little else.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 16  # cells of a sketch
# Grey levels by which a cell must be brighter, so that noise on flat areas says nothing.
MARGIN = 2.0
SAME = 0.03  # share of a sketch in which near-duplicates differ at most
BLOCK = 512  # photos compared at a time


def sketch(image: Image.Image) -> NDArray[np.bool_]:
    """The difference hash (6 * SIDE * SIDE,) of an image.

    Brighter than to the left and above, for each colour.
    """
    small = image.convert("RGB").resize((SIDE + 1, SIDE + 1), Image.Resampling.BOX)
    values = np.asarray(small, dtype=np.float32)
    across = values[:SIDE, 1:] - values[:SIDE, :-1]
    down = values[1:, :SIDE] - values[:-1, :SIDE]
    differences = np.concatenate([across.ravel(), down.ravel()])
    return np.asarray(differences > MARGIN)


def near_duplicates(sketches: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The group (M,) of each photo, by its first photo's row.

    Near-duplicates of near-duplicates share one.

    Args:
        sketches: (M, S) as `sketch` gives them.
    """
    count, width = sketches.shape
    groups = np.arange(count)
    signs = np.where(sketches, np.float32(1), np.float32(-1))
    # product of two sketches that differ in a share of SAME
    min_product = width * (1 - 2 * SAME)
    for first in range(0, count, BLOCK):
        products = signs[first : first + BLOCK] @ signs.T
        for row, column in np.argwhere(products >= min_product).tolist():
            row_root = _root(groups, first + row)
            column_root = _root(groups, column)
            groups[max(row_root, column_root)] = min(row_root, column_root)
    roots = [_root(groups, row) for row in range(count)]
    return np.array(roots, dtype=np.int64)


def _root(groups: NDArray[np.int64], row: int) -> int:
    """The first photo of a row's group (a disjoint-set forest)."""
    while groups[row] != row:
        row = int(groups[row])
    return row


def held_out(
    groups: Sequence[int] | NDArray[np.int64], count: int, seed: int = 0
) -> list[int]:
    """Rows of about ``count`` photos to hold out, in order.

    Groups stay whole, the largest stays in training.

    Args:
        groups: (M,) of each photo.
        count: how many are wanted; fewer where the groups are large.
        seed: of the choice.
    """
    members: dict[int, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(int(group), []).append(row)
    sets = list(members.values())
    order = np.random.default_rng(seed).permutation(len(sets))
    chosen: list[int] = []
    for number in order.tolist():
        rows = sets[number]
        if len(chosen) + len(rows) <= count:
            chosen += rows
    return sorted(chosen)
