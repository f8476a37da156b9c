"""Alt text: what is said, what is left out, and in which words."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regiontalk.export import alt_text as narration
from regiontalk.export.alt_text import (
    narrate,
    neutral_wording,
    speak,
    tidy,
    worth_naming,
)
from regiontalk.records import ImageResult, RegionCaption

LEFT, MIDDLE, RIGHT, ALL = (
    (5, 20, 25, 40),
    (40, 20, 60, 40),
    (75, 20, 95, 40),
    (0, 0, 100, 60),
)
INSIDE_LEFT = (7, 22, 22, 38)


def region(
    box: tuple[float, ...], text: str | None, confidence: float = 0.6
) -> RegionCaption:
    return RegionCaption((box[0], box[1], box[2], box[3]), text, confidence)


def result(
    caption: str | None, *regions: RegionCaption, confidence: float = 0.8
) -> ImageResult:
    whole = None if caption is None else region(ALL, caption, confidence)
    return ImageResult("a.jpg", (100, 60), "mini", whole, regions)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        pytest.param(result("a dog runs"), "A dog runs.", id="only the photo"),
        pytest.param(result(None), "", id="nothing"),
        pytest.param(result("a dog runs", confidence=0.1), "", id="not confident"),
        pytest.param(
            result("a dog runs", region(LEFT, "a ball", 0.1)),
            "A dog runs.",
            id="a region not confident",
        ),
        pytest.param(
            result("a dog runs", region(LEFT, None)),
            "A dog runs.",
            id="a region without words",
        ),
        pytest.param(
            result("it rains", region(LEFT, "a red ball"), confidence=0.1),
            "On the left, a red ball.",
            id="only regions",
        ),
        pytest.param(
            result(
                "a dog runs",
                region(RIGHT, "a ball"),
                region(LEFT, "a tree"),
                region(MIDDLE, "a car"),
            ),
            "A dog runs. On the left, a tree. In the middle, a car. On the right, a ball.",
            id="left to right",
        ),
        pytest.param(
            result(
                "a dog runs",
                region((8, 0, 12, 9), "a bird"),
                region(LEFT, "a tree"),
                region((9, 0, 19, 9), "a hat"),
            ),
            "A dog runs. On the left, a bird, a hat and a tree.",
            id="three on one side",
        ),
        pytest.param(
            result(
                "a brown dog runs in the grass",
                region(LEFT, "a brown dog"),
                region(RIGHT, "a red car"),
            ),
            "A brown dog runs in the grass. On the right, a red car.",
            id="the photo's own things are not said again",
        ),
        pytest.param(
            result(
                "a man runs",
                region(LEFT, "a boy in a red shirt", 0.9),
                region(RIGHT, "a man in a hat"),
            ),
            "A man runs. On the right, a man in a hat.",
            id="one man was said: the best one is he, the other is another",
        ),
        pytest.param(
            result(
                "two dogs run",
                region(LEFT, "a black dog"),
                region(RIGHT, "a white dog"),
            ),
            "Two dogs run. On the left, a black dog. On the right, a white dog.",
            id="each of two that were said together",
        ),
        pytest.param(
            result(
                "a dog runs",
                region(LEFT, "a tree", 0.9),
                region(INSIDE_LEFT, "a green tree", 0.5),
            ),
            "A dog runs. On the left, a tree.",
            id="one thing, two boxes: the more confident speaks",
        ),
        pytest.param(
            result(
                "a dog runs",
                region(LEFT, "a green tree"),
                region(RIGHT, "the green trees"),
            ),
            "A dog runs. On the left, a green tree.",
            id="the same words are not said twice",
        ),
        pytest.param(
            result("two boys play", region(RIGHT, "two children")),
            "Two boys play.",
            id="other words for the same people",
        ),
        pytest.param(
            result(
                "a black dog is running in grass", region(LEFT, "runs in the grass")
            ),
            "A black dog is running in grass.",
            id="another form of the same words",
        ),
        pytest.param(
            result("a group of dogs run", region(LEFT, "two dogs")),
            "A group of dogs run.",
            id="a number is not new",
        ),
        pytest.param(
            result(
                "a dog runs", region(LEFT, "in a"), region(RIGHT, "a ball in a red")
            ),
            "A dog runs. On the right, a ball.",
            id="broken off",
        ),
    ],
)
def test_narrate(given: ImageResult, text: str) -> None:
    assert narrate(given) == text


def test_a_sentence_that_is_not_sure_is_hedged() -> None:
    unsure = replace(region(ALL, "a dog runs", 0.4), sure=False)
    given = ImageResult("a.jpg", (100, 60), "mini", unsure, (region(LEFT, "a ball"),))
    assert narrate(given) == "Perhaps a dog runs. On the left, a ball."


def test_distinct() -> None:
    man, boy, dog = (
        region(LEFT, "a man in a"),
        region(INSIDE_LEFT, "a boy", 0.7),
        region(INSIDE_LEFT, "a dog", 0.5),
    )
    far, faint, mute = (
        region(RIGHT, "a man", 0.4),
        region(RIGHT, "a car", 0.1),
        region(RIGHT, None),
    )
    kept = narration.distinct([man, boy, dog, far, faint, mute])
    assert [(one.text, one.box) for one in kept] == [
        ("a boy", boy.box),
        ("a dog", dog.box),
        ("a man", far.box),
    ]
    assert narration.distinct([]) == []


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        pytest.param(
            200,
            "A dog runs on the beach. On the left, a red ball. On the right, a tall tree.",
            id="all",
        ),
        pytest.param(
            60,
            "A dog runs on the beach. On the right, a tall tree.",
            id="the more confident stays",
        ),
        pytest.param(30, "A dog runs on the beach.", id="no room for a region"),
        pytest.param(24, "A dog runs on the beach.", id="just fits"),
        pytest.param(23, "A dog runs on the…", id="cut at a word"),
    ],
)
def test_limit(limit: int, text: str) -> None:
    said = result(
        "a dog runs on the beach",
        region(LEFT, "a red ball", 0.5),
        region(RIGHT, "a tall tree", 0.6),
    )
    assert narrate(said, limit=limit) == text and len(text) <= limit


WORDS = st.sampled_from(
    "a the man woman dog dogs red white ball in on is running group of her two".split()
)
BOXES = st.tuples(
    st.integers(0, 60), st.integers(0, 30), st.integers(1, 40), st.integers(1, 30)
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(WORDS, max_size=40),
    st.lists(
        st.tuples(st.lists(WORDS, max_size=9), BOXES, st.floats(0, 1)), max_size=12
    ),
    st.integers(20, 200),
    st.booleans(),
)
def test_what_always_holds(
    caption: list[str],
    parts: list[tuple[list[str], Any, float]],
    limit: int,
    neutral: bool,
) -> None:
    regions = [
        region((x, y, x + w, y + h), " ".join(words), p)
        for words, (x, y, w, h), p in parts
    ]
    said = result(" ".join(caption), *regions)
    text = narrate(said, limit=limit, neutral=neutral)
    assert len(text) <= limit and text == " ".join(text.split())
    named = worth_naming(said, neutral=neutral)
    assert len({one.text for one in named}) == len(named)
    assert all(one.confidence >= narration.MIN_CONFIDENCE for one in named)
    centres = [one.box[0] + one.box[2] for one in named]
    assert centres == sorted(centres)
    assert not neutral or not {"man", "woman", "her"} & set(
        text.lower().replace(".", " ").split()
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(
            {"limit": 19}, "limit: expected 20 characters or more, got 19", id="limit"
        ),
        pytest.param(
            {"min_confidence": 1.5},
            "min_confidence: expected 0 to 1, got 1.5",
            id="min_confidence",
        ),
    ],
)
def test_refused(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        narrate(result("a dog"), **options)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        pytest.param(None, "", id="none"),
        pytest.param("  a   dog. ", "a dog", id="blanks and a full stop"),
        pytest.param(
            "a man in a red shirt is", "a man in a red shirt", id="verb without its end"
        ),
        pytest.param("a man in a yellow", "a man", id="colour of nothing"),
        pytest.param(
            "a man in a black and white", "a man", id="two colours of nothing"
        ),
        pytest.param("a man in black", "a man in black", id="dressed in a colour"),
        pytest.param("the sky is blue", "the sky is blue", id="is a colour"),
        pytest.param("a white shirt and a white shirt", "a white shirt", id="doubled"),
        pytest.param("a dog and a dog", "a dog and a dog", id="two things of one name"),
    ],
)
def test_tidy(text: str | None, wanted: str) -> None:
    assert tidy(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        pytest.param("a man and woman smile", "two people smile", id="two people"),
        pytest.param(
            "two men, a lady and her sons",
            "two people, a person and their children",
            id="commas",
        ),
        pytest.param(
            "The Woman's hat. He is old",
            "The Person's hat. They are old",
            id="capitals and 's",
        ),
        pytest.param(
            "she watches a dog behind her",
            "they watch a dog behind them",
            id="she and her",
        ),
        pytest.param(
            "a male and a female athlete", "a person and an athlete", id="male, female"
        ),
        pytest.param(
            "a human in a mango shop",
            "a human in a mango shop",
            id="words that hold others",
        ),
        pytest.param(
            "two policemen and a fireman",
            "two police officers and a firefighter",
            id="callings",
        ),
        pytest.param("a bride and groom", "two newlyweds", id="a couple"),
        pytest.param(
            "a cowgirl in a cowboy hat.",
            "a cowhand in a cowboy hat.",
            id="the name of a thing",
        ),
        pytest.param("a mans face", "a person's face", id="a lost apostrophe"),
        pytest.param("", "", id="empty"),
    ],
)
def test_neutral_wording(text: str, wanted: str) -> None:
    assert neutral_wording(text) == wanted


# Words of the vocabulary that hold man, men, boy, girl or maid and guess nobody's sex
NOBODYS = frozenset(
    "many german human doberman snowman batman superman spiderman moment cement "
    "pavement monument equipment amusement instrument instruments advertisement "
    "performance apartment tournament maneuver maneuvers "
    "assortment condiments".split()
)


def test_every_word_that_mini_knows() -> None:
    path = Path(narration.__file__).parents[1] / "models" / "mini" / "vocabulary.json"
    guesses = [
        word
        for word in json.loads(path.read_text())["words"]
        if re.search("man|men|boy|girl|maid", word)
    ]
    assert "man" in guesses
    assert [
        word
        for word in guesses
        if word not in NOBODYS and neutral_wording(word) == word
    ] == []


def program(folder: Path, code: int) -> None:
    """A stand-in for espeak-ng that writes down what it hears."""
    path = folder / "espeak-ng"
    path.write_text(
        f'#!/bin/sh\ncat > "{folder}/heard"\necho "no sound card" >&2\nexit {code}\n'
    )
    path.chmod(0o755)


def test_speak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    program(tmp_path, 0)
    speak("-v a dog")  # not an option
    assert (tmp_path / "heard").read_text() == "-v a dog"
    program(tmp_path, 1)
    with pytest.raises(
        OSError, match=r"could not speak .no sound card.; is there sound"
    ):
        speak("a dog")
    monkeypatch.setattr(narration.shutil, "which", lambda _: None)
    with pytest.raises(OSError, match="espeak-ng is not installed; install it"):
        speak("a dog")


def test_the_real_voice(tmp_path: Path) -> None:
    found = narration.shutil.which("espeak-ng")
    if found is None:
        pytest.skip("espeak-ng is not installed")
    subprocess.run(
        [found, "--stdin", "-w", str(tmp_path / "a.wav")],
        input="a dog",
        text=True,
        check=True,
    )
    assert (tmp_path / "a.wav").read_bytes()[:4] == b"RIFF"
