"""Label Studio: there, corrected, and back as training data."""

from __future__ import annotations

import base64
import io
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from regiontalk.export import labelstudio
from regiontalk.export.labelstudio import CONFIG, tasks
from regiontalk.export.labelstudio_import import read_tasks
from regiontalk.export.labelstudio_shapes import rle_box
from regiontalk.records import ImageResult, RegionCaption

RESULT = ImageResult(
    "album/one dog.jpg",
    (200, 100),
    "mini",
    RegionCaption((0, 0, 200, 100), "a dog runs", 0.8),
    (
        RegionCaption((20, 10, 60, 50), "a ball", 0.7),
        RegionCaption((0, 0, 9, 9), None, 0.1),
        RegionCaption((100, 0, 200, 100), "a dog", 0.9),
    ),
)


def annotated(task: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The task as Label Studio exports it when somebody has accepted the prediction as it is."""
    result = [
        {**piece, "origin": "prediction"} for piece in task["predictions"][0]["result"]
    ]
    annotation = {
        "id": 1,
        "result": result,
        "was_cancelled": False,
        "updated_at": "2026-01-02T00:00:00Z",
        **more,
    }
    return {
        "id": 5,
        "data": task["data"],
        "annotations": [annotation],
        "predictions": [],
    }


def test_there() -> None:
    (task,) = tasks([RESULT])
    assert task["data"] == {
        "image": "/data/local-files/?d=album/one%20dog.jpg",
        "photo": "album/one dog.jpg",
    }
    (prediction,) = task["predictions"]
    # (0.7 + 0.9) / 2
    assert prediction["model_version"] == "mini" and prediction["score"] == 0.8
    box, phrase, *_, caption = prediction["result"]
    assert box["id"] == phrase["id"] and (
        box["original_width"],
        box["original_height"],
    ) == (
        200,
        100,
    )
    # 20 of 200, 10 of 100, 40 of 200, 40 of 100
    assert [box["value"][key] for key in ("x", "y", "width", "height")] == [
        10,
        10,
        20,
        40,
    ]
    assert phrase["value"]["text"] == ["a ball"] and caption["value"] == {
        "text": ["a dog runs"]
    }
    assert len(prediction["result"]) == 5


def test_the_interface_has_every_control_that_is_named() -> None:
    controls = {
        node.get("name"): node
        for node in ElementTree.fromstring(CONFIG).iter()
        if node.get("name")
    }
    for piece in tasks([RESULT])[0]["predictions"][0]["result"]:
        assert controls[piece["from_name"]].tag.lower() == piece["type"]
        assert (
            controls[piece["from_name"]].get("toName") == piece["to_name"] in controls
        )


def test_back() -> None:
    found = read_tasks([annotated(task) for task in tasks([RESULT])])
    assert found.left_out == ()
    assert found.rows == (
        {
            "photo": "album/one dog.jpg",
            "width": 200,
            "height": 100,
            "captions": ["a dog runs"],
            "boxes": [
                {"box": [20.0, 10.0, 60.0, 50.0], "phrase": "a ball"},
                {"box": [100.0, 0.0, 200.0, 100.0], "phrase": "a dog"},
            ],
        },
    )


SIDE = st.integers(1, 4000)


@settings(max_examples=50, deadline=None)
@given(SIDE, SIDE, st.lists(st.tuples(*[st.floats(0, 1)] * 4), max_size=5))
def test_boxes_come_back_to_a_tenth(
    wide: int, high: int, shares: list[tuple[float, ...]]
) -> None:
    boxes = []
    for a, b, c, d in shares:
        x1, x2, y1, y2 = (
            wide * min(a, b),
            wide * max(a, b),
            high * min(c, d),
            high * max(c, d),
        )
        if x2 - x1 > 0.2 and y2 - y1 > 0.2:
            boxes.append((x1, y1, x2, y2))
    regions = tuple(
        RegionCaption(box, f"thing {number}", 0.5) for number, box in enumerate(boxes)
    )
    result = ImageResult(
        "a.jpg",
        (wide, high),
        "mini",
        RegionCaption((0, 0, wide, high), "all", 1),
        regions,
    )
    (row,) = read_tasks([annotated(task) for task in tasks([result])]).rows
    back = row.get("boxes", [])
    assert [item["phrase"] for item in back] == [region.text for region in regions]
    for item, box in zip(back, boxes, strict=True):
        assert item["box"] == pytest.approx(box, abs=0.06)
        assert (
            0 <= item["box"][0] < item["box"][2] <= wide
            and 0 <= item["box"][1] < item["box"][3] <= high
        )


def box(**values: Any) -> dict[str, Any]:
    value = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0, **values}
    return {
        "id": "r",
        "type": "rectanglelabels",
        "original_width": 100,
        "original_height": 100,
        "value": value,
    }


@pytest.mark.parametrize(
    ("values", "corners"),
    [
        pytest.param({}, [10, 20, 40, 60], id="upright"),
        pytest.param({"x": -10}, [0, 20, 20, 60], id="cut at the edge"),
        pytest.param(
            {"x": 90, "width": 50}, [90, 20, 100, 60], id="cut at the other edge"
        ),
        # A quarter turn clockwise about (10, 20): 40 high lies to the left of it, 30 wide below
        pytest.param(
            {"rotation": 90, "x": 50}, [10, 20, 50, 50], id="turned by a quarter"
        ),
        pytest.param({"width": 0}, None, id="empty"),
        pytest.param({"x": 120}, None, id="outside"),
    ],
)
def test_corrected_boxes(values: dict[str, Any], corners: list[float] | None) -> None:
    found = read_tasks(
        [{"data": {"photo": "a.jpg"}, "annotations": [{"result": [box(**values)]}]}]
    )
    if corners is None:
        assert found.rows == () and "is empty or outside the photo" in found.left_out[0]
    else:
        assert found.rows[0]["boxes"] == [{"box": corners}] and found.left_out == ()


def said(text: str, **more: Any) -> dict[str, Any]:
    return {
        "result": [
            {"type": "textarea", "from_name": "caption", "value": {"text": [text]}}
        ],
        **more,
    }


@pytest.mark.parametrize(
    ("annotations", "captions"),
    [
        pytest.param(
            [said("old", updated_at="1"), said("new", updated_at="2")],
            ["new"],
            id="the latest",
        ),
        pytest.param(
            [said("true", ground_truth=True), said("new", updated_at="2")],
            ["true"],
            id="ground truth",
        ),
        pytest.param(
            [said("gone", was_cancelled=True, updated_at="2"), said("kept")],
            ["kept"],
            id="cancelled",
        ),
        pytest.param([], None, id="nobody"),
        pytest.param([said("gone", was_cancelled=True)], None, id="all cancelled"),
        pytest.param([said("  ")], None, id="blank"),
        pytest.param([{"result": []}], None, id="empty"),
    ],
)
def test_which_annotation_counts(
    annotations: list[Any], captions: list[str] | None
) -> None:
    found = read_tasks(
        [{"id": 7, "data": {"photo": "a.jpg"}, "annotations": annotations}]
    )
    if captions is None:
        assert found.rows == () and found.left_out[0].startswith("task 7: ")
    else:
        assert found.rows == ({"photo": "a.jpg", "captions": captions},)


@pytest.mark.parametrize(
    ("data", "photo"),
    [
        pytest.param({"photo": "x/a.jpg", "image": "b.jpg"}, "x/a.jpg", id="ours"),
        pytest.param(
            {"image": "/data/local-files/?d=x/a%20b.jpg"}, "x/a b.jpg", id="local file"
        ),
        pytest.param(
            {"image": "/data/upload/3/0f9a1b2c-a.jpg"}, "a.jpg", id="uploaded"
        ),
        pytest.param(
            {"image": "https://host/dir/a%20b.jpg?x=1"}, "a b.jpg", id="address"
        ),
        pytest.param({"image": "s3://bucket/a.jpg"}, "a.jpg", id="object store"),
    ],
)
def test_which_photo(data: dict[str, str], photo: str) -> None:
    assert (
        read_tasks([{"data": data, "annotations": [said("a")]}]).rows[0]["photo"]
        == photo
    )


@pytest.mark.parametrize(
    "document",
    [{"a": 1}, [1], [{"image": "a.jpg", "label": []}], "text", None],
    ids=lambda value: str(value)[:12],
)
def test_another_document(document: Any) -> None:
    with pytest.raises(
        ValueError, match="expected a Label Studio export of the type JSON"
    ):
        read_tasks(document)


def test_one_bad_task_leaves_the_others() -> None:
    bad = {
        "id": 3,
        "data": {"photo": "a.jpg"},
        "annotations": [
            {"result": [{**box(), "value": {**box()["value"], "x": "wide"}}]}
        ],
    }
    found = read_tasks(
        [
            bad,
            {"data": {}, "annotations": [said("a")]},
            {"data": {"photo": "b"}, "annotations": [said("b")]},
        ]
    )
    assert [row["photo"] for row in found.rows] == ["b"] and found.left_out[
        0
    ].startswith("task 3: ")


def test_photos_have_to_be_below_the_tasks() -> None:
    with pytest.raises(
        ValueError,
        match=r"album/one dog\.jpg: expected a photo below the folder of the tasks",
    ):
        labelstudio.files([RESULT], Path("elsewhere/tasks.json"))
    texts = labelstudio.files([RESULT], Path("tasks.json"))
    assert sorted(path.name for path in texts) == [
        "tasks.json",
        "tasks.xml",
    ] and json.loads(texts[Path("tasks.json")])


def test_label_studio_accepts_it(tmp_path: Path) -> None:
    interface: Any = pytest.importorskip(
        "label_studio_sdk.label_interface", reason="label-studio-sdk is not installed"
    )
    converter: Any = pytest.importorskip(
        "label_studio_sdk.converter", reason="label-studio-sdk is not installed"
    )
    checker, (task,) = interface.LabelInterface(CONFIG), tasks([RESULT])
    assert checker.validate_task({"data": task["data"]})
    assert checker.validate_prediction(task["predictions"][0], return_errors=True) == []
    (tmp_path / "in.json").write_text(json.dumps([annotated(task)]))
    tool = converter.Converter(CONFIG, str(tmp_path), download_resources=False)
    tool.convert_to_coco(
        str(tmp_path / "in.json"), str(tmp_path / "coco"), is_dir=False
    )
    found = json.loads((tmp_path / "coco" / "result.json").read_text())["annotations"]
    assert [row["bbox"] for row in found] == [[20, 10, 40, 40], [100, 0, 100, 100]]


SHAPES: dict[str, tuple[dict[str, Any], list[float] | None]] = {
    "polygon": ({"points": [[10, 10], [50, 10], [50, 60]]}, [20, 10, 100, 60]),
    "ellipse": ({"x": 50, "y": 50, "radiusX": 10, "radiusY": 20}, [80, 30, 120, 70]),
    "turned": (
        {"x": 50, "y": 50, "radiusX": 10, "radiusY": 5, "rotation": 90},
        [95, 30, 105, 70],
    ),
    "vector": ({"vertices": [{"x": 0, "y": 0}, {"x": 5, "y": 9}]}, [0, 0, 10, 9]),
    "key point": ({"x": 3, "y": 3, "width": 1}, None),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_become_the_box_around_them(shape: str) -> None:
    value, expected = SHAPES[shape]
    piece = {"id": "b", "type": f"{shape}labels", "from_name": "x", "value": value}
    piece |= {"original_width": 200, "original_height": 100}
    words = {
        "id": "b",
        "type": "textarea",
        "from_name": "phrase",
        "value": {"text": ["a medal"]},
    }
    found = read_tasks(
        [{"data": {"photo": "a.jpg"}, "annotations": [{"result": [piece, words]}]}]
    )
    if expected is None:
        assert "has no box that can be read" in found.left_out[0]
        assert "the words of b, left out with it, were 'a medal'" in found.left_out[1]
    else:
        box = found.rows[0]["boxes"][0]
        assert box["phrase"] == "a medal" and box["box"] == pytest.approx(
            expected, abs=0.2
        )


def test_own_labels_and_other_keys() -> None:
    value = {
        "x": 10,
        "y": 10,
        "width": 40,
        "height": 40,
        "rectanglelabels": ["Coffee cup"],
    }
    piece = {"id": "a", "type": "rectanglelabels", "value": value}
    piece |= {"original_width": 200, "original_height": 100}
    lone = {
        "id": "z",
        "type": "textarea",
        "from_name": "note",
        "value": {"text": ["a cat"]},
    }
    tasks = [
        {
            "id": 1,
            "data": {"img": "up/0a1b2c3d-a.jpg"},
            "annotations": [{"result": [piece, lone]}],
        },
        {"id": 2, "data": {"text": "hello"}, "annotations": [{"result": [piece]}]},
    ]
    found = read_tasks(tasks)
    assert found.rows[0]["photo"] == "a.jpg"
    assert found.rows[0]["boxes"][0]["phrase"] == "Coffee cup"
    assert (
        "task 1: the words 'a cat' belong to no region and are left out"
        in found.left_out
    )
    assert (
        "task 2: expected the picture under photo or image, got the keys text"
        in found.left_out
    )


class Packer:
    """The slow twin of the reader: writes bits one by one, as the format says."""

    def __init__(self) -> None:
        self.bits = ""

    def write(self, number: int, count: int) -> None:
        self.bits += f"{number:0{count}b}"

    def pack(self, values: list[int]) -> list[int]:
        """Runs of equal values, and single values one by one; lengths of 3, 4, 8 and 16 bits."""
        self.write(len(values), 32)
        self.write(8 - 1, 5)
        for size in (3, 4, 8, 16):
            self.write(size - 1, 4)
        index = 0
        while index < len(values):
            end = index
            while end < len(values) and values[end] == values[index]:
                end += 1
            length = min(end - index, 1 << 16)
            size = next(
                n for n, bits in enumerate((3, 4, 8, 16)) if length <= 1 << bits
            )
            repeats = length > 1
            self.write(int(repeats), 1)
            self.write(size, 2)
            self.write(length - 1, (3, 4, 8, 16)[size])
            self.write(values[index], 8)
            index += length
        self.bits += "0" * (-len(self.bits) % 8)
        return [int(self.bits[at : at + 8], 2) for at in range(0, len(self.bits), 8)]


def mask_values(width: int, height: int, painted: set[tuple[int, int]]) -> list[int]:
    values = []
    for y in range(height):
        for x in range(width):
            values += [200, 10, 30, 255] if (x, y) in painted else [0, 0, 0, 0]
    return values


PIXELS = st.sets(st.tuples(st.integers(0, 11), st.integers(0, 8)), max_size=30)


@settings(max_examples=60, deadline=None)
@given(PIXELS, st.booleans())
def test_masks_of_brushes(painted: set[tuple[int, int]], filled: bool) -> None:
    width, height = 12, 9
    if filled:  # whole rows, so that runs go over the edges of rows
        painted = {(x, y) for _, y in painted for x in range(width)}
    box = rle_box(Packer().pack(mask_values(width, height, painted)), (width, height))
    xs, ys = [x for x, _ in painted], [y for _, y in painted]
    assert box == ((min(xs), min(ys), max(xs) + 1, max(ys) + 1) if painted else None)


def test_a_mask_by_hand() -> None:
    # 1x1 pixel, painted white: 4 values, each of 7 + 1 bits, lengths of 1, 2, 2 and 2 bits; one run
    # that repeats (1), its length in 1 + 1 bits (01): 3 + 1 values (11) of 255.
    bits = (
        f"{4:032b}{7:05b}"
        + "0000"
        + "0001"
        + "0001"
        + "0001"
        + "1"
        + "01"
        + "11"
        + "1" * 8
    )
    bits += "0" * (-len(bits) % 8)
    packed = [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]
    assert rle_box(packed, (1, 1)) == (0, 0, 1, 1)


def brush(
    value: dict[str, Any], size_wh: tuple[int, int] = (12, 9), **more: Any
) -> Any:
    piece = {"id": "b", "type": "brushlabels", "from_name": "x", "value": value, **more}
    piece |= {"original_width": size_wh[0], "original_height": size_wh[1]}
    words = {
        "id": "b",
        "type": "textarea",
        "from_name": "phrase",
        "value": {"text": ["a hat"]},
    }
    annotations = [
        {"result": [piece, words, {"type": "relation", "from_id": "b", "to_id": "c"}]}
    ]
    return read_tasks(
        [{"id": 4, "data": {"photo": "a.jpg"}, "annotations": annotations}]
    )


def test_a_brush_becomes_the_box_around_it() -> None:
    packed = Packer().pack(mask_values(12, 9, {(3, 2), (7, 5)}))
    found = brush({"format": "rle", "rle": packed, "brushlabels": ["Region"]})
    assert found.rows[0]["boxes"] == [{"box": [3, 2, 8, 6], "phrase": "a hat"}]
    assert found.left_out == (
        "task 4: relation (1): says nothing of a box, and is left out",
    )


def bitmask(size_wh: tuple[int, int]) -> str:
    mask = Image.new("RGBA", size_wh)
    mask.putpixel((3, 2), (255, 0, 0, 255))
    mask.putpixel((size_wh[0] - 5, 5), (255, 0, 0, 255))
    stream = io.BytesIO()
    mask.save(stream, format="PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def test_a_bitmask_becomes_the_box_around_it() -> None:
    found = brush({"imageDataURL": bitmask((12, 9)), "bitmasklabels": ["Region"]})
    assert found.rows[0]["boxes"] == [{"box": [3, 2, 8, 6], "phrase": "a hat"}]


@pytest.mark.parametrize(
    ("value", "more", "message"),
    [
        pytest.param({"rle": [1, 2]}, {}, "the mask is cut short", id="cut short"),
        pytest.param(
            {"rle": 10**15}, {}, "the mask as a list of bytes, got int", id="a number"
        ),
        pytest.param({"rle": ["x"]}, {}, "brushlabels b is left out", id="letters"),
        pytest.param(
            {"rle": [255] * 40}, {}, "expected a mask of 12x9 pixels", id="another size"
        ),
        pytest.param({"rle": [0, 0, 1, 176]}, {}, "cut short", id="only its head"),
        pytest.param(
            {"imageDataURL": "data:image/png;base64,AAAA"}, {}, "no PNG", id="no PNG"
        ),
        pytest.param(
            {"imageDataURL": bitmask((5, 9))},
            {},
            "expected a mask of (12, 9)",
            id="other PNG",
        ),
        pytest.param(
            {"x": 1, "y": 1, "width": 9, "height": 9},
            {"image_rotation": 90},
            "turned by 90 degrees",
            id="turned in the tool",
        ),
        pytest.param(
            {"x": 1, "y": 1, "width": 9, "height": 9},
            {"item_index": 1},
            "further photo",
            id="two",
        ),
        pytest.param(
            {"x": 1, "y": 1, "width": 9, "height": float("nan")},
            {},
            "numbers",
            id="nan",
        ),
    ],
)
def test_what_cannot_be_read_is_listed(value: Any, more: Any, message: str) -> None:
    found = brush(value, **more)
    assert found.rows == () and message in found.left_out[0]
    assert "task 4: the words of b, left out with it, were 'a hat'" in found.left_out


def test_json_min_is_named() -> None:
    with pytest.raises(ValueError, match="JSON-MIN"):
        read_tasks([{"image": "/data/upload/1/a.jpg", "id": 1, "region": []}])
