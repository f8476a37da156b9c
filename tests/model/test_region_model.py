"""The model folder: what is saved is what is loaded, and everything else is one clear error."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from regiontalk.align.config import AlignerConfig
from regiontalk.generate.config import GeneratorConfig
from regiontalk.model.config import ModelConfig
from regiontalk.model.region_model import RegionModel
from regiontalk.model.storage import FILES
from regiontalk.regions.backbones import Backbone
from regiontalk.regions.config import ExtractorConfig
from regiontalk.runtime.torch_engine import TorchPredictor
from regiontalk.text.vocabulary import Vocabulary

WORDS = Vocabulary(["a", "red", "dog"], [9, 4, 2])


def config(backbone: str = "test_byobnet", **generator: Any) -> ModelConfig:
    return ModelConfig(
        name="small",
        extractor=ExtractorConfig(
            backbone=backbone,
            same_padding=False,
            size=64,
            features=16,
            proposal_width=8,
        ),
        aligner=AlignerConfig(
            size=6, word_size=5, hidden=4, cell="gru", normalise=True
        ),
        generator=GeneratorConfig(
            **(
                {"cell": "lstm", "hidden": 8, "word_size": 5, "attention": 4}
                | generator
            )
        ),
    )


def settled(model: RegionModel) -> RegionModel:
    """The model with statistics and biases that are not those of the first moment.

    So folding has work to do.
    """
    torch.manual_seed(1)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias)
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
    return model.eval()


@pytest.fixture
def model() -> RegionModel:
    torch.manual_seed(0)
    return settled(RegionModel(config=config(), vocabulary=WORDS))


@pytest.fixture
def folder(model: RegionModel, tmp_path: Path) -> Path:
    model.save_pretrained(tmp_path / "model", "# card\n")
    return tmp_path / "model"


@pytest.mark.parametrize("places", [False, True])
@torch.no_grad()
def test_attention_over_regions(places: bool) -> None:
    torch.manual_seed(0)
    model = settled(
        RegionModel(config=config(regions=3, places=places), vocabulary=WORDS)
    )
    maps = model.extractor(
        torch.linspace(-2, 2, 2 * 3 * 64 * 64).view(2, 3, 64, 64).sin()
    )
    boxes = torch.tensor([[[0.0, 0, 64, 64], [8, 8, 40, 40]]]).expand(2, -1, -1)
    condition, annotations = model.conditions(maps, boxes)
    assert annotations is not None and annotations.shape == (4, 4, 24 if places else 16)
    proposed, _ = model.extractor.propose(maps, 3)
    for photo in range(2):
        for place in range(2):  # both boxes look at the same regions of their photo
            seen = annotations[photo * 2 + place]
            torch.testing.assert_close(
                seen[:, :16], model.extractor.vectors(maps, proposed)[photo]
            )
            if places:
                torch.testing.assert_close(
                    seen[:, 16:], model.extractor.places(proposed, 1)[photo, :, 0]
                )
    _, given = model.conditions(maps, boxes, proposed)
    assert given is not None and torch.equal(given, annotations)
    logits, looks = model.generator(
        condition, annotations, torch.ones(4, 2, dtype=torch.int64)
    )
    assert logits.shape == (4, 2, 7) and looks is not None and looks.shape == (4, 2, 4)


def answers(model: RegionModel) -> list[torch.Tensor]:
    """What the parts say of two pictures and two boxes."""
    pixels = torch.linspace(-2, 2, 2 * 3 * 64 * 64).view(2, 3, 64, 64).sin()
    boxes = torch.tensor([[[0.0, 0, 64, 64], [8, 4, 40, 60]]]).repeat(2, 1, 1)
    with torch.no_grad():
        maps = model.extractor(pixels)
        condition, grids = model.conditions(maps, boxes)
        logits, _ = model.generator(condition, grids, torch.tensor([[1, 4, 5]] * 4))
        words, mask = model.aligner.encode_text([[4, 5, 6], [6]])
        regions = model.aligner.embed_regions(model.extractor.vectors(maps, boxes))
        scores = model.aligner.score(
            regions, words, torch.ones(2, 2, dtype=torch.bool), mask
        )
    return [*maps, logits, scores]


@pytest.mark.parametrize(
    "folded", [pytest.param(False, id="as trained"), pytest.param(True, id="folded")]
)
def test_saved_and_loaded_again(
    model: RegionModel, tmp_path: Path, folded: bool
) -> None:
    before = answers(model)
    if folded:
        model.folded()
    model.save_pretrained(tmp_path, "# card\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
    again = RegionModel.from_folder(tmp_path)
    assert again.config == model.config and again.config.folded == folded
    assert (again.vocabulary.words, again.vocabulary.counts) == (
        WORDS.words,
        WORDS.counts,
    )
    assert not again.training and all(
        value.dtype != torch.float16 for value in again.state_dict().values()
    )
    # fp16 keeps 11 bits of every weight
    for value, wanted in zip(answers(again), before, strict=True):
        torch.testing.assert_close(
            value, wanted, atol=0.03 * float(wanted.abs().max()), rtol=0
        )


@pytest.mark.parametrize(
    "backbone", ["test_byobnet", "test_resnet", "lcnet_050", "test_efficientnet"]
)
def test_folding_changes_nothing(backbone: str) -> None:
    torch.manual_seed(0)
    model = settled(RegionModel(config=config(backbone), vocabulary=WORDS))
    before = answers(model)
    count = sum(isinstance(part, nn.BatchNorm2d) for part in model.modules())
    model.folded()
    assert sum(isinstance(part, nn.BatchNorm2d) for part in model.modules()) < count
    for value, wanted in zip(answers(model), before, strict=True):
        torch.testing.assert_close(
            value, wanted, atol=1e-4 * float(wanted.abs().max()), rtol=1e-3
        )
    assert answers(model.folded())[0].equal(answers(model)[0]), (
        "folding twice folds once"
    )


@pytest.mark.parametrize(
    ("generator", "length"),
    [
        pytest.param({}, 32, id="region and photo"),
        pytest.param({"with_photo": False}, 16, id="region alone"),
        pytest.param({"source": "embedding"}, 12, id="their embeddings"),
        pytest.param({"places": True}, 32, id="cells that know their place"),
        pytest.param(
            {"source": "embedding", "with_photo": False},
            6,
            id="the region's embedding alone",
        ),
    ],
)
def test_conditions(generator: dict[str, Any], length: int) -> None:
    model = RegionModel(config=config(**generator), vocabulary=WORDS).eval()
    boxes = torch.tensor(
        [[[8.0, 4, 40, 60], [0, 0, 64, 64]], [[1, 2, 30, 31], [0, 0, 64, 64]]]
    )
    with torch.no_grad():
        maps = model.extractor(torch.randn(2, 3, 64, 64))
        condition, grids = model.conditions(maps, boxes)
        vectors = model.extractor.vectors(maps, boxes)
        if model.config.generator.source == "embedding":
            vectors = model.aligner.embed_regions(vectors)
    assert model.condition_size() == length and condition.shape == (4, length)
    places = model.config.generator.places
    assert grids is not None and grids.shape == (4, 49, 16 + 8 * places)
    torch.testing.assert_close(
        grids[..., :16], model.extractor.grids(maps, boxes).flatten(0, 1)
    )
    if places:
        torch.testing.assert_close(
            grids[..., 16:], model.extractor.places(boxes).flatten(0, 1)
        )
    for photo in range(2):
        # by plain loops: the region, then the whole photo, which is the second box here
        for place in range(2):
            parts = [vectors[photo, place], vectors[photo, 1]][
                : 1 + model.config.generator.with_photo
            ]
            torch.testing.assert_close(condition[2 * photo + place], torch.cat(parts))


def change_config(**values: Any) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return spoil


def change_tensors(
    change: Callable[[dict[str, torch.Tensor]], object],
) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return spoil


def write(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content) and None


def longer(tensors: dict[str, torch.Tensor]) -> None:
    tensors["aligner.words.embed.weight"] = torch.zeros(8, 5, dtype=torch.float16)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        *(
            pytest.param(
                lambda folder, name=name: (folder / name).unlink(),
                f"missing {name}",
                id=f"{name} is missing",
            )
            for name in FILES
        ),
        pytest.param(
            change_config(format=2),
            "config.json: format: Input should be 1",
            id="wrong format number",
        ),
        pytest.param(
            change_config(kind="captioner"), "config.json: kind: ", id="another kind"
        ),
        pytest.param(
            change_config(speed=3, colour=1),
            "config.json: speed: .*; colour: ",
            id="two unknown keys at once",
        ),
        pytest.param(write("config.json", b"{"), "config.json: ", id="config cut off"),
        pytest.param(
            write("config.json", b"\xff\xff"), "config.json: ", id="config is no text"
        ),
        pytest.param(
            change_config(extractor={"backbone": "no_such_net"}),
            "backbone 'no_such_net': expected a timm model name",
            id="unknown backbone",
        ),
        pytest.param(
            write("vocabulary.json", b"[]"),
            "vocabulary.json: expected a vocabulary",
            id="no vocabulary",
        ),
        pytest.param(
            write("vocabulary.json", b'{"words": ["a"], "counts": [1]}'),
            r"aligner.words.embed.weight: expected shape \(5, 5\), got \(7, 5\)",
            id="another vocabulary",
        ),
        pytest.param(
            write("model.safetensors", b"x" * 100),
            "expected a safetensors file",
            id="damaged weights",
        ),
        pytest.param(
            change_tensors(lambda tensors: tensors.pop("aligner.log_scale")),
            "expected the tensors that config.json describes, first difference: aligner.log_scale",
            id="a tensor is missing",
        ),
        pytest.param(
            change_tensors(lambda tensors: tensors.update(extra=torch.zeros(1))),
            "first difference: extra",
            id="a tensor too many",
        ),
        pytest.param(
            change_tensors(longer),
            r"aligner.words.embed.weight: expected shape \(7, 5\), got \(8, 5\)",
            id="another shape",
        ),
    ],
)
def test_damaged_folders_are_refused(
    folder: Path, spoil: Callable[[Path], object], message: str
) -> None:
    spoil(folder)
    with pytest.raises(ValueError, match=message) as caught:
        RegionModel.from_folder(folder)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", FILES)
def test_saving_that_is_cut_off_leaves_the_old_folder(
    folder: Path, model: RegionModel, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    old = {path.name: path.read_bytes() for path in folder.iterdir()}
    replace = __import__("os").replace

    def full(source: Path, target: Path) -> None:
        if target.name == name:
            raise OSError("no space left")
        replace(source, target)

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="no space"):
        model.save_pretrained(folder, "# card\n")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == old
    RegionModel.from_folder(folder)


def test_weights_that_fp16_cannot_hold_are_refused(
    model: RegionModel, tmp_path: Path
) -> None:
    nn.init.constant_(model.aligner.log_scale, 7e4)  # fp16 ends at 65,504
    with pytest.raises(
        ValueError, match="expected values that fp16 can hold, got 70000"
    ):
        model.save_pretrained(tmp_path, "# card\n")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("no_such_net", "expected a timm model name", id="unknown"),
        pytest.param(
            "test_vit",
            r"expected maps at strides \(8, 16, 32\), got \[16\]",
            id="one stride only",
        ),
    ],
)
def test_backbones_that_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Backbone(name)


@pytest.mark.parametrize("name", ["test_byobnet", "test_convnext", "test_mambaout"])
def test_backbone_maps(name: str) -> None:
    backbone = Backbone(name).eval()
    maps = backbone(torch.zeros(2, 3, 96, 96))
    sides = zip(backbone.channels, (12, 6, 3), strict=True)
    expected = [(2, count, side, side) for count, side in sides]
    assert [tuple(level.shape) for level in maps] == expected


def test_no_beams_at_all_are_refused_and_not_taken_for_the_usual() -> None:
    model = RegionModel(config=config(), vocabulary=WORDS).eval()
    predictor = TorchPredictor(model)
    features = predictor.encode_photos(np.zeros((1, 3, 64, 64), dtype=np.float32))
    state = predictor.start(features, predictor.whole_photos(1))
    assert len(predictor.write(state)) == 1
    with pytest.raises(ValueError, match="beams=0"):
        predictor.write(state, beams=0)
