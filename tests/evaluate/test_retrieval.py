"""Retrieval with a model against plain loops."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from regiontalk.align.config import AlignerConfig
from regiontalk.align.model import Aligner
from regiontalk.captioner import RegionCaptioner
from regiontalk.evaluate.photos import EncodedPhotos
from regiontalk.evaluate.retrieval import (
    evaluate_retrieval,
    region_embeddings,
    score_matrix,
)
from regiontalk.metrics.retrieval import retrieval
from regiontalk.model.config import ModelConfig
from regiontalk.records import Example
from regiontalk.runtime.torch_engine import TorchPredictor


class OfAligner(TorchPredictor):
    """A predictor that has an aligner and nothing else."""

    def __init__(self, aligner: Aligner) -> None:
        self.config = ModelConfig(aligner=aligner.config)
        self.model: Any = SimpleNamespace(aligner=aligner)


@pytest.mark.parametrize("score", ["maxsim", "sum_positive", "mean_positive"])
@pytest.mark.parametrize("token", [True, False], ids=["END read", "words alone"])
def test_score_matrix_equals_loops(score: Any, token: bool) -> None:
    torch.manual_seed(0)
    config = AlignerConfig(
        size=4, word_size=4, hidden=4, score=score, sentence_token=token
    )
    aligner = Aligner(features=3, vocabulary=12, config=config).eval()
    vectors = torch.randn(3, 5, 4).numpy()
    sentences = [[4, 5, 6], [7], [8, 9, 10, 11, 4], [5, 5]]
    found = score_matrix(OfAligner(aligner), vectors, sentences)
    for photo in range(3):
        for column, sentence in enumerate(sentences):
            words, mask = (
                part.detach().numpy() for part in aligner.encode_text([sentence])
            )
            products = [
                [float(v @ s) for v in vectors[photo]] for s in words[0][mask[0]]
            ]
            slow = (
                sum(max(row) for row in products)  # eq. 8
                if score == "maxsim"
                else sum(max(0.0, value) for row in products for value in row)  # eq. 7
            )
            if score == "mean_positive":
                slow /= 5 * (len(products) + 5)
            assert found[photo, column] == pytest.approx(slow, abs=1e-4)


def test_the_protocol_is_the_metric_on_the_matrix(
    captioner: RegionCaptioner, photos: Any
) -> None:
    encoded = photos(batch=4)
    examples, vectors, seen = region_embeddings(encoded, 3)
    assert vectors.shape == (6, 4, 8) and seen.shape == (6, 4)
    sentences = [
        (row, text) for row, example in enumerate(examples) for text in example.captions
    ]
    numbers = [captioner.vocabulary.encode(text) for _, text in sentences]
    slow = retrieval(
        score_matrix(captioner.predictor, vectors, numbers),
        [r for r, _ in sentences],
        resamples=20,
    )
    found = evaluate_retrieval(encoded, regions=3, resamples=20)
    assert found.figures["photo to sentence"] == slow.photo_to_sentence
    assert found.figures["sentence to photo"] == slow.sentence_to_photo
    assert found.counts["photos"] == 6 and found.counts["sentences"] == len(sentences)


def test_folds(photos: Any) -> None:
    found = evaluate_retrieval(photos(), regions=2, fold=3, resamples=5)
    assert (found.counts["photos"], found.counts["folds"]) == (6, 2)


def test_photos_without_sentences(captioner: RegionCaptioner, photos: Any) -> None:
    example = photos().examples[0]
    silent = Example(example.photo, id="silent")
    found = evaluate_retrieval(
        EncodedPhotos(captioner, [silent, example]), regions=1, resamples=5
    )
    assert (
        found.counts["photos without a sentence"] == 1 and found.counts["photos"] == 1
    )
    recall = found.figures["photo to sentence"]["R@1"]
    assert np.isclose(recall.value, 1.0)  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="expected photos with sentences"):
        evaluate_retrieval(EncodedPhotos(captioner, [silent]), regions=1)


def test_only_broken_photos(captioner: RegionCaptioner, tmp_path: Any) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no")
    with pytest.raises(ValueError, match="expected one that can be opened"):
        evaluate_retrieval(
            EncodedPhotos(captioner, [Example(tmp_path / "a.jpg", ("a dog",))])
        )
