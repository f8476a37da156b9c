"""YOLO's folders in the layouts of the programs that write them."""

from pathlib import Path

import pytest
from PIL import Image

from regiontalk.datasets.splits import read_split
from regiontalk.datasets.yolo import named_box

CLASSES = ["valve", "pipe"]


def write(folder: Path, name: str, text: str = "") -> None:
    """A text, or a photo of 100x50 where there is none."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if text:
        path.write_text(text)
    else:
        Image.new("RGB", (100, 50)).save(path)


@pytest.mark.parametrize(
    ("line", "box"),
    [
        # the middle of 100x50 is 50, 25; a fifth of 100 is 20 wide and two fifths of 50 are 20 high
        pytest.param("1 0.5 0.5 0.2 0.4", (40, 15, 60, 35), id="box"),
        pytest.param("1 0.5 0.5 0.2 0.4 0.93", (40, 15, 60, 35), id="with a score"),
        pytest.param("1 0.1 0.2 0.5 0.2 0.3 0.6", (10, 10, 50, 30), id="outline"),
        pytest.param(
            "1 0.5 0.2 0.7 0.5 0.5 0.8 0.3 0.5", (30, 10, 70, 40), id="turned box"
        ),
        pytest.param("1 0.95 0.5 0.2 0.4", (85, 15, 100, 35), id="over the edge"),
    ],
)
def test_lines(line: str, box: tuple[float, ...]) -> None:
    named = named_box(line, CLASSES, (100, 50))
    assert named.name == "pipe"
    assert named.box == pytest.approx(box)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param("0 0.5 0.5", "expected 'class x y w h'", id="three numbers"),
        pytest.param("0 a b c d", "expected 'class x y w h'", id="letters"),
        pytest.param("2 0.5 0.5 0.1 0.1", "a class of 0..1, got 2", id="no such class"),
        pytest.param("-1 0.5 0.5 0.1 0.1", "a class of 0..1", id="a class below 0"),
        pytest.param("0 50 50 20 20", "pixels are COCO's form", id="pixels"),
        pytest.param("0 nan 0.5 0.1 0.1", "shares of the photo", id="not a number"),
        pytest.param("0 0.5 0.5 0 0.1", "a box with an area", id="empty"),
    ],
)
def test_bad_lines(line: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        named_box(line, CLASSES, (100, 50))


@pytest.mark.parametrize(
    ("photo", "labels", "names", "text"),
    [
        pytest.param(
            "images/train/a.jpg",
            "labels/train/a.txt",
            "data.yaml",
            "train: images/train\nnames:\n  0: valve\n  1: 'pipe'  # long\nnc: 2\n",
            id="Ultralytics",
        ),
        pytest.param(
            "train/images/a.jpg",
            "train/labels/a.txt",
            "data.yaml",
            "train: ../train/images\nnc: 2\nnames: ['valve', 'pipe']\n",
            id="Roboflow",
        ),
        pytest.param(
            "images/a.JPG",
            "labels/a.txt",
            "data.yml",
            "names:\n- valve\n- pipe\n",
            id="a list with dashes",
        ),
        pytest.param(
            "images/a.png",
            "labels/a.txt",
            "classes.txt",
            "valve\r\npipe\r\n\r\n",
            id="Label Studio",
        ),
        pytest.param("a.jpg", "a.txt", "classes.txt", "valve\npipe\n", id="LabelImg"),
        pytest.param(
            "obj_train_data/a.jpg",
            "obj_train_data/a.txt",
            "obj.names",
            "valve\npipe",
            id="Darknet",
        ),
    ],
)
def test_layouts(
    photo: str, labels: str, names: str, text: str, tmp_path: Path
) -> None:
    write(tmp_path, photo)
    write(tmp_path, names, text)
    write(tmp_path, labels, "1 0.5 0.5 0.2 0.4\n\n1 0.2 0.2 0.2 0.2\n")
    (example,), (report,) = read_split(tmp_path, "train")
    assert example.photo == tmp_path / photo
    assert example.size_wh == (100, 50)
    assert example.boxes_xyxy.tolist() == [[40, 15, 60, 35], [10, 5, 30, 15]]
    phrases = [(phrase.text, phrase.boxes) for phrase in example.phrases]
    assert phrases == [("a pipe", (0,)), ("a pipe", (1,)), ("two pipes", (0, 1))]
    assert not report.troubles


def test_splits_and_what_is_wrong(tmp_path: Path) -> None:
    write(tmp_path, "classes.txt", "valve\npipe\n")
    write(tmp_path, "images/train/a.jpg")
    write(tmp_path, "images/val/b.jpg")
    write(tmp_path, "images/train/broken.jpg", "no photo")
    write(tmp_path, "labels/train/a.txt", "0 0.5 0.5 0.2 0.4\n7 0.5 0.5 0.2 0.4\n")
    write(tmp_path, "labels/train/gone.txt", "0 0.5 0.5 0.2 0.4\n")
    write(tmp_path, "labels/train/broken.txt", "0 0.5 0.5 0.2 0.4\n")
    write(tmp_path, "labels/val/b.txt", "1 0.5 0.5 0.2 0.4\n")
    train, (report,) = read_split(tmp_path, "train")
    dev, _ = read_split(tmp_path, "dev")
    assert [example.id for example in train] == ["images/train/a.jpg"]
    assert [example.id for example in dev] == ["images/val/b.jpg"]
    assert {kind: trouble.count for kind, trouble in report.troubles.items()} == {
        "bad box, left out": 1,
        "photo missing": 1,
        "photo broken": 1,
    }
    assert "a.txt:2 " in report.troubles["bad box, left out"].names[0]
    with pytest.raises(ValueError, match="for the split test, got none"):
        read_split(tmp_path, "test")


def test_classes_without_names(tmp_path: Path) -> None:
    write(tmp_path, "images/a.jpg")
    write(tmp_path, "labels/a.txt", "0 0.5 0.5 0.2 0.4\n")
    with pytest.raises(ValueError, match=r"write classes\.txt there, a name a line"):
        read_split(tmp_path, "train")


def test_a_table_goes_first(tmp_path: Path) -> None:
    write(tmp_path, "images/a.jpg")
    write(tmp_path, "labels/a.txt", "0 0.5 0.5 0.2 0.4\n")
    write(tmp_path, "train.csv", "photo,caption\na.jpg,a valve in a hall\n")
    (example,), _ = read_split(tmp_path, "train")
    assert example.captions == ("a valve in a hall",)
