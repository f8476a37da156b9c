"""Photos, a captioner that needs no model, and Ray for the tests of a session."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from regiontalk.images.open import Photo, open_photo
from regiontalk.records import ImageResult, RegionCaption


class ColorCaptioner:
    """Names a photo's first pixel; refuses black photos, together or alone."""

    def open(self, source: bytes) -> Photo:
        return open_photo(source)

    def caption_many(
        self, photos: Sequence[Photo], *, regions: int, **_: Any
    ) -> list[ImageResult]:
        results = []
        for photo in photos:
            color = photo.image.getpixel((0, 0))
            if color == (0, 0, 0):
                raise ValueError(f"{photo.name}: too dark")
            box = RegionCaption((0, 0, *photo.size_wh), f"color {color}", 0.5)
            results.append(
                ImageResult(photo.name, photo.size_wh, "colors", box, (box,) * regions)
            )
        return results


@pytest.fixture
def colors() -> ColorCaptioner:
    return ColorCaptioner()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with seven good photos in two folders, a broken one, an empty one and a text."""
    folder = tmp_path / "in"
    (folder / "below").mkdir(parents=True)
    for number in range(7):
        name = f"{'below/' if number % 2 else ''}{number}.png"
        Image.new("RGB", (9 + number, 8), (number + 1, 2, 3)).save(folder / name)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 no photo")
    (folder / "empty.png").touch()
    (folder / "notes.txt").write_text("no photo")
    (folder / ".hidden.png").touch()
    return folder


@pytest.fixture(scope="session")
def write_tar() -> Callable[..., Path]:
    """A function that writes a tar of members, by name."""

    def write(path: Path, members: Mapping[str, bytes], mode: str = "w") -> Path:
        with tarfile.open(path, mode) as tar:
            for name, data in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        return path

    return write


@pytest.fixture(scope="session")
def ray() -> Iterator[Any]:
    """Workers of this machine, or the cluster of RAY_ADDRESS."""
    pytest.importorskip("ray", reason="needs regiontalk[scale]")
    from regiontalk.scale.ray_session import ray_session

    # Ray's workers step back behind all else (nice 15), which on a busy machine takes minutes
    os.environ.setdefault("RAY_worker_niceness", "0")
    session = ray_session(None, workers=2)
    try:
        session.__enter__()
    # its own daemons wait 15 seconds for each other, no longer
    except ConnectionError as error:
        pytest.skip(str(error))
    import ray

    yield ray
    session.__exit__(None, None, None)


@pytest.fixture
def workers(tiny_folder: Path) -> Any:
    from regiontalk.scale.workers import Workers

    return Workers.of(tiny_folder)
