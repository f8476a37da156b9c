"""Libraries that are not there, damaged, of another kind, or that nobody can open.

One line, with the way out.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from regiontalk.captioner import RegionCaptioner
from regiontalk.index.library import Added, PhotoIndex
from regiontalk.index.rows import Row
from regiontalk.index.store import Store, local_folder

Damage = Callable[[Path], object]


def halve(pattern: str) -> Damage:
    """Cut the files of a pattern in the middle."""

    def damage(table: Path) -> None:
        for path in table.glob(pattern):
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return damage


def overwrite(pattern: str) -> Damage:
    """Put zeros into the files of a pattern."""

    def damage(table: Path) -> None:
        for path in table.glob(pattern):
            path.write_bytes(bytes(path.stat().st_size))

    return damage


def delete(pattern: str) -> Damage:
    """Delete the files of a pattern."""

    def damage(table: Path) -> None:
        for path in table.glob(pattern):
            path.unlink()

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(halve("_versions/*"), id="versions cut short"),
        pytest.param(overwrite("_versions/*"), id="versions of zeros"),
        pytest.param(delete("_versions/*"), id="versions gone"),
        pytest.param(halve("data/*"), id="data cut short"),
        pytest.param(overwrite("data/*"), id="data of zeros"),
        pytest.param(delete("data/*"), id="data gone"),
    ],
)
def test_a_damaged_library_says_how_to_rebuild_it(
    captioner: RegionCaptioner,
    library: PhotoIndex,
    photos: Sequence[Path],
    tmp_path: Path,
    damage: Damage,
) -> None:
    del library
    damage(tmp_path / "index" / "photos.lance")
    with pytest.raises(
        ValueError,
        match=r"damaged.*rebuild it with: regiontalk index add FOLDER --index .* --rebuild",
    ):
        PhotoIndex.open(tmp_path / "index").search(captioner, "a red car")
    with pytest.raises(ValueError, match="--rebuild"):
        PhotoIndex.open_or_create(tmp_path / "index", captioner).add(captioner, photos)
    fresh = PhotoIndex.open_or_create(tmp_path / "index", captioner, rebuild=True)
    assert fresh.add(captioner, photos, captions=0) == Added(added=6)
    assert len(fresh.search(captioner, "a red car")) == 6


def test_no_library(captioner: RegionCaptioner, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError,
        match="no photo index is here; make one with: regiontalk index add FOLDER --index",
    ):
        PhotoIndex.open(tmp_path / "index")
    assert not (tmp_path / "index").exists()
    (tmp_path / "file").touch()
    with pytest.raises(
        ValueError, match="expected a folder for the photo index, got a file"
    ):
        PhotoIndex.open_or_create(tmp_path / "file", captioner)


def test_killed_before_the_first_version(
    captioner: RegionCaptioner, tmp_path: Path
) -> None:
    """What creating leaves when it is stopped at once is no library yet, and no damaged one."""
    (tmp_path / "index" / "photos.lance" / "_transactions").mkdir(parents=True)
    assert len(PhotoIndex.open_or_create(tmp_path / "index", captioner)) == 0


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        pytest.param(
            {}, "holds a table 'photos' that is no photo index", id="another table"
        ),
        pytest.param({"regiontalk": "[]"}, "that is no photo index", id="no record"),
        pytest.param(
            {
                "regiontalk": '{"model": "m", "fingerprint": "f", "size": 4, '
                '"regions": 1, "format": 9}'
            },
            "expected a photo index of format 2, got 9",
            id="another format",
        ),
    ],
)
def test_a_table_of_another_kind(
    captioner: RegionCaptioner, tmp_path: Path, metadata: dict[str, str], message: str
) -> None:
    import lancedb
    import pyarrow as pa

    schema = pa.schema([("path", pa.string())], metadata=metadata)
    lancedb.connect(str(tmp_path)).create_table("photos", schema=schema)
    with pytest.raises(ValueError, match=message):
        PhotoIndex.open(tmp_path)
    with pytest.raises(ValueError, match=message):
        PhotoIndex.open_or_create(tmp_path, captioner)


def test_without_lancedb_the_install_line_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "lancedb", None)
    with pytest.raises(ImportError, match=r"pip install 'regiontalk\[search\]'"):
        PhotoIndex.open(tmp_path)


def test_two_writers_that_nothing_keeps_apart_double_nothing(
    captioner: RegionCaptioner, made_up: Callable[[int], list[Row]], tmp_path: Path
) -> None:
    """As on an object store, which has no lock."""
    basis = PhotoIndex.open_or_create(tmp_path, captioner, regions=4)._basis
    rows = made_up(8)

    def write(_: int) -> None:
        store = Store.open(str(tmp_path))
        for row in rows:
            store.write([row], basis)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, range(2)))
    assert sorted(PhotoIndex.open(tmp_path).paths()) == sorted(row.path for row in rows)


@pytest.mark.parametrize(
    ("uri", "folder"),
    [
        pytest.param("photos.index", Path("photos.index"), id="path"),
        pytest.param("file:///photos/index", Path("/photos/index"), id="file"),
        pytest.param("s3://bucket/photos", None, id="object store"),
    ],
)
def test_local_folder(uri: str, folder: Path | None) -> None:
    assert local_folder(uri) == folder
