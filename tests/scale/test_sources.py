"""Which files an input means, and how a block of them is read, bad ones included (without Ray)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="needs regiontalk[scale]")

from regiontalk.scale.sources import (
    StoredFile,
    _load_column,
    _load_files,
    _load_tars,
    find_files,
    photo_table,
    to_table,
)


def test_a_folder_with_all_below(photos: Path) -> None:
    names = [os.path.relpath(file.path, photos) for file in find_files(str(photos))]
    below = [f"below/{number}.png" for number in (1, 3, 5)]
    assert names == [
        "0.png",
        "2.png",
        "4.png",
        "6.png",
        *below,
        "broken.jpg",
        "empty.png",
    ]


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        pytest.param("*.png", 5, id="one folder"),
        pytest.param("**/*.png", 8, id="folders"),
        pytest.param("notes.txt", 1, id="a file by its name"),
    ],
)
def test_patterns(photos: Path, pattern: str, count: int) -> None:
    assert len(find_files(f"{photos}/{pattern}")) == count
    assert len(find_files(f"file://{photos}/{pattern}")) == count


@pytest.mark.parametrize("name", ["nowhere", "*.tiff", "notes"])
def test_nothing(photos: Path, name: str) -> None:
    with pytest.raises(
        FileNotFoundError, match="expected a file, or a folder or pattern"
    ):
        find_files(f"{photos}/{name}")


def test_a_block_of_files(photos: Path) -> None:
    odd = os.fsdecode(os.fsencode(photos) + b"/odd\xff.png")
    Path(odd).write_bytes(b"odd")
    files = [StoredFile("", odd), StoredFile("", f"{photos}/gone.png")]
    rows = _load_files(to_table(files)).to_pylist()
    assert [row["data"] for row in rows] == [b"odd", None]
    assert rows[0]["key"] == f"{photos}/odd\\xff.png" and rows[0]["error"] is None
    assert rows[1]["error"].startswith(
        f"{photos}/gone.png: cannot be read (No such file"
    )


@pytest.fixture
def make_tar(write_tar: Callable[..., Path]) -> Callable[..., StoredFile]:
    def make(path: Path, mode: str, members: dict[str, bytes]) -> StoredFile:
        return StoredFile("", str(write_tar(path, members, mode)))

    return make


@pytest.mark.parametrize(("suffix", "mode"), [(".tar", "w"), (".tar.gz", "w:gz")])
def test_a_tar(
    tmp_path: Path, make_tar: Callable[..., StoredFile], suffix: str, mode: str
) -> None:
    members = {"1.jpg": b"one", "1.json": b"{}", "folder/2.png": b"two", "_3.jpg": b""}
    file = make_tar(tmp_path / f"photos{suffix}", mode, members)
    assert file.kind == "tars"
    rows = [row for table in _load_tars(to_table([file])) for row in table.to_pylist()]
    assert [(row["key"], row["data"]) for row in rows] == [
        (f"{file.path}/1.jpg", b"one"),
        (f"{file.path}/folder/2.png", b"two"),
    ]


@pytest.mark.parametrize(
    ("size", "noise_at"),
    [
        pytest.param(2200, None, id="cut in the second photo"),
        pytest.param(1600, None, id="cut in its header"),
        pytest.param(1536, None, id="cut before its header"),
        pytest.param(100, None, id="cut in the first header"),
        pytest.param(0, None, id="empty"),
        pytest.param(4096, 1540, id="a header of noise"),
    ],
)
def test_a_broken_tar_says_so_once(
    tmp_path: Path,
    make_tar: Callable[..., StoredFile],
    size: int,
    noise_at: int | None,
) -> None:
    file = make_tar(tmp_path / "a.tar", "w", {"1.jpg": b"x" * 700, "2.jpg": b"y" * 700})
    os.truncate(file.path, size)
    if noise_at is not None:
        with open(file.path, "r+b") as stream:
            stream.seek(noise_at)
            stream.write(b"noise" * 50)
    rows = [row for table in _load_tars(to_table([file])) for row in table.to_pylist()]
    assert [row["data"] for row in rows[:-1]] == ([b"x" * 700] if size > 1000 else [])
    assert rows[-1]["key"] == file.path and rows[-1]["data"] is None
    where = "after 1.jpg" if size > 1000 else "at its first member"
    assert f"cut short {where}, expected a whole tar" in rows[-1]["error"]


def test_a_column_of_photos() -> None:
    import pyarrow as pa

    images = [{"bytes": b"one", "path": None}, {"bytes": None, "path": "x"}]
    table = pa.table({"image": images, "id": [7, 8]})
    rows = _load_column(table, "image", "id").to_pylist()
    assert [(row["key"], row["data"]) for row in rows] == [("7", b"one"), ("8", None)]
    assert (
        "8: expected the bytes of a photo in column 'image', got NoneType"
        in rows[1]["error"]
    )
    nameless = _load_column(pa.table({"data": [b"one"]}), "data", None).to_pylist()
    assert len(nameless[0]["key"]) == 64


def test_finished_photos_are_passed_over() -> None:
    from regiontalk.scale.identities import digests, identity
    from regiontalk.scale.job import with_hashes

    table = photo_table(["a", "b", "c"], [b"1", b"2", None], [None, None, "c: gone"])
    rows = with_hashes(table).to_pylist()
    assert [row["sha256"] and len(row["sha256"]) for row in rows] == [64, 64, None]
    done = digests(sorted([identity("a", rows[0]["sha256"]), identity("b", "0")]))
    assert [row["key"] for row in with_hashes(table, done).to_pylist()] == ["b", "c"]
    bare = with_hashes(table.select(["key", "data"])).to_pylist()
    assert bare[2]["error"] == "c: expected the bytes of a photo, got none"
