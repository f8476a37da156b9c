"""Damaged and hostile pictures of every format: each must open, or be refused in one line.

    python benchmarks/picture_faults.py --count 10000
    python benchmarks/picture_faults.py --count 500 --keep out/faults

Pictures are made of noise in every mode that a format holds, then cut, flipped, spliced or given
absurd sizes; bombs (few bytes, very many pixels, texts or scans) stand between them. Each is opened
as the model opens it and, every fourth, as galleries do (whole, with its colour profile), and its
dates, captions and XMP are read and written.
"""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress

import numpy as np
from fault_runner import Case, arguments, finish, mutated, run_cases
from PIL import Image, ImageCms

from regiontalk.export.embed import find_packet, with_packet
from regiontalk.export.metadata import embedded_packet, orientation, written_caption
from regiontalk.images.dates import photo_date
from regiontalk.images.open import ImageError, open_photo

MODES = ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16", "I", "F", "LAB", "YCbCr")
FORMATS = (
    "JPEG",
    "PNG",
    "GIF",
    "BMP",
    "WEBP",
    "TIFF",
    "PPM",
    "JPEG2000",
    "TGA",
    "AVIF",
    "HEIF",
)
FEWEST_WITH_BOMBS = 1_000  # cases: to make the bombs takes half a minute and a gigabyte
BOMB_SIDE = 9_000  # pixels; 81 million, just below the limit


def main() -> None:
    """Make the pictures, open them, print the figures."""
    options = arguments(__doc__, 10_000)
    with suppress(ImportError):
        import pi_heif

        pi_heif.register_heif_opener()
    chance = random.Random(options.seed)
    finish(
        run_cases(cases(options.count, chance), check, options.seconds, options.keep)
    )


def cases(count: int, chance: random.Random) -> Iterator[Case]:
    """The pictures, each with what was done to it."""
    undamaged = list(whole_pictures())
    bombs = list(BOMBS.items()) if count >= FEWEST_WITH_BOMBS else []
    for number in range(count):
        if number < len(undamaged):
            yield undamaged[number]
        elif number < len(undamaged) + len(bombs):
            name, make = bombs[number - len(undamaged)]
            yield name, make()
        else:
            name, data = chance.choice(undamaged)
            damage, data = mutated(data, chance, chance.choice(undamaged)[1])
            for _ in range(chance.choice((0, 0, 0, 1, 3))):
                damage, data = mutated(data, chance) if data else (damage, data)
            yield f"{name}, {damage}", data


def whole_pictures() -> Iterator[Case]:
    """A picture of every mode that a format holds."""
    random_values = np.random.default_rng(0).integers(
        0, 256, (37, 53, 3), dtype=np.uint8
    )
    noise = Image.fromarray(random_values)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a caption of an older program"
    exif.get_ifd(0x8769)[0x9003] = "2024:01:31 10:22:11"
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
    for kind in FORMATS:
        for mode in MODES:
            stream = io.BytesIO()
            try:
                picture = (
                    noise.convert("L").convert(mode)
                    if mode[0] in "IF"
                    else _as(noise, mode)
                )
                more = {"exif": exif, "icc_profile": profile, "xmp": xmp}
                picture.save(
                    stream, kind, **(more if kind not in ("PPM", "TGA") else {})
                )
            except (
                OSError,
                ValueError,
                KeyError,
            ):  # a mode that the format does not hold
                continue
            yield f"{kind} {mode}", stream.getvalue()
    stream = io.BytesIO()
    noise.save(stream, "JPEG", progressive=True, quality=60)
    yield "JPEG progressive", stream.getvalue()


def _as(picture: Image.Image, mode: str) -> Image.Image:
    if mode != "LAB":
        return picture.convert(mode)
    lab = ImageCms.createProfile("LAB")
    converted = ImageCms.profileToProfile(
        picture, ImageCms.createProfile("sRGB"), lab, outputMode="LAB"
    )
    assert converted is not None
    return converted


def _png(width: int, height: int, colour: int, body: bytes, *more: bytes) -> bytes:
    """A PNG of 8 bits of any size with any body; ``more`` are chunks before it."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    chunks = [head, *more, b"IDAT" + body, b"IEND"]
    packed = [
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def _rows(channels: int) -> bytes:
    """All rows of a bomb, packed."""
    packer = zlib.compressobj(1)
    row = bytes(1 + BOMB_SIDE * channels)
    return b"".join([*(packer.compress(row) for _ in range(BOMB_SIDE)), packer.flush()])


def _saved(kind: str, mode: str, side: int = BOMB_SIDE) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, (side, side)).save(stream, kind)
    return stream.getvalue()


def _many_scans() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4_000, 4_000)).save(stream, "JPEG", progressive=True)
    data = stream.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * 5_000 + data[-2:]


BOMBS: dict[str, Callable[[], bytes]] = {
    "PNG of 2**31 pixels a side": lambda: _png(2**31 - 1, 2**31 - 1, 2, b""),
    "PNG of no pixels": lambda: _png(0, 0, 2, b""),
    "PNG bomb, RGB": lambda: _png(BOMB_SIDE, BOMB_SIDE, 2, _rows(3)),
    "PNG bomb, RGBA": lambda: _png(BOMB_SIDE, BOMB_SIDE, 6, _rows(4)),
    "PNG bomb, grey": lambda: _png(BOMB_SIDE, BOMB_SIDE, 0, _rows(1)),
    "PNG whose text unpacks to a gigabyte": lambda: _png(
        8,
        8,
        0,
        zlib.compress(bytes(72)),
        b"zTXta\0\0" + zlib.compress(bytes(1 << 28), 9),
    ),
    "PNG whose profile unpacks to much": lambda: _png(
        8,
        8,
        0,
        zlib.compress(bytes(72)),
        b"iCCPa\0\0" + zlib.compress(bytes(1 << 28), 9),
    ),
    "JPEG of very many scans": _many_scans,
    "GIF bomb": lambda: _saved("GIF", "P"),
    "TIFF bomb, CMYK": lambda: _saved_tiff("CMYK"),
    "TIFF bomb, deep grey": lambda: _saved_tiff("I"),
    "TIFF bomb, fractions": lambda: _saved_tiff("F"),
    "JPEG bomb": lambda: _saved("JPEG", "RGB"),
    "WebP bomb": lambda: _saved("WEBP", "RGB", 7_000),
    "JPEG 2000 bomb": lambda: _saved("JPEG2000", "RGB", 5_000),
}


def _saved_tiff(mode: str) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, (BOMB_SIDE, BOMB_SIDE)).save(stream, "TIFF", compression="tiff_lzw")
    return stream.getvalue()


def check(name: str, data: bytes) -> str:
    """Open a picture and read and write what else is in it.

    What is refused is refused in one line.
    """
    reads_all = zlib.crc32(data) % 4 == 0
    orientation(data)
    written_caption(data)
    embedded_packet(data)
    photo_date(data, name)
    try:
        packet = find_packet(data)
        with_packet(data, packet or b"<x/>")
    except ValueError as error:
        assert str(error) and "\n" not in str(error)
    try:
        photo = open_photo(
            data, at_least=None if reads_all else 320, srgb=reads_all, name="a photo"
        )
    except ImageError as error:
        assert str(error) and "\n" not in str(error), "the message has several lines"
        return "refused"
    assert photo.image.mode == "RGB" and min(photo.image.size) >= 1
    return "opened"


if __name__ == "__main__":
    main()
