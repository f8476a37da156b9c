"""Rows of the library as Arrow columns, there and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontalk.index.metadata import KEY, About
from regiontalk.index.projections import SIZE, Bytes, Sketches, sketch
from regiontalk.index.rows import Row, Stamp
from regiontalk.records import FloatArray


def has_table(connection: Any, name: str) -> bool:
    """Whether a LanceDB database has a table of this name."""
    return name in connection.list_tables(limit=1000).tables


def layout(about: About) -> Any:
    """The table's columns and its metadata, as an Arrow schema."""
    import pyarrow as pa

    vector, box = pa.list_(pa.float16(), about.size), pa.list_(pa.float32(), 4)
    # the key by which LanceDB lets no two writers insert one photo twice, where no lock keeps them
    # apart
    key = {"lance-schema:unenforced-primary-key": "true"}
    columns = [
        pa.field("path", pa.string(), nullable=False, metadata=key),
        ("sha256", pa.string()),
        ("bytes", pa.int64()),
        ("modified", pa.int64()),
        ("date", pa.timestamp("s")),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("vectors", pa.list_(vector)),
        ("sketches", pa.list_(pa.int8(), _width(about))),
        ("boxes", pa.list_(box)),
        ("scores", pa.list_(pa.float32())),
        ("captions", pa.list_(pa.string())),
        ("confidences", pa.list_(pa.float32())),
    ]
    return pa.schema(columns, metadata={KEY: json.dumps(asdict(about)).encode()})


def to_arrow(rows: Sequence[Row], about: About, basis: FloatArray) -> Any:
    """Rows as an Arrow table of `layout`, with sketches along a basis (D, S)."""
    import pyarrow as pa

    schema = layout(about)
    plain = {
        "path": [row.path for row in rows],
        "sha256": [row.stamp.sha256 for row in rows],
        "bytes": [row.stamp.size for row in rows],
        "modified": [row.stamp.modified for row in rows],
        "date": [row.date for row in rows],
        "width": [row.size_wh[0] for row in rows],
        "height": [row.size_wh[1] for row in rows],
    }
    columns = {
        name: pa.array(values, schema.field(name).type)
        for name, values in plain.items()
    }
    columns |= _region_columns(rows, about, basis)
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


def _region_columns(
    rows: Sequence[Row], about: About, basis: FloatArray
) -> dict[str, Any]:
    """The columns whose cells hold a value for each region."""
    import pyarrow as pa

    offsets = np.cumsum([0, *(len(row.vectors) for row in rows)], dtype=np.int32)

    def fixed(arrays: Sequence[Any], width: int) -> Any:
        return pa.FixedSizeListArray.from_arrays(
            pa.array(np.concatenate(arrays).ravel()), width
        )

    ragged = {
        "vectors": fixed([row.vectors.astype(np.float16) for row in rows], about.size),
        "boxes": fixed([row.boxes_xyxy for row in rows], 4),
        "scores": pa.array(np.concatenate([row.scores for row in rows])),
        "captions": pa.array(
            [text for row in rows for text in row.captions], pa.string()
        ),
        "confidences": pa.array(np.concatenate([row.confidences for row in rows])),
    }
    columns = {
        name: pa.ListArray.from_arrays(offsets, values)
        for name, values in ragged.items()
    }
    sketches = [_sketch(row, about, basis) for row in rows]
    return {**columns, "sketches": fixed(sketches, _width(about))}


def _sketch(row: Row, about: About, basis: FloatArray) -> Bytes:
    """The sketches (1 + regions, S) of a photo."""
    return filled(sketch(row.vectors, basis), 1 + about.regions)


def filled(sketches: Bytes, count: int) -> Bytes:
    """Sketches (N, S) with the first again in the (count, S) that are left.

    No maximum notices the copies.
    """
    return sketches[np.where(np.arange(count) < len(sketches), np.arange(count), 0)]


def read_sketches(rows: Any, about: About) -> Sketches:
    """The photos of an Arrow table with the columns ``_rowid`` and ``sketches``."""
    ids, values = rows["_rowid"].to_numpy(), matrix(rows["sketches"].combine_chunks())
    order = ids.argsort()
    shape = (len(ids), 1 + about.regions, min(SIZE, about.size))
    return Sketches(ids[order], values[order].reshape(shape))


class Candidates:
    """Rows that a search brought: the vectors of all, the rest of those that are shown."""

    def __init__(
        self, rows: Any, fetch: Callable[[Sequence[int]], Any] | None = None
    ) -> None:
        """Take the rows.

        Args:
            rows: an Arrow table with the column ``vectors``.
            fetch: gives an Arrow table with the columns of `layout` for some places of ``rows``,
                in this order; None where ``rows`` has them all.
        """
        self._table = rows.combine_chunks()
        self._fetch = fetch or self._table.take

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def vectors(self) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Region vectors (B, N, D) of all rows, and which of them are there (B, N)."""
        import pyarrow as pa

        column = self._table["vectors"]
        region_vectors = (
            pa.concat_arrays(column.chunks)
            if column.num_chunks != 1
            else column.chunk(0)
        )
        lengths = np.diff(region_vectors.offsets.to_numpy())
        values = matrix(region_vectors.flatten())  # the regions of all rows
        there = np.arange(lengths.max(initial=0))[None] < lengths[:, None]
        padded = np.zeros((*there.shape, values.shape[1]), dtype=np.float32)
        padded[there] = values
        return padded, there

    def rows(self, places: Sequence[int]) -> list[Row]:
        """Rows as they were written."""
        rows_table = self._fetch(places)
        return [
            self._row(rows_table.slice(number, 1))
            for number in range(rows_table.num_rows)
        ]

    def _row(self, cells: Any) -> Row:
        values = {
            name: cells[name][0]
            for name in layout(About("", "", 1, 0)).names
            if name != "sketches"
        }
        vectors, boxes = (
            matrix(values.pop(name).values) for name in ("vectors", "boxes")
        )
        plain = {name: cell.as_py() for name, cell in values.items()}
        return Row(
            path=plain["path"],
            stamp=Stamp(plain["bytes"], plain["modified"], plain["sha256"]),
            date=plain["date"],
            size_wh=(plain["width"], plain["height"]),
            vectors=vectors.astype(np.float32),
            boxes_xyxy=boxes,
            scores=np.array(plain["scores"], dtype=np.float32),
            captions=tuple(plain["captions"]),
            confidences=np.array(plain["confidences"], dtype=np.float32),
        )


def _width(about: About) -> int:
    """Bytes of a photo's sketches."""
    return (1 + about.regions) * min(SIZE, about.size)


def matrix(rows: Any) -> Any:
    """An Arrow array of lists of one length as a numpy matrix."""
    return (
        rows.flatten()
        .to_numpy(zero_copy_only=False)
        .reshape(len(rows), rows.type.list_size)
    )
