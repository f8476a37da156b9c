"""``--report``: one HTML page with the tables, plots and examples of a run.

It opens from disk and loads nothing. Images and plots are in the file (data URIs),
there is no script, and the page's own rules forbid the browser to load anything from
anywhere.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from regiontalk.drawing.draw import draw
from regiontalk.evaluate.examples import Case
from regiontalk.evaluate.plots import require_matplotlib, svg
from regiontalk.evaluate.result import Result, cell, columns
from regiontalk.evaluate.suite import Timed
from regiontalk.files import write_text
from regiontalk.images.open import open_image

PAGE = "index.html"
TEMPLATE = Path(__file__).with_name("report.html")


def prepare_report(folder: Path) -> None:
    """Make the folder of a page, before anything is measured for it.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: the folder cannot be made, or is a file.
    """
    require_matplotlib()
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(
            f"{folder}: expected a folder for the report, got a file; name another place"
        )
    folder.mkdir(parents=True, exist_ok=True)


def write_report(
    folder: Path, head: Mapping[str, Any], results: Sequence[Timed]
) -> Path:
    """Write the page and say where it stands.

    Args:
        folder: where `PAGE` is written; made if it is not there.
        head: what the run was: command, date, model, data, as in the JSON document.
        results: its protocols.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: the page cannot be written.
    """
    prepare_report(folder)
    path = folder / PAGE
    text = page(head, results)
    write_text(path, text)
    return path


def page(head: Mapping[str, Any], results: Sequence[Timed]) -> str:
    """The page as text."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    lines = {name: value for name, value in head.items() if name != "data"}
    protocols = list(map(_protocol, results))
    return template.render(head=lines, data=head.get("data", ()), protocols=protocols)


def _protocol(timed: Timed) -> dict[str, Any]:
    """What the template needs of a protocol."""
    result = timed.result
    charts = []
    for chart in result.charts:
        charts.append((chart.title, _uri("image/svg+xml", svg(chart).encode())))
    cases = [
        (kind, list(map(_case, examples))) for kind, examples in result.cases.items()
    ]
    return {
        "name": result.protocol,
        "seconds": timed.seconds,
        "columns": columns(result),
        "rows": [(name, _cells(result, name)) for name in result.figures],
        "counts": [(name, f"{value:g}") for name, value in result.counts.items()],
        "notes": result.notes,
        "charts": charts,
        "cases": [(kind, examples) for kind, examples in cases if examples],
    }


def _cells(result: Result, row: str) -> list[list[str]]:
    """The figures of a row: each the figure and its interval, where it has one.

    Nothing where the row has none.
    """
    figures = result.figures[row]
    return [
        cell(name, figures[name]).split("\n") if name in figures else [""]
        for name in columns(result)
    ]


def _case(case: Case) -> dict[str, Any]:
    """One example with its image."""
    return {
        "value": case.value,
        "lines": case.lines,
        "image": None if case.drawn is None else _image(case),
        "photo": "" if case.drawn is None else Path(case.drawn.photo).name,
    }


def _image(case: Case) -> str:
    """The photo with its boxes and words, in its own shape, as a data URI."""
    if case.drawn is None:
        raise ValueError("case: expected a photo to draw on, got none")
    image = open_image(case.drawn.photo, max_pixels=10**9)
    if case.size_wh is not None and image.size != case.size_wh:
        image = image.resize(case.size_wh)
    stream = io.BytesIO()
    draw(image, case.drawn).save(stream, format="JPEG", quality=80)
    return _uri("image/jpeg", stream.getvalue())


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
