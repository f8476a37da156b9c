"""The head that tells whether a caption is true of its region.

Both forms of it, and what it learns from.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from regiontalk.align.caption_check import CaptionCheck
from regiontalk.captioner import RegionCaptioner
from regiontalk.cli.main import app
from regiontalk.datasets.splits import read_split
from regiontalk.model.region_model import RegionModel
from regiontalk.records import Example, Phrase
from regiontalk.runtime.export import export_runtime
from regiontalk.runtime.torch_engine import TorchPredictor
from regiontalk.train import caption_check
from regiontalk.train.caption_check import (
    Pairs,
    _judge,
    choose_examples,
    fit_caption_check,
    read_pairs,
    teach_caption_check,
)

CLASS_WORDS = {
    "man": ["man", "woman"],
    "dog": ["dog"],
    "car": ["car"],
    "boat": ["boat"],
    "tree": ["tree"],
}


def photos(folder: Path, count: int) -> list[Example]:
    """Photos of noise, each with two boxes that have names."""
    folder.mkdir()
    chance = np.random.default_rng(0)
    examples = []
    for number in range(count):
        path = folder / f"{number}.png"
        pixels = chance.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        boxes = np.array([[0, 0, 40, 40], [20, 8, 64, 48]], dtype=np.float32)
        names = [
            Phrase("a dog", (0,), source="detector"),
            Phrase("a red car", (1,), source="detector"),
        ]
        examples.append(
            Example(path, (), boxes, tuple(names), size_wh=(64, 48), id=path.name)
        )
    return examples


@pytest.mark.parametrize("hidden", [0, 3])
def test_numpy_says_what_torch_says(
    make_tiny: Callable[..., RegionModel], hidden: int
) -> None:
    model = make_tiny()
    model.caption_check = CaptionCheck(16, 12, 5, hidden)
    sizes = {"caption_check": 5, "caption_check_hidden": hidden}
    model.config = model.config.model_copy(update=sizes)
    chance = np.random.default_rng(0)
    regions, texts = chance.normal(size=(7, 16)), chance.normal(size=(7, 12))
    boxes = chance.uniform(0, 64, (7, 4))
    inputs = [values.astype(np.float32) for values in (regions, boxes, texts)]
    logits = TorchPredictor(model).check_captions(*inputs)
    with torch.no_grad():
        corners = inputs[1] / 64
        wanted = model.caption_check(
            *map(torch.from_numpy, (inputs[0], corners, inputs[2]))
        )
    np.testing.assert_allclose(logits, wanted.numpy(), atol=1e-5)


def test_a_model_without_it_says_nothing(make_tiny: Callable[..., RegionModel]) -> None:
    zeros = np.zeros((3, 16), np.float32)
    logits = TorchPredictor(make_tiny()).check_captions(zeros, zeros[:, :4], zeros)
    assert logits.tolist() == [0, 0, 0]


@pytest.mark.parametrize("hidden", [0, 3])
def test_a_product_is_added(hidden: int) -> None:
    chance = torch.Generator().manual_seed(0)
    check = CaptionCheck(16, 12, 5, hidden)
    region, text = torch.nn.Linear(16, 1), torch.nn.Linear(12, 1)
    regions = torch.randn(7, 16, generator=chance)
    corners = torch.rand(7, 4, generator=chance)
    texts = torch.randn(7, 12, generator=chance)
    with torch.no_grad():
        more = check.with_product(region, text)(regions, corners, texts)
        wanted = check(regions, corners, texts)
        wanted += (region(regions) * text(texts))[:, 0]
    torch.testing.assert_close(more, wanted)


def test_it_learns_which_words_are_of_which_region() -> None:
    chance = np.random.default_rng(0)
    kinds, words = chance.integers(0, 3, (2, 6000))
    one_hot = np.tile(np.eye(3, dtype=np.float32), 20)
    noise = chance.normal(scale=0.1, size=(6000, 60)).astype(np.float32)
    corners = chance.random((6000, 4), dtype=np.float32)
    pairs = Pairs(one_hot[kinds] + noise, corners, one_hot[words], kinds == words)
    torch.manual_seed(0)
    check = CaptionCheck(60, 60, 8)
    before = fit_caption_check(check, pairs, seed=0)
    for _ in range(10):
        loss = fit_caption_check(check, pairs, seed=0)
    assert loss < before
    with torch.no_grad():
        logits = check(*map(torch.from_numpy, pairs[:3])).numpy()
    assert ((logits > 0) == pairs.is_true).mean() > 0.95


def test_taught_in_place(
    make_tiny: Callable[..., RegionModel],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "model"
    make_tiny().folded().save_pretrained(folder, "# tiny\n")
    export_runtime(folder)
    before = load_file(folder / "model.safetensors")
    examples = photos(tmp_path / "photos", 6)
    (tmp_path / "photos" / "3.png").write_bytes(b"broken")
    with pytest.raises(ValueError, match="expected at least 1000 captions"):
        teach_caption_check(folder, examples, CLASS_WORDS, log=print)
    assert load_file(folder / "model.safetensors").keys() == before.keys()
    captioner = RegionCaptioner.from_pretrained(folder)
    pairs = read_pairs(captioner, examples, CLASS_WORDS)
    # each photo twice: as it is and mirrored
    assert 0 < len(pairs.is_true) <= 2 * 5 * caption_check.REGIONS
    is_true = pairs.is_true.copy()
    is_true[::2] = True  # noise says of nothing what it is
    is_true[1::2] = False
    monkeypatch.setattr(caption_check, "MIN_PAIRS", 4)
    monkeypatch.setattr(
        caption_check,
        "read_pairs",
        lambda *args, **kwargs: pairs._replace(is_true=is_true),
    )
    lines: list[str] = []
    teach_caption_check(folder, examples, CLASS_WORDS, rank=3, log=lines.append)
    assert len(lines) == 2 and "rank 3" in lines[1]
    after = load_file(folder / "model.safetensors")
    assert set(after) - set(before) == {
        f"caption_check.{name}.{kind}"
        for name in ("region", "text", "hidden", "output")
        for kind in ("weight", "bias")
    }
    assert all(torch.equal(after[name], value) for name, value in before.items())
    captions = []
    for engine in ("onnx", "torch"):
        captioner = RegionCaptioner.from_pretrained(folder, engine=engine)
        opened = captioner.open(examples[0].photo)
        boxes = captioner.preprocessing.to_network([[5, 5, 40, 40]], opened.size_wh)
        captions.append(
            captioner.scored_captions(captioner.encode([opened]), boxes[None])[0][0]
        )
    assert captions[0].text == captions[1].text
    assert captions[0].check == pytest.approx(captions[1].check, abs=1e-3)
    assert captions[0].check != 0


def test_who_marked_the_boxes_decides_what_is_wrong(tmp_path: Path) -> None:
    named = photos(tmp_path / "photos", 1)[0]
    described = replace(named, phrases=(Phrase("a brown dog", (0,)),))
    boxes = np.array([[0, 0, 40, 40], [50, 0, 64, 10]], dtype=np.float32)
    for texts, by_detector, by_people in (
        (("a dog", "a dog"), [True, False], [True, None]),
        (("a cat", "a tree"), [False, False], [False, None]),
        (("", "grass"), [None, None], [None, None]),
    ):
        judged = [
            _judge(texts, boxes, (64, 48), example, CLASS_WORDS)
            for example in (named, described)
        ]
        assert judged == [by_detector, by_people]


def test_photos_without_names_are_passed_over(tmp_path: Path) -> None:
    examples = photos(tmp_path / "photos", 3)
    bare = Example(examples[0].photo, ("a dog",), id="bare")
    chosen = choose_examples([bare, *examples], 9)
    assert sorted(example.id for example in chosen) == ["0.png", "1.png", "2.png"]
    assert len(choose_examples(examples, 2)) == 2


def test_the_command_teaches_the_model_with_the_data(
    tmp_path: Path, toy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (tmp_path / "words.json").write_text('{"dog": ["dog"]}')
    bare, _ = read_split(toy_folder, "train")
    box = {"file_name": bare[0].photo.name, "bbox": [1, 1, 30, 30], "score": 0.9}
    names = tmp_path / "names.json"
    names.write_text(json.dumps([box | {"category_id": 18}]))
    taught: list[tuple[Path, list[Example]]] = []
    monkeypatch.setattr(
        caption_check,
        "teach_caption_check",
        lambda model, examples, words, **options: taught.append((model, examples)),
    )
    arguments = ["teach-check", str(folder), "--data", str(toy_folder)]
    arguments += ["--photos", "5", "--class-words", str(tmp_path / "words.json")]
    arguments += ["--names", str(names)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    ((model, examples),) = taught
    assert model == folder
    assert len(examples) == 5
    assert "names.json: names on boxes of 1 photo" in result.output


def test_no_photo_is_told(make_tiny: Callable[..., RegionModel]) -> None:
    captioner = RegionCaptioner(predictor=TorchPredictor(make_tiny()))
    with pytest.raises(ValueError, match="expected photos with named boxes"):
        read_pairs(captioner, [], CLASS_WORDS)


def test_the_bundled_model_is_not_changed(tmp_path: Path) -> None:
    arguments = ["teach-check", "mini", "--data", str(tmp_path), "--class-words", "x"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "expected a model folder of your own" in result.output
