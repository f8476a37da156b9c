"""Cells of a library.

Made when it grows, true after every change, the same answers as without them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from regiontalk.captioner import RegionCaptioner
from regiontalk.index import cell_table, first_stage
from regiontalk.index.first_stage import CellStage
from regiontalk.index.library import PhotoIndex
from regiontalk.index.projections import Sketches
from regiontalk.index.rows import Row

PHOTOS = 300


@pytest.fixture
def many(
    captioner: RegionCaptioner,
    made_up: Callable[[int], list[Row]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> PhotoIndex:
    """A library of 300 photos, in which 200 are many."""
    monkeypatch.setattr(cell_table, "CROSSOVER", 200)
    monkeypatch.setattr(cell_table, "LOOSE", 20)
    monkeypatch.setattr(first_stage, "SHORTLIST", 250)
    library = PhotoIndex.open_or_create(tmp_path / "many", captioner, regions=4)
    library._store.write(made_up(PHOTOS), library._basis)
    library.compact()
    return library


def stage(library: PhotoIndex) -> Sketches | CellStage:
    """The first stage of the library as another process opens it."""
    read = PhotoIndex.open(library._store.uri)._store._read()[1]
    assert isinstance(read, Sketches | CellStage)
    return read


def test_few_photos_have_no_cells(library: PhotoIndex, tmp_path: Path) -> None:
    assert isinstance(stage(library), Sketches)
    assert not (tmp_path / "index" / "cells.lance").exists()


def test_the_same_answers_as_by_all_sketches(
    many: PhotoIndex, captioner: RegionCaptioner
) -> None:
    cells = stage(many)
    assert isinstance(cells, CellStage) and len(cells.cells) == PHOTOS
    rows = many._store._table.search().select(["sketches"]).with_row_id(True).to_arrow()
    sketches = first_stage.read_sketches(rows, many.about)
    words = (
        np.random.default_rng(3)
        .normal(size=(3, sketches.regions.shape[2]))
        .astype(np.float32)
    )
    best = sketches.best(words, 10).tolist()
    assert len(set(cells.best(words, 10).tolist()) & set(best)) >= 9
    assert set(
        cells.best(words, 3, np.array(best[:3], dtype=np.uint64)).tolist()
    ) == set(best[:3])
    half = sketches.ids[::2][:140]
    assert set(cells.best(words, 50, half).tolist()) <= set(half.tolist())
    most = sketches.ids[10:]
    assert set(cells.best(words, 50, most).tolist()) <= set(most.tolist())
    assert len(many.search(captioner, "a red car", k=5)) == 5


def test_photos_added_changed_and_removed(
    many: PhotoIndex, captioner: RegionCaptioner, photos: Sequence[Path]
) -> None:
    searcher = PhotoIndex.open(many._store.uri)
    searcher.search(captioner, "a red car")
    many.add(captioner, photos, captions=0)  # six, too few for new cells
    many.remove(["/nowhere/7.jpg"])
    many.compact(timedelta(0))
    found = searcher.search(captioner, "a red car", k=PHOTOS + 5)
    paths = [hit.photo for hit in found]
    assert len(paths) == len(set(paths)) == PHOTOS + 5
    assert set(map(str, photos)) <= set(paths) and "/nowhere/7.jpg" not in paths
    cells = stage(many)
    assert isinstance(cells, CellStage) and len(cells._loose.ids) == 6


def test_copies_of_a_photo_are_all_found(
    many: PhotoIndex, captioner: RegionCaptioner, photos: Sequence[Path], tmp_path: Path
) -> None:
    copies = [tmp_path / f"copy {number}.jpg" for number in range(30)]
    for copy in copies:
        copy.write_bytes(Path(photos[0]).read_bytes())
    many.add(captioner, copies, captions=0)
    hits = many.search(captioner, photo=photos[0], k=30)
    assert {hit.photo for hit in hits} == set(map(str, copies))


def test_new_photos_get_cells_and_a_larger_library_new_centers(
    many: PhotoIndex,
    made_up: Callable[[int], list[Row]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = many._store._cell_table.read()[1].centers
    many._store.write(made_up(PHOTOS + 50), many._basis)
    many.compact()
    keys, cells = many._store._cell_table.read()
    assert len(keys) == PHOTOS + 50
    np.testing.assert_array_equal(cells.centers.flat, before.flat)
    monkeypatch.setattr(cell_table, "GROWTH", 1.1)
    many.compact()
    keys, cells = many._store._cell_table.read()
    assert len(keys) == PHOTOS + 50
    assert (
        cells.centers.flat.shape != before.flat.shape
        or (cells.centers.flat != before.flat).any()
    )


def test_killed_between_centers_and_codes(many: PhotoIndex) -> None:
    """The table has centers and no photos: searched by sketches, and mended by the next join."""
    many._store._connection.open_table("cells").delete("codes IS NOT NULL")
    assert isinstance(stage(many), Sketches)
    many.compact()
    assert isinstance(stage(many), CellStage)


def test_cells_of_another_model_are_not_taken(many: PhotoIndex) -> None:
    from dataclasses import replace

    about = replace(many.about, fingerprint="another")
    assert cell_table.CellTable(many._store._connection, about).version() is None
