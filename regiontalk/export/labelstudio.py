"""Label Studio: our captions as pre-annotations that people correct, and their corrections back as training data.

A task has one photo. Each region is a pair of results with one id: a ``rectanglelabels`` for the
box and a ``textarea`` for its words; the whole photo's caption is a ``textarea`` of its own.
`CONFIG` is the labelling interface that shows them. Boxes there are percent of the picture, x, y,
width, height. Format: https://labelstud.io/guide/predictions

`read_tasks` turns an export (JSON, not JSON-MIN) into rows of a training file
(`datasets/folder.py`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from regiontalk.export.names import relative
from regiontalk.records import ImageResult, RegionCaption

_PICTURE = re.compile(r"\.(jpe?g|png|webp|gif|bmp|tiff?|heic|avif)($|\?)", re.IGNORECASE)
# Controls that say something of the whole task and draw nothing.
_WHOLE_PHOTO = ("choices", "rating", "taxonomy", "number", "datetime", "pairwise", "ranker")

LOCAL = "/data/local-files/?d="  # Label Studio's own address of a file below its document root
CONFIG = """<View>
  <Image name="image" value="$image" zoom="true"/>
  <RectangleLabels name="region" toName="image"><Label value="Region" background="#e4572e"/></RectangleLabels>
  <Header value="What the chosen box shows"/>
  <TextArea name="phrase" toName="image" perRegion="true" editable="true" maxSubmissions="1" required="true"/>
  <Header value="The whole photo"/>
  <TextArea name="caption" toName="image" editable="true"/>
