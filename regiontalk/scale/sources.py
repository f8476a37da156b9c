"""Photos as a Ray Dataset, here or in an object store.

From folders, patterns, Parquet files and tars (WebDataset). Rows have the columns
``key`` (the name by which the output knows the photo), ``data`` (the bytes of the file)
and ``error`` (why there are none). Ray plans, spreads and repeats the reading; single
files and members are opened here, because Ray's own readers of files end the whole job
where one of them cannot be read, and here that is a row. The driver holds nothing but
the names of files.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Self

from regiontalk.images.suffixes import SUFFIXES
from regiontalk.scale.ray_session import ray_data
from regiontalk.scale.rows import CAPTIONS
from regiontalk.scale.storage import is_local, open_storage, shown, storage_errors

if TYPE_CHECKING:
    from ray.data import Dataset

TARS = (".tar", ".tar.gz", ".tgz")
KEYS = ("key", "__key__", "path", "file_name", "filename", "url", "id", "name")
DATA = ("data", "bytes", "image", "jpg", "jpeg", "png", "photo", "content")
NAMES = 1000  # batches whose names the driver hands over at once
_MAGIC = re.compile(r"[*?\[]")


class StoredFile(NamedTuple):
    """A file of this machine or of an object store.

    Attributes:
        storage: the address by which its storage is opened; empty for this machine.
        path: inside the storage; a name that is no text keeps its bytes as surrogates.
    """

    storage: str
    path: str

    @property
    def key(self) -> str:
        """The name by which the output knows it, always text, without credentials."""
        scheme = self.storage.partition("://")[0]
        text = f"{scheme}://{self.path}" if scheme else self.path
        return text.encode("utf-8", "surrogateescape").decode(
            "utf-8", "backslashreplace"
        )

    @property
    def kind(self) -> str:
        """What it holds, by its name; a file of any other name is taken for a photo."""
        name = self.path.lower()
        if name.endswith(TARS):
            return "tars"
        return "Parquet files" if name.endswith(".parquet") else "photos"

    def open(self) -> IO[bytes]:
        """Its bytes, as a stream.

        Raises:
            OSError: it cannot be opened.
        """
        if not self.storage:
            return open(self.path, "rb")
        stream: IO[bytes] = _storage(self.storage)[0].open_input_stream(self.path)
        return stream


@lru_cache(maxsize=4)
def _storage(uri: str) -> tuple[Any, str]:
    return open_storage(uri)


def read_photos(
    inputs: Sequence[str],
    *,
    batch: int = 64,
    column: str | None = None,
    key: str | None = None,
) -> Dataset:
    """The photos of folders (with all below), patterns, files, Parquet files and tars.

    Args:
        inputs: paths or addresses (s3://bucket/folder), all of one kind.
        batch: photos in a block.
        column: of Parquet files, the photos' bytes; None looks for `DATA`.
        key: of Parquet files, the photos' names; None looks for `KEYS`, and takes the content's
            hash where there is none.

    Raises:
        FileNotFoundError: an input names nothing, or holds no photo.
        ValueError: inputs of several kinds, or a column that is not there.
        OSError: a storage cannot be reached.
    """
    files, kind = find_all(inputs)
    if kind == "Parquet files":
        return read_parquet(files, batch, column, key)
    if column or key:
        raise ValueError(f"column, key: expected Parquet files as input, got {kind}")
    if kind == "tars":
        return read_tars(files, batch, _load_tars)
    return read_named(to_table(files), batch)


_BLOCKS: dict[str, Any] = {"batch_size": None, "batch_format": "pyarrow"}


def read_named(names: Any, batch: int) -> Dataset:
    """The photos that a table names (`to_table`), whose further columns stay."""
    step = batch * NAMES
    tables = [
        names.slice(start, step) for start in range(0, max(1, names.num_rows), step)
    ]
    blocks = ray_data().from_arrow(tables).repartition(target_num_rows_per_block=batch)
    photos: Dataset = blocks.map_batches(_load_files, **_BLOCKS)
    return photos


def read_tars(
    files: Sequence[StoredFile], batch: int, load: Callable[[Any], Iterator[Any]]
) -> Dataset:
    """The photos of tars; ``load`` takes a table of their names and yields tables of photos."""
    names = ray_data().from_arrow([to_table([file]) for file in files])
    members = names.map_batches(load, **_BLOCKS)
    photos: Dataset = members.repartition(target_num_rows_per_block=batch)
    return photos


def find_all(inputs: Sequence[str]) -> tuple[list[StoredFile], str]:
    """The files of all inputs, each once, and their kind.

    Raises:
        FileNotFoundError: an input names nothing, or holds no photo.
        ValueError: inputs of several kinds.
        OSError: a storage cannot be reached.
    """
    files = list(dict.fromkeys(file for text in inputs for file in find_files(text)))
    kinds = sorted({file.kind for file in files})
    if len(kinds) > 1:
        raise ValueError(
            "input: expected photos, Parquet files or tars, got "
            f"{' and '.join(kinds)}; name one kind a job"
        )
    return files, kinds[0]


def find_files(text: str) -> list[StoredFile]:
    """The files that an input means, sorted.

    Of folders and patterns those of a photo, tar or Parquet file.

    Raises:
        FileNotFoundError: there is none.
        OSError: a storage cannot be reached.
    """
    if is_local(text):
        # absolute, since a worker has a working folder of its own
        paths = _local_paths(
            os.path.abspath(os.path.expanduser(text.removeprefix("file://")))
        )
        files = [StoredFile("", path) for path in sorted(paths)]
    else:
        files = sorted(_stored_files(text))
    if not files:
        raise FileNotFoundError(
            f"{shown(text)}: expected a file, or a folder or pattern with photos, tars "
            "or Parquet files, got none"
        )
    return files


def _local_paths(path: str) -> Iterator[str]:
    if os.path.isfile(path):
        yield path
    elif os.path.isdir(path):
        for folder, _, names in os.walk(path):
            yield from (
                os.path.join(folder, name) for name in names if _is_wanted(name)
            )
    else:
        matches = glob.iglob(path, recursive=True)
        yield from (
            name for name in matches if _is_wanted(name) and os.path.isfile(name)
        )


def _stored_files(uri: str) -> Iterator[StoredFile]:
    """Files in an object store; in a pattern "*" also stands for folders."""
    from pyarrow import fs

    address, mark, settings = uri.partition("?")  # such as ?endpoint_override=...
    magic = _MAGIC.search(address)
    fixed = address if magic is None else address[: magic.start()].rpartition("/")[0]
    storage = f"{fixed}{mark}{settings}"
    with storage_errors(uri):
        files, root = _storage(storage)
        info = files.get_file_info(root)
        if info.type == fs.FileType.File:
            yield StoredFile(storage, info.path)
            return
        selector = fs.FileSelector(root, recursive=True, allow_not_found=True)
        listed = files.get_file_info(selector)
    pattern = root + address[len(fixed) :]
    for info in listed:
        matches = magic is None or fnmatch.fnmatchcase(info.path, pattern)
        if info.type == fs.FileType.File and matches and _is_wanted(info.base_name):
            yield StoredFile(storage, info.path)


def _is_wanted(name: str) -> bool:
    """Whether a file in a folder is taken: a photo, tar or Parquet file that is not hidden."""
    return _has_suffix(name, (*SUFFIXES, *TARS, ".parquet"))


def _has_suffix(name: str, suffixes: Iterable[str]) -> bool:
    """Whether a name ends with one of the suffixes and is not hidden."""
    is_hidden = os.path.basename(name).startswith((".", "_"))
    return name.lower().endswith(tuple(suffixes)) and not is_hidden


def to_table(files: Sequence[StoredFile]) -> Any:
    """Files as an Arrow table: ``storage`` and ``path``, whose bytes need be no text."""
    import pyarrow as pa

    storages = [file.storage for file in files]
    paths = [os.fsencode(file.path) for file in files]
    return pa.table(
        {
            "storage": pa.array(storages, pa.string()),
            "path": pa.array(paths, pa.binary()),
        }
    )


def to_files(table: Any) -> list[StoredFile]:
    """The files of a table of `to_table`."""
    pairs = zip(table["storage"].to_pylist(), table["path"].to_pylist(), strict=True)
    return [StoredFile(storage, os.fsdecode(path)) for storage, path in pairs]


def photo_table(
    keys: Sequence[str],
    data: Sequence[bytes | None],
    errors: Sequence[str | None],
    captions: Sequence[Sequence[str]] | None = None,
) -> Any:
    """An Arrow table of photos as `read_photos` yields them.

    With their sentences where they have some.
    """
    import pyarrow as pa

    columns = {
        "key": pa.array(keys, pa.string()),
        "data": pa.array(data, pa.large_binary()),
        "error": pa.array(errors, pa.string()),
    }
    if captions is not None:
        columns[CAPTIONS] = pa.array(captions, pa.list_(pa.string()))
    return pa.table(columns)


def _load_files(table: Any) -> Any:
    """The photos of a block of `to_table`.

    It may have the columns ``key`` and ``captions`` as well.
    """
    files = to_files(table)
    has_captions = CAPTIONS in table.column_names
    captions = table[CAPTIONS].to_pylist() if has_captions else None
    keys = [file.key for file in files]
    if "key" in table.column_names:
        keys = table["key"].to_pylist()
    data: list[bytes | None] = []
    errors: list[str | None] = []
    for file, key in zip(files, keys, strict=True):
        try:
            with file.open() as stream:
                data.append(stream.read())
            errors.append(None)
        except OSError as error:
            data.append(None)
            errors.append(_unreadable(key, error))
    return photo_table(keys, data, errors, captions)


def _unreadable(key: str, error: BaseException) -> str:
    why = shown(" ".join(str(getattr(error, "strerror", None) or error).split()))
    return f"{key}: cannot be read ({why}); copy or download it again"


def _load_tars(table: Any) -> Iterator[Any]:
    """The photos in a block of tars, one after the other, so that memory holds one of them."""
    for file in to_files(table):
        for member in read_members(file, SUFFIXES):
            key = file.key if member.error else f"{file.key}/{member.name}"
            yield photo_table([key], [member.data], [member.error])


class Member(NamedTuple):
    """A member of a tar, or the damage that ends it.

    Attributes:
        name: as text; empty of damage.
        data: its bytes; None of damage.
        error: what is damaged.
    """

    name: str
    data: bytes | None
    error: str | None


class _Member(tarfile.TarInfo):
    """A member of a tar, whose broken header is an error: the library takes it for the end."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        """The next member, or the library's own sign of a proper end."""
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None


def read_members(file: StoredFile, suffixes: Iterable[str]) -> Iterator[Member]:
    """The members of a tar whose names end so and are not hidden.

    Damage ends it with one that says so.
    """
    last = ""
    try:
        with (
            file.open() as stream,
            tarfile.open(fileobj=stream, mode="r|*", tarinfo=_Member) as tar,
        ):
            for member in tar:
                name = _text(member.name)
                content = tar.extractfile(member) if member.isfile() else None
                if content is not None and _has_suffix(name, suffixes):
                    yield Member(name, content.read(), None)
                last = name
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        where = f"after {last}" if last else "at its first member"
        yield Member(
            "",
            None,
            f"{file.key}: damaged or cut short {where}, expected a whole tar "
            f"({error}); what stands before the damage was read; copy or download it "
            "again",
        )


def _text(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def read_parquet(
    files: Sequence[StoredFile],
    batch: int,
    column: str | None,
    key: str | None,
    find_captions: Callable[[str, Sequence[str]], str] | None = None,
) -> Dataset:
    """The photos of Parquet files, by Ray's own reader.

    Args:
        files: of one storage.
        batch: photos in a block.
        column: the photos' bytes; None looks for `DATA`.
        key: the photos' names; None looks for `KEYS`.
        find_captions: the column of the sentences among those of a file; None reads none.

    Raises:
        ValueError: a column is not there; lists the columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    first = files[0]
    filesystem = _storage(first.storage)[0] if first.storage else None
    with storage_errors(first.key), first.open() as stream:
        try:
            names = pq.read_schema(pa.BufferReader(stream.read())).names
        except pa.ArrowInvalid as error:
            raise ValueError(
                f"{first.key}: expected a Parquet file ({error})"
            ) from None
    data = find_column(first.key, names, column, DATA, "column")
    has_keys = key or set(KEYS) & set(names)
    keys = find_column(first.key, names, key, KEYS, "key") if has_keys else None
    captions = find_captions(first.key, names) if find_captions else None
    dataset = ray_data().read_parquet(
        [file.path for file in files],
        filesystem=filesystem,
        columns=[name for name in (keys, data, captions) if name is not None],
    )
    columns = {"data": data, "key": keys, "captions": captions}
    rows = dataset.map_batches(_load_column, fn_kwargs=columns, **_BLOCKS)
    photos: Dataset = rows.repartition(target_num_rows_per_block=batch)
    return photos


def find_column(
    file: str,
    names: Sequence[str],
    wanted: str | None,
    usual: Sequence[str],
    option: str,
) -> str:
    """The column of a Parquet file that a user named, or the first of the usual ones.

    Raises:
        ValueError: there is none; lists the columns.
    """
    for name in usual if wanted is None else [wanted]:
        if name in names:
            return name
    expected = repr(wanted) if wanted else f"one of {', '.join(usual)}"
    raise ValueError(
        f"{file}: expected the column {expected}, got {', '.join(names)}; name it with --{option}"
    )


def _load_column(
    table: Any, data: str, key: str | None, captions: str | None = None
) -> Any:
    """The photos of a block of a Parquet file; a struct is one of Hugging Face's images."""
    values = [_photo_of(value) for value in table[data].to_pylist()]
    keys = [None] * len(values) if key is None else table[key].to_pylist()
    photos: list[bytes | None] = []
    errors: list[str | None] = []
    names: list[str] = []
    for value, name in zip(values, keys, strict=True):
        is_photo = isinstance(value, bytes)
        text = "row without a key" if name is None and not is_photo else name
        names.append(sha256(value).hexdigest() if text is None else str(text))
        photos.append(value if is_photo else None)
        errors.append(None if is_photo else _no_photo(names[-1], data, value))
    if captions is None:
        return photo_table(names, photos, errors)
    sentences = [sentences_of(value) for value in table[captions].to_pylist()]
    return photo_table(names, photos, errors, sentences)


def _no_photo(name: str, column: str, value: Any) -> str:
    """Why a row has no photo."""
    kind = type(value).__name__
    return f"{name}: expected the bytes of a photo in column {column!r}, got {kind}"


def _photo_of(value: Any) -> Any:
    """The bytes of one of Hugging Face's images; other values as they are."""
    return value.get("bytes") if isinstance(value, dict) else value


def sentences_of(value: Any) -> list[str]:
    """The sentences in a value: a text is one, of a list those that are text.

    Blank ones are left out.

    >>> sentences_of(["A dog. ", "", None]), sentences_of("a cat"), sentences_of(None)
    (['A dog.'], ['a cat'], [])
    """
    values = value if isinstance(value, list) else [value]
    texts = [text.strip() for text in values if isinstance(text, str)]
    return [text for text in texts if text]
