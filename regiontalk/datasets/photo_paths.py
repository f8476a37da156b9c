"""Photos by the names that files give them.

Other separators, Unicode forms and letter cases find the same file.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

# up to the path, which on Windows begins with the letter of a drive
_FILE_ADDRESS = re.compile(r"file:(//(localhost)?(?=/))?(/(?=[a-z]:))?", re.IGNORECASE)


def find_photo(folder: Path, name: str) -> Path | None:
    """The file that a name means, or None.

    A name from Windows has backslashes, one from macOS decomposed letters, and neither system minds
    a letter's case; other programs write addresses, with %20 for a blank. The name as it is written
    goes first; another is taken where exactly one file answers to it.

    Args:
        folder: what the name is relative to.
        name: as it stands in a file.
    """
    for written in dict.fromkeys((name, path_of(name), name.strip(), unquote(name))):
        path = _find_written(folder, written)
        if path is not None:
            return path
    return None


def path_of(name: str) -> str:
    """The path that an address of a file means; another name as it is.

    >>> path_of("file:///photos/my%20dog.jpg"), path_of("my%20dog.jpg")
    ('/photos/my dog.jpg', 'my%20dog.jpg')
    """
    address = _FILE_ADDRESS.match(name)
    return unquote(name[address.end() :]) if address else name


def _find_written(folder: Path, name: str) -> Path | None:
    """The file that a name means in one of its forms, or None."""
    try:
        if (folder / name).is_file():
            return folder / name
    except (
        OSError,
        ValueError,
    ):  # a name too long for the system, or with a zero in it
        return None
    parts = name.replace("\\", "/").split("/")
    path = folder
    if name.startswith("/"):
        path = Path("/")
    for component in parts:
        if component in ("", "."):
            continue
        step = _step(path, component)
        if step is None:
            return None
        path = step
    return path if path.is_file() else None


def missing_photo(folder: Path, name: str) -> str:
    """Why a name finds no photo, in a few words."""
    if name.startswith("data:"):
        return f"{name[:30]}... (a photo inside the line; expected the path of a file)"
    if name.startswith(("http://", "https://")):
        return f"{name} (an address; expected the path of a file: download it first)"
    parts = [
        component
        for component in name.replace("\\", "/").split("/")
        if component not in ("", ".")
    ]
    if (
        parts
        and (elsewhere := _step(folder, parts[-1])) is not None
        and elsewhere.is_file()
    ):
        return f"{name} (but {elsewhere.name} is in {folder})"
    return name[:200]


def _step(place: Path, part: str) -> Path | None:
    """The entry of a folder that a part of a name means."""
    if part == ".." or (place / part).exists():
        return place / part
    try:
        composed, folded = _listed(place, place.stat().st_mtime_ns)
    except OSError:
        return None
    name = unicodedata.normalize("NFC", part)
    alike = composed.get(name) or folded.get(name.casefold(), [])
    return place / alike[0] if len(alike) == 1 else None


Names = dict[str, list[str]]


@lru_cache(maxsize=64)
def _listed(place: Path, modified: int) -> tuple[Names, Names]:
    """The names in a folder by their composed form, and by that without letter case."""
    composed: Names = {}
    folded: Names = {}
    for entry in place.iterdir():
        name = unicodedata.normalize("NFC", entry.name)
        composed.setdefault(name, []).append(entry.name)
        folded.setdefault(name.casefold(), []).append(entry.name)
    return composed, folded
