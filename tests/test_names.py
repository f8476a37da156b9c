"""The public names: all there, few, and nothing heavy imported before one is used."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

import regiontalk
from regiontalk.align.config import AlignerConfig
from regiontalk.align.model import Aligner
from regiontalk.boxes import non_maximum_suppression
from regiontalk.datasets.toy import make_scenes
from regiontalk.deprecation import WRITTEN_BY_US, renamed_keys
from regiontalk.generate.config import GeneratorConfig
from regiontalk.model.config import ModelConfig
from regiontalk.model.region_model import RegionModel
from regiontalk.objects.captioner import ObjectsConfig
from regiontalk.regions.config import ExtractorConfig, PrecomputedConfig
from regiontalk.text.vocabulary import Vocabulary

HEAVY = ("torch", "torchvision", "timm", "PIL", "numpy", "huggingface_hub")


def test_every_public_name_is_there() -> None:
    assert regiontalk.__all__ == sorted(regiontalk.__all__) and len(regiontalk.__all__) <= 15
    for name in regiontalk.__all__:
        assert getattr(regiontalk, name).__name__ == name  # an object of that name, never a module
        assert name in dir(regiontalk)


def test_a_wrong_name_lists_the_right_ones() -> None:
    with pytest.raises(AttributeError, match=r"RegionCaptionr.*offers Example"):
        _ = regiontalk.RegionCaptionr  # type: ignore[attr-defined]


RUN = "from regiontalk.cli.main import app; app({}, standalone_mode=False)"


@pytest.mark.parametrize(
    "program",
    [
        pytest.param("import regiontalk; dir(regiontalk)", id="import"),
        pytest.param(RUN.format(["--help"]), id="help"),
        pytest.param(RUN.format(["caption", "--help"]), id="help of a verb"),
    ],
)
def test_nothing_heavy_is_imported_early(program: str) -> None:
    check = f"{program}\nimport sys\nsys.exit(' '.join(set(sys.modules) & {set(HEAVY)!r}) or 0)"
    run = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_a_name_stays_itself_whatever_was_imported_before() -> None:
    check = "import regiontalk.drawing.draw, regiontalk.images.open\nfrom regiontalk import draw\nassert callable(draw)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


RENAMED = [
    ("regiontalk.files", "write_whole", "atomic_write"),
    ("regiontalk.text.vocabulary", "pad_words", "pad_token_ids"),
    ("regiontalk.align.encoders", "LastState", "GRUSentenceEncoder"),
    ("regiontalk.align.encoders", "ReluRecurrence", "ReluRNN"),
    ("regiontalk.datasets.flickr", "picture_sizes", "image_files"),
    ("regiontalk.datasets.flickr", "PICTURE_FOLDERS", "IMAGE_FOLDERS"),
    ("regiontalk.datasets.not_photos", "draw_picture", "draw_image"),
    ("regiontalk.drawing.attention", "Looks", "AttentionMaps"),
    ("regiontalk.drawing.attention", "look", "attention_maps"),
    ("regiontalk.drawing.attention", "heat", "heatmap"),
    ("regiontalk.drawing.attention", "draw_looks", "draw_attention"),
    ("regiontalk.objects.detectors", "Thing", "Detection"),
    ("regiontalk.video.frames", "Film", "Video"),
    ("regiontalk.video.frames", "is_film", "is_video"),
    ("regiontalk.video.frames", "open_film", "open_video"),
    ("regiontalk.video.timeline", "Thing", "Track"),
    ("regiontalk.video.timeline", "Joiner", "Tracker"),
    ("regiontalk.images.encoded", "decode_picture", "decode_photo"),
    ("regiontalk.model.hub", "find_folder", "resolve_model"),
    ("regiontalk.model.weights", "Unfilled", "skip_init"),
    ("regiontalk.regions.config", "GivenConfig", "PrecomputedConfig"),
    ("regiontalk.regions.precomputed", "given_features", "precomputed_features"),
    ("regiontalk.regions.precomputed", "read_given", "read_precomputed"),
]


@pytest.mark.parametrize(("module", "old", "new"), RENAMED, ids=lambda value: value)
def test_an_old_name_works_and_warns(module: str, old: str, new: str) -> None:
    namespace = importlib.import_module(module)
    with pytest.warns(DeprecationWarning, match=rf"{old} is now {new}"):
        assert getattr(namespace, old) is getattr(namespace, new)


def test_a_name_that_never_was_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match=r"regiontalk\.files.*no attribute 'write_everything'"):
        _ = importlib.import_module("regiontalk.files").write_everything


def test_an_old_argument_works_and_warns() -> None:
    with pytest.warns(DeprecationWarning, match=r"build\(least=...\) is now min_count"):
        vocabulary = Vocabulary.build(["a dog", "a cat"], least=2)  # type: ignore[call-arg]
    assert vocabulary.words[4:] == ["a"]


def test_old_arguments_of_scenes_and_boxes() -> None:
    with pytest.warns(DeprecationWarning, match="least=...\\) is now min_shapes"):
        (scene,) = make_scenes(1, 0, least=4)  # type: ignore[call-arg]
    assert len(scene.shapes) == 4
    boxes = np.array([[0, 0, 4, 4], [0, 0, 4, 4]], dtype=np.float32)
    with pytest.warns(DeprecationWarning, match="threshold=...\\) is now nms_iou"):
        rows = non_maximum_suppression(boxes, boxes[:, 0], threshold=0.5)  # type: ignore[call-arg]
    assert rows.tolist() == [0]


def test_an_old_method_works_and_warns() -> None:
    aligner = Aligner(features=3, vocabulary=6, config=AlignerConfig())
    with pytest.warns(DeprecationWarning, match=r"Aligner\.read is now encode_text"):
        words, mask = aligner.read([[4, 5]])
    expected_words, expected_mask = aligner.encode_text([[4, 5]])
    assert words.equal(expected_words) and mask.equal(expected_mask)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param({"old": 1, "b": 2}, {"new": 1, "b": 2}, id="old key"),
        pytest.param({"new": 1}, {"new": 1}, id="new key"),
        pytest.param({"old": 1, "new": 2}, {"old": 1, "new": 2}, id="both: the old one is unknown"),
        pytest.param([1], [1], id="no table"),
    ],
)
def test_renamed_keys(values: object, expected: object) -> None:
    assert renamed_keys(values, {"old": "new"}, WRITTEN_BY_US) == expected


RENAMED_KEYS = [
    (ExtractorConfig, "overlap", "nms_iou", 0.7),
    (ObjectsConfig, "most", "max_descriptions", 5),
    (GeneratorConfig, "picture", "image", "every"),
    (ModelConfig, "given", "precomputed", {"features": 4, "regions": 2}),
]


@pytest.mark.parametrize(("record", "old", "new", "value"), RENAMED_KEYS)
def test_an_old_key_works_and_warns(
    record: type[BaseModel], old: str, new: str, value: object
) -> None:
    with pytest.warns(FutureWarning, match=f"key {old} is now {new}"):
        config = record.model_validate({old: value})
    assert config == record.model_validate({new: value})


@pytest.mark.parametrize(("record", "old", "new", "value"), RENAMED_KEYS)
def test_a_file_of_ours_keeps_its_keys(
    record: type[BaseModel],
    old: str,
    new: str,
    value: object,
    recwarn: pytest.WarningsRecorder,
) -> None:
    config = record.model_validate({old: value}, context=WRITTEN_BY_US)
    assert config == record.model_validate({new: value}) and not recwarn.list


def test_an_old_key_beside_the_new_one_is_unknown() -> None:
    with pytest.raises(ValidationError, match="overlap"):
        ExtractorConfig.model_validate({"overlap": 0.7, "nms_iou": 0.6})


def test_a_model_with_the_old_keys_loads_without_a_word(
    make_tiny: Callable[..., RegionModel], tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    """``config.json`` of format 1 as the version before wrote it."""
    model = make_tiny()
    model.save_pretrained(tmp_path, "# a card")
    file = tmp_path / "config.json"
    values = json.loads(file.read_text())
    values["given"] = values.pop("precomputed")
    values["extractor"]["overlap"] = values["extractor"].pop("nms_iou")
    values["generator"]["picture"] = values["generator"].pop("image")
    file.write_text(json.dumps(values))
    assert RegionModel.from_folder(tmp_path).config == model.config
    assert not [warning for warning in recwarn.list if "is now" in str(warning.message)]


def test_a_fingerprint_keeps_the_old_keys() -> None:
    """Libraries and checkpoints know a model by the text that the version before made of its settings."""
    config = ModelConfig(
        extractor=ExtractorConfig(nms_iou=0.7),
        generator=GeneratorConfig(image="every"),
        precomputed=PrecomputedConfig(features=4, regions=2),
    )
    assert config.model_dump(exclude_defaults=True, by_alias=True) == {
        "extractor": {"overlap": 0.7},
        "generator": {"picture": "every"},
        "given": {"features": 4, "regions": 2},
    }
