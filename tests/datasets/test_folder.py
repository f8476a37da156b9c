import csv
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from regiontalk.datasets.folder import read_folder
from regiontalk.records import Phrase

CUP = {"box": [1, 2, 9, 9], "phrase": "a cup"}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    Image.new("RGB", (20, 10)).save(tmp_path / "a.png")
    turned = Image.new("RGB", (20, 10))
    exif = turned.getexif()
    exif[0x0112] = 6  # seen upright it is 10 wide and 20 high
    turned.save(tmp_path / "turned.jpg", exif=exif)
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_bytes(b"not a picture")
    return tmp_path


def jsonl(folder: Path, *rows: Any, name: str = "data.jsonl") -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / name


def test_the_two_kinds_say_the_same(photos: Path) -> None:
    path = jsonl(
        photos,
        {
            "photo": "a.png",
            "captions": ["two  cups, one red", "cups"],
            "boxes": [CUP, {"box": [3, 3, 20, 10]}],
        },
        {"photo": "turned.jpg", "caption": "one cup"},
        "",
        {"photo": "a.png", "boxes": [{"box": [10, 2, 19, 9], "phrase": "a cup"}]},
    )
    examples, report = read_folder(path)
    assert [item.id for item in examples] == ["a.png", "turned.jpg"]
    first = examples[0]
    assert first.captions == ("two cups, one red", "cups")
    assert first.boxes_xyxy.tolist() == [[1, 2, 9, 9], [3, 3, 20, 10], [10, 2, 19, 9]]
    assert first.phrases == (Phrase("a cup", (0, 2)),), (
        "one phrase for both cups; the box without words has none"
    )
    assert first.size_wh == (20, 10), "read from the photo"
    assert examples[1].size_wh is None
    assert (
        report.photos,
        report.captions,
        report.boxes,
        report.phrases,
        report.troubles,
    ) == (
        2,
        3,
        3,
        1,
        {},
    )
    rows = [
        ["photo", "caption", "box", "phrase"],
        ["a.png", "two cups, one red", "1,2,9,9", "a cup"],
        ["a.png", "cups", "3 3 20 10", ""],
        ["turned.jpg", "one cup", "", ""],
        ["a.png", "", "10,2,19,9", "a cup"],
    ]
    with (photos / "data.csv").open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows(rows)
    again, _ = read_folder(photos / "data.csv")
    assert [
        vars(item) | {"boxes_xyxy": item.boxes_xyxy.tolist()} for item in again
    ] == [vars(item) | {"boxes_xyxy": item.boxes_xyxy.tolist()} for item in examples]


@pytest.mark.parametrize(
    ("row", "trouble"),
    [
        pytest.param("{", "data.jsonl:2 (Expecting property", id="not JSON"),
        pytest.param(
            "[1]", "data.jsonl:2 (expected an object, got list)", id="not an object"
        ),
        pytest.param({"captions": ["x"]}, "photo: expected the path", id="no photo"),
        pytest.param(
            {"photo": 5, "captions": ["x"]},
            "photo: expected the path",
            id="photo is a number",
        ),
        pytest.param(
            {"photo": "a.png"}, "expected a sentence or a box", id="nothing said"
        ),
        pytest.param(
            {"photo": "a.png", "captions": [" "]},
            "expected a sentence or a box",
            id="an empty sentence",
        ),
        pytest.param(
            {"photo": "a.png", "captions": [3]},
            "captions: expected a list",
            id="captions are numbers",
        ),
        pytest.param(
            {"photo": "a.png", "boxes": [[1, 2, 3, 4]]},
            "boxes: expected a list such as",
            id="bare boxes",
        ),
        pytest.param(
            {"photo": "a.png", "boxes": [{"box": [1, 2, 3]}]},
            "box: expected x1,y1,x2,y2",
            id="three numbers",
        ),
        pytest.param(
            {"photo": "a.png", "boxes": [{"phrase": "x"}]},
            "box: expected x1,y1,x2,y2",
            id="a phrase, no box",
        ),
        pytest.param(
            {"photo": "a.png", "boxes": [{"box": [5, 2, 3, 4]}]},
            "empty or inverted",
            id="inverted",
        ),
        pytest.param(
            {"photo": "a.png", "boxes": [CUP], "width": 5, "height": 5},
            "outside the photo",
            id="outside",
        ),
        pytest.param(
            {"photo": "a.png", "captions": ["x"], "width": 5},
            "width, height: expected two",
            id="half a size",
        ),
        pytest.param(
            {"photo": "a.png", "captions": ["x"], "width": 0, "height": 5},
            "width, height",
            id="size 0",
        ),
    ],
)
def test_bad_rows_are_counted_with_their_line(
    photos: Path, row: Any, trouble: str
) -> None:
    good = {"photo": "turned.jpg", "captions": ["x"]}
    examples, report = read_folder(jsonl(photos, good, row, good))
    assert [item.captions for item in examples] == [("x", "x")]
    (kind, found), *rest = report.troubles.items()
    assert (kind, found.count, rest) == ("bad row", 1, [])
    assert "data.jsonl:2 (" in found.names[0]
    assert trouble in found.names[0]


