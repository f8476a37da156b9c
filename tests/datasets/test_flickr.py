import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from regiontalk.datasets.flickr import (
    image_files,
    read_flickr,
    read_json,
    read_karpathy,
    same_files,
)
from regiontalk.text.vocabulary import Vocabulary

TOKENS = """\
1_a.jpg#1\tA second .
1_a.jpg#0\tA first .
2_b.jpg#0\tOnly one\u2028line .
3_c.jpg#0\tNo file .
4_d.jpg#0\tEmpty file .
"""


def official(
    folder: Path,
    tokens: str = TOKENS,
    names: str = "2_b.jpg\n1_a.jpg\n",
    split: str = "train",
) -> Path:
    (folder / "images").mkdir(parents=True)
    (folder / "Flickr8k.token.txt").write_text(tokens, encoding="utf-8")
    (folder / "Flickr8k.lemma.token.txt").write_text(
        "1_a.jpg#0\ta lemma\n", encoding="utf-8"
    )
    (folder / f"Flickr_8k.{split}Images.txt").write_text(names, encoding="utf-8")
    for name, content in {
        "1_a.jpg": b"one",
        "2_b.jpg": b"two",
        "4_d.jpg": b"",
        "5_e.jpg": b"none said",
    }.items():
        (folder / "images" / name).write_bytes(content)
    return folder


def counts(report: Any) -> dict[str, int]:
    return {kind: trouble.count for kind, trouble in report.troubles.items()}


def test_read_flickr_by_hand(tmp_path: Path) -> None:
    examples, report = read_flickr(official(tmp_path / "f"), "train")
    assert [item.id for item in examples] == ["2_b.jpg", "1_a.jpg"], (
        "the order of the list"
    )
    assert examples[0].captions == ("Only one\u2028line .",), (
        "only a line feed ends a line"
    )
    assert examples[1].captions == ("A first .", "A second ."), (
        "the order of the numbers, not of the lines"
    )
    assert examples[1].photo == tmp_path / "f" / "images" / "1_a.jpg"
    assert (report.photos, report.captions, report.boxes) == (2, 3, 0)
    assert counts(report) == {"photo with sentences but no file": 1}


NO_FILE = {"photo with sentences but no file": 1}


@pytest.mark.parametrize(
    ("tokens", "names", "ids", "troubles"),
    [
        pytest.param(
            TOKENS,
            "3_c.jpg\n1_a.jpg\n",
            ["1_a.jpg"],
            {**NO_FILE, "photo missing": 1},
            id="photo missing",
        ),
        pytest.param(
            TOKENS,
            "4_d.jpg\n1_a.jpg\n",
            ["1_a.jpg"],
            {**NO_FILE, "photo broken (0 bytes)": 1},
            id="0 bytes",
        ),
        pytest.param(
            TOKENS,
            "5_e.jpg\n",
            [],
            {**NO_FILE, "photo without a sentence": 1},
            id="no sentence",
        ),
        pytest.param(
            TOKENS,
            "1_a.jpg\n1_a.jpg\n",
            ["1_a.jpg"],
            {**NO_FILE, "photo twice in the split's list": 1},
            id="twice",
        ),
        pytest.param(
            "1_a.jpg#0\tx\n1_a.jpg.1#0\ty\n1_a.jpg.1#1\tz\n",
            "1_a.jpg\n",
            ["1_a.jpg"],
            {"line of a photo that does not exist": 2},
            id="dangling photo.jpg.1",
        ),
        pytest.param(
            "1_a.jpg#0\tx\n1_a.jpg#0\ty\n",
            "1_a.jpg\n",
            ["1_a.jpg"],
            {"sentence number used twice": 1},
            id="number",
        ),
        pytest.param(
            "1_a.jpg#0\tx\nno tab here\n1_a.jpg\ty\n1_a.jpg#b\ty\n1_a.jpg#2\t \n\n",
            "1_a.jpg\n",
            ["1_a.jpg"],
            {"bad line (expected photo#number, tab, sentence)": 4},
            id="bad lines; an empty line is none",
        ),
        pytest.param(
            "\ufeff1_a.jpg#0\tx\r\n",
            "\ufeff1_a.jpg\r\n",
            ["1_a.jpg"],
            {},
            id="byte order mark and CRLF",
        ),
        pytest.param(
            "1_a.jpg#0\tx\n",
            "1_a\n",
            ["1_a.jpg"],
            {},
            id="Flickr30k lists leave out .jpg",
        ),
        pytest.param("", "", [], {}, id="empty split"),
    ],
)
def test_read_flickr(
    tmp_path: Path, tokens: str, names: str, ids: list[str], troubles: dict[str, int]
) -> None:
    examples, report = read_flickr(official(tmp_path / "f", tokens, names), "train")
    assert [item.id for item in examples] == ids
    assert counts(report) == troubles


