"""Names on boxes: what a detector, or a person with a labelling tool, calls the things of a photo.

A name becomes a short phrase with the right article ("a dog", "an orange"), and several boxes of
one name also get one phrase together ("two dogs"), so that names teach the same parts of a model as
phrases that people wrote. Their `Phrase.source` is "detector".

Two layouts are read here, YOLO's in `datasets.yolo`:

- results in COCO's format: a list of ``{"image_id" or "file_name", "category_id", "bbox",
  "score"}`` with ``bbox`` as x, y, width, height in pixels of the stored photo, or an object that
  holds such a list under ``annotations`` and its own ``categories``;
- a folder of COCO's layout whose ``images.json`` lists the photos (and perhaps the categories),
  with ``detections.json`` beside it and perhaps ``captions.json`` for some of the photos.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from regiontalk import boxes as box_ops
from regiontalk.datasets.checks import Quad, RawBox, check_corner_and_size
from regiontalk.datasets.flickr import read_json
from regiontalk.datasets.report import DataReport, report_on
from regiontalk.files import read_text
from regiontalk.images.open import ImageError, open_photo
from regiontalk.records import Example, FloatArray, Phrase
from regiontalk.text.nouns import kind_of

DETECTOR = "detector"  # `Phrase.source` of a name on a box
MIN_SCORE = 0.45  # NanoDet's names are right in 82 of 100 above it
SAME_BOX_IOU = 0.7  # a detector's box over this IoU with an annotated one is that box
CONTRADICTED = "detector's name that a person's phrase contradicts, left out"
COUNTS = {2: "two", 3: "three"}

# COCO's 80 categories by their number in its files, which leave 11 numbers out.
COCO_CATEGORIES: Mapping[int, str] = {
    number: name
    for number, name in enumerate(
        "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,,"
        "stop sign,parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,,"
        "backpack,umbrella,,,handbag,tie,suitcase,frisbee,skis,snowboard,sports ball,kite,"
        "baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,,wine glass,cup,"
        "fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,"
        "cake,chair,couch,potted plant,bed,,dining table,,,toilet,,tv,laptop,mouse,remote,keyboard,"
        "cell phone,microwave,oven,toaster,sink,refrigerator,,book,clock,vase,scissors,teddy bear,"
        "hair drier,toothbrush".split(","),
        start=1,
    )
    if name
}
# What people write in a sentence where a data set has another name.
PLAIN_WORDS = {
    "sports ball": "ball",
    "dining table": "table",
    "potted plant": "plant",
    "hair drier": "hair dryer",
    "remote": "remote control",
    "tv": "television",
}
PAIRS = frozenset(
    ("scissors", "skis", "trousers", "glasses", "jeans", "pants", "shorts")
)
MASS_WORDS = frozenset(
    ("broccoli", "grass", "water", "sand", "snow", "hair", "furniture")
)
PLURALS = {
    "person": "people", "man": "men", "woman": "women", "child": "children", "mouse": "mice",
    "knife": "knives", "sheep": "sheep", "foot": "feet", "tooth": "teeth", "leaf": "leaves",
    "shelf": "shelves", "fish": "fish", "goose": "geese",
}  # fmt: skip


class NamedBox(NamedTuple):
    """One box with its name.

    Attributes:
        name: of the class, as the data set spells it.
        box: x1, y1, x2, y2 in pixels of the stored photo.
        score: the detector's, in 0..1; 1 where a person drew the box.
    """

    name: str
    box: tuple[float, float, float, float]
    score: float


def name_phrase(name: str) -> str:
    """A class name as a phrase.

    >>> [name_phrase(name) for name in ("dog", "Orange", "scissors", "broccoli", "sports_ball")]
    ['a dog', 'an orange', 'a pair of scissors', 'broccoli', 'a ball']
    """
    words = plain_name(name)
    last_word = words.split()[-1]
    if last_word in PAIRS:
        return f"a pair of {words}"
    if last_word in MASS_WORDS:
        return words
    article = "an" if words[0] in "aeiou" else "a"
    return f"{article} {words}"


def plural_phrase(name: str, count: int) -> str:
    """A class name for ``count`` things, two or more.

    >>> [plural_phrase("wine glass", 2), plural_phrase("sheep", 5), plural_phrase("knife", 3)]
    ['two wine glasses', 'several sheep', 'three knives']
    """
    *first_words, last_word = plain_name(name).split()
    number = COUNTS.get(count, "several")
    letter_before = last_word[-2:-1]
    if last_word in PLURALS:
        plural = PLURALS[last_word]
    elif last_word in PAIRS or last_word in MASS_WORDS:
        plural = last_word
    elif last_word.endswith(("s", "x", "ch", "sh")):
        plural = f"{last_word}es"
    elif last_word.endswith("y") and letter_before not in "aeiou":
        plural = f"{last_word[:-1]}ies"
    else:
        plural = f"{last_word}s"
    words = [number, *first_words, plural]
    return " ".join(words)


def plain_name(name: str) -> str:
    """A class name in lower case, without underscores, in the word that people use.

    Raises:
        ValueError: the name has no letter.
    """
    spaced = name.replace("_", " ").replace("-", " ")
    words = " ".join(spaced.lower().split())
    if not any(letter.isalpha() for letter in words):
        raise ValueError(
            f"class name: expected a word, got {name!r}; give the classes names"
        )
    return PLAIN_WORDS.get(words, words)


def read_results(
    path: Path,
    categories: Mapping[int, str] = COCO_CATEGORIES,
    min_score: float = MIN_SCORE,
) -> dict[str, list[NamedBox]]:
    """Boxes with names by photo from results in COCO's format.

    Args:
        path: the JSON file.
        categories: class names by number.
        min_score: boxes below it are left out.

    Returns:
        Boxes by the photo's file name, or by its ``image_id`` as text where the rows have no
        ``file_name``.

    Raises:
        ValueError: not such a file, an unknown category, or boxes that look like shares of the
            photo (0..1) rather than pixels.
    """
    rows, categories = _result_rows(path, categories)
    boxes_by_photo: dict[str, list[NamedBox]] = defaultdict(list)
    largest = 0.0
    for number, row in enumerate(rows):
        photo, named = _result(row, f"{path.name}: entry {number}", categories)
        largest = max(largest, *named.box)
        if named.score >= min_score:
            boxes_by_photo[photo].append(named)
    if rows and largest <= 1.5:
        raise ValueError(
            f"{path}: expected bbox in pixels, got values up to {largest:g}; they look like shares "
            "of the photo (0..1): multiply them by its width and height"
        )
    return dict(boxes_by_photo)


def _result_rows(
    path: Path, categories: Mapping[int, str]
) -> tuple[list[Any], Mapping[int, str]]:
    """The entries of a results file, and the categories: its own where it has them."""
    try:
        rows = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{path}: expected COCO results, a JSON list ({error})"
        ) from error
    if isinstance(rows, dict) and isinstance(rows.get("categories"), list):
        categories = {int(row["id"]): str(row["name"]) for row in rows["categories"]}
        rows = rows.get("annotations")
    if not isinstance(rows, list):
        raise ValueError(
            f"{path}: expected COCO results, a list of boxes with category_id, bbox "
            "and score, or an object with categories and such a list under "
            f"annotations, got {type(rows).__name__}"
        )
    return rows, categories


def _result(
    row: Any, where: str, categories: Mapping[int, str]
) -> tuple[str, NamedBox]:
    """The photo and the named box of one entry of a results file."""
    try:
        photo = str(row["file_name"] if "file_name" in row else row["image_id"])
        corners = box_ops.from_xywh(row["bbox"])
        category = int(row["category_id"])
        score = float(row.get("score", 1.0))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{where}: expected image_id or file_name, category_id, bbox [x, y, width, height] and "
            f"score, got {str(row)[:80]} ({error})"
        ) from error
    if category not in categories:
        known = f"{min(categories)}..{max(categories)}"
        raise ValueError(f"{where}: expected a category_id of {known}, got {category}")
    return photo, NamedBox(categories[category], corners, score)


def add_names(
    examples: Iterable[Example],
    boxes_by_photo: Mapping[str, Sequence[NamedBox]],
    contradictions: list[str] | None = None,
) -> list[Example]:
    """Examples with a detector's boxes and names beside what people annotated.

    A box that lies on an annotated one is that box and gives it a name; people are left to the
    people who described them where a photo has phrases of its own. Where somebody wrote the name of
    another class on a box, the detector's name of it is left out.

    Args:
        examples: found in ``boxes_by_photo`` as `boxes_of` does.
        boxes_by_photo: in pixels of the stored photo.
        contradictions: takes a line for each name that was left out.

    Raises:
        ValueError: the boxes look like corners that were read as a corner and a size.
    """
    with_names: list[Example] = []
    raw_boxes: list[RawBox] = []
    names = {box.name for boxes in boxes_by_photo.values() for box in boxes}
    kinds = {kind_of(plain_name(name)) for name in names}
    for example in examples:
        boxes = boxes_of(example, boxes_by_photo)
        size_wh = _stored_size(example) if boxes else None
        # a photo that cannot be opened stays grey, whatever its boxes are
        if boxes and size_wh:
            named, disputed = _with_names(example, boxes, size_wh, kinds)
            with_names.append(named)
            if contradictions is not None:
                contradictions += disputed
            raw_boxes += [RawBox(_corner_and_size(box.box), size_wh) for box in boxes]
        else:
            with_names.append(example)
    check_corner_and_size("names on boxes", raw_boxes)
    return with_names


def boxes_of(
    example: Example, boxes_by_photo: Mapping[str, Sequence[NamedBox]]
) -> Sequence[NamedBox]:
    """The boxes of a photo, by its id, its file's name, or the number in it as COCO names files.

    ``000000000139.jpg`` is image 139.
    """
    number = example.photo.stem.lstrip("0")
    keys = (example.id, example.photo.name, *([number] if number.isdecimal() else ()))
    return next((boxes_by_photo[key] for key in keys if key in boxes_by_photo), ())


def _stored_size(example: Example) -> tuple[int, int] | None:
    """Width and height of the stored photo; None where it cannot be opened."""
    try:
        return open_photo(example.photo, at_least=1).size_wh
    except ImageError:
        return None


def _corner_and_size(corners: Quad) -> Quad:
    """A box as it stood in COCO's file."""
    x1, y1, x2, y2 = corners
    return x1, y1, x2 - x1, y2 - y1


