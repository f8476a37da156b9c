"""Region captions against a detection data set: do the words on a box name the thing in it?

`evaluate_names` captions every photo as `RegionCaptioner.caption` does and counts with
`metrics.names`; a detector's own boxes and class names make a row beside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from regiontalk import boxes as box_ops
from regiontalk.captioner import RegionCaptioner
from regiontalk.datasets.names import name_phrase, plural_phrase
from regiontalk.evaluate.examples import Case
from regiontalk.evaluate.result import Figure, Result
from regiontalk.files import read_text
from regiontalk.images.open import ImageError, open_image
from regiontalk.metrics.names import (
    LARGE_SHARE,
    ClassWords,
    NamedPhoto,
    NameFigures,
    judge_regions,
    objects_of,
    score_names,
    threshold_curve,
)
from regiontalk.records import Example, ImageResult
from regiontalk.regions.detectors import Detector

PHOTOS_TOGETHER = 8
RECALL_COUNTS = (19, 50)


def read_class_words(
    path: Path | None, examples: Sequence[Example]
) -> dict[str, list[str]]:
    """What names each class: a JSON file, or without one the class's own name and its plural.

    Raises:
        ValueError: the file is not an object of lists of words.
    """
    if path is None:
        classes: set[str] = set()
        for example in examples:
            classes.update(phrase.text for phrase in example.phrases)
        return {name: [name, *_forms(name)] for name in sorted(classes)}
    try:
        values = json.loads(read_text(path))
        class_words = {}
        for name, words in values.items():
            if not isinstance(words, list):
                raise TypeError(f"{name!r} has {words!r}, which is no list")
            class_words[str(name)] = list(map(str, words))
    except (OSError, json.JSONDecodeError, AttributeError, TypeError) as error:
        raise ValueError(
            f'{path}: expected class words, a JSON object such as {{"dog": ["dog", "puppy"]}} '
            f"({error})"
        ) from error
    return class_words


def _forms(name: str) -> tuple[str, str]:
    """A class name as one and as several, without article and number."""
    _, _, singular = name_phrase(name).partition(" ")
    _, _, plural = plural_phrase(name, 2).partition(" ")
    return singular or name, plural


def evaluate_names(
    captioner: RegionCaptioner,
    examples: Sequence[Example],
    class_words: ClassWords,
    *,
    detectors: Mapping[str, Detector] | None = None,
    resamples: int = 1000,
) -> Result:
    """Words on the regions that the model returns, against annotated objects.

    Args:
        captioner: as a user has it; its own threshold decides which regions have words.
        examples: photos whose phrases are class names with boxes.
        class_words: what names each class.
        detectors: rows beside the model, by name; only such as give class names.
        resamples: bootstrap draws of photos.

    Raises:
        ValueError: no photo has an object, or a class has no words.
    """
    threshold = captioner.config.decoding.threshold
    results = caption_all(captioner, _with_boxes(examples))
    captioned = [example for example, _ in results]
    photos = [named_photo(example, result) for example, result in results]
    model = score_names(photos, class_words, threshold, resamples=resamples)
    figures: dict[str, dict[str, Figure]] = {
        "model": {**_cells(model), **_proposal_recall(captioner, captioned)}
    }
    for name, detector in (detectors or {}).items():
        detected = [detected_photo(example, detector) for example in captioned]
        row = score_names(detected, class_words, resamples=resamples)
        figures[name] = _cells(row)
    for value, row in threshold_curve(photos, class_words).items():
        figures[f"model at threshold {value:g}"] = _cells(row, intervals=False)
    return Result(
        "names",
        figures,
        _counts(model, len(photos), len(examples)),
        (_class_note(model),),
        _outputs(results),
        cases=_cases(results, photos, class_words, threshold),
    )


def _with_boxes(examples: Sequence[Example]) -> list[Example]:
    """The photos that have an object."""
    with_boxes = [example for example in examples if len(example.boxes_xyxy)]
    if not with_boxes:
        raise ValueError(
            "names: expected photos with boxes of classes (COCO instances), got none with a box"
        )
    return with_boxes


def _counts(row: NameFigures, photos: int, examples: int) -> dict[str, int]:
    """How many of the examples were judged, and what of them."""
    return {
        "photos": photos,
        "photos without boxes or unreadable, left out": examples - photos,
        "regions judged": row.judged,
        "of them right": row.correct,
        f"objects over {LARGE_SHARE:.0%}": row.objects,
        "of them named": row.named,
    }


def _class_note(row: NameFigures) -> str:
    """How many objects of each class got their name."""
    by_class = [
        f"{name} {named}/{objects}" for name, (objects, named) in row.by_class.items()
    ]
    return f"objects named by class: {', '.join(by_class)}"


def caption_all(
    captioner: RegionCaptioner, examples: Sequence[Example]
) -> list[tuple[Example, ImageResult]]:
    """Each photo that can be opened with all regions that are returned.

    Whatever their confidence.
    """
    results: list[tuple[Example, ImageResult]] = []
    for first in range(0, len(examples), PHOTOS_TOGETHER):
        readable, photos = [], []
        for example in examples[first : first + PHOTOS_TOGETHER]:
            try:
                # decoded as `caption FILE` does
                photos.append(captioner.open(example.photo))
                readable.append(example)
            except ImageError:
                continue
        captioned = captioner.caption_many(photos, threshold=0.0)
        results += zip(readable, captioned, strict=True)
    return results


def named_photo(example: Example, result: ImageResult) -> NamedPhoto:
    """What the metric reads of a captioned photo."""
    boxes = np.array([region.box for region in result.regions], np.float32).reshape(
        -1, 4
    )
    texts = [region.text or "" for region in result.regions]
    confidences = [region.confidence for region in result.regions]
    size_wh = example.size_wh or result.size_wh
    boxes = box_ops.rescale(boxes, result.size_wh, size_wh)
    classes, rows = objects_of(example)
    return NamedPhoto(
        texts, confidences, boxes, classes, example.boxes_xyxy[rows], size_wh
    )


def detected_photo(example: Example, detector: Detector) -> NamedPhoto:
    """What the metric reads of a photo that a detector has looked at."""
    image = open_image(example.photo)
    things = detector.detect(image)
    boxes = np.array([thing.box for thing in things], np.float32).reshape(-1, 4)
    size_wh = example.size_wh or image.size
    classes, rows = objects_of(example)
    return NamedPhoto(
        [thing.label for thing in things],
        [thing.score for thing in things],
        box_ops.rescale(boxes, image.size, size_wh),
        classes,
        example.boxes_xyxy[rows],
        size_wh,
    )


def _cells(row: NameFigures, *, intervals: bool = True) -> dict[str, Figure]:
    """The columns of one row of the table."""
    cells = {
        "words a photo": row.words,
        "precision": row.precision,
        "precision anywhere": row.precision_anywhere,
        "coverage": row.coverage,
    }
    return {name: value if intervals else value.value for name, value in cells.items()}


def _proposal_recall(
    captioner: RegionCaptioner, examples: Sequence[Example]
) -> dict[str, Figure]:
    """The share of large objects that some of the best proposals meets, by number of proposals."""
    hits = dict.fromkeys(RECALL_COUNTS, 0)
    large_count = 0
    for example in examples:
        photo = captioner.open(example.photo)
        boxes, _ = captioner.predictor.propose(
            captioner.encode([photo]), max(RECALL_COUNTS)
        )
        size_wh = example.size_wh or photo.size_wh
        in_file = captioner.preprocessing.to_original(boxes[0], photo.size_wh)
        proposals = box_ops.rescale(in_file, photo.size_wh, size_wh)[1:]
        min_area = LARGE_SHARE * size_wh[0] * size_wh[1]
        large = example.boxes_xyxy[box_ops.area(example.boxes_xyxy) > min_area]
        large_count += len(large)
        if not len(large):
            continue
        ious = box_ops.iou(large, proposals)
        for count in RECALL_COUNTS:
            hits[count] += int((ious[:, :count].max(axis=1) >= 0.5).sum())
    return {
        f"recall by {count} proposals": hits[count] / max(1, large_count)
        for count in hits
    }


def _outputs(
    results: Iterable[tuple[Example, ImageResult]],
) -> tuple[dict[str, object], ...]:
    """The model's words, a photo a row."""
    return tuple(
        {"photo": example.id, **result.to_dict()} for example, result in results
    )


