"""``regiontalk evaluate`` from end to end, on the toy data and a small model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from regiontalk.align.config import AlignerConfig
from regiontalk.cli.main import app
from regiontalk.datasets.splits import read_split
from regiontalk.evaluate.dense import NMS_IOU
from regiontalk.generate.config import GeneratorConfig
from regiontalk.metrics.meteor.score import SIZE
from regiontalk.model.config import ModelConfig
from regiontalk.model.region_model import RegionModel
from regiontalk.regions.config import ExtractorConfig
from regiontalk.text.vocabulary import Vocabulary


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


@pytest.fixture(scope="module")
def model_folder(toy_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    examples, _ = read_split(toy_folder, "train")
    config = ModelConfig(
        name="tiny",
        extractor=ExtractorConfig(
            backbone="lcnet_050",
            same_padding=False,
            size=64,
            features=16,
            proposal_width=8,
        ),
        aligner=AlignerConfig(size=8, word_size=8, hidden=8),
        generator=GeneratorConfig(hidden=8, word_size=8),
    )
    torch.manual_seed(0)
    vocabulary = Vocabulary.build(
        (text for example in examples for text in example.captions), min_count=1
    )
    RegionModel(config=config, vocabulary=vocabulary).save_pretrained(
        folder, "# tiny\n"
    )
    return folder


def test_all_protocols(model_folder: Path, toy_folder: Path, tmp_path: Path) -> None:
    files = (
        "--json",
        tmp_path / "out" / "all.json",
        "--outputs",
        tmp_path / "said.jsonl",
        "--report",
        tmp_path / "page",
    )
    result = invoke(
        "all",
        "--model",
        model_folder,
        "--data",
        toy_folder,
        "--limit",
        4,
        "--train-limit",
        5,
        *files,
    )
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "out" / "all.json").read_text())
    names = [
        "retrieval",
        "captions",
        "regions",
        "phrases",
        "proposals",
        "dense",
        "alignment",
    ]
    assert [part["protocol"] for part in found["results"]] == names
    assert (
        found["model"],
        found["split"],
        found["photos"],
        len(found["model_sha256"]),
    ) == (
        "tiny",
        "dev",
        4,
        64,
    )
    assert found["results"][1]["counts"]["training photos"] == 5
    assert set(found["results"][0]["figures"]["photo to sentence"]["R@1"]) == {
        "value",
        "low",
        "high",
    }
    assert all(name in result.stdout for name in names)
    page = (tmp_path / "page" / "index.html").read_text()
    assert (
        all(f'<h2 id="{name}">' in page for name in names)
        and page.count("data:image/svg+xml") >= 10
    )
    assert all(page.count(f"<h3>{kind}</h3>") == 7 for kind in ("Best", "Worst"))
    said = [
        json.loads(line) for line in (tmp_path / "said.jsonl").read_text().splitlines()
    ]
    assert {"captions", "regions", "dense"} == {row["protocol"] for row in said}


def test_all_goes_on_where_one_protocol_has_nothing(
    model_folder: Path, toy_folder: Path, tmp_path: Path
) -> None:
    """Without Entities there is no phrase.

    A photo that cannot be opened is told, whatever is measured.
    """
    shutil.copytree(toy_folder / "flickr8k", tmp_path / "flickr8k")
    name = (tmp_path / "flickr8k" / "Flickr_8k.devImages.txt").read_text().split()[0]
    photo = tmp_path / "flickr8k" / "images" / name
    photo.write_bytes(photo.read_bytes()[:100])
    common = (
        "--model",
        model_folder,
        "--data",
        tmp_path,
        "--limit",
        4,
        "--train-limit",
        5,
        "--json",
        tmp_path / "a",
    )
    assert invoke("all", *common, "--report", tmp_path / "page").exit_code == 0
    assert "not measured: " in (tmp_path / "page" / "index.html").read_text()
    found = {
        part["protocol"]: part
        for part in json.loads((tmp_path / "a").read_text())["results"]
    }
    assert found["captions"]["figures"] and not found["phrases"]["figures"]
    assert found["phrases"]["notes"][0].startswith("not measured: ")
    assert any(
        "photos that cannot be opened, left out: 1" in note
        for note in found["retrieval"]["notes"]
    )
    assert invoke("phrases", *common).exit_code == 2


def test_the_overlap_of_dense_detections(
    model_folder: Path, toy_folder: Path, tmp_path: Path
) -> None:
    common = (
        "dense",
        "--model",
        model_folder,
        "--data",
        toy_folder,
        "--limit",
        2,
        "--json",
        tmp_path / "figures.json",
    )
    for options, kept in ((), NMS_IOU), (("--nms-iou", 1), 1.0):
        assert invoke(*common, *options).exit_code == 0
        found = json.loads((tmp_path / "figures.json").read_text())
        assert found["results"][0]["counts"]["overlap kept"] == kept and found[
            "command"
        ].startswith("regiontalk")
    assert invoke(*common, "--nms-iou", 2).exit_code == 2


def test_a_folder_with_only_a_test_split(
    model_folder: Path, toy_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(toy_folder, tmp_path / "held")
    lists = tmp_path / "held" / "flickr8k"
    (lists / "Flickr_8k.devImages.txt").rename(lists / "Flickr_8k.testImages.txt")
    (lists / "Flickr_8k.trainImages.txt").unlink()
    common = (
        "captions",
        "--model",
        model_folder,
        "--data",
        tmp_path / "held",
        "--split",
        "test",
        "--limit",
        2,
    )
    alone = invoke(*common)
    assert alone.exit_code == 0 and "no training split" in alone.stdout
    beside = invoke(
        *common,
        "--train-data",
        toy_folder,
        "--train-limit",
        3,
        "--json",
        tmp_path / "figures.json",
    )
    assert beside.exit_code == 0
    figures = json.loads((tmp_path / "figures.json").read_text())["results"][0][
        "figures"
    ]
    assert list(figures) == ["model", "nearest training photo"]


def test_calibrate_writes_into_the_model(
    model_folder: Path, toy_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_folder, folder)
    before = json.loads((folder / "config.json").read_text())
    assert invoke("calibrate", "--model", folder, "--data", toy_folder).exit_code == 0
    assert json.loads((folder / "config.json").read_text()) == before
    assert (
        invoke(
            "calibrate", "--model", folder, "--data", toy_folder, "--write"
        ).exit_code
        == 0
    )
    after = json.loads((folder / "config.json").read_text())
    assert after["decoding"].pop("photo") != before["decoding"].pop("photo")
    assert after["decoding"].pop("region") != before["decoding"].pop("region")
    assert after == before


def test_captions_from_files_need_no_model(tmp_path: Path) -> None:
    rows = [{"image_id": 1, "caption": "a dog runs"}]
    (tmp_path / "said.json").write_text(json.dumps(rows))
    (tmp_path / "truth.json").write_text(json.dumps({"annotations": rows}))
    files = (
        "--predictions",
        tmp_path / "said.json",
        "--references",
        tmp_path / "truth.json",
    )
    result = invoke("captions", *files, "--json", tmp_path / "out.json")
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["results"][0]["figures"]["predictions"]["BLEU-1"][
        "value"
    ] == pytest.approx(1.0)
    assert "command" in found and "model" not in found
    assert (
        "no training sentences: no novelty; give --train-data"
        in found["results"][0]["notes"]
    )


def test_novelty_of_captions_from_files(toy_folder: Path, tmp_path: Path) -> None:
    text = read_split(toy_folder, "train")[0][0].captions[0]
    (tmp_path / "said.json").write_text(
        json.dumps({"1": text, "2": "nobody \ud83d wrote this"})
    )
    (tmp_path / "truth.json").write_text(json.dumps({"1": [text], "2": ["a dog"]}))
    files = (
        "--predictions",
        tmp_path / "said.json",
        "--references",
        tmp_path / "truth.json",
    )
    result = invoke(
        "captions", *files, "--train-data", toy_folder, "--json", tmp_path / "out.json"
    )
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "out.json").read_text())["results"][0]["figures"][
        "predictions"
    ]
    assert found["in training"]["value"] == 0.5
    assert invoke("captions", *files, "--limit", 3).exit_code == 2


def test_meteor_by_its_jar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from regiontalk.evaluate import judges

    rows = [{"image_id": 1, "caption": "a dog runs"}]
    (tmp_path / "said.json").write_text(json.dumps(rows))
    files = (
        "--predictions",
        tmp_path / "said.json",
        "--references",
        tmp_path / "said.json",
        "--meteor-jar",
    )
    monkeypatch.setattr(judges, "installed_folder", lambda: None)
    result = invoke("captions", *files)
    assert (
        result.exit_code == 2 and "expected an installed pycocoevalcap" in result.stderr
    )
    monkeypatch.setattr(judges, "installed_folder", lambda: tmp_path)
    monkeypatch.setattr(
        judges,
        "jar_statistics",
        lambda said, truths, folder: np.zeros((len(said), SIZE), np.int64),
    )
    result = invoke("captions", *files, "--json", tmp_path / "out.json")
    assert result.exit_code == 0, result.output
    assert (
        "METEOR"
        in json.loads((tmp_path / "out.json").read_text())["results"][0]["figures"][
            "predictions"
        ]
    )
    assert invoke("captions", "--data", tmp_path, "--meteor-jar").exit_code == 2


def test_spice_by_its_jar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from regiontalk.evaluate import judges

    (tmp_path / "said.json").write_text(
        json.dumps([{"image_id": 1, "caption": "a dog runs"}])
    )
    files = (
        "--predictions",
        tmp_path / "said.json",
        "--references",
        tmp_path / "said.json",
        "--json",
        tmp_path / "o",
    )
    jar = tmp_path / "spice-1.0.jar"
    result = invoke("captions", *files, "--spice-jar", jar)
    assert result.exit_code == 2 and "expected spice-1.0.jar" in result.stderr
    jar.write_text("no jar")
    # whatever else is missing is a reason beside the figures
    result = invoke("captions", *files, "--spice-jar", jar)
    assert (
        result.exit_code == 0
        and "SPICE: SPICE's jar: expected spice-1.0.jar, got" in result.stdout
    )
    assert (
        json.loads((tmp_path / "o").read_text())["results"][0]["figures"][
            "predictions"
        ]["SPICE"]
        is None
    )
    monkeypatch.setattr(
        judges, "spice_scores", lambda said, truths, jar: np.full(len(said), 0.25)
    )
    assert invoke("captions", *files, "--spice-jar", jar).exit_code == 0
    found = json.loads((tmp_path / "o").read_text())["results"][0]["figures"][
        "predictions"
    ]["SPICE"]
    assert found == {"value": 0.25, "low": 0.25, "high": 0.25}
    assert invoke("captions", "--data", tmp_path, "--spice-jar", jar).exit_code == 2


def test_trouble_in_files_is_counted_and_said(tmp_path: Path) -> None:
    said = {1: "a dog", 2: "", 3: " . ! ", 4: "un café", 6: None}
    rows = [
        {"image_id": name, "caption": text}
        for name, text in [*said.items(), (1, "again"), (9, "nobody asked")]
    ]
    truth = [{"image_id": name, "caption": "a dog runs"} for name in range(1, 7)]
    (tmp_path / "said.json").write_text(json.dumps(rows))
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    files = (
        "--predictions",
        tmp_path / "said.json",
        "--references",
        tmp_path / "truth.json",
    )
    result = invoke("captions", *files, "--report", tmp_path)
    assert result.exit_code == 0, result.output
    for line in (
        "missing prediction: 1 (5); scored as an empty caption",
        "empty prediction: 2 (2, 6); scored as an empty caption",
        "prediction of punctuation only: 1 (3); scored as an empty caption",
        "duplicate prediction: 1 (1); the first of each id counted",
        "non-ASCII text: 1 (4); kept as it is",
        "prediction without references: 1 (9); left out",
    ):
        assert line in result.stdout and line in (tmp_path / "index.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            ["captoins", "--data", "."],
            "expected one of retrieval",
            id="unknown protocol",
        ),
        pytest.param(["captions"], "--data: expected the folder", id="no data"),
        pytest.param(
            ["captions", "--predictions", "a.json"],
            "expected both",
            id="predictions alone",
        ),
        pytest.param(
            ["retrieval", "--predictions", "a", "--references", "b"],
            "expected both",
            id="not for captions",
        ),
        pytest.param(
            ["captions", "--data", ".", "--report", "/dev/null"],
            "expected a folder for the report",
            id="no folder for the page",
        ),
        pytest.param(
            ["retrieval", "--data", ".", "--model", "./gone"],
            "model: expected",
            id="no model",
        ),
    ],
)
def test_the_users_mistakes(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = invoke(*arguments)
    assert (
        result.exit_code == 2
        and message in result.stderr
        and len(result.stderr.splitlines()) == 1
    )


def test_a_missing_split_is_told(model_folder: Path, toy_folder: Path) -> None:
    result = invoke(
        "retrieval", "--model", model_folder, "--data", toy_folder, "--split", "test"
    )
    assert result.exit_code == 2 and "list of test photos" in result.stderr
    result = invoke(
        "captions",
        "--model",
        model_folder,
        "--data",
        toy_folder,
        "--train-data",
        toy_folder / "flickr8k",
    )
    assert result.exit_code == 2


@pytest.fixture
def things_folder(toy_folder: Path, tmp_path: Path) -> Path:
    """The toy photos of dev in COCO's layout, a dog over the left half of each."""
    from PIL import Image

    folder = tmp_path / "things"
    (folder / "dev").mkdir(parents=True)
    rows, captions, annotations = [], [], []
    for number, example in enumerate(read_split(toy_folder, "dev")[0], start=1):
        shutil.copy(example.photo, folder / "dev" / example.photo.name)
        with Image.open(example.photo) as image:
            width, height = image.size
        size = {"width": width, "height": height}
        rows.append({"id": number, "file_name": example.photo.name, **size})
        captions.append({"id": number, "image_id": number, "caption": "a dog"})
        box = {"bbox": [0, 0, width / 2, height], "iscrowd": 0}
        annotations.append({"id": number, "image_id": number, "category_id": 1, **box})
    categories = [{"id": 1, "name": "dog"}]
    documents = {
        "dev_captions.json": {"images": rows, "annotations": captions},
        "dev_instances.json": {
            "images": rows,
            "annotations": annotations,
            "categories": categories,
        },
    }
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document), encoding="utf-8")
    return folder


