"""What search refuses, and the states that it can reorder."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from regiontalk.runtime.search import beam, greedy, reorder, sample
from regiontalk.text.vocabulary import END


class Pair(NamedTuple):
    h: NDArray[Any]
    c: NDArray[Any] | None


@pytest.mark.parametrize(
    ("state", "rows", "expected"),
    [
        pytest.param(np.array([7, 8, 9]), [2, 0, 0], np.array([9, 7, 7]), id="tensor"),
        pytest.param(
            (np.array([7, 8]), (np.array([1, 2]),)),
            [1],
            (np.array([8]), (np.array([2]),)),
            id="nested",
        ),
        pytest.param(None, [0], None, id="none"),
        pytest.param((), [0], (), id="empty"),
        pytest.param(
            Pair(np.array([7, 8]), None), [1], Pair(np.array([8]), None), id="named"
        ),
        pytest.param(np.zeros((0, 3)), [], np.zeros((0, 3)), id="no rows"),
        pytest.param(
            [np.zeros(1)],
            [0],
            "expected arrays in nested tuples, Fixed or None, got list",
            id="list",
        ),
    ],
)
def test_reorder(state: Any, rows: list[int], expected: Any) -> None:
    index = np.array(rows, dtype=np.int64)
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=expected):
            reorder(state, index)
    else:
        got = reorder(state, index)
        assert type(got) is type(expected) and repr(got) == repr(expected)


NAN = lambda words, state: (np.full((len(words), 7), math.nan), state)  # noqa: E731
NARROW = lambda words, state: (np.zeros((len(words), 3)), state)  # noqa: E731
SHORT = lambda words, state: (np.zeros((len(words) + 1, 7)), state)  # noqa: E731


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(lambda: greedy(NAN, (), 1, 3), "got NaN", id="greedy, NaN"),
        pytest.param(lambda: beam(NAN, (), 1, 3, 2), "got NaN", id="beam, NaN"),
        pytest.param(lambda: sample(NAN, (), 1, 3), "got NaN", id="sample, NaN"),
        pytest.param(
            lambda: greedy(NARROW, (), 1, 3),
            r"expected log-probabilities \(1, V\) with V >= 4",
            id="narrow",
        ),
        pytest.param(
            lambda: beam(SHORT, (), 2, 3, 2),
            r"\(2, V\) with V >= 4, got \(3, 7\)",
            id="rows",
        ),
        pytest.param(lambda: greedy(NAN, (), -1, 3), "rows=-1", id="negative rows"),
        pytest.param(
            lambda: sample(NAN, (), -1, 3), "rows=-1", id="sample, negative rows"
        ),
        pytest.param(lambda: beam(NAN, (), 1, 0, 2), "max_words=0", id="no words"),
        pytest.param(lambda: beam(NAN, (), 1, 3, 0), "beams=0", id="no beams"),
        pytest.param(
            lambda: beam(NAN, (), 1, 3, 2, keep=3),
            "keep=3, beams=2",
            id="keep too many",
        ),
        pytest.param(lambda: beam(NAN, (), 1, 3, 2, keep=0), "keep=0", id="keep none"),
        pytest.param(
            lambda: beam(NAN, (), 1, 3, 2, horizon=-1), "horizon=-1", id="horizon"
        ),
        pytest.param(
            lambda: greedy(NAN, (), 1, 3, forbidden=(END,)),
            "other than END",
            id="END forbidden",
        ),
        pytest.param(
            lambda: greedy(NAN, (), 1, 3, forbidden=(-1,)),
            "other than END",
            id="negative word",
        ),
        pytest.param(
            lambda: beam(NAN, (), 1, 3, 2, length_power=-1.0),
            "length_power",
            id="negative power",
        ),
        pytest.param(
            lambda: greedy(NAN, (), 1, 3, length_power=math.nan),
            "length_power",
            id="power NaN",
        ),
        pytest.param(
            lambda: sample(NAN, (), 1, 3, 0.0), "above 0, got 0.0", id="temperature 0"
        ),
        pytest.param(
            lambda: sample(NAN, (), 1, 3, math.inf),
            "above 0, got inf",
            id="temperature inf",
        ),
    ],
)
def test_errors(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
