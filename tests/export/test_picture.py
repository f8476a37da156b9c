"""Pictures are written whole, in the format of their name."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from PIL import Image

from regiontalk.export.picture import save_picture


@pytest.mark.parametrize(
    ("name", "kind"), [("a.jpg", "JPEG"), ("x/a.PNG", "PNG"), ("a.webp", "WEBP")]
)
def test_formats(tmp_path: Path, name: str, kind: str) -> None:
    save_picture(Image.new("RGB", (8, 8)), tmp_path / name)
    with Image.open(tmp_path / name) as picture:
        assert picture.format == kind and picture.size == (8, 8)


def test_no_format(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected the name of a picture"):
        save_picture(Image.new("RGB", (8, 8)), tmp_path / "a.doc")


def test_a_disk_that_takes_a_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last blocks of a disk take a part of the file, and Pillow does not look."""

    def write_part(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", write_part)
    with pytest.raises(OSError, match="cannot be written"):
        save_picture(Image.new("RGB", (80, 80)), tmp_path / "a.jpg")
    assert list(tmp_path.iterdir()) == []
