"""COCO captions and instances: one example a photo, object boxes as phrases that are their category's name."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from regiontalk.datasets.checks import caption_troubles, is_missing
from regiontalk.datasets.flickr import picture_sizes, read_json
from regiontalk.datasets.photo_paths import find_photo, missing_photo
from regiontalk.datasets.report import DataReport, report_on
from regiontalk.records import Example, FloatArray, Phrase


@dataclass
class _Objects:
    """What the instances file says of one photo, gathered as it is read."""

    boxes: list[tuple[float, ...]] = field(default_factory=list)
    categories: dict[str, list[int]] = field(
        default_factory=lambda: defaultdict(list)
    )  # category -> box rows


def read_coco(
    images_folder: Path, captions_json: Path, instances_json: Path | None = None
) -> tuple[list[Example], DataReport]:
    """The photos of a captions file, in its order, with their objects where an instances file is given.

    COCO writes a box as x, y, width, height; here it becomes corners, cut at the photo's edge. A
    phrase is the name of a category ("dining table") with the boxes of all its objects in the
    photo, and its type is the supercategory. Boxes around crowds (``iscrowd``) name no single thing
    and are left out. Whatever is left out is counted.

    Raises:
        ValueError: the folder is missing, or a file is missing, is not JSON or lacks its lists.
    """
    troubles: dict[str, list[str]] = defaultdict(list)
    pictures = picture_sizes(images_folder)
    document = read_json(captions_json, "images", "annotations")
    photos = _by_id(document["images"], ("file_name", "width", "height"), troubles)
    for number in [number for number, photo in photos.items() if not _has_size(photo)]:
        troubles["photo without a size of whole pixels"].append(
            str(photos.pop(number)["file_name"])
        )
    for photo in photos.values():
        photo["width"], photo["height"] = int(float(photo["width"])), int(float(photo["height"]))
    rows = _rows_of(document["annotations"], ("caption",), photos, captions_json.name, troubles)
    captions: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        caption = row["caption"]
        if isinstance(caption, str) and caption.strip() and not is_missing(caption):
            text = unicodedata.normalize("NFC", " ".join(caption.split()))
            captions[_id(row["image_id"])].append(text)
        else:
            troubles["caption without text, left out"].append(f"annotation {row.get('id')}")
    objects, categories = _read_instances(instances_json, photos, troubles)
    examples: list[Example] = []
    for number, photo in photos.items():
        name = str(photo["file_name"])
        path, size = pictures.get(name, (None, 0))
        if path is None and (alike := _look_for(images_folder, name)) is not None:
            path, size = alike, alike.stat().st_size
        if path is None:
            troubles["photo missing"].append(missing_photo(images_folder, name))
        elif size == 0:
            troubles["photo broken (0 bytes)"].append(name)
        else:
            if not captions[number]:
                troubles["photo without a sentence, kept"].append(name)
            boxes, phrases = _phrases(objects[number], categories)
            size_wh = (photo["width"], photo["height"])
            examples.append(Example(path, tuple(captions[number]), boxes, phrases, size_wh, name))
    for kind, names in caption_troubles(examples).items():
        troubles[kind] += names
    return examples, report_on(captions_json.name, examples, troubles)


def _look_for(folder: Path, name: str) -> Path | None:
    """A photo whose name has folders in front, or another form: below the folder or beside it."""
    names = (name, name.replace("\\", "/").rpartition("/")[2])
    places = (folder, folder.parent)
    found = (find_photo(place, wanted) for wanted in names for place in places)
    return next((path for path in found if path is not None), None)


def _id(value: Any) -> str:
    """An id as text; 6.0 is 6."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _read_instances(
    path: Path | None, photos: Mapping[str, Mapping[str, Any]], troubles: dict[str, list[str]]
) -> tuple[dict[str, _Objects], dict[str, dict[str, Any]]]:
    """Photo id -> its objects, and category id -> category; both empty without a file."""
    objects: dict[str, _Objects] = defaultdict(_Objects)
    if path is None:
        return objects, {}
    document = read_json(path, "annotations", "categories")
    categories = _by_id(document["categories"], ("name",), troubles)
    for row in _rows_of(
        document["annotations"], ("bbox", "category_id"), photos, path.name, troubles
    ):
        where = f"annotation {row.get('id')}"
        corners = _corners(row["bbox"], photos[_id(row["image_id"])])
        category = _id(row["category_id"])
        if row.get("iscrowd"):
            troubles["box around a crowd, left out"].append(where)
        elif corners is None or category not in categories:
            troubles["bad box or unknown category, left out"].append(where)
        else:
            things = objects[_id(row["image_id"])]
            things.categories[category].append(len(things.boxes))
            things.boxes.append(corners)
    return objects, categories


def _by_id(
    rows: list[Any], keys: tuple[str, ...], troubles: dict[str, list[str]]
) -> dict[str, dict[str, Any]]:
    """Rows by their "id"; a row without it or without a key is counted."""
    rows_by_id: dict[str, dict[str, Any]] = {}
    for index, row in enumerate(rows):
        if (
            isinstance(row, dict)
            and isinstance(row.get("id"), int | float | str)
            and all(key in row for key in keys)
        ):
            rows_by_id[_id(row["id"])] = row
        else:
            troubles[f"bad entry (expected id, {', '.join(keys)})"].append(f"entry {index}")
    return rows_by_id


def _has_size(photo: Mapping[str, Any]) -> bool:
    try:
        sizes = [float(photo[side]) for side in ("width", "height")]
    except (TypeError, ValueError):
        return False
    return all(1 <= size < 1e6 and size.is_integer() for size in sizes)


def _rows_of(
    rows: list[Any],
    keys: tuple[str, ...],
    photos: Mapping[str, Any],
    name: str,
    troubles: dict[str, list[str]],
) -> Iterator[dict[str, Any]]:
    """The annotations that have their keys and whose photo is known; the others are counted."""
    for index, row in enumerate(rows):
        if not isinstance(row, dict) or not all(key in row for key in keys):
            troubles[f"bad annotation (expected {', '.join(keys)})"].append(
                f"{name}: annotation {index}"
            )
        elif _id(row.get("image_id")) not in photos:
            troubles["annotation of a photo that does not exist"].append(
                f"{name}: annotation {index}"
            )
        else:
            yield row


def _corners(bbox: Any, photo: Mapping[str, Any]) -> tuple[float, float, float, float] | None:
    """x, y, width, height as corners inside the photo; None where nothing is left.

    >>> _corners([10, 20, 100, 10], {"width": 50, "height": 40})
    (10.0, 20.0, 50.0, 30.0)
    """
    try:
        x, y, wide, high = (float(value) for value in bbox)
    except (TypeError, ValueError):
        return None
    x1, y1 = max(x, 0.0), max(y, 0.0)
    x2, y2 = min(x + wide, float(photo["width"])), min(y + high, float(photo["height"]))
    # As float32, which a record holds: a sliver may vanish there.
    return (
        (x1, y1, x2, y2)
        if np.float32(x1) < np.float32(x2) and np.float32(y1) < np.float32(y2)
        else None
    )


def _phrases(
    things: _Objects, categories: Mapping[str, Mapping[str, Any]]
) -> tuple[FloatArray, tuple[Phrase, ...]]:
    phrases = []
    for number, rows in things.categories.items():
        types = (
            (str(categories[number]["supercategory"]),)
            if "supercategory" in categories[number]
            else ()
        )
        phrases.append(Phrase(str(categories[number]["name"]), tuple(rows), types=types))
    return np.asarray(things.boxes, dtype=np.float32).reshape(-1, 4), tuple(phrases)
