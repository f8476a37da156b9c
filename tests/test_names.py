"""The public names: all there, few, and nothing heavy imported before one is used."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import BaseModel, ValidationError

import regiontalk
from regiontalk.align.config import AlignerConfig
from regiontalk.align.model import Aligner
from regiontalk.boxes import non_maximum_suppression
from regiontalk.captioner import RegionCaptioner
from regiontalk.datasets.toy import make_scenes
from regiontalk.deprecation import WRITTEN_BY_US, renamed_keys
from regiontalk.drawing.draw import contact_sheet, titled
from regiontalk.drawing.labels import place_labels
from regiontalk.export.alt_text import distinct, narrate, whole_sentence, worth_naming
from regiontalk.generate.config import GeneratorConfig
from regiontalk.model.config import ModelConfig
from regiontalk.model.region_model import RegionModel
from regiontalk.objects.captioner import ObjectsConfig, describe
from regiontalk.objects.detectors import Detection, TorchvisionDetector, YoloxDetector
from regiontalk.records import ImageResult, RegionCaption
from regiontalk.regions.config import ExtractorConfig, PrecomputedConfig
from regiontalk.regions.sources import DetectorBoxes
from regiontalk.text.vocabulary import Vocabulary
from regiontalk.train.generate import GenerateConfig
from regiontalk.train.loop import OptimiserConfig
from regiontalk.train.objects import ObjectsRecipe
from regiontalk.train.photos import AugmentConfig
from regiontalk.train.recipe import FeaturesConfig, Recipe
from regiontalk.train.word_vectors import make_vectors
from regiontalk.video.frames import Video

HEAVY = ("torch", "torchvision", "timm", "PIL", "numpy", "huggingface_hub")


def test_every_public_name_is_there() -> None:
    assert (
        regiontalk.__all__ == sorted(regiontalk.__all__)
        and len(regiontalk.__all__) <= 15
    )
    for name in regiontalk.__all__:
        # an object of that name, never a module
        assert getattr(regiontalk, name).__name__ == name
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
    run = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


def test_a_name_stays_itself_whatever_was_imported_before() -> None:
    check = (
        "import regiontalk.drawing.draw, regiontalk.images.open\nfrom regiontalk "
        "import draw\nassert callable(draw)"
    )
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


RENAMED = [
    ("regiontalk.files", "write_whole", "atomic_write"),
    ("regiontalk.export.alt_text", "LEAST", "MIN_CONFIDENCE"),
    ("regiontalk.text.vocabulary", "pad_words", "pad_token_ids"),
    ("regiontalk.align.encoders", "LastState", "GRUSentenceEncoder"),
    ("regiontalk.align.encoders", "ReluRecurrence", "ReluRNN"),
    ("regiontalk.datasets.flickr", "picture_sizes", "image_files"),
    ("regiontalk.datasets.flickr", "PICTURE_FOLDERS", "IMAGE_FOLDERS"),
    ("regiontalk.datasets.not_photos", "draw_picture", "draw_image"),
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
    with pytest.raises(
        AttributeError, match=r"regiontalk\.files.*no attribute 'write_everything'"
    ):
        _ = importlib.import_module("regiontalk.files").write_everything


def message_of(call: Callable[[], Any]) -> str:
    """What a call is refused with."""
    with pytest.raises((ValueError, OSError)) as caught:
        call()
    return str(caught.value)


def yolox(**arguments: float) -> Any:
    """A detector over a network that is only asked for its size."""
    square = SimpleNamespace(name="images", shape=[1, 3, 8, 8])
    return YoloxDetector(
        SimpleNamespace(get_inputs=lambda: [square]), ["dog"], **arguments
    )


def torchvision_boxes(kind: Any, **arguments: float) -> Any:
    """A source of boxes over a network that is never asked."""
    network = SimpleNamespace(eval=lambda: None)
    return kind(network, **arguments)


SENTENCES = ["a dog sits on a mat", "a cat sits on a mat", "a dog and a cat"]
BOXES = np.array([[0, 0, 4, 4], [0, 0, 4, 3]], dtype=np.float32)
DOGS = [Detection("dog", (0, 0, 20, 20), 0.9), Detection("cat", (10, 40, 30, 60), 0.8)]
CAPTIONED = ImageResult(
    photo="a.jpg",
    size_wh=(100, 100),
    model="m",
    caption=RegionCaption((0, 0, 100, 100), "a dog on a mat", 0.5),
    regions=(RegionCaption((0, 0, 20, 20), "a red mat", 0.4),),
)
IMAGE = Image.new("RGB", (20, 10))
ARGUMENTS: list[tuple[str, str, str, Any, Callable[..., Any]]] = [
    (
        "build",
        "least",
        "min_count",
        2,
        lambda **a: Vocabulary.build(SENTENCES, **a).words,
    ),
    (
        "make_vectors",
        "least",
        "min_count",
        2,
        lambda **a: make_vectors(SENTENCES, 2, **a)[0],
    ),
    (
        "make_scenes",
        "least",
        "min_shapes",
        4,
        lambda **a: len(make_scenes(1, 0, **a)[0].shapes),
    ),
    (
        "make_scenes",
        "most",
        "max_shapes",
        2,
        lambda **a: len(make_scenes(1, 0, **a)[0].shapes),
    ),
    (
        "non_maximum_suppression",
        "threshold",
        "nms_iou",
        0.9,
        lambda **a: non_maximum_suppression(BOXES, BOXES[:, 3], **a).tolist(),
    ),
    ("__init__", "threshold", "min_score", 0.1, lambda **a: yolox(**a)._min_score),
    ("__init__", "overlap", "nms_iou", 0.1, lambda **a: yolox(**a)._nms_iou),
    (
        "load",
        "threshold",
        "min_score",
        0.1,
        lambda **a: message_of(lambda: YoloxDetector.load(Path("no.onnx"), **a)),
    ),
    (
        "__init__",
        "threshold",
        "min_score",
        0.1,
        lambda **a: (
            torchvision_boxes(TorchvisionDetector, names=["dog"], **a)._min_score
        ),
    ),
    (
        "__init__",
        "overlap",
        "nms_iou",
        0.1,
        lambda **a: torchvision_boxes(DetectorBoxes, **a)._nms_iou,
    ),
    (
        "load",
        "overlap",
        "nms_iou",
        0.1,
        lambda **a: message_of(lambda: DetectorBoxes.load("no such network", **a)),
    ),
    (
        "describe",
        "things",
        "detections",
        DOGS,
        lambda **a: describe(size_wh=(100, 100), **a),
    ),
    ("describe", "most", "max_count", 1, lambda **a: describe(DOGS, (100, 100), **a)),
    (
        "contact_sheet",
        "pictures",
        "images",
        [IMAGE],
        lambda **a: contact_sheet(columns=1, **a),
    ),
    ("titled", "picture", "image", IMAGE, lambda **a: titled(words="a dog", **a)),
    (
        "place_labels",
        "most",
        "max_hidden",
        0.9,
        lambda **a: place_labels([(20, 40, 60, 80)], [[(30, 10)]], (100, 100), **a),
    ),
    (
        "frames",
        "most",
        "max_seconds",
        1.0,
        lambda **a: message_of(lambda: next(Video.frames(SimpleNamespace(), -1, **a))),
    ),
    ("narrate", "least", "min_confidence", 0.45, lambda **a: narrate(CAPTIONED, **a)),
    (
        "whole_sentence",
        "least",
        "min_confidence",
        0.6,
        lambda **a: whole_sentence(CAPTIONED, **a),
    ),
    (
        "worth_naming",
        "least",
        "min_confidence",
        0.1,
        lambda **a: worth_naming(CAPTIONED, **a),
    ),
    (
        "distinct",
        "least",
        "min_confidence",
        0.1,
        lambda **a: list(distinct(CAPTIONED.regions, **a)),
    ),
]


@pytest.mark.parametrize(("function", "old", "new", "value", "call"), ARGUMENTS)
def test_an_old_argument_works_and_warns(
    function: str, old: str, new: str, value: Any, call: Callable[..., Any]
) -> None:
    with pytest.warns(
        DeprecationWarning, match=rf"{function}\({old}=\.\.\.\) is now {new}"
    ):
        result = call(**{old: value})
    assert result == call(**{new: value})


def test_every_old_argument_is_in_the_table() -> None:
    written = Counter[tuple[str, str, str]]()
    for path in Path(regiontalk.__file__).parent.rglob("*.py"):
        for names, function in DECORATED.findall(path.read_text(encoding="utf-8")):
            written.update((function, old, new) for old, new in PAIR.findall(names))
    assert written == Counter(
        (function, old, new) for function, old, new, *_ in ARGUMENTS
    )


DECORATED = re.compile(
    r"^ *@renamed_argument\((.*)\)\n(?: *@.*\n)* *def (\w+)", re.MULTILINE
)
PAIR = re.compile(r'(\w+)="(\w+)"')


class Captioner(RegionCaptioner):
    """One whose methods give back what they were asked."""

    def __init__(self) -> None: ...

    def score_words(self, *arguments: Any, **named: Any) -> Any:
        return "score_words", arguments, named

    def decode_alignment(self, *arguments: Any, **named: Any) -> Any:
        return "decode_alignment", arguments, named

    def confidence_features(self, *arguments: Any, **named: Any) -> Any:
        return "confidence_features", arguments, named


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("weigh", "score_words"),
        ("join", "decode_alignment"),
        ("evidence", "confidence_features"),
    ],
)
def test_an_old_method_of_the_captioner_works_and_warns(old: str, new: str) -> None:
    with pytest.warns(DeprecationWarning, match=rf"Captioner\.{old} is now {new}"):
        result = getattr(Captioner(), old)("photo", beta=0.5)
    assert result == (new, ("photo",), {"beta": 0.5})


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
        pytest.param(
            {"old": 1, "new": 2},
            {"old": 1, "new": 2},
            id="both: the old one is unknown",
        ),
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
    (OptimiserConfig, "rate", "learning_rate", 0.5),
    (OptimiserConfig, "backbone_rate", "backbone_learning_rate", 0.5),
    (OptimiserConfig, "decay", "weight_decay", 0.5),
    (OptimiserConfig, "clip", "grad_clip", 0.5),
    (OptimiserConfig, "clip_by", "grad_clip_by", "element"),
    (GenerateConfig, "penalty", "attention_penalty", 0.5),
    (GenerateConfig, "sampling", "scheduled_sampling", 0.5),
    (GenerateConfig, "reward", "self_critical", 0.5),
    (AugmentConfig, "least", "min_crop", 0.5),
    (FeaturesConfig, "least_words", "min_words", 3),
]
RENAMED_BESIDE_A_NAME = [
    (Recipe, "least_count", "min_count", 3),
    (ObjectsRecipe, "least_count", "min_count", 3),
]


@pytest.mark.parametrize(("record", "old", "new", "value"), RENAMED_KEYS)
def test_an_old_key_works_and_warns(
    record: type[BaseModel], old: str, new: str, value: object
) -> None:
    with pytest.warns(FutureWarning, match=f"key {old} is now {new}"):
        config = record.model_validate({old: value})
    assert config == record.model_validate({new: value})


@pytest.mark.parametrize(("record", "old", "new", "value"), RENAMED_BESIDE_A_NAME)
def test_an_old_key_of_a_recipe_works_and_warns(
    record: type[BaseModel], old: str, new: str, value: object
) -> None:
    with pytest.warns(FutureWarning, match=f"key {old} is now {new}"):
        config = record.model_validate({"name": "x", old: value})
    assert config == record.model_validate({"name": "x", new: value})


@pytest.mark.parametrize(
    "record", [OptimiserConfig, GenerateConfig, AugmentConfig, FeaturesConfig]
)
def test_fingerprints_keep_the_old_keys(record: type[BaseModel]) -> None:
    names = {old for kind, old, _, _ in RENAMED_KEYS if kind is record}
    assert names and names <= record().model_dump(by_alias=True).keys()


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
    make_tiny: Callable[..., RegionModel],
    tmp_path: Path,
    recwarn: pytest.WarningsRecorder,
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
    """Libraries and checkpoints know a model by the text of its settings.

    It is the text that the version before made.
    """
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
