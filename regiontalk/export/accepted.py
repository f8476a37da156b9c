"""Alt texts that a person accepted.

What Narrate on the page saves, or lines of ``regiontalk narrate --json``. A text with
the hash of its file belongs to photos of just these bytes: names do not tell photos
apart (every picture that is pasted is called image.png, and every camera begins again
at IMG_0001.jpg). One without belongs to the photo at its path, or, where the path is a
mere name, to the one photo of that name.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from regiontalk.files import read_text

# what XML cannot hold
_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class AcceptedText(BaseModel):
    """The alt text of one photo.

    Attributes:
        photo: its path or name.
        alt: the text; "" where there is none.
        sha256: of the file, in hexadecimal.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    photo: str = Field(min_length=1)
    alt: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None


class AcceptedTexts:
    """Texts that know their photos, and which of them have found one.

    >>> texts = AcceptedTexts([AcceptedText(photo="dog.jpg", alt="A dog.")])
    >>> texts.of("trip/dog.jpg"), texts.of("trip/cat.jpg"), texts.unused
    ('A dog.', '', [])
    """

    def __init__(self, texts: Iterable[AcceptedText] = ()) -> None:
        """Take the texts.

        Raises:
            ValueError: two texts for one photo.
        """
        self._texts: dict[str, AcceptedText] = {}
        self._owners: dict[str, str] = {}  # of a text, the photo that it was given to
        for text in texts:
            key = text.sha256 or _place(text.photo)
            alt = " ".join(_NO_TEXT.sub("", text.alt).split())
            if (
                self._texts.setdefault(key, text.model_copy(update={"alt": alt})).alt
                != alt
            ):
                raise ValueError(
                    f"{text.photo}: expected one text a photo, got two; keep one of them"
                )

    def of(self, photo: str) -> str:
        """The text of a photo; "" where there is none.

        Raises:
            ValueError: a text with a mere name was given to another photo of this name.
        """
        hashed = any(text.sha256 for text in self._texts.values())
        for key in (_hash(photo) if hashed else "", os.path.abspath(photo)):
            if key in self._texts:
                self._owners[key] = photo
                return self._texts[key].alt
        name = Path(photo).name
        if name not in self._texts:
            return ""
        owner = self._owners.setdefault(name, photo)
        if os.path.abspath(owner) != os.path.abspath(photo):
            raise ValueError(
                f"{photo}: the text for {name} was given to {owner}; put paths in "
                "place of names, or export one alone"
            )
        return self._texts[name].alt

    @property
    def unused(self) -> list[str]:
        """The photos of the texts that have found none."""
        return [
            text.photo for key, text in self._texts.items() if key not in self._owners
        ]


def read_texts(path: Path) -> AcceptedTexts:
    """Read a JSON list of texts, or JSON Lines.

    Raises:
        ValueError: the file holds something else, or two texts for one photo.
        OSError: it cannot be read.
    """
    try:
        return AcceptedTexts(
            TypeAdapter(list[AcceptedText]).validate_python(_rows(read_text(path)))
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(key) for key in first["loc"])
        raise ValueError(
            f"--texts {path}: expected alt-texts.json of the page ({where}: {first['msg']})"
        ) from error
    except ValueError as error:
        raise ValueError(f"--texts {path}: {error}") from error


def _rows(text: str) -> Any:
    try:
        return (
            json.loads(text)
            if text.lstrip().startswith("[")
            else [json.loads(row) for row in text.split("\n") if row.strip()]
        )
    except ValueError as error:
        raise ValueError(f"expected alt-texts.json of the page ({error})") from error


def _place(photo: str) -> str:
    """A mere name as it is, a path as it is on this machine."""
    is_name = Path(photo).name == photo
    if is_name:
        return photo
    return os.path.abspath(photo)


def _hash(photo: str) -> str:
    """SHA-256 of a file; "" where it is gone."""
    try:
        with open(photo, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
