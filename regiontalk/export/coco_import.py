"""COCO JSON as rows of a training file.

What `coco.py` writes, and what annotation tools make of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regiontalk.export.coco import PHOTO_NAME, REGION_NAME
from regiontalk.export.corrections import Corrections


def read_document(document: Any) -> Corrections:
    """The captions and boxes of a COCO document.

    The words of an annotation are its ``caption``, else the attribute ``phrase`` or ``caption``,
    else the name of its category, unless that is ours. An annotation of our category "photo", or
    with a caption and no box, is of the whole photo. Images without words or boxes give no row.

    Raises:
        ValueError: not such a document.
    """
    if not is_document(document):
        raise ValueError(
            "expected a COCO document with the lists images and annotations"
        )
    names = {
        str(entry.get("id")): str(entry.get("name", ""))
        for entry in _dictionaries(document.get("categories"))
    }
    rows, left_out = _image_rows(document["images"])
    for number, annotation in enumerate(
        _dictionaries(document["annotations"]), start=1
    ):
        category = names.get(str(annotation.get("category_id")), "")
        try:
            _add(rows, annotation, category)
        except (KeyError, TypeError, ValueError) as error:
            left_out.append(f"annotation {annotation.get('id', number)}: {error}")
    used = [row for row in rows.values() if "captions" in row or "boxes" in row]
    return Corrections(tuple(used), tuple(left_out))


def _image_rows(images: Any) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """A row for each image by its id, and the images that have no name."""
    rows: dict[str, dict[str, Any]] = {}
    left_out: list[str] = []
    for image in _dictionaries(images):
        if not isinstance(image.get("file_name"), str):
            left_out.append(f"image {image.get('id')}: expected a file_name")
            continue
        row: dict[str, Any] = {"photo": image["file_name"].replace("\\", "/")}
        if _is_size(image.get("width")) and _is_size(image.get("height")):
            row["width"], row["height"] = int(image["width"]), int(image["height"])
        rows[str(image.get("id"))] = row
    return rows, left_out


def is_document(document: Any) -> bool:
    """Whether a JSON document is COCO's."""
    return (
        isinstance(document, dict)
        and isinstance(document.get("images"), list)
        and isinstance(document.get("annotations"), list)
    )


def _dictionaries(values: Any) -> list[Mapping[str, Any]]:
    """The objects of a list; anything else is no list of COCO's."""
    if not isinstance(values, list):
        return []
    return [value for value in values if isinstance(value, dict)]


def _is_size(value: Any) -> bool:
    return isinstance(value, int | float) and 1 <= value <= 1e9


def _add(
    rows: Mapping[str, dict[str, Any]], annotation: Mapping[str, Any], category: str
) -> None:
    """Add one annotation to the row of its image.

    Raises:
        ValueError: its image is not there, or it has neither words nor a box that can be used.
    """
    row = rows.get(str(annotation.get("image_id")))
    if row is None:
        raise ValueError(f"image {annotation.get('image_id')} is not there")
    words = _words(annotation)
    box = annotation.get("bbox") or _around(annotation.get("segmentation"))
    if category == PHOTO_NAME or (words and not box):
        if not words:
            raise ValueError("expected a caption of the photo, got none")
        row.setdefault("captions", []).append(words)
        return
    corners = _corners(box)
    phrase = words or (category if category != REGION_NAME else "")
    row.setdefault("boxes", []).append(
        {"box": corners, **({"phrase": phrase} if phrase else {})}
    )


def _around(outlines: Any) -> list[float] | None:
    """The bbox around the outlines of a thing; None where there are none.

    Args:
        outlines: of its parts, [x1, y1, x2, y2, ...] each.

    >>> _around([[10, 10, 40, 10, 40, 30], [50, 20, 60, 20, 60, 40]])
    [10, 10, 50, 30]
    """
    if not isinstance(outlines, list) or not outlines:
        return None
    across: list[float] = []
    down: list[float] = []
    for outline in outlines:
        if not isinstance(outline, list) or not all(
            isinstance(number, int | float) for number in outline
        ):
            return None
        across += outline[0::2]
        down += outline[1::2]
    if not down:
        return None
    x, y = min(across), min(down)
    return [x, y, max(across) - x, max(down) - y]


def _corners(box: Any) -> list[float]:
    """x1, y1, x2, y2 of a bbox, to a tenth of a pixel.

    Raises:
        ValueError: it is no bbox, or empty.
    """
    if not isinstance(box, list) or len(box) != 4:
        raise ValueError(f"expected a bbox of x, y, width, height, got {str(box)[:60]}")
    x, y, width, height = (float(number) for number in box)
    if not (width > 0 and height > 0 and abs(x) + abs(y) + width + height < 1e9):
        raise ValueError(f"its bbox {str(box)[:60]} is empty")
    return [round(number, 1) for number in (x, y, x + width, y + height)]


def _words(annotation: Mapping[str, Any]) -> str:
    """The words of an annotation, without line breaks; "" where there are none."""
    attributes = annotation.get("attributes")
    attributes = attributes if isinstance(attributes, dict) else {}
    for value in (
        annotation.get("caption"),
        attributes.get("phrase"),
        attributes.get("caption"),
    ):
        if isinstance(value, str) and value.strip():
            return " ".join(value.split())
    return ""
