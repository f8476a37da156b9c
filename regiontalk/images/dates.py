"""When a photo was taken: by its tags, else by its file name.

All by the camera's clock, without a time zone.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from PIL import Image, ImageFile, IptcImagePlugin

_CAMERA_BLOCK = 0x8769  # of EXIF: the camera's settings
_ORIGINAL, _DIGITISED, _CHANGED = 0x9003, 0x9004, 0x0132
_IPTC_DATE, _IPTC_TIME = (2, 55), (2, 60)
_XMP_DATE = re.compile(
    r"""\b(?:exif:DateTimeOriginal|photoshop:DateCreated|xmp:CreateDate)\s*(?:>|=\s*["'])\s*"""
    r"(\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d)?)?)"
)
# The date, then perhaps a time: 20240131_102211, 2024-01-31 10.22.11, 2024-01-31 at 10.22.11 PM.
_NAME_DATE = re.compile(
    r"(?<!\d)(?P<year>(?:19|20)\d\d)(?P<mark>[-_.]?)(?P<month>\d\d)(?P=mark)(?P<day>\d\d)"
    r"(?:(?:[-_T.]|\s*(?:at|um|,|-)?\s*)"
    r"(?P<hour>[0-2]?\d)(?P<colon>[-_.:h]?)(?P<minute>[0-5]\d)"
    r"(?:(?P=colon)m?(?P<second>[0-5]\d)\d{0,3}s?)?"
    r"(?:\s?(?P<half>[AaPp])\.?[Mm]\b)?)?(?!\d)"
)
_NAME_DAY = re.compile(
    r"(?<!\d)(?P<year>(?:19|20)\d\d)(?P<mark>[-_.]?)(?P<month>\d\d)(?P=mark)(?P<day>\d\d)(?!\d)"
)

# Milliseconds since 1970, as Facebook and WeChat name what they save.
_NAME_MILLISECONDS = re.compile(r"(?:FB_IMG_|mmexport)(1\d{12})(?!\d)")


def photo_date(content: bytes, name: str) -> datetime | None:
    """When a photo was taken; None where neither a tag nor its file name says it.

    The tags of taking and digitising go first (EXIF, XMP, IPTC-IIM), then the file
    name, then EXIF's time of change, which any program sets.

    Args:
        content: of the file.
        name: of the file.
    """
    taken, changed = _tag_dates(content)
    return taken or name_date(name) or changed


def _tag_dates(content: bytes) -> tuple[datetime | None, datetime | None]:
    """When the tags say that a photo was taken, and when it was changed."""
    try:
        with Image.open(io.BytesIO(content)) as picture:
            exif = picture.getexif()
            dates = (
                date for text in _date_texts(picture, exif) if (date := _parsed(text))
            )
            return next(dates, None), _parsed(str(exif.get(_CHANGED, "")))
    # parsers raise whatever they meet; a broken block must not cost the photo
    except Exception:
        return None, None


def _date_texts(picture: ImageFile.ImageFile, exif: Any) -> Iterator[str]:
    """What the tags of taking say, the surest first."""
    settings = exif.get_ifd(_CAMERA_BLOCK)
    yield str(settings.get(_ORIGINAL, ""))
    yield str(settings.get(_DIGITISED, ""))
    packet = picture.info.get("xmp", b"")
    if isinstance(packet, bytes):
        for match in _XMP_DATE.finditer(packet.decode("utf-8", "replace")):
            yield match[1]
    iptc = IptcImagePlugin.getiptcinfo(picture) or {}
    day, time = iptc.get(_IPTC_DATE, b""), iptc.get(_IPTC_TIME, b"")
    if isinstance(day, bytes) and isinstance(time, bytes):
        yield (day + time[:6]).decode("latin-1")
    yield str(picture.info.get("Creation Time", ""))  # of PNG


def _parsed(text: str) -> datetime | None:
    """A date as tags have it: 2024:01:31 10:22:11, 2024-01-31T10:22:11, 20240131102211."""
    text = text.strip("\0 ")
    for form in (
        "%Y:%m:%d %H:%M:%S",
        "%Y-%m-%d %H:%M:%S",
        "%Y-%m-%dT%H:%M:%S",
        "%Y-%m-%dT%H:%M",
        "%Y-%m-%d",
        "%Y%m%d%H%M%S",
        "%Y%m%d",
    ):
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    return None


def name_date(name: str) -> datetime | None:
    """The date in a file name, as cameras, phones and messengers write it.

    None where there is none.

    >>> name_date("IMG_20240131_102211.jpg").isoformat()
    '2024-01-31T10:22:11'
    >>> name_date("WhatsApp Image 2024-01-31 at 10.22.11 PM.jpeg").isoformat()
    '2024-01-31T22:22:11'
    >>> name_date("IMG-20240131-WA0003.jpg").isoformat()
    '2024-01-31T00:00:00'
    """
    for pattern in (_NAME_DATE, _NAME_DAY):
        for match in pattern.finditer(name):
            try:
                return _matched(match.groupdict())
            except ValueError:  # a month 13, a day 31 of June
                continue
    milliseconds = _NAME_MILLISECONDS.search(name)
    if milliseconds is not None:
        return datetime.fromtimestamp(int(milliseconds[1]) // 1000)
    return None


def _matched(parts: dict[str, str | None]) -> datetime:
    """The date of the parts of a name.

    Raises:
        ValueError: there is no such day or time.
    """
    hour = int(parts.get("hour") or 0)
    half = (parts.get("half") or "").lower()
    if half and not 1 <= hour <= 12:
        raise ValueError(f"hour: expected 1 to 12, got {hour}")
    if half:
        hour = hour % 12 + (12 if half == "p" else 0)
    return datetime(
        int(parts["year"] or 0),
        int(parts["month"] or 0),
        int(parts["day"] or 0),
        hour,
        int(parts.get("minute") or 0),
        int(parts.get("second") or 0),
    )
