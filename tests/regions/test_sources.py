"""The sources of regions.

All answer with the whole photo first, boxes inside the photo, scores falling.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.rpn import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign

from regiontalk.records import Regions
from regiontalk.regions.sources import (
    DetectorBoxes,
    Grid,
    PrecomputedRegions,
    RegionSource,
    load_weights,
)

PHOTO = Image.new("RGB", (80, 60), (200, 100, 50))


def check(regions: Regions, size_wh: tuple[int, int] = (80, 60)) -> None:
    """What every source promises."""
    assert regions.size_wh == size_wh
    assert regions.boxes_xyxy[0].tolist() == [0, 0, *size_wh] and regions.scores[0] == 1
    assert (regions.boxes_xyxy[:, :2] >= 0).all() and (
        regions.boxes_xyxy[:, 2:] <= size_wh
    ).all()
    assert (np.diff(regions.scores) <= 0).all()


def tiny_detector(seed: int = 0) -> FasterRCNN:
    """A detector of the real class with a backbone of one convolution and two classes."""
    torch.manual_seed(seed)
    backbone = nn.Sequential(nn.Conv2d(3, 8, 3, stride=8, padding=1), nn.ReLU())
    backbone.out_channels = 8  # torchvision reads it
    return FasterRCNN(
        backbone,
        num_classes=2,
        rpn_anchor_generator=AnchorGenerator(((16, 32),), ((0.5, 1.0, 2.0),)),
        box_roi_pool=MultiScaleRoIAlign(["0"], 3, 2),
        min_size=64,
        max_size=96,
        box_score_thresh=0.0,
    )


def slow_grid(rows: int, columns: int, width: int, height: int) -> list[list[float]]:
    cells = []
    for row in range(rows):
        for column in range(columns):
            left, top = column * width / columns, row * height / rows
            cells.append(
                [left, top, (column + 1) * width / columns, (row + 1) * height / rows]
            )
    return cells


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 3), (7, 7), (3, 1)])
def test_grid(rows: int, columns: int) -> None:
    regions = Grid(rows, columns).propose(PHOTO)
    check(regions)
    np.testing.assert_allclose(
        regions.boxes_xyxy[1:], slow_grid(rows, columns, 80, 60), rtol=1e-6
    )


def test_grid_by_hand() -> None:
    # 80x60 in 2 rows and 2 columns: cells of 40x30; the last one starts where the first ends
    assert Grid(2, 2).propose(PHOTO).boxes_xyxy[4].tolist() == [40, 30, 80, 60]


@pytest.mark.parametrize(("rows", "columns"), [(0, 3), (3, -1)])
def test_grid_of_nothing(rows: int, columns: int) -> None:
    with pytest.raises(ValueError, match="at least 1x1"):
        Grid(rows, columns)


class FixedDetector(nn.Module):
    """Finds what it was told; the labels would mislead whoever reads them."""

    def __init__(self, boxes: list[list[float]], scores: list[float]) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(1))
        self.found = {
            "boxes": torch.tensor(boxes).reshape(-1, 4),
            "scores": torch.tensor(scores),
            "labels": torch.arange(len(scores)),
        }

    def forward(self, pictures: list[Tensor]) -> list[dict[str, Tensor]]:
        assert pictures[0].shape == (3, 60, 80) and pictures[0].max() <= 1
        return [self.found]


@pytest.mark.parametrize(
    ("boxes", "scores", "count", "kept"),
    [
        pytest.param(
            [[0, 0, 10, 10], [40, 0, 60, 10]],
            [0.2, 0.9],
            19,
            [1, 0],
            id="by falling score",
        ),
        # [0,0,20,10] and [0,0,18,10]: intersection 180, union 200, IoU 0.9 > 0.7
        pytest.param(
            [[0, 0, 20, 10], [0, 0, 18, 10]],
            [0.5, 0.6],
            19,
            [1],
            id="same place under two classes",
        ),
        # [0,0,20,10] and [0,0,10,10]: intersection 100, union 200, IoU 0.5
        pytest.param(
            [[0, 0, 20, 10], [0, 0, 10, 10]],
            [0.6, 0.5],
            19,
            [0, 1],
            id="half overlap: both stay",
        ),
        pytest.param(
            [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]],
            [0.3, 0.2, 0.1],
            2,
            [0, 1],
            id="top 2",
        ),
        pytest.param(
            [[0, 0, 10, 0.5], [20, 0, 30, 10]],
            [0.9, 0.1],
            19,
            [1],
            id="thinner than a pixel",
        ),
        pytest.param([], [], 19, [], id="nothing found"),
    ],
)
def test_detector_boxes(
    boxes: list[list[float]], scores: list[float], count: int, kept: list[int]
) -> None:
    regions = DetectorBoxes(FixedDetector(boxes, scores), count).propose(PHOTO)
    check(regions)
    assert regions.boxes_xyxy[1:].tolist() == [boxes[row] for row in kept]


def test_detector_clips_to_the_photo() -> None:
    regions = DetectorBoxes(FixedDetector([[-5, 10, 95, 70]], [0.5])).propose(PHOTO)
    assert regions.boxes_xyxy[1].tolist() == [0, 10, 80, 60]


def test_torchvision_detector() -> None:
    source: RegionSource = DetectorBoxes(tiny_detector(), count=5)
    regions = source.propose(PHOTO)
    check(regions)
    assert 2 <= len(regions) <= 6
    again = source.propose(PHOTO)
    np.testing.assert_array_equal(regions.boxes_xyxy, again.boxes_xyxy)


def test_local_weights(tmp_path: Path) -> None:
    first, second = tiny_detector(0), tiny_detector(1)
    save_file(first.state_dict(), tmp_path / "detector.safetensors")
    load_weights(second, tmp_path / "detector.safetensors")
    expected, got = (
        DetectorBoxes(detector).propose(PHOTO) for detector in (first, second)
    )
    np.testing.assert_array_equal(expected.boxes_xyxy, got.boxes_xyxy)


def test_published_architecture_with_random_weights() -> None:
    torch.manual_seed(0)
    source = DetectorBoxes.load(
        "fasterrcnn_mobilenet_v3_large_320_fpn", weights=None, count=3
    )
    check(source.propose(PHOTO))


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        pytest.param(None, FileNotFoundError, "no such file", id="no file"),
        pytest.param(
            b"not tensors",
            ValueError,
            "expected the weights of this network",
            id="not safetensors",
        ),
        pytest.param(
            {"x": torch.zeros(2)}, ValueError, "Missing key", id="other tensors"
        ),
    ],
)
def test_bad_weights(
    tmp_path: Path, content: Any, error: type[Exception], message: str
) -> None:
    path = tmp_path / "w.safetensors"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        save_file(content, path)
    with pytest.raises(error, match=message):
        load_weights(nn.Linear(2, 2), path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(
            {"architecture": "yolo"},
            "expected one of fasterrcnn_resnet50_fpn_v2",
            id="unknown name",
        ),
        pytest.param(
            {"architecture": "retinanet_resnet50_fpn"},
            "expected one of",
            id="not a Faster R-CNN",
        ),
    ],
)
def test_bad_detector(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DetectorBoxes.load(weights=None, **options)


@pytest.mark.parametrize(("count", "nms_iou"), [(0, 0.7), (3, 0.0), (3, 1.5)])
def test_bad_detector_numbers(count: int, nms_iou: float) -> None:
    with pytest.raises(ValueError, match="expected count >= 1"):
        DetectorBoxes(tiny_detector(), count, nms_iou)


# rows (0, 1, 2) and (3, 4, 5): mean (1.5, 2.5, 3.5)
FEATURES = np.arange(6, dtype=np.float32).reshape(2, 3)
BOXES = np.array([[10, 10, 20, 20], [5, 0, 40, 30]], dtype=np.float32)


@pytest.mark.parametrize(
    ("values", "boxes", "features"),
    [
        pytest.param(
            {"features": FEATURES, "boxes": BOXES},
            BOXES,
            [[1.5, 2.5, 3.5], [0, 1, 2], [3, 4, 5]],
            id="mean first",
        ),
        # boxes of a 40x30 picture in a photo of 80x60: twice as large
        pytest.param(
            {"features": FEATURES, "boxes": BOXES, "image_w": 40, "image_h": 30},
            BOXES * 2,
            [[1.5, 2.5, 3.5], [0, 1, 2], [3, 4, 5]],
            id="boxes of a smaller copy",
        ),
        pytest.param(
            {"features": FEATURES, "boxes": BOXES, "scores": np.array([0.1, 0.2])},
            BOXES[::-1],
            [[1.5, 2.5, 3.5], [3, 4, 5], [0, 1, 2]],
            id="sorted by score",
        ),
        pytest.param(
            {
                "features": FEATURES,
                "boxes": np.array([[0, 0, 80, 59.5], [10, 10, 20, 20]]),
            },
            [[10, 10, 20, 20]],
            FEATURES,
            id="first box is the whole photo",
        ),
        pytest.param(
            {
                "features": FEATURES,
                "boxes": np.array([[10, 10, 20, 20], [60, -1, 80.4, 60.2]]),
            },
            [[10, 10, 20, 20], [60, 0, 80, 60]],
            [[1.5, 2.5, 3.5], [0, 1, 2], [3, 4, 5]],
            id="rounding over the edge is clipped",
        ),
    ],
)
def test_precomputed_npz(
    tmp_path: Path, values: dict[str, Any], boxes: Any, features: Any
) -> None:
    np.savez(tmp_path / "dog.npz", **values)
    for path in (tmp_path, tmp_path / "dog.npz"):
        regions = PrecomputedRegions(path).read("dog", (80, 60))
        check(regions)
        np.testing.assert_allclose(regions.boxes_xyxy[1:], boxes)
        np.testing.assert_allclose(regions.features, features)


def test_precomputed_size_from_the_file(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "dog.npz", features=FEATURES, boxes=BOXES, image_w=80, image_h=60
    )
    check(PrecomputedRegions(tmp_path).read("dog"))


def test_precomputed_finds_an_opened_photo(tmp_path: Path) -> None:
    PHOTO.save(tmp_path / "dog.png")
    np.save(tmp_path / "dog.npy", FEATURES)
    np.save(tmp_path / "dog_boxes.npy", BOXES)
    with Image.open(tmp_path / "dog.png") as image:
        regions = PrecomputedRegions(tmp_path).propose(image)
    check(regions)
    np.testing.assert_array_equal(regions.boxes_xyxy[1:], BOXES)


def test_precomputed_whole_set(tmp_path: Path) -> None:
    np.save(tmp_path / "train.npy", np.stack([FEATURES, FEATURES + 10]))
    np.save(tmp_path / "train_boxes.npy", np.stack([BOXES, BOXES + 1]))
    regions = PrecomputedRegions(tmp_path / "train.npy").read("1", (80, 60))
    np.testing.assert_array_equal(regions.boxes_xyxy[1:], BOXES + 1)
    np.testing.assert_array_equal(
        regions.features, [[11.5, 12.5, 13.5], [10, 11, 12], [13, 14, 15]]
    )


@pytest.mark.parametrize(
    ("files", "name", "size_wh", "message"),
    [
        pytest.param(
            {},
            "dog",
            (80, 60),
            "expected dog.npz or dog.npy",
            id="nothing of that name",
        ),
        pytest.param(
            {"dog.npz": {"boxes": BOXES}},
            "dog",
            (80, 60),
            r"\['features'\] missing",
            id="no features",
        ),
        pytest.param(
            {"dog.npz": b"PK\x03\x04rest"},
            "dog",
            (80, 60),
            "expected an npz file",
            id="damaged npz",
        ),
        pytest.param(
            {"dog.npz": b""}, "dog", (80, 60), "expected an npz file", id="empty npz"
        ),
        pytest.param(
            {"dog.npy": FEATURES},
            "dog",
            (80, 60),
            "dog_boxes.npy: expected the boxes",
            id="no boxes",
        ),
        pytest.param(
            {"dog.npy": b"", "dog_boxes.npy": BOXES},
            "dog",
            (80, 60),
            "expected npy files",
            id="empty npy",
        ),
        pytest.param(
            {"dog.npy": np.array([{}]), "dog_boxes.npy": BOXES},
            "dog",
            (80, 60),
            "expected npy files",
            id="pickled",
        ),
        pytest.param(
            {"dog.npz": {"features": FEATURES, "boxes": BOXES}},
            "dog",
            None,
            "give the photo's size_wh",
            id="no size",
        ),
        pytest.param(
            {"dog.npz": {"features": FEATURES, "boxes": BOXES[:1]}},
            "dog",
            (80, 60),
            r"boxes \(N, 4\)",
            id="box short",
        ),
        pytest.param(
            {"dog.npz": {"features": FEATURES, "boxes": BOXES, "scores": np.ones(3)}},
            "dog",
            (80, 60),
            r"expected scores \(2,\), got \(3,\)",
            id="a score too many",
        ),
        pytest.param(
            {"dog.npz": {"features": FEATURES, "boxes": BOXES + 100}},
            "dog",
            (80, 60),
            "dog.npz: box",
            id="outside",
        ),
        pytest.param(
            {"set.npy": np.stack([FEATURES]), "set_boxes.npy": np.stack([BOXES])},
            "set",
            (80, 60),
            "row number below 1",
            id="set without a row number",
        ),
    ],
)
def test_precomputed_errors(
    tmp_path: Path,
    files: dict[str, Any],
    name: str,
    size_wh: tuple[int, int] | None,
    message: str,
) -> None:
    for file, content in files.items():
        if isinstance(content, bytes):
            (tmp_path / file).write_bytes(content)
        elif isinstance(content, dict):
            np.savez(tmp_path / file, **content)
        else:
            np.save(tmp_path / file, content, allow_pickle=True)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        PrecomputedRegions(tmp_path).read(name, size_wh)


def test_precomputed_needs_a_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no file name to look for"):
        PrecomputedRegions(tmp_path).propose(PHOTO)
    with pytest.raises(FileNotFoundError, match="nothing is there"):
        PrecomputedRegions(tmp_path / "none")
