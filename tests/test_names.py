"""The public names: all there, few, and nothing heavy imported before one is used."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

import regiontalk
from regiontalk.captioner import RegionCaptioner
from regiontalk.deprecation import WRITTEN_BY_US, renamed_keys
from regiontalk.generate.config import GeneratorConfig
from regiontalk.model.config import ModelConfig
from regiontalk.model.region_model import RegionModel
from regiontalk.objects.captioner import ObjectsConfig
from regiontalk.regions.config import ExtractorConfig, PrecomputedConfig
from regiontalk.train.generate import GenerateConfig
from regiontalk.train.loop import OptimiserConfig
from regiontalk.train.objects import ObjectsRecipe
from regiontalk.train.photos import AugmentConfig
from regiontalk.train.recipe import FeaturesConfig, Recipe

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


def test_type_checkers_see_the_same_names() -> None:
    stub = ast.parse(Path(regiontalk.__file__).with_suffix(".pyi").read_text())
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    names = [alias.asname for node in imports for alias in node.names]
    assert sorted(filter(None, names)) == regiontalk.__all__


def test_a_wrong_name_is_told() -> None:
    with pytest.raises(AttributeError, match="No regiontalk attribute RegionCaptionr"):
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
