"""Which boxes have a truth, and captions of many boxes at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regiontalk.captioner import RegionCaptioner
from regiontalk.evaluate.region_captions import (
    caption_boxes,
    caption_photos,
    left_out,
    one_box_things,
    photo_features,
)
from regiontalk.records import Example, Phrase

BOXES = np.array([[0, 0, 5, 5], [2, 2, 9, 9]], dtype=np.float32)


def example(*phrases: Phrase) -> Example:
    return Example(Path("a.jpg"), boxes_xyxy=BOXES, phrases=phrases, size_wh=(10, 10))


@pytest.mark.parametrize(
    ("phrases", "things"),
    [
        pytest.param(
            [
                Phrase("a man", (0,), entity="1"),
                Phrase("a guy", (0,), entity="1"),
                Phrase("a man", (0,), entity="1"),
            ],
            [("1", 0, ("a man", "a guy", "a man"))],
            id="several mentions, repeats kept",
        ),
        pytest.param([Phrase("two men", (0, 1), entity="1")], [], id="several boxes"),
        pytest.param(
            [Phrase("two men", (0, 1), entity="1"), Phrase("they", (0,), entity="1")],
            [],
            id="several boxes in all",
        ),
        pytest.param([Phrase("outside", (), entity="1")], [], id="no box"),
        pytest.param(
            [Phrase("a man", (0,), entity="1"), Phrase("a hat", (1,), entity="2")],
            [("1", 0, ("a man",)), ("2", 1, ("a hat",))],
            id="two things",
        ),
        pytest.param(
            [Phrase("a man", (1,)), Phrase("a guy", (1,))],
            [("boxes (1,)", 1, ("a man", "a guy"))],
            id="no names",
        ),
        pytest.param([], [], id="no phrases"),
    ],
)
def test_one_box_things(phrases: list[Phrase], things: list[Any]) -> None:
    found = [
        (thing.entity, thing.box, thing.phrases)
        for thing in one_box_things(example(*phrases))
    ]
    assert found == things


def test_left_out_counts_phrases_and_chains() -> None:
    photo = example(
        Phrase("a man", (0,), entity="1"),
        Phrase("him", (0,), entity="1"),
        Phrase("two men", (0, 1), entity="2"),
        Phrase("outside", (), entity="3"),
    )
    assert left_out([photo, example()]) == {
        "phrases with one box": 2,
        "phrases with several boxes, left out": 1,
        "phrases without a box, left out": 1,
        "chains with one box": 1,
        "chains with several boxes, left out": 1,
        "chains without a box, left out": 1,
    }


def test_speak_equals_one_box_at_a_time(
    captioner: RegionCaptioner, photos: Any
) -> None:
    batch = next(iter(photos(batch=6)))
    random = np.random.default_rng(0)
    corner = random.uniform(0, 30, (6, 3, 2))
    boxes = np.concatenate(
        [corner, corner + random.uniform(10, 30, (6, 3, 2))], axis=2
    ).astype(np.float32)
    wanted = [boxes[row, : (1, 3, 0, 2, 3, 1)[row]] for row in range(6)]
    found = caption_boxes(captioner, batch, wanted, beams=2)
    assert [len(own) for own in found] == [1, 3, 0, 2, 3, 1]
    for row, own in enumerate(wanted):
        features = batch.features.take([row])
        for box, spoken in zip(own, found[row], strict=True):
            alone = box[None, None]
            caption = captioner.write(features, alone, 2)
            fluency, match, _ = captioner.confidence_features(features, alone, caption)[
                0
            ].tolist()
            assert spoken.text == captioner.vocabulary.decode(caption[0].words) != ""
            assert (spoken.mean_log_prob, spoken.alignment_score) == pytest.approx(
                (fluency, match), abs=1e-4
            )


def test_whole_photos(captioner: RegionCaptioner, photos: Any) -> None:
    encoded = photos(batch=4)
    said = caption_photos(encoded, beams=2)
    examples, vectors = photo_features(encoded)
    assert (
        list(said)
        == [example.id for example in examples]
        == [example.id for example in encoded.examples]
    )
    single = captioner.caption_many([encoded.examples[5].photo], regions=0, beams=2)[
        0
    ].caption
    assert single is not None and said[encoded.examples[5].id].text == single.text
    last = list(encoded)[-1]
    whole = captioner.predictor.photo_features(last.features)
    np.testing.assert_allclose(vectors[4:], whole, atol=1e-6)
