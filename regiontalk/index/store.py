"""The table of a library in LanceDB: one row a photo, its regions as one multi-vector.

A search reads the sketches of all photos, or where they are many their cells, and keeps them until
the table changes: they name the candidates (`first_stage`), whose rows are then fetched from the
very version of the table that they are of. LanceDB's own multi-vector search, which looks for each
word's nearest regions by themselves, found two thirds of the ten best among 20,000 photos, where
this finds all but two or three in a hundred among 100,000 (docs/notebook.md). Everything that
LanceDB raises becomes one `LibraryError` that says how to rebuild.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from regiontalk.index.cell_table import CellTable
from regiontalk.index.first_stage import FirstStage, first_stage
from regiontalk.index.metadata import FORMAT, KEY, About
from regiontalk.index.rows import Row, Stamp
from regiontalk.index.table import Candidates, has_table, layout, to_arrow
from regiontalk.records import FloatArray

TABLE = "photos"
# seconds for which a search takes the table as it was; LanceDB's own readers do the same
FRESH = 0.5
CANDIDATES = 100  # photos that are ranked exactly, at least; 10 for each that is wanted


class LibraryError(ValueError):
    """LanceDB failed: nothing that another question would mend."""


def where(
    *,
    below: str | None = None,
    after: date | datetime | None = None,
    before: date | datetime | None = None,
) -> str | None:
    """A condition on rows in LanceDB's SQL; None for no condition.

    >>> where(below="/trips/o'hara")
    "(path = '/trips/o''hara' OR starts_with(path, '/trips/o''hara/'))"
    """
    parts = []
    if below is not None:
        name = below.replace("'", "''")
        parts.append(
            f"(path = '{name}' OR starts_with(path, '{name.rstrip(os.sep)}{os.sep}'))"
        )
    for sign, moment in ((">=", after), ("<", before)):
        if moment is not None:
            parts.append(f"date {sign} timestamp '{_moment(moment)}'")
    return " AND ".join(parts) or None


def _moment(value: date | datetime) -> str:
    moment = (
        value
        if isinstance(value, datetime)
        else datetime(value.year, value.month, value.day)
    )
    return moment.replace(tzinfo=None, microsecond=0).isoformat(" ")


def engine() -> Any:
    """The LanceDB package.

    Raises:
        ImportError: it is not installed; says how to.
    """
    try:
        import lancedb
    except ImportError as error:
        raise ImportError(
            "the photo index needs LanceDB; install it with: pip install 'regiontalk[search]'"
        ) from error
    return lancedb


class Store:
    """An open table."""

    def __init__(self, uri: str, connection: Any, table: Any, about: About) -> None:
        """Take an open LanceDB table and the connection that it came from."""
        self.uri = uri
        self.about = about
        self._connection = connection
        self._table = table
        self._cell_table = CellTable(connection, about)
        # of the version that was searched last
        self._reader: tuple[Any, FirstStage] | None = None
        self._looked = 0.0  # when that was last seen to be the present one

    @classmethod
    def open(cls, uri: str, storage: Mapping[str, str] | None = None) -> Store:
        """The table at a URI.

        Raises:
            ValueError: there is none, or it is damaged, or of another format.
            ImportError: LanceDB is not installed.
        """
        store = cls._find(uri, storage)
        if store is None:
            raise ValueError(
                f"{uri}: no photo index is here; make one with: regiontalk index add "
                f"FOLDER --index {uri}"
            )
        return store

    @classmethod
    def create(
        cls,
        uri: str,
        about: About,
        storage: Mapping[str, str] | None = None,
        *,
        rebuild: bool = False,
    ) -> Store:
        """The table at a URI, made where there is none; with ``rebuild`` it is made anew.

        Raises:
            ValueError: what is there is damaged, or nothing can be made there.
            BlockingIOError: another process writes to it.
            ImportError: LanceDB is not installed.
        """
        store = None if rebuild else cls._find(uri, storage)
        if store is not None:
            return store
        with writing(uri):
            if not rebuild and (store := cls._find(uri, storage)) is not None:
                return store  # another process was faster
            folder = local_folder(uri)
            if folder is not None and (folder / f"{TABLE}.lance").exists():
                # LanceDB cannot drop what it cannot read
                shutil.rmtree(folder / f"{TABLE}.lance")
            with _told(uri):
                mode = "overwrite" if rebuild and folder is None else "create"
                connection = _connect(uri, storage)
                table = connection.create_table(TABLE, schema=layout(about), mode=mode)
        return cls(uri, connection, table, about)

    @classmethod
    def _find(cls, uri: str, storage: Mapping[str, str] | None) -> Store | None:
        """The table, or None where none was ever made."""
        engine()
        folder = local_folder(uri)
        if folder is not None and not _begun(uri, folder):
            return None
        with _told(uri):
            connection = _connect(uri, storage)
            if folder is None and not has_table(connection, TABLE):
                return None
            table = connection.open_table(TABLE)
            values = (table.schema.metadata or {}).get(KEY)
        return cls(uri, connection, table, _read_about(uri, values))

    @property
    def rebuild_command(self) -> str:
        """What a user types to make the library anew."""
        return rebuild_command(self.uri)

    def count(self, condition: str | None = None) -> int:
        """Photos in the table."""
        with _told(self.uri):
            return int(self._table.count_rows(condition))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Keep other writers away meanwhile.

        Raises:
            BlockingIOError: another process writes.
        """
        with writing(self.uri):
            with _told(self.uri):
                self._table.checkout_latest()
            yield

    def known(self) -> dict[str, Stamp]:
        """Every photo's stamp, by its path."""
        with _told(self.uri):
            stamp_table = (
                self._table.search()
                .select(["path", "bytes", "modified", "sha256"])
                .to_arrow()
            )
            columns = [
                stamp_table[name].to_pylist()
                for name in ("path", "bytes", "modified", "sha256")
            ]
        return {path: Stamp(*stamp) for path, *stamp in zip(*columns, strict=True)}

    def paths(self) -> list[str]:
        """Every photo's path."""
        with _told(self.uri):
            return [
                str(path)
                for path in self._table.search()
                .select(["path"])
                .to_arrow()["path"]
                .to_pylist()
            ]

    def write(self, rows: Sequence[Row], basis: FloatArray) -> None:
        """Add rows, or put them in the place of those of the same path, in one commit.

        Args:
            rows: of photos.
            basis: (D, S) of their sketches.
        """
        table = to_arrow(rows, self.about, basis)
        with _told(self.uri):
            merge = (
                self._table.merge_insert("path")
                .when_matched_update_all()
                .when_not_matched_insert_all()
            )
            merge.execute(table)
        self._looked = 0.0

    def delete(self, condition: str | None) -> int:
        """Remove the rows that a condition names; how many."""
        count = self.count(condition)
        if count and condition:
            with _told(self.uri):
                self._table.delete(condition)
            self._looked = 0.0
        return count

    def candidates(
        self,
        words: FloatArray,
        k: int,
        condition: str | None = None,
        least: int = CANDIDATES,
    ) -> Candidates:
        """Rows among which the ``k`` best photos are looked for; all rows where they are few.

        Args:
            words: (T, S) the query's vectors along the basis of the sketches.
            k: photos wanted.
            condition: which rows may answer (`where`).
            least: how many rows at least, where there are so many.
        """
        try:
            return self._candidates(words, k, condition, least)
        except LibraryError:
            self._table.checkout_latest()
            if self._reader is None or self._reader[0].version == self._table.version:
                raise
            # compaction has dropped the version that was read, and the next one is there
            self._looked = 0.0
            return self._candidates(words, k, condition, least)

    def _candidates(
        self, words: FloatArray, k: int, condition: str | None, least: int
    ) -> Candidates:
        """`candidates` of the version that is being read."""
        with _told(self.uri):
            reader, stage = self._read()
            among = None
            if condition:
                among = (
                    reader.search()
                    .where(condition)
                    .select(["_rowid"])
                    .to_arrow()["_rowid"]
                    .to_numpy()
                )
            ids = stage.best(words, max(least, 10 * k), among)
            vector_rows = (
                reader.take_row_ids(ids.tolist())
                .select(["vectors"])
                .with_row_id()
                .to_arrow()
            )
            # LanceDB gives rows in an order of its own
            ids = vector_rows["_rowid"].to_numpy()

        def fetch(places: Sequence[int]) -> Any:
            wanted = ids[places]
            with _told(self.uri):
                rows = reader.take_row_ids(wanted.tolist()).with_row_id().to_arrow()
            stand = rows["_rowid"].to_numpy()
            order = stand.argsort()
            return rows.take(order[stand[order].searchsorted(wanted)])

        return Candidates(vector_rows, fetch)

    def _read(self) -> tuple[Any, FirstStage]:
        """The table at its present version, and its first stage.

        The version stays the same under the reader.
        """
        # asking for the version costs as much as reading the words
        now = time.monotonic()
        if self._reader is not None and now - self._looked < FRESH:
            return self._reader
        version, self._looked = self._table.version, now
        if self._reader is None or self._reader[0].version != version:
            reader = self._connection.open_table(TABLE)
            reader.checkout(version)
            before = None if self._reader is None else self._reader[1]
            self._reader = reader, first_stage(reader, self._cell_table, before)
        return self._reader

    def join(self, older_than: timedelta = timedelta(hours=1)) -> None:
        """Join small files, drop versions that nobody reads any more.

        Args:
            older_than: age from which a version is dropped; a reader may hold one for a moment.
        """
        with _told(self.uri), warnings.catch_warnings():
            # LanceDB warns of an age of 0, which the caller has asked for
            warnings.filterwarnings("ignore", message="optimize")
            self._table.optimize(cleanup_older_than=older_than)
        try:
            with _told(self.uri):
                self._cell_table.update(self._table)
        except LibraryError:
            if local_folder(self.uri) is not None:
                raise
            # in an object store another writer may do the same at once; without cells a
            # search is only slower

    def info(self) -> dict[str, Any]:
        """Plain values for people and JSON."""
        with _told(self.uri):
            self._table.checkout_latest()
            photo_columns = self._table.search().select(["date", "scores"]).to_arrow()
            stats = self._table.stats()
        dates = sorted(photo_columns["date"].to_pylist())
        folder = local_folder(self.uri)
        size = (
            None
            if folder is None
            else sum(
                path.stat().st_size for path in folder.rglob("*") if path.is_file()
            )
        )
        return {
            "index": self.uri,
            **asdict(self.about),
            "photos": len(dates),
            "regions_in_all": sum(
                len(row) for row in photo_columns["scores"].to_pylist()
            ),
            "first": dates[0].isoformat() if dates else None,
            "last": dates[-1].isoformat() if dates else None,
            "bytes": size if size is not None else _field(stats, "total_bytes"),
        }


