"""Label Studio: our captions as pre-annotations that people correct.

And their corrections back as training data. A task has one photo. Each region is a pair
of results with one id: a ``rectanglelabels`` for the box and a ``textarea`` for its
words; the whole photo's caption is a ``textarea`` of its own. `CONFIG` is the labelling
interface that shows them. Boxes there are percent of the picture, x, y, width, height.
Format: https://labelstud.io/guide/predictions

`labelstudio_import.py` turns an export into rows of a training file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from regiontalk.files import relative
from regiontalk.records import ImageResult, RegionCaption

LOCAL = "/data/local-files/?d="  # Label Studio's own address of a file below its document root
CONFIG = """<View>
  <Image name="image" value="$image" zoom="true"/>
  <RectangleLabels name="region" toName="image">
    <Label value="Region" background="#e4572e"/>
  </RectangleLabels>
  <Header value="What the chosen box shows"/>
  <TextArea name="phrase" toName="image" perRegion="true" editable="true"
            maxSubmissions="1" required="true"/>
  <Header value="The whole photo"/>
  <TextArea name="caption" toName="image" editable="true"/>
</View>
"""


def files(results: Sequence[ImageResult], out: Path) -> dict[Path, str]:
    """The tasks in the file ``out``, and beside it the labelling interface as ``.xml``.

    Raises:
        ValueError: a photo is not below the folder of ``out``, which Label Studio serves the photos
            from.
    """
    return {
        out: json.dumps(tasks(results, out.parent), indent=1),
        out.with_suffix(".xml"): CONFIG,
    }


def tasks(
    results: Sequence[ImageResult], folder: Path = Path()
) -> list[dict[str, Any]]:
    """A task for each photo with one prediction; regions without words are left out.

    Raises:
        ValueError: a photo is not below ``folder``.
    """
    return [_task(result, folder) for result in results]


def name_below(photo: str, folder: Path) -> str:
    """The path of a photo below the folder of the tasks, with slashes.

    Raises:
        ValueError: it is not below that folder.
    """
    name = relative(photo, folder)
    if name.startswith("../") or Path(name).is_absolute():
        raise ValueError(
            f"{photo}: expected a photo below the folder of the tasks, {folder}, which "
            "Label Studio serves; choose --out above the photos"
        )
    return name


def _task(result: ImageResult, folder: Path) -> dict[str, Any]:
    name = name_below(result.photo, folder)
    regions = [region for region in result.regions if region.text]
    pieces: list[dict[str, Any]] = []
    for number, region in enumerate(regions, start=1):
        pieces += _region(f"region-{number}", region, result.size_wh)
    if result.caption is not None and result.caption.text:
        value = {"text": [result.caption.text]}
        pieces.append(_piece("photo", "caption", "textarea", value, result.size_wh))
    prediction: dict[str, Any] = {"model_version": result.model, "result": pieces}
    if regions:
        total = sum(region.confidence for region in regions)
        prediction["score"] = round(total / len(regions), 4)
    return {
        "data": {"image": LOCAL + quote(name), "photo": name},
        "predictions": [prediction],
    }


def _region(
    name: str, region: RegionCaption, size_wh: tuple[int, int]
) -> Iterator[dict[str, Any]]:
    """The box of a region and its words, two results with one id."""
    width, height = size_wh
    x1, y1, x2, y2 = (float(value) for value in region.box)
    percent = {
        "x": 100 * x1 / width,
        "y": 100 * y1 / height,
        "width": 100 * (x2 - x1) / width,
        "height": 100 * (y2 - y1) / height,
        "rotation": 0,
    }
    labelled = {**percent, "rectanglelabels": ["Region"]}
    box = _piece(name, "region", "rectanglelabels", labelled, size_wh)
    yield {**box, "score": round(region.confidence, 4)}
    yield _piece(
        name, "phrase", "textarea", {**percent, "text": [region.text]}, size_wh
    )


def _piece(
    name: str, control: str, kind: str, value: dict[str, Any], size_wh: tuple[int, int]
) -> dict[str, Any]:
    return {
        "id": name,
        "from_name": control,
        "to_name": "image",
        "type": kind,
        "original_width": size_wh[0],
        "original_height": size_wh[1],
        "image_rotation": 0,
        "value": value,
    }
