"""W3C Web Annotation, JSON-LD: one annotation a caption.

Boxes are media fragments. Data model: https://www.w3.org/TR/annotation-model/;
fragments: https://www.w3.org/TR/media-frags/#naming-space
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regiontalk.export.names import iri
from regiontalk.records import ImageResult, RegionCaption

CONTEXT = "http://www.w3.org/ns/anno.jsonld"
FRAGMENTS = "http://www.w3.org/TR/media-frags/"


def files(results: Sequence[ImageResult], out: Path) -> dict[Path, str]:
    """The one file of this format and its text; photos are addressed relative to its folder."""
    return {out: json.dumps(page(results, out.parent), indent=1)}


def page(results: Sequence[ImageResult], folder: Path = Path()) -> dict[str, Any]:
    """An AnnotationPage of all captions and regions with words."""
    items: list[dict[str, Any]] = []
    for result in results:
        source = iri(result.photo, folder)
        if result.caption is not None and result.caption.text:
            items.append(_item(len(items), result.caption, source, result.model))
        for region in result.regions:
            if region.text:
                items.append(
                    _item(len(items), region, _part(source, region), result.model)
                )
    return {
        "@context": CONTEXT,
        "id": "#page",
        "type": "AnnotationPage",
        "startIndex": 0,
        "items": items,
    }


def _part(source: str, region: RegionCaption) -> dict[str, Any]:
    """A rectangle of a photo; media fragments know whole pixels only."""
    x1, y1, x2, y2 = (round(float(value)) for value in region.box)
    value = f"xywh=pixel:{x1},{y1},{max(1, x2 - x1)},{max(1, y2 - y1)}"
    selector = {"type": "FragmentSelector", "conformsTo": FRAGMENTS, "value": value}
    return {"type": "SpecificResource", "source": source, "selector": selector}


def _item(
    number: int, region: RegionCaption, target: str | dict[str, Any], model: str
) -> dict[str, Any]:
    body = {
        "type": "TextualBody",
        "value": region.text,
        "format": "text/plain",
        "language": "en",
    }
    return {
        "id": f"#annotation-{number + 1}",
        "type": "Annotation",
        "motivation": "describing",
        "generator": {"type": "Software", "name": f"RegionTalk {model}"},
        "body": body,
        "target": target,
    }