def _with_names(
    example: Example,
    named_boxes: Sequence[NamedBox],
    stored_wh: tuple[int, int],
    kinds: Collection[str],
) -> tuple[Example, list[str]]:
    """One example with names, and a line for each name that a person's phrase contradicts.

    Args:
        example: as people annotated it.
        named_boxes: of its photo.
        stored_wh: of the photo's file.
        kinds: of things that all names are about (`text.nouns.kind_of`).
    """
    is_described = any(phrase.source != DETECTOR for phrase in example.phrases)
    if is_described:
        named_boxes = [box for box in named_boxes if box.name != "person"]
    size_wh = example.size_wh or stored_wh
    boxes, names = _inside(named_boxes, stored_wh, size_wh)
    rows, all_boxes = _join_boxes(example.boxes_xyxy, boxes)
    disputed: list[str] = []
    agreed: list[tuple[str, int]] = []
    for name, row in zip(names, rows, strict=True):
        phrase = _contradicting(example, name, row, kinds)
        if phrase is None:
            agreed.append((name, row))
        else:
            disputed.append(f"{example.photo.name}: {phrase!r} and {name!r} on one box")
    phrases = (*example.phrases, *_name_phrases(agreed))
    named = replace(example, boxes_xyxy=all_boxes, phrases=phrases, size_wh=size_wh)
    return named, disputed


