"""Layers in int8: what they compute, and the way of a whole model there and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from regiontalk.model.int8 import LARGEST_WEIGHT, Int8Linear
from regiontalk.model.region_model import RegionModel
from regiontalk.runtime.export import store_in_int8


@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_is_near_the_one_it_was_made_from(bias: bool) -> None:
    torch.manual_seed(0)
    linear, inputs = nn.Linear(64, 9, bias=bias), torch.randn(5, 64)
    outputs = linear(inputs).detach()
    layer = Int8Linear.from_linear(linear)
    assert layer.weight.abs().amax(1).tolist() == [LARGEST_WEIGHT] * 9
    error, largest = (
        (layer(inputs) - outputs).abs().max().item(),
        outputs.abs().max().item(),
    )
    assert 0 < error < 0.02 * largest
    torch.testing.assert_close(layer.to_linear()(inputs), outputs, atol=0.02, rtol=0.02)


def test_by_hand() -> None:
    """Weights 63 and -21 steps of 1/63, inputs 127 and 64 steps of 2/127.

    (63 * 127 - 21 * 64) * 2 / 127 / 63 + 5.
    """
    linear = nn.Linear(2, 1)
    linear.weight.data, linear.bias.data = (
        torch.tensor([[1.0, -1 / 3]]),
        torch.tensor([5.0]),
    )
    layer = Int8Linear.from_linear(linear)
    assert layer.weight.tolist() == [[63, -21]]
    wanted = (63 * 127 - 21 * 64) * 2 / 127 / 63 + 5
    assert layer(torch.tensor([[2.0, 1.0]])).item() == pytest.approx(wanted, abs=1e-3)


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    torch.manual_seed(0)
    layer, inputs = Int8Linear.from_linear(nn.Linear(16, 7)), torch.randn(3, 16)
    alone = torch.cat([layer(row[None]) for row in inputs])
    assert layer(inputs).equal(alone)
    assert layer(torch.zeros(1, 16)).equal(layer.bias[None]), "zeros stay zeros"


def test_saved_loaded_and_trainable_again(
    make_tiny: Callable[..., RegionModel], tmp_path: Path
) -> None:
    model = make_tiny().in_int8()
    model.save_pretrained(tmp_path, "# tiny\n")
    again = RegionModel.from_folder(tmp_path)
    assert again.config.int8 and again.generator.output.weight.dtype == torch.int8
    for name, value in model.generator.state_dict().items():
        stored = again.generator.state_dict()[name]
        torch.testing.assert_close(stored, value, atol=1e-3, rtol=1e-3)
    again.trainable()
    assert not again.config.int8
    assert all(parameter.requires_grad for parameter in again.generator.parameters())
    assert again.in_int8().generator.output.weight.equal(
        model.generator.output.weight
    ), "the grid"


def test_a_folder_is_stored_in_int8(
    make_tiny: Callable[..., RegionModel], tmp_path: Path
) -> None:
    make_tiny().save_pretrained(tmp_path, "# tiny\n")
    size = (tmp_path / "model.safetensors").stat().st_size
    (tmp_path / "photo.onnx").write_bytes(b"a graph of the weights before")
    store_in_int8(tmp_path)
    assert RegionModel.from_folder(tmp_path).config.int8
    assert (tmp_path / "model.safetensors").stat().st_size < size
    assert (tmp_path / "README.md").read_text() == "# tiny\n"
    assert not (tmp_path / "photo.onnx").exists()
