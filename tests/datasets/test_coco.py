import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regiontalk.datasets.coco import read_coco
from regiontalk.records import Phrase

PHOTOS = [
    {"id": 5, "file_name": "5.jpg", "width": 50, "height": 40},
    {"id": 6, "file_name": "6.jpg", "width": 30, "height": 30},
]
CATEGORIES = [
    {"id": 1, "name": "dog", "supercategory": "animal"},
    {"id": 2, "name": "dining table"},
]


def write(
    folder: Path,
    photos: list[Any] = PHOTOS,
    captions: list[Any] | None = None,
    objects: list[Any] | None = None,
) -> tuple[Path, Path, Path]:
    (folder / "images").mkdir(exist_ok=True)
    for name, content in {"5.jpg": b"five", "6.jpg": b"six", "7.jpg": b""}.items():
        (folder / "images" / name).write_bytes(content)
    texts = [{"image_id": 5, "caption": "A  dog.\n"}, {"image_id": 6, "caption": "Six"}]
    (folder / "captions.json").write_text(
        json.dumps({"images": photos, "annotations": captions or texts})
    )
    (folder / "instances.json").write_text(
        json.dumps({"annotations": objects or [], "categories": CATEGORIES})
    )
    return folder / "images", folder / "captions.json", folder / "instances.json"


def thing(photo: int, category: int, *bbox: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": 9,
        "image_id": photo,
        "category_id": category,
        "bbox": list(bbox),
        "iscrowd": 0,
        **more,
    }


def test_read_coco_by_hand(tmp_path: Path) -> None:
    objects = [
        thing(5, 1, 1, 2, 10, 20),  # x1 1, y1 2, x2 1 + 10, y2 2 + 20
        thing(5, 2, 0, 0, 50, 40),
        thing(5, 1, 45, 30, 10, 10.5),  # 45 + 10 = 55 is cut to 50, 30 + 10.5 to 40
    ]
    (first, second), report = read_coco(*write(tmp_path, objects=objects))
    assert first.captions == ("A dog.",)
    assert first.boxes_xyxy.tolist() == [
        [1, 2, 11, 22],
        [0, 0, 50, 40],
        [45, 30, 50, 40],
    ]
    assert first.phrases == (
        Phrase("dog", (0, 2), types=("animal",)),
        Phrase("dining table", (1,)),
    )
    assert (first.size_wh, second.size_wh) == ((50, 40), (30, 30))
    assert (
        report.photos,
        report.captions,
        report.boxes,
        report.phrases,
        report.troubles,
    ) == (
        2,
        2,
        3,
        2,
        {},
    )
    assert (
        len(read_coco(*write(tmp_path, objects=objects)[:2])[0][0].boxes_xyxy) == 0
    ), "captions alone"


BAD_BOX = "bad box or unknown category, left out"


@pytest.mark.parametrize(
    ("item", "trouble"),
    [
        pytest.param(
            thing(5, 1, 0, 0, 9, 9, iscrowd=1),
            "box around a crowd, left out",
            id="crowd",
        ),
        pytest.param(thing(5, 1, 0, 0, 0, 9), BAD_BOX, id="empty"),
        pytest.param(thing(5, 1, 60, 0, 9, 9), BAD_BOX, id="outside"),
        pytest.param(thing(5, 1, float("nan"), 0, 9, 9), BAD_BOX, id="not a number"),
        pytest.param(thing(5, 1, 0, 9, 9), BAD_BOX, id="three numbers"),
        pytest.param(thing(5, 1, "a", 0, 9, 9), BAD_BOX, id="a word"),
        pytest.param(thing(5, 3, 0, 0, 9, 9), BAD_BOX, id="unknown category"),
        pytest.param(
            thing(8, 1, 0, 0, 9, 9),
            "annotation of a photo that does not exist",
            id="unknown photo",
        ),
        pytest.param(
            {"image_id": 5},
            "bad annotation (expected bbox, category_id)",
            id="keys lacking",
        ),
        pytest.param(
            "x", "bad annotation (expected bbox, category_id)", id="not an object"
        ),
    ],
)
def test_bad_objects_are_counted(tmp_path: Path, item: Any, trouble: str) -> None:
    examples, report = read_coco(
        *write(tmp_path, objects=[item, thing(6, 1, 0, 0, 9, 9)])
    )
    assert [len(example.boxes_xyxy) for example in examples] == [0, 1]
    assert {kind: found.count for kind, found in report.troubles.items()} == {
        trouble: 1
    }


