"""COCO captions and instances.

One example a photo, object boxes as phrases that are their category's name.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from regiontalk.boxes import from_xywh
from regiontalk.datasets.checks import (
    RawBox,
    caption_troubles,
    check_corner_and_size,
    is_missing,
)
from regiontalk.datasets.flickr import ImageFile, image_files, read_json
from regiontalk.datasets.photo_paths import find_photo, missing_photo
from regiontalk.datasets.report import DataReport, report_on
from regiontalk.records import Example, FloatArray, Phrase


@dataclass
class _Objects:
    """What the instances file says of one photo, gathered as it is read."""

    boxes: list[tuple[float, ...]] = field(default_factory=list)
    # category -> box rows
    categories: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))


def read_coco(
    images_folder: Path, captions_json: Path, instances_json: Path | None = None
) -> tuple[list[Example], DataReport]:
    """The photos of a captions file, in its order.

    With their objects where an instances file is given. COCO writes a box as x, y,
    width, height; here it becomes corners, cut at the photo's edge. A phrase is the
    name of a category ("dining table") with the boxes of all its objects in the photo,
    and its type is the supercategory. Boxes around crowds (``iscrowd``) name no single
    thing and are left out. Whatever is left out is counted.

    Raises:
        ValueError: the folder is missing, a file is missing, is not JSON or lacks its lists, or the
            boxes look like corners.
    """
    troubles: dict[str, list[str]] = defaultdict(list)
    files = image_files(images_folder)
    photos, captions = _read_captions(captions_json, troubles)
    objects, categories = _read_instances(instances_json, photos, troubles)
    examples: list[Example] = []
    for photo_id, photo in photos.items():
        name = str(photo["file_name"])
        path = _usable_file(files, images_folder, name, troubles)
        if path is None:
            continue
        texts = tuple(captions[photo_id])
        if not texts:
            troubles["photo without a sentence, kept"].append(name)
        boxes, phrases = _phrases(objects[photo_id], categories)
        size_wh = (photo["width"], photo["height"])
        examples.append(Example(path, texts, boxes, phrases, size_wh, name))
    for kind, names in caption_troubles(examples).items():
        troubles[kind] += names
    return examples, report_on(captions_json.name, examples, troubles)


def _read_photos(
    rows: list[Any], troubles: dict[str, list[str]]
) -> dict[str, dict[str, Any]]:
    """Photo id -> its entry, width and height as whole numbers.

    Entries without a size are counted.
    """
    photos: dict[str, dict[str, Any]] = {}
    for photo_id, photo in _by_id(
        rows, ("file_name", "width", "height"), troubles
    ).items():
        if _has_size(photo):
            photo["width"] = int(float(photo["width"]))
            photo["height"] = int(float(photo["height"]))
            photos[photo_id] = photo
        else:
            troubles["photo without a size of whole pixels"].append(
                str(photo["file_name"])
            )
    return photos


def _read_captions(
    path: Path, troubles: dict[str, list[str]]
) -> tuple[dict[str, dict[str, Any]], dict[str, list[str]]]:
    """Photo id -> its entry, and -> its sentences.

    These with single blanks, in Unicode's composed form.
    """
    document = read_json(path, "images", "annotations")
    photos = _read_photos(document["images"], troubles)
    captions: dict[str, list[str]] = defaultdict(list)
    for row in _rows_of(
        document["annotations"], ("caption",), photos, path.name, troubles
    ):
        caption = row["caption"]
        if isinstance(caption, str) and caption.strip() and not is_missing(caption):
            text = unicodedata.normalize("NFC", " ".join(caption.split()))
            captions[_id(row["image_id"])].append(text)
        else:
            troubles["caption without text, left out"].append(
                f"annotation {row.get('id')}"
            )
    return photos, captions


def _usable_file(
    files: Mapping[str, ImageFile],
    folder: Path,
    name: str,
    troubles: dict[str, list[str]],
) -> Path | None:
    """The file of a photo; None where it is missing or empty, which is counted."""
    file = files.get(name) or _find_file(folder, name)
    if file is None:
        troubles["photo missing"].append(missing_photo(folder, name))
    elif file.size == 0:
        troubles["photo broken (0 bytes)"].append(name)
    else:
        return file.path
    return None


def _find_file(folder: Path, name: str) -> ImageFile | None:
    """A photo whose name has folders in front, or another form: below the folder or beside it."""
    bare_name = name.replace("\\", "/").rpartition("/")[2]
    for file_name in (name, bare_name):
        for parent in (folder, folder.parent):
            path = find_photo(parent, file_name)
            if path is not None:
                return ImageFile(path, path.stat().st_size)
    return None


def _id(value: Any) -> str:
    """An id as text; 6.0 is 6."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _read_instances(
    path: Path | None,
    photos: Mapping[str, Mapping[str, Any]],
    troubles: dict[str, list[str]],
) -> tuple[dict[str, _Objects], dict[str, dict[str, Any]]]:
    """Photo id -> its objects, and category id -> category; both empty without a file."""
    objects: dict[str, _Objects] = defaultdict(_Objects)
    if path is None:
        return objects, {}
    document = read_json(path, "annotations", "categories")
    categories = _by_id(document["categories"], ("name",), troubles)
    keys = ("bbox", "category_id")
    rows = list(_rows_of(document["annotations"], keys, photos, path.name, troubles))
    check_corner_and_size(path.name, _raw_boxes(rows, photos))
    for row in rows:
        where = f"annotation {row.get('id')}"
        photo_id, category = _id(row["image_id"]), _id(row["category_id"])
        corners = _corners(row["bbox"], photos[photo_id])
        if row.get("iscrowd"):
            troubles["box around a crowd, left out"].append(where)
        elif corners is None or category not in categories:
            troubles["bad box or unknown category, left out"].append(where)
        else:
            photo_objects = objects[photo_id]
            photo_objects.categories[category].append(len(photo_objects.boxes))
            photo_objects.boxes.append(corners)
    return objects, categories


