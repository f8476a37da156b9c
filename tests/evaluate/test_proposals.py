"""Proposals against plain loops."""

from __future__ import annotations

from typing import Any

import pytest

from regiontalk import boxes as box_ops
from regiontalk.captioner import RegionCaptioner
from regiontalk.evaluate.proposals import evaluate_proposals


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
        boxes, scores = captioner.predictor.propose(batch.features, 100)
        places = batch.to_annotation(0, boxes[0])[scores[0] > 0]
        for truth in batch.examples[0].boxes_xyxy:
            overlap = box_ops.iou(places, truth[None])[:, 0]
            for count in (20, 100):
                covered["proposals alone", count] += bool(
                    (overlap[1 : count + 1] >= 0.5).any()
                )
                covered["whole photo among them", count] += bool(
                    (overlap[:count] >= 0.5).any()
                )
            total += 1
    for (name, count), times in covered.items():
        figure = found.figures[name][f"{count} boxes IoU 0.5"]
        assert figure.value * total == pytest.approx(times)  # type: ignore[union-attr]
    assert found.counts["boxes"] == total
