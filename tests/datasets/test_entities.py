import time
from pathlib import Path

import numpy as np
import pytest

from regiontalk.datasets.entities import add_entities, read_annotation, read_sentence
from regiontalk.datasets.flickr import read_flickr
from regiontalk.records import Example, Phrase
from regiontalk.text.vocabulary import tokenize

SIZE = "<size><width>40</width><height>30</height><depth>3</depth></size>"


def box(name: str, x1: object, y1: object, x2: object, y2: object) -> str:
    corners = f"<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
    return f"<object>{name}<bndbox>{corners}</bndbox></object>"


def write(folder: Path, objects: str, sentences: str, size: str = SIZE) -> Path:
    for name in ("Annotations", "Sentences"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "Annotations" / "7.xml").write_text(
        f"<annotation>{size}{objects}</annotation>", encoding="utf-8"
    )
    (folder / "Sentences" / "7.txt").write_text(sentences, encoding="utf-8")
    return folder


def test_add_entities_by_hand(tmp_path: Path) -> None:
    objects = (
        box("<name>1</name>", 1, 2, 10, 12)
        + box("<name>1</name><name>2</name>", 5, 5, 40, 30)
        + "<object><name>3</name><scene>1</scene><nobndbox>1</nobndbox></object>"
    )
    sentences = (
        "[/EN#2/people/other Two men] in [/EN#3/scene a park] .\n"
        "[/EN#1/people A man 's dog] barks at [/EN#0/notvisual it] .\n"
        "[/EN#1/people A cat] sleeps .\n"
    )
    example = Example(
        Path("7_abc.jpg"), ("A man 's dog barks at it .", "Two men in a park .")
    )
    (joined,), report = add_entities([example], write(tmp_path, objects, sentences))
    assert joined.boxes_xyxy.tolist() == [[1, 2, 10, 12], [5, 5, 40, 30]]
    assert joined.size_wh == (40, 30)
    assert joined.captions == example.captions
    assert joined.phrases == (
        # the second object belongs to both chains
        Phrase("Two men", (1,), 1, 0, "2", ("people", "other")),
        # two men in | a park: fourth token; a scene has no box
        Phrase("a park", (), 1, 3, "3", ("scene",)),
        Phrase("A man 's dog", (0, 1), 0, 0, "1", ("people",)),  # a chain of two boxes
        Phrase("it", (), 0, 6, "0", ("notvisual",)),  # a man s dog barks at | it
        # its sentence is no caption: boxes stay
        Phrase("A cat", (0, 1), None, None, "1", ("people",)),
    )
    assert (report.boxes, report.phrases) == (2, 3)
    assert {kind: item.count for kind, item in report.troubles.items()} == {
        "photo with a sentence that Entities words differently": 1
    }


@pytest.mark.parametrize(
    ("captions", "sentences", "places"),
    [
        pytest.param(
            ("A dog .", "A dog ."),
            "[/EN#1/a A dog] .\n[/EN#1/a A dog] .\n[/EN#1/a A dog] .\n",
            [(0, 0), (1, 0), (None, None)],
            id="a caption that occurs twice is taken twice",
        ),
        pytest.param(
            ("a DOG barks",),
            "[/EN#1/a A dog] , barks !\n",
            [(0, 0)],
            id="marks and case do not count",
        ),
        pytest.param(
            ("The man's hat",),
            "[/EN#1/a The man]'s [/EN#2/b hat]\n",
            [(None, None), (0, 2)],
            id="a bracket inside a word",
        ),
        pytest.param(("a dog",), "\n \n", [], id="empty lines"),
        pytest.param(("a dog",), "", [], id="empty file"),
    ],
)
def test_places(
    tmp_path: Path,
    captions: tuple[str, ...],
    sentences: str,
    places: list[tuple[int | None, int | None]],
) -> None:
    (joined,), _ = add_entities(
        [Example(Path("7_x.jpg"), captions)], write(tmp_path, "", sentences)
    )
    assert [(phrase.caption, phrase.first_word) for phrase in joined.phrases] == places


