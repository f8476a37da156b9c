"""The feature cache: built once, continued after a stop, rebuilt when stale or damaged."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regiontalk.regions.cache import FeatureCache

NAMES = [f"{number}.jpg" for number in range(7)]
ARRAYS: dict[str, Any] = {"features": ((2, 3), "float16"), "boxes": ((2, 4), "float32")}
KEY = {"backbone": "tiny", "size": 224, "padding": 0.5}


class Builder:
    """Row r of every array is filled with r; remembers what it was asked for."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.asked: list[int] = []
        self.fail_at = fail_at

    def __call__(self, rows: Sequence[int]) -> dict[str, np.ndarray]:
        if self.fail_at is not None and self.fail_at in rows:
            raise RuntimeError("power cut")
        self.asked += rows
        number = np.array(rows, dtype=np.float32)[:, None, None]
        return {
            "features": np.tile(number, (1, 2, 3)),
            "boxes": np.tile(number, (1, 2, 4)),
        }


def slow(count: int) -> dict[str, np.ndarray]:
    """What the cache must hold, by plain loops."""
    features, boxes = np.zeros((count, 2, 3)), np.zeros((count, 2, 4))
    for photo in range(count):
        for region in range(2):
            for column in range(3):
                features[photo, region, column] = photo
            for column in range(4):
                boxes[photo, region, column] = photo
    return {"features": features, "boxes": boxes}


def cached(
    folder: Path,
    build: Builder,
    key: dict[str, Any] = KEY,
    names: list[str] = NAMES,
    **options: Any,
) -> Any:
    return FeatureCache(folder / "flickr.train", key, block=3).open_or_build(
        names, build, ARRAYS, **options
    )


def check(found: dict[str, np.ndarray], count: int = 7) -> None:
    for name, expected in slow(count).items():
        np.testing.assert_array_equal(found[name], expected)


def test_builds_once_then_maps(tmp_path: Path) -> None:
    first, second = Builder(), Builder()
    steps: list[tuple[int, int]] = []
    check(
        cached(
            tmp_path, first, progress=lambda done, count: steps.append((done, count))
        )
    )
    found = cached(tmp_path, second)
    check(found)
    assert first.asked == list(range(7)) and second.asked == []
    assert steps == [(3, 7), (6, 7), (7, 7)]  # blocks of 3, 3 and 1 photos
    assert sorted(path.name for path in tmp_path.glob("flickr*")) == [
        "flickr.train.json",
        "flickr.train.npy",
    ]
    assert found["features"].dtype == np.float16 and found["boxes"].dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        found["boxes"][0] = 1


def test_continues_after_a_stop(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="power cut"):
        cached(tmp_path, Builder(fail_at=4))
    assert not (tmp_path / "flickr.train.npy").exists()
    second = Builder()
    check(cached(tmp_path, second))
    assert second.asked == [3, 4, 5, 6]  # the first block, rows 0..2, was kept


def test_continues_between_the_two_renames(tmp_path: Path) -> None:
    cached(tmp_path, Builder())
    (tmp_path / "flickr.train.json").rename(tmp_path / "flickr.train.partial.json")
    check(cached(tmp_path, Builder()))
    assert sorted(path.name for path in tmp_path.glob("flickr*")) == [
        "flickr.train.json",
        "flickr.train.npy",
    ]


def flip(position: int) -> Callable[[Path, Path], None]:
    def damage(data: Path, _: Path) -> None:
        content = bytearray(data.read_bytes())
        content[position] ^= 255
        data.write_bytes(content)

    return damage


def truncate(data: Path, _: Path) -> None:
    data.write_bytes(data.read_bytes()[:-5])


def empty_data(data: Path, _: Path) -> None:
    data.write_bytes(b"")


def remove_header(_: Path, header: Path) -> None:
    header.unlink()


def half_header(_: Path, header: Path) -> None:
    header.write_text(header.read_text()[:40])


def list_header(_: Path, header: Path) -> None:
    header.write_text("[]")


