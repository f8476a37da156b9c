"""How an exported file names the photos.

Relative to the folder that the file stands in, so that both may be moved.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from regiontalk.files import relative


def check_name(photo: str, folder: Path) -> None:
    """Refuse a photo whose name no document can hold: one that is not UTF-8, which Linux allows.

    Raises:
        ValueError: its path as seen from the folder is not UTF-8.
    """
    try:
        relative(photo, folder).encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{photo!a}: expected a name in UTF-8, which the document needs; rename the photo"
        ) from error


def iri(photo: str, folder: Path) -> str:
    """The path of a photo as seen from a folder, as a web address.

    >>> iri("album/one dog.jpg", Path("album"))
    'one%20dog.jpg'
    """
    path = relative(photo, folder)
    return Path(path).as_uri() if Path(path).is_absolute() else quote(path)
