"""Which rows of a library may answer a query: by the sketches of all, or by cells where there are many.

A small library's sketches stand in memory. A large one has only the cells of its photos there
(`cells`): they name `SHORTLIST` rows, whose sketches are fetched and compared; photos that have no
cells yet are compared by their sketches as well.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from regiontalk.index.cell_table import CellTable, Keys, fetch_sketches, photo_keys
from regiontalk.index.cells import Cells
from regiontalk.index.metadata import About
from regiontalk.index.table import read_sketches
from regiontalk.records import FloatArray

SHORTLIST = 2_000  # photos whose sketches are compared after the cells, at least

RowIds = NDArray[np.uint64]


class FirstStage(Protocol):
    """Names the rows that may answer best, of one version of a table."""

    def best(self, words: FloatArray, count: int, among: RowIds | None = None) -> RowIds:
        """The ids of the ``count`` rows that answer best, best first.

        Args:
            words: (T, S) the query's vectors along the basis of the sketches.
            count: how many at most.
            among: only these rows; None for all.
        """
        ...


class CellStage:
    """The rows of a large library."""

    def __init__(self, reader: Any, about: About, version: int, keys: Keys, cells: Cells) -> None:
        """Join the cells to a table's rows.

        Args:
            reader: a LanceDB table at a fixed version.
            about: what its photos are.
            version: of the table of cells.
            keys: (P,) of the photos that have cells, rising.
            cells: of these photos.
        """
        self._reader, self._about = reader, about
        self.version, self.keys, self.cells = version, keys, cells
        rows = reader.search().select(["sha256"]).with_row_id(True).to_arrow()
        ids, row_keys = rows["_rowid"].to_numpy(), photo_keys(rows["sha256"])
        slots = np.searchsorted(keys, row_keys).clip(max=len(keys) - 1)
        matched = np.flatnonzero(keys[slots] == row_keys)
        # of photos with the same content one has the cells, the others are loose
        used_slots, first = np.unique(slots[matched], return_index=True)
        rows_with_cells = matched[first]
        self._ids = np.zeros(len(keys), dtype=np.uint64)
        self._ids[used_slots] = ids[rows_with_cells]
        self._exists = np.zeros(len(keys), dtype=bool)
        self._exists[used_slots] = True
        self._loose = fetch_sketches(reader, np.delete(ids, rows_with_cells), about)

    def best(self, words: FloatArray, count: int, among: RowIds | None = None) -> RowIds:
        """As `FirstStage.best`."""
        shortlist = max(SHORTLIST, 2 * count)
        if among is not None and len(among) <= shortlist:
            return fetch_sketches(self._reader, among, self._about).best(words, count)
        exists = self._exists if among is None else self._exists & np.isin(self._ids, among)
        ids = self._ids[self.cells.best(words, shortlist, exists)]
        sketches = fetch_sketches(self._reader, ids, self._about)
        loose = self._loose if among is None else self._loose.take(np.isin(self._loose.ids, among))
        return sketches.join(loose).best(words, count)


def first_stage(reader: Any, cell_table: CellTable, before: FirstStage | None) -> FirstStage:
    """The first stage for a version of a table.

    Args:
        reader: a LanceDB table at a fixed version.
        cell_table: its cells.
        before: of an earlier version, whose cells are taken where they are the same still.
    """
    version = cell_table.version()
    about = cell_table.about
    if version is None:
        rows = reader.search().select(["sketches"]).with_row_id(True).to_arrow()
        return read_sketches(rows, about)
    if isinstance(before, CellStage) and before.version == version:
        return CellStage(reader, about, version, before.keys, before.cells)
    keys, cells = cell_table.read()
    return CellStage(reader, about, version, keys, cells)
