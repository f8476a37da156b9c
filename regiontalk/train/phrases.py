"""Annotated phrases as training pairs: a box and the words that name it, each against the other pairs of a step."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from regiontalk.model.region_model import RegionModel
from regiontalk.records import Example
from regiontalk.regions.extractor import Maps
from regiontalk.text.nouns import FUNCTION_WORDS
from regiontalk.text.vocabulary import UNKNOWN, Vocabulary

NEVER = (
    -1e4
)  # a score that no negative reaches; finite, as the gradient of a scale multiplies it by 0
RowWords = tuple[int, list[int]]  # the row of a box among its photo's, and word numbers


def one_box_phrases(
    example: Example, vocabulary: Vocabulary, source: str | None = None
) -> list[RowWords]:
    """The phrases of a photo that name exactly one box and have a word; ``source`` keeps those of one source."""
    single = [
        phrase
        for phrase in example.phrases
        if len(phrase.boxes) == 1 and source in (None, phrase.source)
    ]
    pairs = [(phrase.boxes[0], vocabulary.encode(phrase.text)) for phrase in single]
    return [pair for pair in pairs if pair[1]]


def box_names(phrases: Sequence[RowWords], vocabulary: Vocabulary) -> dict[int, set[int]]:
    """The content words by which people name each box of a photo, by its row."""
    names: dict[int, set[int]] = {}
    for row, words in phrases:
        content = {
            word
            for word in words
            if word > UNKNOWN and vocabulary.words[word] not in FUNCTION_WORDS
        }
        names.setdefault(row, set()).update(content)
    return names


def likely_true(
    chosen: Sequence[tuple[int, int, list[int]]], names: Sequence[Mapping[int, set[int]]]
) -> Tensor:
    """(P, P) bool, True = phrase l is not the one of pair k but shares a content word with those of its box.

    "A boy" was written of another box, and may be as true of this one, which people call "a little
    boy" or "a child". The hardest negative of a phrase is often such a one (docs/notebook.md).

    Args:
        chosen: pairs as `choose_phrases` gives them.
        names: of each photo, as `box_names` gives them.
    """
    own = [names[photo][row] for photo, row, _ in chosen]
    table = [[not one.isdisjoint(words) for _, _, words in chosen] for one in own]
    return torch.tensor(table).fill_diagonal_(False)


def choose_phrases(
    phrases: Sequence[Sequence[RowWords]], mask: Tensor, count: int, chooser: random.Random
) -> list[tuple[int, int, list[int]]]:
    """Up to ``count`` pairs of each of B photos: photo, box and words.

    No wording is chosen twice: "a man" of one photo would be called wrong for the man of another.

    Args:
        phrases: of each photo.
        mask: (B, G), True = the box is still in the picture.
        count: pairs a photo.
        chooser: what is random.
    """
    kept = mask.tolist()
    chosen: list[tuple[int, int, list[int]]] = []
    taken: set[tuple[int, ...]] = set()
    for photo, own in enumerate(phrases):
        left = count
        for row, words in chooser.sample(own, len(own)):
            if left and kept[photo][row] and tuple(words) not in taken:
                taken.add(tuple(words))
                chosen.append((photo, row, words))
                left -= 1
    return chosen


def phrase_loss(
    model: RegionModel,
    maps: Maps,
    boxes_xyxy: Tensor,
    chosen: Sequence[tuple[int, int, list[int]]],
    *,
    spared: Tensor | None = None,
    warm: bool = False,
) -> Tensor:
    """The aligner's loss over P pairs of a box and a phrase: a block of scores (P, P), its diagonal true.

    Args:
        model: extractor and aligner.
        maps: of B photos.
        boxes_xyxy: (B, G, 4) network pixels.
        chosen: pairs as `choose_phrases` gives them, at least one.
        spared: (P, P), True = no negative (`likely_true`); None for none.
        warm: hardest negatives are still all negatives.
    """
    photos = sorted({photo for photo, _, _ in chosen})
    most = max(sum(photo == one for one, _, _ in chosen) for photo in photos)
    wanted = boxes_xyxy.new_zeros(len(boxes_xyxy), most, 4)
    places: list[tuple[int, int]] = []
    filled = dict.fromkeys(photos, 0)
    for photo, row, _ in chosen:
        wanted[photo, filled[photo]] = boxes_xyxy[photo, row]
        places.append((photo, filled[photo]))
        filled[photo] += 1
    owner, place = torch.tensor(places, device=boxes_xyxy.device).unbind(1)
    regions = model.aligner.embed_regions(model.extractor.vectors(maps, wanted)[owner, place])[
        :, None
    ]  # (P, 1, D)
    words, word_mask = model.aligner.encode_text([words for _, _, words in chosen])
    region_mask = torch.ones(regions.shape[:2], dtype=torch.bool, device=regions.device)
    scores = model.aligner.score(regions, words, region_mask, word_mask)
    if spared is not None:
        scores = scores.masked_fill(spared.to(scores.device), NEVER)
    return model.aligner.loss(scores, torch.arange(len(chosen), device=regions.device), warm=warm)
