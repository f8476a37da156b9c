"""From lists of different lengths to padded tensors with masks, in one place.

Nothing else of the package pads: every mask says True where there is something.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regiontalk.text.vocabulary import PAD


@dataclass(frozen=True)
class Item:
    """One photo on its way into a batch.

    Attributes:
        features: (N, F) region vectors, any floating type; row 0 is the whole photo.
        sentences: the word numbers of each of its sentences that takes part; may be empty.
    """

    features: NDArray[np.floating] | Tensor
    sentences: Sequence[Sequence[int]]


@dataclass(frozen=True, eq=False)
class Batch:
    """B photos with C sentences.

    Attributes:
        regions: (B, N, F) float32, zeros after a photo's last region.
        region_mask: (B, N) bool, True = a region.
        words: (C, T) int64, `PAD` after a sentence's end.
        word_mask: (C, T) bool, True = a word.
        photo: (C,) int64, the photo 0..B-1 that a sentence belongs to. Sentences of one photo are
            never each other's negatives, so a loss compares these numbers, not positions.
    """

    regions: Tensor
    region_mask: Tensor
    words: Tensor
    word_mask: Tensor
    photo: Tensor

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return Batch(
            **{
                item.name: getattr(self, item.name).to(device, non_blocking=True)
                for item in fields(self)
            }
        )


def collate(items: Sequence[Item]) -> Batch:
    """Pad the regions and the sentences of some photos.

    A photo without a region, or without a sentence, is legal: its mask row is False, or no
    ``photo`` names it.

    Raises:
        ValueError: there are no items, or their features differ in length.
    """
    if not items:
        raise ValueError("collate: expected at least one photo, got none; skip the empty batch")
    regions, region_mask = pad_regions([item.features for item in items])
    words, word_mask = pad_words([words for item in items for words in item.sentences])
    counts = torch.tensor([len(item.sentences) for item in items])
    photo = torch.repeat_interleave(torch.arange(len(items)), counts)  # (C,)
    return Batch(regions, region_mask, words, word_mask, photo)


def pad_regions(features: Sequence[NDArray[np.floating] | Tensor]) -> tuple[Tensor, Tensor]:
    """Region vectors of photos with different numbers of regions.

    Args:
        features: B arrays (N, F) of one F; N may be 0.

    Returns:
        (B, N, F) float32 with zeros after the last region, and the mask (B, N) bool, True = a
        region; N is at least 1.

    Raises:
        ValueError: an array is not (N, F), or the arrays differ in F.

    >>> pad_regions([torch.ones(2, 3), torch.ones(1, 3)])[1].tolist()
    [[True, True], [True, False]]
    """
    rows = [torch.as_tensor(item) for item in features]
    shapes = [tuple(item.shape) for item in rows]
    if any(len(shape) != 2 for shape in shapes) or len({shape[1] for shape in shapes}) > 1:
        raise ValueError(
            f"features: expected (N, F) with one F for all photos, got {sorted(set(shapes))}"
        )
    longest = max((len(item) for item in rows), default=0)
    padded = torch.zeros(len(rows), max(longest, 1), shapes[0][1] if shapes else 0)  # (B, N, F)
    mask = torch.zeros(padded.shape[:2], dtype=torch.bool)
    for number, item in enumerate(rows):
        padded[number, : len(item)] = item
        mask[number, : len(item)] = True
    return padded, mask


def pad_words(sentences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Word numbers of sentences of different lengths.

    Args:
        sentences: C lists of word numbers; a list may be empty.

    Returns:
        Words (C, T) int64, `PAD` after the end, and the mask (C, T) bool, True = a word. T is the
        longest length, and at least 1, so that a network always has a step to run.

    >>> pad_words([[5, 6], [7]])[0].tolist()
    [[5, 6], [7, 0]]
    """
    width = max((1, *(len(words) for words in sentences)))
    rows = [[*words, *[PAD] * (width - len(words))] for words in sentences]
    lengths = torch.tensor([len(words) for words in sentences], dtype=torch.int64)
    mask = torch.arange(width)[None, :] < lengths[:, None]  # (C, T)
    return torch.tensor(rows, dtype=torch.int64).reshape(len(sentences), width), mask
