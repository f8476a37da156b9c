"""Your own photos: a JSON Lines or CSV file beside them.

JSON Lines, one object a line; only ``photo`` is needed, with sentences or boxes or both:

```json
{"photo": "1.jpg", "captions": ["a red kettle on a stove", "a kettle"]}
{"photo": "2.jpg", "captions": ["two cups"], "boxes": [{"box": [12, 30, 96, 140], "phrase": "a blue cup"}]}
```

CSV, a heading and then a line for every sentence or box; the lines of one photo are put together:

```text
photo,caption,box,phrase
1.jpg,a red kettle on a stove,,
2.jpg,two cups,"12,30,96,140",a blue cup
```

``photo``: path of the picture, relative to the file that names it. ``captions`` or ``caption``: a
list of sentences or one; in a CSV one a line. A column or key that is none of these is an error, so
that nothing is lost without a word. ``box``: x1, y1, x2, y2 in pixels of the photo as it is seen
(after an EXIF turn). ``phrase``: what the box shows; boxes of one photo with the same phrase answer
it together, and a box may have none. ``width``, ``height``: give them where boxes refer to another
size than the stored file has; without them the size is read from the photo.

A folder may hold one file a split instead: ``train.jsonl``, ``dev.jsonl``, ``test.jsonl`` (or
``.csv``).
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regiontalk.datasets.report import DataReport, report_on
from regiontalk.images.open import ImageError, open_photo
from regiontalk.records import Example, Phrase, checked_boxes

JSON_KEYS = ("photo", "caption", "captions", "boxes", "width", "height")
BOX_KEYS = ("box", "phrase")
CSV_COLUMNS = ("photo", "caption", "captions", "box", "phrase", "width", "height")
BAD_ROW = "bad row"

Box = tuple[float, float, float, float]


@dataclass
class _Row:
    """What one line says, or all lines of one photo together."""

    photo: str
    captions: list[str] = field(default_factory=list)
    boxes: list[tuple[Box, str]] = field(
        default_factory=list
    )  # the phrase is "" where there is none
    size_wh: tuple[int, int] | None = None


def read_folder(path: Path, split: str | None = None) -> tuple[list[Example], DataReport]:
    """The photos of a JSON Lines or CSV file, in the order in which it first names them.

    A bad row is left out and reported with its line number; so are photos that are missing or
    empty. A picture is opened only where it has boxes and the file does not give its size.

    Args:
        path: the ``.jsonl`` or ``.csv`` file, or a folder with one file a split.
        split: which file of a folder; None takes the only one that is there.

    Raises:
        ValueError: there is no such file, it is of another kind, or a column or key is unknown or
            lacking.
    """
    source = _source(path, split)
    troubles: dict[str, list[str]] = defaultdict(list)
    rows = (
        _csv_rows(source, troubles)
        if source.suffix.lower() == ".csv"
        else _json_rows(source, troubles)
    )
    photos: dict[str, _Row] = {}
    for row in rows:
        known = photos.setdefault(row.photo, _Row(row.photo))
        known.captions += row.captions
        known.boxes += row.boxes
        known.size_wh = row.size_wh or known.size_wh
    examples = [
        example
        for row in photos.values()
        if (example := _example(row, source.parent, troubles)) is not None
    ]
    return examples, report_on(source.name, examples, troubles)


def _source(path: Path, split: str | None) -> Path:
    if path.is_file():
        files = [path]
    elif path.is_dir():
        name = split or "*"
        files = sorted([*path.glob(f"{name}.jsonl"), *path.glob(f"{name}.csv")])
    else:
        raise ValueError(
            f"{path}: expected a .jsonl or .csv file or a folder that holds one, got nothing there"
        )
    if len(files) != 1:
        got = ", ".join(file.name for file in files) or "none"
        raise ValueError(
            f"{path}: expected one {split or ''}.jsonl or .csv file, got {got}; name the file or a split"
        )
    if files[0].suffix.lower() not in (".jsonl", ".csv"):
        raise ValueError(
            f"{files[0]}: expected a .jsonl or .csv file, got {files[0].suffix or 'no ending'}"
        )
    return files[0]


def _json_rows(path: Path, troubles: dict[str, list[str]]) -> Iterator[_Row]:
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            where = f"{path.name}:{number}"
            try:
                values = json.loads(line)
                if not isinstance(values, dict):
                    raise ValueError(f"expected an object, got {type(values).__name__}")
                boxes = _dicts(values.get("boxes"))
            except (ValueError, RecursionError) as error:
                troubles[BAD_ROW].append(f"{where} ({error})")
                continue
            _known_keys(values, JSON_KEYS, where)
            for box in boxes:
                _known_keys(box, BOX_KEYS, where)
            try:
                yield _row(values, boxes)
            except ValueError as error:
                troubles[BAD_ROW].append(f"{where} ({error})")


def _csv_rows(path: Path, troubles: dict[str, list[str]]) -> Iterator[_Row]:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
        reader = csv.DictReader(lines)
        columns = [name.strip() for name in reader.fieldnames or ()]
        _known_keys(columns, CSV_COLUMNS, path.name)
        if "photo" not in columns:
            raise ValueError(
                f"{path.name}: expected a heading with photo in it, got {', '.join(columns) or 'none'}"
            )
        reader.fieldnames = columns
        for values in reader:
            where = f"{path.name}:{reader.line_num}"
            try:
                if None in values or None in values.values():
                    raise ValueError(
                        f"expected {len(columns)} fields; put a sentence with commas in quotes"
                    )
                yield _row(values, [values] if values.get("box") or values.get("phrase") else [])
            except ValueError as error:
                troubles[BAD_ROW].append(f"{where} ({error})")


def _known_keys(values: Mapping[str, Any] | list[str], known: tuple[str, ...], where: str) -> None:
    # A key that nobody reads is data that would be lost without a word.
    unknown = [str(key) for key in values if key not in known]
    if unknown:
        raise ValueError(f"{where}: unknown {', '.join(unknown)}; expected {', '.join(known)}")


def _dicts(values: Any) -> list[dict[str, Any]]:
    if values is None:
        return []
    if not isinstance(values, list) or not all(isinstance(item, dict) for item in values):
        raise ValueError(
            'boxes: expected a list such as [{"box": [x1, y1, x2, y2], "phrase": "a cup"}]'
        )
    return values


def _row(values: Mapping[str, Any], boxes: list[dict[str, Any]]) -> _Row:
    """A row of either kind, checked.

    Raises:
        ValueError: what is wrong with it.
    """
    photo = values.get("photo")
    if not isinstance(photo, str) or not photo.strip():
        raise ValueError("photo: expected the path of a picture")
    captions = [*_texts(values.get("captions")), *_texts(values.get("caption"))]
    size_wh = _size(values.get("width"), values.get("height"))
    pairs = [
        (_box(item.get("box"), size_wh), " ".join(str(item.get("phrase") or "").split()))
        for item in boxes
    ]
    if not captions and not pairs:
        raise ValueError("expected a sentence or a box")
    return _Row(photo.strip(), captions, pairs, size_wh)


def _texts(value: Any) -> list[str]:
    """One sentence or a list of them; empty ones are dropped."""
    texts = [value] if isinstance(value, str) else value or []
    if not isinstance(texts, list) or not all(isinstance(item, str) for item in texts):
        raise ValueError("captions: expected a list of sentences")
    return [" ".join(item.split()) for item in texts if item.strip()]


def _box(value: Any, size_wh: tuple[int, int] | None) -> Box:
    """Four numbers, from a list or from "x1,y1,x2,y2"."""
    coordinates = value.replace(",", " ").split() if isinstance(value, str) else value
    try:
        x1, y1, x2, y2 = (float(coordinate) for coordinate in coordinates)
    except (TypeError, ValueError) as error:
        raise ValueError(f"box: expected x1,y1,x2,y2, got {value!r}") from error
    checked_boxes([(x1, y1, x2, y2)], size_wh)
    return x1, y1, x2, y2


def _size(width: Any, height: Any) -> tuple[int, int] | None:
    if width in (None, "") and height in (None, ""):
        return None
    try:
        size_wh = int(width), int(height)
    except (TypeError, ValueError):
        size_wh = (0, 0)
    if min(size_wh) < 1:
        raise ValueError(
            f"width, height: expected two numbers of pixels, got {width!r} and {height!r}"
        )
    return size_wh


def _example(row: _Row, folder: Path, troubles: dict[str, list[str]]) -> Example | None:
    """The example, or None where its photo is no use."""
    path = folder / row.photo
    if not path.is_file():
        troubles["photo missing"].append(row.photo)
        return None
    if path.stat().st_size == 0:
        troubles["photo broken (0 bytes)"].append(row.photo)
        return None
    size_wh = row.size_wh
    if row.boxes and size_wh is None:
        try:
            size_wh = open_photo(path, at_least=1).size_wh
        except ImageError as error:
            troubles["photo broken"].append(f"{row.photo} ({error})")
            return None
    boxes = [pair for pair in row.boxes if _fits(pair[0], size_wh)]
    if len(boxes) < len(row.boxes):
        troubles["photo with boxes outside it, left out"].append(
            f"{row.photo} ({len(row.boxes) - len(boxes)})"
        )
    phrases: dict[str, list[int]] = defaultdict(list)
    for number, (_, phrase) in enumerate(boxes):
        phrases[phrase].append(number)
    named = tuple(Phrase(text, tuple(rows)) for text, rows in phrases.items() if text)
    return Example(
        path,
        tuple(row.captions),
        checked_boxes([box for box, _ in boxes]),
        named,
        size_wh,
        row.photo,
    )


def _fits(box: Box, size_wh: tuple[int, int] | None) -> bool:
    return size_wh is not None and min(box) >= 0 and box[2] <= size_wh[0] and box[3] <= size_wh[1]
