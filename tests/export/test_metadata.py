"""Sidecars and copies on disk, read back by exiftool where it is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regiontalk.export.embed import find_packet, with_packet
from regiontalk.export.metadata import orientation, write_copy, write_sidecar
from regiontalk.export.xmp import Texts, packet
from regiontalk.records import ImageResult, RegionCaption

TEXTS = Texts(
    "A dog runs.", "A dog runs on grass.", "A dog runs on grass. On the left, a ball."
)


def photo(path: Path, turn: int = 1) -> ImageResult:
    """A photo on disk, and a result whose boxes are in the photo as it is seen."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = turn, "A camera"
    values = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(values).save(path, exif=exif)
    size = (80, 60) if turn < 5 else (60, 80)
    return ImageResult(
        str(path), size, "mini", regions=(RegionCaption((0, 0, 30, 20), "a ball", 0.9),)
    )


def exiftool(path: Path) -> dict[str, Any]:
    if shutil.which("exiftool") is None:
        pytest.skip("exiftool is not installed")
    run = subprocess.run(
        ["exiftool", "-j", "-struct", "-n", str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    (values,) = json.loads(run.stdout)
    assert "Warning" not in values and "Error" not in values
    return dict(values)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_copy(tmp_path: Path, name: str) -> None:
    said = photo(tmp_path / name, 6)
    os.utime(said.photo, (1e9, 1e9))
    before = Path(said.photo).read_bytes()
    path = write_copy(said, TEXTS, tmp_path / "new")
    assert path == tmp_path / "new" / name and path.stat().st_mtime == 1e9
    assert (
        Path(said.photo).read_bytes() == before
        and find_packet(path.read_bytes()) is not None
    )
    np.testing.assert_array_equal(
        np.asarray(Image.open(path)), np.asarray(Image.open(said.photo))
    )
    assert list((tmp_path / "new").iterdir()) == [path]


@pytest.mark.parametrize("kind", ["copy", "sidecar"])
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_exiftool_reads_it(tmp_path: Path, name: str, kind: str) -> None:
    said = photo(tmp_path / name, 6)
    write = write_copy if kind == "copy" else write_sidecar
    values = exiftool(write(said, TEXTS, tmp_path / "new", mwg=True))
    assert (
        values["Description"] == "A dog runs."
        and values["AltTextAccessibility"] == "A dog runs on grass."
    )
    # Seen 60x80 at the top left, 30 x 20; stored 80x60 lying on its left side: x from y, y from the
    # right edge
    (region,) = values["ImageRegion"]
    assert region["Name"] == "a ball" and region["RId"].startswith("regiontalk-mini-1-")
    boundary = region["RegionBoundary"]
    assert [boundary[key] for key in ("RbX", "RbY", "RbW", "RbH")] == [
        0,
        0.5,
        0.25,
        0.5,
    ]
    (region,) = values["RegionInfo"]["RegionList"]
    assert [region["Area"][key] for key in "XYWH"] == [0.125, 0.75, 0.25, 0.5]
    assert region["Description"] == "a ball" and "Name" not in region
    assert values["RegionInfo"]["AppliedToDimensions"] == {
        "W": 80,
        "H": 60,
        "Unit": "pixel",
    }
    if kind == "copy":
        assert values["Make"] == "A camera" and values["Orientation"] == 6


def test_a_sidecar_is_added_to(tmp_path: Path) -> None:
    said = photo(tmp_path / "a.jpg")
    path = write_sidecar(said, Texts("Ours, once."), tmp_path)
    assert path == tmp_path / "a.jpg.xmp"
    write_sidecar(said, Texts("Ours, again.", "New."), tmp_path)
    assert b"Ours, once." in path.read_bytes() and b"New." in path.read_bytes()
    write_sidecar(said, Texts("Ours, again."), tmp_path, replace=True)
    assert b"Ours, again." in path.read_bytes() and b"once" not in path.read_bytes()
    path.write_text("no xml")
    with pytest.raises(ValueError, match="damaged"):
        write_sidecar(said, TEXTS, tmp_path)
    assert path.read_text() == "no xml"


def test_refused(tmp_path: Path) -> None:
    said = photo(tmp_path / "a.jpg")
    with pytest.raises(
        ValueError, match="the copy would replace the photo; choose another folder"
    ):
        write_copy(said, TEXTS, tmp_path)
    (tmp_path / "a.gif").write_bytes(b"GIF89a")
    with pytest.raises(
        ValueError,
        match=r"a\.gif: XMP can be written into JPEG, PNG and WebP files only",
    ):
        write_copy(
            ImageResult(str(tmp_path / "a.gif"), (1, 1), "mini"),
            TEXTS,
            tmp_path / "new",
        )
    assert not (tmp_path / "new").exists()


def other_photo(path: Path) -> None:
    photo(path)
    Image.new("RGB", (80, 60)).save(path)


def rated(path: Path) -> None:
    """The copy as somebody leaves it who adds to its XMP."""
    path.write_bytes(
        with_packet(
            path.read_bytes(), packet(ImageResult("", (8, 6), "mini"), Texts("Rex"))
        )
    )


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
@pytest.mark.parametrize(
    ("change", "time", "replaced"),
    [
        pytest.param(lambda path: None, 1e9, True, id="an earlier copy"),
        pytest.param(
            lambda path: None, 1e9 + 1, True, id="on a disk that keeps even seconds"
        ),
        pytest.param(rated, 1e9, True, id="the same but for its XMP"),
        pytest.param(rated, 1e9 + 60, False, id="whose XMP was changed since"),
        pytest.param(other_photo, 1e9, False, id="another photo of the same second"),
        pytest.param(
            lambda path: path.write_text("words"), 1e9, False, id="no picture"
        ),
    ],
)
def test_only_an_earlier_copy_is_replaced(
    tmp_path: Path, name: str, change: Any, time: float, replaced: bool
) -> None:
    said = photo(tmp_path / name)
    os.utime(said.photo, (1e9, 1e9))
    path = write_copy(said, Texts("Before."), tmp_path / "new")
    change(path)
    os.utime(path, (time, time))
    before = path.read_bytes()
    if replaced:
        write_copy(said, Texts("After."), tmp_path / "new")
        assert b"After." in path.read_bytes()
        return
    with pytest.raises(
        ValueError,
        match="is there and no earlier copy of this photo; remove it or choose",
    ):
        write_copy(said, Texts("After."), tmp_path / "new")
    assert path.read_bytes() == before


def test_many_regions(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg")
    row = RegionCaption((0, 0, 30, 20), "a man in a red shirt and a white hat", 0.9)
    fits, more = (
        ImageResult(str(tmp_path / "a.jpg"), (80, 60), "mini", regions=(row,) * count)
        for count in (50, 90)
    )
    assert len(exiftool(write_copy(fits, TEXTS, tmp_path / "new"))["ImageRegion"]) == 50
    with pytest.raises(ValueError, match=r"a JPEG holds 65,504; take fewer regions"):
        write_copy(more, TEXTS, tmp_path / "new")


@pytest.mark.parametrize(
    "data", [b"", b"no picture", b"\xff\xd8\xff\xe1\x00\x08Exif\x00\x00"]
)
def test_orientation_of_broken_files(data: bytes) -> None:
    assert orientation(data) == 1


@pytest.mark.parametrize("where", ["inside", "a.xmp", "a.jpg.xmp"])
def test_what_is_there_is_not_hidden_by_a_new_sidecar(
    tmp_path: Path, where: str
) -> None:
    said = photo(tmp_path / "a.jpg")
    words = packet(ImageResult("a", (2, 2), "m"), Texts("Our dog Rex."))
    if where == "inside":
        data = Path(said.photo).read_bytes()
        Path(said.photo).write_bytes(with_packet(data, words))
    else:
        (tmp_path / where).write_bytes(words)
    assert b"Our dog Rex." in write_sidecar(said, TEXTS, tmp_path / "new").read_bytes()


def iptc(caption: bytes) -> bytes:
    """An APP13 segment of a JPEG with a Caption-Abstract."""
    record = b"\x1c\x02\x78" + len(caption).to_bytes(2, "big") + caption
    block = (
        b"8BIM\x04\x04\x00\x00"
        + len(record).to_bytes(4, "big")
        + record
        + b"\x00" * (len(record) % 2)
    )
    body = b"Photoshop 3.0\x00" + block
    return b"\xff\xed" + (len(body) + 2).to_bytes(2, "big") + body


@pytest.mark.parametrize("kind", ["IPTC", "EXIF", "camera"])
def test_captions_of_older_programs_stay_the_description(
    tmp_path: Path, kind: str
) -> None:
    said = photo(tmp_path / "a.jpg")
    if kind == "IPTC":
        data = Path(said.photo).read_bytes()
        Path(said.photo).write_bytes(
            data[:2] + iptc("Caf\u00e9 Rex".encode()) + data[2:]
        )
    else:
        exif = Image.Exif()
        exif[0x010E] = "Cafe Rex" if kind == "EXIF" else "OLYMPUS DIGITAL CAMERA"
        Image.new("RGB", (80, 60)).save(said.photo, exif=exif, quality=90)
    caption = "Cafe Rex" if kind == "EXIF" else "Caf\u00e9 Rex"
    for write in (write_sidecar, write_copy):
        text = write(said, TEXTS, tmp_path / "new").read_bytes()
        assert (caption.encode() in text) == (kind != "camera")
        text = write(said, TEXTS, tmp_path / "again", replace=True).read_bytes()
        assert b"A dog runs.<" in text


def test_a_sidecar_that_nobody_may_write_stays(tmp_path: Path) -> None:
    said = photo(tmp_path / "a.jpg")
    sidecar = write_sidecar(said, TEXTS, tmp_path)
    written = sidecar.read_bytes()
    sidecar.chmod(0o444)
    with pytest.raises(ValueError, match="write-protected; allow writing"):
        write_sidecar(said, TEXTS, tmp_path)
    assert sidecar.read_bytes() == written


def test_a_link_stays_and_its_file_keeps_its_mode(tmp_path: Path) -> None:
    said = photo(tmp_path / "a.jpg")
    annex = tmp_path / "annex.xmp"
    annex.write_bytes(b"")
    annex.chmod(0o640)
    (tmp_path / "a.jpg.xmp").symlink_to(annex)
    path = write_sidecar(said, TEXTS, tmp_path)
    assert path.is_symlink() and b"A dog runs." in annex.read_bytes()
    assert annex.stat().st_mode & 0o777 == 0o640
