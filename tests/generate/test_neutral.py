"""Neutral words for people."""

from __future__ import annotations

import pytest

from regiontalk.generate.neutral import neutral, swapped


@pytest.mark.parametrize(
    ("text", "other", "neither"),
    [
        pytest.param(
            "a man in a hat", "a woman in a hat", "a person in a hat", id="one"
        ),
        pytest.param(
            "two boys and their dog",
            "two girls and their dog",
            "two children and their dog",
            id="plural",
        ),
        pytest.param(
            "a lady with her bag",
            "a guy with his bag",
            "a person with their bag",
            id="possessive",
        ),
        pytest.param("a man and a woman", None, "a person and a person", id="both"),
        pytest.param("a dog", None, "a dog", id="nobody"),
        pytest.param(
            "a man as he runs",
            None,
            "a person as he runs",
            id="he stays, so it is not turned",
        ),
    ],
)
def test_swapped_and_neutral(text: str, other: str | None, neither: str) -> None:
    words = swapped(text.split())
    assert (None if words is None else " ".join(words)) == other
    assert " ".join(neutral(text.split())) == neither
