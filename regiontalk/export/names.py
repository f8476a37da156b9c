"""How an exported file names the photos: relative to the folder that the file stands in, so that both may be moved."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote


def relative(photo: str, folder: Path) -> str:
    """The path of a photo as seen from a folder, with slashes.

    >>> relative("album/one dog.jpg", Path("album/boxes"))
    '../one dog.jpg'
    """
    try:
        return Path(os.path.relpath(photo, folder)).as_posix()
    except ValueError:  # another drive of a Windows machine
        return Path(photo).resolve().as_posix()


def iri(photo: str, folder: Path) -> str:
    """`relative` as a web address.

    >>> iri("album/one dog.jpg", Path("album"))
    'one%20dog.jpg'
    """
    path = relative(photo, folder)
    return Path(path).as_uri() if Path(path).is_absolute() else quote(path)
