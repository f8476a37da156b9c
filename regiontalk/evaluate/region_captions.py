"""Captions on many boxes of many photos, decoded together; and which boxes have a truth to compare with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from regiontalk.captioner import RegionCaptioner
from regiontalk.evaluate.photos import EncodedPhotos, PhotoBatch, pad_with_whole
from regiontalk.records import Example, FloatArray, Phrase

TOGETHER = 8  # photos whose boxes decode in one batch: those with equally many boxes, so that little is padding


class Spoken(NamedTuple):
    """A caption and what its confidence is computed from."""

    text: str
    fluency: float
    match: float


@dataclass(frozen=True)
class OneBox:
    """A thing that has exactly one box, and the phrases that name it.

    Attributes:
        photo: the example's id.
        entity: the annotators' name of the thing.
        box: row in `Example.boxes_xyxy`.
        phrases: all its mentions, in the order of the sentences; several people may use the same
            words.
    """

    photo: str
    entity: str
    box: int
    phrases: tuple[str, ...]

    @property
    def id(self) -> str:
        """A name that no other thing of the data set has."""
        return f"{self.photo}#{self.entity}"


def one_box_things(example: Example) -> list[OneBox]:
    """The chains of a photo of exactly one box (docs/protocols.md: "two men" does not describe one man's box)."""
    boxes: dict[str, set[int]] = {}
    phrases: dict[str, list[str]] = {}
    for phrase in example.phrases:
        if phrase.boxes:
            boxes.setdefault(chain(phrase), set()).update(phrase.boxes)
            phrases.setdefault(chain(phrase), []).append(phrase.text)
    return [
        OneBox(example.id, entity, next(iter(rows)), tuple(phrases[entity]))
        for entity, rows in boxes.items()
        if len(rows) == 1
    ]


def chain(phrase: Phrase) -> str:
    """The name of the thing: the annotators' own, or where they gave none the boxes, which then stand for it."""
    return phrase.entity if phrase.entity is not None else f"boxes {phrase.boxes}"


def one_box_batch(batch: PhotoBatch) -> tuple[list[list[OneBox]], list[FloatArray]]:
    """Each photo's one-box things, and their boxes (n, 4) in network pixels."""
    things = [one_box_things(example) for example in batch.examples]
    boxes = [
        batch.to_network(row, example.boxes_xyxy[[thing.box for thing in own]])
        for row, (example, own) in enumerate(zip(batch.examples, things, strict=True))
    ]
    return things, boxes


def left_out(examples: Iterable[Example]) -> Counter[str]:
    """How many phrases and chains have exactly one box, and how many are left out because they have more or none."""
    counts: Counter[str] = Counter()
    for example in examples:
        rows: dict[str, set[int]] = {}
        for phrase in example.phrases:
            rows.setdefault(chain(phrase), set()).update(phrase.boxes)
        for phrase in example.phrases:
            counts[f"phrases {_boxes(len(rows[chain(phrase)]))}"] += 1
        for found in rows.values():
            counts[f"chains {_boxes(len(found))}"] += 1
    return counts


def _boxes(count: int) -> str:
    return (
        ("without a box, left out", "with one box")[count]
        if count < 2
        else "with several boxes, left out"
    )


def speak(
    captioner: RegionCaptioner,
    batch: PhotoBatch,
    boxes: Sequence[FloatArray],
    beams: int | None = None,
    *,
    of_photos: bool = False,
) -> list[list[Spoken]]:
    """The caption of every box.

    Args:
        captioner: the model.
        batch: B photos.
        boxes: B times (n, 4) in network pixels; n differs from photo to photo and may be 0.
        beams: K of the beam search; None takes the model's own for regions.
        of_photos: the boxes are whole photos, which get sentences.

    Returns:
        B lists of n captions.
    """
    size, vocabulary = captioner.config.extractor.size, captioner.vocabulary
    spoken: list[list[Spoken]] = [[] for _ in boxes]
    order = sorted(
        (row for row in range(len(boxes)) if len(boxes[row])), key=lambda row: len(boxes[row])
    )
    for start in range(0, len(order), TOGETHER):
        rows = order[start : start + TOGETHER]
        padded = pad_with_whole([boxes[row] for row in rows], size)
        features = batch.features.take(rows)
        captions = captioner.write(features, padded, beams, of_photos=of_photos)
        evidence = captioner.evidence(features, padded, captions).tolist()
        for place, row in enumerate(rows):
            numbers = range(place * padded.shape[1], place * padded.shape[1] + len(boxes[row]))
            spoken[row] = [
                Spoken(vocabulary.decode(captions[at].words), *evidence[at]) for at in numbers
            ]
    return spoken


def speak_of_photos(photos: EncodedPhotos, beams: int | None = None) -> dict[str, Spoken]:
    """The caption of every whole photo, by its id."""
    captioner = photos.captioner
    found: dict[str, Spoken] = {}
    for batch in photos:
        whole = list(captioner.predictor.whole_photos(len(batch)))
        spoken = speak(captioner, batch, whole, beams, of_photos=True)
        found |= {example.id: own[0] for example, own in zip(batch.examples, spoken, strict=True)}
    return found


def photo_vectors(photos: EncodedPhotos) -> tuple[list[Example], FloatArray]:
    """The examples that could be opened, and the whole-photo vector (M, F) of each."""
    captioner = photos.captioner
    examples: list[Example] = []
    rows: list[FloatArray] = []
    for batch in photos:
        examples.extend(batch.examples)
        rows.append(captioner.predictor.photo_features(batch.features))
    return examples, np.concatenate(rows)
