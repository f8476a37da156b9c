"""The one record of all protocols, and how its figures are shown."""

from __future__ import annotations

import json

import pytest

from regiontalk.evaluate.result import (
    Figure,
    Result,
    caption_notes,
    caption_row,
    cell,
    columns,
    plain,
    unique,
)
from regiontalk.metrics.bootstrap import Interval
from regiontalk.metrics.captions import score_captions

NAN = float("nan")


@pytest.mark.parametrize(
    ("column", "figure", "text"),
    [
        pytest.param(
            "R@1",
            Interval(0.125, 0.1, 0.15),
            "12.5\n10.0-15.0",
            id="share with interval",
        ),
        pytest.param(
            "median rank", Interval(12.5, 3.5, 26.0), "12.5\n3.5-26.0", id="rank"
        ),
        pytest.param("R@1", Interval(0.5, NAN, NAN), "50.0", id="no interval"),
        pytest.param("distinct-1", 0.25, "25.0", id="number"),
        pytest.param("METEOR", None, "-", id="could not run"),
    ],
)
def test_cell(column: str, figure: Figure, text: str) -> None:
    assert cell(column, figure) == text


@pytest.mark.parametrize(
    ("figure", "value"),
    [
        pytest.param(
            Interval(0.5, 0.25, NAN),
            {"value": 0.5, "low": 0.25, "high": None},
            id="interval",
        ),
        pytest.param(NAN, None, id="not a number"),
        pytest.param(None, None, id="none"),
        pytest.param(0.5, 0.5, id="number"),
    ],
)
def test_plain(figure: Figure, value: object) -> None:
    assert plain(figure) == value


def test_result_is_plain_json() -> None:
    result = Result(
        "x",
        {"model": {"a": 0.5}, "floor": {"b": None, "a": NAN}},
        {"photos": 2},
        ("said",),
        ({"k": 1},),
    )
    assert columns(result) == ["a", "b"]
    values = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert values == {
        "protocol": "x",
        "figures": {"model": {"a": 0.5}, "floor": {"b": None, "a": None}},
        "counts": {"photos": 2},
        "notes": ["said"],
        "charts": [],
    }


def test_caption_row_and_notes() -> None:
    scores = score_captions(
        {1: "a dog", 2: ""},
        {1: ["a dog"], 2: ["a cat"]},
        training=["a dog"],
        resamples=5,
    )
    row = caption_row(scores)
    # spoken words: a, dog; both distinct; the one caption with words stands in training; two words
    # a caption
    variety = [
        row[name].value
        for name in ("distinct-1", "vocabulary", "mean length", "in training")
    ]  # type: ignore[union-attr]
    assert variety == [1.0, 2.0, 2.0, 1.0]
    assert {"BLEU-4", "CIDEr-D", "ROUGE-L"} <= set(row)
    assert any(
        "model: empty prediction: 1" in line for line in caption_notes("model", scores)
    )


def test_unique_keeps_the_order() -> None:
    assert unique(["b", "a", "b"]) == ("b", "a")
