"""What captions name."""

from __future__ import annotations

import pytest

from regiontalk.text.nouns import content_stems, kind_of, stem


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", ""),
        ("in the", ""),
        ("a brown dog", "dog"),
        ("three dogs in a park", "dog"),
        ("a little girl wearing a hat", "person"),
        ("a group of people", "person"),
        ("a glass of beer", "glass"),
        ("a crowd", "crowd"),
    ],
)
def test_kind_of(text: str, kind: str) -> None:
    assert kind_of(text) == kind


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("dogs", "dog"),
        ("running", "run"),
        ("rides", "rid"),
        ("riding", "rid"),
        ("grass", "grass"),
    ],
)
def test_stem(word: str, wanted: str) -> None:
    assert stem(word) == wanted


def test_content_stems() -> None:
    assert content_stems("Two black dogs running on the grass") == {
        "black",
        "dog",
        "run",
        "grass",
    }
    assert content_stems("a group of") == frozenset()
