"""Drawn screens: the same for a seed, and what is said of them is true."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from regiontalk.datasets.folder import read_folder
from regiontalk.datasets.screens import (
    COLOURS,
    HEIGHT,
    WIDTH,
    draw_screen,
    write_screens,
)


def test_a_seed_gives_the_same_screen() -> None:
    first, second = draw_screen(5), draw_screen(5)
    assert first.captions == second.captions and first.elements == second.elements
    assert np.array_equal(np.asarray(first.image), np.asarray(second.image))
    assert draw_screen(6).captions != first.captions


@pytest.mark.parametrize("seed", range(8))
def test_boxes_and_sentences_are_true(seed: int) -> None:
    screen = draw_screen(seed)
    by_phrase = {element.phrase: element for element in screen.elements}
    for element in screen.elements:
        x1, y1, x2, y2 = element.box
        assert 0 <= x1 < x2 <= WIDTH and 0 <= y1 < y2 <= HEIGHT
        colour = next(
            (name for name in COLOURS if name in element.phrase.split()), None
        )
        if colour is not None:
            pixels = np.asarray(screen.image)[y1 : y2 + 1, x1 : x2 + 1].reshape(-1, 3)
            assert (pixels == COLOURS[colour]).all(axis=1).any()
    lower, upper = screen.captions[0].split(" under ")
    assert any(
        one.phrase == lower and other.phrase == upper and one.box[1] >= other.box[3]
        for one in screen.elements
        for other in screen.elements
    )
    assert all(any(phrase in text for phrase in by_phrase) for text in screen.captions)


def test_the_folder_is_read_as_own_photos(tmp_path: Path) -> None:
    path = write_screens(3, 10, tmp_path)
    examples, report = read_folder(tmp_path)
    assert path.name == "photos.jsonl" and report.troubles == {}
    assert [len(example.captions) for example in examples] == [3, 3, 3]
    assert all(len(example.phrases) >= 1 for example in examples)
