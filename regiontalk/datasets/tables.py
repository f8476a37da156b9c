"""Tables as people's programs write them.

Commas, semicolons or tabs, any encoding, quotes that are checked.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from regiontalk.files import read_text

_SEPARATORS = (",", ";", "\t", "|")
# letters of a field; csv's own limit is met by a quote that is never closed
_LONGEST = 1 << 30
IMAGE_NAME = re.compile(
    r"\.(jpe?g|png|webp|gif|bmp|tiff?|heic|heif|avif)$", re.IGNORECASE
)


def read_table(
    path: Path, known: Sequence[str]
) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The heading of a table, lower case, and its rows with the line each ends at.

    Args:
        path: the file; a first line ``sep=;`` names the separator, else the heading shows it.
        known: column names, by which the separator is known.

    Raises:
        ValueError: a quote that is not closed has swallowed rows; raised while rows are read, and
            names the line where it opens.
    """
    csv.field_size_limit(_LONGEST)
    text = read_text(path)
    first_line, _, following = text.partition("\n")
    skipped = 0
    if re.fullmatch(r"sep=.", first_line.strip(), re.IGNORECASE):
        separator = first_line.strip()[-1]
        text = following
        skipped = 1
    else:
        separator = _separator(first_line, known)
    rows = _rows(path.name, text, separator, skipped)
    _, heading = next(rows, (0, []))
    columns = [name.strip().lower() for name in heading]
    while columns and not columns[-1]:  # a separator at the end of the heading
        columns.pop()
    return columns, rows


def _separator(heading: str, known: Sequence[str]) -> str:
    """The separator that finds most known columns in a heading."""

    def count(separator: str) -> int:
        names = next(csv.reader([heading], delimiter=separator), [])
        return sum(name.strip().lower() in known for name in names)

    return max(_SEPARATORS, key=count)


def _rows(
    name: str, text: str, separator: str, skipped: int
) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, each with the line it ends at."""
    lines = chain.from_iterable([line + "\n"] for line in text.split("\n"))
    reader = csv.reader(lines, delimiter=separator)
    before = skipped
    for row in reader:
        line = reader.line_num + skipped
        if line - before > 1:
            _check_quotes(name, row, separator, before + 1, line)
        before = line
        if any(field.strip() for field in row):
            yield line, [field.removesuffix("\n") for field in row]


def _check_quotes(
    name: str, row: list[str], separator: str, first: int, last: int
) -> None:
    """Refuse a field that holds further rows of the table."""
    line = first
    for field in row:
        inner = field.split("\n")
        swallowed = [text for text in inner[1:] if _is_row(text, separator)]
        if swallowed:
            raise ValueError(
                f"{name}:{line}: a quote opens here and is not closed in its row: the "
                f"lines up to {last} were read as one text ({len(swallowed)} rows); "
                "close it, or write a quote inside a text twice"
            )
        line += len(inner) - 1


def _is_row(text: str, separator: str) -> bool:
    """Whether a line inside a field begins as a row does: with a photo."""
    first_field, has_separator, _ = text.partition(separator)
    photo = first_field.strip().strip('"')
    return bool(has_separator and IMAGE_NAME.search(photo))
