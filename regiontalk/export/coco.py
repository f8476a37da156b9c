"""COCO JSON: boxes with captions.

Read by detection tools (`bbox`) and caption tools (`caption`) alike. A region is an
annotation of the category "region" with its box; the whole photo's caption is one of
the category "photo", whose box is the photo. ``score`` is the confidence in 0..1.
Format: https://cocodataset.org/#format-data
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regiontalk.files import relative
from regiontalk.records import ImageResult, RegionCaption

REGION, PHOTO = 1, 2
REGION_NAME, PHOTO_NAME = "region", "photo"


def files(results: Sequence[ImageResult], out: Path) -> dict[Path, str]:
    """The one file of this format and its text; photos are named relative to its folder."""
    return {out: json.dumps(document(results, out.parent), indent=1)}


def document(results: Sequence[ImageResult], folder: Path = Path()) -> dict[str, Any]:
    """The COCO document of photos that are named relative to ``folder``.

    Regions without words are left out.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, result in enumerate(results, start=1):
        wide, high = result.size_wh
        images.append(
            {
                "id": number,
                "file_name": relative(result.photo, folder),
                "width": wide,
                "height": high,
            }
        )
        captions = [(REGION, region) for region in result.regions]
        if result.caption is not None:
            captions.insert(0, (PHOTO, result.caption))
        for category, region in captions:
            if region.text:
                annotations.append(
                    _annotation(len(annotations) + 1, number, category, region)
                )
    return {
        "info": {"description": "captions on regions", "contributor": _models(results)},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": REGION, "name": REGION_NAME, "supercategory": ""},
            {"id": PHOTO, "name": PHOTO_NAME, "supercategory": ""},
        ],
    }


def _annotation(
    number: int, image: int, category: int, region: RegionCaption
) -> dict[str, Any]:
    x1, y1, x2, y2 = (round(float(value), 1) for value in region.box)
    wide, high = round(x2 - x1, 1), round(y2 - y1, 1)
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": [x1, y1, wide, high],
        "area": round(wide * high, 1),
        "segmentation": [[x1, y1, x2, y1, x2, y2, x1, y2]],
        "iscrowd": 0,
        "caption": region.text,
        "score": round(region.confidence, 4),
    }


def _models(results: Sequence[ImageResult]) -> str:
    """The models that spoke."""
    return ", ".join(["RegionTalk", *dict.fromkeys(result.model for result in results)])
