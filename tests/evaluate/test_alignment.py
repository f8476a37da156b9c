"""Alignment on true boxes and of words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from regiontalk.captioner import RegionCaptioner
from regiontalk.evaluate.alignment import (
    _judge_words,
    _outranks,
    evaluate_alignment,
    phrase_outcomes,
    untrained_captioner,
    word_outcomes,
)
from regiontalk.evaluate.photos import EncodedPhotos
from regiontalk.records import Example, Phrase, checked_boxes
from regiontalk.text.vocabulary import tokenize


@pytest.mark.parametrize(
    ("scores", "own", "expected"),
    [
        # own 3 and 1 against 2: the best is first; of two pairs one is in order; chance 2 of 3
        pytest.param(
            [3.0, 1.0, 2.0], [1, 1, 0], (1.0, 0.5, 2 / 3, 0.5), id="two against one"
        ),
        pytest.param([1.0, 2.0, 3.0], [0, 0, 1], (1.0, 1.0, 1 / 3, 0.5), id="first"),
        pytest.param(
            [2.0, 2.0],
            [1, 0],
            (0.0, 0.5, 0.5, 0.5),
            id="a tie is no win, and half a pair",
        ),
        pytest.param([2.0], [1], (1.0, 1.0, 1.0, 1.0), id="nobody else"),
    ],
)
def test_outranks(scores: list[float], own: list[int], expected: Any) -> None:
    mine = np.array(own, dtype=bool)
    assert _outranks(np.array(scores, dtype=np.float32), mine, ~mine) == pytest.approx(
        expected
    )


def test_judge_by_hand() -> None:
    boxes = checked_boxes([[0, 0, 10, 10], [10, 10, 20, 20]])
    phrases = (
        Phrase("a man", (0,), caption=0, first_word=0),
        Phrase("two hats", (0, 1), caption=0, first_word=3),
        Phrase("elsewhere", (0,)),  # stands in no sentence
        Phrase("nothing", (), caption=0, first_word=2),
    )
    example = Example(
        Path("a.jpg"), boxes_xyxy=boxes, phrases=phrases, size_wh=(20, 20)
    )
    # regions: the photo (IoU .25; its centre 10,10 is a corner of both), the first box cut to 10x6
    # (IoU .6), a far one
    places = checked_boxes([[0, 0, 20, 20], [0, 0, 10, 6], [12, 0, 20, 8]])
    labels = torch.tensor([[1, 2, 0, 0, 1]])  # a man ... two hats
    fixed = [
        0.0,
        1.0,
        1.0,
        1.0,
    ]  # the whole photo: no IoU, centre inside; some region: both
    assert _judge_words(example, places, labels, np.ones(3, dtype=np.bool_)) == [
        [1.0, 1.0, *fixed],
        [0.0, 0.0, *fixed],
        [0.0, 1.0, *fixed],
        [1.0, 1.0, *fixed],
    ]


def test_words_are_aligned_as_the_facade_aligns(
    captioner: RegionCaptioner, photos: Any
) -> None:
    batch = next(iter(photos(batch=3)))
    found, spoken, _ = word_outcomes(captioner, batch, 0.0)
    slow = []
    for example in batch.examples:
        answers = [
            captioner.align(str(example.photo), caption).matches
            for caption in example.captions
        ]
        for phrase in example.phrases:
            if phrase.caption is None or phrase.first_word is None or not phrase.boxes:
                continue
            for place in range(len(tokenize(phrase.text))):
                x1, y1, x2, y2 = answers[phrase.caption][phrase.first_word + place].box
                truths = example.boxes_xyxy[list(phrase.boxes)].tolist()
                x, y = (x1 + x2) / 2, (y1 + y2) / 2
                slow.append(
                    any(
                        left <= x <= right and top <= y <= low
                        for left, top, right, low in truths
                    )
                )
    assert [bool(row[1]) for _, row in found] == slow
    assert sum(spoken.count.values()) == sum(
        len(tokenize(c)) for e in batch.examples for c in e.captions
    )


def test_own_phrases_against_loops(captioner: RegionCaptioner, photos: Any) -> None:
    batch = next(iter(photos(batch=3)))
    found = phrase_outcomes(captioner, batch)
    assert len(found) == sum(len(example.boxes_xyxy) for example in batch.examples)
    example = batch.examples[0]
    network = batch.to_network(0, example.boxes_xyxy)[None]
    predictor = captioner.predictor
    features = batch.features.take([0])
    vectors = predictor.embed_regions(predictor.region_features(features, network))[0]
    for place in range(len(example.boxes_xyxy)):
        best = {True: -np.inf, False: -np.inf}
        for phrase in example.phrases:
            words, mask = captioner.predictor.encode_text(
                [captioner.vocabulary.encode(phrase.text)]
            )
            score = float((words[0][mask[0]] @ vectors[place]).sum())
            best[place in phrase.boxes] = max(best[place in phrase.boxes], score)
        outcome = next(
            row
            for (name, row), thing in zip(found, range(len(found)), strict=True)
            if thing == place
        )
        assert bool(outcome[0]) == (best[True] > best[False])


def test_the_protocol(captioner: RegionCaptioner, photos: Any) -> None:
    found = evaluate_alignment(photos(keep=True), resamples=5)
    assert list(found.figures) == [
        "model",
        "chance",
        "every word on the whole photo",
        "every word on its best region",
        "word vectors",
        "untrained model",
    ]
    again = evaluate_alignment(photos(), untrained=False, resamples=5)
    assert (
        again.figures["model"] == found.figures["model"]
        and "untrained model" not in again.figures
    )


def test_untrained_weights_are_the_same_every_time(captioner: RegionCaptioner) -> None:
    state = torch.random.get_rng_state()
    first, second = (
        untrained_captioner(captioner).predictor.weights() for _ in range(2)
    )
    assert all(np.array_equal(first[name], second[name]) for name in first)
    # nobody else's chance is touched
    assert torch.equal(state, torch.random.get_rng_state())


def test_nothing_to_measure(captioner: RegionCaptioner, photos: Any) -> None:
    bare = Example(photos().examples[0].photo, ("a dog",))
    with pytest.raises(
        ValueError, match="expected boxes with phrases inside sentences"
    ):
        evaluate_alignment(EncodedPhotos(captioner, [bare]))
