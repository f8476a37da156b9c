"""Changed data by content: what counts as another photo, caption or box, and how it is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from regiontalk.records import Example, Phrase
from regiontalk.train.changes import (
    content_hash,
    data_manifest,
    describe_changes,
    photos_hash,
)


@pytest.fixture
def example(tmp_path: Path) -> Example:
    photo = tmp_path / "a.jpg"
    photo.write_bytes(b"one photo")
    boxes = np.array([[0, 0, 5, 5], [1, 1, 9, 9]], dtype=np.float32)
    phrases = (Phrase("a cup", (0,)), Phrase("a table", (1,)))
    return Example(photo, ("a cup on a table", "a cup"), boxes, phrases, (10, 10), "a")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"captions": ("a cup on a table", "two cups")}, "1 photo, 1 caption changed"),
        (
            {"phrases": (Phrase("a mug", (0,)), Phrase("a table", (1,)))},
            "1 photo, 1 box changed",
        ),
        (
            {"boxes_xyxy": np.array([[0, 0, 4, 5], [1, 1, 8, 9]], dtype=np.float32)},
            "1 photo, 2 boxes changed",
        ),
        ({"id": "b"}, "1 photo added; 1 photo gone"),
    ],
    ids=["caption", "phrase", "boxes", "another name"],
)
def test_changes_are_named(
    example: Example, change: dict[str, object], expected: str
) -> None:
    now = replace(example, **change)  # type: ignore[arg-type]
    assert content_hash([now]) != content_hash([example])
    assert describe_changes(data_manifest([example]), data_manifest([now])) == expected


def test_a_photo_is_its_bytes(example: Example) -> None:
    manifest, photos, content = (
        data_manifest([example]),
        photos_hash([example]),
        content_hash([example]),
    )
    example.photo.write_bytes(b"another one")
    assert photos_hash([example]) != photos and content_hash([example]) != content
    assert (
        describe_changes(manifest, data_manifest([example]))
        == "1 photo, 1 picture changed"
    )