@pytest.mark.parametrize(
    ("row", "kind", "kept"),
    [
        pytest.param(
            {"photo": "none.png", "captions": ["x"]}, "photo missing", 0, id="missing"
        ),
        pytest.param(
            {"photo": "empty.png", "captions": ["x"]},
            "photo broken (0 bytes)",
            0,
            id="0 bytes",
        ),
        pytest.param(
            {"photo": "text.png", "boxes": [CUP]},
            "photo broken",
            0,
            id="not a picture, size needed",
        ),
        pytest.param(
            {"photo": "a.png", "boxes": [CUP, {"box": [1, 1, 21, 5]}]},
            "photo with boxes outside it, left out",
            1,
            id="a box outside",
        ),
        pytest.param(
            {"photo": "turned.jpg", "boxes": [{"box": [0, 0, 10, 20]}]},
            None,
            1,
            id="EXIF turn: 10 x 20",
        ),
        pytest.param(
            {
                "photo": "a.png",
                "boxes": [{"box": [0, 0, 40, 20]}],
                "width": 40,
                "height": 20,
            },
            None,
            1,
            id="boxes of another size",
        ),
        pytest.param(
            {"photo": "text.png", "captions": ["x"]}, None, 1, id="no box: not opened"
        ),
    ],
)
def test_photos(photos: Path, row: Any, kind: str | None, kept: int) -> None:
    examples, report = read_folder(jsonl(photos, row))
    assert [*report.troubles] == ([kind] if kind else [])
    assert sum(len(item.boxes_xyxy) or 1 for item in examples) == kept


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        pytest.param(
            "photo,caption\na.png,x,y\na.png,x\n",
            "data.csv:2 (expected 2 fields",
            id="a comma out of quotes",
        ),
        pytest.param(
            "photo,caption,box\na.png,x\na.png,x,\n",
            "data.csv:2 (expected 3 fields",
            id="a field lacking",
        ),
        pytest.param(
            "photo, caption\n,x\na.png,x\n",
            "data.csv:2 (photo: expected",
            id="no photo; blank in the heading",
        ),
    ],
)
def test_bad_lines_of_a_table(photos: Path, text: str, trouble: str) -> None:
    (photos / "data.csv").write_text(text)
    examples, report = read_folder(photos / "data.csv")
    assert [item.captions for item in examples] == [("x",)]
    assert trouble in report.troubles["bad row"].names[0]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        pytest.param(
            "data.jsonl",
            '{"photo": "a.png", "colour": "x"}',
            "data.jsonl:1: unknown colour; expected photo,",
            id="unknown key",
        ),
        pytest.param(
            "data.jsonl",
            '{"photo": "a.png", "boxes": [{"label": "x"}]}',
            "unknown label; expected box, phrase",
            id="unknown key of a box",
        ),
        pytest.param(
            "data.csv",
            "photo,colour\n",
            "data.csv: unknown colour; expected photo, caption",
            id="unknown column",
        ),
        pytest.param(
            "data.csv",
            "caption\n",
            "expected a heading with photo in it, got caption",
            id="no photo column",
        ),
        pytest.param(
            "data.csv",
            "",
            "in it, got none; write photo,caption above the rows",
            id="empty table",
        ),
        pytest.param(
            "data.txt",
            "",
            "expected a .jsonl or .csv file, got .txt",
            id="another kind",
        ),
        pytest.param(None, "", "got nothing there", id="no file"),
    ],
)
def test_read_folder_refuses(
    photos: Path, name: str | None, text: str, message: str
) -> None:
    path = photos / (name or "none.jsonl")
    if name:
        path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_folder(path)


