"""A small library: six photos in two folders, and a tiny model.

Photos with and without a camera's date.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regiontalk.captioner import RegionCaptioner
from regiontalk.index.library import PhotoIndex
from regiontalk.index.metadata import About
from regiontalk.index.rows import Row, Stamp

REGIONS = 4


def picture(seed: int, size_wh: tuple[int, int] = (90, 70)) -> Image.Image:
    """Soft coloured clouds."""
    values = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(values).resize(size_wh, Image.Resampling.BICUBIC)


@pytest.fixture(scope="session")
def captioner(tiny_folder: Path) -> RegionCaptioner:
    pytest.importorskip("lancedb", reason="the extra [search] is not installed")
    return RegionCaptioner.from_pretrained(tiny_folder)


@pytest.fixture
def paint() -> Callable[[int, Path], None]:
    """A function that saves the picture of a number."""
    return lambda number, path: picture(number).save(path)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """album/{0..3}.jpg taken on 1 to 4 May 2024, album/o'hara/{4,5}.png without a date."""
    folder = tmp_path / "album"
    (folder / "o'hara").mkdir(parents=True)
    paths = [folder / f"{number}.jpg" for number in range(4)]
    paths += [folder / "o'hara" / f"{number}.png" for number in (4, 5)]
    for number, path in enumerate(paths):
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0x9003] = f"2024:05:0{number + 1} 12:30:00"
        picture(number).save(path, **({"exif": exif} if path.suffix == ".jpg" else {}))
    return paths


@pytest.fixture
def library(
    captioner: RegionCaptioner, photos: Sequence[Path], tmp_path: Path
) -> PhotoIndex:
    """All six photos, in two batches."""
    index = PhotoIndex.open_or_create(tmp_path / "index", captioner, regions=REGIONS)
    index.add(captioner, photos, captions=2, batch=4)
    return index


@pytest.fixture
def made_up(captioner: RegionCaptioner) -> Callable[[int], list[Row]]:
    """A function that gives rows of photos that never were: unit vectors of any direction."""

    def make(count: int) -> list[Row]:
        chance = np.random.default_rng(5)
        vectors = chance.normal(
            size=(count, 1 + REGIONS, About.of(captioner.predictor, REGIONS).size)
        )
        vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
        boxes = np.tile(np.array([0, 0, 9, 9], dtype=np.float32), (1 + REGIONS, 1))
        ones = np.ones(1 + REGIONS, dtype=np.float32)
        return [
            Row(
                f"/nowhere/{number}.jpg",
                Stamp(1, 1, sha256(str(number).encode()).hexdigest()),
                datetime(2024, 1, 1),
                (9, 9),
                own.astype(np.float16),
                boxes,
                ones,
                (None,) * (1 + REGIONS),
                ones,
            )
            for number, own in enumerate(vectors)
        ]

    return make
