"""Photos with their sentences.

Samples of tars, columns of Parquet files, and damage (without Ray).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow", reason="needs regiontalk[scale]")

from regiontalk.scale.job import with_hashes
from regiontalk.scale.sentences import load_samples, read_captioned
from regiontalk.scale.sources import StoredFile, _load_column, photo_table, to_table


def samples(tar: Path, sentences: str | None = None) -> list[dict[str, Any]]:
    tables = load_samples(to_table([StoredFile("", str(tar))]), sentences)
    return [row for table in tables for row in table.to_pylist()]


@pytest.mark.parametrize(
    ("members", "field", "captions"),
    [
        pytest.param({"1.txt": "A dog.\n\n a cat \n"}, None, ["A dog.", "a cat"]),
        pytest.param({"1.json": {"caption": "A dog."}}, None, ["A dog."]),
        pytest.param({"1.json": {"captions": ["a", "b", 3]}}, None, ["a", "b"]),
        pytest.param({"1.json": {"alt": "a", "text": "b"}}, "alt", ["a"]),
        pytest.param({"1.txt": "a", "1.json": {"alt": "b"}}, "alt", ["b"]),
        pytest.param({"1.txt": "a", "1.json": {"caption": "a"}}, None, ["a"]),
        pytest.param({"1.json": [1]}, None, []),
        pytest.param({}, None, []),
    ],
)
def test_the_sentences_beside_a_photo(
    write_tar: Callable[..., Path],
    tmp_path: Path,
    members: dict[str, Any],
    field: str | None,
    captions: list[str],
) -> None:
    texts = {
        name: (value if isinstance(value, str) else json.dumps(value)).encode()
        for name, value in members.items()
    }
    others = {"1.cls": b"7", "2.txt": b"no photo", "3.v2.jpg": b"three", "3.txt": b"c"}
    tar = write_tar(tmp_path / "a.tar", {"1.jpg": b"one", **texts, **others})
    first, second = samples(tar, field)
    assert first == {
        "key": f"{tar}/1.jpg",
        "data": b"one",
        "error": None,
        "captions": captions,
    }
    assert (second["data"], second["captions"]) == (b"three", ["c"] * (field is None))


def test_sentences_that_cannot_be_read(
    write_tar: Callable[..., Path], tmp_path: Path
) -> None:
    tar = write_tar(tmp_path / "a.tar", {"1.jpg": b"one", "1.json": b"{no"})
    (row,) = samples(tar)
    assert row["error"].startswith(f"{tar}/1.jpg: its sentences cannot be read (1.json")
    assert "expected JSON" in row["error"]


@pytest.mark.parametrize(
    ("size", "keys"),
    [
        pytest.param(5 * 1024, ["1.jpg", "2.jpg", ""], id="between two samples"),
        pytest.param(
            3 * 1024 + 600, ["1.jpg", ""], id="in the sentences of the second"
        ),
        pytest.param(2 * 1024 + 600, ["1.jpg", ""], id="in the second photo"),
        pytest.param(1024 + 600, [""], id="in the sentences of the first"),
    ],
)
def test_a_tar_that_is_cut(
    write_tar: Callable[..., Path], tmp_path: Path, size: int, keys: list[str]
) -> None:
    """A sample that the damage cut is told by the row of the tar.

    Not as a photo without sentences.
    """
    members = {
        f"{number}.{suffix}": suffix.encode() * 30
        for number in (1, 2, 3)
        for suffix in ("jpg", "txt")
    }
    tar = write_tar(tmp_path / "a.tar", members)
    os.truncate(tar, size + (100 if size % 1024 == 0 else 0))
    rows = samples(tar)
    assert [row["key"] for row in rows] == [f"{tar}/{key}".rstrip("/") for key in keys]
    assert [row["error"] is None for row in rows] == [bool(key) for key in keys]
    assert "expected a whole tar" in rows[-1]["error"]


def test_a_column_of_sentences() -> None:
    import pyarrow as pa

    table = pa.table({"image": [b"1", b"2"], "texts": [["a dog", " "], None]})
    rows = _load_column(table, "image", None, "texts").to_pylist()
    assert [row["captions"] for row in rows] == [["a dog"], []]


def test_other_sentences_are_other_content() -> None:
    tables = [
        photo_table(["a"], [b"1"], [None], [captions])
        for captions in (["a dog"], ["a cat"], ["a dog"], [])
    ]
    hashes = [with_hashes(table).to_pylist()[0]["sha256"] for table in tables]
    assert hashes[0] == hashes[2] and len(set(hashes)) == 3
    bare = with_hashes(photo_table(["a"], [b"1"], [None])).to_pylist()
    assert bare[0]["sha256"] == hashes[3]


def test_single_photos_are_refused(photos: Path) -> None:
    with pytest.raises(ValueError, match="expected photos with sentences: tars or Par"):
        read_captioned([str(photos)])
