"""Tokens, vocabularies and their file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from regiontalk.datasets.splits import read_split
from regiontalk.text.vocabulary import (
    END,
    PAD,
    START,
    UNKNOWN,
    Vocabulary,
    pad_token_ids,
    tokenize,
)


@pytest.mark.parametrize(
    ("sentence", "tokens"),
    [
        pytest.param(
            "A dog runs .", ["a", "dog", "runs"], id="lower case; a lone dot goes"
        ),
        pytest.param(
            "the man's T-shirt",
            ["the", "mans", "tshirt"],
            id="dropped inside a word, which stays one",
        ),
        pytest.param("  two\tblanks \n", ["two", "blanks"], id="any blanks"),
        pytest.param(
            "snake_case 3rd", ["snakecase", "3rd"], id="underscore and digits"
        ),
        pytest.param(
            "Ein Fuß, été!", ["ein", "fuß", "été"], id="letters of other languages stay"
        ),
        pytest.param("?! -- ...", [], id="nothing but marks"),
        pytest.param("", [], id="empty"),
    ],
)
def test_tokenize(sentence: str, tokens: list[str]) -> None:
    assert tokenize(sentence) == tokens
    plain = [
        "".join(c for c in word if c.isalnum()) for word in sentence.lower().split()
    ]  # the rule in plain loops
    assert tokenize(sentence) == [word for word in plain if word]


def test_build_by_hand() -> None:
    """dog 3, a 2, cat 2, the 1: at least two, most frequent first, ties by spelling."""
    vocabulary = Vocabulary.build(["a dog", "A cat", "the dog dog cat"], min_count=2)
    assert (
        vocabulary.words[4:] == ["dog", "a", "cat"]
        and vocabulary.counts == [3, 2, 2]
        and len(vocabulary) == 7
    )
    assert (
        vocabulary.encode("The dog: a cat!") == [UNKNOWN, 4, 5, 6]
        and vocabulary.encode("") == []
    )
    assert "dog" in vocabulary and "the" not in vocabulary
    assert vocabulary.decode([START, 4, PAD, UNKNOWN, 5, END, 6]) == "dog <unk> a"


def test_words_of_flickr8k(shared: Path) -> None:
    """The paper has 2,538."""
    examples, _ = read_split(shared / "data", "train")
    vocabulary = Vocabulary.build(
        caption for example in examples for caption in example.captions
    )
    assert len(vocabulary) - 4 == 2537


def test_file(tmp_path: Path) -> None:
    vocabulary = Vocabulary(["été", "dog"], [7, 5])
    vocabulary.save(tmp_path / "v.json")
    read = Vocabulary.load(tmp_path / "v.json")
    assert (read.words, read.counts) == (vocabulary.words, vocabulary.counts)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("{", "expected a vocabulary with words and counts", id="not JSON"),
        pytest.param("[]", "expected a vocabulary", id="a list"),
        pytest.param({"words": ["a"]}, "expected a vocabulary", id="no counts"),
        pytest.param(
            {"words": 5, "counts": []}, "expected a vocabulary", id="a number"
        ),
        pytest.param(
            {"words": ["a", "a"], "counts": [1, 1]}, "distinct words", id="twice"
        ),
        pytest.param(
            {"words": ["<end>"], "counts": [1]},
            "distinct words without",
            id="a special word",
        ),
        pytest.param(
            {"words": ["a", "b"], "counts": [1]},
            "expected 2 counts, got 1",
            id="a count missing",
        ),
        pytest.param(b"\xff\xfe\xfd", "expected a vocabulary", id="not text"),
    ],
)
def test_bad_files(tmp_path: Path, content: Any, message: str) -> None:
    text = content if isinstance(content, bytes | str) else json.dumps(content)
    (tmp_path / "v.json").write_bytes(
        text if isinstance(text, bytes) else text.encode()
    )
    with pytest.raises(ValueError, match=message):
        Vocabulary.load(tmp_path / "v.json")


@pytest.mark.parametrize("sentences", [[], [[]], [[5, 6, 7], [], [8]], [[4]]], ids=str)
def test_pad_words(sentences: list[list[int]]) -> None:
    words, mask = pad_token_ids(sentences)
    width = max([1, *map(len, sentences)])
    assert tuple(words.shape) == tuple(mask.shape) == (len(sentences), width)
    assert [
        row[kept].tolist() for row, kept in zip(words, mask, strict=True)
    ] == sentences
    assert (words[~mask] == PAD).all()


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("एक महिला वर्दी में", ["एक", "महिला", "वर्दी", "में"]),
        ("a cafe\u0301", ["a", "caf\u00e9"]),
        ("مُدَرِّسَة", ["مُدَرِّسَة"]),
        ("🐱🚀 \u2764\ufe0f!", []),
        ("<start> a <unk> b <end>", ["a", "<unk>", "b"]),
        ("a <b> c", ["a", "b", "c"]),
    ],
    ids=["Hindi", "NFC", "Arabic", "emoji", "marks of other tools", "no mark"],
)
def test_every_script_keeps_its_marks(sentence: str, expected: list[str]) -> None:
    assert tokenize(sentence) == expected


def test_the_unknown_word_is_no_word() -> None:
    vocabulary = Vocabulary.build(["a <unk> b", "<unk>"], min_count=1)
    assert vocabulary.words[4:] == ["a", "b"]
    assert vocabulary.encode("a <unk>") == [4, 3]
