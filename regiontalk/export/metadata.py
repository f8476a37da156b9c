"""XMP on disk: a sidecar beside a photo's name, or a copy of the photo with the packet inside."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

from PIL import Image

from regiontalk.export.embed import find_packet, with_packet
from regiontalk.export.xmp import Texts, packet
from regiontalk.files import write_data
from regiontalk.images import modes
from regiontalk.records import ImageResult

_SAME_TIME = 2  # seconds; FAT file systems keep even ones only


def write_sidecar(
    result: ImageResult, texts: Texts, folder: Path, *, replace: bool = False
) -> Path:
    """Write ``NAME.jpg.xmp`` into a folder; a sidecar that is there is added to.

    Args:
        result: of the photo at the path `ImageResult.photo`.
        texts: about the whole photo.
        folder: made where it is not there; the photo's own is where photo managers look.
        replace: put our texts in place of those that are there.

    Raises:
        ValueError: the sidecar that is there cannot be read.
        OSError: a file cannot be read or written.
    """
    photo, path = Path(result.photo), sidecar_path(result.photo, folder)
    existing = path.read_bytes() if path.is_file() else None
    fresh = packet(
        result, texts, existing, orientation=orientation(photo.read_bytes()), replace=replace
    )
    write_data(path, fresh)
    return path


def write_copy(result: ImageResult, texts: Texts, folder: Path, *, replace: bool = False) -> Path:
    """Write a copy of the photo with the packet inside; picture data, other metadata and file times stay as they are.

    A file of that name is replaced where it is an earlier copy of this photo: the same bytes apart
    from its XMP, and the same time. Anything else there may be another photo, or one whose XMP
    somebody has worked on since.

    Args:
        result: of the photo at the path `ImageResult.photo`.
        texts: about the whole photo.
        folder: made where it is not there; not the photo's own.
        replace: put our texts in place of those that the photo has.

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
        found = find_packet(data)
        fresh = with_packet(
            data, packet(result, texts, found, orientation=orientation(data), replace=replace)
        )
    except ValueError as error:
        raise ValueError(f"{photo}: {error}") from error
    if path.exists() and not _is_copy(path, photo, fresh):
        raise ValueError(
            f"{photo}: {path} is there and no earlier copy of this photo; remove it or choose another folder with --out"
        )
    write_data(path, fresh)
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
    """The EXIF orientation of the picture in a file's bytes, 1 to 8; 1 where there is no telling."""
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return modes.orientation(picture)
    except Exception:  # what cannot be read as a picture must not cost the user the words
        return 1
