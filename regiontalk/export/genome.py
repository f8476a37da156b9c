"""Visual Genome: region descriptions and image data, as that data set has them.

In ``region_descriptions.json`` and ``image_data.json``. Boxes there are whole pixels,
x, y, width, height. Format: https://homes.cs.washington.edu/~ranjay/visualgenome/
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regiontalk.files import relative
from regiontalk.records import ImageResult, RegionCaption


def files(results: Sequence[ImageResult], out: Path) -> dict[Path, str]:
    """The two files in the folder ``out`` and their texts.

    Photos are named relative to that folder.
    """
    return {
        out / "region_descriptions.json": json.dumps(
            region_descriptions(results), indent=1
        ),
        out / "image_data.json": json.dumps(image_data(results, out), indent=1),
    }


def region_descriptions(results: Sequence[ImageResult]) -> list[dict[str, Any]]:
    """The regions with words of each photo, photos and regions numbered from 1."""
    rows, number = [], 0
    for image, result in enumerate(results, start=1):
        regions = []
        for region in result.regions:
            if region.text:
                number += 1
                regions.append(
                    {
                        "region_id": number,
                        "image_id": image,
                        "phrase": region.text,
                        **_whole(region),
                    }
                )
        rows.append({"id": image, "regions": regions})
    return rows


def image_data(
    results: Sequence[ImageResult], folder: Path = Path()
) -> list[dict[str, Any]]:
    """Size and file of each photo, relative to ``folder``."""
    return [
        {
            "image_id": image,
            "url": relative(result.photo, folder),
            "width": result.size_wh[0],
            "height": result.size_wh[1],
            "coco_id": None,
            "flickr_id": None,
        }
        for image, result in enumerate(results, start=1)
    ]


def _whole(region: RegionCaption) -> dict[str, int]:
    """A box in whole pixels, none smaller than one."""
    x1, y1, x2, y2 = (round(float(value)) for value in region.box)
    return {"x": x1, "y": y1, "width": max(1, x2 - x1), "height": max(1, y2 - y1)}
