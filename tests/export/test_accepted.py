"""Accepted alt texts: each finds its photo and no other."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from regiontalk.export.accepted import AcceptedText, AcceptedTexts, read_texts

DOG = hashlib.sha256(b"dog").hexdigest()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``a/image.png`` and ``b/image.png`` of different bytes.

    And a copy of the first under another name.
    """
    monkeypatch.chdir(tmp_path)
    for name, content in (
        ("a/image.png", b"dog"),
        ("b/image.png", b"cat"),
        ("b/copy.png", b"dog"),
    ):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(content)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param(
            {"photo": "image.png", "sha256": DOG},
            {"a/image.png": "A dog.", "b/copy.png": "A dog."},
            id="hash",
        ),
        pytest.param({"photo": "gone.png", "sha256": "0" * 64}, {}, id="other bytes"),
        pytest.param(
            {"photo": "image.png", "sha256": "0" * 64}, {}, id="other bytes of one name"
        ),
        pytest.param({"photo": "b/image.png"}, {"b/image.png": "A dog."}, id="path"),
        pytest.param(
            {"photo": "b/../a/image.png"},
            {"a/image.png": "A dog."},
            id="a path in another form",
        ),
        pytest.param(
            {"photo": "copy.png", "sha256": None}, {"b/copy.png": "A dog."}, id="name"
        ),
        pytest.param({"photo": "copy.png", "alt": ""}, {}, id="no text"),
    ],
)
def test_photos(text: dict[str, str], found: dict[str, str]) -> None:
    Path("t.json").write_text(json.dumps([{"alt": " A\ndog.\x00", **text}]))
    texts = read_texts(Path("t.json"))
    said = {
        photo: texts.of(photo)
        for photo in ("a/image.png", "b/image.png", "b/copy.png", "b/gone.png")
    }
    assert {photo: alt for photo, alt in said.items() if alt} == found
    assert texts.unused == ([] if found or text.get("alt") == "" else [text["photo"]])


def test_a_name_is_one_photo() -> None:
    texts = AcceptedTexts([AcceptedText(photo="image.png", alt="A dog.")])
    assert [texts.of("a/image.png") for _ in range(2)] == ["A dog."] * 2
    with pytest.raises(
        ValueError,
        match=r"b/image.png: the text for image.png was given to a/image.png; put paths",
    ):
        texts.of("b/image.png")


def test_lines() -> None:
    Path("t.jsonl").write_text(
        '{"photo": "a/image.png", "alt": "A"}\n{"photo": "b/image.png", "alt": "B"}\n'
    )
    texts = read_texts(Path("t.jsonl"))
    assert [texts.of("a/image.png"), texts.of("b/image.png")] == ["A", "B"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "no json",
            "--texts t.json: expected alt-texts.json of the page",
            id="no JSON",
        ),
        pytest.param('[{"photo": "a"}]', "0.alt: Field required", id="no text"),
        pytest.param(
            '[{"photo": "a", "alt": "b", "sha256": "1"}]', "0.sha256", id="no hash"
        ),
        pytest.param(
            '[{"photo": "a", "alt": "b", "c": 1}]',
            "0.c: Extra inputs",
            id="unknown key",
        ),
        pytest.param(
            '{"photo": "a", "alt": "b"}\n{"photo": "a", "alt": "c"}',
            "got two; keep one",
            id="two texts",
        ),
        pytest.param("5", "expected alt-texts.json", id="a number"),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    Path("t.json").write_text(text)
    with pytest.raises(ValueError, match=r"^--texts t\.json: ") as caught:
        read_texts(Path("t.json"))
    assert message in str(caught.value) and "\n" not in str(caught.value)
