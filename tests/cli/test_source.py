"""``--source``: what it accepts, what it builds, and what the user gets on a photo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from regiontalk.cli.main import app
from regiontalk.cli.source import KINDS, parse_source
from regiontalk.regions.sources import DetectorBoxes, Grid, PrecomputedRegions


@pytest.fixture
def features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder ``pre`` with the boxes of photo.png (60x40), found at twice its size."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (60, 40), (90, 120, 150)).save("photo.png")
    Path("pre").mkdir()
    boxes = np.array([[20, 10, 60, 70], [0, 0, 40, 80]], np.float32)
    np.savez(
        "pre/photo.npz",
        features=np.zeros((2, 5), np.float32),
        boxes=boxes,
        image_w=120,
        image_h=80,
    )
    return Path("pre")


@pytest.mark.parametrize(
    ("text", "regions", "kind", "count"),
    [
        pytest.param("proposals", None, None, 10, id="the model's own"),
        pytest.param("proposals", 3, None, 3, id="the model's own, three"),
        pytest.param("grid:2x3", None, Grid, 6, id="grid: all its cells"),
        pytest.param("grid:2x3", 4, Grid, 4, id="grid: the first four"),
        pytest.param("grid:1x1", 0, Grid, 0, id="grid: none, only the photo"),
        pytest.param(
            "features:pre", None, PrecomputedRegions, 10, id="a folder of features"
        ),
        pytest.param(
            "features:pre/photo.npz",
            36,
            PrecomputedRegions,
            36,
            id="a file of features",
        ),
    ],
)
def test_parse_source(
    features: Path, text: str, regions: int | None, kind: type | None, count: int
) -> None:
    source, found = parse_source(text, regions)
    assert found == count
    assert source is None if kind is None else isinstance(source, kind)


@pytest.mark.parametrize(
    ("text", "regions", "asked"),
    [
        pytest.param(
            "detector", None, {"count": 10, "device": "cpu"}, id="published weights"
        ),
        pytest.param(
            "detector",
            0,
            {"count": 1, "device": "cpu"},
            id="no regions: a detector keeps at least one",
        ),
        pytest.param(
            "detector:a:b.safetensors",
            30,
            {"weights": "a:b.safetensors", "count": 30, "device": "cpu"},
            id="local",
        ),
    ],
)
def test_detector(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    regions: int | None,
    asked: dict[str, Any],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a:b.safetensors").touch()
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(
        DetectorBoxes, "load", lambda **settings: calls.append(settings)
    )
    parse_source(text, regions)
    assert calls == [asked]


def test_detector_without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(**_: Any) -> None:
        raise OSError("no route")

    monkeypatch.setattr(DetectorBoxes, "load", unreachable)
    with pytest.raises(
        OSError, match=r"cannot be downloaded \(no route\); name a local file"
    ):
        parse_source("detector")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        pytest.param("", ValueError, "got ''", id="nothing"),
        pytest.param(
            "yolo", ValueError, ", ".join(KINDS), id="unknown: lists what there is"
        ),
        pytest.param(
            "proposals:5",
            ValueError,
            "got 'proposals:5'",
            id="proposals take no argument",
        ),
        pytest.param("grid", ValueError, "grid:ROWSxCOLUMNS", id="grid without cells"),
        pytest.param("grid:3", ValueError, "got 'grid:3'", id="grid of one number"),
        pytest.param("grid:-1x2", ValueError, "got 'grid:-1x2'", id="negative"),
        pytest.param(
            "grid:0x2", ValueError, "at least 1x1 cells, got 0x2", id="no row"
        ),
        pytest.param(
            "grid:9999x9999", ValueError, "got 'grid:9999x9999'", id="too many cells"
        ),
        pytest.param(
            "detector:", ValueError, "got 'detector:'", id="detector without its file"
        ),
        pytest.param(
            "detector:gone.safetensors",
            OSError,
            "gone.safetensors: expected a safetensors",
            id="no weights",
        ),
        pytest.param(
            "features:", ValueError, "got 'features:'", id="features without a path"
        ),
        pytest.param(
            "features:gone",
            OSError,
            "gone: expected a folder or a file",
            id="no features",
        ),
    ],
)
def test_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    error: type,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as caught:
        parse_source(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("options", "boxes"),
    [
        pytest.param(
            ["--source", "grid:2x1"],
            [[0, 0, 60, 20], [0, 20, 60, 40]],
            id="cells of the photo, row by row",
        ),
        pytest.param(
            ["--source", "grid:2x2", "--regions", "1"],
            [[0, 0, 30, 20]],
            id="the first cell",
        ),
        # boxes of a picture twice as large: halved
        pytest.param(
            ["--source", "features:pre"],
            [[10, 5, 30, 35], [0, 0, 20, 40]],
            id="precomputed boxes, scaled",
        ),
    ],
)
def test_caption(
    features: Path, tiny_folder: Path, options: list[str], boxes: list[list[float]]
) -> None:
    result = CliRunner().invoke(
        app, ["caption", "photo.png", "--json", "--model", str(tiny_folder), *options]
    )
    assert result.exit_code == 0, result.stderr
    assert [region["box"] for region in json.loads(result.stdout)["regions"]] == boxes


def test_a_photo_without_features_is_that_photos_failure(
    features: Path, tiny_folder: Path
) -> None:
    Image.new("RGB", (60, 40)).save("other.png")
    arguments = [
        "caption",
        "photo.png",
        "other.png",
        "--json",
        "--source",
        "features:pre",
        "--model",
        str(tiny_folder),
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1 and len(result.stdout.splitlines()) == 1
    first, second = result.stderr.splitlines()
    assert (
        first == "regiontalk: 1 of 2 photos failed:"
        and "other.png: pre: expected other.npz" in second
    )


def test_source_and_box_exclude_each_other(run: Any, captioner: Any) -> None:
    result = run("caption", "a.png", "--box", "0,0,5,5", "--source", "grid:2x2")
    assert (
        result.exit_code == 2
        and "--box and --source exclude each other" in result.stderr
    )
    assert captioner.calls == []