def test_a_folder_with_a_file_a_split(photos: Path) -> None:
    with pytest.raises(
        ValueError,
        match=r"expected one \.jsonl or \.csv file, got none.* photo,caption",
    ):
        read_folder(photos)
    jsonl(photos, {"photo": "a.png", "captions": ["x"]}, name="train.jsonl")
    assert len(read_folder(photos)[0]) == 1
    jsonl(photos, name="dev.jsonl")
    assert [len(read_folder(photos, split)[0]) for split in ("train", "dev")] == [1, 0]
    with pytest.raises(
        ValueError, match=r"got dev\.jsonl, train\.jsonl; name the file or a split"
    ):
        read_folder(photos)
    with pytest.raises(ValueError, match=r"expected one test\.jsonl.*or a split$"):
        read_folder(photos, "test")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param("photo,caption\na.png,a café\n".encode("cp1252"), id="cp1252"),
        pytest.param(
            "photo;caption\r\na.png;a café\r\n".encode("utf-8-sig"), id="Excel"
        ),
        pytest.param(
            "photo\tcaption\na.png\ta café\n".encode("utf-16"), id="UTF-16, tabs"
        ),
        pytest.param("sep=;\nPhoto;Caption;\na.png;a café;\n".encode(), id="sep="),
        pytest.param(
            "image,text\na.png,a cafe\u0301\n".encode(), id="other names, NFD"
        ),
        pytest.param("photo,caption\ra.png,a café\r".encode(), id="old line ends"),
    ],
)
def test_tables_of_other_programs(photos: Path, data: bytes) -> None:
    (photos / "data.csv").write_bytes(data)
    examples, report = read_folder(photos / "data.csv")
    assert [item.captions for item in examples] == [("a café",)] and not report.troubles


def test_lines_of_any_encoding_and_marks_inside_sentences(photos: Path) -> None:
    row = json.dumps({"photo": "a.png", "caption": "a\u2028b é"}, ensure_ascii=False)
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le"):
        (photos / "data.jsonl").write_bytes(f"{row}\r\n".encode(encoding))
        assert read_folder(photos / "data.jsonl")[0][0].captions == ("a b é",), encoding


@pytest.mark.parametrize(
    "end", ['"\n', "\n"], ids=["closed by another quote", "never closed"]
)
def test_an_open_quote_is_named(photos: Path, end: str) -> None:
    rows = [f"a.png,number {number}" for number in range(5000)]
    text = 'photo,caption\na.png,x\na.png,"it says open\n' + "\n".join(rows) + end
    (photos / "data.csv").write_text(text)
    with pytest.raises(
        ValueError, match=r"data\.csv:3: a quote opens here .*5000 rows"
    ):
        read_folder(photos / "data.csv")
    (photos / "data.csv").write_text('photo,caption\na.png,"two\nlines"\n')
    assert read_folder(photos / "data.csv")[0][0].captions == ("two lines",)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[0.1, 0.1, 0.5, 0.6]] * 4, "shares of the photo, 0 to 1; multiply"),
        ([[0.3, 0.3, 0.4, 0.5], [0.7, 0.6, 0.4, 0.5]] * 2, "YOLO's centre x"),
        ([[1, 1, 5, 5], [12, 5, 6, 4]] * 2, "x, y, width, height, as COCO has them"),
    ],
    ids=["shares", "YOLO", "corner and size"],
)
def test_boxes_of_other_conventions(photos: Path, boxes: Any, message: str) -> None:
    row = {"photo": "a.png", "caption": "x", "boxes": [{"box": box} for box in boxes]}
    with pytest.raises(ValueError, match=message):
        read_folder(jsonl(photos, row))