</View>
"""

Box = tuple[float, float, float, float]


def files(results: Sequence[ImageResult], out: Path) -> dict[Path, str]:
    """The tasks in the file ``out``, and beside it the labelling interface as ``.xml``.

    Raises:
        ValueError: a photo is not below the folder of ``out``, which Label Studio serves the photos
            from.
    """
    return {out: json.dumps(tasks(results, out.parent), indent=1), out.with_suffix(".xml"): CONFIG}


def tasks(results: Sequence[ImageResult], folder: Path = Path()) -> list[dict[str, Any]]:
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
            f"{photo}: expected a photo below the folder of the tasks, {folder}, which Label Studio serves; "
            "choose --out above the photos"
        )
    return name


def _task(result: ImageResult, folder: Path) -> dict[str, Any]:
    name = name_below(result.photo, folder)
    spoken = [region for region in result.regions if region.text]
    found = [
        piece
        for number, region in enumerate(spoken)
        for piece in _region(number, region, result.size_wh)
    ]
    if result.caption is not None and result.caption.text:
        found.append(
            _piece("photo", "caption", "textarea", {"text": [result.caption.text]}, result.size_wh)
        )
    prediction: dict[str, Any] = {"model_version": result.model, "result": found}
    if spoken:
        prediction["score"] = round(sum(region.confidence for region in spoken) / len(spoken), 4)
    return {"data": {"image": LOCAL + quote(name), "photo": name}, "predictions": [prediction]}


def _region(
    number: int, region: RegionCaption, size_wh: tuple[int, int]
) -> Iterator[dict[str, Any]]:
    wide, high = size_wh
    x1, y1, x2, y2 = (float(value) for value in region.box)
    place = {
        "x": 100 * x1 / wide,
        "y": 100 * y1 / high,
        "width": 100 * (x2 - x1) / wide,
        "height": 100 * (y2 - y1) / high,
        "rotation": 0,
    }
    name = f"region-{number + 1}"
    box = _piece(
        name, "region", "rectanglelabels", {**place, "rectanglelabels": ["Region"]}, size_wh
    )
    yield {**box, "score": round(region.confidence, 4)}
    yield _piece(name, "phrase", "textarea", {**place, "text": [region.text]}, size_wh)


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


@dataclass(frozen=True)
class Corrections:
    """What people said, ready to be written.

    Attributes:
        rows: one a photo, as `datasets/folder.py` reads them; ``photo`` is the path below the
            folder of the photos.
        left_out: tasks and boxes that were not used, and why.
    """

    rows: tuple[dict[str, Any], ...]
    left_out: tuple[str, ...]


def read_tasks(document: Any) -> Corrections:
    """The corrections in a Label Studio JSON export.

    Of several annotations of one task the one marked as ground truth counts, or else the one that
    was changed last. A turned rectangle, a polygon and an ellipse become the box around them; what
    leaves the picture is cut off. A label of one's own is the phrase of a region without words.

    Raises:
        ValueError: not such an export.
    """
    if not isinstance(document, list) or not all(
        isinstance(task, dict) and "data" in task for task in document
    ):
        raise ValueError(
            "expected a Label Studio export of the type JSON: a list of tasks with data and annotations"
        )
    rows: list[dict[str, Any]] = []
    left_out: list[str] = []
    for number, task in enumerate(document, start=1):
        name = f"task {task.get('id', number)}"
        try:
            row, lost = _row(task)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            left_out.append(f"{name}: {error}")
            continue
        left_out += [f"{name}: {text}" for text in lost]
        if "captions" in row or "boxes" in row:
            rows.append(row)
    return Corrections(tuple(rows), tuple(left_out))


def _row(task: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The row of one task, and what was left out of it."""
    row: dict[str, Any] = {"photo": _photo(task["data"])}
    chosen = _chosen(task.get("annotations") or [])
    if chosen is None:
        return row, ["nobody has annotated it"]
    boxes: dict[str, Box] = {}
    phrases: dict[str, str] = {}
    labels: dict[str, list[str]] = {}
    captions: list[str] = []
    lost: list[str] = []
    unused: set[str] = set()
    for piece in chosen.get("result", []):
        value, kind = piece.get("value", {}), piece.get("type")
        name = str(piece.get("id"))
        if kind == "textarea" and piece.get("from_name") == "caption":
            captions += _texts(value)
        elif kind == "textarea":
            phrases[name] = " ".join([*phrases.get(name, "").split(), *_texts(value)])
        elif kind == "relation":
            continue
        elif name in boxes:  # several controls may name one region
            labels.setdefault(name, []).extend(_labels(value))
        elif _is_shape(value):
            labels.setdefault(name, []).extend(_labels(value))
            size_wh = int(piece["original_width"]), int(piece["original_height"])
            box = _box(value, size_wh)
            if box is None:
                lost.append(f"{kind} {name} is empty or outside the photo")
            else:
                row["width"], row["height"] = size_wh
                boxes[name] = box
        elif kind not in _WHOLE_PHOTO:
            lost.append(f"{kind} {name} has no box that can be read, and is left out")
            unused.add(name)
    lost += [f"its words were {phrases[name]!r}" for name in phrases if name in unused]
    lost += [
        f"the words {text!r} belong to no region and are left out"
        for name, text in phrases.items()
        if text and name not in boxes and name not in unused
    ]
    for name in boxes:  # a label of one's own says what the region is, where nobody wrote it
        own = [label for label in labels.get(name, []) if label != "Region"]
        if own and not phrases.get(name):
            phrases[name] = " ".join(dict.fromkeys(own))
        elif own:
            lost.append(f"region {name} has words; its label {', '.join(own)} is left out")
    if captions:
        row["captions"] = captions
    if boxes:
        pairs = ((list(box), phrases.get(name, "")) for name, box in boxes.items())
        row["boxes"] = [
            {"box": box, "phrase": phrase} if phrase else {"box": box} for box, phrase in pairs
        ]
    else:
        row.pop("width", None), row.pop("height", None)
    if not captions and not boxes:
        lost.append("its annotation is empty")
    return row, lost


