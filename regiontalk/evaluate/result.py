"""What every protocol returns.

Figures by row and column, counts, remarks, and the model's words.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from regiontalk.evaluate.charts import Chart
from regiontalk.evaluate.examples import Cases
from regiontalk.metrics.bootstrap import Interval
from regiontalk.metrics.captions import CaptionScores

Figure = Interval | float | None
"""A figure with its 95 % interval, one without, or None where it cannot be had.

A remark says why it cannot.
"""

PLAIN = frozenset(
    (
        "median rank",
        "mean rank",
        "mean length",
        "vocabulary",
        "items",
        "phrases",
        "chance rank",
        "words a photo",
    )
)
"""Columns that are numbers of their own.

All others are shares (CIDEr-D: 0..10) and are read as per cent.
"""


@dataclass(frozen=True)
class Result:
    """The outcome of one protocol.

    Attributes:
        protocol: its name.
        figures: row (the model, a baseline, a direction, a type) -> column -> figure.
        counts: what was counted and what was left out.
        notes: remarks that a reader of the table needs.
        outputs: the model's words, one entry a photo, region or phrase; plain values.
        charts: what is drawn of it.
        cases: examples to look at.
    """

    protocol: str
    figures: Mapping[str, Mapping[str, Figure]]
    counts: Mapping[str, int | float]
    notes: tuple[str, ...] = ()
    outputs: tuple[Mapping[str, Any], ...] = ()
    charts: tuple[Chart, ...] = ()
    cases: Cases = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without outputs and cases.

        A figure that is not a finite number becomes null.
        """
        return {
            "protocol": self.protocol,
            "figures": {
                row: _plain_cells(cells) for row, cells in self.figures.items()
            },
            "counts": dict(self.counts),
            "notes": list(self.notes),
            "charts": [chart.to_dict() for chart in self.charts],
        }


def _plain_cells(cells: Mapping[str, Figure]) -> dict[str, Any]:
    """One row of figures as JSON has it."""
    return {name: plain(value) for name, value in cells.items()}


def plain(figure: Figure) -> Any:
    """A figure as JSON has it.

    >>> plain(Interval(0.5, 0.25, float("nan")))
    {'value': 0.5, 'low': 0.25, 'high': None}
    """
    if isinstance(figure, Interval):
        return {name: plain(value) for name, value in figure.to_dict().items()}
    return figure if figure is not None and math.isfinite(figure) else None


def columns(result: Result) -> list[str]:
    """All columns of a result in the order of their first appearance."""
    return list(dict.fromkeys(chain.from_iterable(result.figures.values())))


def cell(column: str, figure: Figure) -> str:
    r"""A figure as a table shows it.

    Per cent with its interval below, or as it is for the columns in `PLAIN`.

    >>> cell("R@1", Interval(0.125, 0.1, 0.15))
    '12.5\n10.0-15.0'
    """
    if figure is None:
        return "-"
    scale = 1.0 if column in PLAIN else 100.0
    if not isinstance(figure, Interval):
        return f"{figure * scale:.1f}"
    value = f"{figure.value * scale:.1f}"
    if math.isnan(figure.low):
        return value
    return f"{value}\n{figure.low * scale:.1f}-{figure.high * scale:.1f}"


def caption_row(scores: CaptionScores) -> dict[str, Figure]:
    """The columns that a set of captions fills: the field's figures, then variety and novelty."""
    return {**scores.figures, **scores.variety}


def caption_notes(name: str, scores: CaptionScores) -> list[str]:
    """What was wrong with a set of captions, and which figures it lacks."""
    notes = [f"{name}: {problem.line()}" for problem in scores.problems]
    for metric, reason in scores.reasons.items():
        notes.append(f"{metric}: {reason}")
    return notes


def unique(lines: Iterable[str]) -> tuple[str, ...]:
    """The lines without repeats, in order."""
    return tuple(dict.fromkeys(lines))


def lists(rows: Mapping[str, Sequence[str]]) -> list[str]:
    """Named lists of words as remarks."""
    return [f"{name}: {', '.join(words)}" for name, words in rows.items()]