def test_percent_is_told(tmp_path: Path) -> None:
    Image.new("RGB", (400, 300)).save(tmp_path / "large.png")
    boxes = [{"box": [10, 10, 50, 90]}] * 4
    _, report = read_folder(jsonl(tmp_path, {"photo": "large.png", "boxes": boxes}))
    assert "file whose boxes may be percent of the photo, not pixels" in report.troubles


def test_a_bad_box_costs_the_box(photos: Path) -> None:
    bad = [[5, 2, 3, 4], [1, 2, 3], [0, 0, float("nan"), 4], [-0.001, 1, 20.2, 9]]
    row = {
        "photo": "a.png",
        "caption": "x",
        "boxes": [CUP, *({"box": box} for box in bad)],
    }
    examples, report = read_folder(jsonl(photos, row))
    assert examples[0].captions == ("x",)
    assert examples[0].boxes_xyxy.tolist() == [[1, 2, 9, 9], [0, 1, 20, 9]]
    assert report.troubles["bad box, left out"].count == 3


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("img\\x.png", "img/x.png"),
        (".\\img\\x.png", "img/x.png"),
        ("img/Ka\u0308fer.png", "img/K\u00e4fer.png"),
        ("img/K\u00e4fer.png", "img/Ka\u0308fer.png"),
        ("IMG/X.PNG", "img/x.png"),
        ("x.png", "Images/x.png"),
        ("img/my%20x.png", "img/my x.png"),
        (" img/x.png ", "img/x.png"),
    ],
    ids=[
        "backslash",
        "dot",
        "NFD to NFC",
        "NFC to NFD",
        "letter case",
        "a usual folder",
        "%20",
        "blanks",
    ],
)
def test_photo_paths_of_other_systems(
    tmp_path: Path, written: str, stored: str
) -> None:
    (tmp_path / stored).parent.mkdir()
    Image.new("RGB", (20, 10)).save(tmp_path / stored)
    examples, report = read_folder(jsonl(tmp_path, {"photo": written, "caption": "x"}))
    assert [item.photo for item in examples] == [
        tmp_path / stored
    ] and not report.troubles


def test_photos_by_the_address_of_their_file(tmp_path: Path) -> None:
    Image.new("RGB", (20, 10)).save(tmp_path / "my x.png")
    address = (tmp_path / "my x.png").as_uri()
    assert "%20" in address
    examples, report = read_folder(jsonl(tmp_path, {"photo": address, "caption": "x"}))
    assert [item.photo for item in examples] == [
        tmp_path / "my x.png"
    ] and not report.troubles


def test_photos_that_are_no_paths_are_explained(photos: Path) -> None:
    rows = [
        {"photo": name, "caption": "x"}
        for name in ("data:image/png;base64,AAAA", "http://x/a.png", "img/a.png")
    ]
    names = read_folder(jsonl(photos, *rows))[1].troubles["photo missing"].names
    assert "a photo inside the line" in names[0] and "an address" in names[1]
    assert "but a.png is in" in names[2]


def test_suspicious_captions(photos: Path) -> None:
    captions = [
        "nan",
        "🐱",
        "['a dog']",
        "一只猫看着镜头微笑",
        "a \ufffd",
        "a <unk>",
        "dog " * 101,
        "a cup &amp; a jug",
        "a cup<br>of tea",
        "a caf\u00c3\u00a9",
        "it\u00e2\u20ac\u2122s a dog",
    ]
    _, report = read_folder(jsonl(photos, {"photo": "a.png", "captions": captions}))
    kinds = " ".join(report.troubles)
    for word in (
        "none, left out",
        "can be learnt",
        "list",
        "blanks",
        "U+FFFD",
        "<unk>",
        "100 words",
        "HTML",
        "wrong encoding",
    ):
        assert word in kinds, word
    assert report.captions == 10
    counts = [report.troubles[kind].count for kind in report.troubles if "; " in kind]
    assert counts == [1, 2, 2], "HTML twice, wrong encoding twice, no blanks once"


def test_captions_that_only_look_odd(photos: Path) -> None:
    captions = [
        "a cup < 5 cm & a jug",
        "Ãstanbul",
        "caf\u00e9 \u00e0 la carte",
        "a <3 b",
    ]
    _, report = read_folder(jsonl(photos, {"photo": "a.png", "captions": captions}))
    assert not report.troubles


