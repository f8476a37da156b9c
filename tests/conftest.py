"""What several test files need.

The data beside the checkout, a small data set in the official layout, a tiny model.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from regiontalk.align.config import AlignerConfig
from regiontalk.datasets.toy import make_scenes, write_scenes
from regiontalk.generate.config import GeneratorConfig
from regiontalk.model.config import DecodingConfig, ModelConfig
from regiontalk.model.region_model import RegionModel
from regiontalk.regions.config import ExtractorConfig
from regiontalk.text.vocabulary import END, Vocabulary

TINY_WORDS = "a the man woman dog red small car boat tree runs sits on in by".split()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of minutes first.

    Last, one worker would compute them while the other has nothing left.
    """
    items.sort(key=lambda item: item.get_closest_marker("minutes") is None)


@pytest.fixture(scope="session", autouse=True)
def no_graphs() -> Iterator[None]:
    """Training runs end without graphs, which take seconds to export; tests/runtime/ tries them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("regiontalk.train.run.export_runtime", lambda folder: [])
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("the data folder is absent")
    return folder


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """flickr8k/ and flickr30k_entities/ with 12 training and 6 dev scenes."""
    folder = tmp_path_factory.mktemp("toy")
    write_scenes({"train": make_scenes(12, 1), "dev": make_scenes(6, 2)}, folder)
    return folder


@pytest.fixture(scope="session")
def make_tiny() -> Callable[..., RegionModel]:
    """A function that builds a model of all parts, small enough for a test.

    Its arguments are the extractor's.
    """

    def make(**extractor: Any) -> RegionModel:
        sizes = {
            "backbone": "test_efficientnet",
            "size": 64,
            "features": 16,
            "proposal_width": 8,
            **extractor,
        }
        config = ModelConfig(
            name="tiny",
            extractor=ExtractorConfig(**sizes),
            aligner=AlignerConfig(
                size=12,
                word_size=8,
                hidden=10,
                cell="gru",
                normalise=True,
                sentence_token=True,
            ),
            generator=GeneratorConfig(
                cell="lstm", hidden=16, word_size=12, image="state", attention=8
            ),
            decoding=DecodingConfig(beams=2, max_words=6, threshold=0.0),
        )
        torch.manual_seed(3)
        model = RegionModel(config=config, vocabulary=Vocabulary(TINY_WORDS)).eval()
        _stir(model)
        return model

    return make


@torch.no_grad()
def _stir(model: RegionModel) -> None:
    """First weights say nothing and batch norms do nothing: make photos differ and END unlikely."""
    for norm in model.modules():
        if (
            isinstance(norm, nn.BatchNorm2d)
            and norm.running_mean is not None
            and norm.running_var is not None
        ):
            norm.running_mean.normal_(0, 0.2)
            norm.running_var.uniform_(0.5, 2.0)
            if norm.affine:
                norm.weight.uniform_(0.5, 1.5)
                norm.bias.normal_(0, 0.2)
    model.extractor.proposals.output.weight.normal_(0, 0.5)
    model.generator.picture.weight.mul_(6.0)
    model.generator.context_drive.weight.mul_(10.0)
    model.generator.context_out.weight.mul_(10.0)
    model.generator.output.weight.mul_(20.0)
    # whatever is seen, END stays as unlikely as its bias
    model.generator.output.weight[END] = 0.0
    model.generator.output.bias[END] -= 3.0


@pytest.fixture(scope="session")
def tiny_folder(
    make_tiny: Callable[..., RegionModel], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The tiny model as a folder, folded and in fp16 like a shipped one."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    make_tiny().folded().save_pretrained(folder, "# tiny\n\n## Licence\n\nFree.\n")
    return folder
