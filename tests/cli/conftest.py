"""The command line with a captioner that needs no model, and with a real small one."""

from __future__ import annotations

import shutil
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from regiontalk.cli import session
from regiontalk.cli.main import app
from regiontalk.images.open import open_image
from regiontalk.records import ImageResult, PhraseMatch, RegionCaption

Run = Callable[..., Any]


class FakeCaptioner:
    """Opens the photos for real, so that broken ones fail as they would.

    It says what it was asked.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def caption_many(
        self,
        photos: Sequence[str],
        *,
        regions: int,
        beams: int | None = None,
        threshold: float | None = None,
        merge: bool = True,
    ) -> list[ImageResult]:
        names = tuple(Path(photo).name for photo in photos)
        self.calls.append(
            (
                "caption_many",
                names,
                regions,
                beams,
                threshold,
                *([] if merge else ["all boxes"]),
            )
        )
        sizes = [open_image(photo).size for photo in photos]
        return [
            ImageResult(
                photo=photo,
                size_wh=size,
                model="fake",
                caption=RegionCaption((0, 0, *size), "a plain wall", 0.5),
                regions=tuple(
                    RegionCaption((0, 0, 5, 5 + n), "a corner" if n else None, 0.25)
                    for n in range(regions)
                ),
            )
            for photo, size in zip(photos, sizes, strict=True)
        ]

    def describe(
        self,
        photo: str,
        boxes_xyxy: Sequence[Any],
        *,
        beams: int | None,
        threshold: float | None,
    ) -> ImageResult:
        self.calls.append(
            ("describe", Path(photo).name, list(boxes_xyxy), beams, threshold)
        )
        regions = tuple(RegionCaption(box, "a part", 0.75) for box in boxes_xyxy)
        return ImageResult(photo, open_image(photo).size, "fake", regions=regions)

    def align(self, photo: str, sentence: str) -> ImageResult:
        if not sentence.split():
            raise ValueError("sentence: expected at least one word, got none")
        matches = tuple(
            PhraseMatch(word, (1, 2, 3, 4), 1.5) for word in sentence.split()
        )
        return ImageResult(photo, open_image(photo).size, "fake", matches=matches)

    def locate(self, photo: str, phrase: str, *, k: int) -> ImageResult:
        matches = tuple(
            PhraseMatch(phrase, (1, 2, 3, 4 + n), 1.5 - n) for n in range(k)
        )
        return ImageResult(photo, open_image(photo).size, "fake", matches=matches)


@pytest.fixture
def captioner(monkeypatch: pytest.MonkeyPatch) -> FakeCaptioner:
    """The fake, which `load_captioner` returns for the model "mini"."""
    fake = FakeCaptioner()

    def load(
        model: str, device: str | None, max_pixels: int, source: Any = None
    ) -> FakeCaptioner:
        fake.calls.append(("load", model, device, max_pixels))
        if model != "mini":
            raise KeyError(f"model: expected one of mini, got {model!r}")
        return fake

    monkeypatch.setattr(session, "load_captioner", load)
    return fake


@pytest.fixture
def run(
    captioner: FakeCaptioner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Run the command line in a folder of photos, good and bad.

    ``a.png``, ``b.jpg``, ``broken.jpg`` and ``album/`` (two good, one bad).
    """
    (tmp_path / "album").mkdir()
    for name in ("a.png", "b.jpg", "album/one.png", "album/two.PNG"):
        Image.new("RGB", (40, 30), (90, 120, 150)).save(tmp_path / name)
    for name in ("broken.jpg", "album/middle.jpg"):
        (tmp_path / name).write_bytes(b"no picture")
    (tmp_path / "album" / "notes.txt").write_text("not to be read")
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def huge() -> bytes:
    """A 20,000x20,000 PNG without one pixel: whoever decodes it fails with another message."""
    chunks = [b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0), b"IDAT"]
    body = (
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_folder: Path) -> Path:
    """The working folder of the test, with photos good and bad.

    Also ``album/`` of both, and the model ``tiny``.
    """
    monkeypatch.chdir(tmp_path)
    values = np.random.default_rng(0).integers(0, 256, (4, 48, 64, 3), dtype=np.uint8)
    Path("folder").mkdir()
    Path("album").mkdir()
    for row, name in zip(
        values, ("good.jpg", "album/a.jpg", "album/c.jpg", "album/e.png"), strict=True
    ):
        Image.fromarray(row).save(name)
    for name in ("cut.jpg", "album/b.jpg"):
        Path(name).write_bytes(Path("good.jpg").read_bytes()[:-1500])
    for name in ("empty.jpg", "album/d.jpg"):
        Path(name).touch()
    Path("words.jpg").write_text("these are only words")
    Path("huge.png").write_bytes(huge())
    shutil.copytree(tiny_folder, "tiny")
    return tmp_path


@pytest.fixture
def real(here: Path) -> Run:
    """Run the command line as it is, in the folder of `here`."""
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


@pytest.fixture
def refused() -> Callable[[Any, str], None]:
    """A check: exit code 2, nothing on stdout, one line on stderr that says the message."""

    def check(result: Any, message: str) -> None:
        assert result.exit_code == 2, (result.output, result.exception)
        assert result.stdout == ""
        assert len(result.stderr.splitlines()) == 1 and result.stderr.startswith(
            "regiontalk: "
        )
        assert message in result.stderr

    return check
