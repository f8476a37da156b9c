"""Phrases against the facade and plain loops."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from regiontalk import boxes as box_ops
from regiontalk.captioner import LOCATE_REGIONS, RegionCaptioner
from regiontalk.evaluate.photos import EncodedPhotos
from regiontalk.evaluate.phrases import evaluate_phrases
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
                box_ops.iou(
                    checked_boxes([match.box for match in matches]), truths
                ).max(axis=1)
                >= 0.5
            )
            for place, at in enumerate((1, 5, 10)):
                hits[place] += bool(overlap[:at].any())
            x1, y1, x2, y2 = matches[0].box
            x, y = (x1 + x2) / 2, (y1 + y2) / 2
            inside += any(
                left <= x <= right and top <= y <= low
                for left, top, right, low in truths.tolist()
            )
            count += 1
    row = found.figures["model"]
    shares = [row[f"any box R@{at}"].value * count for at in (1, 5, 10)]  # type: ignore[union-attr]
    assert shares == pytest.approx(hits) and found.counts["phrases"] == count
    assert row["pointing"].value * count == pytest.approx(inside)  # type: ignore[union-attr]
    assert {"always the whole picture", "upper bound of the proposals"} <= set(
        found.figures
    )


def test_phrases_without_a_box_are_counted_out(
    captioner: RegionCaptioner, photos: Any
) -> None:
    example = photos().examples[0]
    silent = Example(example.photo, phrases=(Phrase("the sky"),), id="silent")
    mixed = replace(example, phrases=(*example.phrases, Phrase("outside")))
    found = evaluate_phrases(EncodedPhotos(captioner, [silent, mixed]), resamples=5)
    assert (
        found.counts["phrases without a box, left out"] == 2
        and found.counts["photos"] == 1
    )
    assert found.counts["boxes that compete"] == LOCATE_REGIONS + 1
    with pytest.raises(ValueError, match="expected one with a true box"):
        evaluate_phrases(EncodedPhotos(captioner, [silent]))
