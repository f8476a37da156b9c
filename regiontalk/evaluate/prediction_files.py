"""Captions in the forms that people's files have.

Lists, COCO annotations, wrapped results, JSON Lines, tables. A list holds ``image_id``
(or ``id``) and ``caption``; an object holds such a list under ``annotations``,
``results`` or ``predictions``, or captions by id; JSON Lines hold one entry a line;
what ``regiontalk caption --json`` prints answers for the photo's file name; Karpathy's
``dataset_*.json`` holds sentences by ``cocoid`` or file name; and a table has the
columns of a list. Ids become text, and 6.0, "6" and "000006" are 6.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from regiontalk.datasets.tables import read_table
from regiontalk.files import read_text

_LISTS = ("annotations", "results", "predictions")
_COLUMNS = ("image_id", "id", "photo", "caption")
FORMS = "a list of image_id and caption, COCO annotations, or an object id -> captions"


def caption_pairs(path: Path) -> list[tuple[str, str]]:
    """(id, caption) pairs of a file in one of the forms above.

    Raises:
        ValueError: the file cannot be read or has another form; names the first bad entry.
    """
    try:
        text = read_text(path)
        table = None if text.lstrip().startswith(("[", "{")) else _table(path)
        values = _documents(text) if table is None else table
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected captions as JSON ({error})") from error
    try:
        if isinstance(values, dict):
            values = next((values[key] for key in _LISTS if key in values), values)
        pairs: list[tuple[str, str]] = []
        if isinstance(values, list):
            for number, row in enumerate(values, 1):
                pairs += _row_pairs(row, number)
            return pairs
        if isinstance(values, dict) and isinstance(values.get("images"), list):
            for row in values["images"]:
                pairs += _karpathy_pairs(row)
            return pairs
        return _by_id(values)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: expected {FORMS} ({_reason(error)})") from error


def _documents(text: str) -> Any:
    """The document of a text, or the list of those of its lines."""
    try:
        return json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        lines = [line for line in text.split("\n") if line.strip()]
        if len(lines) < 2 or not lines[0].lstrip().startswith("{"):
            raise
        first = error
    try:
        return [json.loads(line, object_pairs_hook=_once) for line in lines]
    except json.JSONDecodeError:
        raise first from None


def _table(path: Path) -> list[dict[str, str]] | None:
    """The rows of a table with a column ``caption``; None where it has none."""
    columns, rows = read_table(path, _COLUMNS)
    if "caption" not in columns:
        return None
    return [dict(zip(columns, row, strict=False)) for _, row in rows]


def _row_pairs(row: Any, number: int) -> list[tuple[str, str]]:
    """The pairs of one entry of a list: one, or as many as the entry has captions of its own."""
    if not isinstance(row, dict):
        raise TypeError(
            f"entry {number}: expected image_id and caption, got {_brief(row)}"
        )
    name = next((row[key] for key in ("image_id", "id", "photo") if key in row), None)
    if name is None or "caption" not in row:
        raise KeyError(
            f"entry {number}: expected image_id and caption, got {', '.join(row) or '{}'}"
        )
    caption = row["caption"]
    # what `regiontalk caption --json` prints
    if "photo" in row and isinstance(caption, dict):
        caption, name = caption.get("text"), Path(str(name)).name
    try:
        return [(_id(name), _text(caption))]
    except TypeError as error:
        raise TypeError(f"entry {number}, image_id {name}: {error}") from error


def _karpathy_pairs(row: Any) -> list[tuple[str, str]]:
    name = row.get("cocoid", row["filename"])
    return [(_id(name), _text(sentence["raw"])) for sentence in row["sentences"]]


def _by_id(groups: Any) -> list[tuple[str, str]]:
    """An object from id to a caption or several."""
    if not isinstance(groups, dict):
        raise TypeError(f"file: expected a list or an object, got {_brief(groups)}")
    pairs: list[tuple[str, str]] = []
    for name, texts in groups.items():
        for entry in texts if isinstance(texts, list) else [texts]:
            caption = entry["caption"] if isinstance(entry, dict) else entry
            try:
                pairs.append((_id(name), _text(caption)))
            except TypeError as error:
                raise TypeError(f"id {name}: {error}") from error
    return pairs


def _id(value: Any) -> str:
    """An id as text, numbers in their plain form.

    >>> _id(6.0), _id("000000000006"), _id("6.jpg")
    ('6', '6', '6.jpg')
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value)
    return str(int(text)) if text.isascii() and text.isdigit() else text


def _text(value: Any) -> str:
    if value is None:  # no words
        return ""
    if not isinstance(value, str):
        raise TypeError(f"caption: expected text, got {_brief(value)}")
    # half of a surrogate pair is no character
    return value.encode("utf-8", "replace").decode("utf-8")


def _brief(value: Any) -> str:
    """What came, with its type in the words of JSON."""
    kind = {list: "a list", dict: "an object", bool: "true or false"}.get(
        type(value), "a number"
    )
    text = json.dumps(value) if not isinstance(value, str) else repr(value)
    return f"{'text' if isinstance(value, str) else kind} {text[:60]}"


def _reason(error: Exception) -> str:
    text = type(error).__name__
    if error.args:
        text = str(error.args[0])
    if ":" in text:
        return text
    return f"got {text}"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object without doubled keys.

    Of a key that stands there twice the reader would keep the last and say nothing.
    """
    values = dict(pairs)
    if len(values) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise ValueError(f"the key {twice!r} stands there twice")
    return values
