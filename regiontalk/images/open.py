"""Open a photo safely, whatever it is held in.

`open_image` turns whatever the caller holds (path, bytes, PIL picture, numpy array) into an upright
RGB picture, or raises `ImageError` with one line that says what was expected, what came and what to
do. `open_photo` does the same and remembers the original size, so that a JPEG may be decoded small
while boxes stay in original pixels.
"""

from __future__ import annotations

import io
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from regiontalk.images.modes import SWAPPING, to_rgb, turn_of

MAX_PIXELS = 100_000_000

# Only formats of photos: others (EPS, PDF) start foreign programs or fetch parts of themselves from
# elsewhere, and Pillow decodes an icon (ICO) while it reads the header, before its size can be
# refused.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "JPEG2000", "TGA")
# of a JPEG, as libtiff has it: encoders write some ten, and each costs as much as a photo
_MOST_SCANS = 100
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_pillow_limit = threading.Lock()


class ImageError(ValueError):
    """A picture that cannot be used; its text is one line for the user."""


@dataclass(frozen=True)
class Photo:
    """An opened picture that remembers where it came from.

    Attributes:
        image: RGB, upright; smaller than the original, and perhaps of another aspect, where it was
            opened with ``at_least``.
        size_wh: width and height of the *original* in pixels, after the EXIF turn: what boxes refer
            to.
        name: the path that the caller gave, or a description where there was none.
    """

    image: Image.Image
    size_wh: tuple[int, int]
    name: str


PictureSource = str | Path | bytes | Image.Image | NDArray[Any] | Photo


def open_image(
    source: PictureSource, *, max_pixels: int = MAX_PIXELS, srgb: bool = False
) -> Image.Image:
    """An upright RGB picture at full size; see `open_photo` for what is read and what is refused.

    With ``srgb`` its colour profile is applied: for pictures that people look at, as no profile is
    kept. Networks are given the numbers as they are stored, in training as in use.

    >>> open_image(np.zeros((2, 3), dtype=np.uint8)).size
    (3, 2)
    """
    return open_photo(source, max_pixels=max_pixels, srgb=srgb).image


def open_photo(
    source: PictureSource,
    *,
    max_pixels: int = MAX_PIXELS,
    at_least: int | None = None,
    name: str | None = None,
    srgb: bool = False,
) -> Photo:
    """Open a picture as upright RGB.

    Animations give their first frame; transparency is laid on white; 16-bit and floating greyscale
    is windowed by its own percentiles; CMYK, palette and 1-bit pictures are converted; HEIC is read
    through pi-heif. A PIL picture or an array that the caller passes is not changed. (Where a
    program has set Pillow's global LOAD_TRUNCATED_IMAGES, files that are cut short pass: that
    switch is its own.)

    Args:
        source: a path, the bytes of a file, a PIL picture, or uint8 numpy (height, width), (height,
            width, 3 or 4). A `Photo` that was opened before is given back as it is.
        max_pixels: width x height above which a picture is refused before it is decoded.
        at_least: a JPEG file may be decoded at 1/2, 1/4 or 1/8 size as long as both sides keep this
            many pixels; several times faster for large photos. Of any file, a side that is still
            four times as long or longer is then shrunk by a whole number to no less than twice
            this, so that little of a large photo stays in memory. None keeps full size.
        name: what to call the picture in errors and in `Photo.name`; None takes the path or
            describes the source.
        srgb: apply the picture's colour profile, as `open_image`.

    Raises:
        ImageError: no such file, not a picture, empty, cut short or damaged, too many pixels or
            scans, an array of another shape or type.
    """
    if max_pixels < 1:
        raise ValueError(f"max_pixels: expected 1 or more, got {max_pixels}")
    if at_least is not None and at_least < 1:
        raise ValueError(f"at_least: expected 1 or more pixels, got {at_least}")
    if isinstance(source, Photo):
        return source
    name = name or _name(source)
    if isinstance(source, np.ndarray):
        source = _from_array(source, name)
    if isinstance(source, Image.Image):
        return _finish(source, name, max_pixels, None, srgb)
    stream, header = _stream(source, name)
    with stream:
        if header.startswith(b"\xff\xd8"):
            _check_scans(stream, name)
        try:
            return _decoded(stream, header, name, max_pixels, at_least, srgb)
        except ImageError as error:
            mended = _mended(stream, header, str(error))
            if mended is None:
                raise
        return _decoded(io.BytesIO(mended), header, name, max_pixels, at_least, srgb)


