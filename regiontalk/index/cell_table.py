"""The cells of a large library (`cells`), in a table of their own beside the photos.

A row is one photo's content: the first 8 bytes of its hash and the cells of its
regions. Photos with the same content have the same regions, so that the rows stay true
whatever happens to the table of photos: it may be compacted, restored or made anew. A
photo without a row here is one that was added since: it is searched by its sketches
until the next `CellTable.update`. The centers of the cells are rows too, so that one
commit changes both.

    key      uint64, of the content; of a center its number
    codes    N x uint16, the cells of a photo's regions; null for a center
    center   S x float32; null for a photo. The b * b cells come first, then the b groups.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontalk.index.cells import SAMPLE, Cells, Centers, Codes, branch_for
from regiontalk.index.metadata import KEY, About
from regiontalk.index.projections import SIZE, Sketches
from regiontalk.index.table import has_table, matrix, read_sketches

TABLE = "cells"
# photos from which a library has cells (docs/scale.md, A search that grows)
CROSSOVER = 20_000
LOOSE = 5_000  # photos without cells that a search looks through by their sketches
GROWTH = 4  # how many times more photos than the centers were learned from ask for new centers
_TOGETHER = 20_000  # photos whose sketches are read at once

Keys = NDArray[np.uint64]


def photo_keys(hashes: Any) -> Keys:
    """The keys (P,) of an Arrow column of SHA-256 hashes in hex."""
    text = "".join(value[:16] for value in hashes.to_pylist())
    return np.frombuffer(bytes.fromhex(text), dtype=">u8").astype(np.uint64)


class CellTable:
    """The table of cells of a library, which may not be there yet."""

    def __init__(self, connection: Any, about: About) -> None:
        """Take a LanceDB connection and what the library's photos are."""
        self._connection = connection
        self.about = about
        self._table: Any = None

    def version(self) -> int | None:
        """A number that changes with the table; None where there is none for this model."""
        if self._table is None and has_table(self._connection, TABLE):
            table = self._connection.open_table(TABLE)
            made_for, _ = _read_metadata(table.schema)
            self._table = table if made_for == asdict(self.about) else None
        return None if self._table is None else int(self._table.version)

    def read(self) -> tuple[Keys, Cells]:
        """The keys (P,) of photos and their cells, in the same order."""
        rows = self._table.search().select(["key", "codes", "center"]).to_arrow()
        is_center = rows["codes"].is_null()
        centers = _read_centers(rows.filter(is_center))
        photos = rows.filter(rows["codes"].is_valid())
        keys, first = np.unique(photos["key"].to_numpy(), return_index=True)
        codes = matrix(photos["codes"].combine_chunks())[first]
        return keys, Cells(centers, codes)

    def update(self, photos: Any) -> None:
        """Bring the cells up to a table of photos, where that is large enough.

        Args:
            photos: the LanceDB table.
        """
        count = int(photos.count_rows())
        if count < CROSSOVER:
            return
        learned_from, known = 0, np.zeros(0, dtype=np.uint64)
        if self.version() is not None:
            self._table.checkout_latest()
            _, learned_from = _read_metadata(self._table.schema)
            known = (
                self._table.search()
                .where("codes IS NOT NULL")
                .select(["key"])
                .to_arrow()
            )
            known = known["key"].to_numpy()
        if count > GROWTH * learned_from or len(known) > 2 * count:
            self._learn(photos, count)
            return
        rows = photos.search().select(["sha256"]).with_row_id(True).to_arrow()
        is_new = ~np.isin(photo_keys(rows["sha256"]), known)
        if is_new.sum() > LOOSE // 2:
            centers = _read_centers(
                self._table.search()
                .where("codes IS NULL")
                .select(["key", "center"])
                .to_arrow()
            )
            self._add(photos, rows["_rowid"].to_numpy()[is_new], centers)

    def _learn(self, photos: Any, count: int) -> None:
        """Make the table anew with centers learned from a sample of all photos."""
        ids = photos.search().select(["_rowid"]).to_arrow()["_rowid"].to_numpy()
        regions = 1 + self.about.regions
        branch = branch_for(count * regions)
        size = min(len(ids), branch**2 * SAMPLE // regions + 1)
        sample = np.sort(np.random.default_rng(0).choice(ids, size, replace=False))
        sketches = fetch_sketches(photos, sample, self.about).regions
        centers = Centers.learn(sketches.reshape(-1, sketches.shape[-1]), branch)
        del sketches
        metadata = {
            KEY: json.dumps({"about": asdict(self.about), "photos": count}).encode()
        }
        schema = _schema(self.about).with_metadata(metadata)
        mode = "overwrite" if has_table(self._connection, TABLE) else "create"
        self._table = self._connection.create_table(
            TABLE, _center_rows(centers, schema), mode=mode
        )
        self._add(photos, ids, centers)

    def _add(self, photos: Any, ids: NDArray[np.uint64], centers: Centers) -> None:
        """Add the rows of photos by their row ids."""
        import pyarrow as pa

        tables = []
        for start in range(0, len(ids), _TOGETHER):
            group = ids[start : start + _TOGETHER]
            rows = photos.take_row_ids(group.tolist()).select(["sha256", "sketches"])
            rows = rows.with_row_id().to_arrow()
            codes = centers.codes(read_sketches(rows, self.about).regions)
            order = rows["_rowid"].to_numpy().argsort()  # as `read_sketches` sorts
            tables.append(
                _code_rows(photo_keys(rows["sha256"])[order], codes, self._table.schema)
            )
        self._table.add(pa.concat_tables(tables))


def fetch_sketches(photos: Any, ids: NDArray[np.uint64], about: About) -> Sketches:
    """The sketches of some rows of a table of photos."""
    rows = (
        photos.take_row_ids(ids.tolist()).select(["sketches"]).with_row_id().to_arrow()
    )
    return read_sketches(rows, about)


def _schema(about: About) -> Any:
    import pyarrow as pa

    codes = pa.list_(pa.uint16(), 1 + about.regions)
    center = pa.list_(pa.float32(), min(SIZE, about.size))
    return pa.schema([("key", pa.uint64()), ("codes", codes), ("center", center)])


def _read_metadata(schema: Any) -> tuple[Any, int]:
    """What a table's photos are, and from how many of them its centers were learned."""
    values = json.loads((schema.metadata or {}).get(KEY, b"{}"))
    return values.get("about"), int(values.get("photos", 0))


def _center_rows(centers: Centers, schema: Any) -> Any:
    """Centers as rows: all cells, then the groups."""
    import pyarrow as pa

    values = np.concatenate([centers.flat, centers.groups])
    field = schema.field("center").type
    columns = [
        pa.array(np.arange(len(values), dtype=np.uint64)),
        pa.nulls(len(values), schema.field("codes").type),
        pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), field.list_size),
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _code_rows(keys: Keys, codes: Codes, schema: Any) -> Any:
    """The codes (P, N) of photos as rows."""
    import pyarrow as pa

    columns = [
        pa.array(keys),
        pa.FixedSizeListArray.from_arrays(pa.array(codes.ravel()), codes.shape[1]),
        pa.nulls(len(keys), schema.field("center").type),
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _read_centers(rows: Any) -> Centers:
    """The centers in an Arrow table with the columns ``key`` and ``center``."""
    order = rows["key"].to_numpy().argsort()
    values = matrix(rows["center"].combine_chunks())[order]
    branch = int((len(values) + 0.25) ** 0.5 - 0.5)  # b^2 + b rows
    cells = values[: branch**2].reshape(branch, branch, -1)
    return Centers(values[branch**2 :], cells)