@pytest.mark.parametrize(
    ("photo", "trouble", "kept"),
    [
        pytest.param(
            {"id": 7, "file_name": "7.jpg", "width": 1, "height": 1},
            "photo broken (0 bytes)",
            2,
            id="0 bytes",
        ),
        pytest.param(
            {"id": 7, "file_name": "8.jpg", "width": 1, "height": 1},
            "photo missing",
            2,
            id="missing",
        ),
        pytest.param(
            {"id": 7, "file_name": "8.jpg", "width": "a", "height": 1},
            "photo without a size of whole pixels",
            2,
            id="size is a word",
        ),
        pytest.param(
            {"file_name": "8.jpg"},
            "bad entry (expected id, file_name, width, height)",
            2,
            id="no id",
        ),
        pytest.param(
            {"id": 7, "file_name": "6.jpg", "width": 1, "height": 1},
            "photo without a sentence, kept",
            3,
            id="no sentence",
        ),
    ],
)
def test_bad_photos_are_counted(
    tmp_path: Path, photo: Any, trouble: str, kept: int
) -> None:
    examples, report = read_coco(*write(tmp_path, photos=[*PHOTOS, photo])[:2])
    assert len(examples) == kept
    assert {kind: found.count for kind, found in report.troubles.items()} == {
        trouble: 1
    }


def test_read_coco_refuses(tmp_path: Path) -> None:
    images, captions, _ = write(tmp_path)
    with pytest.raises(
        ValueError, match="expected a JSON object with lists annotations, categories"
    ):
        read_coco(images, captions, captions)
    with pytest.raises(ValueError, match="expected a folder of photos"):
        read_coco(tmp_path / "none", captions)


def test_corners_in_place_of_a_size_are_refused(tmp_path: Path) -> None:
    """x1, y1, x2, y2 in a file whose boxes are x, y, width, height.

    Two of them would leave their photo.
    """
    corners = [(5, 5, 45, 35), (10, 8, 48, 38), (20, 20, 40, 30), (1, 1, 20, 20)]
    objects = [thing(5, 1, *box) for box in corners]
    with pytest.raises(ValueError, match="got 4 of which 2 would leave"):
        read_coco(*write(tmp_path, objects=objects))
    sizes = [thing(5, 1, x1, y1, x2 - x1, y2 - y1) for x1, y1, x2, y2 in corners]
    examples, _ = read_coco(*write(tmp_path, objects=sizes))
    assert examples[0].boxes_xyxy.tolist() == [list(box) for box in corners]


def test_real_photos_against_a_plain_reading(shared: Path) -> None:
    folder = shared / "data" / "coco"
    texts, things = (
        folder / "annotations" / "captions_train2017.json",
        folder / "annotations" / "instances_train2017.json",
    )
    examples, report = read_coco(folder / "train2017", texts, things)
    assert (report.photos, report.captions) == (80, 400)
    document = json.loads(things.read_text())
    names = {item["id"]: item["name"] for item in document["categories"]}
    numbers = {item["file_name"]: item["id"] for item in document["images"]}
    for example in examples:
        mine = [
            item
            for item in document["annotations"]
            if item["image_id"] == numbers[example.id] and not item["iscrowd"]
        ]
        slow = [
            [x, y, x + wide, y + high]
            for x, y, wide, high in (item["bbox"] for item in mine)
        ]
        np.testing.assert_allclose(
            example.boxes_xyxy, np.reshape(slow, (-1, 4)), atol=1e-3
        )
        for phrase in example.phrases:
            assert [names[mine[row]["category_id"]] for row in phrase.boxes] == [
                phrase.text
            ] * len(phrase.boxes)
        assert sum(len(phrase.boxes) for phrase in example.phrases) == len(mine)
    assert report.troubles["box around a crowd, left out"].count == 8
    examples, report = read_coco(
        folder / "val2017", folder / "annotations" / "captions_val2017.json"
    )
    assert (report.photos, report.captions, report.troubles) == (20, 100, {})


def test_files_of_other_programs(tmp_path: Path) -> None:
    """Text ids, sizes with a point, captions that are null, and names with folders in front."""
    (tmp_path / "train2017" / "day").mkdir(parents=True)
    Image.new("RGB", (20, 10)).save(tmp_path / "train2017" / "day" / "a.png")
    images = [{"id": "x", "file_name": "day\\a.png", "width": 20.0, "height": "10"}]
    texts = ["a cup", None, "nan"]
    annotations = [
        {"id": n, "image_id": "x", "caption": text} for n, text in enumerate(texts)
    ]
    path = tmp_path / "captions.json"
    path.write_bytes(
        json.dumps({"images": images, "annotations": annotations}).encode("utf-16")
    )
    examples, report = read_coco(tmp_path / "train2017", path)
    assert examples[0].captions == ("a cup",) and examples[0].size_wh == (20, 10)
    assert {kind: trouble.count for kind, trouble in report.troubles.items()} == {
        "caption without text, left out": 2
    }
