"""Results as picture files, which appear whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from regiontalk.files import write_data


def save_picture(picture: Image.Image, path: Path, *, quality: int = 90) -> None:
    """Write a picture in the format of its name's suffix; it appears whole or not at all.

    It is encoded in memory: Pillow takes a file that it could write only in part, as
    the last blocks of a disk allow, for a whole one.

    Args:
        picture: to be written.
        path: its folder is made where it is not there.
        quality: of formats that lose some, 1 to 100.

    Raises:
        ValueError: no picture format has this suffix.
        OSError: it cannot be written.
    """
    Image.init()
    kind = Image.EXTENSION.get(path.suffix.lower())
    if kind is None:
        raise ValueError(
            f"{path}: expected the name of a picture, such as a.jpg or a.png"
        )
    stream = io.BytesIO()
    picture.save(stream, format=kind, quality=quality)
    write_data(path, stream.getvalue())