def _contradicting(
    example: Example, name: str, row: int, kinds: Collection[str]
) -> str | None:
    """A person's phrase that gives the box of this row the name of another class.

    None where all agree.
    """
    texts = [phrase.text for phrase in example.phrases if phrase.boxes == (row,)]
    phrase_kinds = [kind_of(text) for text in texts]
    name_kind = kind_of(plain_name(name))
    if name_kind in phrase_kinds:
        return None
    others = (
        text for text, kind in zip(texts, phrase_kinds, strict=True) if kind in kinds
    )
    return next(others, None)


def _name_phrases(named_rows: Sequence[tuple[str, int]]) -> list[Phrase]:
    """A phrase for each name and row of a box.

    Then one for all boxes of a name where it has several.
    """
    phrases: list[Phrase] = []
    rows_by_name: dict[str, list[int]] = defaultdict(list)
    for name, row in named_rows:
        phrases.append(Phrase(name_phrase(name), (row,), source=DETECTOR))
        rows_by_name[name].append(row)
    for name, name_rows in sorted(rows_by_name.items()):
        if len(name_rows) > 1:
            text = plural_phrase(name, len(name_rows))
            phrases.append(Phrase(text, tuple(name_rows), source=DETECTOR))
    return phrases


def _inside(
    named_boxes: Sequence[NamedBox],
    stored_wh: tuple[int, int],
    size_wh: tuple[int, int],
) -> tuple[FloatArray, list[str]]:
    """Boxes (N, 4) cut at the photo's edge, in pixels of the annotations, and their names."""
    boxes = np.asarray([box.box for box in named_boxes], np.float32).reshape(-1, 4)
    boxes = box_ops.clip(boxes, stored_wh)
    sides_wh = boxes[:, 2:] - boxes[:, :2]
    is_solid = sides_wh.min(axis=1) >= 2
    names = [named_boxes[row].name for row in np.flatnonzero(is_solid).tolist()]
    return box_ops.rescale(boxes[is_solid], stored_wh, size_wh), names


