"""Names on boxes: phrases, COCO results, and how they join what people annotated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regiontalk.datasets.names import (
    NamedBox,
    add_names,
    boxes_of,
    name_phrase,
    plural_phrase,
    read_detected,
    read_results,
)
from regiontalk.records import Example, Phrase


@pytest.mark.parametrize(
    ("name", "one", "several"),
    [
        pytest.param("dog", "a dog", "two dogs", id="plain"),
        pytest.param("umbrella", "an umbrella", "two umbrellas", id="vowel"),
        pytest.param("dining table", "a table", "two tables", id="the word people use"),
        pytest.param("skis", "a pair of skis", "two skis", id="pair"),
        pytest.param("broccoli", "broccoli", "two broccoli", id="mass word"),
        pytest.param("person", "a person", "two people", id="irregular"),
        pytest.param("bus", "a bus", "two buses", id="s"),
        pytest.param(
            "Push_Button", "a push button", "two push buttons", id="somebody's spelling"
        ),
    ],
)
def test_phrases_of_names(name: str, one: str, several: str) -> None:
    assert name_phrase(name) == one
    assert plural_phrase(name, 2) == several


def row(**changes: Any) -> dict[str, Any]:
    return {
        "image_id": 7,
        "category_id": 18,
        "bbox": [10, 20, 30, 40],
        "score": 0.9,
    } | changes


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        pytest.param(
            {"images": []}, "expected COCO results, a list of boxes", id="annotations"
        ),
        pytest.param(
            [row(bbox=[1, 2])],
            "entry 0: expected image_id or file_name",
            id="two numbers",
        ),
        pytest.param(
            [row(category_id=12)],
            "expected a category_id of 1..90, got 12",
            id="no such class",
        ),
        pytest.param(
            [row(bbox=[0.1, 0.2, 0.5, 0.5])],
            "multiply them by its width",
            id="shares of the photo",
        ),
        pytest.param(["dog"], "entry 0: expected image_id", id="no entry"),
    ],
)
def test_bad_results(rows: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(rows))
    with pytest.raises(ValueError, match=message):
        read_results(path)


def test_results_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(
        json.dumps([row(), row(score=0.2), row(file_name="a.jpg", category_id=1)])
    )
    # x, y, width, height = 10, 20, 30, 40 are the corners 10, 20, 40, 60; category 18 is the dog
    assert read_results(path) == {
        "7": [NamedBox("dog", (10.0, 20.0, 40.0, 60.0), 0.9)],
        "a.jpg": [NamedBox("person", (10.0, 20.0, 40.0, 60.0), 0.9)],
    }


def test_results_with_their_own_categories(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    categories = [{"id": 3, "name": "valve"}]
    path.write_text(
        json.dumps({"categories": categories, "annotations": [row(category_id=3)]})
    )
    assert read_results(path)["7"][0].name == "valve"


def test_corners_in_place_of_a_size_are_refused(tmp_path: Path) -> None:
    photo = tmp_path / "a.png"
    Image.new("RGB", (100, 80)).save(photo)
    corners = [(10, 10, 95, 70), (50, 20, 90, 60), (5, 5, 20, 20), (60, 40, 99, 79)]
    read = [NamedBox("cup", (x, y, x + x2, y + y2), 0.9) for x, y, x2, y2 in corners]
    with pytest.raises(
        ValueError, match="3 would leave their photo; they look like x1, y1, x2"
    ):
        add_names([Example(photo)], {"a.png": read})


def test_names_join_what_people_annotated(tmp_path: Path) -> None:
    photo = tmp_path / "a.png"
    Image.new("RGB", (100, 100)).save(photo)
    # of a picture twice as large as the file
    annotated = np.array([[0, 0, 100, 100]], np.float32)
    example = Example(
        photo, ("a dog",), annotated, (Phrase("a dog", (0,), 0, 0),), (200, 200)
    )
    detected = [
        # 0..100 in the annotation's pixels: the annotated box
        NamedBox("dog", (0, 0, 50, 50), 0.9),
        NamedBox("dog", (50, 50, 100, 100), 0.9),
        # people described the people of this photo
        NamedBox("person", (0, 50, 50, 100), 0.9),
        NamedBox("cup", (20, 20, 20.5, 40), 0.9),  # thinner than two pixels
    ]
    (named,) = add_names([example], {"a.png": detected})
    assert named.boxes_xyxy.tolist() == [[0, 0, 100, 100], [100, 100, 200, 200]]
    texts = [(phrase.text, phrase.boxes, phrase.source) for phrase in named.phrases]
    assert texts == [
        ("a dog", (0,), "annotator"),
        ("a dog", (0,), "detector"),
        ("a dog", (1,), "detector"),
        ("two dogs", (0, 1), "detector"),
    ]


@pytest.mark.parametrize(
    ("key", "file", "is_found"),
    [
        pytest.param("its id", "a.png", True, id="id"),
        pytest.param("a.png", "a.png", True, id="file"),
        pytest.param("7", "000000000007.png", True, id="COCO's number in the name"),
        pytest.param("7", "a7.png", False, id="no number"),
        pytest.param("", "000.png", False, id="nought"),
    ],
)
def test_a_photo_is_found_by(key: str, file: str, is_found: bool) -> None:
    boxes = [NamedBox("dog", (0, 0, 9, 9), 0.9)]
    photo = Example(Path(file), id="its id")
    assert boxes_of(photo, {key: boxes}) == (boxes if is_found else ())


def test_a_person_is_believed_where_a_detector_contradicts(tmp_path: Path) -> None:
    photo = tmp_path / "a.png"
    Image.new("RGB", (100, 100)).save(photo)
    boxes = np.array([[0, 0, 50, 50], [50, 50, 100, 100]], np.float32)
    phrases = (Phrase("a small cat", (0,)), Phrase("its toy", (1,)))
    example = Example(photo, ("a cat",), boxes, phrases, (100, 100))
    detected = [
        NamedBox("dog", (0, 0, 50, 50), 0.9),
        NamedBox("frisbee", (50, 50, 100, 100), 0.9),
    ]
    elsewhere = {
        "b.png": [NamedBox("cat", (0, 0, 9, 9), 0.9)]
    }  # cats are a class of this detector
    lines: list[str] = []
    (named,) = add_names([example], {"a.png": detected, **elsewhere}, lines)
    texts = [phrase.text for phrase in named.phrases]
    assert texts == ["a small cat", "its toy", "a frisbee"]
    assert lines == ["a.png: 'a small cat' and 'dog' on one box"]


def test_a_folder_with_detections(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (80, 60)).save(tmp_path / "photos" / "a.jpg")
    images = [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "gone.jpg"}]
    (tmp_path / "images.json").write_text(json.dumps({"images": images}))
    (tmp_path / "detections.json").write_text(json.dumps([row()]))
    captions = {"annotations": [{"image_id": 7, "caption": " a  dog "}]}
    (tmp_path / "captions.json").write_text(json.dumps(captions))
    (example,), report = read_detected(tmp_path)
    assert (example.captions, example.phrases[0].text, example.size_wh) == (
        ("a dog",),
        "a dog",
        (80, 60),
    )
    assert report.troubles["photo missing"].names == ("gone.jpg",)
    (tmp_path / "detections.json").write_text(json.dumps([row(image_id=99)]))
    with pytest.raises(ValueError, match="is it of another data set"):
        read_detected(tmp_path)
