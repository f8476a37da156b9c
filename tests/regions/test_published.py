"""Published weights by name.

From a cache without a network, and what is said where there is neither.
"""

from __future__ import annotations

from email.message import Message
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models.vgg import VGG
from torchvision import models

from regiontalk.regions import backbones
from regiontalk.regions.backbones import Backbone, published_torchvision
from regiontalk.regions.crops import CropNetwork

NAME = "test_byobnet"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of both libraries, and no network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(
        huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub")
    )
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def no_network(*arguments: Any, **more: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "urlopen", no_network)
    return tmp_path


def published_timm(cache: Path) -> dict[str, torch.Tensor]:
    """Put a whole network where the Hub's client keeps what it has downloaded.

    Returns its weights.
    """
    torch.manual_seed(7)
    network = timm.create_model(NAME)
    repository = (
        cache
        / "hub"
        / f"models--{network.pretrained_cfg['hf_hub_id'].replace('/', '--')}"
    )
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0123abc")
    (repository / "snapshots" / "0123abc").mkdir(parents=True)
    state: dict[str, torch.Tensor] = network.state_dict()
    save_file(state, repository / "snapshots" / "0123abc" / "model.safetensors")
    return state


@pytest.mark.parametrize("kind", [Backbone, CropNetwork], ids=["backbone", "crops"])
def test_from_the_cache(cache: Path, kind: Any) -> None:
    state = published_timm(cache)
    torch.manual_seed(8)
    found = kind(NAME, pretrained=True).net.state_dict()
    assert found and all(torch.equal(value, state[key]) for key, value in found.items())


def test_alexnet_from_the_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file's name holds its checksum.

    A small state dict stands for the 240 MB of the true one.
    """
    state = {"layer.weight": torch.arange(3.0)}
    folder = cache / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(state, folder / Path(models.AlexNet_Weights.DEFAULT.url).name)
    assert torch.equal(
        published_torchvision("alexnet")["layer.weight"], state["layer.weight"]
    )


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda: Backbone(NAME, pretrained=True), id="timm"),
        pytest.param(lambda: published_torchvision("alexnet"), id="torchvision"),
    ],
)
def test_without_a_network(build: Any) -> None:
    with pytest.raises(
        ValueError,
        match=r"not in the cache and cannot be downloaded .* local file with --weights",
    ):
        build()


def test_weights_that_are_another_networks(cache: Path) -> None:
    published_timm(cache)
    (path,) = cache.rglob("model.safetensors")
    save_file({"conv.weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="its published weights cannot be used"):
        Backbone(NAME, pretrained=True)


@pytest.mark.skipif(
    not hasattr(VGG, "forward_intermediates"), reason="the maps of VGG need timm 1.0.31"
)
def test_layers_that_no_map_passes_through(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """VGG's two layers before its classifier are dropped; weights with and without them fit."""
    layers: list[Any] = [4, "M", 4, "M", 6, "M", 6, "M", 8, "M"]
    monkeypatch.setattr(
        backbones,
        "timm_network",
        lambda *_: VGG(layers, num_classes=0, mlp_ratio=0.002),
    )
    whole = VGG(layers, num_classes=3, mlp_ratio=0.002).state_dict()
    assert any(key.startswith("pre_logits.") for key in whole)
    found = Backbone("vgg19")
    assert not any(key.startswith("net.pre_logits") for key in found.state_dict())
    assert [tuple(level.shape[1:]) for level in found(torch.rand(1, 3, 64, 64))] == [
        (6, 8, 8),
        (8, 4, 4),
        (8, 2, 2),
    ]
    for name, state in {
        "with": whole,
        "without": {
            key: value for key, value in whole.items() if key.startswith("features.")
        },
    }.items():
        save_file(state, cache / f"{name}.safetensors")
        other = Backbone("vgg19")
        other.load_weights(cache / f"{name}.safetensors")
        assert all(
            torch.equal(value, whole[key.removeprefix("net.")])
            for key, value in other.state_dict().items()
        )


def test_a_wrong_checksum(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What came is not what was published: the download is refused and nothing of it stays."""
    url = models.AlexNet_Weights.DEFAULT.url
    (tmp_path / "other").write_bytes(b"something else")
    monkeypatch.setattr(
        torch.hub, "urlopen", lambda *arguments, **more: Answer(tmp_path / "other")
    )
    with pytest.raises(ValueError, match=r"cannot be used .*hash"):
        published_torchvision("alexnet")
    assert not list((tmp_path / "torch").rglob(Path(url).name))


class Answer:
    """What `urlopen` returns, of a local file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self.read = self._file.read
        self.close = self._file.close

    def info(self) -> Message:
        return Message()

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
