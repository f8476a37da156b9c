"""``alt`` attributes in HTML files: only the attribute is put in.

Every other byte of the file stays as it is. An empty ``alt=""`` says that a picture is
decoration, and is left alone, as is every text that somebody wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class Picture:
    """An ``<img>`` of an HTML text.

    Attributes:
        start: where its tag begins, in characters.
        end: where its tag ends.
        source: its ``src`` as it is written, "" where it has none.
        alt: its ``alt``; None where it has none.
    """

    start: int
    end: int
    source: str
    alt: str | None


def pictures(html: str) -> list[Picture]:
    """The pictures of an HTML text, in its order; what stands in comments and scripts is none.

    Raises:
        ValueError: a declaration such as ``<![foo[`` that Python's parser gives up on.
    """
    reader = _Reader(html)
    try:
        reader.feed(html)
        reader.close()
    # what html.parser raises there, in some versions of Python
    except AssertionError as error:
        raise ValueError(
            f"line {reader.getpos()[0]}: cannot be read as HTML ({error}); correct it first"
        ) from error
    return reader.found


def local_file(source: str, page: Path, root: Path) -> Path | None:
    """The file that an ``src`` means, seen from a page.

    None for an address elsewhere, data, or a missing file.

    Args:
        source: as written: relative to the page, or with a leading slash to ``root``.
        page: the HTML file.
        root: the folder of the site; files outside it are not looked at.
    """
    try:
        address = urlsplit(source.strip())
    except ValueError:  # "http://[" and the like
        return None
    if address.scheme or address.netloc or not address.path:
        return None
    path = unquote(address.path)
    try:
        file = (
            root / path.lstrip("/") if path.startswith("/") else page.parent / path
        ).resolve()
        return file if file.is_relative_to(root.resolve()) and file.is_file() else None
    except (OSError, ValueError):  # a name that no file can have
        return None


def with_alts(
    html: str, words: Callable[[Picture], str], replace: bool = False
) -> tuple[str, int]:
    """The HTML with texts put into pictures that have no ``alt``.

    Args:
        html: the text of a page.
        words: a picture's alt text; "" leaves the picture alone.
        replace: ask for pictures with a text too; an empty one still stays.

    Returns:
        The new text, and how many pictures got an ``alt``. What is put in is ASCII, other
        characters being numeric references, so that it is right in a page of any encoding.

    Raises:
        ValueError: as `pictures`.
    """
    parts, last, count = [], 0, 0
    for picture in wanted(html, replace):
        text = words(picture)
        if text:
            parts += [
                html[last : picture.start],
                _tag_with(html[picture.start : picture.end], text),
            ]
            last, count = picture.end, count + 1
    return "".join([*parts, html[last:]]), count


def wanted(html: str, replace: bool = False) -> Iterator[Picture]:
    """The pictures that `with_alts` asks words for."""
    return (
        picture
        for picture in pictures(html)
        if picture.alt is None or (replace and picture.alt.strip())
    )


def _tag_with(tag: str, text: str) -> str:
    """An img tag with this alt, in place of its own or right after its name."""
    attribute = f'alt="{escape(text).encode("ascii", "xmlcharrefreplace").decode()}"'
    start, end = _attribute(tag, "alt")
    return (
        tag[:start] + attribute + tag[end:]
        if start
        else f"{tag[:4]} {attribute}{tag[4:]}"
    )


def _attribute(tag: str, name: str) -> tuple[int, int]:
    """Where an attribute with its value stands in a tag, quotes respected.

    (0, 0) where it is not there.
    """
    position = len("<img")
    while position < len(tag):
        if tag[position].isspace() or tag[position] in "/>":
            position += 1
            continue
        start = position
        key_end = _skip_until(tag, start, "=/>")
        key = tag[start:key_end].lower()
        position = _skip_value(tag, max(key_end, start + 1))
        if key == name:
            return start, position
    return 0, 0


def _skip_until(tag: str, position: int, ends: str) -> int:
    """The first position from here on that ends a word of a tag.

    A space, one of some characters, or the end of the tag.
    """
    while (
        position < len(tag)
        and not tag[position].isspace()
        and tag[position] not in ends
    ):
        position += 1
    return position


def _skip_value(tag: str, position: int) -> int:
    """The position after the value of an attribute whose key ends here.

    The same where it has no value.
    """
    tail = tag[position:].lstrip()
    if not tail.startswith("="):
        return position
    value = tail[1:].lstrip()
    start = len(tag) - len(value)
    if value[:1] in ("'", '"'):
        return tag.index(value[0], start + 1) + 1
    return _skip_until(tag, start, ">")


class _Reader(HTMLParser):
    """Finds the img tags and where they stand."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[Picture] = []
        self._lines = [0]
        for line in html.split("\n"):
            self._lines.append(self._lines[-1] + len(line) + 1)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep an img."""
        if tag != "img":
            return
        line, column = self.getpos()
        start = self._lines[line - 1] + column
        end = start + len(self.get_starttag_text() or "")
        values = dict(reversed(attrs))  # of two of the same name the first counts
        source = values.get("src") or ""
        alt = (values["alt"] or "") if "alt" in values else None
        self.found.append(Picture(start, end, source, alt))
