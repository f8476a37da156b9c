"""Your own photos: a JSON Lines or CSV file beside them.

JSON Lines, one object a line; only ``photo`` is needed, with sentences or boxes or both:

```json
{"photo": "1.jpg", "captions": ["a red kettle on a stove", "a kettle"]}
{"photo": "2.jpg", "caption": "two cups", "boxes": [{"box": [1, 3, 9, 14], "phrase": "a cup"}]}
```

CSV, a heading and then a line for every sentence or box; the lines of one photo are put together:

```text
photo,caption,box,phrase
1.jpg,a red kettle on a stove,,
2.jpg,two cups,"1,3,9,14",a cup
```

``photo``: path of the photo, relative to the file that names it. ``captions`` or ``caption``: a
list of sentences or one; in a CSV one a line. A column or key that is none of these is an error, so
that nothing is lost without a word. Names of other tools are read as well: ``image``, ``file_name``
or ``filename`` for the photo, ``text`` or ``sentence`` for a caption.

``box``: x1, y1, x2, y2 in pixels of the photo as it is seen (after an EXIF turn). ``phrase``: what
the box shows; boxes of one photo with the same phrase answer it together, and a box may have none.
``width``, ``height``: give them where boxes refer to another size than the stored file has; without
them the size is read from the photo.

A folder may hold one file a split instead: ``train.jsonl``, ``dev.jsonl``,
``test.jsonl`` (or ``.csv``). It may also be an image folder of Hugging Face
(``metadata.jsonl`` or ``.csv``, in the folder or one of its splits) or Kaggle's
(``captions.txt`` beside ``Images/``, ``results.csv``). Tables may be separated by
semicolons or tabs, and files have any of the usual encodings.
"""

from __future__ import annotations

import json
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regiontalk.boxes import from_xywh
from regiontalk.datasets.checks import (
    Quad,
    RawBox,
    box_convention,
    caption_troubles,
    is_missing,
    looks_like_percent,
)
from regiontalk.datasets.photo_paths import find_photo, missing_photo
from regiontalk.datasets.report import DataReport, report_on
from regiontalk.datasets.tables import IMAGE_NAME, read_table
from regiontalk.files import decode_text, read_text
from regiontalk.images.open import ImageError, open_photo
from regiontalk.records import Example, Phrase, checked_boxes

JSON_KEYS = ("photo", "caption", "captions", "boxes", "width", "height")
BOX_KEYS = ("box", "phrase")
CSV_COLUMNS = ("photo", "caption", "captions", "box", "phrase", "width", "height")
ALIASES = {
    "image": "photo",
    "image_name": "photo",
    "file_name": "photo",
    "filename": "photo",
    "text": "caption",
    "sentence": "caption",
    "comment": "caption",
    "sentences": "captions",
}
BAD_ROW, BAD_BOX = "bad row", "bad box, left out"
FOREIGN = (
    "metadata.jsonl",
    "metadata.csv",
    "captions.txt",
    "captions.csv",
    "results.csv",
)
IMAGE_FOLDERS = (
    "images",
    "Images",
    "img",
    "photos",
    "Flicker8k_Dataset",
    "train",
    "train2017",
)
ROUNDING = 0.5  # pixels that a box may stick out of its photo; it is cut
_HOW_TO_WRITE_A_TABLE = (
    "write captions.csv there, its first line photo,caption and then a line for each sentence "
    '(a.jpg,"a red switch, on"), or let `regiontalk teach` ask you for words'
)
# files of other programs, by their ending: what they are, and how they become ours
OTHER_TABLES = {
    ".parquet": "a Parquet file, which training does not read: write its rows as train.jsonl",
    ".xlsx": "an Excel workbook: save its sheet as CSV",
    ".ods": "a LibreOffice sheet: save it as CSV",
    ".zip": "an archive: unpack it first",
    ".tar": "an archive: unpack it first",
    ".gz": "an archive: unpack it first",
}
_IMPORT = "`regiontalk import FILE --photos DIR --out train.jsonl` makes the training file of it"
# the same by a word that begins them, the surer first
OTHER_LAYOUTS = {
    '"imagePath"': "labelme's: convert it to COCO's format, then `regiontalk import`",
    "<bndbox>": "Pascal VOC's: convert it to COCO's format, then `regiontalk import`",
    '"conversations"': "a list of conversations: write its answers as captions in train.jsonl",
    '"_via_': "VGG Image Annotator's: export it as COCO, then `regiontalk import`",
    '"annotations"': f"COCO's or a labelling tool's: {_IMPORT}",
    '"images"': f"COCO's: {_IMPORT}",
    "<annotations>": f"CVAT's: {_IMPORT}",
}
MAX_LOOKED_AT = 50  # files that are asked what they are
HEAD = 1 << 16  # bytes of each that are read for that
MAX_OPENED = 200  # photos whose size is read to tell the convention of their boxes

