"""The memory that keeps a model from forgetting: on disk, and what it holds a model to."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from regiontalk.model.region_model import RegionModel
from regiontalk.train.keep import Kept, Memory, mix_weights


@pytest.fixture
def plain(make_tiny: Callable[..., RegionModel]) -> RegionModel:
    """A tiny model without attention, which region vectors alone serve."""
    config = make_tiny().config
    generator = config.generator.model_copy(update={"attention": 0, "image": "every"})
    vocabulary = make_tiny().vocabulary
    torch.manual_seed(0)
    changed = config.model_copy(update={"generator": generator})
    return RegionModel(config=changed, vocabulary=vocabulary).eval()


def memory_of(model: RegionModel, photos: int = 30) -> Memory:
    """Vectors that lie in six directions, and boxes."""
    torch.manual_seed(1)
    size = model.config.extractor.size
    spread = torch.randn(6, model.extractor.vector_size)
    vectors = torch.randn(photos, 3, 6) @ spread + 2.0
    boxes = torch.tensor([0.0, 0.0, size, size]).expand(photos, 3, 4).contiguous()
    return Memory(vectors, boxes)


def test_written_and_read_in_principal_components(
    plain: RegionModel, tmp_path: Path
) -> None:
    memory = memory_of(plain)
    memory.save(tmp_path / "m.safetensors", plain.extractor, components=6)
    again = Memory.load(tmp_path / "m.safetensors", plain.extractor)
    assert again is not None and again.boxes_xyxy.equal(memory.boxes_xyxy)
    spread = memory.vectors.std().item()
    assert (again.vectors - memory.vectors).abs().max().item() < 0.05 * spread


def test_no_memory_of_another_extractor(plain: RegionModel, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    assert Memory.load(path, plain.extractor) is None
    memory_of(plain).save(path, plain.extractor, components=6)
    next(plain.extractor.parameters()).data += 1.0
    assert Memory.load(path, plain.extractor) is None


@pytest.mark.parametrize("damage", ["cut", "other tensors"])
def test_a_damaged_memory_is_told(
    plain: RegionModel, tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "m.safetensors"
    memory_of(plain).save(path, plain.extractor, components=6)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:200])
    else:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
        save_file({"codes": torch.zeros(3)}, path, metadata=metadata)
    with pytest.raises(
        ValueError, match="expected the memory of this model, got a damaged file"
    ):
        Memory.load(path, plain.extractor)


def test_who_has_not_moved_is_not_held(
    plain: RegionModel, make_tiny: Callable[..., RegionModel]
) -> None:
    kept = Kept(memory_of(plain), plain)
    at_rest = kept.generate_loss(plain, 0).item()
    assert kept.align_loss(plain.aligner, 0).item() == pytest.approx(0.0, abs=1e-5)
    # nor does it learn here, whatever its dropout
    learning = copy.deepcopy(plain).train()
    kept.generate_loss(learning, 0).backward()
    assert learning.training and learning.generator.training
    gradients = [weight.grad for weight in learning.generator.parameters()]
    assert all(grad is None or grad.abs().max() < 1e-5 for grad in gradients)
    moved = RegionModel(config=plain.config, vocabulary=plain.vocabulary).eval()
    moved.load_state_dict(plain.state_dict())
    moved.generator.output.weight.data += 0.5 * torch.randn_like(
        moved.generator.output.weight
    )
    moved.aligner.regions.project.weight.data *= -1
    assert kept.generate_loss(moved, 0).item() > at_rest
    assert kept.align_loss(moved.aligner, 0).item() > 0.1


def test_weights_go_back_a_part_of_the_way() -> None:
    layer = torch.nn.Linear(2, 1)
    layer.weight.data = torch.tensor([[8.0, 4.0]])
    before = {"weight": torch.zeros(1, 2), "bias": layer.bias.data.clone()}
    mix_weights(layer, before, share=0.75)
    assert layer.weight.tolist() == [[6.0, 3.0]]
