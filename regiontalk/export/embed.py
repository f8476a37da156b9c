"""XMP packets inside JPEG, PNG and WebP files, read and written.

No other byte of the picture is touched. Where a packet stands in each format: XMP
specification part 3 (ISO 16684-1). The compressed picture data are copied as they are,
and so is all other metadata (EXIF, IPTC-IIM, colour profiles, previews).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

JPEG_MARK = b"http://ns.adobe.com/xap/1.0/\x00"
PNG_MARK = b"XML:com.adobe.xmp"
_PNG_HEAD = b"\x89PNG\r\n\x1a\n"
# a segment's length, itself included, is a 16-bit number
_JPEG_MOST = 65_533 - len(JPEG_MARK)
_LARGEST = 16 << 20  # bytes of an unpacked packet
_XMP, _ALPHA = 0x04, 0x10  # flags of WebP's VP8X chunk


def find_packet(data: bytes) -> bytes | None:
    """The XMP packet of a picture file; None where it has none.

    Raises:
        ValueError: neither JPEG, PNG nor WebP, or damaged.
    """
    kind = _kind(data)
    if kind == "jpeg":
        packets = (
            data[start + 4 + len(JPEG_MARK) : end]
            for _, start, end in _xmp_segments(data)
        )
    elif kind == "png":
        packets = (
            _unpacked(body)
            for name, body, _, _ in _png_chunks(data)
            if _is_png_xmp(name, body)
        )
    else:
        packets = (body for name, body, _, _ in _riff_chunks(data) if name == b"XMP ")
    return next(packets, None)


def with_packet(data: bytes, packet: bytes) -> bytes:
    """The same picture file with this XMP packet in place of its own.

    Raises:
        ValueError: neither JPEG, PNG nor WebP, damaged, or (JPEG) a packet of 64 kB or more.
    """
    kind = _kind(data)
    return {"jpeg": _jpeg_with, "png": _png_with, "webp": _webp_with}[kind](
        data, packet
    )


def _kind(data: bytes) -> str:
    if data[:2] == b"\xff\xd8":
        return "jpeg"
    if data[:8] == _PNG_HEAD:
        return "png"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    raise ValueError(
        "XMP can be written into JPEG, PNG and WebP files only; write a sidecar "
        "instead (format xmp)"
    )


def _damaged(what: str) -> ValueError:
    return ValueError(
        f"damaged or cut short: expected a whole {what} file; copy or download it again"
    )


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment between the start of a JPEG and its picture data."""
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            raise _damaged("JPEG")
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if marker in (0xDA, 0xD9):  # start of scan, end of image
            return
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if end > len(data) or end < position + 4:
            raise _damaged("JPEG")
        yield marker, position, end
        position = end
    raise _damaged("JPEG")


def _xmp_segments(data: bytes) -> list[tuple[int, int, int]]:
    return [
        row
        for row in _segments(data)
        if row[0] == 0xE1 and data[row[1] + 4 : row[2]].startswith(JPEG_MARK)
    ]


def _jpeg_with(data: bytes, packet: bytes) -> bytes:
    old_segments = _xmp_segments(data)
    if len(packet) > _JPEG_MOST:
        raise _too_long(packet, sum(end - start for _, start, end in old_segments))
    if old_segments and _has_photo_index_before(data, old_segments[0][1]):
        # Its offsets to further pictures count from its own place in the file.
        raise ValueError(
            "several pictures in one JPEG, and XMP after their index; write a sidecar (format xmp)"
        )
    length = struct.pack(">H", 2 + len(JPEG_MARK) + len(packet))
    segment = b"\xff\xe1" + length + JPEG_MARK + packet
    if not old_segments:
        at = _end_of_heads(data)
        return data[:at] + segment + data[at:]
    pieces, position = [], 0
    for _, start, end in old_segments:
        pieces.append(data[position:start])
        position = end
    return b"".join([pieces[0], segment, *pieces[1:], data[position:]])


def _too_long(packet: bytes, bytes_there: int) -> ValueError:
    """The error for a packet that no JPEG holds."""
    if bytes_there > _JPEG_MOST // 2:
        advice = f"{bytes_there:,} of them are there already; write a sidecar instead (format xmp)"
    else:
        advice = "take fewer regions (--regions) or write a sidecar (format xmp)"
    return ValueError(
        f"XMP: {len(packet):,} bytes, a JPEG holds {_JPEG_MOST:,}; {advice}"
    )


