"""Whole-photo captions, their baseline, and captions from files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from regiontalk.evaluate.captions import (
    evaluate_captions,
    nearest_sentences,
    score_files,
)
from regiontalk.evaluate.judges import find_meteor
from regiontalk.evaluate.region_captions import caption_photos
from regiontalk.evaluate.training_bank import read_training
from regiontalk.metrics.captions import score_captions


def test_figures_are_those_of_the_metric(photos: Any) -> None:
    encoded, training = (
        photos(batch=4),
        read_training(photos("train", batch=4), infer=False),
    )
    found = evaluate_captions(encoded, training, beams=2, resamples=5)
    said = {name: spoken.text for name, spoken in caption_photos(encoded, 2).items()}
    references = {example.id: example.captions for example in encoded.examples}
    # as the tables are here or not
    slow = score_captions(said, references, meteor=find_meteor(), resamples=5)
    assert {name: found.figures["model"][name] for name in slow.figures} == dict(
        slow.figures
    )
    novelty = found.figures["nearest training photo"]["in training"]
    assert novelty.value == 1.0  # type: ignore[union-attr]
    assert [output["model"] for output in found.outputs] == [
        said[output["photo"]] for output in found.outputs
    ]
    assert (
        found.counts["photos"],
        found.counts["training photos"],
        found.counts["beams"],
    ) == (
        6,
        12,
        2,
    )


def test_without_training_photos(photos: Any) -> None:
    found = evaluate_captions(photos(), resamples=5)
    assert (
        list(found.figures) == ["model"]
        and found.figures["model"]["in training"] is None
    )
    assert any("no training split" in note for note in found.notes)


def test_the_nearest_photo_of_a_photo_is_itself(photos: Any) -> None:
    encoded = photos(batch=4)
    first = {example.id: example.captions[0] for example in encoded.examples}
    training = read_training(photos(batch=3), infer=False)
    assert nearest_sentences(encoded, training, first) == first


RESULTS = [{"image_id": 1, "caption": "a dog"}, {"image_id": 2, "caption": "a cat"}]


def test_score_files(tmp_path: Path) -> None:
    said, truth = tmp_path / "said.json", tmp_path / "truth.json"
    said.write_text(json.dumps([*RESULTS, RESULTS[0]]))
    truth.write_text(
        json.dumps({"annotations": [*RESULTS, {"image_id": 3, "caption": "a cow"}]})
    )
    found = score_files(said, truth, resamples=5)
    assert found.counts == {"photos": 3, "predictions": 3, "references": 3}
    # 4 of 4 words right, 4 words against 6: brevity exp(1 - 6/4) = 0.6065
    assert found.figures["predictions"]["BLEU-1"].value == pytest.approx(
        0.6065, abs=1e-4
    )  # type: ignore[union-attr]
    kinds = [note.split(":")[1].strip() for note in found.notes]
    assert "missing prediction" in kinds and "duplicate prediction" in kinds
