"""Photos with their sentences, as a Ray Dataset.

From tars (WebDataset), Parquet files or a data set's folders. The columns are those of
`sources.read_photos` and ``captions``, a list of sentences. In a tar the sentences of
``shard/0007.jpg`` stand beside it, in ``shard/0007.txt`` (a sentence a line) or in a
field of ``shard/0007.json``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

from regiontalk.files import decode_text
from regiontalk.images.suffixes import SUFFIXES
from regiontalk.scale.rows import CAPTIONS
from regiontalk.scale.sources import (
    Member,
    StoredFile,
    find_all,
    find_column,
    photo_table,
    read_members,
    read_named,
    read_parquet,
    read_tars,
    sentences_of,
    to_files,
    to_table,
)

if TYPE_CHECKING:
    from ray.data import Dataset

NAMES = ("captions", "caption", "sentences", "sentence", "texts", "text")
_TEXTS = (".txt", ".json")


def read_captioned(
    inputs: Sequence[str],
    *,
    batch: int = 64,
    column: str | None = None,
    key: str | None = None,
    sentences: str | None = None,
) -> Dataset:
    """The photos of tars or Parquet files with their sentences.

    Args:
        inputs: paths or addresses, as for `sources.read_photos`, but of no single photos.
        batch: photos in a block.
        column: of Parquet files, the photos' bytes.
        key: of Parquet files, the photos' names.
        sentences: of Parquet files the column, of tars the field of JSON files, that holds a
            sentence or a list of sentences; None looks for `NAMES`.

    Raises:
        FileNotFoundError: an input names nothing.
        ValueError: inputs of several kinds or of single photos, or a column that is not there.
        OSError: a storage cannot be reached.
    """
    files, kind = find_all(inputs)
    if kind == "Parquet files":
        return read_parquet(
            files, batch, column, key, partial(_find_sentences, sentences)
        )
    if kind == "photos":
        raise ValueError(
            f"{files[0].key}: expected photos with sentences: tars or Parquet files; "
            "name the folder of a data set with --data"
        )
    if column or key:
        raise ValueError(f"column, key: expected Parquet files as input, got {kind}")
    return read_tars(files, batch, partial(load_samples, sentences=sentences))


def read_examples(
    paths: Sequence[str],
    keys: Sequence[str],
    captions: Sequence[Sequence[str]],
    batch: int = 64,
) -> Dataset:
    """The photos of a data set.

    Args:
        paths: absolute, on storage that all machines share.
        keys: the data set's names of the photos.
        captions: the sentences of each photo.
        batch: photos in a block.
    """
    import pyarrow as pa

    names = to_table([StoredFile("", path) for path in paths])
    names = names.append_column("key", pa.array(keys, pa.string()))
    lists = pa.array([list(texts) for texts in captions], pa.list_(pa.string()))
    return read_named(names.append_column(CAPTIONS, lists), batch)


def _find_sentences(wanted: str | None, file: str, names: Sequence[str]) -> str:
    """The column of sentences in a Parquet file."""
    return find_column(file, names, wanted, NAMES, "sentences")


def load_samples(table: Any, sentences: str | None = None) -> Iterator[Any]:
    """The photos in a block of tars (`sources.to_table`) with the sentences that stand beside them.

    Args:
        table: the tars' names.
        sentences: the field of JSON files; None looks for `NAMES`.
    """
    for file in to_files(table):
        members = read_members(file, (*SUFFIXES, *_TEXTS))
        waiting: list[Any] = []  # photos of the last sample, which may be cut short
        for _, group in groupby(members, key=_stem):
            sample = list(group)
            error = sample[0].error
            if error is None:
                yield from waiting
                waiting = _photos_of(file, sample, sentences)
                continue
            yield from (photo for photo in waiting if photo[CAPTIONS][0].as_py())
            waiting = [photo_table([file.key], [None], [error], [[]])]
        yield from waiting


def _stem(member: Member) -> str:
    """What the members of a sample share: the path up to the first dot of its last step."""
    folder, slash, name = member.name.rpartition("/")
    return folder + slash + name.partition(".")[0]


def _photos_of(
    file: StoredFile, sample: Sequence[Member], field: str | None
) -> list[Any]:
    """The photos of a sample, each as a table of one row."""
    photos = [member for member in sample if not member.name.lower().endswith(_TEXTS)]
    captions: list[str] = []
    problem = None
    try:
        captions = _read_sentences(sample, field)
    except ValueError as error:
        problem = f"its sentences cannot be read ({error})"
    tables: list[Any] = []
    for photo in photos:
        key = f"{file.key}/{photo.name}"
        error_line = None if problem is None else f"{key}: {problem}"
        tables.append(photo_table([key], [photo.data], [error_line], [captions]))
    return tables


def _read_sentences(sample: Sequence[Member], field: str | None) -> list[str]:
    """The sentences of a sample: those of its text files, or else of its JSON files.

    Raises:
        ValueError: a JSON file is none.
    """
    texts = {member.name: member.data or b"" for member in sample}
    captions: list[str] = []
    for name, data in texts.items():
        if name.lower().endswith(".txt") and field is None:
            captions += sentences_of(decode_text(data).splitlines())
    for name, data in texts.items():
        if name.lower().endswith(".json") and not captions:
            captions += sentences_of(_json_field(name, data, field))
    return captions


def _json_field(name: str, data: bytes, field: str | None) -> Any:
    """The value of the field of sentences, or of the first of the usual ones.

    None where there is none.

    Raises:
        ValueError: the bytes are no JSON.
    """
    try:
        values = json.loads(decode_text(data))
    except ValueError as error:
        raise ValueError(f"{name}: expected JSON, {error}") from None
    names = NAMES if field is None else (field,)
    fields = values if isinstance(values, dict) else {}
    return next((fields[name] for name in names if name in fields), None)