def test_names(model_folder: Path, things_folder: Path, tmp_path: Path) -> None:
    words = tmp_path / "words.json"
    words.write_text('{"dog": ["dog"]}', encoding="utf-8")
    data = things_folder / "dev_captions.json"
    out, page = tmp_path / "names.json", tmp_path / "page"
    arguments = [
        "names",
        "--model",
        model_folder,
        "--data",
        data,
        "--class-words",
        words,
    ]
    result = invoke(*arguments, "--json", out, "--report", page)
    assert result.exit_code == 0, result.output
    (measured,) = json.loads(out.read_text(encoding="utf-8"))["results"]
    assert measured["protocol"] == "names"
    assert measured["counts"]["photos"] == 6
    assert measured["counts"]["objects over 1%"] == 6


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(
            '{"cat": ["cat"]}', "expected words for 'dog'", id="class not in the file"
        ),
        pytest.param(
            '{"dog": "dog"}', "expected class words", id="a string for a list"
        ),
        pytest.param("{", "expected class words", id="no JSON"),
        pytest.param(None, "expected class words", id="no file"),
    ],
)
def test_names_bad_class_words(
    model_folder: Path,
    things_folder: Path,
    tmp_path: Path,
    content: str | None,
    message: str,
) -> None:
    words = tmp_path / "words.json"
    if content is not None:
        words.write_text(content, encoding="utf-8")
    data = things_folder / "dev_captions.json"
    arguments = [
        "names",
        "--model",
        model_folder,
        "--data",
        data,
        "--class-words",
        words,
    ]
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