Troubles = dict[str, list[str]]


@dataclass
class _Row:
    """What one line says, or all lines of one photo together."""

    photo: str
    captions: list[str] = field(default_factory=list)
    # with their phrases, "" where there is none
    boxes: list[tuple[Quad, str]] = field(default_factory=list)
    size_wh: tuple[int, int] | None = None
    raw: list[Quad] = field(default_factory=list)  # every box, good or bad
    where: str = ""  # file and line


def read_folder(
    path: Path, split: str | None = None
) -> tuple[list[Example], DataReport]:
    """The photos of a JSON Lines or CSV file, in the order in which it first names them.

    A bad row is left out and reported with its line number; a bad box costs that box. So are photos
    that are missing or empty. A photo is opened only where it has boxes and the file does not
    give its size.

    Args:
        path: the ``.jsonl`` or ``.csv`` file, or a folder with one file a split.
        split: which file of a folder; None takes the only one that is there.

    Raises:
        ValueError: there is no such file, it is of another kind, a column or key is unknown or
            lacking, a quote is not closed, or the boxes are not pixels x1, y1, x2, y2.
    """
    source = _source(path, split)
    troubles: Troubles = defaultdict(list)
    is_table = source.suffix.lower() in (".csv", ".tsv", ".txt")
    rows = _csv_rows(source, troubles) if is_table else _json_rows(source, troubles)
    photos: dict[str, _Row] = {}
    for row in rows:
        photo_row = photos.setdefault(row.photo, _Row(row.photo))
        photo_row.captions += row.captions
        photo_row.boxes += row.boxes
        photo_row.raw += row.raw
        photo_row.size_wh = row.size_wh or photo_row.size_wh
    _check_convention(source, photos.values(), troubles)
    examples: list[Example] = []
    for photo_row in photos.values():
        example = _example(photo_row, source.parent, troubles)
        if example is not None:
            examples.append(example)
    for kind, names in caption_troubles(examples).items():
        troubles[kind] += names
    return examples, report_on(source.name, examples, troubles)


def lists_photos(path: Path) -> bool:
    """Whether a path is a file, or a folder with a list of photos for any split."""
    if path.is_file():
        return True
    return path.is_dir() and any(
        _files_of(path, split) for split in (None, "train", "dev", "test")
    )


def _source(path: Path, split: str | None) -> Path:
    """The one file that a path and a split name."""
    if path.is_file():
        files = [path]
    elif path.is_dir():
        files = _files_of(path, split)
    else:
        raise ValueError(
            f"{path}: expected a .jsonl or .csv file or a folder that holds one, got nothing there"
        )
    if len(files) != 1:
        has_tables = any(files) or any(path.glob("*.jsonl")) or any(path.glob("*.csv"))
        advice = _known_layout(path) or _HOW_TO_WRITE_A_TABLE
        if has_tables:
            advice = "name the file or a split"
        got = ", ".join(file.name for file in files) or f"none but {_holds(path)}"
        raise ValueError(
            f"{path}: expected one {split or ''}.jsonl or .csv file, got {got}; {advice}"
        )
    (file,) = files
    if (
        file.suffix.lower() not in (".jsonl", ".csv", ".tsv")
        and file.name not in FOREIGN
    ):
        raise ValueError(
            f"{file}: expected a .jsonl or .csv file, got {file.suffix or 'no ending'}"
        )
    return file