def test_only_a_test_split_and_flickr30k_names(tmp_path: Path) -> None:
    folder = official(tmp_path / "f", split="test")
    assert len(read_flickr(folder, "test")[0]) == 2
    (folder / "Flickr_8k.testImages.txt").rename(folder / "test.txt")
    (folder / "Flickr8k.token.txt").rename(folder / "results.token")
    (folder / "images").rename(folder / "flickr30k-images")
    (folder / "Flickr8k.lemma.token.txt").unlink()
    assert len(read_flickr(folder, "test")[0]) == 2


@pytest.mark.parametrize(
    ("remove", "split", "message"),
    [
        pytest.param(
            "", "val", "expected one of train, dev, test, got 'val'", id="unknown split"
        ),
        pytest.param("", "dev", "expected a list of dev photos", id="no list"),
        pytest.param(
            "Flickr8k.token.txt",
            "train",
            "expected a token file",
            id="no tokens: a lemma file is none",
        ),
        pytest.param(
            "images", "train", "expected photos in one of images", id="no pictures"
        ),
    ],
)
def test_read_flickr_refuses(
    tmp_path: Path, remove: str, split: str, message: str
) -> None:
    folder = official(tmp_path / "f")
    if remove:
        (folder / remove).rename(tmp_path / "away")
    with pytest.raises(ValueError, match=message):
        read_flickr(folder, split)


def entry(name: str, split: str, *raw: str) -> dict[str, Any]:
    return {
        "filename": name,
        "split": split,
        "sentences": [{"raw": text} for text in raw],
    }


def test_read_karpathy(tmp_path: Path) -> None:
    official(tmp_path / "f")
    (tmp_path / "f" / "images" / "val2014").mkdir()
    (tmp_path / "f" / "images" / "val2014" / "9.jpg").write_bytes(b"nine")
    rows = [
        entry("1_a.jpg", "train", "A first .", " "),
        entry("2_b.jpg", "val", "Two"),
        {**entry("9.jpg", "restval", "Nine"), "filepath": "val2014"},
        {**entry("2_b.jpg", "train", "Flat"), "filepath": "train2014"},
        entry("3_c.jpg", "train", "No file"),
        entry("4_d.jpg", "train", "Empty"),
        entry("5_e.jpg", "train"),
        {"filename": "6_f.jpg"},
        "not an object",
    ]
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({"images": rows}))
    examples, report = read_karpathy(path, tmp_path / "f" / "images", "train")
    assert [(item.id, item.captions) for item in examples] == [
        ("1_a.jpg", ("A first .",)),
        ("9.jpg", ("Nine",)),
        ("2_b.jpg", ("Flat",)),
    ]
    assert examples[1].photo.parent.name == "val2014"
    assert list(counts(report).values()) == [1, 1, 1, 2]
    assert [
        item.id for item in read_karpathy(path, tmp_path / "f" / "images", "dev")[0]
    ] == ["2_b.jpg"]
    with pytest.raises(ValueError, match="expected one of train, dev, test, got 'val'"):
        read_karpathy(path, tmp_path / "f" / "images", "val")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("{", "expected a JSON document", id="not JSON"),
        pytest.param(
            '{"images": {}}',
            "expected a JSON object with lists images, notes",
            id="not a list",
        ),
        pytest.param("[]", "got none at images, notes", id="not an object"),
        pytest.param(None, "expected a JSON document", id="no file"),
    ],
)
def test_read_json_refuses(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_json(tmp_path / "x.json", "images", "notes")


def test_image_files_refuses_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a folder of photos"):
        image_files(tmp_path / "none")


def test_same_files_against_comparing_all_pairs(tmp_path: Path) -> None:
    contents = [b"aa", b"bb", b"aa", b"c", b"aa", b"bb", b""]
    paths = [tmp_path / f"{number}.jpg" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    slow = []
    for row, path in enumerate(paths):
        first = next(
            other
            for other in paths[: row + 1]
            if other.read_bytes() == path.read_bytes()
        )
        if first != path:
            slow.append(f"{path.name} = {first.name}")
    assert (
        same_files(paths) == slow == ["2.jpg = 0.jpg", "4.jpg = 0.jpg", "5.jpg = 1.jpg"]
    )
    assert same_files([]) == []


def test_the_real_training_split(shared: Path) -> None:
    examples, report = read_flickr(shared / "data" / "flickr8k", "train")
    assert Counter(len(item.captions) for item in examples) == {5: 6000}
    assert report.troubles["photo stored twice"].names == (
        "3050606344_af711c726c.jpg = 2851198725_37b6027625.jpg",
    )
    vocabulary = Vocabulary.build(
        caption for item in examples for caption in item.captions
    )
    assert len(vocabulary) - 4 in (2534, 2537), (
        "2,534 where a hyphen splits a word; 2,537 where it is dropped"
    )
