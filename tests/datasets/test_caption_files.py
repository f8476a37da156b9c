"""A text of sentences beside each photo."""

from pathlib import Path

import pytest
from PIL import Image

from regiontalk.datasets.splits import read_split


def write(folder: Path, name: str, text: str) -> None:
    photo = folder / name
    photo.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 10)).save(photo)
    photo.with_suffix(".txt").write_text(text, encoding="utf-8")


def test_photos_and_their_texts(tmp_path: Path) -> None:
    write(tmp_path, "b.jpg", "\ufeffa red  cup\r\n\r\nune tasse ro\u0302se\r\n")
    write(tmp_path, "10_cups/a.PNG", "two cups")
    (tmp_path / "10_cups/a.PNG").with_suffix(".caption").write_text("another text")
    write(tmp_path, "none.jpg", "None\n")
    write(tmp_path, "unk.jpg", "a <unk> cup")
    Image.new("RGB", (20, 10)).save(tmp_path / "alone.jpg")
    examples, (report,) = read_split(tmp_path, "train")
    assert {example.id: example.captions for example in examples} == {
        "10_cups/a.PNG": ("two cups",),
        "b.jpg": ("a red cup", "une tasse rôse"),
        "unk.jpg": ("a <unk> cup",),
    }
    assert report.troubles["photo with an empty text, left out"].names == ("none.jpg",)
    assert report.troubles["caption with marks of another tool, such as <unk>"]


def test_splits(tmp_path: Path) -> None:
    write(tmp_path, "train/a.jpg", "a cup")
    write(tmp_path, "val/b.jpg", "a jug")
    train, _ = read_split(tmp_path, "train")
    dev, _ = read_split(tmp_path, "dev")
    assert [example.id for example in (*train, *dev)] == ["train/a.jpg", "val/b.jpg"]
    with pytest.raises(ValueError, match="photos of the split test with a text"):
        read_split(tmp_path, "test")
