"""The library as its user sees it: added, passed over, changed, removed, found, refused, killed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from regiontalk.captioner import RegionCaptioner
from regiontalk.index import library as library_module
from regiontalk.index import store as store_module
from regiontalk.index.library import Added, PhotoIndex
from regiontalk.index.rows import Row
from regiontalk.index.store import writing
from regiontalk.model.region_model import RegionModel
from regiontalk.runtime.torch_engine import TorchPredictor

Paint = Callable[[int, Path], None]


def names(hits: Sequence[Any]) -> list[str]:
    return [Path(hit.photo).name for hit in hits]


def stamps(library: PhotoIndex) -> dict[str, Any]:
    """What the table holds, each photo once."""
    found = library._store.known()
    assert sorted(found) == sorted(library.paths())  # no path twice
    return found


def test_add_passes_over_what_it_holds(
    captioner: RegionCaptioner,
    library: PhotoIndex,
    photos: Sequence[Path],
    paint: Paint,
    tmp_path: Path,
) -> None:
    first = stamps(library)
    assert set(first) == {str(path) for path in photos}
    assert library.add(captioner, [*photos, photos[0]]) == Added(unchanged=6)
    os.utime(photos[0], (1, 1))  # another time and the same content
    assert library.add(captioner, photos) == Added(unchanged=6)
    paint(77, photos[5])
    paint(8, tmp_path / "new.png")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    report = library.add(
        captioner,
        [*photos, tmp_path / "new.png", tmp_path / "broken.jpg", tmp_path / "none.jpg"],
    )
    assert (report.added, report.changed, report.unchanged) == (1, 1, 5)
    assert [Path(path).name for path, _ in report.failed] == ["broken.jpg", "none.jpg"]
    assert (
        "not a picture" in report.failed[0][1] and "no such file" in report.failed[1][1]
    )
    then = stamps(library)
    assert len(then) == 7 and [path for path in first if first[path] != then[path]] == [
        str(photos[5])
    ]


def test_a_photo_in_the_place_of_another_is_noticed(
    captioner: RegionCaptioner,
    library: PhotoIndex,
    photos: Sequence[Path],
    paint: Paint,
    tmp_path: Path,
) -> None:
    before = photos[0].stat()
    paint(78, tmp_path / "other.png")
    content = (tmp_path / "other.png").read_bytes()
    photos[0].write_bytes(content.ljust(before.st_size, b"\0")[: before.st_size])
    os.utime(photos[0], ns=(before.st_atime_ns, before.st_mtime_ns))
    after = photos[0].stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    report = library.add(captioner, photos)
    assert report.unchanged == 5 and report.changed + len(report.failed) == 1


def test_files_are_joined_meanwhile(
    captioner: RegionCaptioner,
    photos: Sequence[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every commit makes a file, and every commit looks into all files.

    They must not become thousands.
    """
    monkeypatch.setattr(library_module, "JOIN", 2)
    library = PhotoIndex.open_or_create(tmp_path / "index", captioner, regions=1)
    joined: list[int] = []
    before: list[int] = []
    join = library._store.join

    def watched() -> None:
        before.append(library._store._table.stats()["fragment_stats"]["num_fragments"])
        join()

    monkeypatch.setattr(library._store, "join", watched)
    library.add(captioner, photos[:5], captions=0, batch=1, done=joined.append)
    assert joined == [1] * 5 and len(stamps(library)) == 5
    assert (
        before
        == [
            2,
            3,
            2,
        ]
    )  # after two, after two more beside what was joined, and at the end the fifth beside it
    assert library._store._table.stats()["fragment_stats"]["num_fragments"] == 1


def test_a_name_that_is_no_text_fails_alone(
    captioner: RegionCaptioner, library: PhotoIndex, tmp_path: Path
) -> None:
    report = library.add(captioner, [tmp_path / os.fsdecode(b"\xff.jpg")])
    assert len(report.failed) == 1 and len(library) == 6


def test_remove(library: PhotoIndex, photos: Sequence[Path]) -> None:
    with pytest.raises(ValueError, match="that is not in it"):
        # no folder: only the beginning of one
        library.remove([photos[0], photos[0].parent / "o"])
    assert len(library) == 6  # nothing was removed
    assert library.remove([photos[4].parent]) == 2 and library.remove([photos[0]]) == 1
    photos[1].unlink()
    assert library.remove_missing() == 1 and library.remove_missing() == 0
    assert set(stamps(library)) == {str(photos[2]), str(photos[3])}


