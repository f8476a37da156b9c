"""Charts as numbers, and their pictures."""

from __future__ import annotations

import sys
from xml.etree import ElementTree

import numpy as np
import pytest

from regiontalk.evaluate.charts import (
    Chart,
    Line,
    histogram,
    rank_curve,
    reliability_chart,
)
from regiontalk.evaluate.plots import svg
from regiontalk.metrics.calibration import reliability


def test_rank_curve_by_hand() -> None:
    # ranks 1, 2, 4 and 12 of two photos: one of four at 1, two at 2 and 3, three at 5 and 10; K
    # ends at the last rank
    line = rank_curve(
        "found", np.array([1, 2, 4, 12]), ["a", "a", "b", "b"], 10, resamples=20
    )
    assert line.x == (1, 2, 3, 5, 10) and line.y == (0.25, 0.5, 0.5, 0.75, 0.75)
    assert all(
        low <= value <= high
        for low, value, high in zip(line.low, line.y, line.high, strict=True)
    )


@pytest.mark.parametrize(
    ("groups", "lines"),
    [
        # 0..4 in four bins: 0 | 1 | - | 3 and 4
        pytest.param(
            {"a": [0.0, 1.0, 3.0, 4.0]}, {"a": (0.25, 0.25, 0.0, 0.5)}, id="one"
        ),
        pytest.param(
            {"a": [0.0, 4.0], "b": [4.0]},
            {"a": (0.5, 0, 0, 0.5), "b": (0, 0, 0, 1.0)},
            id="common bins",
        ),
        pytest.param({"a": [2.0, 2.0]}, {"a": (1.0, 0, 0, 0)}, id="constant"),
        pytest.param({"a": []}, {}, id="nothing"),
    ],
)
def test_histogram(
    groups: dict[str, list[float]], lines: dict[str, tuple[float, ...]]
) -> None:
    found = histogram("title", "value", groups, bins=4)
    assert {line.name: line.y for line in found.lines} == lines
    assert all(len(line.x) == len(line.y) + 1 for line in found.lines)


def test_reliability_chart_leaves_empty_bins_out() -> None:
    held = reliability([0.05, 0.95, 0.95], [False, True, False], resamples=5)
    (line,) = reliability_chart("title", {"model": held}).lines
    assert line.x == pytest.approx((0.05, 0.95)) and line.y == (0.0, 0.5)


LINE = Line("a < b", (1.0, 10.0), (0.1, 0.5), (0.0, 0.4), (0.2, 0.6))


@pytest.mark.parametrize(
    "chart",
    [
        pytest.param(Chart("curve", "t", "x", "y", (LINE,)), id="curve"),
        pytest.param(Chart("lines", "t", "x", "y", (LINE, LINE)), id="lines"),
        pytest.param(Chart("reliability", "t", "x", "y", (LINE,)), id="reliability"),
        pytest.param(histogram("t", "x", {"a": [1.0, 2.0]}), id="histogram"),
        pytest.param(histogram("t", "x", {}), id="nothing to draw"),
    ],
)
def test_svg_stands_by_itself(chart: Chart) -> None:
    text = svg(chart)
    assert ElementTree.fromstring(text).tag.endswith("svg") and text == svg(chart)
    assert "metadata" not in text and "DOCTYPE" not in text


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'regiontalk\[eval\]'"):
        svg(Chart("lines", "t", "x", "y", ()))