def _cases(
    results: Sequence[tuple[Example, ImageResult]],
    photos: Sequence[NamedPhoto],
    class_words: ClassWords,
    threshold: float,
) -> dict[str, tuple[Case, ...]]:
    """Photos with the most right and with the most wrong words."""
    right_counts, wrong_counts = [], []
    for photo in photos:
        is_correct, _ = judge_regions(photo, class_words)
        shown = []
        for value, confidence in zip(is_correct, photo.confidences, strict=True):
            if confidence >= threshold:
                shown.append(value)
        right_counts.append(shown.count(True))
        wrong_counts.append(shown.count(False))

    def make(row: int) -> Case:
        example, result = results[row]
        shown = [region for region in result.regions if region.confidence >= threshold]
        drawn = ImageResult(
            str(example.photo),
            result.size_wh,
            result.model,
            result.caption,
            tuple(shown),
        )
        return Case(f"{right_counts[row]} right, {wrong_counts[row]} wrong", (), drawn)

    return {
        "most right": tuple(map(make, _largest(right_counts))),
        "most wrong": tuple(map(make, _largest(wrong_counts))),
    }


def _largest(counts: Sequence[int]) -> list[int]:
    """The rows of the three largest counts; ties by order."""
    return sorted(range(len(counts)), key=lambda row: -counts[row])[:3]
