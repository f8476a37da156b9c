"""Words that people or detectors put on boxes, as the generator learns them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regiontalk.datasets.names import DETECTOR
from regiontalk.model.region_model import RegionModel
from regiontalk.records import Example
from regiontalk.train.features import FrozenFeatures
from regiontalk.train.sentences import network_boxes

PEOPLE = "annotator"  # the source of phrases that people wrote


class BoxText(NamedTuple):
    """A box and words that describe it, as the generator learns them.

    Attributes:
        box_xyxy: (4,) network pixels; texts on the same tensor share one reading of the box.
        token_ids: the words.
    """

    box_xyxy: Tensor
    token_ids: list[int]


def region_texts(
    examples: Sequence[Example], model: RegionModel, *, phrases: bool, names: bool
) -> tuple[list[list[BoxText]], list[list[BoxText]]]:
    """People's phrases and a detector's names on the boxes of each photo.

    Empty where they are not wanted.
    """
    return (
        box_phrases(examples, model, PEOPLE) if phrases else [],
        box_phrases(examples, model, DETECTOR) if names else [],
    )


def box_phrases(
    examples: Sequence[Example], model: RegionModel, source: str
) -> list[list[BoxText]]:
    """The phrases of one source with the boxes they name, as boxes in network pixels and words.

    A phrase of several boxes ("two dogs") is about the box around them all.
    """
    phrases_by_photo: list[list[BoxText]] = []
    for example in examples:
        boxes = torch.from_numpy(network_boxes(example, model.preprocessing))
        texts: list[BoxText] = []
        # phrases of one box share its tensor: it is pooled once
        box_by_rows: dict[tuple[int, ...], Tensor] = {}
        for phrase in example.phrases:
            token_ids = model.vocabulary.encode(phrase.text)
            if phrase.source != source or not phrase.boxes or not token_ids:
                continue
            corners = boxes[list(phrase.boxes)]
            around = torch.cat([corners[:, :2].amin(0), corners[:, 2:].amax(0)])
            box = box_by_rows.setdefault(tuple(sorted(phrase.boxes)), around)
            texts.append(BoxText(box, token_ids))
        phrases_by_photo.append(texts)
    return phrases_by_photo


def in_views(
    texts: Sequence[Sequence[BoxText]], features: FrozenFeatures
) -> list[list[BoxText]]:
    """The texts of every row of the features, each on its box in that view.

    A box that a view has lost is left out.

    Args:
        texts: of each photo, on view 0.
        features: that were computed for all their boxes.
    """
    rows = [list(photo_texts) for photo_texts in texts]
    boxes = features.taught_boxes
    if boxes is None or not rows:
        return rows
    for row in range(features.photos, len(boxes)):
        photo = row % features.photos
        rows.append(_moved(rows[photo], boxes[photo], boxes[row]))
    return rows


def _moved(
    texts: Sequence[BoxText], drawn: NDArray[np.float32], moved: NDArray[np.float32]
) -> list[BoxText]:
    """The texts on the boxes (G, 4) as drawn, on the same boxes where they have moved to."""
    column_of_box = {tuple(box): column for column, box in enumerate(drawn.tolist())}
    moved_boxes = torch.from_numpy(np.array(moved)).unbind()
    moved_texts: list[BoxText] = []
    for text in texts:
        box = moved_boxes[column_of_box[tuple(text.box_xyxy.tolist())]]
        if box.any():
            moved_texts.append(BoxText(box, text.token_ids))
    return moved_texts


def unique_boxes(texts: Sequence[Sequence[BoxText]]) -> list[NDArray[np.float32]]:
    """The different boxes (G, 4) of each photo's texts."""
    boxes_by_photo: list[NDArray[np.float32]] = []
    for photo_texts in texts:
        boxes = dict.fromkeys(tuple(text.box_xyxy.tolist()) for text in photo_texts)
        boxes_by_photo.append(np.array(list(boxes), dtype=np.float32).reshape(-1, 4))
    return boxes_by_photo
