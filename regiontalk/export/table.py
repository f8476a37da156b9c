"""CSV: a line a caption, for spreadsheets.

The whole photo's caption is the line with ``kind`` "photo".
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from regiontalk.files import relative
from regiontalk.records import ImageResult, RegionCaption

COLUMNS = (
    "photo",
    "width",
    "height",
    "kind",
    "x1",
    "y1",
    "x2",
    "y2",
    "text",
    "confidence",
    "score",
    "model",
)


def files(results: Sequence[ImageResult], out: Path) -> dict[Path, str]:
    """The one file of this format and its text; photos are named relative to its folder."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for result in results:
        writer.writerows(_rows(result, out.parent))
    return {out: text.getvalue()}


def _rows(result: ImageResult, folder: Path) -> Iterator[tuple[object, ...]]:
    """The lines of one photo; a box that is not spoken of has an empty text."""
    captions: list[tuple[str, RegionCaption]] = [
        ("region", region) for region in result.regions
    ]
    if result.caption is not None:
        captions.insert(0, ("photo", result.caption))
    for kind, region in captions:
        box = [round(float(value), 1) for value in region.box]
        numbers = round(region.confidence, 4), round(region.score, 4)
        yield (
            relative(result.photo, folder),
            *result.size_wh,
            kind,
            *box,
            region.text or "",
            *numbers,
            result.model,
        )