def test_info(library: PhotoIndex) -> None:
    values = library.info()
    assert (values["photos"], values["model"], values["regions"], values["format"]) == (
        6,
        "tiny",
        4,
        2,
    )
    assert 6 <= values["regions_in_all"] <= 30 and values["bytes"] > 0
    assert values["first"] == "2024-05-01T12:30:00"


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        pytest.param({}, "0.jpg 1.jpg 2.jpg 3.jpg 4.png 5.png", id="none"),
        pytest.param({"folder": "o'hara"}, "4.png 5.png", id="folder"),
        pytest.param({"folder": "o"}, "", id="beginning of a folder's name"),
        pytest.param({"folder": "0.jpg"}, "0.jpg", id="a photo"),
        pytest.param(
            {"after": date(2024, 5, 3)}, "2.jpg 3.jpg 4.png 5.png", id="from a day on"
        ),
        pytest.param({"before": date(2024, 5, 3)}, "0.jpg 1.jpg", id="before a day"),
        pytest.param(
            {"before": datetime(2024, 5, 3, 13)},
            "0.jpg 1.jpg 2.jpg",
            id="before an hour",
        ),
        pytest.param(
            {"after": date(2024, 5, 2), "before": date(2024, 5, 4)},
            "1.jpg 2.jpg",
            id="between",
        ),
        pytest.param(
            {"after": date(2024, 5, 2), "folder": "o'hara"},
            "4.png 5.png",
            id="both kinds",
        ),
    ],
)
def test_filters(
    captioner: RegionCaptioner,
    library: PhotoIndex,
    photos: Sequence[Path],
    filters: dict[str, Any],
    found: str,
) -> None:
    if "folder" in filters:
        filters = filters | {"folder": photos[0].parent / filters["folder"]}
    assert (
        " ".join(sorted(names(library.search(captioner, "a red car", **filters))))
        == found
    )


def test_a_photo_finds_itself(
    captioner: RegionCaptioner, library: PhotoIndex, photos: Sequence[Path]
) -> None:
    hits = library.search(captioner, photo=photos[3], k=2)
    # float16 vectors
    assert names(hits)[0] == "3.jpg" and len(hits) == 2 and hits[0].score > 0.99
    assert hits[0].date == datetime(2024, 5, 4, 12, 30) and not hits[0].missing
    part = library.search(
        captioner, photo=photos[3], boxes=[hits[0].result.regions[0].box], k=1
    )
    assert (
        names(part) == ["3.jpg"] and part[0].answer.box == hits[0].result.regions[0].box
    )


def test_a_photo_that_vanished_is_told(
    captioner: RegionCaptioner, library: PhotoIndex, photos: Sequence[Path]
) -> None:
    photos[2].unlink()
    missing = {
        Path(hit.photo).name: hit.missing
        for hit in library.search(captioner, "a red car")
    }
    assert [name for name, gone in missing.items() if gone] == ["2.jpg"] and len(
        missing
    ) == 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param({}, "got neither", id="nothing"),
        pytest.param({"text": "  "}, "expected at least one word", id="no word"),
        pytest.param(
            {"text": "zyzzyva qwrk"}, "none of its words is known", id="unknown words"
        ),
        pytest.param({"text": "a car", "k": 0}, "k: expected 1 or more", id="k"),
        pytest.param(
            {"text": "a car", "boxes": [[0, 0, 5, 5]]},
            "got no photo",
            id="box without photo",
        ),
        pytest.param(
            {"photo": "1", "boxes": [[0, 0, 999, 5]]},
            "outside the photo",
            id="box outside",
        ),
        pytest.param({"photo": "1", "boxes": []}, "at least one box", id="no box"),
        pytest.param({"photo": b"no picture"}, "not a picture", id="example"),
    ],
)
def test_what_cannot_be_looked_for(
    captioner: RegionCaptioner,
    library: PhotoIndex,
    photos: Sequence[Path],
    words: dict[str, Any],
    message: str,
) -> None:
    if words.get("photo") == "1":
        words = words | {"photo": photos[1]}
    with pytest.raises(ValueError, match=message):
        library.search(captioner, **words)


def test_an_empty_library(captioner: RegionCaptioner, tmp_path: Path) -> None:
    library = PhotoIndex.open_or_create(tmp_path / "index", captioner)
    assert len(library) == 0 and library.search(captioner, "a red car") == []
    assert library.info()["first"] is None and library.add(captioner, []) == Added()


def test_another_model_is_refused(
    captioner: RegionCaptioner,
    library: PhotoIndex,
    make_tiny: Callable[..., RegionModel],
    tmp_path: Path,
) -> None:
    other = RegionCaptioner(predictor=TorchPredictor(make_tiny(features=24)))
    for use in (lambda: library.search(other, "a car"), lambda: library.add(other, [])):
        with pytest.raises(ValueError, match=r"made by the model 'tiny' .*--rebuild"):
            use()
    with pytest.raises(ValueError, match="--rebuild"):
        PhotoIndex.open_or_create(tmp_path / "index", other)
    assert len(library) == 6
    fresh = PhotoIndex.open_or_create(tmp_path / "index", other, rebuild=True)
    assert len(fresh) == 0 and fresh.search(other, "a car") == []