def _has_photo_index_before(data: bytes, position: int) -> bool:
    """Whether the index of several pictures in one file (MPF) stands before a position."""
    return any(
        marker == 0xE2
        and start < position
        and data[start + 4 : end].startswith(b"MPF\x00")
        for marker, start, end in _segments(data)
    )


def _end_of_heads(data: bytes) -> int:
    """Where JFIF and EXIF end, which have to come first."""
    position = 2
    for marker, start, end in _segments(data):
        is_exif = marker == 0xE1 and data[start + 4 : end].startswith(b"Exif\x00")
        if marker != 0xE0 and not is_exif:
            break
        position = end
    return position


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes, int, int]]:
    """Name, body, start and end of each chunk up to IEND."""
    position = len(_PNG_HEAD)
    while position + 12 <= len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if end > len(data):
            break
        name = data[position + 4 : position + 8]
        yield name, data[position + 8 : end - 4], position, end
        if name == b"IEND":
            return
        position = end
    raise _damaged("PNG")


def _is_png_xmp(name: bytes, body: bytes) -> bool:
    return name == b"iTXt" and body.startswith(PNG_MARK + b"\x00")


def _unpacked(body: bytes) -> bytes:
    """The text of an iTXt chunk.

    Its parts are keyword, 0, packed or not, method, language, 0, translated keyword, 0,
    text.
    """
    packed, fields = (
        body[len(PNG_MARK) + 1 : len(PNG_MARK) + 2],
        body[len(PNG_MARK) + 3 :],
    )
    text = fields.split(b"\x00", 2)[2] if fields.count(b"\x00") >= 2 else b""
    if packed != b"\x01":
        return text
    reader = zlib.decompressobj()
    try:
        text = reader.decompress(text, _LARGEST)
    except zlib.error as error:
        raise ValueError(
            f"XMP: the metadata that is there is damaged ({error}); remove it first"
        ) from error
    if reader.unconsumed_tail:
        raise ValueError(
            f"XMP: the metadata that is there is larger than {_LARGEST:,} bytes; remove it first"
        )
    return text


def _png_with(data: bytes, packet: bytes) -> bytes:
    body = PNG_MARK + b"\x00\x00\x00\x00\x00" + packet
    new_chunk = (
        struct.pack(">I", len(body))
        + b"iTXt"
        + body
        + struct.pack(">I", zlib.crc32(b"iTXt" + body))
    )
    pieces, last = [_PNG_HEAD], len(_PNG_HEAD)
    for name, content, start, end in _png_chunks(data):
        if not _is_png_xmp(name, content):
            pieces.append(data[start:end])
        if name == b"IHDR":
            pieces.append(new_chunk)
        last = end
    return b"".join([*pieces, data[last:]])


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, bytes, int, int]]:
    """Name, body, start and end (with its pad byte) of each chunk of a WebP file."""
    position = 12
    stop = 8 + int.from_bytes(data[4:8], "little")
    if stop > len(data):
        raise _damaged("WebP")
    while position + 8 <= stop:
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        end = position + 8 + size + size % 2
        if position + 8 + size > stop:
            raise _damaged("WebP")
        yield (
            data[position : position + 4],
            data[position + 8 : position + 8 + size],
            position,
            min(end, stop),
        )
        position = end


def _webp_with(data: bytes, packet: bytes) -> bytes:
    chunks = [row for row in _riff_chunks(data) if row[0] != b"XMP "]
    if not chunks:
        raise _damaged("WebP")
    if chunks[0][0] == b"VP8X":
        flags = bytes([chunks[0][1][0] | _XMP]) + chunks[0][1][1:]
        other_chunks = chunks[1:]
    else:
        wide, high, alpha = _webp_size(*chunks[0][:2])
        sizes = (wide - 1).to_bytes(3, "little") + (high - 1).to_bytes(3, "little")
        flags, other_chunks = (
            bytes([_XMP | (_ALPHA if alpha else 0), 0, 0, 0]) + sizes,
            chunks,
        )
    pieces = [
        _chunk(b"VP8X", flags),
        *(data[start:end] for _, _, start, end in other_chunks),
        _chunk(b"XMP ", packet),
    ]
    body = b"WEBP" + b"".join(pieces)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\x00" * (len(body) % 2)


def _webp_size(name: bytes, body: bytes) -> tuple[int, int, bool]:
    """Width, height and transparency of a simple WebP picture, from its first bytes.

    RFC 9649, 2.5 and 2.6.
    """
    if name == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":
        wide, high = struct.unpack("<HH", body[6:10])
        return wide & 0x3FFF, high & 0x3FFF, False
    if name == b"VP8L" and body[:1] == b"\x2f":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1)
    raise _damaged("WebP")
