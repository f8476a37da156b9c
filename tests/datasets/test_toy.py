from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from regiontalk.datasets.entities import add_entities
from regiontalk.datasets.flickr import read_flickr
from regiontalk.datasets.toy import (
    COLOURS,
    SHAPES,
    SIZES,
    ToyShape,
    make_scenes,
    sentences,
    write_scenes,
)
from regiontalk.text.vocabulary import tokenize


@pytest.fixture(scope="module")
def scenes():
    return make_scenes(200, 3)


def test_sentences_by_hand() -> None:
    circle = ToyShape("small", "red", "circle", (0, 0), (1, 1, 11, 11))
    square = ToyShape("large", "blue", "square", (0, 1), (40, 2, 62, 24))
    cross = ToyShape("large", "white", "cross", (1, 1), (36, 36, 60, 60))
    # circle | square
    #        | cross      circle and cross are diagonal: nothing is said of them
    assert [text for text, *_ in sentences([circle, square, cross])] == [
        "a small red circle left of a large blue square",
        "a large blue square right of a small red circle",
        "a large blue square above a large white cross",
        "a large white cross below a large blue square",
    ]
    assert sentences([circle]) == []


def true_of(sentence: str, shapes: tuple[ToyShape, ...]) -> bool:
    """Read the sentence as a stranger would: by the centres of the boxes, no grid."""
    words = sentence.split()
    relation = next(
        word for word in words if word in ("left", "right", "above", "below")
    )
    first, second = sentence.split(
        f" {relation} of " if relation in ("left", "right") else f" {relation} "
    )
    (one,) = [shape for shape in shapes if shape.name == first]
    (two,) = [shape for shape in shapes if shape.name == second]
    (x1, y1), (x2, y2) = (
        ((a + c) / 2, (b + d) / 2) for a, b, c, d in (one.box, two.box)
    )
    return {"left": x1 < x2, "right": x1 > x2, "above": y1 < y2, "below": y1 > y2}[
        relation
    ]


def test_captions_are_true_and_boxes_touch_the_drawn_pixels(scenes) -> None:
    for scene in scenes:
        assert 2 <= len(scene.shapes) <= 4
        assert len(scene.example.captions) in (2, 4, 8)
        assert all(true_of(caption, scene.shapes) for caption in scene.example.captions)
        pixels = np.asarray(scene.image)
        for shape in scene.shapes:
            top, left = (32 * place for place in shape.cell)
            drawn = (
                pixels[top : top + 32, left : left + 32] == COLOURS[shape.colour]
            ).all(-1)
            rows, columns = np.nonzero(drawn)
            box = (
                left + columns.min(),
                top + rows.min(),
                left + columns.max() + 1,
                top + rows.max() + 1,
            )
            assert shape.box == box
            assert drawn.mean() > 0.02


def test_phrases_stand_where_they_say(scenes) -> None:
    for scene in scenes:
        example = scene.example
        for phrase in example.phrases:
            words = tokenize(example.captions[phrase.caption])
            assert words[phrase.first_word : phrase.first_word + 4] == tokenize(
                phrase.text
            )
            (row,) = phrase.boxes
            assert scene.shapes[row].name == phrase.text
            assert tuple(example.boxes_xyxy[row]) == scene.shapes[row].box
        assert len(example.phrases) == 2 * len(example.captions)


def test_a_sentence_is_true_of_one_scene_only(scenes) -> None:
    for caption in (caption for scene in scenes for caption in scene.example.captions):
        knows = [scene for scene in scenes if caption in scene.example.captions]
        assert len(knows) == 1
    words = Counter(
        word
        for scene in scenes
        for caption in scene.example.captions
        for word in caption.split()
    )
    assert {*COLOURS, *SHAPES, *SIZES, "left", "right", "above", "below"} <= set(words)
    assert 40 <= Counter(len(scene.shapes) for scene in scenes)[4] <= 95


def test_the_same_seed_gives_the_same_scenes() -> None:
    first, second, other = make_scenes(5, 8), make_scenes(5, 8), make_scenes(5, 9)
    assert [scene.shapes for scene in first] == [scene.shapes for scene in second]
    assert all(
        a.image.tobytes() == b.image.tobytes()
        for a, b in zip(first, second, strict=True)
    )
    assert [scene.shapes for scene in first] != [scene.shapes for scene in other]
    assert not {scene.example.id for scene in first} & {
        scene.example.id for scene in other
    }
    assert make_scenes(5, 8, min_shapes=4)[0].shapes[3].cell == (1, 1)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_written_scenes_are_read_back(tmp_path: Path, suffix: str) -> None:
    train, dev = make_scenes(6, 1), make_scenes(3, 2)
    write_scenes({"train": train, "dev": dev}, tmp_path, suffix)
    for split, scenes in (("train", train), ("dev", dev)):
        examples, report = read_flickr(tmp_path / "flickr8k", split)
        assert report.troubles == {}
        examples, report = add_entities(examples, tmp_path / "flickr30k_entities")
        assert report.troubles == {}
        for example, scene in zip(examples, scenes, strict=True):
            assert example.photo.suffix == suffix
            assert example.captions == scene.example.captions
            assert example.phrases == scene.example.phrases
            assert example.size_wh == scene.example.size_wh
            np.testing.assert_array_equal(example.boxes_xyxy, scene.example.boxes_xyxy)
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"count": -1, "seed": 0}, "got -1, 0, 2, 4", id="count below 0"),
        pytest.param({"count": 1, "seed": -1}, "got 1, -1, 2, 4", id="seed below 0"),
        pytest.param(
            {"count": 1, "seed": 0, "min_shapes": 1},
            "got 1, 0, 1, 4",
            id="one shape makes no sentence",
        ),
        pytest.param(
            {"count": 1, "seed": 0, "max_shapes": 5},
            "got 1, 0, 2, 5",
            id="more shapes than cells",
        ),
    ],
)
def test_make_scenes_refuses(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_scenes(**arguments)


@pytest.mark.parametrize(
    ("splits", "suffix", "message"),
    [
        pytest.param(
            {"val": []}, ".png", "expected train, dev or test", id="unknown split"
        ),
        pytest.param(
            {"dev": []}, ".gif", r"got \['dev'\], '.gif'", id="unknown suffix"
        ),
        pytest.param(
            {"train": make_scenes(1, 1), "dev": make_scenes(1, 1)},
            ".png",
            "another seed",
            id="one seed twice",
        ),
    ],
)
def test_write_scenes_refuses(
    tmp_path: Path, splits: dict, suffix: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write_scenes(splits, tmp_path, suffix)
