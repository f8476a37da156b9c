"""CVAT's XML and COCO's JSON: there, corrected, and back as training data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from regiontalk.export import coco, cvat
from regiontalk.export.coco_import import read_document as read_coco
from regiontalk.export.cvat import read_document as read_cvat
from regiontalk.records import ImageResult, RegionCaption

RESULT = ImageResult(
    "album/one dog.jpg",
    (200, 100),
    "mini",
    RegionCaption((0, 0, 200, 100), "a dog <runs> & jumps", 0.8),
    (
        RegionCaption((20, 10, 60, 50), 'a "ball"', 0.7),
        RegionCaption((0, 0, 9, 9), None, 0.1),
        RegionCaption((100, 0, 200, 100), "ein Hund, größer\x0c", 0.9),
    ),
)
ROW = {
    "photo": "album/one dog.jpg",
    "width": 200,
    "height": 100,
    "captions": ["a dog <runs> & jumps"],
    "boxes": [
        {"box": [20.0, 10.0, 60.0, 50.0], "phrase": 'a "ball"'},
        {"box": [100.0, 0.0, 200.0, 100.0], "phrase": "ein Hund, größer"},
    ],
}


def xml() -> str:
    return cvat.files([RESULT], Path("boxes.xml"))[Path("boxes.xml")]


def test_cvat_there_and_back() -> None:
    found = read_cvat(xml())
    assert found.rows == (ROW,) and found.left_out == ()


def test_cvat_labels_name_every_attribute() -> None:
    texts = cvat.files([RESULT], Path("boxes.xml"))
    labels = json.loads(texts[Path("boxes.labels.json")])
    attributes = {label["name"]: label["attributes"][0]["name"] for label in labels}
    for shape in ElementTree.fromstring(xml().encode()).iter():
        if shape.get("label"):
            assert [node.get("name") for node in shape] == [
                attributes[shape.get("label") or ""]
            ]


def test_a_box_moved_in_cvat_comes_back() -> None:
    moved = xml().replace('xtl="20.00"', 'xtl="30.50"').replace('a "ball"', "a bowl")
    assert read_cvat(moved).rows[0]["boxes"][0] == {
        "box": [30.5, 10, 60, 50],
        "phrase": "a bowl",
    }


def test_coco_there_and_back() -> None:
    found = read_coco(coco.document([RESULT]))
    assert found.rows == (ROW,) and found.left_out == ()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        pytest.param(
            '<polygon label="cup" points="10.00,20.00;30.00,20.00;20.00,40.00"/>',
            {"box": [10, 20, 30, 40], "phrase": "cup"},
            id="polygon",
        ),
        pytest.param(
            '<ellipse label="cup" cx="50" cy="50" rx="10" ry="20"/>',
            {"box": [40, 30, 60, 70], "phrase": "cup"},
            id="ellipse",
        ),
        # a quarter turn about the centre (30, 30): 40 wide and 20 high becomes 20 wide and 40 high
        pytest.param(
            '<box label="region" xtl="10" ytl="20" xbr="50" ybr="40" rotation="90"/>',
            {"box": [20, 10, 40, 50]},
            id="turned box",
        ),
        pytest.param(
            '<mask label="cup" left="5" top="6" width="10" height="20" rle="1, 2"/>',
            {"box": [5, 6, 15, 26], "phrase": "cup"},
            id="mask",
        ),
        pytest.param(
            '<box label="a" xtl="-9" ytl="0" xbr="9" ybr="9"/>', [0, 0, 9, 9], id="cut"
        ),
        pytest.param(
            '<points label="eye" points="1,2"/>',
            "points 'eye': has no box",
            id="points",
        ),
        pytest.param(
            '<box label="a" xtl="9" ytl="0" xbr="9" ybr="9"/>', "is empty", id="empty"
        ),
        pytest.param(
            '<box label="a" xtl="nan" ytl="0" xbr="9" ybr="9"/>', "no box", id="nan"
        ),
        pytest.param('<box label="a" ytl="0" xbr="9" ybr="9"/>', "'xtl'", id="lacking"),
        pytest.param(
            '<polygon label="a" points="1;2"/>', "polygon 'a'", id="bad points"
        ),
        pytest.param(
            '<tag label="photo"/>', "the tag photo has no caption", id="empty tag"
        ),
    ],
)
def test_shapes_of_cvat(shape: str, expected: Any) -> None:
    image = f'<image name="a.jpg" width="100" height="100">{shape}</image>'
    text = f"<annotations>{image}</annotations>"
    found = read_cvat(text)
    if isinstance(expected, str):
        assert found.rows == () and expected in found.left_out[0]
    else:
        box = found.rows[0]["boxes"][0]
        if isinstance(expected, dict):
            assert box["box"] == pytest.approx(expected["box"], abs=0.1)
            assert box.get("phrase") == expected.get("phrase")
        else:
            assert box["box"] == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("<!DOCTYPE a><annotations/>", "declares entities", id="entities"),
        pytest.param("<annotations>", "expected CVAT's XML", id="cut short"),
        pytest.param(
            "<html/>", "the element annotations, got html", id="another document"
        ),
    ],
)
def test_no_cvat(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_cvat(text)


IMAGE = {"id": 1, "file_name": "x\\a.jpg", "width": 100.0, "height": 50}


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        pytest.param(
            {"image_id": 1, "bbox": [1, 2, 3, 4], "category_id": 7},
            {"boxes": [{"box": [1, 2, 4, 6], "phrase": "cat"}]},
            id="category",
        ),
        pytest.param(
            {"image_id": "1", "bbox": [1, 2, 3, 4], "attributes": {"phrase": "a hat "}},
            {"boxes": [{"box": [1, 2, 4, 6], "phrase": "a hat"}]},
            id="CVAT's attributes",
        ),
        pytest.param(
            {"image_id": 1, "caption": "a\n cat"},
            {"captions": ["a cat"]},
            id="a caption alone",
        ),
        pytest.param(
            {"image_id": 2, "bbox": [1, 2, 3, 4]}, "image 2 is not there", id="lost"
        ),
        pytest.param({"image_id": 1, "bbox": [1, 2, 0, 4]}, "is empty", id="empty"),
        pytest.param(
            {"image_id": 1, "bbox": [1, 2, float("nan"), 4]}, "is empty", id="nan"
        ),
        pytest.param(
            {"image_id": 1, "bbox": [1, 2]}, "expected a bbox", id="two numbers"
        ),
        pytest.param({"image_id": 1, "caption": None}, "expected a bbox", id="nothing"),
        pytest.param(
            {"image_id": 1, "bbox": ["a", 2, 3, 4]}, "annotation 1", id="letters"
        ),
    ],
)
def test_annotations_of_coco(annotation: dict[str, Any], expected: Any) -> None:
    document = {
        "images": [IMAGE, {"id": 9}],
        "annotations": [annotation],
        "categories": [{"id": 7, "name": "cat"}],
    }
    found = read_coco(document)
    assert found.left_out[0] == "image 9: expected a file_name"
    if isinstance(expected, str):
        assert found.rows == () and expected in found.left_out[1]
    else:
        assert found.rows == (
            {"photo": "x/a.jpg", "width": 100, "height": 50, **expected},
        )