@pytest.mark.parametrize(
    ("objects", "kept", "refused"),
    [
        pytest.param(box("<name>1</name>", 5, 5, 5, 9), 0, 1, id="empty"),
        pytest.param(box("<name>1</name>", 9, 5, 5, 9), 0, 1, id="inverted"),
        pytest.param(box("<name>1</name>", 1, 1, 41, 9), 0, 1, id="outside"),
        pytest.param(box("<name>1</name>", -1, 1, 9, 9), 0, 1, id="negative"),
        pytest.param(box("<name>1</name>", "nan", 1, 9, 9), 0, 1, id="not a number"),
        pytest.param(box("<name>1</name>", "", 1, 9, 9), 0, 1, id="a corner lacking"),
        pytest.param(box("<name>1</name>", 0, 0, 40, 30), 1, 0, id="the whole picture"),
        pytest.param("", 0, 0, id="no objects"),
    ],
)
def test_read_annotation(tmp_path: Path, objects: str, kept: int, refused: int) -> None:
    folder = write(tmp_path, objects, "[/EN#1/a A dog]\n")
    annotation = read_annotation(folder / "Annotations" / "7.xml")
    assert (len(annotation.boxes_xyxy), annotation.refused) == (kept, refused)
    assert annotation.boxes_xyxy.shape == (kept, 4)
    assert annotation.boxes_xyxy.dtype == np.float32
    _, report = add_entities([Example(Path("7_x.jpg"), ("a dog",))], folder)
    assert ("photo with empty or outside boxes, left out" in report.troubles) == bool(
        refused
    )


@pytest.mark.parametrize(
    ("size", "kind"),
    [
        pytest.param("", "unreadable Entities file", id="no size"),
        pytest.param(
            "<size><width>0</width><height>3</height></size>",
            "unreadable Entities file",
            id="size 0",
        ),
        pytest.param("<size>", "unreadable Entities file", id="not XML"),
        pytest.param(None, "photo not in Entities", id="no file"),
    ],
)
def test_bad_files_are_counted_and_the_photo_kept(
    tmp_path: Path, size: str | None, kind: str
) -> None:
    folder = write(tmp_path, "", "", size or "")
    if size is None:
        (folder / "Annotations" / "7.xml").unlink()
    else:
        with pytest.raises(ValueError, match=r"7\.xml: expected"):
            read_annotation(folder / "Annotations" / "7.xml")
    example = Example(Path("7_x.jpg"), ("a dog",))
    joined, report = add_entities([example], folder)
    assert joined == [example]
    assert [*report.troubles] == [kind]


def test_add_entities_refuses_a_folder_without_sentences(tmp_path: Path) -> None:
    (tmp_path / "Annotations").mkdir()
    with pytest.raises(ValueError, match="got no Sentences/"):
        add_entities([], tmp_path)


def slow_sentence(line: str) -> tuple[str, list[tuple[str, int]]]:
    """The same by walking over the characters."""
    plain, phrases, inside = "", [], ""
    for word in line.split(" "):
        if word.startswith("[/EN#"):
            inside, start = word, len(tokenize(plain))
            words: list[str] = []
            continue
        if inside:
            words.append(word.partition("]")[0])
            if "]" in word:
                phrases.append((" ".join(words), start))
                inside = ""
        plain += word.replace("]", "") + " "
    return plain.strip(), phrases


def test_read_sentence_against_walking(shared: Path) -> None:
    files = sorted((shared / "data" / "flickr30k_entities" / "Sentences").iterdir())[
        :300
    ]
    lines = [
        line
        for path in files
        for line in path.read_text(encoding="utf-8").split("\n")
        if line.strip()
    ]
    assert len(lines) == 1500
    for line in lines:
        plain, phrases = read_sentence(line)
        assert (
            plain,
            [(item.text, item.first_word) for item in phrases],
        ) == slow_sentence(line)


@pytest.mark.parametrize(
    ("split", "boxes", "phrases"),
    [
        pytest.param("train", 38_558, 77_911, id="train"),
        pytest.param("dev", 6_656, 13_123, id="dev"),
    ],
)
def test_the_real_counts(shared: Path, split: str, boxes: int, phrases: int) -> None:
    examples, _ = read_flickr(shared / "data" / "flickr8k", split)
    begin = time.process_time()
    joined, report = add_entities(examples, shared / "data" / "flickr30k_entities")
    assert time.process_time() - begin < 20, "xml of 6,000 photos: 3 s on two cores"
    assert (report.boxes, report.phrases) == (boxes, phrases)
    placed = [
        (item, phrase)
        for item in joined
        for phrase in item.phrases
        if phrase.caption is not None
    ]
    assert len(placed) > 0.95 * sum(len(item.phrases) for item in joined)
    for item, phrase in placed:
        words = tokenize(item.captions[phrase.caption])
        parts = tokenize(phrase.text)
        assert words[phrase.first_word : phrase.first_word + len(parts)] == parts
