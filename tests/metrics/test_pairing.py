"""Pairing: every kind of trouble is counted, named and treated as its line says."""

from __future__ import annotations

from typing import Any

import pytest

from regiontalk.metrics.pairing import pair

REFERENCES = {1: ["a dog"], 2: ["a cat"]}


@pytest.mark.parametrize(
    ("predictions", "references", "wanted"),
    [
        pytest.param({1: "a dog", 2: "cat"}, REFERENCES, {}, id="all-well"),
        pytest.param(
            {1: "a dog"}, REFERENCES, {"missing prediction": ("2",)}, id="missing"
        ),
        pytest.param(
            {1: "a", 2: "b", 9: "c"},
            REFERENCES,
            {"prediction without references": ("9",)},
            id="unknown",
        ),
        pytest.param(
            [(1, "a"), (1, "b"), (2, "c")],
            REFERENCES,
            {"duplicate prediction": ("1",)},
            id="duplicate",
        ),
        pytest.param(
            {1: " ", 2: "b"}, REFERENCES, {"empty prediction": ("1",)}, id="empty"
        ),
        pytest.param(
            {1: "...", 2: "b"},
            REFERENCES,
            {"prediction of punctuation only": ("1",)},
            id="marks-only",
        ),
        pytest.param(
            {1: "caf\u00e9", 2: "b"},
            REFERENCES,
            {"non-ASCII text": ("1",)},
            id="non-ascii",
        ),
        pytest.param(
            {1: "a"},
            {1: ["a", "."]},
            {"reference without words": ("1",)},
            id="wordless-reference",
        ),
        pytest.param(
            {1: "a", 2: "b"},
            {1: ["a"], 2: []},
            {"no usable reference": ("2",), "prediction without references": ("2",)},
            id="no-reference",
        ),
    ],
)
def test_problems(
    predictions: Any,
    references: dict[int, list[str]],
    wanted: dict[str, tuple[str, ...]],
) -> None:
    found = pair(predictions, references)
    assert {problem.kind: problem.examples for problem in found.problems} == wanted
    assert all(
        problem.count == 1 and problem.kind in problem.line()
        for problem in found.problems
    )
    assert len(found.ids) == len(found.candidates) == len(found.references)


def test_what_is_scored() -> None:
    found = pair([(1, "A dog."), (1, "no")], {1: ["The dog!"], 2: ["x", "y"]})
    assert found.ids == (1, 2)
    assert found.candidates == (
        ["a", "dog"],
        [],
    )  # the first of two; an empty caption for the missing one
    assert found.references == ((["the", "dog"],), (["x"], ["y"]))


def test_tokenized_text_is_left_alone() -> None:
    assert pair({1: "A dog ."}, {1: ["a"]}, tokenized=True).candidates == (
        ["A", "dog", "."],
    )


@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        pytest.param(
            {"1": "a"}, {1: ["a"]}, "of one data set and type", id="ids-of-another-type"
        ),
        pytest.param({1: "a"}, {}, "expected predictions", id="no-references"),
        pytest.param({1: "a"}, {1: "a dog"}, "list of sentences", id="string"),
    ],
)
def test_errors(predictions: Any, references: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pair(predictions, references)