def _files_of(folder: Path, split: str | None) -> list[Path]:
    """The files of a split in a folder of any layout that is read."""
    names = ("dev", "val", "validation", "valid") if split == "dev" else (split or "*",)
    files: list[Path] = []
    for name in names:
        for ending in ("jsonl", "csv", "tsv"):
            files += folder.glob(f"{name}.{ending}")
    if files:
        return sorted(files)
    folders = [folder / name for name in names if name != "*"]
    if split in (None, "train"):
        folders.append(folder)
    foreign_files = [parent / file for parent in folders for file in FOREIGN]
    return [path for path in foreign_files if path.is_file()][:1]


def _holds(folder: Path) -> str:
    """What a folder without a file of ours holds, in a few words."""
    has_labels = any(folder.glob("**/labels/*.txt"))
    if has_labels or (folder / "data.yaml").is_file():
        return "label files of YOLO, which have classes and no sentences"
    names = sorted(
        entry.name for entry in folder.iterdir() if not entry.name.startswith(".")
    )
    line = ", ".join(names[:6]) or "nothing"
    if len(names) > 6:
        line += ", ..."
    return line


def _known_layout(folder: Path) -> str:
    """What the files of a folder are, and how they become ours; "" if that is not known."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    for path in files[:MAX_LOOKED_AT]:
        name = path.relative_to(folder).as_posix()
        suffix = path.suffix.lower()
        if suffix in OTHER_TABLES:
            return f"{name} is {OTHER_TABLES[suffix]}"
        if suffix not in (".json", ".xml"):
            continue
        with path.open("rb") as file:
            head = decode_text(file.read(HEAD))
        for mark, kind in OTHER_LAYOUTS.items():
            if mark in head:
                return f"{name} is {kind}"
    return ""


def _json_rows(path: Path, troubles: Troubles) -> Iterator[_Row]:
    """The rows of a JSON Lines file; a bad line is counted."""
    for where, text in _json_entries(path):
        try:
            values = json.loads(text)
            if not isinstance(values, dict):
                raise ValueError(f"expected an object, got {type(values).__name__}")
            values = {ALIASES.get(key, key): value for key, value in values.items()}
            if path.name in FOREIGN:
                values = _from_hugging_face(values, troubles)
            boxes = _dicts(values.get("boxes"))
        except (ValueError, RecursionError) as error:
            troubles[BAD_ROW].append(f"{where} ({error})")
            continue
        _known_keys(values, JSON_KEYS, where)
        for box in boxes:
            _known_keys(box, BOX_KEYS, where)
        yield from _row_or_trouble(values, boxes, where, troubles)


def _json_entries(path: Path) -> Iterator[tuple[str, str]]:
    """The objects of a file as text, each with its place: a line each, or the entries of one list.

    Raises:
        ValueError: a list over several lines that is not JSON.
    """
    text = read_text(path)
    if text.lstrip().startswith("["):
        try:
            entries = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"{path}: expected an object a line, or one list of them, got a "
                f"list that cannot be read ({error})"
            ) from error
        for number, entry in enumerate(entries):
            yield f"{path.name}: entry {number}", json.dumps(entry)
        return
    # Not splitlines: it also cuts at U+2028 and other marks that may stand inside a sentence.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            # lines that were cut out of a list end with its commas
            yield f"{path.name}:{number}", line.rstrip().removesuffix(",")


def _from_hugging_face(values: Mapping[str, Any], troubles: Troubles) -> dict[str, Any]:
    """A line of ``metadata.jsonl``: its ``objects`` are boxes x, y, width, height.

    Other columns are told.
    """
    row = {key: value for key, value in values.items() if key in JSON_KEYS}
    objects = values.get("objects")
    if isinstance(objects, dict) and isinstance(objects.get("bbox"), list):
        row["boxes"] = _boxes_of_objects(objects)
    for key in values.keys() - set(row) - {"objects"}:
        column_troubles = troubles[f"column {key}, not read"]
        if not column_troubles:
            column_troubles.append("metadata")
    return row


def _boxes_of_objects(objects: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The boxes of one photo with their names, where those are texts."""
    names = objects.get("categories") or objects.get("category") or []
    boxes: list[dict[str, Any]] = []
    for number, box in enumerate(objects["bbox"]):
        name = names[number] if number < len(names) else ""
        phrase = name if isinstance(name, str) else ""
        boxes.append({"box": _corners(box), "phrase": phrase})
    return boxes