def _decoded(
    stream: IO[bytes],
    header: bytes,
    name: str,
    max_pixels: int,
    at_least: int | None,
    srgb: bool,
) -> Photo:
    """The photo in an open file."""
    try:
        picture = _identify(stream, header, name)
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: {_why_unknown(header)}") from error
    with picture:
        return _finish(picture, name, max_pixels, at_least, srgb)


def _why_unknown(header: bytes) -> str:
    """What a file is that Pillow does not know, and what to do."""
    kind = next(
        (kind for head, kind in _OTHER_KINDS.items() if header.startswith(head)), None
    )
    if header[4:8] == b"ftyp":
        kind = _OTHER_BRANDS.get(header[8:11])
    if kind is not None:
        return (
            f"{kind}, which is not read; save it as JPEG, PNG or a TIFF of 8 or 16 bits"
        )
    return (
        f"not a picture, or cut short in its header; expected {', '.join(_FORMATS)} or HEIC, "
        f"got bytes that begin {header[:12]!r}; check the file"
    )


def _mended(stream: IO[bytes], header: bytes, error: str) -> bytes | None:
    """The file without what Pillow minds and no pixel needs; None where it is damaged indeed.

    Programs that make pictures write long texts into PNG files, beyond what Pillow unpacks; and a
    JPEG may lack only the mark of its end.
    """
    stream.seek(0)
    if header.startswith(_PNG) and "text" in error.lower():
        return _without_texts(stream.read())
    if header.startswith(b"\xff\xd8") and "truncated" in error:
        data = stream.read().removesuffix(b"\xff")
        if _lacks_only_its_end(data):
            return data + b"\xff\xd9"
    return None


def _without_texts(data: bytes) -> bytes:
    """A PNG file without its text chunks."""
    parts, at = [data[: len(_PNG)]], len(_PNG)
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] not in (b"tEXt", b"zTXt", b"iTXt"):
            parts.append(data[at:end])
        at = end
    return b"".join(parts)


def _lacks_only_its_end(data: bytes) -> bool:
    """Whether every pixel of a JPEG is there.

    Then bytes behind the last one change none of them.
    """
    pictures = []
    for more in (b"", _NOISE):
        try:
            with Image.open(
                io.BytesIO(data + more + b"\xff\xd9"), formats=("JPEG",)
            ) as picture:
                pictures.append(picture.tobytes())
        except Exception:  # decoders raise whatever they meet
            return False
    return pictures[0] == pictures[1]


