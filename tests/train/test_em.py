"""Responsibilities against plain loops."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from regiontalk.model.region_model import RegionModel
from regiontalk.text.vocabulary import START, UNKNOWN
from regiontalk.train.em import responsibilities


@torch.no_grad()
def test_against_plain_loops(make_tiny: Callable[..., RegionModel]) -> None:
    model = make_tiny()
    maps = model.extractor(torch.linspace(-2, 2, 3 * 64 * 64).view(1, 3, 64, 64).sin())
    boxes = torch.tensor([[[0.0, 0, 64, 64], [4, 4, 30, 40], [20, 8, 60, 60]]])
    sentences = [[4, 5, 6], [7, UNKNOWN]]
    found = responsibilities(model, maps, boxes, sentences)
    assert found.shape == (2, 3, 3)
    for row, sentence in enumerate(sentences):
        for place, word in enumerate(sentence):
            if word == UNKNOWN:
                assert (found[row, place] == 0).all()
                continue
            chances = []
            for region in range(3):
                condition, annotations = model.conditions(
                    maps, boxes[:, region : region + 1]
                )
                read = torch.tensor([[START, *sentence[:place]]])
                logits, _ = model.generator(condition, annotations, read)
                chances.append(float(logits[0, -1].softmax(0)[word]))
            expected = [math.log(chance / sum(chances)) for chance in chances]
            assert found[row, place].tolist() == pytest.approx(expected, abs=1e-4)
    assert (found[1, 2] == 0).all(), "no word there"
