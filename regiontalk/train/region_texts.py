"""Words that people or detectors put on boxes, as the generator learns them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regiontalk.datasets.names import DETECTOR
from regiontalk.model.region_model import RegionModel
from regiontalk.records import Example
from regiontalk.train.sentences import network_boxes

PEOPLE = "annotator"  # the source of phrases that people wrote

# a box (4,) in network pixels and the words that describe it
BoxWords = tuple[Tensor, list[int]]


def region_texts(
    examples: Sequence[Example], model: RegionModel, *, phrases: bool, names: bool
) -> tuple[list[list[BoxWords]], list[list[BoxWords]]]:
    """People's phrases and a detector's names on the boxes of each photo; empty where they are not wanted."""
    return (
        box_phrases(examples, model, PEOPLE) if phrases else [],
        box_phrases(examples, model, DETECTOR) if names else [],
    )


def box_phrases(
    examples: Sequence[Example], model: RegionModel, source: str
) -> list[list[BoxWords]]:
    """The phrases of one source with the boxes they name, as boxes in network pixels and words.

    A phrase of several boxes ("two dogs") is about the box around them all.
    """
    phrases_by_photo: list[list[BoxWords]] = []
    for example in examples:
        boxes = torch.from_numpy(network_boxes(example, model.preprocessing))
        pairs: list[BoxWords] = []
        box_by_rows: dict[
            tuple[int, ...], Tensor
        ] = {}  # phrases of one box share its tensor: it is pooled once
        for phrase in example.phrases:
            words = model.vocabulary.encode(phrase.text)
            if phrase.source != source or not phrase.boxes or not words:
                continue
            corners = boxes[list(phrase.boxes)]
            around = torch.cat([corners[:, :2].amin(0), corners[:, 2:].amax(0)])
            pairs.append((box_by_rows.setdefault(tuple(sorted(phrase.boxes)), around), words))
        phrases_by_photo.append(pairs)
    return phrases_by_photo


def unique_boxes(texts: Sequence[Sequence[BoxWords]]) -> list[NDArray[np.float32]]:
    """The different boxes (G, 4) of each photo's texts."""
    boxes_by_photo: list[NDArray[np.float32]] = []
    for pairs in texts:
        boxes = dict.fromkeys(tuple(box.tolist()) for box, _ in pairs)
        boxes_by_photo.append(np.array(list(boxes), dtype=np.float32).reshape(-1, 4))
    return boxes_by_photo
