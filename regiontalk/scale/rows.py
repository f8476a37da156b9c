"""Rows, one a photo, and their way through files.

JSON Lines with all values, or Parquet with a task's columns.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from regiontalk.captioner import RegionCaptioner

FORMATS = ("parquet", "jsonl")
CAPTIONS = "captions"  # column of a photo's sentences, where it has some
Row = dict[str, Any]


class Task(Protocol):
    """What is computed of each photo, with its settings: a frozen dataclass.

    Attributes:
        kind: what the rows are, for people.
    """

    kind: ClassVar[str]

    @property
    def max_pixels(self) -> int:
        """Larger photos become rows with an error."""
        ...

    def rows(
        self, captioner: RegionCaptioner, photos: Sequence[Mapping[str, Any]]
    ) -> list[Row]:
        """The rows of photos, in their order.

        Each has at least ``photo``, ``sha256`` and ``error``.
        """
        ...

    def schema(self) -> Any:
        """The columns of a Parquet file, as an Arrow schema."""
        ...


def error_line(key: str, error: BaseException, size: int = 0) -> str:
    """Why a photo of ``size`` bytes cannot be used, in one line that begins with its key."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = text.removeprefix(f"picture of {size} bytes: ")
    return text if text.startswith(f"{key}: ") else f"{key}: {text}"


def to_arrow(rows: Sequence[Row], schema: Any) -> Any:
    """Rows as an Arrow table with the columns of a schema (`Task.schema`)."""
    import pyarrow as pa

    return pa.Table.from_pylist(list(rows), schema=schema)


def encode(rows: Sequence[Row], form: str, schema: Any) -> bytes:
    """Rows as the bytes of a file.

    Args:
        rows: of photos.
        form: "parquet" or "jsonl".
        schema: the columns of Parquet (`Task.schema`).
    """
    if form == "jsonl":
        lines = (json.dumps(row, allow_nan=False) + "\n" for row in rows)
        return "".join(lines).encode()
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(to_arrow(rows, schema), buffer, compression="zstd")
    return buffer.getvalue()


def decode(data: bytes, form: str, columns: Sequence[str] | None = None) -> list[Row]:
    """The rows in the bytes of a file, or only some of their columns.

    Raises:
        ValueError: the bytes are no such file.
    """
    if form == "jsonl":
        rows = [json.loads(line) for line in data.splitlines()]
        return rows if columns is None else [_columns_of(row, columns) for row in rows]
    import pyarrow.parquet as pq

    names = None if columns is None else list(columns)
    values: list[Row] = pq.read_table(io.BytesIO(data), columns=names).to_pylist()
    return values


def _columns_of(row: Row, columns: Sequence[str]) -> Row:
    return {name: row[name] for name in columns}