def edit_header(_: Path, header: Path) -> None:
    values = json.loads(header.read_text())
    values["checksums"][0] = None
    header.write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("damage", "rebuilt"),
    [
        pytest.param(flip(-1), [6], id="last byte: only its block"),
        pytest.param(
            flip(-1 - 2 * 44),
            [3, 4, 5],
            id="byte of row 4 (44 bytes a row: 2x3x2 + 2x4x4): its block",
        ),
        pytest.param(flip(1), list(range(7)), id="magic of the npy"),
        pytest.param(truncate, list(range(7)), id="truncated"),
        pytest.param(empty_data, list(range(7)), id="empty file"),
        pytest.param(remove_header, list(range(7)), id="no header"),
        pytest.param(half_header, list(range(7)), id="header cut"),
        pytest.param(list_header, list(range(7)), id="header is another document"),
        pytest.param(edit_header, list(range(7)), id="header edited: its hash tells"),
    ],
)
def test_damage_is_noticed(
    tmp_path: Path, damage: Callable[[Path, Path], None], rebuilt: list[int]
) -> None:
    cached(tmp_path, Builder())
    damage(tmp_path / "flickr.train.npy", tmp_path / "flickr.train.json")
    builder = Builder()
    check(cached(tmp_path, builder))
    assert builder.asked == rebuilt
    after = Builder()
    check(cached(tmp_path, after))
    assert after.asked == []


@pytest.mark.parametrize(
    ("key", "names"),
    [
        pytest.param({**KEY, "size": 256}, NAMES, id="other size"),
        pytest.param({**KEY, "weights": "x"}, NAMES, id="one more entry"),
        pytest.param(KEY, NAMES[::-1], id="other order"),
        pytest.param(KEY, NAMES[:5], id="fewer photos"),
    ],
)
def test_stale_is_rebuilt(
    tmp_path: Path, key: dict[str, Any], names: list[str]
) -> None:
    cached(tmp_path, Builder())
    builder = Builder()
    check(cached(tmp_path, builder, key, names), len(names))
    assert builder.asked == list(range(len(names)))


def test_stale_partial_is_not_continued(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        cached(tmp_path, Builder(fail_at=4))
    builder = Builder()
    check(cached(tmp_path, builder, {**KEY, "size": 256}))
    assert builder.asked == list(range(7))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param(
            {"features": np.zeros((3, 2, 3))},
            "expected the arrays",
            id="one is missing",
        ),
        pytest.param(
            {"features": np.zeros((3, 2, 4)), "boxes": np.zeros((3, 2, 4))},
            r"features: expected shape \(3, 2, 3\), got \(3, 2, 4\)",
            id="other shape",
        ),
    ],
)
def test_what_build_returns_is_checked(
    tmp_path: Path, values: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        FeatureCache(tmp_path / "x", KEY, block=3).open_or_build(
            NAMES, lambda rows: values, ARRAYS
        )


@pytest.mark.parametrize(
    ("key", "names", "arrays", "block", "message"),
    [
        pytest.param(
            {"sizes": [1]},
            NAMES,
            ARRAYS,
            3,
            "key: expected texts and numbers",
            id="list in the key",
        ),
        pytest.param(
            {"x": float("nan")},
            NAMES,
            ARRAYS,
            3,
            "not JSON compliant",
            id="NaN in the key",
        ),
        pytest.param(KEY, [], ARRAYS, 3, "at least one photo", id="no photos"),
        pytest.param(KEY, NAMES, {}, 3, "expected numbers", id="no arrays"),
        pytest.param(
            KEY, NAMES, {"x": ((1,), "O")}, 3, "expected numbers", id="objects"
        ),
        pytest.param(
            KEY, NAMES, ARRAYS, 0, "block: expected at least 1", id="block of 0"
        ),
    ],
)
def test_bad_arguments(
    tmp_path: Path, key: Any, names: Any, arrays: Any, block: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        FeatureCache(tmp_path / "x", key, block).open_or_build(names, Builder(), arrays)
