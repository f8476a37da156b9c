"""Phrases and proposals against the facade and plain loops."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from regiontalk import boxes as box_ops
from regiontalk.captioner import LOCATE_REGIONS, RegionCaptioner
from regiontalk.evaluate.photos import EncodedPhotos
from regiontalk.evaluate.phrases import evaluate_phrases, evaluate_proposals
from regiontalk.images.open import open_image
from regiontalk.records import Example, Phrase, checked_boxes


def test_phrases_equal_locate(captioner: RegionCaptioner, photos: Any) -> None:
    encoded = photos(batch=4)
    found = evaluate_phrases(encoded, resamples=5)
    hits, inside, count = [0, 0, 0], 0, 0
    for example in encoded.examples:
        for phrase in (phrase for phrase in example.phrases if phrase.boxes):
            matches = captioner.locate(str(example.photo), phrase.text, k=10).matches
            truths = example.boxes_xyxy[list(phrase.boxes)]
            assert example.size_wh == open_image(example.photo).size
            overlap = (
                box_ops.iou(checked_boxes([match.box for match in matches]), truths).max(axis=1)
                >= 0.5
            )
            for place, at in enumerate((1, 5, 10)):
                hits[place] += bool(overlap[:at].any())
            x1, y1, x2, y2 = matches[0].box
            x, y = (x1 + x2) / 2, (y1 + y2) / 2
            inside += any(
                left <= x <= right and top <= y <= low for left, top, right, low in truths.tolist()
            )
            count += 1
    row = found.figures["model"]
    shares = [row[f"any box R@{at}"].value * count for at in (1, 5, 10)]  # type: ignore[union-attr]
    assert shares == pytest.approx(hits) and found.counts["phrases"] == count
    assert row["pointing"].value * count == pytest.approx(inside)  # type: ignore[union-attr]
    assert {"always the whole picture", "upper bound of the proposals"} <= set(found.figures)


def test_phrases_without_a_box_are_counted_out(captioner: RegionCaptioner, photos: Any) -> None:
    example = photos().examples[0]
    silent = Example(example.photo, phrases=(Phrase("the sky"),), id="silent")
    mixed = replace(example, phrases=(*example.phrases, Phrase("outside")))
    found = evaluate_phrases(EncodedPhotos(captioner, [silent, mixed]), resamples=5)
    assert found.counts["phrases without a box, left out"] == 2 and found.counts["photos"] == 1
    assert found.counts["boxes that compete"] == LOCATE_REGIONS + 1
    with pytest.raises(ValueError, match="expected one with a true box"):
        evaluate_phrases(EncodedPhotos(captioner, [silent]))


def test_proposals_equal_loops(captioner: RegionCaptioner, photos: Any) -> None:
    encoded = photos(batch=4)
    found = evaluate_proposals(encoded, resamples=5)
    covered = {
        (name, count): 0
        for name in ("proposals alone", "whole photo among them")
        for count in (20, 100)
    }
    total = 0
    for batch in photos(batch=1):
        boxes, scores = captioner.model.extractor.propose(batch.maps, 100)
        places = batch.to_annotation(0, boxes[0])[(scores[0] > 0).numpy()]
        for truth in batch.examples[0].boxes_xyxy:
            overlap = box_ops.iou(places, truth[None])[:, 0]
            for count in (20, 100):
                covered["proposals alone", count] += bool((overlap[1 : count + 1] >= 0.5).any())
                covered["whole photo among them", count] += bool((overlap[:count] >= 0.5).any())
            total += 1
    for (name, count), times in covered.items():
        figure = found.figures[name][f"{count} boxes IoU 0.5"]
        assert figure.value * total == pytest.approx(times)  # type: ignore[union-attr]
    assert found.counts["boxes"] == total