def _name(source: PictureSource) -> str:
    """What to call a source in an error."""
    if isinstance(source, str | Path):
        return str(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return f"picture of {len(source)} bytes"
    if isinstance(source, Image.Image):
        return str(getattr(source, "filename", "") or "picture")
    if isinstance(source, np.ndarray):
        return "array"
    return type(source).__name__


def _from_array(values: NDArray[Any], name: str) -> Image.Image:
    """A picture of uint8 (height, width), (height, width, 3) or (height, width, 4)."""
    if values.dtype != np.uint8:
        raise ImageError(
            f"{name}: expected uint8 values in 0..255, got {values.dtype}; scale and "
            "convert it first"
        )
    if values.size == 0 or not (
        values.ndim == 2 or (values.ndim == 3 and values.shape[2] in (3, 4))
    ):
        raise ImageError(
            f"{name}: expected shape (height, width), (height, width, 3) or (…, 4), "
            f"got {values.shape}"
        )
    return Image.fromarray(np.ascontiguousarray(values))


def _stream(source: str | Path | bytes, name: str) -> tuple[IO[bytes], bytes]:
    """The open file and its first bytes."""
    if isinstance(source, bytes | bytearray | memoryview):
        stream: IO[bytes] = io.BytesIO(source)
    elif isinstance(source, str | Path):
        stream = _open_file(source, name)
    else:
        raise ImageError(
            f"expected a path, bytes, a PIL picture or a numpy array, got {type(source).__name__}"
        )
    header = stream.read(32)
    stream.seek(0)
    if not header:
        stream.close()
        raise ImageError(
            f"{name}: expected a picture, got 0 bytes; copy or download it again"
        )
    return stream, header


def _open_file(path: str | Path, name: str) -> IO[bytes]:
    """The file at ``path``, refused where it is no regular file.

    A pipe or a device would never end.
    """
    try:
        if Path(path).is_file():
            return Path(path).open("rb")
        exists = Path(path).exists()
    except (OSError, ValueError) as error:  # ValueError: a zero character in the path
        raise ImageError(f"{name}: cannot be read ({error})") from error
    got = "a folder or a device" if exists else "no such file"
    raise ImageError(
        f"{name}: expected the path of a picture file, got {got}; check the path"
    )


def _identify(stream: IO[bytes], header: bytes, name: str) -> Image.Image:
    """The picture with its header read and no pixel decoded.

    Pillow's own limit is a global of the process and would forbid what ``max_pixels`` allows; it is
    set aside for the milliseconds that reading a header takes, and `_finish` applies ours.
    """
    formats: tuple[str, ...] = _FORMATS
    # the same box begins HEIC and AVIF; "mif1" may be either
    if header[4:8] == b"ftyp":
        heif = (_register_heif(name),) if header[8:12] in _HEIF_BRANDS else ()
        formats = (*heif, *_known("AVIF"))
    with _pillow_limit:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(stream, formats=formats)
        except UnidentifiedImageError:
            raise
        except Exception as error:
            # plugins raise whatever their parsing meets: struct.error, KeyError, ...
            raise _damaged(name, error) from error
        finally:
            Image.MAX_IMAGE_PIXELS = limit


# How files begin that are pictures, though none that Pillow reads.
_OTHER_KINDS = {
    b"II*\0\x10\0\0\0CR": "a raw photo of Canon",
    b"IIRO": "a raw photo of Olympus",
    b"IIU\0": "a raw photo of Panasonic",
    b"FUJIFILMCCD-RAW": "a raw photo of Fujifilm",
    b"II*\0": "a TIFF of a rare kind, a raw photo or cut short in its header",
    b"MM\0*": "a TIFF of a rare kind, a raw photo or cut short in its header",
    b"\xff\x0a": "a JPEG XL file",
    b"\0\0\0\x0cJXL ": "a JPEG XL file",
    b"8BPS": "a Photoshop file",
    b"%PDF": "a PDF document",
    b"<svg": "an SVG drawing",
    b"gimp xcf": "a GIMP file",
}
_FILM = "a film"
_OTHER_BRANDS = {
    b"crx": "a raw photo of Canon",
    b"iso": _FILM,
    b"mp4": _FILM,
    b"qt ": _FILM,
    b"M4V": _FILM,
    b"3gp": _FILM,
}
_PNG = b"\x89PNG\r\n\x1a\n"
_NOISE = b"\xa5\x5a\x3c\x17\xe2\x81" * 20  # no marker among them
# none of those that stand inside a scan
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_WITH_LENGTH = {*range(0xC0, 0xD0), *range(0xDA, 0xDE), *range(0xE0, 0xF0), 0xFE}
_SCAN, _END = 0xDA, 0xD9
_SEQUENTIAL = 0xC0, 0xC1


def _check_scans(stream: IO[bytes], name: str) -> None:
    """Refuse a JPEG of very many scans.

    A few bytes each make the decoder go over the whole picture once more. The markers
    are walked as libjpeg walks them, up to the end of the first picture or to a scan that
    is all of it; what stands behind it (the film of a motion photo) may hold any bytes.
    """
    data = stream.read()
    stream.seek(0)
    at, scans, components = 2, 0, b""
    while (match := _MARKER.search(data, at)) and match[1][0] != _END:
        marker, at = match[1][0], match.end()
        if marker in _SEQUENTIAL:
            components = data[at + 7 : at + 8]
        if marker == _SCAN and data[at + 2 : at + 3] == components:
            return
        if marker in _WITH_LENGTH:
            at += int.from_bytes(data[at : at + 2], "big")
        scans += marker == _SCAN
        if scans > _MOST_SCANS:
            raise ImageError(
                f"{name}: expected a JPEG of at most {_MOST_SCANS} scans, got more; save it anew"
            )


def _register_heif(name: str) -> str:
    """Teach Pillow HEIC, the format of most phones, and give its name."""
    try:
        import pi_heif
    except ImportError as error:
        raise ImageError(
            f"{name}: HEIC needs the package pi-heif; install it with: pip install pi-heif"
        ) from error
    pi_heif.register_heif_opener()
    return "HEIF"


def _known(format_name: str) -> tuple[str, ...]:
    """The format where the installed Pillow has it."""
    Image.init()
    if format_name in Image.OPEN:
        return (format_name,)
    return ()


def _damaged(name: str, error: Exception) -> ImageError:
    """The error for a file that began like a picture and did not go on like one."""
    why = " ".join(str(error).split()) or type(error).__name__
    return ImageError(
        f"{name}: damaged or cut short, expected a whole picture ({why}); copy or download it again"
    )


def _finish(
    picture: Image.Image, name: str, max_pixels: int, at_least: int | None, srgb: bool
) -> Photo:
    """Check the size, decode, convert, shrink and turn."""
    _check_size(picture.size, name, max_pixels)
    size_wh = picture.size
    try:
        if at_least is not None:
            picture.draft(None, (at_least, at_least))
        announced_wh = picture.size
        picture.load()
        # pi-heif believes the coded picture, not the header
        if picture.size != announced_wh:
            size_wh = picture.size
            _check_size(size_wh, name, max_pixels)
        turn = turn_of(picture)
        image = to_rgb(picture, srgb=srgb)
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(
            f"{name}: {size_wh[0]}x{size_wh[1]} pixels need more memory than there is; shrink it"
        ) from error
    except Exception as error:
        # Decoders raise whatever they meet: OSError, SyntaxError, zlib.error, ...
        raise _damaged(name, error) from error
    image = _shrunk(image, at_least)
    if turn is not None:
        image = image.transpose(turn)
    # nothing was converted: the caller's picture stays the caller's
    elif image is picture:
        image = image.copy()
    # What the file said of turns, transparency and colours is now done, and must not be done again
    # when this picture is opened again.
    image.info = {}
    return Photo(image, (size_wh[1], size_wh[0]) if turn in SWAPPING else size_wh, name)


def _shrunk(image: Image.Image, at_least: int | None) -> Image.Image:
    """Of sides four times as long as is needed and longer, no less than twice what is needed."""
    if at_least is None:
        return image
    across, down = (max(1, side // (2 * at_least)) for side in image.size)
    return image.reduce((across, down)) if max(across, down) > 1 else image


def _check_size(size_wh: tuple[int, int], name: str, max_pixels: int) -> None:
    """Refuse a picture without pixels or with too many."""
    wide, high = size_wh
    if wide < 1 or high < 1:
        raise ImageError(f"{name}: expected at least 1x1 pixels, got {wide}x{high}")
    if wide * high > max_pixels:
        raise ImageError(
            f"{name}: {wide}x{high} = {wide * high:,} pixels, expected at most "
            f"{max_pixels:,}; shrink it or raise the limit with "
            f"max_pixels={wide * high} (--max-pixels {wide * high} on the command line)"
        )