def _chosen(annotations: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    kept = [one for one in annotations if not one.get("was_cancelled")]
    return max(
        kept,
        key=lambda one: (bool(one.get("ground_truth")), str(one.get("updated_at") or "")),
        default=None,
    )


def _photo(data: Mapping[str, Any]) -> str:
    """The path of a photo below the folder of the photos, from what the task says."""
    if isinstance(data.get("photo"), str):
        return str(data["photo"]).replace("\\", "/")
    key = next((key for key in ("image", "img", "picture", "url") if key in data), None)
    if key is None:
        pictures = [name for name, value in data.items() if _PICTURE.search(str(value))]
        if len(pictures) != 1:
            raise ValueError(
                f"expected the picture under photo or image, got the keys {', '.join(data) or 'none'}"
            )
        key = pictures[0]
    address = urlsplit(str(data[key]))
    local = parse_qs(address.query).get("d")
    if local:
        return local[0]
    name = unquote(address.path).rsplit("/", 1)[-1]
    return re.sub(r"^[0-9a-f]{8}-", "", name)  # Label Studio's mark of an uploaded file


def _texts(value: Mapping[str, Any]) -> list[str]:
    texts = value.get("text", [])
    return [
        " ".join(text.split())
        for text in ([texts] if isinstance(texts, str) else texts)
        if text.strip()
    ]


def _is_shape(value: Mapping[str, Any]) -> bool:
    """Whether a value is a region: a rectangle, a polygon or an ellipse; a mask of a brush is none."""
    return (
        {"x", "y", "width", "height"} <= value.keys()
        or {"x", "y", "radiusX", "radiusY"} <= value.keys()
        or bool(value.get("points") or value.get("vertices"))
    )


def _labels(value: Mapping[str, Any]) -> list[str]:
    """The names that a person chose for a region, of whatever kind the control is."""
    lists = [names for key, names in value.items() if key.endswith("labels")]
    return [str(name) for names in lists if isinstance(names, list) for name in names]


def _percent_box(value: Mapping[str, Any], size_wh: tuple[int, int]) -> dict[str, float] | None:
    """The box around a polygon or an ellipse, in percent; None for a rectangle."""
    points = value.get("points") or value.get("vertices")
    if points:
        pairs = [
            (point["x"], point["y"]) if isinstance(point, dict) else (point[0], point[1])
            for point in points
        ]
        xs, ys = ([float(pair[axis]) for pair in pairs] for axis in (0, 1))
    elif "radiusX" in value:
        angle = math.radians(float(value.get("rotation") or 0))
        # It is turned in pixels, not in percent.
        across, down = float(value["radiusX"]) * size_wh[0], float(value["radiusY"]) * size_wh[1]
        wide = math.hypot(across * math.cos(angle), down * math.sin(angle)) / size_wh[0]
        high = math.hypot(across * math.sin(angle), down * math.cos(angle)) / size_wh[1]
        xs = [float(value["x"]) - wide, float(value["x"]) + wide]
        ys = [float(value["y"]) - high, float(value["y"]) + high]
    else:
        return None
    return {"x": min(xs), "y": min(ys), "width": max(xs) - min(xs), "height": max(ys) - min(ys)}


def _box(value: Mapping[str, Any], size_wh: tuple[int, int]) -> Box | None:
    """Corners in pixels, to a tenth, of a rectangle in percent that may be turned about its top left corner."""
    if (around := _percent_box(value, size_wh)) is not None:
        value = around
    sides = [
        float(value[key]) / 100 * size_wh[axis]
        for key, axis in (("x", 0), ("y", 1), ("width", 0), ("height", 1))
    ]
    left, top, wide, high = sides
    angle = math.radians(float(value.get("rotation") or 0))
    across, down = (
        (wide * math.cos(angle), wide * math.sin(angle)),
        (-high * math.sin(angle), high * math.cos(angle)),
    )
    xs = [left, left + across[0], left + down[0], left + across[0] + down[0]]
    ys = [top, top + across[1], top + down[1], top + across[1] + down[1]]
    x1, x2 = (round(min(max(x, 0), size_wh[0]), 1) for x in (min(xs), max(xs)))
    y1, y2 = (round(min(max(y, 0), size_wh[1]), 1) for y in (min(ys), max(ys)))
    return (x1, y1, x2, y2) if x2 > x1 and y2 > y1 else None
