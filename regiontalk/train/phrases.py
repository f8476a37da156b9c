"""Annotated phrases as training pairs: a box and the words that name it, each against the other pairs of a step."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence

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
    box_words = [names[photo][row] for photo, row, _ in chosen]
    table: list[list[bool]] = []
    for words in box_words:
        table.append([not words.isdisjoint(text) for _, _, text in chosen])
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
    is_visible = mask.tolist()
    chosen: list[tuple[int, int, list[int]]] = []
    taken: set[tuple[int, ...]] = set()
    for photo, pairs in enumerate(phrases):
        left = count
        for row, words in chooser.sample(pairs, len(pairs)):
            if left and is_visible[photo][row] and tuple(words) not in taken:
                taken.add(tuple(words))
                chosen.append((photo, row, words))
                left -= 1
    return chosen


def embed_phrases(
    model: RegionModel,
    maps: Maps,
    boxes_xyxy: Tensor,
    chosen: Sequence[tuple[int, int, list[int]]],
) -> tuple[Tensor, Tensor, Tensor]:
    """P pairs of a box and a phrase as the aligner sees them; P may be 0.

    Args:
        model: extractor and aligner.
        maps: of B photos.
        boxes_xyxy: (B, G, 4) network pixels.
        chosen: pairs as `choose_phrases` gives them.

    Returns:
        regions (P, 1, D), word vectors (P, T, D) and their mask (P, T).
    """
    aligner = model.aligner
    texts = [text for _, _, text in chosen]
    if not chosen:
        words, word_mask = read_words(aligner, texts)
        return words, words, word_mask
    counts = Counter(photo for photo, _, _ in chosen)
    wanted = boxes_xyxy.new_zeros(len(boxes_xyxy), max(counts.values()), 4)
    columns: list[tuple[int, int]] = []
    filled: Counter[int] = Counter()
    for photo, row, _ in chosen:
        wanted[photo, filled[photo]] = boxes_xyxy[photo, row]
        columns.append((photo, filled[photo]))
        filled[photo] += 1
    owner, column = torch.tensor(columns, device=boxes_xyxy.device).unbind(1)
    regions = aligner.embed_regions(model.extractor.vectors(maps, wanted)[owner, column])
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
    """The aligner's loss over P pairs of a box and a phrase: a block of scores (P, P), its diagonal true.

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
    return aligner.loss(scores, torch.arange(len(regions), device=regions.device), warm=warm)
