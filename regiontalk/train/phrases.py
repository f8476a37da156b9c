"""Annotated phrases as training pairs.

A box and the words that name it, each against the other pairs of a step.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from regiontalk.align.model import Aligner
from regiontalk.model.region_model import RegionModel
from regiontalk.records import Example
from regiontalk.regions.extractor import Maps
from regiontalk.text.nouns import FUNCTION_WORDS
from regiontalk.text.vocabulary import UNKNOWN, Vocabulary
from regiontalk.train.align import read_words

# a score that no negative reaches; finite, as the gradient of a scale multiplies it by 0
NEVER = -1e4


class BoxPhrase(NamedTuple):
    """A phrase and the one box that it names.

    Attributes:
        row: of the box among its photo's; its corners move with the photo from step to step.
        token_ids: the phrase.
    """

    row: int
    token_ids: list[int]


def one_box_phrases(
    example: Example, vocabulary: Vocabulary, source: str | None = None
) -> list[BoxPhrase]:
    """The phrases of a photo that name exactly one box and have a word.

    ``source`` keeps those of one source.
    """
    single = [
        phrase
        for phrase in example.phrases
        if len(phrase.boxes) == 1 and source in (None, phrase.source)
    ]
    phrases = [
        BoxPhrase(phrase.boxes[0], vocabulary.encode(phrase.text)) for phrase in single
    ]
    return [phrase for phrase in phrases if phrase.token_ids]


def box_names(
    phrases: Sequence[BoxPhrase], vocabulary: Vocabulary
) -> dict[int, set[int]]:
    """The content words by which people name each box of a photo, by its row."""
    names: dict[int, set[int]] = {}
    for phrase in phrases:
        known = [number for number in phrase.token_ids if number > UNKNOWN]
        content = {
            number for number in known if vocabulary.words[number] not in FUNCTION_WORDS
        }
        names.setdefault(phrase.row, set()).update(content)
    return names


def likely_true(
    chosen: Sequence[Sequence[BoxPhrase]], names: Sequence[Mapping[int, set[int]]]
) -> Tensor:
    """(P, P) bool, True = phrase l may not be a negative of pair k.

    It is another phrase that shares a content word with those of k's box. "A boy" was
    written of another box, and may be as true of this one, which people call "a little
    boy" or "a child". The hardest negative of a phrase is often such a one
    (docs/notebook.md).

    Args:
        chosen: pairs as `choose_phrases` gives them.
        names: of each photo, as `box_names` gives them.
    """
    texts = [phrase.token_ids for phrases in chosen for phrase in phrases]
    table: list[list[bool]] = []
    for phrases, photo_names in zip(chosen, names, strict=True):
        for phrase in phrases:
            names_of_box = photo_names[phrase.row]
            table.append([not names_of_box.isdisjoint(text) for text in texts])
    return torch.tensor(table).fill_diagonal_(False)


def choose_phrases(
    phrases: Sequence[Sequence[BoxPhrase]],
    mask: Tensor,
    count: int,
    chooser: random.Random,
) -> list[list[BoxPhrase]]:
    """For each of B photos up to ``count`` of its pairs of a box and a phrase.

    No wording is chosen twice: "a man" of one photo would be called wrong for the man of another.

    Args:
        phrases: of each photo.
        mask: (B, G), True = the box is still in the picture.
        count: pairs a photo.
        chooser: what is random.
    """
    chosen: list[list[BoxPhrase]] = []
    taken: set[tuple[int, ...]] = set()
    for photo_phrases, is_visible in zip(phrases, mask.tolist(), strict=True):
        photo_chosen: list[BoxPhrase] = []
        for phrase in chooser.sample(photo_phrases, len(photo_phrases)):
            wording = tuple(phrase.token_ids)
            if (
                len(photo_chosen) < count
                and is_visible[phrase.row]
                and wording not in taken
            ):
                taken.add(wording)
                photo_chosen.append(phrase)
        chosen.append(photo_chosen)
    return chosen


def embed_phrases(
    model: RegionModel,
    maps: Maps,
    boxes_xyxy: Tensor,
    chosen: Sequence[Sequence[BoxPhrase]],
) -> tuple[Tensor, Tensor, Tensor]:
    """P pairs of a box and a phrase as the aligner sees them; P may be 0.

    Args:
        model: extractor and aligner.
        maps: of B photos.
        boxes_xyxy: (B, G, 4) network pixels.
        chosen: pairs of these photos, as `choose_phrases` gives them.

    Returns:
        regions (P, 1, D), word vectors (P, T, D) and their mask (P, T).
    """
    aligner = model.aligner
    texts = [phrase.token_ids for phrases in chosen for phrase in phrases]
    if not texts:
        words, word_mask = read_words(aligner, texts)
        return words, words, word_mask
    most = max(map(len, chosen))
    boxes = boxes_xyxy.new_zeros(len(chosen), most, 4)
    is_pair = torch.zeros(len(chosen), most, dtype=torch.bool, device=boxes.device)
    for photo, phrases in enumerate(chosen):
        boxes[photo, : len(phrases)] = boxes_xyxy[
            photo, [phrase.row for phrase in phrases]
        ]
        is_pair[photo, : len(phrases)] = True
    region_features = model.extractor.vectors(maps, boxes)[is_pair]  # (P, F)
    regions = aligner.embed_regions(region_features)
    return regions[:, None], *read_words(aligner, texts)


def phrase_loss(
    aligner: Aligner,
    regions: Tensor,
    words: Tensor,
    word_mask: Tensor,
    *,
    spared: Tensor | None = None,
    warm: bool = False,
) -> Tensor:
    """The aligner's loss over P pairs of a box and a phrase.

    A block of scores (P, P), its diagonal true.

    Args:
        aligner: score and loss.
        regions: (P, 1, D), at least one.
        words: (P, T, D).
        word_mask: (P, T), True = a word.
        spared: (P, P), True = no negative (`likely_true`); None for none.
        warm: hardest negatives are still all negatives.
    """
    region_mask = torch.ones(regions.shape[:2], dtype=torch.bool, device=regions.device)
    scores = aligner.score(regions, words, region_mask, word_mask)
    if spared is not None:
        scores = scores.masked_fill(spared.to(scores.device), NEVER)
    return aligner.loss(
        scores, torch.arange(len(regions), device=regions.device), warm=warm
    )
