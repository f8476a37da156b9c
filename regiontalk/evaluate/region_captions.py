"""Captions on many boxes of many photos, decoded together.

And which boxes have a truth to compare with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from regiontalk.captioner import RegionCaptioner, ScoredCaption
from regiontalk.evaluate.photos import EncodedPhotos, PhotoBatch, pad_with_whole
from regiontalk.records import Example, FloatArray, Phrase

# photos whose boxes decode in one batch: those with equally many boxes, so that little
# is padding
TOGETHER = 8


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
    """The chains of a photo of exactly one box.

    See docs/protocols.md: "two men" does not describe one man's box.
    """
    boxes_by_chain: dict[str, set[int]] = {}
    texts_by_chain: dict[str, list[str]] = {}
    for phrase in example.phrases:
        if phrase.boxes:
            name = chain(phrase)
            boxes_by_chain.setdefault(name, set()).update(phrase.boxes)
            texts_by_chain.setdefault(name, []).append(phrase.text)
    things = []
    for entity, boxes in boxes_by_chain.items():
        if len(boxes) == 1:
            (box,) = boxes
            things.append(
                OneBox(example.id, entity, box, tuple(texts_by_chain[entity]))
            )
    return things


def chain(phrase: Phrase) -> str:
    """The name of the thing, the annotators' own.

    Where they gave none, the boxes stand for it.
    """
    if phrase.entity is None:
        return f"boxes {phrase.boxes}"
    return phrase.entity


def one_box_batch(batch: PhotoBatch) -> tuple[list[list[OneBox]], list[FloatArray]]:
    """Each photo's one-box things, and their boxes (n, 4) in network pixels."""
    things_by_photo = [one_box_things(example) for example in batch.examples]
    boxes_by_photo = []
    for row, things in enumerate(things_by_photo):
        annotated_xyxy = batch.examples[row].boxes_xyxy[[thing.box for thing in things]]
        boxes_by_photo.append(batch.to_network(row, annotated_xyxy))
    return things_by_photo, boxes_by_photo


def left_out(examples: Iterable[Example]) -> Counter[str]:
    """How many phrases and chains have exactly one box.

    And how many are left out because they have more or none.
    """
    counts: Counter[str] = Counter()
    for example in examples:
        boxes_by_chain: dict[str, set[int]] = {}
        for phrase in example.phrases:
            boxes_by_chain.setdefault(chain(phrase), set()).update(phrase.boxes)
        for phrase in example.phrases:
            box_count = len(boxes_by_chain[chain(phrase)])
            counts[f"phrases {_count_name(box_count)}"] += 1
        for boxes in boxes_by_chain.values():
            counts[f"chains {_count_name(len(boxes))}"] += 1
    return counts


def _count_name(box_count: int) -> str:
    if box_count == 0:
        return "without a box, left out"
    return "with one box" if box_count == 1 else "with several boxes, left out"


def caption_boxes(
    captioner: RegionCaptioner,
    batch: PhotoBatch,
    boxes: Sequence[FloatArray],
    beams: int | None = None,
    *,
    of_photos: bool = False,
) -> list[list[ScoredCaption]]:
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
    captions_by_photo: list[list[ScoredCaption]] = [[] for _ in boxes]
    with_boxes = [row for row in range(len(boxes)) if len(boxes[row])]
    by_count = sorted(with_boxes, key=lambda row: len(boxes[row]))
    for start in range(0, len(by_count), TOGETHER):
        rows = by_count[start : start + TOGETHER]
        padded = pad_with_whole(
            [boxes[row] for row in rows], captioner.config.extractor.size
        )
        features = batch.take(rows).features
        captions = captioner.scored_captions(
            features, padded, beams, of_photos=of_photos
        )
        for row, padded_captions in zip(rows, captions, strict=True):
            captions_by_photo[row] = padded_captions[: len(boxes[row])]
    return captions_by_photo


def caption_photos(
    photos: EncodedPhotos, beams: int | None = None
) -> dict[str, ScoredCaption]:
    """The caption of every whole photo, by its id."""
    captioner = photos.captioner
    captions: dict[str, ScoredCaption] = {}
    for batch in photos:
        photo_boxes = list(captioner.predictor.whole_photos(len(batch)))
        batch_captions = caption_boxes(
            captioner, batch, photo_boxes, beams, of_photos=True
        )
        for example, (caption,) in zip(batch.examples, batch_captions, strict=True):
            captions[example.id] = caption
    return captions


def photo_features(photos: EncodedPhotos) -> tuple[list[Example], FloatArray]:
    """The examples that could be opened, and the whole-photo vector (M, F) of each."""
    captioner = photos.captioner
    examples: list[Example] = []
    rows: list[FloatArray] = []
    for batch in photos:
        examples.extend(batch.examples)
        rows.append(captioner.predictor.photo_features(batch.features))
    return examples, np.concatenate(rows)
