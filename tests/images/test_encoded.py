"""Pictures as text, as clients send them."""

from __future__ import annotations

import base64
import textwrap

import pytest

from regiontalk.images.encoded import decode_photo

DATA = bytes(range(256)) + b"\xff\xfe"
PLAIN = base64.b64encode(DATA).decode()


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN.rstrip("="),
        base64.urlsafe_b64encode(DATA).decode(),
        "\r\n".join(textwrap.wrap(PLAIN, 76)),
        f"data:image/jpeg;base64,{PLAIN}",
        f"data:image/png;charset=utf-8;base64,\n{PLAIN}\n",
        f"data:;base64,{PLAIN}",
    ],
    ids=[
        "plain",
        "no padding",
        "URL-safe",
        "wrapped",
        "data URL",
        "with charset",
        "no type",
    ],
)
def test_forms(text: str) -> None:
    assert decode_photo(text) == DATA


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("http://example.org/a.jpg", "got an address"),
        ("photos/a.jpg", "got 'photos/a.jpg'"),
        ("a*b", "in base64"),
    ],
)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_photo(text)
