"""Labels stay inside the picture and apart; words are broken where they fit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from regiontalk.drawing import labels
from regiontalk.drawing.labels import (
    Box,
    Placed,
    Size,
    brightness,
    colours,
    font,
    layouts,
    length,
    pieces,
    place_labels,
    wrap,
)


def shared_area(first: Box, second: Box) -> int:
    wide = min(first[2], second[2]) - max(first[0], second[0])
    high = min(first[3], second[3]) - max(first[1], second[1])
    return max(0, wide) * max(0, high)


def slow_place(
    boxes: list[Box],
    options: list[list[Size]],
    size_wh: Size,
    taken: list[Box],
    most: float,
) -> list[Placed | None]:
    """The rule of `place_labels` in plain loops.

    Every spot is tried, the first cheapest is taken.
    """
    stand, placed = list(taken), []
    for (x1, y1, x2, y2), sizes in zip(boxes, options, strict=True):
        best, best_cost = None, math.inf
        for option, (wide, high) in enumerate(sizes):
            hidden = sum((box[2] - box[0]) * (box[3] - box[1]) for box in stand)
            if (
                wide > size_wh[0]
                or high > size_wh[1]
                or wide * high > most * size_wh[0] * size_wh[1] - hidden
            ):
                continue
            spots = []
            for rank, top in enumerate((y1 - high, y1, y2, y2 - high)):
                spots += [
                    (left, top, 0.05 * rank)
                    for left in (x1, x2 - wide, (x1 + x2 - wide) // 2)
                ]
            for left in (x2, x1 - wide):
                spots += [
                    (left, top, 0.25) for top in (y1, (y1 + y2 - high) // 2, y2 - high)
                ]
            for left, top, cost in spots:
                x, y = (
                    max(0, min(left, size_wh[0] - wide)),
                    max(0, min(top, size_wh[1] - high)),
                )
                spot = (x, y, x + wide, y + high)
                if any(
                    shared_area(spot, (box[0] - 2, box[1] - 2, box[2] + 2, box[3] + 2))
                    for box in stand
                ):
                    continue
                cost += (
                    0.12 * option
                    + 0.1 * (abs(x - left) / wide + 3 * abs(y - top) / high)
                    + 0.01 * (left != x1)
                )
                cost += sum(
                    shared_area(spot, box)
                    / max(1, (box[2] - box[0]) * (box[3] - box[1]))
                    for box in boxes
                )
                if cost < best_cost - 1e-12:
                    best, best_cost = Placed(option, spot), cost
        placed.append(best)
        if best:
            stand.append(best.box)
    return placed


def random_boxes(count: int, size_wh: Size, seed: int) -> list[Box]:
    corners = np.random.default_rng(seed).integers(
        0, np.array(size_wh) + 1, (count, 2, 2)
    )
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    return [tuple(map(int, box)) for box in boxes]  # type: ignore[misc]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("count", "size_wh", "most"),
    [
        (10, (640, 480), 0.35),
        (30, (640, 480), 1.0),
        (40, (200, 200), 1.0),
        (5, (50, 400), 0.35),
        (1, (10, 10), 1.0),
        (0, (9, 9), 1.0),
    ],
    ids=str,
)
def test_place_labels_against_loops(
    count: int, size_wh: Size, most: float, seed: int
) -> None:
    boxes = random_boxes(count, size_wh, seed)
    rng = np.random.default_rng(seed)
    options = [
        [(int(wide), 18), (int(wide) // 2 + 4, 34)]
        for wide in rng.integers(20, 220, count)
    ]
    taken = [(0, 0, min(30, size_wh[0]), min(12, size_wh[1]))]
    placed = place_labels(boxes, options, size_wh, taken, most)
    stand = [*taken, *(place.box for place in placed if place)]
    for number, box in enumerate(stand):
        assert (
            box[0] >= 0
            and box[1] >= 0
            and box[2] <= size_wh[0]
            and box[3] <= size_wh[1]
        )
        assert not any(shared_area(box, other) for other in stand[:number])
    assert placed == slow_place(boxes, options, size_wh, taken, most)


@pytest.mark.parametrize(
    ("boxes", "options", "wanted"),
    [
        # above, left edges flush: top = 40 - 10
        pytest.param([(20, 40, 60, 80)], [[(30, 10)]], [(20, 30, 50, 40)], id="above"),
        # no room above (-10): inside at the top costs 0.05 + 300 / 4000 hidden = 0.125, moving the
        # one above down by 10 costs 0.1 * 3 * 10 / 10 + 0.075 = 0.375, below costs 0.10: below it
        # is
        pytest.param([(0, 0, 50, 80)], [[(30, 10)]], [(0, 80, 30, 90)], id="below"),
        # the box is the picture: only inside is left; at the top (0.05) before the bottom (0.15)
        pytest.param(
            [(0, 0, 100, 100)], [[(30, 10)]], [(0, 0, 30, 10)], id="whole-photo"
        ),
        # the second of two equal boxes keeps 2 pixels off the first label (30 wide): the right
        # edge, 100 - 30 = 70
        pytest.param(
            [(20, 40, 100, 80)] * 2,
            [[(30, 10)]] * 2,
            [(20, 30, 50, 40), (70, 30, 100, 40)],
            id="twice",
        ),
        pytest.param(
            [(90, 40, 100, 80)], [[(30, 10)]], [(70, 30, 100, 40)], id="right-edge"
        ),
        pytest.param([(0, 0, 100, 100)], [[(101, 10)]], [None], id="too-wide"),
        pytest.param(
            [(0, 0, 100, 100)],
            [[(101, 10), (40, 20)]],
            [(0, 0, 40, 20)],
            id="second-size",
        ),
        pytest.param(
            [(0, 0, 100, 100)], [[(60, 60)]], [None], id="hides-more-than-a-third"
        ),
        pytest.param([], [], [], id="nothing"),
    ],
)
def test_place_labels_by_hand(
    boxes: list[Box], options: list[list[Size]], wanted: list[Box | None]
) -> None:
    assert [
        place and place.box for place in place_labels(boxes, options, (100, 100))
    ] == wanted


def test_a_label_keeps_off_a_small_box() -> None:
    # above the large box lies a small one, wholly hidden there (cost 1): the right edge flush costs
    # 0.01
    large, small = (10, 50, 190, 150), (20, 38, 40, 48)
    assert place_labels([large, small], [[(60, 14)], []], (200, 200))[0] == Placed(
        0, (130, 36, 190, 50)
    )


def test_place_labels_lengths_differ() -> None:
    with pytest.raises(ValueError, match="zip"):
        place_labels([(0, 0, 9, 9)], [], (10, 10))


@pytest.mark.parametrize("width", [30, 80, 200, 5000])
@pytest.mark.parametrize(
    "words",
    ["a man in a red shirt", "Donaudampfschifffahrtsgesellschaft", "a", "", "i" * 500],
    ids=repr,
)
def test_wrap_keeps_the_letters_and_the_width(words: str, width: int) -> None:
    text = wrap(words, 14, width)
    assert "".join(text.lines).replace(" ", "") == words.replace(" ", "")
    # margins of 0.35 * 14 = 5 a side
    assert text.size[0] == max(length(line, 14) for line in text.lines) + 10
    assert text.size[0] <= width + 2 * len(words)
    assert all(len(line) == 1 or length(line, 14) <= width - 10 for line in text.lines)
    # 1.2 * 14 = 17 a line, 0.2 * 14 = 3 above and below
    assert text.size[1] == len(text.lines) * 17 + 6


def slow_pieces(word: str, room: int) -> list[str]:
    cut = [""]
    for letter in word:
        if cut[-1] and length(cut[-1] + letter, 14) > room:
            cut.append("")
        cut[-1] += letter
    return cut


@pytest.mark.parametrize("room", [1, 12, 50, 1000])
@pytest.mark.parametrize(
    "word", ["Donaudampfschifffahrtsgesellschaft", "ill", "W", "AVAVAVAVAV"]
)
def test_pieces_against_loops(word: str, room: int) -> None:
    assert pieces(word, 14, room) == slow_pieces(word, room)


def test_layouts_offer_fewer_lines_first_and_shrink() -> None:
    found = layouts("a woman holding a large umbrella in the rain", 20, 1000)
    assert len(found[0].lines) == 1 and found[0].font_size == 20
    assert len({text.size for text in found}) == len(found)
    assert [text.font_size for text in found] == sorted(
        (text.font_size for text in found), reverse=True
    )
    assert all(text.size[0] <= 1000 for text in found)
    assert min(text.font_size for text in layouts("a", 11, 100)) == 11


@pytest.mark.parametrize("count", [0, 1, 12, 40])
def test_colours_differ_and_carry_words(count: int) -> None:
    found = colours(count)
    assert len(set(found)) == len(found) == count
    for colour in found:
        light = brightness(colour)
        contrast = max((light + 0.05) / 0.05, 1.05 / (light + 0.05))
        assert contrast >= 4.5  # WCAG 2 AA for text


@pytest.mark.parametrize(
    ("colour", "wanted"),
    # 128 / 255 = 0.50196; ((0.50196 + 0.055) / 1.055) ** 2.4 = 0.2159 of green's 0.7152 = 0.1544
    [
        ((0, 0, 0), 0.0),
        ((255, 255, 255), 1.0),
        ((0, 128, 0), 0.1544),
        ((10, 10, 10), 0.00304),
    ],
)
def test_brightness_by_hand(colour: tuple[int, int, int], wanted: float) -> None:
    assert brightness(colour) == pytest.approx(wanted, abs=1e-4)


def test_font_scales() -> None:
    assert font(40).getlength("regions") == pytest.approx(
        2 * font(20).getlength("regions"), rel=0.05
    )


def test_letters_of_other_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A font of the system that has them, or a warning that names the letters.

    Never a silent square.
    """
    labels._font_file.cache_clear()
    monkeypatch.delenv(labels.FONT, raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.warns(UserWarning, match="no installed font has the letters '只猫'"):
        labels.font(20, "a 猫只")
    assert labels.font(20, "a cup") is labels.font(20)
    labels._font_file.cache_clear()
