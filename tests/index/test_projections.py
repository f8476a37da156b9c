"""Sketches: by hand, and that their order finds what exact scores find."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from regiontalk import RegionCaptioner
from regiontalk.index.projections import Sketches, sketch, sketch_basis
from regiontalk.index.table import filled


def test_by_hand() -> None:
    """W = diag(1, 3), b = 0: the second direction comes first.

    0.25 is 63.5 of 127 steps to 0.5, and 0.9 is cut.
    """
    weights = {"weight": np.diag([1.0, 3.0]), "bias": np.zeros(2)}
    model = SimpleNamespace(tensor=lambda name: weights[name.rpartition(".")[2]])
    basis = sketch_basis(cast(Any, model))
    np.testing.assert_allclose(basis, [[0, 1], [1, 0]], atol=1e-7)
    assert sketch(np.array([[0.9, 0.25], [-0.9, -0.1]]), basis).tolist() == [
        [64, 127],
        [-25, -127],
    ]


def test_the_best_photo_by_weighted_words() -> None:
    """Photo 7: 0.8 + 0; photo 8: 0.8 * 0.6 + 0.2 * 0.8 = 0.64 from one region; photo 9: 0 + 0.2."""
    vectors = (
        np.array(
            [[[1, 0], [0, 0]], [[0.6, 0.8], [0, 0]], [[0, 1], [0, 0]]], dtype=np.float32
        )
        / 2
    )
    found = Sketches(
        np.array([7, 8, 9], dtype=np.uint64),
        sketch(vectors, np.eye(2, dtype=np.float32)),
    )
    words = np.array([[0.8, 0], [0, 0.2]], dtype=np.float32)
    assert found.best(words, 2).tolist() == [7, 8]
    assert found.best(words, 1, np.array([9, 8], dtype=np.uint64)).tolist() == [8]
    assert sorted(found.best(words, 5).tolist()) == [7, 8, 9]
    assert found.best(words, 5, np.array([], dtype=np.uint64)).tolist() == []


@pytest.mark.parametrize("count", [10, 5000])
def test_candidates_hold_the_best_ten(count: int) -> None:
    """Regions of `mini`'s own space: W_m of random features, words among them."""
    predictor = RegionCaptioner.from_pretrained("mini").predictor
    size = predictor.config.extractor.features
    chance = np.random.default_rng(1)
    vectors, words = (
        predictor.embed_regions(chance.normal(size=shape).astype(np.float32))
        for shape in ((count, 4, size), (1, 6, size))
    )
    words = words[0]
    basis = sketch_basis(predictor)
    photos = Sketches(np.arange(count, dtype=np.uint64), sketch(vectors, basis))
    words *= np.array([[0.4], [0.2], [0.2], [0.1], [0.05], [0.05]], dtype=np.float32)
    exact = (
        (vectors.reshape(-1, 256) @ words.T)
        .reshape(count, 4, -1)
        .max(axis=1)
        .sum(axis=1)
    )
    best = np.argsort(-exact)[:10]
    assert len(set(photos.best(words @ basis, 200).tolist()) & set(best.tolist())) >= 9


def test_empty_places_have_the_first_region_again() -> None:
    assert filled(np.array([[1, 2], [3, 4]], dtype=np.int8), 4).tolist() == [
        [1, 2],
        [3, 4],
        [1, 2],
        [1, 2],
    ]
    assert filled(np.array([[1, 2], [3, 4]], dtype=np.int8), 1).tolist() == [[1, 2]]
