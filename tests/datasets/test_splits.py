"""Splits of every layout by one name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from regiontalk.datasets.splits import default_split, read_split


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Two photos of train with objects, one of val without."""
    (tmp_path / "annotations").mkdir()
    number = 0
    for part, names in (("train2017", ("a.jpg", "b.jpg")), ("val2017", ("c.jpg",))):
        (tmp_path / part).mkdir()
        images, captions = [], []
        for name in names:
            number += 1
            (tmp_path / part / name).write_bytes(b"picture")
            images.append({"id": number, "file_name": name, "width": 20, "height": 10})
            captions.append({"image_id": number, "caption": f"this is {name}"})
        document = {"images": images, "annotations": captions}
        (tmp_path / "annotations" / f"captions_{part}.json").write_text(
            json.dumps(document)
        )
    things = {
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4]}
        ],
        "categories": [{"id": 3, "name": "cup"}],
    }
    (tmp_path / "annotations" / "instances_train2017.json").write_text(
        json.dumps(things)
    )
    return tmp_path


@pytest.mark.parametrize(
    ("split", "names"),
    [
        pytest.param("train", ["a.jpg", "b.jpg"], id="train"),
        pytest.param("dev", ["c.jpg"], id="dev is COCO's val"),
        pytest.param("all", ["a.jpg", "b.jpg", "c.jpg"], id="all"),
    ],
)
def test_coco(coco: Path, split: str, names: list[str]) -> None:
    examples, reports = read_split(coco, split)
    assert [example.id for example in examples] == names
    assert sum(report.photos for report in reports) == len(names)
    assert [phrase.text for example in examples for phrase in example.phrases] == (
        ["cup"] if "a.jpg" in names else []
    )
    assert default_split(coco) == "all"


@pytest.mark.parametrize("split", ["test", "val", ""])
def test_a_split_that_is_not_there(coco: Path, split: str) -> None:
    with pytest.raises(ValueError, match="expected one of train, dev, test or all"):
        read_split(coco, split)


def test_flickr_has_a_dev_split(toy_folder: Path) -> None:
    assert default_split(toy_folder) == "dev"
    with pytest.raises(ValueError, match="all is for COCO's layout"):
        read_split(toy_folder, "all")


@pytest.mark.parametrize("folder", ["tiny", "images", "Images"])
def test_karpathys_file(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir()
    rows = []
    for name, split in (("a.jpg", "train"), ("b.jpg", "val"), ("c.jpg", "test")):
        (tmp_path / folder / name).write_bytes(b"photo")
        rows.append(
            {
                "filename": name,
                "split": split,
                "sentences": [{"raw": f"this is {name}"}],
            }
        )
    path = tmp_path / "dataset_tiny.json"
    path.write_text(json.dumps({"images": rows}))
    examples, reports = read_split(path, "dev")
    assert [(example.id, example.captions) for example in examples] == [
        ("b.jpg", ("this is b.jpg",))
    ]
    assert [report.photos for report in reports] == [1] and default_split(path) == "dev"
    with pytest.raises(ValueError, match="expected one of train"):
        read_split(path, "all")


def test_karpathys_file_without_photos(tmp_path: Path) -> None:
    path = tmp_path / "dataset_tiny.json"
    path.write_text('{"images": []}')
    with pytest.raises(ValueError, match="tiny: expected a folder"):
        read_split(path, "train")
