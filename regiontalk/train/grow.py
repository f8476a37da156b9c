"""A trained model whose vocabulary grows.

Old words keep their numbers and weights, new ones begin near their like. A new word's
rows begin as the mean of the rows of old words that are spelt alike ("toolbar" and
"bar") and of those that stand beside it in the captions; a word with neither begins at
the mean of all. Its output bias says how often it occurs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from regiontalk.model.region_model import RegionModel
from regiontalk.text.vocabulary import SPECIAL, Vocabulary, tokenize

WINDOW = 2  # words to either side that are neighbours
ALIKE = 3  # old words that are spelt alike, of which rows are taken
NGRAM = 3  # letters
# Jaccard overlap of their letter groups from which two words are spelt alike
LEAST_ALIKE = 0.3
WORD_ROWS = (
    "aligner.words.embed.weight",
    "generator.embed.weight",
    "generator.output.weight",
    "generator.output.bias",
)


def grown_vocabulary(
    old: Vocabulary, texts: Sequence[str], min_count: int
) -> Vocabulary:
    """The old words and, after them, those that occur so often in the texts.

    Counts of old words stay.

    >>> grown = grown_vocabulary(Vocabulary(["a", "dog"], [9, 3]), ["a gnu", "a gnu, a dog"], 2)
    >>> grown.words[4:], grown.counts
    (['a', 'dog', 'gnu'], [9, 3, 2])
    """
    counts = Counter(word for text in texts for word in tokenize(text))
    new_words = sorted(
        (
            word
            for word, count in counts.items()
            if count >= min_count and word not in old
        ),
        key=lambda word: (-counts[word], word),
    )
    words = [*old.words[len(SPECIAL) :], *new_words]
    return Vocabulary(words, [*old.counts, *(counts[word] for word in new_words)])


def grow_model(
    start: RegionModel, vocabulary: Vocabulary, texts: Sequence[str]
) -> RegionModel:
    """The start model with a larger vocabulary.

    Args:
        start: stays as it is.
        vocabulary: begins with the start model's words.
        texts: in which the new words occur.

    Raises:
        ValueError: the vocabulary does not begin with the start model's.
    """
    old_count = len(start.vocabulary)
    if vocabulary.words[:old_count] != start.vocabulary.words:
        raise ValueError(
            "vocabulary: expected one that begins with the start model's words"
        )
    model = RegionModel(
        config=start.config, vocabulary=vocabulary, backbone=start.extractor.backbone
    )
    model.extractor = start.extractor
    relatives = {
        word: related_words(word, start.vocabulary, texts)
        for word in vocabulary.words[old_count:]
    }
    frequency = model.generator.output.bias.detach().clone()
    state = dict(start.state_dict())
    for name in WORD_ROWS:
        state[name] = _with_rows(state[name], relatives)
    new_bias = frequency[old_count:] - frequency[:old_count].mean()
    bias = state["generator.output.bias"]
    bias[old_count:] = bias[4:old_count].mean() + new_bias
    model.load_state_dict(state)
    return model


def related_words(
    word: str, old: Vocabulary, texts: Sequence[str]
) -> Mapping[int, float]:
    """Old words by number, with their weights (sum 1), whose rows a new word begins with.

    Empty where there is none.
    """
    counters = (_spelt_alike(word, old), _neighbours(word, old, texts))
    groups = [group for group in counters if group]
    weights: dict[int, float] = {}
    for group in groups:
        for number, count in group.items():
            weights[number] = weights.get(number, 0.0) + count / group.total() / len(
                groups
            )
    return weights


def _spelt_alike(word: str, old: Vocabulary) -> Counter[int]:
    """The old words whose letter groups overlap most with those of a word.

    With the overlap in thousandths.
    """
    overlaps = Counter[int]()
    for number, old_word in enumerate(old.words[len(SPECIAL) :], start=len(SPECIAL)):
        overlap = _letter_overlap(word, old_word)
        if overlap >= LEAST_ALIKE:
            overlaps[number] = round(overlap * 1000)
    return Counter(dict(overlaps.most_common(ALIKE)))


def _neighbours(word: str, old: Vocabulary, texts: Sequence[str]) -> Counter[int]:
    """How often each old word stands beside a word in the texts."""
    counts = Counter[int]()
    for text in texts:
        tokens = tokenize(text)
        for position, token in enumerate(tokens):
            if token == word:
                near = tokens[max(0, position - WINDOW) : position + WINDOW + 1]
                counts.update(
                    number for number in old.encode(near) if number >= len(SPECIAL)
                )
    return counts


def hold_old_rows(model: RegionModel, old_count: int, texts: Sequence[str]) -> None:
    """Let rows of words learn only where the texts teach them something.

    Of the aligner's embedding these are the rows of new words: old ones keep what other
    sentences say of them. Of the generator's output they are the rows of the words in
    the texts: label smoothing pushes all others down a little, of which an optimiser
    that scales every gradient (Adam) makes much.

    Args:
        model: grown.
        old_count: words of the start model.
        texts: that are learnt.
    """
    if old_count >= len(model.vocabulary):
        model.aligner.words.embed.weight.requires_grad_(False)
    else:
        is_new = torch.arange(len(model.vocabulary)) >= old_count
        _learn_rows(model.aligner.words.embed.weight, is_new)
    is_taught = torch.zeros(len(model.vocabulary), dtype=torch.bool)
    is_taught[: len(SPECIAL)] = True
    for text in texts:
        is_taught[model.vocabulary.encode(text)] = True
    output = model.generator.output
    for weight in (output.weight, output.bias):
        _learn_rows(weight, is_taught)


def _learn_rows(weight: Any, rows: Tensor) -> None:
    """Let only some rows (V,) of a weight learn; True = learns."""
    mask = rows.view(-1, *[1] * (weight.ndim - 1)).float()
    weight.register_hook(lambda gradient: gradient * mask.to(gradient))


def _with_rows(table: Tensor, relatives: Mapping[str, Mapping[int, float]]) -> Tensor:
    """A table (V, ...) with a row after its own for each new word."""
    mean = table[len(SPECIAL) :].mean(0)
    rows = [_weighted_row(table, weights, mean) for weights in relatives.values()]
    return torch.cat([table, torch.stack(rows)]) if rows else table.clone()


def _weighted_row(
    table: Tensor, weights: Mapping[int, float], default: Tensor
) -> Tensor:
    """The weighted sum of rows of a table, or ``default`` where no row has a weight."""
    if not weights:
        return default
    return sum(
        (weight * table[number] for number, weight in weights.items()),
        torch.zeros_like(default),
    )


def _letter_overlap(first: str, second: str) -> float:
    """Jaccard overlap of the letter groups of two words.

    >>> round(_letter_overlap("toolbar", "bar"), 2)
    0.25
    """
    groups, others = _letter_groups(first), _letter_groups(second)
    return len(groups & others) / len(groups | others)


def _letter_groups(word: str) -> set[str]:
    marked = f"<{word}>"
    return {
        marked[first : first + NGRAM]
        for first in range(max(1, len(marked) - NGRAM + 1))
    }
