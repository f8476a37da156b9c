"""Photos added to a library by two workers of a real Ray.

All, each once, also where a batch is repeated.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="needs regiontalk[scale]")
pytest.importorskip("lancedb", reason="needs regiontalk[search]")

from regiontalk.captioner import RegionCaptioner
from regiontalk.index.library import Added, PhotoIndex
from regiontalk.scale.index import (
    IndexProgress,
    IndexSettings,
    IndexWorker,
    add_to_index,
)
from regiontalk.scale.workers import Workers


@pytest.fixture
def captioner(tiny_folder: Path) -> RegionCaptioner:
    return RegionCaptioner.from_pretrained(tiny_folder)


@pytest.fixture
def library(captioner: RegionCaptioner, tmp_path: Path) -> PhotoIndex:
    return PhotoIndex.open_or_create(tmp_path / "index", captioner, regions=2)


def paths_in(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("[!.]*.*g"))


def test_two_workers(
    ray: Any, workers: Workers, library: PhotoIndex, photos: Path, tmp_path: Path
) -> None:
    import pyarrow as pa

    paths, settings = paths_in(photos), IndexSettings(str(tmp_path / "index"), 1)
    first = add_to_index(
        library,
        [*paths, "/odd\udcff.jpg"],
        replace(workers, count=2),
        settings,
        batch=2,
    ).report
    assert (first.added, first.changed, first.unchanged) == (7, 0, 0)
    reasons = dict(first.failed)
    assert "its name is no text" in reasons["/odd\udcff.jpg"]
    assert reasons.keys() == {
        "/odd\udcff.jpg",
        f"{photos}/broken.jpg",
        f"{photos}/empty.png",
    }
    assert len(library) == 7 and len(set(library.paths())) == 7
    (photos / "0.png").write_bytes((photos / "2.png").read_bytes())
    again = IndexWorker(workers, settings, library.known())
    (second,) = again(pa.table({"path": paths})).to_pylist()
    assert (second["added"], second["changed"], second["unchanged"]) == (0, 1, 6)
    assert len(library) == 7


def test_a_repeated_batch_doubles_nothing(
    workers: Workers, library: PhotoIndex, photos: Path, tmp_path: Path
) -> None:
    """What Ray does where a worker died after its commit."""
    import pyarrow as pa

    settings = IndexSettings(str(tmp_path / "index"), captions=0)
    paths = [str(photos / "0.png"), str(photos / "2.png")]
    table = pa.table({"path": paths})
    for _ in range(2):
        worker = IndexWorker(workers, settings, {})
        assert worker(table).to_pylist()[0]["added"] == 2
        assert worker(table.slice(0, 0)).num_rows == 0
    assert sorted(PhotoIndex.open(tmp_path / "index").paths()) == paths


def test_what_is_refused(
    workers: Workers, library: PhotoIndex, photos: Path, tmp_path: Path
) -> None:
    import pyarrow as pa

    settings = IndexSettings(str(tmp_path / "index"), captions=0)
    nowhere = replace(workers, model=str(tmp_path / "nowhere"))
    worker = IndexWorker(nowhere, settings, {})
    (row,) = worker(pa.table({"path": paths_in(photos)})).to_pylist()
    assert "lacks the model" in row["trouble"]  # which ends the job (test_caption.py)
    with (
        library.writing(),
        pytest.raises(BlockingIOError, match="another process is writing"),
    ):
        other = PhotoIndex.open(tmp_path / "index")
        add_to_index(other, paths_in(photos), workers, settings)
    assert len(library) == 0


def test_progress() -> None:
    report = Added(6, 2, 9) + Added(1, 1, 1, (("a", "broken"),))
    assert report == Added(7, 3, 10, (("a", "broken"),))
    assert IndexProgress(report, 5.0).photos_per_second == 2.0


def test_photos_at_an_address_are_refused() -> None:
    from regiontalk.cli.scale import index

    with pytest.raises(
        ValueError, match=r"s3://bucket/a\?secret_key=\*\*\*: expected photos in"
    ):
        index(["s3://bucket/a?secret_key=hidden"])
