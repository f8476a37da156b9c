"""Photos as text: base64 as clients send it, data URLs and line breaks included."""

from __future__ import annotations

import base64
import binascii
import re

_DATA_URL = re.compile(r"data:[\w.+-]*/?[\w.+-]*(;[\w=.+-]+)*;base64,", re.IGNORECASE)
_URL_SAFE = str.maketrans("-_", "+/")


def decode_photo(text: str) -> bytes:
    r"""The bytes of a photo in base64.

    Plain or URL-safe, wrapped or not, padded or not, or as a data URL.

    >>> decode_photo("data:image/png;base64,aGV5\nIQ")
    b'hey!'

    Raises:
        ValueError: it is something else; says what was expected.
    """
    plain = text.lstrip("\ufeff \r\n\t")
    head = _DATA_URL.match(plain)
    if head is not None:
        plain = plain[head.end() :]
    if plain.startswith(("http://", "https://", "file://", "data:")):
        raise ValueError(
            f"expected the bytes of a photo in base64, got an address ({plain[:40]}); "
            "send the file itself"
        )
    compact = "".join(plain.split()).rstrip("=").translate(_URL_SAFE)
    padding = "=" * (-len(compact) % 4)
    try:
        return base64.b64decode(compact + padding, validate=True)
    except (binascii.Error, ValueError) as error:
        got = f", got {plain[:40]!r}" if len(plain) < 300 else ""
        raise ValueError(
            f"expected the bytes of a photo in base64{got} ({error})"
        ) from error
