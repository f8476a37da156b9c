"""Which boxes show one thing."""

from __future__ import annotations

import itertools
import random

import pytest

from regiontalk.records import RegionCaption
from regiontalk.regions.dedupe import SAME, merged
from regiontalk.text.nouns import kind_of

LEFT, INSIDE, HALF, RIGHT = (
    (0, 0, 20, 20),
    (5, 5, 15, 15),
    (10, 0, 30, 20),
    (60, 0, 80, 20),
)


def said(
    text: str | None, confidence: float, box: tuple[float, float, float, float] = LEFT
) -> RegionCaption:
    return RegionCaption(box, text, confidence)


@pytest.mark.parametrize(
    ("regions", "rows"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param(
            [said("a dog", 0.3), said("a dog", 0.5, INSIDE)], [1], id="the better stays"
        ),
        pytest.param(
            [said("a dog", 0.5), said("a dog", 0.5, INSIDE)], [0], id="a tie: the first"
        ),
        pytest.param(
            [said("a man", 0.5), said("a boy in a hat", 0.4, INSIDE)],
            [0],
            id="other words for one kind",
        ),
        pytest.param(
            [said("a man", 0.5), said("a dog", 0.4, INSIDE)], [0, 1], id="another kind"
        ),
        pytest.param(
            [said("a dog", 0.5), said("a dog", 0.4, RIGHT)], [0, 1], id="elsewhere"
        ),
        pytest.param(
            [said("a dog", 0.5), said("two dogs", 0.4, HALF)],
            [0],
            id="just half of the smaller",
        ),
        pytest.param(
            [said("a dog", 0.5), said("a dog", 0.4, (10.5, 0, 30.5, 20))],
            [0, 1],
            id="less than half",
        ),
        pytest.param(
            [said("a dog", 0.1), said(None, 0.9, INSIDE), said("a cat", 0.2)],
            [0, 1, 2],
            id="no words",
        ),
        pytest.param(
            [
                said("a dog", 0.2, (0, 0, 10, 10)),
                said("a dog", 0.3, (4, 0, 14, 10)),
                said("a dog", 0.4, (8, 0, 18, 10)),
            ],
            [0, 2],
            id="only against what stays: the middle one goes, the first does not touch the third",
        ),
    ],
)
def test_merged(regions: list[RegionCaption], rows: list[int]) -> None:
    assert merged(regions) == [regions[row] for row in rows]


def test_merged_against_plain_loops() -> None:
    source = random.Random(0)

    def shared(one: RegionCaption, other: RegionCaption) -> float:
        (a, b, c, d), (e, f, g, h) = one.box, other.box
        both = max(0, min(c, g) - max(a, e)) * max(0, min(d, h) - max(b, f))
        return both / min((c - a) * (d - b), (g - e) * (h - f))

    for _ in range(20):
        regions = []
        for _ in range(12):
            x, y = source.randrange(40), source.randrange(40)
            text = source.choice(
                ["a man", "a woman sitting", "dogs", "a brown dog", None]
            )
            regions.append(
                said(
                    text,
                    source.random(),
                    (x, y, x + source.randint(5, 30), y + source.randint(5, 30)),
                )
            )
        kept: list[RegionCaption] = []
        for one in sorted(
            (one for one in regions if one.text), key=lambda one: -one.confidence
        ):
            if all(
                kind_of(one.text or "") != kind_of(two.text or "")
                or shared(one, two) < SAME
                for two in kept
            ):
                kept.append(one)
        assert merged(regions) == [
            one for one in regions if one in kept or one.text is None
        ]
        again = merged(regions)
        assert merged(again) == again
        for one, two in itertools.combinations([one for one in again if one.text], 2):
            assert (
                kind_of(one.text or "") != kind_of(two.text or "")
                or shared(one, two) < SAME
            )


def test_boxes_of_one_thing_vote_on_its_place() -> None:
    regions = [
        said("a dog", 0.6, (0, 0, 20, 20)),
        said("a brown dog", 0.2, (4, 0, 24, 20)),
        said("a dog", 0.1, (0, 0, 4, 4)),  # a part of it: overlaps too little
        said("a cat", 0.5, (1, 1, 20, 20)),
        said(None, 0.0, (1, 1, 20, 20)),
    ]
    dog, cat, silent = merged(regions, 0.5, voting=0.5)
    assert dog.box == pytest.approx((1, 0, 21, 20))
    assert (dog.text, dog.confidence) == ("a dog", 0.6)
    assert [cat, silent] == regions[3:]
    assert merged(regions, 0.5)[0] == regions[0]


def test_boxes_that_are_worth_nothing_vote_too() -> None:
    regions = [said("a dog", 0.0), said("a dog", 0.0, (2, 0, 20, 20))]
    assert merged(regions, voting=0.5)[0].box == pytest.approx((1, 0, 20, 20))
