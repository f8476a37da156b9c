"""Names on regions of the toy world: rows, counts, what a user would get, bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regiontalk.captioner import RegionCaptioner
from regiontalk.datasets.splits import read_split
from regiontalk.evaluate.names import (
    caption_all,
    detected_photo,
    evaluate_names,
    named_photo,
    read_class_words,
)
from regiontalk.records import Example, Phrase
from regiontalk.regions.detectors import Detection, Reads


class FixedDetector:
    """Finds a dog in the left half of every photo."""

    reads: Reads = "labels"

    def detect(self, image: Image.Image) -> list[Detection]:
        return [Detection("dog", (0.0, 0.0, image.width / 2, float(image.height)), 0.9)]


@pytest.fixture
def examples(toy_folder: Path) -> list[Example]:
    """Toy photos annotated at 100 x 100: a dog in the left half, a cat in a small corner."""
    boxes = np.array([[0, 0, 50, 100], [90, 90, 99, 99]], np.float32)
    phrases = (Phrase("dog", (0,)), Phrase("cat", (1,)))
    photos = [example.photo for example in read_split(toy_folder, "dev")[0]]
    return [
        Example(photo, (), boxes, phrases, (100, 100), photo.stem) for photo in photos
    ]


WORDS = {"dog": ["dog"], "cat": ["cat"]}


def test_rows_and_counts(captioner: RegionCaptioner, examples: list[Example]) -> None:
    bare = Example(examples[0].photo, id="bare")
    missing = Example(Path("none.jpg"), (), *_annotation(examples[0]), "missing")
    result = evaluate_names(
        captioner,
        [*examples, bare, missing],
        WORDS,
        detectors={"fixed": FixedDetector()},
        resamples=10,
    )
    assert result.counts["photos"] == len(examples)
    assert result.counts["photos without boxes or unreadable, left out"] == 2
    # The cat covers 81 of 10,000 pixels, under 1 %: each photo has one object to be named.
    assert result.counts["objects over 1%"] == len(examples)
    detector = result.figures["fixed"]
    values = {name: figure.value for name, figure in detector.items()}  # type: ignore[union-attr]
    assert set(values.values()) == {1.0}
    assert set(values) == {
        "words a photo",
        "precision",
        "precision anywhere",
        "coverage",
    }
    assert {"recall by 19 proposals", "recall by 50 proposals"} <= set(
        result.figures["model"]
    )


def test_words_are_those_of_a_user(
    captioner: RegionCaptioner, examples: list[Example]
) -> None:
    result = evaluate_names(captioner, examples, WORDS, resamples=10)
    captioned = captioner.caption_many([example.photo for example in examples])
    texts = [
        region.text for item in captioned for region in item.regions if region.text
    ]
    words = result.figures["model"]["words a photo"].value  # type: ignore[union-attr]
    assert words == pytest.approx(len(texts) / len(examples))


def test_boxes_are_scaled_to_the_annotation(
    captioner: RegionCaptioner, examples: list[Example]
) -> None:
    photo = detected_photo(examples[0], FixedDetector())
    np.testing.assert_allclose(photo.boxes_xyxy, [[0, 0, 50, 100]], atol=1e-3)
    example, result = caption_all(captioner, examples[:1])[0]
    boxes = named_photo(example, result).boxes_xyxy
    assert boxes.max() <= 100.001


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("[1]", "expected class words", id="a list"),
        pytest.param("{", "expected class words", id="no JSON"),
        pytest.param('{"dog": 3}', "expected class words", id="a number for words"),
        pytest.param(None, "expected class words", id="no file"),
    ],
)
def test_bad_class_words(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "words.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_class_words(path, [])


def test_class_words(tmp_path: Path, examples: list[Example]) -> None:
    path = tmp_path / "words.json"
    path.write_text(json.dumps(WORDS), encoding="utf-8")
    assert read_class_words(path, examples) == WORDS
    assert read_class_words(None, examples)["dog"][0] == "dog"


def test_a_string_is_not_a_list_of_words(tmp_path: Path) -> None:
    path = tmp_path / "words.json"
    path.write_text('{"dog": "dog"}', encoding="utf-8")
    with pytest.raises(ValueError, match="expected class words"):
        read_class_words(path, [])


def test_bad_input(captioner: RegionCaptioner, examples: list[Example]) -> None:
    with pytest.raises(ValueError, match="expected photos with boxes of classes"):
        evaluate_names(captioner, [Example(examples[0].photo)], WORDS)
    with pytest.raises(ValueError, match="expected words for 'cat'"):
        evaluate_names(captioner, examples, {"dog": ["dog"]}, resamples=10)
    unreadable = [Example(Path("none.jpg"), (), *_annotation(examples[0]), "missing")]
    with pytest.raises(ValueError, match="expected at least one photo"):
        evaluate_names(captioner, unreadable, WORDS)


def _annotation(
    example: Example,
) -> tuple[np.ndarray, tuple[Phrase, ...], tuple[int, int] | None]:
    return example.boxes_xyxy, example.phrases, example.size_wh
