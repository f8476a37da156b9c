"""Which examples are shown, and what is drawn on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from regiontalk.captioner import RegionCaptioner
from regiontalk.evaluate.examples import Case, on_boxes, on_words, pick
from regiontalk.records import Example, checked_boxes


@pytest.mark.parametrize(
    ("values", "photos", "chosen"),
    [
        pytest.param(
            [1, 5, 3, 2, 4, 0], "abcdef", ([1, 4], [3, 2], [5, 0]), id="two of each"
        ),
        pytest.param([5, 4, 3, 2, 1], "aabcc", ([0], [2], [4]), id="a photo once"),
        pytest.param([1, 1, 1], "abc", ([0], [1], [2]), id="ties by order"),
        pytest.param([1.0, 2.0], "ab", ([1], [], [0]), id="two photos"),
        pytest.param([], "", ([], [], []), id="nothing"),
    ],
)
def test_pick(values: list[float], photos: str, chosen: tuple[list[int], ...]) -> None:
    found = pick(values, photos, lambda row: Case(str(row), ()), each=2)
    assert list(found) == ["best", "median", "worst"]
    assert (
        tuple([int(case.value) for case in cases] for cases in found.values()) == chosen
    )


def test_boxes_are_cut_at_the_edge_and_truths_stay_bare() -> None:
    example = Example(
        Path("a.jpg"), boxes_xyxy=checked_boxes([[0, 0, 5, 5]]), size_wh=(10, 8)
    )
    boxes = [((2.0, 2.0, 10.001, 8.0), "a dog"), ((10.0, 0.0, 10.001, 4.0), "gone")]
    drawn = on_boxes(example, boxes, example.boxes_xyxy)
    assert [(region.box, region.text) for region in drawn.regions] == [
        ((0, 0, 5, 5), None),
        ((2, 2, 10, 8), "a dog"),
    ]
    with pytest.raises(ValueError, match="expected the size that its boxes refer to"):
        on_boxes(Example(Path("a.jpg")), boxes)


def test_words_on_their_boxes(captioner: RegionCaptioner, photos: Any) -> None:
    example = photos().examples[0]
    sentence = example.captions[0]
    assert (
        on_words(captioner, example, sentence).matches
        == captioner.align(example.photo, sentence).matches
    )
    # no word that the model knows
    assert on_words(captioner, example, "xyzzy").matches == ()
