"""CVAT's XML ("CVAT for images 1.1"): boxes with their words, for people who correct them there.

A region is a ``box`` of the label "region" with the attribute "phrase"; the whole photo's caption
is a ``tag`` of the label "photo" with the attribute "caption". CVAT imports the file into a task
whose labels are those of `LABELS`. Format: https://docs.cvat.ai/docs/manual/advanced/xml_format/

`read_document` reads such files back, and any other of CVAT's, as rows of a training file.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from regiontalk.export.corrections import Corrections
from regiontalk.files import relative
from regiontalk.records import ImageResult, RegionCaption

REGION, PHOTO = "region", "photo"
PHRASE, CAPTION = "phrase", "caption"
Box = tuple[float, float, float, float]
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# What a task needs for the file: paste it into CVAT's raw label editor.
LABELS = [
    {
        "name": name,
        "type": kind,
        "attributes": [
            {"name": words, "input_type": "text", "mutable": True, "values": [""]},
        ],
    }
    for name, kind, words in ((REGION, "rectangle", PHRASE), (PHOTO, "tag", CAPTION))
]


def files(results: Sequence[ImageResult], out: Path) -> dict[Path, str]:
    """The XML in the file ``out``, and beside it the labels of the task as ``.labels.json``."""
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    for number, result in enumerate(results):
        _add_image(root, number, result, out.parent)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return {
        out: f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n',
        out.with_suffix(".labels.json"): json.dumps(LABELS, indent=1),
    }


def _add_image(
    root: ElementTree.Element, number: int, result: ImageResult, folder: Path
) -> None:
    width, height = result.size_wh
    image = ElementTree.SubElement(
        root,
        "image",
        id=str(number),
        name=_NO_XML.sub("", relative(result.photo, folder)),
        width=str(width),
        height=str(height),
    )
    for region in result.regions:
        if region.text:
            _add_box(image, region)
    if result.caption is not None and result.caption.text:
        tag = ElementTree.SubElement(image, "tag", label=PHOTO, source="auto")
        _add_words(tag, CAPTION, result.caption.text)


def _add_box(image: ElementTree.Element, region: RegionCaption) -> None:
    corners = {
        name: f"{float(value):.2f}"
        for name, value in zip(("xtl", "ytl", "xbr", "ybr"), region.box, strict=True)
    }
    attributes = {
        "label": REGION,
        "source": "auto",
        "occluded": "0",
        "z_order": "0",
        **corners,
    }
    box = ElementTree.SubElement(image, "box", attributes)
    _add_words(box, PHRASE, region.text or "")


def _add_words(parent: ElementTree.Element, name: str, words: str) -> None:
    ElementTree.SubElement(parent, "attribute", name=name).text = _NO_XML.sub("", words)


def read_document(text: str) -> Corrections:
    """The boxes and captions of CVAT's XML.

    Polygons, polylines, ellipses and masks become the box around them. The words of a shape are its
    attribute "phrase" or "caption", else its label, unless that is ours.

    Raises:
        ValueError: not such a document.
    """
    # entities can be made to grow without end
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("expected CVAT's XML, got a document that declares entities")
    try:
        # Text that says in which encoding it was written is none any more.
        root = ElementTree.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", text))
    except (ElementTree.ParseError, ValueError) as error:
        raise ValueError(f"expected CVAT's XML ({error})") from error
    if root.tag != "annotations":
        raise ValueError(
            f"expected CVAT's XML with the element annotations, got {root.tag}"
        )
    rows: list[dict[str, Any]] = []
    left_out: list[str] = []
    for track in root.findall("track"):
        left_out.append(f"track {track.get('id')}: is of a video")
    for image in root.findall("image"):
        name = image.get("name", "")
        row = {"photo": name.replace("\\", "/"), **_size(image)}
        for reason in _read_image(image, row):
            left_out.append(f"{name}: {reason}")
        if "captions" in row or "boxes" in row:
            rows.append(row)
    return Corrections(tuple(rows), tuple(left_out))


def _size(image: ElementTree.Element) -> dict[str, int]:
    """The size of an image; nothing where it is not given."""
    sides = [image.get(name, "") for name in ("width", "height")]
    if not all(side.isdecimal() and len(side) < 9 and int(side) > 0 for side in sides):
        return {}
    return {"width": int(sides[0]), "height": int(sides[1])}


def _read_image(image: ElementTree.Element, row: dict[str, Any]) -> Iterator[str]:
    """Add the shapes and tags of an image to its row; yields what is left out, and why."""
    for shape in image:
        label = shape.get("label", "")
        words = {
            node.get("name"): " ".join((node.text or "").split()) for node in shape
        }
        text = words.get(PHRASE) or words.get(CAPTION) or ""
        if shape.tag == "tag":
            caption = text or (label if label != PHOTO else "")
            if caption:
                row.setdefault("captions", []).append(caption)
            else:
                yield "the tag photo has no caption"
            continue
        try:
            box = _shape_box(shape.tag, shape.attrib, row)
        except (KeyError, ValueError, OverflowError) as error:
            yield f"{shape.tag} {text or label!r}: {error}"
            continue
        phrase = text or (label if label != REGION else "")
        entry: dict[str, Any] = {
            "box": list(box),
            **({"phrase": phrase} if phrase else {}),
        }
        row.setdefault("boxes", []).append(entry)


def _shape_box(kind: str, values: Mapping[str, str], row: Mapping[str, Any]) -> Box:
    """x1, y1, x2, y2 of a shape in pixels, to a tenth, within its photo.

    Raises:
        ValueError: the shape has no area or is of an unknown kind.
        KeyError: a coordinate is lacking.
    """
    corners = list(_corners(kind, values))
    if not corners or not all(
        math.isfinite(number) for corner in corners for number in corner
    ):
        raise ValueError("has no box that can be read")
    limits = []
    for axis, side in ((0, "width"), (1, "height")):
        numbers = [corner[axis] for corner in corners]
        top = float(row.get(side, math.inf))
        limits.append(
            [
                round(min(max(number, 0.0), top), 1)
                for number in (min(numbers), max(numbers))
            ]
        )
    (x1, x2), (y1, y2) = limits
    if not (x2 > x1 and y2 > y1):
        raise ValueError("is empty or outside the photo")
    return x1, y1, x2, y2


def _corners(kind: str, values: Mapping[str, str]) -> Iterator[tuple[float, float]]:
    """Points whose box is that of a shape; none where the shape has no area."""
    if kind in ("polygon", "polyline"):
        for point in values["points"].split(";"):
            x, y = point.split(",")
            yield float(x), float(y)
    elif kind == "mask":
        left, top = float(values["left"]), float(values["top"])
        yield left, top
        yield left + float(values["width"]), top + float(values["height"])
    elif kind in ("box", "ellipse"):
        yield from _turned(kind, values)


def _turned(kind: str, values: Mapping[str, str]) -> Iterator[tuple[float, float]]:
    """Two points of the box around a rectangle or an ellipse that is turned about its centre."""
    angle = math.radians(float(values.get("rotation") or 0))
    cosine, sine = abs(math.cos(angle)), abs(math.sin(angle))
    if kind == "ellipse":
        x, y, x_radius, y_radius = (
            float(values[name]) for name in ("cx", "cy", "rx", "ry")
        )
        half_width = math.hypot(x_radius * cosine, y_radius * sine)
        half_height = math.hypot(x_radius * sine, y_radius * cosine)
    else:
        x, y, width, height = _centre_and_sides(values)
        half_width = (width * cosine + height * sine) / 2
        half_height = (width * sine + height * cosine) / 2
    yield x - half_width, y - half_height
    yield x + half_width, y + half_height


def _centre_and_sides(values: Mapping[str, str]) -> tuple[float, float, float, float]:
    """Centre x and y, width and height of a rectangle before it is turned."""
    x1, y1, x2, y2 = (float(values[name]) for name in ("xtl", "ytl", "xbr", "ybr"))
    return (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
