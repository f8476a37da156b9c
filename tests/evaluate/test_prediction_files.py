"""Captions in the forms of people's files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from regiontalk.evaluate.prediction_files import caption_pairs

RESULTS = [{"image_id": 1, "caption": "a dog"}, {"image_id": 2, "caption": "a cat"}]


@pytest.mark.parametrize(
    ("values", "pairs"),
    [
        pytest.param(RESULTS, [("1", "a dog"), ("2", "a cat")], id="COCO results"),
        pytest.param(
            {"annotations": RESULTS, "images": []},
            [("1", "a dog"), ("2", "a cat")],
            id="COCO annotations",
        ),
        pytest.param({"1": "a dog"}, [("1", "a dog")], id="id to caption"),
        pytest.param(
            {"1": ["a dog", "a cat"]},
            [("1", "a dog"), ("1", "a cat")],
            id="id to captions",
        ),
        pytest.param(
            {"1": [{"caption": "a dog"}]},
            [("1", "a dog")],
            id="id to records, as coco-caption holds them",
        ),
        pytest.param(
            {"results": RESULTS}, [("1", "a dog"), ("2", "a cat")], id="wrapped"
        ),
        pytest.param([{"image_id": 6.0, "caption": "x"}], [("6", "x")], id="float ids"),
        pytest.param(
            [{"image_id": "006", "caption": None}], [("6", "")], id="padded, null"
        ),
        pytest.param(
            {
                "images": [
                    {"filename": "a.jpg", "sentences": [{"raw": "x"}, {"raw": "y"}]}
                ]
            },
            [("a.jpg", "x"), ("a.jpg", "y")],
            id="Karpathy's file",
        ),
        pytest.param(
            [{"photo": "b/a.jpg", "caption": {"text": "x"}, "regions": []}],
            [("a.jpg", "x")],
            id="our own output",
        ),
    ],
)
def test_caption_pairs(values: Any, pairs: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "captions.json"
    path.write_text(json.dumps(values))
    assert caption_pairs(path) == pairs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("[", "expected captions as JSON", id="not JSON"),
        pytest.param(None, "expected captions as JSON", id="no file"),
        pytest.param(
            '[{"id": 1, "text": "x"}]',
            "entry 1: expected image_id and caption, got id, text",
            id="other keys",
        ),
        pytest.param(
            '[{"id": 1, "caption": "x"}, {"id": 2, "caption": NaN}]',
            "entry 2, image_id 2: caption: expected text, got a number NaN",
            id="NaN",
        ),
        pytest.param(
            '[{"id": 1, "caption": ["x"]}]',
            r'entry 1, image_id 1: .* got a list \["x"\]',
            id="a list",
        ),
        pytest.param("3", "expected a list of image_id and caption", id="a number"),
        pytest.param(
            '{"1": [3]}', "expected a list of image_id and caption", id="no text"
        ),
    ],
)
def test_bad_caption_files(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "captions.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=message):
        caption_pairs(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_lines_of_any_encoding(tmp_path: Path, encoding: str) -> None:
    lines = "\n".join(json.dumps(row) for row in RESULTS) + "\n"
    (tmp_path / "lines.jsonl").write_bytes(lines.encode(encoding))
    assert caption_pairs(tmp_path / "lines.jsonl") == [("1", "a dog"), ("2", "a cat")]
