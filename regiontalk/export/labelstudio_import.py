"""What people corrected in Label Studio, as rows of a training file (`datasets/folder.py`).

An export (JSON, not JSON-MIN) is a list of tasks, each with a photo and annotations. An
annotation is a list of results: regions, the words of regions (a ``textarea`` with the
region's id), and the caption of the photo. Format:
https://labelstud.io/guide/export#Label-Studio-JSON-format-of-annotated-tasks
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from regiontalk.export.corrections import Corrections
from regiontalk.export.labelstudio_shapes import Box, is_shape, shape_box

_PHOTO_FILE = re.compile(
    r"\.(jpe?g|png|webp|gif|bmp|tiff?|heic|avif)($|\?)", re.IGNORECASE
)
_PHOTO_KEYS = ("image", "img", "picture", "url")
# begins the name of a file that was uploaded
_UPLOAD_MARK = re.compile(r"^[0-9a-f]{8}-")
# Controls that say something of the photo or of a region and draw nothing.
_NOTES = (
    "choices",
    "rating",
    "taxonomy",
    "number",
    "datetime",
    "pairwise",
    "ranker",
    "relation",
)
# of the interface that we write; says nothing of what the region is
OUR_LABEL = "Region"


@dataclass
class _Annotation:
    """What the results of one annotation say.

    Attributes:
        size_wh: of the photo, in pixels; None where no region gives it.
        boxes: x1, y1, x2, y2 in pixels, by the region's id.
        phrases: the words of regions, by id.
        labels: the names that a person chose for regions, by id.
        captions: of the whole photo.
        unused: why a region has no box, by id.
        left_out: what else is not used, and why.
    """

    size_wh: tuple[int, int] | None = None
    boxes: dict[str, Box] = field(default_factory=dict)
    phrases: dict[str, str] = field(default_factory=dict)
    labels: dict[str, list[str]] = field(default_factory=dict)
    captions: list[str] = field(default_factory=list)
    unused: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def read_tasks(document: Any) -> Corrections:
    """The corrections in a Label Studio JSON export.

    Of several annotations of one task the one marked as ground truth counts, or else the one that
    was changed last. A turned rectangle, a polygon, an ellipse and a mask become the box around
    them; what leaves the picture is cut off. A label of one's own is the phrase of a region without
    words. What cannot be used costs no more than itself, and is listed.

    Raises:
        ValueError: not such an export.
    """
    if not is_export(document):
        raise ValueError(
            "expected a Label Studio export of the type JSON: a list of tasks with "
            f"data and annotations, got {_outline(document)}"
        )
    rows: list[dict[str, Any]] = []
    left_out: list[str] = []
    for number, task in enumerate(document, start=1):
        name = f"task {task.get('id', number)}"
        try:
            row, reasons = _row(task)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            left_out.append(f"{name}: {error}")
            continue
        left_out += [f"{name}: {reason}" for reason in reasons]
        if "captions" in row or "boxes" in row:
            rows.append(row)
    return Corrections(tuple(rows), tuple(left_out))


def is_export(document: Any) -> bool:
    """Whether a JSON document is a list of Label Studio's tasks."""
    return isinstance(document, list) and all(
        isinstance(task, dict) and isinstance(task.get("data"), dict)
        for task in document
    )


def _outline(document: Any) -> str:
    """What a document is that is no export, in a few words."""
    if not isinstance(document, list):
        return type(document).__name__
    entry = next((row for row in document if not is_export([row])), None)
    keys = ", ".join(list(map(str, entry))[:8]) if isinstance(entry, dict) else ""
    if isinstance(entry, dict) and "image" in entry:
        return f"the keys {keys} (JSON-MIN? choose JSON in the export dialogue)"
    return f"an entry with the keys {keys}" if keys else f"an entry {str(entry)[:40]!r}"


