"""Dense captioning with a model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from regiontalk.boxes import iou
from regiontalk.evaluate import dense
from regiontalk.evaluate.dense import detect, evaluate_dense, meteor_of
from regiontalk.metrics.dense import dense_captioning
from regiontalk.metrics.meteor.score import corpus_meteor, meteor_statistics
from regiontalk.metrics.meteor.tables import MeteorTables
from regiontalk.metrics.tokenizer import ptb_tokenize

EMPTY = MeteorTables()  # exact words and stems only


def test_detections_are_the_proposals(captioner: Any, photos: Any) -> None:
    encoded = photos(batch=4)
    found = detect(encoded, 5, 2, nms_iou=1)
    assert [photo.photo for photo in found] == [
        example.id for example in encoded.examples
    ]
    for photo, example in zip(found, encoded.examples, strict=True):
        said = captioner.caption(
            str(example.photo), regions=5, beams=2, threshold=0.0, merge=False
        ).regions
        assert np.allclose(photo.boxes_xyxy, [region.box for region in said], atol=1e-3)
        assert list(photo.captions) == [region.text for region in said]
        assert photo.scores == pytest.approx(
            [region.score * region.confidence for region in said], abs=1e-4
        )
        phrases = [phrase.text for phrase in example.phrases if len(phrase.boxes) == 1]
        assert sorted(photo.truth_captions) == sorted(phrases)


def test_what_overlaps_is_suppressed(photos: Any) -> None:
    encoded = photos(batch=4)
    many = detect(encoded, 300, 1, nms_iou=1)
    for few, every in zip(detect(encoded, 5, 1, nms_iou=0.3), many, strict=True):
        assert (np.triu(iou(few.boxes_xyxy, few.boxes_xyxy), 1) <= 0.3 + 1e-6).all()
        # the slow twin: by falling objectness, whatever stays clear of all that were kept
        kept: list[int] = []
        for row, box in enumerate(every.boxes_xyxy):
            if len(kept) < 5 and (iou(box[None], every.boxes_xyxy[kept]) <= 0.3).all():
                kept.append(row)
        assert np.allclose(few.boxes_xyxy, every.boxes_xyxy[kept], atol=1e-3)
        assert list(few.captions) == [every.captions[row] for row in kept] and 0 < len(
            kept
        ) < len(every.captions)
        assert few.scores == pytest.approx(every.scores[kept], abs=1e-5)


def test_the_look_up_is_meteor(photos: Any) -> None:
    detected = detect(photos(batch=4), 5, 2)
    quick = meteor_of(detected, EMPTY)

    def slow(said: str, references: Any) -> float:
        groups = [[ptb_tokenize(text) for text in references]]
        value = float(
            corpus_meteor(meteor_statistics([ptb_tokenize(said)], groups, EMPTY)[0])
        )
        assert quick(said, references) == pytest.approx(value)
        return value

    assert dense_captioning(detected, quick, resamples=5) == dense_captioning(
        detected, slow, resamples=5
    )


def test_with_and_without_tables(photos: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = photos(keep=True)
    monkeypatch.setattr(dense, "find_tables", lambda: (EMPTY, ""))
    row = evaluate_dense(encoded, regions=3, resamples=5).figures["model"]
    assert row["mean AP"] is not None and row["AP at IoU 0.3"] is not None
    monkeypatch.setattr(dense, "find_tables", lambda: (None, "no tables"))
    found = evaluate_dense(encoded, regions=3, resamples=5)
    assert (
        found.figures["model"]["mean AP"] is None
        and "mean AP: no tables" in found.notes
    )
    # the tables above are empty too
    assert found.figures["model"]["mean AP (METEOR exact, stem)"] == row["mean AP"]
    assert found.figures["model"]["localisation AP"] == row["localisation AP"]
    assert [chart.kind for chart in found.charts] == [
        "lines",
        "histogram",
    ] and found.cases["best"]


def test_without_a_stemmer(photos: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(detected: Any, tables: Any) -> Any:
        raise ImportError("METEOR stems with snowballstemmer")

    monkeypatch.setattr(dense, "meteor_of", lacking)
    found = evaluate_dense(photos(), regions=3, resamples=5)
    assert (
        set(found.figures["model"]) == {"mean AP", "localisation AP"}
        and found.figures["model"]["mean AP"] is None
    )
    assert (
        any("snowballstemmer" in note for note in found.notes)
        and len(found.charts) == 1
    )
