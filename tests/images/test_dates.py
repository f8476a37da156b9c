"""Dates of photos: from tags of every kind, from file names, and from neither."""

from __future__ import annotations

import io
from datetime import datetime
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from regiontalk.images.dates import name_date, photo_date

DAY = datetime(2024, 1, 31)
TIME = datetime(2024, 1, 31, 10, 22, 11)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("IMG_20240131_102211.jpg", TIME),
        ("IMG_20240131_102211123.jpg", TIME),
        ("20240131_102211.jpg", TIME),
        ("20240131102211.jpg", TIME),
        ("PXL_20240131_102211123.MP.jpg", TIME),
        ("2024-01-31 10.22.11.jpg", TIME),
        ("2024-01-31_10-22-11.jpg", TIME),
        ("2024-01-31T10:22:11.png", TIME),
        ("Screenshot_20240131-102211_Maps.png", TIME),
        ("Screenshot 2024-01-31 at 10.22.11.png", TIME),
        ("Screenshot 2024-01-31 at 10.22.11\u202fPM.png", TIME.replace(hour=22)),
        ("Screenshot 2024-01-31 at 12.22.11 AM.png", TIME.replace(hour=0)),
        ("Bildschirmfoto 2024-01-31 um 10.22.11.png", TIME),
        ("WhatsApp Image 2024-01-31 at 10.22.11.jpeg", TIME),
        ("WhatsApp Image 2024-01-31 at 10.22.11 (1).jpeg", TIME),
        ("IMG-20240131-WA0003.jpg", DAY),
        ("signal-2024-01-31-102211.jpg", TIME),
        ("signal-2024-01-31-10-22-11-123.jpg", TIME),
        ("photo_2024-01-31_10-22-11.jpg", TIME),
        ("2024-01-31.jpg", DAY),
        ("2024-01-31 3.jpg", DAY),
        ("2024_01_31 Berlin 17.jpg", DAY),
        ("trip 2024.01.31.jpg", DAY),
        ("IMG_20241331_102211.jpg", None),
        ("IMG_20240631_102211.jpg", None),
        ("000000202401.jpg", None),
        ("120240131.jpg", None),
        ("2024013110221112345.jpg", None),
        ("COCO_val2014_000000391895.jpg", None),
        ("1000092795.jpg", None),
        ("DSC_2024.jpg", None),
        ("31.01.2024.jpg", None),
        ("FB_IMG_1706696531123.jpg", datetime.fromtimestamp(1706696531)),
        ("mmexport1706696531123.jpg", datetime.fromtimestamp(1706696531)),
        ("1706696531123.jpg", None),
        ("", None),
    ],
)
def test_names(name: str, expected: datetime | None) -> None:
    assert name_date(name) == expected


def picture(
    kind: str = "JPEG", camera: dict[int, str] | None = None, **more: Any
) -> bytes:
    stream = io.BytesIO()
    exif = Image.Exif()
    if changed := more.pop("changed", None):
        exif[0x0132] = changed
    for tag, text in (camera or {}).items():
        exif.get_ifd(0x8769)[tag] = text
    Image.new("RGB", (8, 8)).save(stream, kind, exif=exif, **more)
    return stream.getvalue()


def png_text(text: str) -> PngInfo:
    info = PngInfo()
    info.add_text("Creation Time", text)
    return info


def iptc() -> bytes:
    """A JPEG with IPTC-IIM's date and time in a Photoshop block."""
    records = b"".join(
        b"\x1c\x02" + bytes([number]) + len(text).to_bytes(2, "big") + text
        for number, text in ((55, b"20240131"), (60, b"102211+0100"))
    )
    block = (
        b"8BIM\x04\x04\0\0"
        + len(records).to_bytes(4, "big")
        + records
        + b"\0" * (len(records) % 2)
    )
    body = b"Photoshop 3.0\0" + block
    data = picture()
    return data[:2] + b"\xff\xed" + (len(body) + 2).to_bytes(2, "big") + body + data[2:]


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description %s</x:xmpmeta>'


@pytest.mark.parametrize(
    ("content", "name", "expected"),
    [
        pytest.param(
            picture(camera={0x9003: "2024:01:31 10:22:11"}), "", TIME, id="taken"
        ),
        pytest.param(
            picture(camera={0x9004: "2024:01:31 10:22:11"}), "", TIME, id="digitised"
        ),
        pytest.param(
            picture(
                camera={0x9003: "0000:00:00 00:00:00", 0x9004: "2024:01:31 10:22:11"}
            ),
            "",
            TIME,
            id="a clock that was never set",
        ),
        pytest.param(
            picture("WEBP", camera={0x9003: "2024:01:31 10:22:11"}), "", TIME, id="WebP"
        ),
        pytest.param(
            picture(xmp=XMP % b'photoshop:DateCreated="2024-01-31T10:22:11+01:00"/>'),
            "",
            TIME,
            id="XMP, attribute",
        ),
        pytest.param(
            picture(xmp=XMP % b"><xmp:CreateDate>2024-01-31</xmp:CreateDate>"),
            "",
            DAY,
            id="XMP",
        ),
        pytest.param(iptc(), "", TIME, id="IPTC-IIM"),
        pytest.param(
            picture("PNG", pnginfo=png_text("2024:01:31 10:22:11")),
            "",
            TIME,
            id="PNG text",
        ),
        pytest.param(
            picture(camera={0x9003: "2024:01:31 10:22:11"}),
            "IMG_20010101_000000.jpg",
            TIME,
            id="a tag before the name",
        ),
        pytest.param(
            picture(changed="2025:05:05 05:05:05"),
            "IMG_20240131_102211.jpg",
            TIME,
            id="the name before the time of change",
        ),
        pytest.param(
            picture(changed="2024:01:31 10:22:11"), "a.jpg", TIME, id="time of change"
        ),
        pytest.param(picture(), "a.jpg", None, id="nothing"),
        pytest.param(
            picture(camera={0x9003: "yesterday"}),
            "a.jpg",
            None,
            id="no date but a text",
        ),
        pytest.param(b"no picture", "20240131_102211.jpg", TIME, id="no picture"),
        pytest.param(
            picture(camera={0x9003: "2024:01:31 10:22:11"}).replace(
                b"Exif\0\0", b"Exif\0\0\xff\xff"
            ),
            "a.jpg",
            None,
            id="broken block",
        ),
    ],
)
def test_photos(content: bytes, name: str, expected: datetime | None) -> None:
    assert photo_date(content, name) == expected
