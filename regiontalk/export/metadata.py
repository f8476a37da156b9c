"""XMP on disk: a sidecar beside a photo's name, or a copy of the photo with the packet inside."""

from __future__ import annotations

import dataclasses
import io
import re
import shutil
from pathlib import Path

from PIL import Image, IptcImagePlugin

from regiontalk.export.embed import find_packet, with_packet
from regiontalk.export.xmp import Texts, packet
from regiontalk.files import decode_text, write_data
from regiontalk.images import modes
from regiontalk.records import ImageResult

_CAPTION_ABSTRACT, _IMAGE_DESCRIPTION = (2, 120), 0x010E
# What cameras write there themselves.
_CAMERA = re.compile(
    r"(OLYMPUS|SONY DSC|MINOLTA|KONICA|KODAK|SAMSUNG|DCIM|Exif_JPEG|default$|Digital "
    "?(still )?camera|screenshot$)",
    re.IGNORECASE,
)
_WRITE_BITS = 0o222
_SAME_TIME = 2  # seconds; FAT file systems keep even ones only


def write_sidecar(
    result: ImageResult,
    texts: Texts,
    folder: Path,
    *,
    replace: bool = False,
    mwg: bool = False,
) -> Path:
    """Write ``NAME.jpg.xmp`` into a folder; a sidecar that is there is added to.

    Where there is none, one in the photo's folder, ``NAME.xmp`` or the packet inside
    the photo is added to: programs that read the new sidecar pass over those.

    Args:
        result: of the photo at the path `ImageResult.photo`.
        texts: about the whole photo.
        folder: made where it is not there; the photo's own is where photo managers look.
        replace: put our texts in place of those that are there.
        mwg: as `packet`.

    Raises:
        ValueError: the sidecar that is there cannot be read, or nobody may write it.
        OSError: a file cannot be read or written.
    """
    photo, path = Path(result.photo), sidecar_path(result.photo, folder)
    if path.is_file() and not path.stat().st_mode & _WRITE_BITS:
        raise ValueError(
            f"{path}: is write-protected; allow writing (chmod u+w) or choose "
            "another folder with --out"
        )
    data = photo.read_bytes()
    existing = next(
        (
            sidecar.read_bytes()
            for sidecar in _sidecars(photo, path)
            if sidecar.is_file()
        ),
        None,
    )
    if existing is None:
        existing = embedded_packet(data)
    written = packet(
        result,
        texts if replace else with_caption(texts, written_caption(data)),
        existing,
        orientation=orientation(data),
        replace=replace,
        mwg=mwg,
    )
    write_data(path, written)
    return path


def _sidecars(photo: Path, path: Path) -> tuple[Path, ...]:
    """Where words about a photo may stand, the first the one that is written.

    Programs read one and no other.
    """
    beside = sidecar_path(str(photo), photo.parent)
    names = (path, beside, photo.with_suffix(".xmp"))
    # as programs of systems write them that know no letter case
    return *names, beside.with_suffix(".XMP"), photo.with_suffix(".XMP")


def embedded_packet(data: bytes) -> bytes | None:
    """The XMP packet inside a picture file of any format.

    None where there is none or it cannot be read.
    """
    try:
        return find_packet(data)
    except ValueError:  # a format whose file we do not write, or damaged
        pass
    try:
        with Image.open(io.BytesIO(data)) as picture:
            stored = picture.info.get("xmp")
    # what cannot be read as a picture must not cost the user the words
    except Exception:
        return None
    return stored if isinstance(stored, bytes) else None


def with_caption(texts: Texts, caption: str) -> Texts:
    """The texts with a person's caption as the description, where there is one."""
    if not caption:
        return texts
    return dataclasses.replace(texts, description=caption)


def written_caption(data: bytes) -> str:
    """The caption that older programs wrote, "" if none.

    IPTC-IIM's Caption-Abstract, else EXIF's ImageDescription.
    """
    try:
        with Image.open(io.BytesIO(data)) as picture:
            iptc = IptcImagePlugin.getiptcinfo(picture) or {}
            described = picture.getexif().get(_IMAGE_DESCRIPTION, "")
    except Exception:  # as in `embedded_packet`
        return ""
    abstract = iptc.get(_CAPTION_ABSTRACT, b"")
    if isinstance(abstract, list):
        abstract = abstract[0] if abstract else b""
    exif = described.encode("latin-1", "replace") if isinstance(described, str) else b""
    for value in (abstract, exif):
        text = (
            decode_text(value).strip("\x00 \r\n\t") if isinstance(value, bytes) else ""
        )
        if text and not _CAMERA.match(text):
            return text
    return ""


def write_copy(
    result: ImageResult,
    texts: Texts,
    folder: Path,
    *,
    replace: bool = False,
    mwg: bool = False,
) -> Path:
    """Write a copy of the photo with the packet inside.

    Picture data, other metadata and file times stay as they are. A file of that name is
    replaced where it is an earlier copy of this photo: the same bytes apart from its
    XMP, and the same time. Anything else there may be another photo, or one whose XMP
    somebody has worked on since.

    Args:
        result: of the photo at the path `ImageResult.photo`.
        texts: about the whole photo.
        folder: made where it is not there; not the photo's own.
        replace: put our texts in place of those that the photo has.
        mwg: as `packet`.

    Raises:
        ValueError: neither JPEG, PNG nor WebP, its metadata is damaged, or the copy would replace
            the photo or a file that is no earlier copy of it.
        OSError: a file cannot be read or written.
    """
    photo, path = Path(result.photo), copy_path(result.photo, folder)
    if path.exists() and path.samefile(photo):
        raise ValueError(
            f"{photo}: the copy would replace the photo; choose another folder with --out"
        )
    data = photo.read_bytes()
    try:
        stored = find_packet(data)
        written = with_packet(
            data,
            packet(
                result,
                texts if replace else with_caption(texts, written_caption(data)),
                stored,
                orientation=orientation(data),
                replace=replace,
                mwg=mwg,
            ),
        )
    except ValueError as error:
        raise ValueError(f"{photo}: {error}") from error
    if path.exists() and not _is_copy(path, photo, written):
        raise ValueError(
            f"{photo}: {path} is there and no earlier copy of this photo; remove it or "
            "choose another folder with --out"
        )
    write_data(path, written)
    shutil.copystat(photo, path)
    return path


def sidecar_path(photo: str, folder: Path) -> Path:
    """Where `write_sidecar` writes."""
    return folder / f"{Path(photo).name}.xmp"


def copy_path(photo: str, folder: Path) -> Path:
    """Where `write_copy` writes."""
    return folder / Path(photo).name


def _is_copy(path: Path, photo: Path, fresh: bytes) -> bool:
    """Whether a file is an earlier copy of a photo, given the bytes of a fresh one."""
    if abs(path.stat().st_mtime - photo.stat().st_mtime) > _SAME_TIME:
        return False
    try:
        return with_packet(path.read_bytes(), find_packet(fresh) or b"") == fresh
    except ValueError:  # no picture, or a damaged one
        return False


def orientation(data: bytes) -> int:
    """The EXIF orientation of the picture in a file's bytes, 1 to 8.

    1 where there is no telling.
    """
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return modes.orientation(picture)
    # what cannot be read as a picture must not cost the user the words
    except Exception:
        return 1
