"""Packets in picture files: everything but the packet stays byte for byte."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from regiontalk.export.embed import JPEG_MARK, PNG_MARK, find_packet, with_packet

OLD, NEW = b"<old/>" * 9, b"<new>" + bytes(range(32, 60)) + b"</new>"
PIXELS = np.random.default_rng(0).integers(0, 256, (24, 33, 4), dtype=np.uint8)


def saved(kind: str, alpha: bool = False, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PIXELS if alpha else PIXELS[..., :3]).save(stream, kind, **options)
    return stream.getvalue()


def exif() -> Image.Exif:
    values = Image.Exif()
    values[0x0112], values[0x010F] = 6, "A camera"
    return values


def png_text() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", "somebody")
    info.add_itxt(PNG_MARK.decode(), OLD.decode(), zip=True)
    return info


def pieces(data: bytes) -> list[bytes]:
    """All segments or chunks of a file but XMP, by plain reading: the slow twin."""
    if data[:2] == b"\xff\xd8":
        found, place = [], 2
        while data[place + 1] != 0xDA:
            end = place + 2 + struct.unpack(">H", data[place + 2 : place + 4])[0]
            found.append(data[place:end])
            place = end
        return [one for one in found if not one[4:].startswith(JPEG_MARK)] + [
            data[place:]
        ]
    found, place = [], 8 if data[:4] == b"\x89PNG" else 12
    order = ">I" if data[:4] == b"\x89PNG" else "<I"
    while place < len(data):
        at = place if order == ">I" else place + 4
        size = struct.unpack(order, data[at : at + 4])[0]
        end = place + 8 + size + (4 if order == ">I" else size % 2)
        found.append(data[place:end])
        place = end
    return [
        one
        for one in found
        if PNG_MARK not in one[:40] and one[:4] not in (b"XMP ", b"VP8X")
    ]


FILES: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: saved("JPEG"),
    "progressive jpeg with exif and profile": lambda: saved(
        "JPEG",
        progressive=True,
        exif=exif(),
        icc_profile=b"profile" * 30000,
        comment=b"hello",
    ),
    "jpeg with xmp": lambda: saved("JPEG", exif=exif(), xmp=OLD),
    "jpeg with fill bytes": lambda: (
        saved("JPEG")[:2] + b"\xff\xff\xff" + saved("JPEG")[3:]
    ),
    "jpeg with something after its end": lambda: saved("JPEG") + b"a film",
    "png": lambda: saved("PNG"),
    "png with text and packed xmp": lambda: saved(
        "PNG", pnginfo=png_text(), exif=exif()
    ),
    "lossy webp": lambda: saved("WEBP"),
    "lossless webp": lambda: saved("WEBP", lossless=True),
    "lossless webp with alpha": lambda: saved("WEBP", alpha=True, lossless=True),
    "webp with alpha, exif and xmp": lambda: saved(
        "WEBP", alpha=True, exif=exif(), xmp=OLD
    ),
}


@pytest.mark.parametrize("name", [name for name in FILES if "fill" not in name])
def test_only_the_packet_changes(name: str) -> None:
    data = FILES[name]()
    assert find_packet(data) == (OLD if "xmp" in name else None)
    fresh = with_packet(data, NEW)
    assert find_packet(fresh) == NEW and OLD not in fresh
    assert pieces(fresh) == pieces(data)
    assert find_packet(with_packet(fresh, OLD)) == OLD
    assert pieces(with_packet(fresh, OLD)) == pieces(data)


@pytest.mark.parametrize("name", FILES)
def test_pillow_reads_the_same_picture(name: str) -> None:
    data = FILES[name]()
    before, after = (
        Image.open(io.BytesIO(data)),
        Image.open(io.BytesIO(with_packet(data, NEW))),
    )
    assert after.mode == before.mode
    np.testing.assert_array_equal(np.asarray(after), np.asarray(before))
    assert dict(after.getexif()) == dict(before.getexif())
    packet = after.info.get("xmp") or after.info.get(PNG_MARK.decode())
    assert packet in (NEW, NEW.decode())
    for key in ("icc_profile", "comment", "Author"):
        assert after.info.get(key) == before.info.get(key)


def test_exif_comes_before_xmp() -> None:
    fresh = with_packet(saved("JPEG", exif=exif()), NEW)
    assert fresh.index(b"JFIF" if b"JFIF" in fresh else b"Exif") < fresh.index(
        JPEG_MARK
    )
    assert fresh.index(b"Exif\x00") < fresh.index(JPEG_MARK) < fresh.index(b"\xff\xdb")


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def several_pictures(xmp_first: bool) -> bytes:
    """A JPEG with an index of further pictures, whose offsets count from the index."""
    data, parts = (
        saved("JPEG"),
        [segment(0xE1, JPEG_MARK + OLD), segment(0xE2, b"MPF\x00index")],
    )
    return data[:2] + b"".join(parts if xmp_first else parts[::-1]) + data[2:]


def test_several_pictures_in_a_file() -> None:
    data = several_pictures(True)
    fresh = with_packet(data, NEW)
    assert fresh[fresh.index(b"MPF\x00") :] == data[data.index(b"MPF\x00") :]
    with pytest.raises(ValueError, match="several pictures in one JPEG"):
        with_packet(several_pictures(False), NEW)


def packed_bomb() -> bytes:
    body = PNG_MARK + b"\x00\x01\x00\x00\x00" + zlib.compress(bytes(17 << 20))
    data = saved("PNG")
    chunk = (
        struct.pack(">I", len(body))
        + b"iTXt"
        + body
        + struct.pack(">I", zlib.crc32(b"iTXt" + body))
    )
    return data[:33] + chunk + data[33:]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(
            b"GIF89a",
            "JPEG, PNG and WebP files only; write a sidecar",
            id="another format",
        ),
        pytest.param(b"", "files only", id="empty"),
        pytest.param(
            saved("JPEG")[:30], "expected a whole JPEG", id="jpeg cut in its header"
        ),
        pytest.param(
            b"\xff\xd8\x00\x00\x00\x00",
            "expected a whole JPEG",
            id="jpeg of something else",
        ),
        pytest.param(
            b"\xff\xd8\xff\xe0\x00\x00\x00",
            "expected a whole JPEG",
            id="segment of no length",
        ),
        pytest.param(saved("PNG")[:-5], "expected a whole PNG", id="png cut short"),
        pytest.param(saved("WEBP")[:-5], "expected a whole WebP", id="webp cut short"),
        pytest.param(
            b"RIFF\x04\x00\x00\x00WEBP", "expected a whole WebP", id="webp of nothing"
        ),
        pytest.param(
            b"RIFF\x10\x00\x00\x00WEBPJUNK\x04\x00\x00\x00abcd",
            "expected a whole WebP",
            id="no picture",
        ),
        pytest.param(
            saved("PNG")[:33]
            + struct.pack(">I", 29)
            + b"iTXt"
            + PNG_MARK
            + b"\x00\x01\x00\x00\x00junkjun"
            + bytes(4)
            + saved("PNG")[33:],
            "damaged",
            id="packed xmp that is none",
        ),
        pytest.param(packed_bomb(), "larger than", id="packed xmp that grows"),
    ],
)
def test_refused(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_packet(data)
        with_packet(data, NEW)


def test_too_long_for_a_jpeg() -> None:
    assert (
        find_packet(with_packet(saved("JPEG"), b"x" * (65533 - len(JPEG_MARK))))
        is not None
    )
    with pytest.raises(
        ValueError, match=r"65,505 bytes, a JPEG holds 65,504; take fewer regions"
    ):
        with_packet(saved("JPEG"), b"x" * (65534 - len(JPEG_MARK)))
