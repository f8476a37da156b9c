"""Annotated phrases as pairs: which are taken, and their loss one pair at a time."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from regiontalk.align.loss import max_margin
from regiontalk.records import Example, Phrase
from regiontalk.text.vocabulary import Vocabulary
from regiontalk.train.phrases import (
    BoxPhrase,
    box_names,
    choose_phrases,
    embed_phrases,
    likely_true,
    one_box_phrases,
    phrase_loss,
)


def test_one_box_phrases() -> None:
    phrases = (
        Phrase("a dog", (1,)),
        Phrase("two men", (0, 1)),
        Phrase("sky", ()),
        Phrase("...", (0,)),
    )
    boxes = np.array([[0, 0, 5, 5], [2, 2, 9, 9]], dtype=np.float32)
    example = Example(Path("1.jpg"), ("x",), boxes, phrases, size_wh=(10, 10))
    assert one_box_phrases(example, Vocabulary(["a", "dog"])) == [(1, [4, 5])]


@pytest.mark.parametrize(
    ("mask", "count", "chosen"),
    [
        pytest.param(
            [[1, 1], [1, 1]],
            5,
            {(0, 0, (4,)), (0, 1, (5,)), (1, 1, (6,))},
            id="a wording once",
        ),
        pytest.param(
            [[0, 1], [1, 1]],
            5,
            {(0, 1, (5,)), (1, 0, (4,)), (1, 1, (6,))},
            id="a box that was cut away",
        ),
        pytest.param([[0, 0], [0, 0]], 5, set(), id="none is left"),
        pytest.param([[1, 1], [1, 1]], 0, set(), id="none is wanted"),
    ],
)
def test_choose_phrases(mask: Any, count: int, chosen: set[Any]) -> None:
    phrases = [
        [BoxPhrase(0, [4]), BoxPhrase(1, [5])],
        [BoxPhrase(0, [4]), BoxPhrase(1, [6])],
    ]
    is_visible = torch.tensor(mask, dtype=torch.bool)
    by_photo = choose_phrases(phrases, is_visible, count, random.Random(0))
    triples = [
        (photo, *phrase) for photo, group in enumerate(by_photo) for phrase in group
    ]
    assert {(photo, row, tuple(words)) for photo, row, words in triples} == chosen
    one_each = choose_phrases(
        phrases, torch.ones(2, 2, dtype=torch.bool), 1, random.Random(0)
    )
    assert [len(group) for group in one_each] == [1, 1]


@pytest.mark.parametrize("sentence", ["words", "last"])
@torch.no_grad()
def test_phrase_loss(make_tiny: Any, sentence: str) -> None:
    model = make_tiny(pool="grid" if sentence == "last" else "mean")
    config = model.config.aligner.model_copy(
        update={"loss": "sum", "margin": 0.2, "sentence": sentence, "hidden": 12}
    )
    model.aligner = type(model.aligner)(
        features=model.extractor.vector_size,
        vocabulary=len(model.vocabulary),
        config=config,
    ).eval()
    maps = model.extractor(torch.rand(3, 3, 64, 64))
    boxes = torch.tensor([[0.0, 0, 30, 30], [10, 10, 60, 60]]).repeat(3, 1, 1)
    chosen = [[BoxPhrase(1, [4, 5]), BoxPhrase(0, [7, 8, 9])], [], [BoxPhrase(0, [6])]]
    pairs = [(photo, *phrase) for photo, group in enumerate(chosen) for phrase in group]
    regions: list[Tensor] = [
        model.aligner.embed_regions(model.extractor.vectors(maps, boxes))[photo, row]
        for photo, row, _ in pairs
    ]
    scores = torch.zeros(3, 3)
    for k, region in enumerate(regions):
        for other, (_, _, words) in enumerate(pairs):
            vectors, mask = model.aligner.encode_text([words])
            scores[k, other] = sum(
                float(vectors[0, t] @ region)
                for t in range(vectors.shape[1])
                if mask[0, t]
            )
    expected = max_margin(scores, torch.arange(3), margin=0.2)
    embedded = embed_phrases(model, maps, boxes, chosen)
    found = phrase_loss(model.aligner, *embedded)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    spared = torch.zeros(3, 3, dtype=torch.bool)
    spared[0, 1] = spared[2, 1] = True
    expected = max_margin(scores.masked_fill(spared, -9.0), torch.arange(3), margin=0.2)
    found = phrase_loss(model.aligner, *embedded, spared=spared)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_likely_true() -> None:
    vocabulary = Vocabulary(["a", "boy", "child", "red", "shirt"])  # numbers 4 to 8
    boy, child, shirt = BoxPhrase(0, [4, 5]), BoxPhrase(0, [4, 6]), BoxPhrase(1, [7, 8])
    other_child, unknown = BoxPhrase(2, [4, 6]), BoxPhrase(1, [4, 3])
    photos = [[boy, child, shirt], [other_child, unknown]]
    names = [box_names(phrases, vocabulary) for phrases in photos]
    assert names == [{0: {5, 6}, 1: {7, 8}}, {2: {6}, 1: set()}]
    chosen = [[boy, shirt], [other_child, unknown]]
    expected = [
        [0, 0, 1, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
    ]  # "a child" is true of the boy, "a" says nothing
    assert likely_true(chosen, names).int().tolist() == expected