def test_flickr30k_as_kaggle_has_it(photos: Path) -> None:
    rows = "image_name| comment_number| comment\na.png| 0| two cups, one red\na.png| 1| cups\n"
    (photos / "results.csv").write_text(rows)
    (example,), report = read_folder(photos)
    assert example.captions == ("two cups, one red", "cups")
    assert list(report.troubles) == ["column comment_number, not read"]


def test_a_table_without_a_heading(photos: Path) -> None:
    (photos / "train.csv").write_text("a.png,two cups\n")
    with pytest.raises(ValueError, match=r"got the row a\.png, two cups; write photo"):
        read_folder(photos)


def test_lines_that_end_with_commas(photos: Path) -> None:
    lines = '{"photo": "a.png", "caption": "a cup,"},\n{"photo": "a.png", "caption": "b"}, \n'
    (photos / "train.jsonl").write_text(lines)
    (example,), report = read_folder(photos)
    assert example.captions == ("a cup,", "b") and not report.troubles


def test_one_list_in_place_of_lines(photos: Path) -> None:
    rows = [{"photo": "a.png", "caption": "two cups"}, 5]
    path = photos / "train.jsonl"
    path.write_text(json.dumps(rows, indent=2))
    examples, report = read_folder(photos)
    assert [example.captions for example in examples] == [("two cups",)]
    (bad_row,) = report.troubles["bad row"].names
    assert bad_row.startswith("train.jsonl: entry 1 (expected an object")
    path.write_text(json.dumps(rows, indent=2)[:-3])
    with pytest.raises(ValueError, match="one list of them, got a list that cannot"):
        read_folder(photos)


@pytest.mark.parametrize(
    ("name", "text", "advice"),
    [
        pytest.param("a/x.xml", "<annotation><bndbox>", "Pascal VOC", id="VOC"),
        pytest.param(
            "x.json", '{"shapes": [], "imagePath": ""}', "labelme", id="labelme"
        ),
        pytest.param(
            "x.json", '[{"conversations": []}]', "answers", id="conversations"
        ),
        pytest.param("x.json", '{"images": [{}]}', "regiontalk import", id="COCO"),
        pytest.param(
            "x.json", '[{"annotations": []}]', "regiontalk import", id="tasks"
        ),
        pytest.param("x.xml", "<annotations>", "regiontalk import", id="CVAT"),
        pytest.param("x.parquet", "PAR1", "Parquet", id="Parquet"),
        pytest.param("x.xlsx", "PK", "save its sheet as CSV", id="Excel"),
        pytest.param("x.zip", "PK", "unpack it", id="archive"),
        pytest.param("x.json", "{}", "write captions.csv", id="of no known kind"),
    ],
)
def test_layouts_that_are_not_read_are_explained(
    name: str, text: str, advice: str, photos: Path
) -> None:
    (photos / name).parent.mkdir(exist_ok=True)
    (photos / name).write_text(text)
    with pytest.raises(ValueError, match=advice):
        read_folder(photos)


def test_image_folders_of_others(photos: Path) -> None:
    objects = {"bbox": [[1, 2, 8, 7]], "categories": ["cup"]}
    lines = [{"file_name": "a.png", "text": "x", "label": 3, "objects": objects}]
    jsonl(photos, *lines, name="metadata.jsonl")
    examples, report = read_folder(photos, "train")
    assert examples[0].boxes_xyxy.tolist() == [[1, 2, 9, 9]]
    assert (
        examples[0].phrases == (Phrase("cup", (0,)),)
        and "column label, not read" in report.troubles
    )
    (photos / "metadata.jsonl").unlink()
    (photos / "captions.txt").write_text(
        "image,caption\na.png,a dog , running\na.png,x\n"
    )
    assert read_folder(photos, "train")[1].captions == 1
    (photos / "captions.txt").unlink()
    (photos / "labels").mkdir()
    (photos / "labels" / "a.txt").write_text("0 0.5 0.5 1 1")
    with pytest.raises(ValueError, match="label files of YOLO"):
        read_folder(photos, "train")