def _field(record: Any, name: str) -> int:
    """A number of LanceDB's statistics, which are records or dictionaries by its version."""
    return int(record[name] if isinstance(record, Mapping) else getattr(record, name))


def local_folder(uri: str) -> Path | None:
    """The folder of a library on this machine; None for an object store."""
    if uri.startswith("file://"):
        return Path(uri.removeprefix("file://"))
    return None if "://" in uri else Path(uri)


def rebuild_command(uri: str) -> str:
    """What a user types to make a library anew."""
    return f"regiontalk index add FOLDER --index {uri} --rebuild"


@contextmanager
def writing(uri: str) -> Iterator[None]:
    """The right to write to a local library.

    An object store has LanceDB's own rules of commit alone. The lock goes with the
    process, however that ends.

    Raises:
        BlockingIOError: another process has it.
        OSError: the folder cannot be made.
    """
    folder = local_folder(uri)
    if folder is None:
        yield
        return
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "writer.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise BlockingIOError(
            f"{uri}: another process is writing to this photo index; wait until it is "
            "done (searching works meanwhile)"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _begun(uri: str, folder: Path) -> bool:
    """Whether a local folder holds a table, which stands from its first version on.

    Raises:
        ValueError: it is a file, or there is data without any version of the table.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(
            f"{uri}: expected a folder for the photo index, got a file; choose another place"
        )
    table = folder / f"{TABLE}.lance"
    if any(table.glob("_versions/*")):
        return True
    if any(table.glob("data/*")):
        raise ValueError(
            f"{uri}: the photo index is damaged, its versions are gone; {_again(uri)}"
        )
    return False


def _connect(uri: str, storage: Mapping[str, str] | None) -> Any:
    """A connection whose tables see the commits of other processes within a second."""
    options = None if storage is None else dict(storage)
    return engine().connect(
        uri, storage_options=options, read_consistency_interval=timedelta(seconds=FRESH)
    )


@contextmanager
def _told(uri: str) -> Iterator[None]:
    """What LanceDB raises as one line that says what to do."""
    try:
        yield
    except (RuntimeError, OSError, ValueError, KeyError) as error:
        why = " ".join(str(error).split())[:300]
        raise LibraryError(
            f"{uri}: the photo index cannot be read or written ({why}); where it is "
            f"damaged, {_again(uri)}"
        ) from error


def _again(uri: str) -> str:
    return f"rebuild it with: {rebuild_command(uri)}"


def _read_about(uri: str, values: bytes | None) -> About:
    """The record in a table's metadata."""
    try:
        about = About(**json.loads(values or b"{}"))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{uri}: holds a table {TABLE!r} that is no photo index; choose another "
            f"place, or {_again(uri)}"
        ) from error
    if about.format != FORMAT:
        raise ValueError(
            f"{uri}: expected a photo index of format {FORMAT}, got {about.format}; {_again(uri)}"
        )
    return about