def _corners(box: Any) -> Any:
    """x, y, width, height as corners; anything else as it is."""
    try:
        return list(from_xywh(box))
    except (TypeError, ValueError):
        return box


def _csv_rows(path: Path, troubles: Troubles) -> Iterator[_Row]:
    """The rows of a table; a bad line is counted."""
    heading, rows = read_table(path, (*CSV_COLUMNS, *ALIASES))
    columns = _known_columns(path, heading, troubles)
    for line, fields in rows:
        where = f"{path.name}:{line}"
        while len(fields) > len(columns) and not fields[-1].strip():
            fields.pop()
        if len(fields) != len(columns):
            troubles[BAD_ROW].append(
                f"{where} (expected {len(columns)} fields; put a sentence with commas in quotes)"
            )
            continue
        values = dict(zip(columns, fields, strict=True))
        has_box = values.get("box") or values.get("phrase")
        yield from _row_or_trouble(values, [values] if has_box else [], where, troubles)


def _known_columns(path: Path, heading: Sequence[str], troubles: Troubles) -> list[str]:
    """The columns of a table by our names.

    Other tools' columns are told, one unknown in ours is refused.
    """
    if any(IMAGE_NAME.search(name) for name in heading):
        raise ValueError(
            f"{path.name}: expected a heading in the first line, got the row "
            f"{', '.join(heading)[:80]}; write photo,caption above the rows"
        )
    columns = [ALIASES.get(name, name) for name in heading]
    if path.name in FOREIGN:
        for name in set(columns).difference(CSV_COLUMNS):
            troubles[f"column {name}, not read"].append(path.name)
    else:
        _known_keys(columns, CSV_COLUMNS, path.name)
    if "photo" not in columns:
        raise ValueError(
            f"{path.name}: expected a heading with photo in it, got "
            f"{', '.join(heading) or 'none'}; write photo,caption above the rows"
        )
    return columns


def _row_or_trouble(
    values: Mapping[str, Any],
    boxes: list[dict[str, Any]],
    where: str,
    troubles: Troubles,
) -> Iterator[_Row]:
    """The row, or none where it is bad; what is bad in it is reported."""
    try:
        row, bad_boxes = _row(values, boxes)
    except ValueError as error:
        troubles[BAD_ROW].append(f"{where} ({error})")
        return
    is_usable = row.captions or row.boxes
    bad_kind = BAD_BOX if is_usable else BAD_ROW
    for error_text in bad_boxes:
        troubles[bad_kind].append(f"{where} ({error_text})")
    missing = [caption for caption in row.captions if is_missing(caption)]
    if missing:
        kind = "caption that says that there is none, left out"
        troubles[kind].append(f"{where} ({missing[0]!r})")
        row.captions = [caption for caption in row.captions if not is_missing(caption)]
    if is_usable or row.raw:
        yield row


