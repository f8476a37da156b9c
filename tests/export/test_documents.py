"""COCO, Visual Genome, Web Annotation and CSV.

Worked by hand, read back, and by the formats' own tools where here.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from regiontalk.export import annotation, coco, genome, table
from regiontalk.export.names import check_name, iri
from regiontalk.files import relative
from regiontalk.records import ImageResult, RegionCaption

BALL = 'a "red" ball, wet'
RESULTS = (
    ImageResult(
        "album/one dog.jpg",
        (200, 100),
        "mini",
        RegionCaption((0, 0, 200, 100), "a dog runs", 0.8),
        (
            RegionCaption((20.04, 10, 60.25, 50), BALL, 0.71234, 0.5),
            RegionCaption((0, 0, 9, 9), None, 0.1),
            RegionCaption((0.2, 0, 0.4, 10), "a thread", 0.3),
        ),
    ),
    ImageResult("b.png", (10, 10), "mini"),
)
OUT = Path("out/boxes.json")


def test_coco() -> None:
    document = json.loads(coco.files(RESULTS, OUT)[OUT])
    assert document["images"] == [
        {"id": 1, "file_name": "../album/one dog.jpg", "width": 200, "height": 100},
        {"id": 2, "file_name": "../b.png", "width": 10, "height": 10},
    ]
    whole, ball, thread = document["annotations"]
    assert (whole["category_id"], whole["caption"], whole["bbox"]) == (
        2,
        "a dog runs",
        [0, 0, 200, 100],
    )
    # 20.04 -> 20.0, 60.25 -> 60.2 (to even): 40.2 wide
    assert (
        ball["bbox"] == [20.0, 10.0, 40.2, 40.0]
        and ball["area"] == 1608.0
        and ball["score"] == 0.7123
    )
    assert (
        ball["segmentation"] == [[20.0, 10.0, 60.2, 10.0, 60.2, 50.0, 20.0, 50.0]]
        and ball["iscrowd"] == 0
    )
    assert [row["id"] for row in document["annotations"]] == [1, 2, 3] and thread[
        "image_id"
    ] == 1
    assert {row["category_id"] for row in document["annotations"]} <= {
        row["id"] for row in document["categories"]
    }


def test_pycocotools_reads_it(tmp_path: Path) -> None:
    tool: Any = pytest.importorskip(
        "pycocotools.coco", reason="pycocotools is not installed"
    )
    path = tmp_path / "a.json"
    path.write_text(coco.files(RESULTS, path)[path])
    found = tool.COCO(str(path))
    assert len(found.getAnnIds(imgIds=[1], catIds=[coco.REGION])) == 2
    assert found.annToMask(found.anns[2]).sum() == pytest.approx(1608, rel=0.05)


def test_genome() -> None:
    texts = genome.files(RESULTS, Path("out"))
    assert sorted(path.as_posix() for path in texts) == [
        "out/image_data.json",
        "out/region_descriptions.json",
    ]
    regions = json.loads(texts[Path("out/region_descriptions.json")])
    assert regions == [
        {
            "id": 1,
            "regions": [
                {
                    "region_id": 1, "image_id": 1, "phrase": BALL,
                    "x": 20, "y": 10, "width": 40, "height": 40,
                },
                {
                    "region_id": 2, "image_id": 1, "phrase": "a thread",
                    "x": 0, "y": 0, "width": 1, "height": 10,
                },
            ],
        },
        {"id": 2, "regions": []},
    ]  # fmt: skip
    photos = json.loads(texts[Path("out/image_data.json")])
    assert [(photo["image_id"], photo["url"], photo["width"]) for photo in photos] == [
        (1, "../album/one dog.jpg", 200),
        (2, "../b.png", 10),
    ]


def test_web_annotation() -> None:
    page = json.loads(annotation.files(RESULTS, OUT)[OUT])
    assert (
        page["@context"] == "http://www.w3.org/ns/anno.jsonld"
        and page["type"] == "AnnotationPage"
    )
    whole, ball, thread = page["items"]
    assert (
        whole["target"] == "../album/one%20dog.jpg"
        and whole["body"]["value"] == "a dog runs"
    )
    assert ball["target"]["source"] == "../album/one%20dog.jpg"
    assert ball["target"]["selector"]["value"] == "xywh=pixel:20,10,40,40"
    assert thread["target"]["selector"]["value"] == "xywh=pixel:0,0,1,10"
    assert len({item["id"] for item in page["items"]}) == 3
    assert {item["motivation"] for item in page["items"]} == {"describing"}


def test_csv() -> None:
    rows = list(csv.DictReader(io.StringIO(table.files(RESULTS, OUT)[OUT])))
    assert tuple(rows[0]) == table.COLUMNS and [row["kind"] for row in rows] == [
        "photo",
        *["region"] * 3,
    ]
    assert rows[1]["text"] == BALL and rows[2]["text"] == ""
    assert [rows[1][key] for key in ("x1", "y1", "x2", "y2", "confidence")] == [
        "20.0",
        "10.0",
        "60.2",
        "50.0",
        "0.7123",
    ]


@pytest.mark.parametrize("module", [coco, genome, annotation, table])
def test_no_photos(module: Any) -> None:
    assert all(text.strip() for text in module.files([], OUT).values())


def test_names() -> None:
    assert (
        relative("a/b.jpg", Path("a")) == "b.jpg"
        and iri("ä#.jpg", Path()) == "%C3%A4%23.jpg"
    )


def test_names_that_no_document_can_hold() -> None:
    check_name("out/a\udcff/ä.jpg", Path("out/a\udcff"))  # only what is named
    with pytest.raises(ValueError, match=r"'a\\udcff\.jpg': expected a name in UTF-8"):
        check_name("a\udcff.jpg", Path())
