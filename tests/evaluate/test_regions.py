"""Captions on true boxes and their baselines."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from regiontalk.boxes import iou
from regiontalk.captioner import RegionCaptioner
from regiontalk.evaluate.photos import EncodedPhotos
from regiontalk.evaluate.region_captions import one_box_things
from regiontalk.evaluate.regions import (
    HUMAN,
    MATCHED,
    SAME,
    UNMOVED,
    caption_crops,
    describe_boxes,
    evaluate_regions,
    match_proposals,
)
from regiontalk.evaluate.training_bank import read_training
from regiontalk.images.open import open_image, open_photo
from regiontalk.records import Example, Phrase


@pytest.fixture
def snippet_file(photos: Any, tmp_path: Path) -> Path:
    """The dev photos' own boxes and phrases, as if they were inferred training pairs."""
    rows = [
        {
            "photo": example.id,
            "box": example.boxes_xyxy[thing.box].tolist(),
            "text": thing.phrases[0],
        }
        for example in photos().examples
        for thing in one_box_things(example)
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_rows_and_counts(photos: Any, snippet_file: Path) -> None:
    training = read_training(photos(), infer=True, file=snippet_file)
    found = evaluate_regions(photos(batch=4), training, beams=2, resamples=5)
    baselines = ["model", "ranking", "nearest region", "photo model on the crop"]
    assert list(found.figures) == [*baselines, MATCHED, UNMOVED, SAME, HUMAN]
    assert [chart.kind for chart in found.charts] == [
        "histogram",
        "reliability",
        "histogram",
    ]
    assert set(found.cases) == {"best", "median", "worst"}
    # the nearest training region of a box is the box itself, and its snippet is the truth
    nearest = found.figures["nearest region"]["BLEU-1"]
    assert nearest.value == pytest.approx(1.0)  # type: ignore[union-attr]
    # the toy world always names a thing in the same words
    assert found.figures[HUMAN]["BLEU-1"].value == pytest.approx(1.0)  # type: ignore[union-attr]
    things = sum(len(one_box_things(example)) for example in photos().examples)
    assert (
        found.counts["regions"]
        == found.counts["chains with one box"]
        == len(found.outputs)
        == things
    )


def test_the_ranking_takes_the_highest_alignment(
    captioner: RegionCaptioner, photos: Any, snippet_file: Path
) -> None:
    encoded = photos()
    training = read_training(encoded, infer=True, file=snippet_file)
    found = evaluate_regions(encoded, training, crops=False, resamples=5)
    assert training.bank is not None
    for output in found.outputs[:4]:
        example = next(
            example for example in encoded.examples if example.id == output["photo"]
        )
        scores = []
        # one snippet and one box at a time, through the model's parts
        for text in training.bank.texts:
            words, mask = captioner.predictor.encode_text(
                [captioner.vocabulary.encode(text)]
            )
            maps = captioner.encode([open_photo(example.photo)])
            box = captioner.preprocessing.to_network(
                [output["box"]], example.size_wh or (0, 0)
            )
            vector = captioner.predictor.embed_regions(
                captioner.predictor.region_features(maps, torch.from_numpy(box)[None])
            )
            scores.append(float((words[0][mask[0]] @ vector[0, 0]).sum()))
        assert output["ranking"] == training.bank.texts[int(np.argmax(scores))]


def test_crops_are_the_pixels_of_the_box(
    captioner: RegionCaptioner, photos: Any, tmp_path: Path
) -> None:
    example = photos().examples[0]
    wide, high = open_image(example.photo).size
    # annotated on a picture of 100x200
    boxes = np.array([[0, 0, 100, 200], [50, 50, 100, 200]], dtype=np.float32)
    phrases = (
        Phrase("everything", (0,), entity="1"),
        Phrase("a part", (1,), entity="2"),
    )
    photo = EncodedPhotos(
        captioner,
        [replace(example, boxes_xyxy=boxes, phrases=phrases, size_wh=(100, 200))],
    )
    said = list(caption_crops(photo, describe_boxes(photo, 2), 2).values())
    open_image(example.photo).crop((wide // 2, high // 4, wide, high)).save(
        tmp_path / "part.png"
    )
    slow = captioner.caption_many(
        [str(example.photo), str(tmp_path / "part.png")], regions=0, beams=2
    )
    assert said == [result.caption.text for result in slow if result.caption]


def test_matched_proposals_equal_loops(captioner: RegionCaptioner, photos: Any) -> None:
    found = match_proposals(photos(batch=4), 2)
    assert found
    for batch in photos(batch=1):
        boxes, quality = captioner.predictor.propose(batch.features, 100)
        places = batch.to_annotation(0, boxes[0])
        for thing in one_box_things(batch.examples[0]):
            overlaps = iou(places, batch.examples[0].boxes_xyxy[[thing.box]])[:, 0]
            overlaps[0] = 0.0  # the whole photo is no proposal
            overlaps[quality[0] <= 0] = 0.0
            best = int(overlaps.argmax())
            assert (thing.id in found) == (overlaps[best] >= 0.5)
            if thing.id in found:
                own = found[thing.id]
                assert own.iou == pytest.approx(float(overlaps[best]), abs=1e-5)
                said = captioner.write(batch.features, boxes[:, best : best + 1], 2)[
                    0
                ].words
                assert own.caption.text == captioner.vocabulary.decode(said)


def test_without_training_or_boxes(captioner: RegionCaptioner, photos: Any) -> None:
    found = evaluate_regions(photos(), crops=False, resamples=5)
    assert list(found.figures) == ["model", MATCHED, UNMOVED, SAME, HUMAN]
    assert any("no training snippets" in note for note in found.notes)
    bare = EncodedPhotos(captioner, [Example(photos().examples[0].photo, ("a dog",))])
    with pytest.raises(ValueError, match="expected chains with exactly one box"):
        evaluate_regions(bare)