def _raw_boxes(
    rows: Sequence[Mapping[str, Any]], photos: Mapping[str, Mapping[str, Any]]
) -> list[RawBox]:
    """The boxes of annotations as they stand, with the size of their photo.

    What is no box is passed over.
    """
    boxes: list[RawBox] = []
    for row in rows:
        photo = photos[_id(row["image_id"])]
        if _corners(row["bbox"], photo) is not None:
            x, y, width, height = (float(value) for value in row["bbox"])
            boxes.append(
                RawBox((x, y, width, height), (photo["width"], photo["height"]))
            )
    return boxes


def _by_id(
    rows: list[Any], keys: tuple[str, ...], troubles: dict[str, list[str]]
) -> dict[str, dict[str, Any]]:
    """Rows by their "id"; a row without it or without a key is counted."""
    rows_by_id: dict[str, dict[str, Any]] = {}
    for index, row in enumerate(rows):
        is_complete = isinstance(row, dict) and all(key in row for key in keys)
        if is_complete and isinstance(row.get("id"), int | float | str):
            rows_by_id[_id(row["id"])] = row
        else:
            troubles[f"bad entry (expected id, {', '.join(keys)})"].append(
                f"entry {index}"
            )
    return rows_by_id


def _has_size(photo: Mapping[str, Any]) -> bool:
    """Whether width and height are whole numbers of pixels."""
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
        where = f"{name}: annotation {index}"
        if not isinstance(row, dict) or not all(key in row for key in keys):
            troubles[f"bad annotation (expected {', '.join(keys)})"].append(where)
        elif _id(row.get("image_id")) not in photos:
            troubles["annotation of a photo that does not exist"].append(where)
        else:
            yield row


def _corners(
    bbox: Any, photo: Mapping[str, Any]
) -> tuple[float, float, float, float] | None:
    """x, y, width, height as corners inside the photo; None where nothing is left.

    >>> _corners([10, 20, 100, 10], {"width": 50, "height": 40})
    (10.0, 20.0, 50.0, 30.0)
    """
    try:
        x1, y1, x2, y2 = from_xywh(bbox)
    except (TypeError, ValueError):
        return None
    x1, y1 = max(x1, 0.0), max(y1, 0.0)
    x2 = min(x2, float(photo["width"]))
    y2 = min(y2, float(photo["height"]))
    # As float32, which a record holds: a sliver may vanish there.
    if np.float32(x1) < np.float32(x2) and np.float32(y1) < np.float32(y2):
        return x1, y1, x2, y2
    return None


def _phrases(
    objects: _Objects, categories: Mapping[str, Mapping[str, Any]]
) -> tuple[FloatArray, tuple[Phrase, ...]]:
    """The boxes (N, 4) of a photo's objects and a phrase for each of their categories."""
    phrases = []
    for category_id, rows in objects.categories.items():
        category = categories[category_id]
        types = (str(category["supercategory"]),) if "supercategory" in category else ()
        phrases.append(Phrase(str(category["name"]), tuple(rows), types=types))
    boxes = np.asarray(objects.boxes, dtype=np.float32).reshape(-1, 4)
    return boxes, tuple(phrases)