def test_two_writers(
    captioner: RegionCaptioner,
    library: PhotoIndex,
    photos: Sequence[Path],
    tmp_path: Path,
) -> None:
    with writing(str(tmp_path / "index")):
        for write in (
            lambda: library.add(captioner, photos),
            lambda: library.remove(photos),
            library.remove_missing,
            lambda: PhotoIndex.open_or_create(
                tmp_path / "index", captioner, rebuild=True
            ),
        ):
            with pytest.raises(BlockingIOError, match="another process is writing"):
                write()
        assert len(library.search(captioner, "a red car")) == 6  # readers go on
    assert library.add(captioner, photos) == Added(unchanged=6)


def test_another_process_sees_what_is_written(
    captioner: RegionCaptioner, library: PhotoIndex, paint: Paint, tmp_path: Path
) -> None:
    """As a server does that stays open while photos are added."""
    reader = PhotoIndex.open(tmp_path / "index")
    paint(9, tmp_path / "late.png")
    library.add(captioner, [tmp_path / "late.png"])
    time.sleep(1.1)
    assert len(reader.search(captioner, "a red car")) == 7


@pytest.mark.parametrize(("option", "value"), [("batch", 0), ("captions", -1)])
def test_numbers_out_of_range(
    captioner: RegionCaptioner, library: PhotoIndex, option: str, value: int
) -> None:
    with pytest.raises(ValueError, match=f"{option}: expected"):
        library.add(captioner, [], **{option: value})  # type: ignore[arg-type]


ADD = """
import sys
from regiontalk.captioner import RegionCaptioner
from regiontalk.index.library import PhotoIndex
from regiontalk.runtime.torch_engine import TorchPredictor
captioner = RegionCaptioner.from_pretrained(sys.argv[1])
index = PhotoIndex.open_or_create(sys.argv[2], captioner, regions=4)
done = lambda count: print("done", flush=True)
index.add(captioner, sys.argv[3:], captions=0, batch=1, done=done)
"""


def test_kill_loses_and_doubles_nothing(
    captioner: RegionCaptioner, tiny_folder: Path, paint: Paint, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(30)]
    for number, path in enumerate(paths):
        paint(number, path)
    chance, there = random.Random(4), 0
    for _ in range(2):
        command = [
            sys.executable,
            "-c",
            ADD,
            str(tiny_folder),
            str(tmp_path / "index"),
            *map(str, paths),
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as adding:
            assert adding.stdout is not None
            # of those that are there as well
            told = [adding.stdout.readline() for _ in range(there + 3)]
            time.sleep(chance.uniform(0, 0.05))
            adding.kill()
            told += adding.stdout.readlines()
        library = PhotoIndex.open(tmp_path / "index")
        there = len(stamps(library))
        assert len(told) <= there <= 30
    report = library.add(captioner, paths)
    assert (
        report == Added(added=30 - report.unchanged, unchanged=report.unchanged)
        and report.unchanged >= 6
    )
    assert set(stamps(library)) == set(map(str, paths))
    assert all(
        names(library.search(captioner, photo=path, k=1)) == [path.name]
        for path in paths[::7]
    )


def test_sketches_find_what_a_comparison_with_all_finds(
    captioner: RegionCaptioner,
    library: PhotoIndex,
    made_up: Callable[[int], list[Row]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library._store.write(made_up(400), library._basis)
    # more than there are: every row is ranked exactly
    exact = library.search(captioner, "a man in a red boat", k=400)
    monkeypatch.setattr(store_module.Store.candidates, "__defaults__", (None, 20))
    found = library.search(captioner, "a man in a red boat", k=2)
    assert [hit.photo for hit in found] == [hit.photo for hit in exact[:2]]


def test_another_process_changes_the_library(
    captioner: RegionCaptioner, library: PhotoIndex, tmp_path: Path
) -> None:
    """A search knows its sketches from before.

    Rows that went, came or were joined since are not taken for others.
    """
    other = PhotoIndex.open(tmp_path / "index")
    first = names(other.search(captioner, "a man", k=6))
    library.remove([tmp_path / "album" / "0.jpg"])
    library._store.join()
    time.sleep(1.1)  # LanceDB looks for commits of others once a second
    assert names(other.search(captioner, "a man", k=6)) == [
        name for name in first if name != "0.jpg"
    ]
    library.add(captioner, [tmp_path / "album" / "0.jpg"])
    time.sleep(1.1)
    assert names(other.search(captioner, "a man", k=6)) == first
