"""The paper's region features.

Crops against torchvision, networks without their classifier, one interface.
"""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional
from torchvision.ops import roi_align

from regiontalk.regions.backbones import Backbone
from regiontalk.regions.config import CELLS, ExtractorConfig
from regiontalk.regions.crops import SIDE, CropExtractor, CropNetwork, crop
from regiontalk.regions.extractor import OnePassExtractor

BOXES = torch.tensor(
    [[[0.0, 0, 64, 64], [8, 4, 40, 60]], [[0, 0, 64, 64], [30, 30, 33, 62]]]
)
SIZES = {
    "backbone": "test_efficientnet",
    "size": 64,
    "features": 16,
    "proposal_width": 8,
}


def extractor(**changes: str) -> CropExtractor:
    torch.manual_seed(0)
    config = ExtractorConfig(**SIZES, crops="test_byobnet", **changes)
    backbone = Backbone(config.backbone, same_padding=config.same_padding)
    return CropExtractor(
        backbone=backbone, network=CropNetwork("test_byobnet"), config=config
    ).eval()


@pytest.mark.parametrize("side", [1, 7, 50])
def test_crop_is_roi_align_of_the_pixels(side: int) -> None:
    pixels, boxes = (
        torch.rand(2, 3, 40, 50),
        torch.tensor([[3.0, 4, 30, 20], [0, 0, 50, 40]]),
    )
    rows = torch.cat([torch.tensor([[0.0], [1.0]]), boxes], 1)
    expected = roi_align(pixels, rows, side, sampling_ratio=2, aligned=True)
    torch.testing.assert_close(crop(pixels, boxes, side), expected)


def test_a_crop_by_hand() -> None:
    # the left half of a picture that is 0 on the left and 1 on the right, and the right half
    pixels = torch.cat([torch.zeros(1, 3, 4, 2), torch.ones(1, 3, 4, 2)], 3)
    assert not crop(pixels, torch.tensor([[0.0, 0, 1.5, 4]]), 2).any()
    assert (crop(pixels, torch.tensor([[2.5, 0, 4, 4]]), 2) == 1).all()


@torch.no_grad()
def test_vectors_and_grids_box_by_box() -> None:
    model, pixels = extractor(), torch.rand(2, 3, 64, 64)
    maps = model(pixels)
    vectors, grids = model.vectors(maps, BOXES), model.grids(maps, BOXES)
    assert vectors.shape == (2, 2, model.vector_size) and grids.shape == (
        2,
        2,
        CELLS**2,
        model.cell_size,
    )
    for photo in range(2):
        for place in range(2):
            one = crop(pixels[photo : photo + 1], BOXES[photo, place][None], SIDE)
            torch.testing.assert_close(
                vectors[photo, place], model.network.net(one)[0], rtol=1e-3, atol=1e-4
            )
            last = model.network.net.forward_features(one)
            cells = functional.adaptive_avg_pool2d(last, CELLS)[0].flatten(1).T
            torch.testing.assert_close(grids[photo, place], cells, rtol=1e-3, atol=1e-4)
    assert model.vectors(maps, BOXES[:, :0]).shape == (2, 0, model.vector_size)


@torch.no_grad()
def test_proposals_are_the_one_pass_extractors() -> None:
    model, pixels = extractor(), torch.rand(1, 3, 64, 64)
    plain = OnePassExtractor(backbone=model.backbone, config=model.config).eval()
    plain.load_state_dict(
        {
            key: value
            for key, value in model.state_dict().items()
            if not key.startswith("network.")
        }
    )
    for got, expected in zip(
        model.propose(model(pixels), 3), plain.propose(plain(pixels), 3), strict=True
    ):
        torch.testing.assert_close(got, expected)


@torch.no_grad()
def test_grid_pooling_lays_the_cells_in_a_row() -> None:
    model, pixels = extractor(pool="grid"), torch.rand(2, 3, 64, 64)
    assert model.vector_size == CELLS**2 * model.cell_size
    maps = model(pixels)
    assert torch.equal(model.vectors(maps, BOXES), model.grids(maps, BOXES).flatten(2))
    config = ExtractorConfig(**SIZES, pool="grid")
    plain = OnePassExtractor(
        backbone=Backbone(config.backbone, same_padding=True), config=config
    ).eval()
    maps = plain(pixels)
    assert torch.equal(plain.vectors(maps, BOXES), plain.grids(maps, BOXES).flatten(2))
    assert plain.vectors(maps, BOXES).shape == (2, 2, plain.vector_size)


def test_few_crops_are_in_memory_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cut: list[weakref.ref[torch.Tensor]] = []
    alive: list[int] = []

    def spy(*given: Any) -> torch.Tensor:
        made = crop(*given)
        cut.append(weakref.ref(made))
        alive.append(sum(reference() is not None for reference in cut))
        return made

    monkeypatch.setattr("regiontalk.regions.crops.crop", spy)
    monkeypatch.setattr("regiontalk.regions.crops._TOGETHER", 1)
    model = extractor()
    vectors = model.vectors(model(torch.rand(2, 3, 64, 64)), BOXES)
    assert vectors.shape == (2, 2, model.vector_size) and len(cut) == 4
    assert max(alive) <= 2, "the one that is cut, and the one before it"


def test_the_crops_network_stands_still() -> None:
    model = extractor().train()
    assert model.training and not model.network.training
    assert not any(parameter.requires_grad for parameter in model.network.parameters())


@pytest.mark.parametrize(
    ("name", "vector", "cell"),
    [
        pytest.param("vgg19", 4096, 512, id="VGG-19, timm"),
        pytest.param("alexnet", 4096, 256, id="AlexNet, torchvision"),
        pytest.param("resnet50", 2048, 2048, id="ResNet-50"),
    ],
)
def test_the_papers_networks(name: str, vector: int, cell: int) -> None:
    with torch.device("meta"):  # shapes alone: VGG-19 has 140 million weights
        network = CropNetwork(name).eval()
        pixels = torch.zeros(2, 3, SIDE, SIDE)
        assert network(pixels).shape == (2, vector) and network.vector_size == vector
        assert (
            network.cells(pixels, CELLS).shape == (2, CELLS**2, cell)
            and network.cell_size == cell
        )


def test_an_unknown_name_lists_valid_ones() -> None:
    with pytest.raises(
        ValueError, match=r"backbone 'vgg99': expected a timm model name, such as .*"
    ):
        CropNetwork("vgg99")


def test_local_weights(tmp_path: Path) -> None:
    torch.manual_seed(5)
    first, second = CropNetwork("test_byobnet"), CropNetwork("test_byobnet")
    whole = first.net.state_dict() | {
        "head.fc.weight": torch.zeros(1000, first.vector_size)
    }
    save_file(whole, tmp_path / "w.safetensors")
    second.load_weights(tmp_path / "w.safetensors")
    assert all(
        torch.equal(value, whole[key]) for key, value in second.net.state_dict().items()
    )


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        pytest.param(
            None, FileNotFoundError, "expected a safetensors file", id="no file"
        ),
        pytest.param(
            b"no tensors", ValueError, "expected a safetensors file", id="another file"
        ),
        pytest.param(
            {"a": torch.zeros(1)},
            ValueError,
            "expected the weights of this backbone",
            id="other tensors",
        ),
    ],
)
def test_bad_weights(
    tmp_path: Path, content: object, error: type[Exception], message: str
) -> None:
    path = tmp_path / "w.safetensors"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, dict):
        save_file(content, path)
    with pytest.raises(error, match=message):
        CropNetwork("test_byobnet").load_weights(path)
