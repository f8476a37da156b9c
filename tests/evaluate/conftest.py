"""A small model with first weights, and the toy data set encoded with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from regiontalk.align.config import AlignerConfig
from regiontalk.captioner import RegionCaptioner
from regiontalk.datasets.splits import read_split
from regiontalk.evaluate.photos import EncodedPhotos
from regiontalk.generate.config import GeneratorConfig
from regiontalk.model.config import ModelConfig
from regiontalk.model.region_model import RegionModel
from regiontalk.regions.config import ExtractorConfig
from regiontalk.runtime.torch_engine import TorchPredictor
from regiontalk.text.vocabulary import END, Vocabulary

Photos = Callable[..., EncodedPhotos]


@pytest.fixture(scope="session")
def captioner(toy_folder: Path) -> RegionCaptioner:
    examples, _ = read_split(toy_folder, "train")
    vocabulary = Vocabulary.build(
        (caption for example in examples for caption in example.captions), min_count=1
    )
    config = ModelConfig(
        name="tiny",
        extractor=ExtractorConfig(
            backbone="lcnet_050",
            same_padding=False,
            size=64,
            features=16,
            proposal_width=8,
        ),
        aligner=AlignerConfig(
            size=8,
            word_size=8,
            hidden=8,
            cell="gru",
            normalise=True,
            sentence_token=True,
        ),
        generator=GeneratorConfig(cell="gru", hidden=12, word_size=8),
    )
    torch.manual_seed(0)
    model = RegionModel(config=config, vocabulary=vocabulary)
    with torch.no_grad():
        # first weights would say nothing at all: END is unlikely here, and photos make a
        # difference
        model.generator.output.bias[END] -= 3.0
        model.generator.picture.weight.mul_(20.0)
        model.generator.output.weight.mul_(20.0)
    return RegionCaptioner(predictor=TorchPredictor(model.eval()))


@pytest.fixture(scope="session")
def photos(captioner: RegionCaptioner, toy_folder: Path) -> Photos:
    """Encoded photos of a split of the toy data; arguments are those of `EncodedPhotos`."""

    def make(split: str = "dev", **settings: object) -> EncodedPhotos:
        examples = read_split(toy_folder, split)[0]
        return EncodedPhotos(captioner, examples, **settings)  # type: ignore[arg-type]

    return make
