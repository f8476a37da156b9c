"""The table of a library in LanceDB: one row a photo, its regions as one multi-vector.

LanceDB scores a photo by the sum over the query's vectors of the largest cosine among the photo's regions: eq. 8 of [1]
for unit vectors, but without the weights of the words, which is why its order is only that of candidates. Small
libraries are searched whole; larger ones through an IVF_PQ index on the region vectors, built and renewed by `tidy`.
Everything that LanceDB raises becomes one `LibraryError` that says how to rebuild.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from regiontalk.index.about import FORMAT, KEY, About
from regiontalk.index.rows import Row, Stamp
from regiontalk.index.table import Candidates, layout, to_arrow
from regiontalk.records import FloatArray

TABLE = "photos"
FEWEST = 2_000  # photos up to which every one is ranked exactly
SUB_VECTORS = 32  # bytes of a compressed vector
ROUNDS = 20  # of k-means, when the vector index is built


class LibraryError(ValueError):
    """LanceDB failed: nothing that another question would mend."""


class Effort(NamedTuple):
    """How thoroughly a large library is searched; benchmarks/index_speed.py measures what each costs and brings."""

    candidates: int = 200  # photos that are ranked exactly, at least; 10 for each that is wanted
    probes: int = 20  # partitions that each vector of the query looks into
    refine: int = 0  # LanceDB ranks this many times the candidates by exact cosines first; 0: by its compressed ones


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
        parts.append(f"(path = '{name}' OR starts_with(path, '{name.rstrip(os.sep)}{os.sep}'))")
    for sign, moment in ((">=", after), ("<", before)):
        if moment is not None:
            parts.append(f"date {sign} timestamp '{_moment(moment)}'")
    return " AND ".join(parts) or None


def _moment(value: date | datetime) -> str:
    moment = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)
    return moment.replace(tzinfo=None, microsecond=0).isoformat(" ")


def engine() -> Any:
    """The LanceDB package.

    Raises:
        ImportError: it is not installed; says how to.
    """
    try:
        import lancedb
    except ImportError as error:
        raise ImportError("the photo index needs LanceDB; install it with: pip install 'regiontalk[search]'") from error
    return lancedb


class Store:
    """An open table."""

    def __init__(self, uri: str, table: Any, about: About) -> None:
        """Take an open LanceDB table."""
        self.uri, self.about = uri, about
        self._table = table

    @classmethod
    def open(cls, uri: str, storage: Mapping[str, str] | None = None) -> Store:
        """The table at a URI.

        Raises:
            ValueError: there is none, or it is damaged, or of another format.
            ImportError: LanceDB is not installed.
        """
        found = cls._find(uri, storage)
        if found is None:
            raise ValueError(f"{uri}: no photo index is here; make one with: regiontalk index add FOLDER --index {uri}")
        return found

    @classmethod
    def create(
        cls, uri: str, about: About, storage: Mapping[str, str] | None = None, *, rebuild: bool = False
    ) -> Store:
        """The table at a URI, made where there is none; with ``rebuild`` it is made anew.

        Raises:
            ValueError: what is there is damaged, or nothing can be made there.
            BlockingIOError: another process writes to it.
            ImportError: LanceDB is not installed.
        """
        found = None if rebuild else cls._find(uri, storage)
        if found is not None:
            return found
        with writing(uri):
            if not rebuild and (found := cls._find(uri, storage)) is not None:
                return found  # another process was faster
            folder = local_folder(uri)
            if folder is not None and (folder / f"{TABLE}.lance").exists():
                shutil.rmtree(folder / f"{TABLE}.lance")  # LanceDB cannot drop what it cannot read
            with _told(uri):
                mode = "overwrite" if rebuild and folder is None else "create"
                table = _connect(uri, storage).create_table(TABLE, schema=layout(about), mode=mode)
        return cls(uri, table, about)

    @classmethod
    def _find(cls, uri: str, storage: Mapping[str, str] | None) -> Store | None:
        """The table, or None where none was ever made."""
        engine()
        folder = local_folder(uri)
        if folder is not None and not _begun(uri, folder):
            return None
        with _told(uri):
            connection = _connect(uri, storage)
            if folder is None and TABLE not in connection.table_names(limit=1000):
                return None
            table = connection.open_table(TABLE)
            values = (table.schema.metadata or {}).get(KEY)
        return cls(uri, table, _read_about(uri, values))

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
            found = self._table.search().select(["path", "bytes", "modified", "sha256"]).to_arrow()
            columns = [found[name].to_pylist() for name in ("path", "bytes", "modified", "sha256")]
        return {path: Stamp(*stamp) for path, *stamp in zip(*columns, strict=True)}

    def paths(self) -> list[str]:
        """Every photo's path."""
        with _told(self.uri):
            return [str(path) for path in self._table.search().select(["path"]).to_arrow()["path"].to_pylist()]

    def write(self, rows: Sequence[Row]) -> None:
        """Add rows, or put them in the place of those of the same path, in one commit."""
        table = to_arrow(rows, self.about)
        with _told(self.uri):
            merge = self._table.merge_insert("path").when_matched_update_all().when_not_matched_insert_all()
            merge.execute(table)

    def delete(self, condition: str | None) -> int:
        """Remove the rows that a condition names; how many."""
        count = self.count(condition)
        if count and condition:
            with _told(self.uri):
                self._table.delete(condition)
        return count

    def candidates(
        self, vectors: FloatArray, k: int, condition: str | None = None, effort: Effort | None = None
    ) -> Candidates:
        """Rows among which the ``k`` best photos are looked for; all rows where they are few.

        Args:
            vectors: (T, D) unit vectors of the query.
            k: photos wanted.
            condition: which rows may answer (`where`).
            effort: None takes `Effort()`.
        """
        effort = effort or Effort()
        with _told(self.uri):
            if self._table.count_rows(condition) <= FEWEST:
                return Candidates(self._table.search().where(condition or "true").to_arrow())
            search = self._table.search(vectors, query_type="vector", vector_column_name="vectors")
            search = search.distance_type("cosine").nprobes(effort.probes).limit(max(effort.candidates, 10 * k))
            if effort.refine:
                search = search.refine_factor(effort.refine)
            return Candidates((search.where(condition, prefilter=True) if condition else search).to_arrow())

    def join(self) -> None:
        """Join small files, drop versions that nobody reads any more, put new rows into the vector index."""
        with _told(self.uri):
            self._table.optimize(cleanup_older_than=timedelta(hours=1))

    def tidy(self) -> None:
        """`join`, then build the vector index where the library has outgrown the one it has, or has none yet.

        Partitions grow with the square root of the number of regions; the index's name tells for how many it was made.
        """
        self.join()
        with _told(self.uri):
            count = int(self._table.count_rows())
            if count <= FEWEST:
                return
            partitions = 2 ** int(math.log2(math.sqrt(count * (1 + self.about.regions))))
            built = [index.name for index in self._table.list_indices()]
            if any(int(name.rpartition("_")[2]) * 2 > partitions for name in built):
                return
            config = engine().index.IvfPq(
                distance_type="cosine",
                num_partitions=partitions,
                num_sub_vectors=math.gcd(self.about.size, SUB_VECTORS),
                max_iterations=ROUNDS,
            )
            self._table.create_index("vectors", config=config, name=f"vectors_{partitions}")
            for index in self._table.list_indices():
                if index.name in built:
                    self._table.drop_index(index.name)

    def info(self) -> dict[str, Any]:
        """Plain values for people and JSON."""
        with _told(self.uri):
            self._table.checkout_latest()
            found = self._table.search().select(["date", "scores"]).to_arrow()
            stats = self._table.stats()
            names = [index.name for index in self._table.list_indices()]
            covered = [self._table.index_stats(name) for name in names]
        dates = sorted(found["date"].to_pylist())
        folder = local_folder(self.uri)
        size = None if folder is None else sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        return {
            "index": self.uri,
            **asdict(self.about),
            "photos": len(dates),
            "regions_in_all": sum(len(row) for row in found["scores"].to_pylist()),
            "first": dates[0].isoformat() if dates else None,
            "last": dates[-1].isoformat() if dates else None,
            "bytes": size if size is not None else _field(stats, "total_bytes"),
            "vector_index": names,
            "photos_in_vector_index": sum(_field(one, "num_indexed_rows") for one in covered if one is not None),
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
    """The right to write to a local library; an object store has LanceDB's own rules of commit alone.

    The lock goes with the process, however that ends.

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
            f"{uri}: another process is writing to this photo index; wait until it is done (searching works meanwhile)"
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
        raise ValueError(f"{uri}: expected a folder for the photo index, got a file; choose another place")
    table = folder / f"{TABLE}.lance"
    if any(table.glob("_versions/*")):
        return True
    if any(table.glob("data/*")):
        raise ValueError(f"{uri}: the photo index is damaged, its versions are gone; {_again(uri)}")
    return False


def _connect(uri: str, storage: Mapping[str, str] | None) -> Any:
    """A connection whose tables see the commits of other processes within a second."""
    options = None if storage is None else dict(storage)
    return engine().connect(uri, storage_options=options, read_consistency_interval=timedelta(seconds=1))


@contextmanager
def _told(uri: str) -> Iterator[None]:
    """What LanceDB raises as one line that says what to do."""
    try:
        yield
    except (RuntimeError, OSError, ValueError, KeyError) as error:
        why = " ".join(str(error).split())[:300]
        raise LibraryError(
            f"{uri}: the photo index cannot be read or written ({why}); where it is damaged, {_again(uri)}"
        ) from error


def _again(uri: str) -> str:
    return f"rebuild it with: {rebuild_command(uri)}"


def _read_about(uri: str, values: bytes | None) -> About:
    """The record in a table's metadata."""
    try:
        about = About(**json.loads(values or b"{}"))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{uri}: holds a table {TABLE!r} that is no photo index; choose another place, or {_again(uri)}"
        ) from error
    if about.format != FORMAT:
        raise ValueError(f"{uri}: expected a photo index of format {FORMAT}, got {about.format}; {_again(uri)}")
    return about
