"""What baselines take from the training split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from regiontalk.captioner import RegionCaptioner
from regiontalk.evaluate.training_bank import (
    embed_texts,
    nearest,
    read_snippets,
    read_training,
)
from regiontalk.text.vocabulary import tokenize
from regiontalk.train.snippets import photo_snippets


def test_nearest_takes_the_first_of_equals() -> None:
    queries, bank = torch.randn(700, 3), torch.randn(40, 3)
    slow = [int(np.argmax([float(query @ row) for row in bank])) for query in queries]
    assert nearest(queries, bank) == slow
    assert (
        nearest(torch.ones(1, 2), torch.ones(3, 2)) == [0]
        and nearest(torch.zeros(0, 2), torch.ones(3, 2)) == []
    )


def test_bags_give_the_scores_of_the_facade(
    captioner: RegionCaptioner, photos: Any
) -> None:
    texts = [
        "a small red circle",
        "square",
        "zebra crossing",
        "a large blue square left of a circle",
    ]
    batch = next(iter(photos(batch=1)))
    numbers = [captioner.vocabulary.encode(text) for text in texts]
    boxes, scores = captioner.phrase_scores(batch.features, [numbers], 3)
    predictor = captioner.predictor
    regions = predictor.embed_regions(predictor.region_features(batch.features, boxes))[
        0
    ]
    np.testing.assert_allclose(
        embed_texts(captioner, texts) @ regions.T, scores[0], atol=1e-5
    )


def test_inferred_snippets_are_those_of_the_snippets_verb(
    captioner: RegionCaptioner, photos: Any
) -> None:
    # as the verb does: other batches round otherwise
    encoded = photos("train", batch=1)
    found = read_training(encoded, infer=True)
    best: dict[tuple[str, tuple[float, ...]], tuple[float, str]] = {}
    texts: set[str] = set()
    for example in encoded.examples:
        for row in photo_snippets(captioner, example):
            texts.add(row["text"])
            key = (example.id, tuple(row["box"]))
            if key not in best or row["score"] > best[key][0]:
                best[key] = (row["score"], row["text"])
    assert found.bank is not None and set(found.bank.texts) == texts
    assert len(found.bank.best) == len(found.bank.features) == len(best)
    np.testing.assert_allclose(
        np.linalg.norm(found.bank.features, axis=1), 1, atol=1e-5
    )
    whole = [
        " ".join(tokenize(caption))
        for example in encoded.examples
        for caption in example.captions
    ]
    assert all(any(text in sentence for sentence in whole) for text in texts)
    assert list(found.sentences()) == [
        caption for example in encoded.examples for caption in example.captions
    ]


def test_a_large_beta_gives_whole_sentences(photos: Any) -> None:
    encoded = photos("train", batch=4)
    found = read_training(encoded, infer=True, beta=1e6)
    whole = {
        " ".join(tokenize(caption))
        for example in encoded.examples
        for caption in example.captions
    }
    assert found.bank is not None and set(found.bank.texts) == whole


def test_snippets_from_a_file(photos: Any, tmp_path: Path) -> None:
    encoded = photos("train", batch=4)
    name = encoded.examples[1].id
    rows = [
        {"photo": name, "box": [0, 0, 30, 30], "text": "a circle", "score": 0.5},
        {
            "photo": f"somewhere/{name}",
            "box": [0, 0, 30, 30],
            "text": "red",
            "score": 0.75,
        },
        {"photo": name, "box": [10, 10, 60, 60], "text": "a square"},
        {"photo": "another.jpg", "box": [0, 0, 1, 1], "text": "never used"},
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    bank = read_training(encoded, infer=True, file=path).bank
    assert (
        bank is not None
        and bank.texts == ("a circle", "red", "a square")
        and bank.best == ("red", "a square")
    )
    path.write_text(json.dumps(rows[3]))
    with pytest.raises(ValueError, match="expected some for the 12 training photos"):
        read_training(encoded, infer=True, file=path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("no json", ":1: expected photo, box and text", id="not JSON"),
        pytest.param(
            '{"photo": "a.jpg", "box": [0, 0, 1, 1]}',
            "expected photo, box and text",
            id="no text",
        ),
        pytest.param(
            '{"photo": "a.jpg", "box": 3, "text": "x"}',
            "expected photo, box and text",
            id="no box",
        ),
        pytest.param(None, "expected snippets, one JSON object a line", id="no file"),
    ],
)
def test_bad_snippet_files(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_snippets(path)


def test_blank_snippets_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(
        '{"photo": "a.jpg", "box": [0, 0, 1, 1], "text": " ", "score": null}\n'
    )
    assert read_snippets(path) == {}
