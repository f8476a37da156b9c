"""When a caption is right."""

from __future__ import annotations

import pytest

from regiontalk.evaluate.correctness import (
    content_words,
    is_photo_correct,
    is_region_correct,
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("A man's T-shirt!", ["mans", "tshirt"], id="our tokens"),
        pytest.param("him and his", [], id="function words"),
        pytest.param(
            "two <unk> dogs", ["two", "dogs"], id="a word the model does not know"
        ),
        pytest.param("", [], id="empty"),
    ],
)
def test_content_words(text: str, words: list[str]) -> None:
    assert content_words(text) == words


@pytest.mark.parametrize(
    ("caption", "phrases", "right"),
    [
        pytest.param("a red shirt", ["his shirt"], True, id="1 shared of 2 and 1: 2/3"),
        pytest.param(
            "a red shirt", ["his blue old shirt"], False, id="1 shared of 2 and 3: 2/5"
        ),
        pytest.param(
            "a red shirt", ["a cat", "red shirt"], True, id="the best phrase counts"
        ),
        pytest.param(
            "dog dog", ["a dog"], True, id="repeats count: 1 shared of 2 and 1, 2/3"
        ),
        pytest.param(
            "dog dog dog dog",
            ["a dog"],
            False,
            id="repeats count: 1 shared of 4 and 1, 2/5",
        ),
        pytest.param("in the", ["a dog"], False, id="nothing said"),
        pytest.param("a dog", ["him", "them"], None, id="nothing to compare with"),
        pytest.param("a dog", ["him", "a dog"], True, id="a pronoun beside a noun"),
    ],
)
def test_region_right(caption: str, phrases: list[str], right: bool | None) -> None:
    assert is_region_correct(caption, phrases) is right


@pytest.mark.parametrize(
    ("caption", "sentences", "right"),
    [
        pytest.param("a dog on the moon", ["A dog runs."], True, id="one of two"),
        pytest.param("a dog eats the moon", ["A dog runs."], False, id="one of three"),
        pytest.param(
            "a dog eats", ["A dog runs.", "It eats."], True, id="words of any sentence"
        ),
        pytest.param("", ["A dog runs."], False, id="nothing said"),
        pytest.param("a dog", ["It is!"], None, id="nothing to compare with"),
    ],
)
def test_photo_right(caption: str, sentences: list[str], right: bool | None) -> None:
    assert is_photo_correct(caption, sentences) is right
