"""Two engines, one model: what ONNX Runtime says of the exported graphs is what torch says.

And bad folders.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from regiontalk.captioner import RegionCaptioner
from regiontalk.model.region_model import RegionModel
from regiontalk.runtime.engines import load_predictor
from regiontalk.runtime.export import export_runtime
from regiontalk.runtime.graphs import has_graphs
from regiontalk.runtime.onnx_engine import OnnxPredictor
from regiontalk.runtime.predictor import Predictor
from regiontalk.runtime.torch_engine import TorchPredictor
from regiontalk.train.run import save_for_use


@pytest.fixture(scope="module")
def folder(
    make_tiny: Callable[..., RegionModel], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A tiny model with attention and its graphs."""
    return exported(make_tiny(), tmp_path_factory.mktemp("engines") / "tiny")


def exported(model: RegionModel, folder: Path, *, int8: bool = False) -> Path:
    torch.manual_seed(0)
    # nothing stays at a first value that hides a fault
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    if int8:
        model.in_int8()
    model.folded().save_pretrained(folder, "# tiny\n")
    export_runtime(folder)
    return folder


def photo(seed: int) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(values).resize((90, 60), Image.Resampling.BICUBIC)


def agree(first: Predictor, second: Predictor) -> None:
    """Every part, on other numbers of photos, boxes, sentences and words than the export saw."""
    pixels = np.random.default_rng(1).normal(size=(3, 3, 64, 64)).astype(np.float32)
    features = first.encode_photos(pixels)
    for one, other in zip(features, second.encode_photos(pixels), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)
    boxes, scores = first.propose(features, 5)
    for one, other in zip((boxes, scores), second.propose(features, 5), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    vectors = first.region_features(features, boxes)
    np.testing.assert_allclose(
        vectors, second.region_features(features, boxes), atol=1e-4
    )
    np.testing.assert_allclose(
        first.embed_regions(vectors), second.embed_regions(vectors), atol=1e-5
    )
    sentences = [[4, 5, 6], [7], [], [8, 9, 10, 4, 5, 6, 7]]
    for one, other in zip(
        first.encode_text(sentences), second.encode_text(sentences), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-5)
    np.testing.assert_allclose(
        first.photo_probability(features), second.photo_probability(features), atol=1e-5
    )
    states = first.start(features, boxes), second.start(features, boxes)
    captions = [
        [4 + row % 5, 6, 7][: 1 + row % 3]
        for row in range(boxes.shape[0] * boxes.shape[1])
    ]
    for one, other in zip(
        first.read_captions(states[0], captions),
        second.read_captions(states[1], captions),
        strict=True,
    ):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    words = [
        [captions[0].words for captions in each.write(state)]
        for each, state in zip((first, second), states, strict=True)
    ]
    assert words[0] == words[1]
    assert first.fingerprint() == second.fingerprint()


def changed(
    make_tiny: Callable[..., RegionModel], changes: dict[str, dict[str, Any]]
) -> RegionModel:
    """The tiny model with other sizes and choices of its parts."""
    tiny = make_tiny()
    parts = {
        name: getattr(tiny.config, name).model_copy(update=update)
        for name, update in changes.items()
    }
    config = tiny.config.model_copy(update=parts)
    return RegionModel(config=config, vocabulary=tiny.vocabulary).eval()


@pytest.mark.parametrize(
    "generator",
    [
        pytest.param({}, id="attention to the cells of a box"),
        pytest.param(
            {"attention": 0, "geometry": True, "bottleneck": 5, "image": "every"},
            id="none",
        ),
        pytest.param(
            {"regions": 3, "places": True, "look": "after"}, id="attention to regions"
        ),
        pytest.param(
            {"attention": 0, "source": "embedding", "image": "first"},
            id="the aligner's embedding, once",
        ),
    ],
)
@pytest.mark.parametrize(
    "int8", [pytest.param(False, id="float"), pytest.param(True, id="int8")]
)
def test_both_engines_agree(
    make_tiny: Callable[..., RegionModel],
    generator: dict[str, Any],
    int8: bool,
    tmp_path: Path,
) -> None:
    model = changed(make_tiny, {"generator": generator})
    path = exported(model, tmp_path / "model", int8=int8)
    decoder = onnx.load(path / "decoder_step.onnx", load_external_data=False)
    operators = [node.op_type for node in decoder.graph.node]
    assert operators.count("MatMulIntegerToFloat") == (3 if int8 else 0)
    agree(TorchPredictor(RegionModel.from_folder(path)), OnnxPredictor(path))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(
            {
                "aligner": {"cell": "relu", "normalise": False},
                "generator": {"attention": 0, "cell": "relu", "image": "first"},
            },
            id="rectified recurrences",
        ),
        pytest.param({"extractor": {"crops": "test_efficientnet"}}, id="crops"),
    ],
)
def test_both_engines_agree_on_the_papers_own_parts(
    make_tiny: Callable[..., RegionModel],
    changes: dict[str, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # so that boxes of one photo take several runs
    monkeypatch.setattr("regiontalk.runtime.onnx_engine.CROPS_TOGETHER", 7)
    path = exported(changed(make_tiny, changes), tmp_path / "model")
    agree(TorchPredictor(RegionModel.from_folder(path)), OnnxPredictor(path))


def test_captions_are_the_same(folder: Path) -> None:
    photos = [photo(seed) for seed in range(3)]
    results = [
        RegionCaptioner.from_pretrained(folder, engine=engine).caption_many(
            photos, threshold=0.0
        )
        for engine in ("onnx", "torch")
    ]
    for one, other in zip(*results, strict=True):
        assert [region.text for region in one.regions] == [
            region.text for region in other.regions
        ]
        for mine, theirs in zip(one.regions, other.regions, strict=True):
            np.testing.assert_allclose(mine.box, theirs.box, atol=0.5)
            assert mine.confidence == pytest.approx(theirs.confidence, abs=1e-3)


NO_TORCH = """
import sys
for name in ("torch", "torchvision", "timm", "onnx", "onnxscript"):
    sys.modules[name] = None  # as where they are not installed
from regiontalk.cli.main import app
app(sys.argv[1:], standalone_mode=False)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["caption", "a.png", "--draw", "drawn"], id="caption"),
        pytest.param(["caption", "a.png", "--box", "1,2,40,50"], id="own boxes"),
        pytest.param(["align", "a.png", "a red dog"], id="align"),
        pytest.param(["locate", "a.png", "a red dog"], id="locate"),
        pytest.param(["export", "coco", "a.png", "--out", "coco.json"], id="export"),
        pytest.param(["info"], id="info"),
    ],
)
def test_verbs_without_torch(
    folder: Path, tmp_path: Path, arguments: list[str]
) -> None:
    photo(1).save(tmp_path / "a.png")
    command = [sys.executable, "-c", NO_TORCH, *arguments]
    command += [] if arguments == ["info"] else ["--model", str(folder)]
    run = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


def test_a_library_without_torch(folder: Path, tmp_path: Path) -> None:
    photo(1).save(tmp_path / "a.png")
    for arguments in (
        ["index", "add", "a.png", "--index", "library"],
        ["search", "a red dog", "--index", "library"],
    ):
        command = [sys.executable, "-c", NO_TORCH, *arguments, "--model", str(folder)]
        run = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("verb", ["train", "objects"])
def test_what_needs_torch_says_how_to_get_it(
    folder: Path, tmp_path: Path, verb: str
) -> None:
    photo(1).save(tmp_path / "a.png")
    rest = {
        "train": ["train", str(tmp_path), "--out", "model"],
        "objects": [
            "objects",
            "a.png",
            "--detector",
            "torchvision",
            "--model",
            str(folder),
        ],
    }[verb]
    command = [
        sys.executable,
        "-c",
        NO_TORCH.replace(", standalone_mode=False", ""),
        *rest,
    ]
    run = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 2
    assert run.stderr.splitlines()[-1].endswith("pip install 'regiontalk[train]'"), (
        run.stderr
    )


def test_a_run_ends_with_graphs_and_leaves_none_of_other_weights(
    make_tiny: Callable[..., RegionModel],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("regiontalk.train.run.export_runtime", export_runtime)
    log: list[str] = []
    save_for_use(tmp_path / "model", make_tiny(), "# tiny\n", log.append)
    assert has_graphs(tmp_path / "model") and log == []
    assert isinstance(load_predictor(tmp_path / "model"), OnnxPredictor)
    make_tiny().folded().save_pretrained(tmp_path / "model", "# tiny\n")
    assert not has_graphs(tmp_path / "model")


def test_threads_change_nothing(folder: Path) -> None:
    alone = RegionCaptioner.from_pretrained(folder, engine="onnx", threads=1)
    together = RegionCaptioner.from_pretrained(folder, engine="onnx", threads=3)
    photos = [photo(seed) for seed in range(5)]
    assert together.caption_many(photos) == alone.caption_many(photos)
    assert together.caption(photos[0]) == alone.caption(photos[0])


@pytest.fixture
def spoilt(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "spoilt"))


def test_a_folder_without_graphs(spoilt: Path) -> None:
    for path in spoilt.glob("*.onnx"):
        path.unlink()
    assert isinstance(load_predictor(spoilt), TorchPredictor)
    with pytest.raises(
        ValueError, match=r"photo.onnx: .*make it with: regiontalk export-runtime"
    ):
        load_predictor(spoilt, engine="onnx")


def test_graphs_of_other_weights(spoilt: Path) -> None:
    with (spoilt / "model.safetensors").open("r+b") as file:
        file.seek(-2, 2)
        file.write(b"\1\2")
    with pytest.raises(ValueError, match="was made for other weights than"):
        load_predictor(spoilt, engine="onnx")


@pytest.mark.parametrize(
    "content", [b"", b"no graph", b"\x08\x07" * 99], ids=["empty", "text", "bytes"]
)
def test_a_damaged_graph(spoilt: Path, content: bytes) -> None:
    (spoilt / "photo.onnx").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"photo.onnx: expected an ONNX graph of this model"
    ):
        load_predictor(spoilt, engine="onnx")


def test_a_graph_that_reads_outside_its_folder(spoilt: Path) -> None:
    (spoilt.parent / "secret").write_bytes(bytes(10_000_000))
    proto = onnx.load(spoilt / "photo.onnx", load_external_data=False)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../secret"
    (spoilt / "photo.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(
        ValueError, match=r"photo.onnx: expected an ONNX graph of this model"
    ):
        load_predictor(spoilt, engine="onnx")


def test_a_graph_with_an_operator_of_its_own(spoilt: Path) -> None:
    proto = onnx.load(spoilt / "photo.onnx", load_external_data=False)
    proto.graph.node[0].domain = "org.evil"
    (spoilt / "photo.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(
        ValueError, match=r"photo.onnx: expected an ONNX graph of this model"
    ):
        load_predictor(spoilt, engine="onnx")


def test_no_such_device_or_engine(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"device: expected one of cpu.*got 'abacus'"):
        load_predictor(folder, engine="onnx", device="abacus")
    with pytest.raises(
        ValueError, match="engine: expected one of auto, onnx, torch, got 'steam'"
    ):
        load_predictor(folder, engine="steam")


def test_what_does_not_export_says_so(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("no such\noperator")

    monkeypatch.setattr("torch.onnx.export", refuse)
    monkeypatch.setattr("regiontalk.train.run.export_runtime", export_runtime)
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    expected = (
        r"model 'tiny': torch cannot export graph embed_regions \(no such operator\); "
        "use the model with --engine torch"
    )
    with pytest.raises(ValueError, match=expected):
        export_runtime(folder)
    assert not list(folder.glob("*.onnx"))
    lines: list[str] = []
    save_for_use(
        tmp_path / "trained", RegionModel.from_folder(folder), "# tiny\n", lines.append
    )
    assert len(lines) == 1 and "torch cannot export" in lines[0]
    assert (tmp_path / "trained" / "model.safetensors").is_file()


def test_texts_are_read_once_and_not_all_are_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regiontalk.runtime.onnx_engine.TEXTS_KEPT", 3)
    predictor = OnnxPredictor(folder)
    read: list[Sequence[Sequence[int]]] = []
    encode_text = predictor.encode_text
    monkeypatch.setattr(
        predictor, "encode_text", lambda texts: read.append(texts) or encode_text(texts)
    )
    texts = [(4, 5), (6,), (4, 5), (7, 8, 9)]
    vectors = predictor.text_vectors(texts)
    assert vectors.shape == (4, predictor.config.aligner.size)
    for text, vector in zip(texts, vectors, strict=True):
        words, mask = encode_text([text])
        alone = (words * mask[..., None]).sum(1)[0]
        assert np.array_equal(vector, alone), "whatever it was asked with"
    assert np.array_equal(predictor.text_vectors([(6,), (5,)])[0], vectors[1])
    assert read == [[(4, 5)], [(6,)], [(7, 8, 9)], [(5,)]]
    assert np.array_equal(predictor.text_vectors([(4, 5)])[0], vectors[0])
    assert read[4:] == [[(4, 5)]], "the oldest makes room"
    assert predictor.text_vectors([]).shape == (0, predictor.config.aligner.size)