def _join_boxes(
    annotated: FloatArray, detected: FloatArray
) -> tuple[list[int], FloatArray]:
    """The row of each detected box among all boxes.

    An annotated one that it lies on, or its own.
    """
    if not len(annotated):
        return list(range(len(detected))), detected
    overlaps = box_ops.iou(detected, annotated)  # (detected, annotated)
    is_annotated = overlaps.max(axis=1, initial=0.0) >= SAME_BOX_IOU
    added_rows = len(annotated) + np.cumsum(~is_annotated) - 1
    rows = np.where(is_annotated, overlaps.argmax(axis=1), added_rows)
    all_boxes = np.concatenate([annotated, detected[~is_annotated]])
    return rows.tolist(), all_boxes


def read_detected(
    folder: Path, min_score: float = MIN_SCORE
) -> tuple[list[Example], DataReport]:
    """The photos of a folder of COCO's layout with a detector's boxes and names.

    Args:
        folder: holds ``images.json`` and ``detections.json``, perhaps ``captions.json``, and the
            photos in it or in its folders.
        min_score: names below it are left out.

    Raises:
        ValueError: a file is damaged, or its results belong to other photos.
    """
    document = read_json(folder / "images.json", "images")
    names = {str(row["id"]): str(row["file_name"]) for row in document["images"]}
    results = _read_detections(folder / "detections.json", document, names, min_score)
    captions = _read_captions(folder / "captions.json")
    files = _files_below(folder)
    troubles: dict[str, list[str]] = defaultdict(list)
    examples = []
    for photo_id, name in names.items():
        if name in files:
            examples.append(
                Example(files[name], tuple(captions[photo_id]), id=photo_id)
            )
        else:
            troubles["photo missing"].append(name)
    with_names = add_names(examples, results, troubles[CONTRADICTED])
    renamed = [replace(example, id=example.photo.name) for example in with_names]
    return renamed, report_on(folder.name, renamed, troubles)


def _files_below(folder: Path) -> dict[str, Path]:
    """File name -> path of what lies in a folder's folders, and of JPEGs in it."""
    paths = sorted(folder.glob("*/*"))
    paths += sorted(folder.glob("*.jpg"))
    files: dict[str, Path] = {}
    for path in paths:
        if path.is_file():
            files[path.name] = path
    return files


def _read_detections(
    path: Path, document: Mapping[str, Any], names: Mapping[str, str], min_score: float
) -> dict[str, list[NamedBox]]:
    """A detector's boxes by photo id, of which some are of the photos in ``names``."""
    rows = document.get("categories", [])
    categories = {int(row["id"]): str(row["name"]) for row in rows} or COCO_CATEGORIES
    results = read_results(path, categories, min_score)
    strangers = [photo_id for photo_id in results if photo_id not in names]
    if results and len(strangers) == len(results):
        raise ValueError(
            f"{path}: expected results for the photos of images.json, got "
            f"image_id {strangers[0]} and no other that it lists; is it of another data set?"
        )
    return results


def _read_captions(path: Path) -> dict[str, list[str]]:
    """Photo id -> its sentences with single blanks; empty where there is no such file."""
    captions: dict[str, list[str]] = defaultdict(list)
    if path.is_file():
        for row in read_json(path, "annotations")["annotations"]:
            text = " ".join(str(row["caption"]).split())
            captions[str(row["image_id"])].append(text)
    return captions
