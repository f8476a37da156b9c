"""A trained backbone in whole numbers: near the float one, alike on both engines, for use only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from typer.testing import CliRunner

from regiontalk.cli.main import app
from regiontalk.model.hub import resolve_model
from regiontalk.model.region_model import RegionModel
from regiontalk.regions.int8_mobilenets import Int8MobileNet
from regiontalk.regions.mobilenets import NETWORKS
from regiontalk.runtime.export import export_runtime
from regiontalk.runtime.onnx_engine import OnnxPredictor
from regiontalk.runtime.torch_engine import TorchPredictor
from regiontalk.train.build import _refuse_moving, _take_over
from regiontalk.train.recipe import Recipe, bundled_recipes, read_recipe
from regiontalk.train.round_backbone import (
    MIN_PHOTOS,
    read_pixels,
    round_backbone,
    round_in_folder,
)

LITE = "tf_efficientnet_lite0"


def pictures(count: int, seed: int = 0) -> Tensor:
    """Smooth pictures (M, 3, 64, 64) of noise, in bytes."""
    rows = []
    for number in range(count):
        chance = np.random.default_rng(seed + number)
        small = chance.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        picture = Image.fromarray(small).resize((64, 64), Image.Resampling.BICUBIC)
        rows.append(torch.from_numpy(np.asarray(picture).transpose(2, 0, 1).copy()))
    return torch.stack(rows)


def network_input(codes: Tensor) -> Tensor:
    return codes.float() / 127.5 - 1


@pytest.fixture
def make_lite(make_tiny: Callable[..., RegionModel]) -> Callable[..., RegionModel]:
    """A function that builds a tiny model on a network that has a form in int8."""

    def make(backbone: str = LITE, **extractor: object) -> RegionModel:
        model = make_tiny(backbone=backbone, pixels="unit", **extractor)
        net = model.extractor.backbone
        for norm in net.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.momentum = 1.0  # of these pictures, so that no signal dies away
        with torch.no_grad():
            net.train()(network_input(pictures(16)))
        return model.eval()

    return make


@pytest.mark.parametrize("name", ["mobilenet_edgetpu_100", LITE])
def test_maps_stay_near(name: str, make_lite: Callable[..., RegionModel]) -> None:
    model = make_lite(name, same_padding=False)
    # on what it is rounded by: a random network magnifies what is new to it
    pixels = network_input(pictures(32))
    with torch.no_grad():
        wanted = model.extractor.backbone(pixels)
        lines: list[str] = []
        round_backbone(model, pictures(32), lines.append)
        maps = model.extractor.backbone(pixels)
    for exact, rounded in zip(wanted, maps, strict=True):
        noise = (rounded - exact).square().mean() / exact.var()
        assert noise < 0.1
    config = model.config
    assert config.int8_backbone and config.int8_proposals and config.folded
    assert len(lines) == len(NETWORKS[name].stages)
    assert all("noise -" in line for line in lines), lines


def test_engines_multiply_the_same_numbers(
    make_lite: Callable[..., RegionModel], tmp_path: Path
) -> None:
    model = make_lite(neck=False, features=1392)
    round_backbone(model, pictures(MIN_PHOTOS), lambda line: None)
    model.save_pretrained(tmp_path, "# tiny\n")
    export_runtime(tmp_path)
    graph = onnx.load(tmp_path / "photo.onnx", load_external_data=False).graph
    operators = [node.op_type for node in graph.node]
    towers = 2 * 3  # of three levels
    assert operators.count("MatMulIntegerToFloat") == 1 + towers
    blocks = [len(stage.expansions) for stage in NETWORKS[LITE].stages]
    assert operators.count("QLinearConv") == 1 + 2 + 3 * sum(blocks[1:])
    assert operators.count("QLinearAdd") == sum(blocks) - len(blocks)
    pixels = network_input(pictures(5, seed=7)).numpy()
    torch_engine = TorchPredictor(RegionModel.from_folder(tmp_path))
    ours = OnnxPredictor(tmp_path).encode_photos(pixels)
    theirs = torch_engine.encode_photos(pixels)
    # no more than the last digits of what is computed in float behind the backbone
    np.testing.assert_allclose(ours.regions, theirs.regions, atol=1e-4)
    np.testing.assert_allclose(ours.objectness, theirs.objectness, atol=1e-4)
    with torch.no_grad():
        final = torch_engine.model.extractor.backbone(torch.from_numpy(pixels))[2]
        under_autocast = torch.autocast("cpu", torch.bfloat16)
        with under_autocast:
            again = torch_engine.model.extractor.backbone(torch.from_numpy(pixels))[2]
    assert final.equal(again), "training computes features under autocast"


def test_a_folder_is_rounded_by_the_command(
    make_lite: Callable[..., RegionModel], toy_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    make_lite().save_pretrained(folder, "# its card\n")
    arguments = ["round-backbone", str(folder), "--data", str(toy_folder)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    model = RegionModel.from_folder(folder)
    assert model.config.int8_backbone
    assert (folder / "README.md").read_text() == "# its card\n"
    assert (folder / "photo.onnx").is_file()
    weights = (folder / "model.safetensors").read_bytes()
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 2
    assert "is in int8 already" in again.output
    assert (folder / "model.safetensors").read_bytes() == weights


@pytest.mark.parametrize(
    ("changes", "photos", "message"),
    [
        pytest.param(
            {"backbone": LITE, "pixels": "imagenet"},
            64,
            "expected pixels in -1..1",
            id="pixels",
        ),
        pytest.param(
            {"pixels": "unit"}, 64, "a backbone that has a form in int8", id="network"
        ),
        pytest.param(
            {"backbone": LITE, "pixels": "unit"},
            3,
            "at least 8, got 3",
            id="few photos",
        ),
    ],
)
def test_what_cannot_be_rounded_stays_as_it_is(
    make_tiny: Callable[..., RegionModel],
    changes: dict[str, object],
    photos: int,
    message: str,
    tmp_path: Path,
) -> None:
    make_tiny(**changes).save_pretrained(tmp_path, "# tiny\n")
    before = (tmp_path / "model.safetensors").read_bytes()
    model = RegionModel.from_folder(tmp_path)
    with pytest.raises(ValueError, match=message):
        round_backbone(model, pictures(photos), lambda line: None)
    with pytest.raises(ValueError):
        round_in_folder(tmp_path, [], log=lambda line: None)
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_the_bundled_model_is_not_changed(toy_folder: Path) -> None:
    arguments = ["round-backbone", "mini", "--data", str(toy_folder)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "expected a model folder of your own" in result.output


def test_the_bundled_models_sums_are_exact() -> None:
    tensors = load_file(resolve_model("mini") / "model.safetensors")
    names = [name for name, values in tensors.items() if values.ndim == 4]
    in_int8 = [name for name in names if tensors[name].dtype == torch.int8]
    assert len(in_int8) > 60
    for name in in_int8:
        bias = tensors[f"{name.removesuffix('weight')}bias"].long().abs()
        largest = 255 * tensors[name].long().abs().sum((1, 2, 3)) + bias
        assert largest.max() <= 2**24, name


def test_photos_are_drawn_by_the_seed(
    make_lite: Callable[..., RegionModel], toy_folder: Path
) -> None:
    from regiontalk.datasets.splits import read_split

    examples, _ = read_split(toy_folder, "train")
    preprocessing = make_lite().preprocessing
    first, again, other = (
        read_pixels(examples, preprocessing, seed, print) for seed in (0, 0, 1)
    )
    assert first.dtype == torch.uint8
    assert first.equal(again)
    assert not first.equal(other)


def test_a_stage_that_moves_the_backbone_is_refused(
    make_lite: Callable[..., RegionModel],
) -> None:
    start, recipe = make_lite(), read_recipe(bundled_recipes()["mini"], Recipe)
    _refuse_moving(recipe, start)  # in float it may learn
    start.config = start.config.model_copy(update={"int8_backbone": True})
    with pytest.raises(
        ValueError, match=r"\[joint.optimiser\].*expected 0, got 0.0001"
    ):
        _refuse_moving(recipe, start)


def test_what_can_learn_is_in_float_again(
    make_lite: Callable[..., RegionModel], tmp_path: Path
) -> None:
    model = make_lite(neck=False, features=1392)
    round_backbone(model, pictures(MIN_PHOTOS), lambda line: None)
    model.save_pretrained(tmp_path, "# tiny\n")
    start = RegionModel.from_folder(tmp_path)
    pixels = network_input(pictures(3))
    with torch.no_grad():
        before = start.extractor(pixels)
        start.trainable()
        after = start.extractor(pixels)
    convs = [
        layer for layer in start.extractor.proposals.tower if hasattr(layer, "weight")
    ]
    assert all(layer.weight.requires_grad for layer in convs)
    assert start.config.int8_backbone and not start.config.int8_proposals
    assert after.regions.equal(before.regions)
    torch.testing.assert_close(after.objectness, before.objectness, atol=0.1, rtol=0.1)
    # a run that begins with it has its extractor, whatever network it was built with
    follower = make_lite(neck=False, features=1392)
    _take_over(follower, start)
    assert follower.config.int8_backbone
    with torch.no_grad():
        assert follower.extractor(pixels).objectness.equal(after.objectness)
    follower.save_pretrained(tmp_path / "next", "# tiny\n")
    again = RegionModel.from_folder(tmp_path / "next")
    assert isinstance(again.extractor.backbone.net, Int8MobileNet)
