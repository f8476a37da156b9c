"""``regiontalk import``: files of three programs, found photos, and what is told."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

TASK = {
    "id": 7,
    "data": {"photo": "album\\A.JPG"},
    "annotations": [
        {
            "result": [
                {
                    "type": "textarea",
                    "from_name": "caption",
                    "value": {"text": ["a wall"]},
                }
            ]
        }
    ],
}
COCO = {
    "images": [{"id": 1, "file_name": "album/a.jpg", "width": 64, "height": 48}],
    "annotations": [{"id": 1, "image_id": 1, "caption": "a wall"}],
}
CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><image name="album/a.jpg" width="64" height="48">
<tag label="photo"><attribute name="caption">a wall</attribute></tag></image></annotations>"""


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(json.dumps([TASK]), id="Label Studio, a Windows path"),
        pytest.param(json.dumps(COCO), id="COCO"),
        pytest.param(CVAT, id="CVAT"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_programs(real: Any, text: str, encoding: str) -> None:
    Path("export").write_text(text, encoding=encoding)
    result = real("import", "export", "--photos", ".", "--out", "mine/train.jsonl")
    assert result.exit_code == 0, result.output
    row = json.loads(Path("mine/train.jsonl").read_text())
    assert row["photo"] == "../album/a.jpg" and row["captions"] == ["a wall"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("[]", "expected annotated photos, got none", id="empty list"),
        pytest.param("[" * 100_000, "export: ", id="deep"),
        pytest.param(
            '[{"a": 1}]', "got an entry with the keys a", id="another document"
        ),
        pytest.param("{", "export: ", id="cut short"),
        pytest.param("<a>", "expected CVAT's XML", id="cut XML"),
        pytest.param(
            "image,id\na.jpg,1\n", "a text that begins 'image,id a.jpg,1'", id="CSV"
        ),
    ],
)
def test_bad_files(real: Any, refused: Any, text: str, message: str) -> None:
    Path("export").write_text(text)
    refused(real("import", "export", "--photos", ".", "--out", "train.jsonl"), message)
    assert not Path("train.jsonl").exists()


def test_archives_are_named(real: Any, refused: Any) -> None:
    with zipfile.ZipFile("export.zip", "w") as archive:
        archive.writestr("images/a.jpg", b"x")
        archive.writestr("annotations.xml", CVAT)
    result = real("import", "export.zip", "--photos", ".", "--out", "train.jsonl")
    refused(result, "unpack it and give the file inside (it holds annotations.xml)")


def test_outlines_of_coco_without_boxes(real: Any) -> None:
    outline = {"id": 1, "image_id": 1, "category_id": 1}
    annotations = [
        {**outline, "segmentation": [[10, 10, 40, 10, 40, 30]], "bbox": []},
        {**outline, "segmentation": {"size": [48, 64], "counts": "abc"}},
    ]
    categories = [{"id": 1, "name": "cup"}]
    document = {**COCO, "annotations": annotations, "categories": categories}
    Path("export").write_text(json.dumps(document))
    result = real("import", "export", "--photos", ".", "--out", "train.jsonl")
    row = json.loads(Path("train.jsonl").read_text())
    assert row["boxes"] == [{"box": [10.0, 10.0, 40.0, 30.0], "phrase": "cup"}]
    assert "expected a bbox of x, y, width, height, got None" in result.stderr


def test_photos_that_are_not_there_are_told(real: Any) -> None:
    task = {**TASK, "data": {"photo": "gone.jpg"}}
    Path("export.json").write_text(json.dumps([TASK, task]))
    result = real("import", "export.json", "--photos", ".", "--out", "train.jsonl")
    assert result.exit_code == 1 and "not below .: gone.jpg" in result.stderr
    assert len(Path("train.jsonl").read_text().splitlines()) == 2
