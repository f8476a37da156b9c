"""Which model made a library.

The same after saving, another after any change, refused without unit vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from regiontalk.index.metadata import About
from regiontalk.model.region_model import RegionModel
from regiontalk.runtime.torch_engine import TorchPredictor


def fingerprint(model: RegionModel) -> str:
    return TorchPredictor(model).fingerprint()


def test_a_saved_model_is_the_same(
    make_tiny: Callable[..., RegionModel], tiny_folder: Path
) -> None:
    loaded = RegionModel.from_folder(tiny_folder)
    assert fingerprint(make_tiny().folded()) == fingerprint(loaded)
    with torch.no_grad():
        loaded.aligner.regions.project.bias[0] += 1
    assert fingerprint(loaded) != fingerprint(RegionModel.from_folder(tiny_folder))


def test_how_it_decodes_is_no_part(tiny_folder: Path) -> None:
    model = RegionModel.from_folder(tiny_folder)
    first = fingerprint(model)
    decoding = model.config.decoding.model_copy(update={"beams": 7})
    model.config = model.config.model_copy(
        update={"decoding": decoding, "name": "other"}
    )
    assert fingerprint(model) == first


def test_vectors_without_unit_length_are_refused(tiny_folder: Path) -> None:
    model = RegionModel.from_folder(tiny_folder)
    aligner = model.config.aligner.model_copy(update={"normalise": False})
    model.config = model.config.model_copy(update={"aligner": aligner})
    with pytest.raises(
        ValueError, match=r"are compared by cosine.*aligner.normalise = true"
    ):
        About.of(TorchPredictor(model), 19)


def test_a_number_of_regions_below_zero_is_refused(tiny_folder: Path) -> None:
    with pytest.raises(ValueError, match="regions: expected 0 or more, got -1"):
        About.of(TorchPredictor(RegionModel.from_folder(tiny_folder)), -1)
