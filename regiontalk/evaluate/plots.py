"""Charts as pictures, with matplotlib.

SVG text that stands by itself and is the same for the same numbers.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

from regiontalk.evaluate.charts import Chart, Line

if TYPE_CHECKING:  # an extra, imported where a page is asked for
    from matplotlib.axes import Axes

INSTALL = "a report is drawn with matplotlib, which is not here; pip install 'regiontalk[eval]'"
COLOURS = (
    "#1f6f8b",
    "#d1603d",
    "#5c8001",
    "#7a4988",
    "#b8860b",
    "#4d4d4d",
    "#c2185b",
    "#00897b",
)
# What matplotlib would put into the file: nobody needs it, and the date would make every page
# another one.
_NOTHING: dict[str, Any] = dict.fromkeys(("Date", "Creator", "Format", "Type"))


def require_matplotlib() -> None:
    """Find out before hours of measuring whether a page can be drawn.

    Raises:
        ImportError: matplotlib is not installed; says how to install it.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ImportError(INSTALL) from error


def svg(chart: Chart) -> str:
    """One chart as SVG.

    Raises:
        ImportError: as `require_matplotlib`.
    """
    require_matplotlib()
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(
        {
            "svg.hashsalt": "regiontalk",
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    ):
        figure = Figure(figsize=(5.2, 3.4), layout="constrained")
        panel = figure.add_subplot()
        for line, colour in zip(chart.lines, COLOURS * len(chart.lines), strict=False):
            _draw(panel, chart, line, colour)
        _dress(panel, chart)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata=_NOTHING)
    text = stream.getvalue()
    return re.sub(
        r"\s*<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL
    )


def _draw(panel: Axes, chart: Chart, line: Line, colour: str) -> None:
    """One line with its interval, or one histogram."""
    if chart.kind == "histogram":
        panel.stairs(line.y, line.x, fill=True, alpha=0.25, color=colour)
        panel.stairs(line.y, line.x, color=colour, linewidth=1.4, label=line.name)
        return
    panel.plot(
        line.x,
        line.y,
        marker="o",
        markersize=3.5,
        linewidth=1.4,
        color=colour,
        label=line.name,
    )
    if line.low:
        panel.fill_between(
            line.x, line.low, line.high, color=colour, alpha=0.18, linewidth=0
        )


def _dress(panel: Axes, chart: Chart) -> None:
    """Axes, names and legend."""
    panel.set(title=chart.title, xlabel=chart.x, ylabel=chart.y)
    panel.grid(alpha=0.25, linewidth=0.6)
    if chart.kind == "curve":
        panel.set_xscale("log")
        ticks = sorted({number for line in chart.lines for number in line.x})
        panel.set_xticks(ticks, labels=[f"{number:g}" for number in ticks], minor=False)
        panel.minorticks_off()
    if chart.kind == "reliability":
        panel.plot(
            [0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1, label="perfect"
        )
        panel.set(xlim=(0, 1))
    if chart.kind != "lines":
        panel.set_ylim(bottom=0)
    if chart.kind in ("curve", "reliability"):
        panel.set_ylim(top=1)
    if chart.lines:
        panel.legend(frameon=False, fontsize=8)
