"""Caption scores with intervals over photos."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from regiontalk.evaluate.judges import (
    find_meteor,
    find_tables,
    score_by_photo,
    sums_by_photo,
)
from regiontalk.metrics.captions import score_captions
from regiontalk.metrics.meteor.score import meteor_statistics
from regiontalk.metrics.meteor.tables import MeteorTables

SAID = {
    "a#1": "a red dog",
    "a#2": "a cat sits",
    "b#1": "two men on bikes",
    "c#1": "a tree",
}
TRUTH = {
    "a#1": ["a dog"],
    "a#2": ["the cat", "a cat"],
    "b#1": ["two men on their bikes"],
    "c#1": ["green tree", "it"],
}
PHOTO = {name: name[0] for name in SAID}
METEOR = partial(meteor_statistics, tables=MeteorTables())


@pytest.mark.parametrize("meteor", [None, METEOR], ids=["two stages", "METEOR given"])
def test_values_are_those_of_the_metric(meteor: Any) -> None:
    found = score_by_photo(
        SAID, TRUTH, PHOTO, meteor=meteor, training=["a tree"], resamples=50
    )
    plain = score_captions(
        SAID, TRUTH, meteor=meteor, training=["a tree"], resamples=50
    )
    assert list(found.figures) == list(plain.figures)
    for name, figure in plain.figures.items():
        mine = found.figures[name]
        assert (mine is None) == (figure is None)
        if mine is not None and figure is not None:
            assert (
                mine.value == pytest.approx(figure.value)
                and mine.low <= mine.value <= mine.high
            )
    assert (found.diversity, found.counts) == (plain.diversity, plain.counts)


def test_one_photo_has_no_spread_however_many_boxes() -> None:
    rouge = score_by_photo(SAID, TRUTH, dict.fromkeys(SAID, "a"), resamples=50).figures[
        "ROUGE-L"
    ]
    assert rouge is not None and rouge.low == pytest.approx(
        rouge.value
    ) == pytest.approx(rouge.high)
    plain = score_captions(SAID, TRUTH, resamples=50).figures["ROUGE-L"]
    assert plain is not None and plain.low < plain.high


def test_sums_equal_loops() -> None:
    random = np.random.default_rng(0)
    rows, photos = (
        random.random((20, 3)),
        np.concatenate([np.arange(5), random.integers(0, 5, 15)]),
    )
    slow = [
        [sum(rows[c, s] for c in range(20) if photos[c] == p) for s in range(3)]
        for p in range(5)
    ]
    assert np.allclose(sums_by_photo(rows, photos), slow)


def test_tables_or_a_reason() -> None:
    tables, reason = find_tables()
    assert (tables is None) == bool(reason) == (find_meteor() is None)