def _row(task: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The row of one task, and what was left out of it."""
    row: dict[str, Any] = {"photo": _photo(task["data"])}
    results = _results(task.get("annotations") or [])
    if results is None:
        return row, ["nobody has annotated it"]
    annotation = _read_results(results)
    _name_by_labels(annotation)
    if annotation.captions:
        row["captions"] = annotation.captions
    if annotation.boxes and annotation.size_wh is not None:
        row["width"], row["height"] = annotation.size_wh
        row["boxes"] = []
        for name, box in annotation.boxes.items():
            phrase = annotation.phrases.get(name)
            entry: dict[str, Any] = {"box": list(box)}
            if phrase:
                entry["phrase"] = phrase
            row["boxes"].append(entry)
    reasons = annotation.left_out + _lost_words(annotation)
    if not annotation.captions and not annotation.boxes:
        reasons.append("its annotation is empty")
    return row, reasons


def _results(
    annotations: Sequence[Mapping[str, Any]],
) -> Sequence[Mapping[str, Any]] | None:
    """The results of the annotation that counts; None where there is none."""
    finished = [row for row in annotations if not row.get("was_cancelled")]
    if not finished:
        return None
    chosen = max(
        finished,
        key=lambda row: (
            bool(row.get("ground_truth")),
            str(row.get("updated_at") or ""),
        ),
    )
    results = chosen.get("result") or []
    if not isinstance(results, list) or not all(
        isinstance(piece, dict) for piece in results
    ):
        raise ValueError("its annotation has no list of results")
    return results


def _read_results(results: Sequence[Mapping[str, Any]]) -> _Annotation:
    """Sort the results by what they are."""
    annotation = _Annotation()
    skipped: Counter[str] = Counter()
    for number, piece in enumerate(results, start=1):
        value, kind = piece.get("value") or {}, str(piece.get("type"))
        name = str(piece.get("id") or f"without id, result {number}")
        if kind in _NOTES or not isinstance(value, dict):
            skipped[kind] += 1
        elif kind == "textarea":
            _read_words(
                annotation, name, value, is_caption=piece.get("from_name") == "caption"
            )
        elif not _read_region(annotation, name, kind, piece):
            skipped[kind] += 1
    for kind, count in skipped.items():
        annotation.left_out.append(
            f"{kind} ({count}): says nothing of a box, and is left out"
        )
    return annotation


def _read_region(
    annotation: _Annotation, name: str, kind: str, piece: Mapping[str, Any]
) -> bool:
    """Add a region, or a further control that names one; False where it is neither."""
    value = piece.get("value") or {}
    is_known = name in annotation.boxes or name in annotation.unused
    has_shape = is_shape(value)
    if not (
        is_known
        or has_shape
        or kind.endswith("labels")
        or {"x", "sequence"} & value.keys()
    ):
        return False
    annotation.labels.setdefault(name, []).extend(_labels(value))
    if is_known:
        return True
    if has_shape:
        _read_shape(annotation, name, kind, piece)
    else:
        annotation.unused[name] = "has no box that can be read"
        annotation.left_out.append(
            f"{kind} {name} has no box that can be read, and is left out"
        )
    return True


def _read_words(
    annotation: _Annotation, name: str, value: Mapping[str, Any], *, is_caption: bool
) -> None:
    """Add the words of a text area."""
    texts = value.get("text", [])
    words = [
        " ".join(str(text).split())
        for text in ([texts] if isinstance(texts, str) else texts)
    ]
    words = [text for text in words if text]
    if is_caption:
        annotation.captions += words
    else:
        earlier = annotation.phrases.get(name, "")
        annotation.phrases[name] = " ".join([earlier, *words]).strip()


def _read_shape(
    annotation: _Annotation, name: str, kind: str, piece: Mapping[str, Any]
) -> None:
    """Add the box around a region, or why it has none."""
    try:
        size_wh = int(piece["original_width"]), int(piece["original_height"])
        if min(size_wh) < 1:
            raise ValueError(f"expected the size of the photo, got {size_wh}")
        if piece.get("image_rotation"):
            raise ValueError(
                f"the photo was turned by {piece['image_rotation']} degrees; turn it "
                "back and export again"
            )
        if piece.get("item_index"):
            raise ValueError(
                "it is in a further photo of the task; expected one photo a task"
            )
        box = shape_box(piece["value"], size_wh)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        reason = f"expected {error}" if isinstance(error, KeyError) else str(error)
        annotation.unused[name] = reason
        annotation.left_out.append(f"{kind} {name} is left out: {reason}")
        return
    if box is None:
        annotation.unused[name] = "is empty or outside the photo"
        annotation.left_out.append(f"{kind} {name} is empty or outside the photo")
    else:
        annotation.size_wh = size_wh
        annotation.boxes[name] = box


def _labels(value: Mapping[str, Any]) -> list[str]:
    """The names that a person chose for a region, of whatever kind the control is."""
    labels: list[str] = []
    for key, names in value.items():
        has_labels = key.endswith("labels")
        if has_labels and isinstance(names, list):
            labels += map(str, names)
    return labels


def _name_by_labels(annotation: _Annotation) -> None:
    """A label of one's own says what the region is, where nobody wrote it."""
    for name in annotation.boxes:
        labels = [
            label for label in annotation.labels.get(name, []) if label != OUR_LABEL
        ]
        if labels and not annotation.phrases.get(name):
            annotation.phrases[name] = " ".join(dict.fromkeys(labels))
        elif labels:
            annotation.left_out.append(
                f"region {name} has words; its label {', '.join(labels)} is left out"
            )


def _lost_words(annotation: _Annotation) -> list[str]:
    """The words that have no box."""
    reasons = []
    for name, text in annotation.phrases.items():
        if text and name in annotation.unused:
            reasons.append(f"the words of {name}, left out with it, were {text!r}")
        elif text and name not in annotation.boxes:
            reasons.append(f"the words {text!r} belong to no region and are left out")
    for name in annotation.unused:
        labels = annotation.labels.get(name, [])
        labels = [label for label in labels if label != OUR_LABEL]
        if labels and not annotation.phrases.get(name):
            reasons.append(
                f"the label of {name}, left out with it, was {', '.join(labels)!r}"
            )
    return reasons


def _photo(data: Mapping[str, Any]) -> str:
    """The path of a photo below the folder of the photos, from what the task says."""
    if isinstance(data.get("photo"), str):
        return str(data["photo"]).replace("\\", "/")
    key = next((key for key in _PHOTO_KEYS if key in data), None)
    if key is None:
        keys = [key for key, value in data.items() if _PHOTO_FILE.search(str(value))]
        if len(keys) != 1:
            raise ValueError(
                "expected the picture under photo or image, got the keys "
                f"{', '.join(data) or 'none'}"
            )
        key = keys[0]
    address = urlsplit(str(data[key]).replace("\\", "/"))
    local = parse_qs(address.query).get("d")
    if local:
        return local[0].replace("\\", "/")
    return _UPLOAD_MARK.sub("", unquote(address.path).rsplit("/", 1)[-1])