def _check_convention(source: Path, rows: Any, troubles: Troubles) -> None:
    """Refuse boxes that are not pixels x1, y1, x2, y2 by all appearance.

    Those that may not be are told.

    Raises:
        ValueError: names what they look like.
    """
    boxes: list[RawBox] = []
    opened = 0
    for row in rows:
        size_wh = row.size_wh
        if row.raw and size_wh is None and opened < MAX_OPENED:
            size_wh = _size_of(_photo(source.parent, row.photo))
            opened += 1
        boxes += [RawBox(numbers, size_wh) for numbers in row.raw]
    convention = box_convention(boxes)
    if convention is not None:
        raise ValueError(
            f"{source.name}: expected boxes x1, y1, x2, y2 in pixels, got {len(boxes)} "
            f"that look like {convention}"
        )
    if looks_like_percent(boxes):
        largest = max(max(box.numbers) for box in boxes)
        troubles["file whose boxes may be percent of the photo, not pixels"].append(
            f"all {len(boxes)} end at {largest:g} in photos of 200 pixels and more"
        )


def _size_of(path: Path | None) -> tuple[int, int] | None:
    """Width and height of a photo; None where there is none or it cannot be opened."""
    if path is None:
        return None
    try:
        return open_photo(path, at_least=1).size_wh
    except (ImageError, OSError):
        return None


def _photo(folder: Path, name: str) -> Path | None:
    """The file of a photo: beside the file that names it, or in one of the usual folders there."""
    image_folders = [folder / inner for inner in IMAGE_FOLDERS]
    for parent in (folder, *image_folders):
        if parent == folder or parent.is_dir():
            path = find_photo(parent, name)
            if path is not None:
                return path
    return None


def _known_keys(
    values: Mapping[str, Any] | Sequence[str], known: tuple[str, ...], where: str
) -> None:
    """Refuse a key that nobody reads: its data would be lost without a word."""
    unknown = [str(key) for key in values if key not in known]
    if unknown:
        raise ValueError(
            f"{where}: unknown {', '.join(unknown)}; expected {', '.join(known)}"
        )


def _dicts(values: Any) -> list[dict[str, Any]]:
    """The boxes of a row; none where there are none."""
    if values is None:
        return []
    if not isinstance(values, list) or not all(
        isinstance(item, dict) for item in values
    ):
        raise ValueError(
            'boxes: expected a list such as [{"box": [x1, y1, x2, y2], "phrase": "a cup"}]'
        )
    return values


def _row(
    values: Mapping[str, Any], boxes: list[dict[str, Any]]
) -> tuple[_Row, list[str]]:
    """A row of either kind, checked, and what is wrong with its boxes.

    Raises:
        ValueError: what is wrong with the rest of it.
    """
    photo = values.get("photo")
    if not isinstance(photo, str) or not photo.strip():
        raise ValueError("photo: expected the path of a photo")
    captions = [*_texts(values.get("captions")), *_texts(values.get("caption"))]
    size_wh = _size(values.get("width"), values.get("height"))
    row = _Row(photo.strip(), captions, size_wh=size_wh)
    bad_boxes: list[str] = []
    for item in boxes:
        try:
            numbers = _four_numbers(item.get("box"))
            row.raw.append(numbers)
            phrase = _clean(str(item.get("phrase") or ""))
            row.boxes.append((_box(numbers, size_wh), phrase))
        except ValueError as error:
            bad_boxes.append(str(error))
    if not captions and not boxes:
        raise ValueError("expected a sentence or a box")
    return row, bad_boxes


def _clean(text: str) -> str:
    """A text with single blanks, in Unicode's composed form."""
    return unicodedata.normalize("NFC", " ".join(text.split()))


def _texts(value: Any) -> list[str]:
    """One sentence or a list of them; empty ones are dropped."""
    texts = [value] if isinstance(value, str) else value or []
    is_list = isinstance(texts, list)
    if not is_list or not all(isinstance(text, str) for text in texts):
        raise ValueError("captions: expected a list of sentences")
    return [_clean(text) for text in texts if text.strip()]


