"""Which rows of a library may answer a query.

By the sketches of all, or by cells where there are many. A small library's sketches
stand in memory. A large one has only the cells of its photos there (`cells`): they name
a shortlist of rows, whose sketches are fetched and compared; photos that have no cells
yet are compared by their sketches as well.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from regiontalk.index.cell_table import CellTable, Keys, fetch_sketches, photo_keys
from regiontalk.index.cells import Cells
from regiontalk.index.metadata import About
from regiontalk.index.table import read_sketches
from regiontalk.records import FloatArray

SHORTLIST = 2_000  # photos whose sketches are compared after the cells, at least
# and so many times the root of their number: of a million photos 4,000 hold 95 % of the best ten,
# 2,000 hold 88 % (docs/scale.md)
SHORTLIST_GROWTH = 4

RowIds = NDArray[np.uint64]


class FirstStage(Protocol):
    """Names the rows that may answer best, of one version of a table."""

    def best(
        self, words: FloatArray, count: int, among: RowIds | None = None
    ) -> RowIds:
        """The ids of the ``count`` rows that answer best, best first.

        Args:
            words: (T, S) the query's vectors along the basis of the sketches.
            count: how many at most.
            among: only these rows; None for all.
        """
        ...


class CellStage:
    """The rows of a large library."""

    def __init__(
        self, reader: Any, about: About, version: int, keys: Keys, cells: Cells
    ) -> None:
        """Join the cells to a table's rows.

        Args:
            reader: a LanceDB table at a fixed version.
            about: what its photos are.
            version: of the table of cells.
            keys: (P,) of the photos that have cells, rising.
            cells: of these photos.
        """
        self._reader = reader
        self._about = about
        self.version = version
        self.keys = keys
        self.cells = cells
        rows = reader.search().select(["sha256"]).with_row_id(True).to_arrow()
        ids, row_keys = rows["_rowid"].to_numpy(), photo_keys(rows["sha256"])
        slots = np.searchsorted(keys, row_keys).clip(max=len(keys) - 1)
        has_cells = keys[slots] == row_keys
        self._loose = fetch_sketches(reader, ids[~has_cells], about)
        # photos with the same content share the slot, and so the cells
        self._ids = ids[has_cells]
        self._slots = slots[has_cells]

    def best(
        self, words: FloatArray, count: int, among: RowIds | None = None
    ) -> RowIds:
        """As `FirstStage.best`."""
        shortlist = max(shortlist_of(len(self.keys)), 2 * count)
        if among is not None and len(among) <= shortlist:
            return fetch_sketches(self._reader, among, self._about).best(words, count)
        ids, slots, loose = self._ids, self._slots, self._loose
        if among is not None:
            is_wanted = np.isin(ids, among)
            ids, slots = ids[is_wanted], slots[is_wanted]
            loose = loose.take(np.isin(loose.ids, among))
        has_rows = np.zeros(len(self.keys), dtype=bool)
        has_rows[slots] = True
        chosen = np.zeros(len(self.keys), dtype=bool)
        chosen[self.cells.best(words, shortlist, has_rows)] = True
        sketches = fetch_sketches(self._reader, ids[chosen[slots]], self._about)
        return sketches.join(loose).best(words, count)


def shortlist_of(photos: int) -> int:
    """How many photos the cells of a library name, at least.

    >>> shortlist_of(20_000), shortlist_of(1_000_000)
    (2000, 4000)
    """
    return max(SHORTLIST, SHORTLIST_GROWTH * math.isqrt(photos))


def first_stage(
    reader: Any, cell_table: CellTable, before: FirstStage | None
) -> FirstStage:
    """The first stage for a version of a table.

    Args:
        reader: a LanceDB table at a fixed version.
        cell_table: its cells.
        before: of an earlier version, whose cells are taken where they are the same still.
    """
    version, about = cell_table.version(), cell_table.about
    if isinstance(before, CellStage) and before.version == version:
        return CellStage(reader, about, version, before.keys, before.cells)
    if version is not None:
        keys, cells = cell_table.read()
        if len(keys):  # none where the process was killed that made the table
            return CellStage(reader, about, version, keys, cells)
    rows = reader.search().select(["sketches"]).with_row_id(True).to_arrow()
    return read_sketches(rows, about)