def _four_numbers(value: Any) -> Quad:
    """Four numbers, from a list or from "x1,y1,x2,y2"."""
    coordinates = value
    if isinstance(value, str):
        coordinates = value.replace(",", " ").strip("[]() ").split()
    try:
        x1, y1, x2, y2 = (float(coordinate) for coordinate in coordinates)
    except (TypeError, ValueError) as error:
        raise ValueError(f"box: expected x1,y1,x2,y2, got {value!r}") from error
    if not all(abs(number) < 1e9 for number in (x1, y1, x2, y2)):
        raise ValueError(f"box: expected four finite numbers, got {value!r}")
    return x1, y1, x2, y2


def _box(numbers: Quad, size_wh: tuple[int, int] | None) -> Quad:
    """A box, cut at the photo's edge where rounding puts it outside."""
    x1, y1, x2, y2 = numbers
    x1 = 0.0 if -ROUNDING <= x1 < 0 else x1
    y1 = 0.0 if -ROUNDING <= y1 < 0 else y1
    if size_wh is not None:
        width, height = size_wh
        x2 = float(width) if width < x2 <= width + ROUNDING else x2
        y2 = float(height) if height < y2 <= height + ROUNDING else y2
    box = (x1, y1, x2, y2)
    checked_boxes([box], size_wh)
    return box


def _size(width: Any, height: Any) -> tuple[int, int] | None:
    """Width and height in whole pixels; None where neither is there."""
    if width in (None, "") and height in (None, ""):
        return None
    try:
        size_wh = int(float(width)), int(float(height))
    except (TypeError, ValueError):
        size_wh = (0, 0)
    if min(size_wh) < 1:
        raise ValueError(
            f"width, height: expected two numbers of pixels, got {width!r} and {height!r}"
        )
    return size_wh


def _example(row: _Row, folder: Path, troubles: Troubles) -> Example | None:
    """The example, or None where its photo is no use."""
    if not row.captions and not row.boxes:
        return None
    path = _photo(folder, row.photo)
    if path is None:
        troubles["photo missing"].append(missing_photo(folder, row.photo))
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
    boxes, phrases = _boxes_inside(row, size_wh, troubles)
    captions = tuple(row.captions)
    return Example(path, captions, checked_boxes(boxes), phrases, size_wh, row.photo)


def _boxes_inside(
    row: _Row, size_wh: tuple[int, int] | None, troubles: Troubles
) -> tuple[list[Quad], tuple[Phrase, ...]]:
    """The boxes of a photo that lie in it, and the phrases that name them."""
    boxes: list[Quad] = []
    rows_by_phrase: dict[str, list[int]] = defaultdict(list)
    for uncut_box, phrase in row.boxes:
        box = _cut(uncut_box, size_wh)
        if _fits(box, size_wh):
            rows_by_phrase[phrase].append(len(boxes))
            boxes.append(box)
    outside = len(row.boxes) - len(boxes)
    if outside:
        kind = "photo with boxes outside it, left out"
        troubles[kind].append(f"{row.photo} ({outside})")
    phrases = [
        Phrase(text, tuple(rows)) for text, rows in rows_by_phrase.items() if text
    ]
    return boxes, tuple(phrases)


def _cut(box: Quad, size_wh: tuple[int, int] | None) -> Quad:
    """A box without what rounding puts outside the photo."""
    try:
        return _box(box, size_wh)
    except ValueError:
        return box


def _fits(box: Quad, size_wh: tuple[int, int] | None) -> bool:
    """Whether a box lies in a photo of that size."""
    if size_wh is None:
        return False
    _, _, x2, y2 = box
    width, height = size_wh
    ends_inside = x2 <= width and y2 <= height
    return min(box) >= 0 and ends_inside
