"""Where the boxes of a photo come from: one interface, whoever proposes them.

A source turns a photo into `Regions`: row 0 the whole photo, then boxes in pixels of that photo.
The boxes may be the user's, a grid's, a torchvision detector's (the paper's way, section 3.1.1 of
[1]: the top 19 of a detector and the whole photo), or somebody else's with their features. The
package's own proposer stands in proposals.py behind the same interface. No source knows what a
thing is called: a detector's class names are never read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regiontalk import boxes
from regiontalk.images.preprocessing import Preprocessing
from regiontalk.records import FloatArray, Regions, checked_boxes

ARCHITECTURES = (
    "fasterrcnn_resnet50_fpn_v2",
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_mobilenet_v3_large_fpn",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
)


class RegionSource(Protocol):
    """Anything that proposes regions."""

    def propose(self, image: Image.Image) -> Regions:
        """The regions of an RGB photo: row 0 the whole photo, the others by falling score."""


class Grid:
    """Equal cells, row by row. A grid knows nothing of the photo, so every cell has score 0.5.

    >>> Grid(rows=1, columns=2).propose(Image.new("RGB", (40, 30))).boxes_xyxy.tolist()
    [[0.0, 0.0, 40.0, 30.0], [0.0, 0.0, 20.0, 30.0], [20.0, 0.0, 40.0, 30.0]]
    """

    def __init__(self, rows: int, columns: int) -> None:
        """Take the number of cells each way.

        Raises:
            ValueError: one of them is below 1.
        """
        if rows < 1 or columns < 1:
            raise ValueError(f"grid: expected at least 1x1 cells, got {rows}x{columns}")
        self._rows = rows
        self._columns = columns

    def propose(self, image: Image.Image) -> Regions:
        """The whole photo and rows x columns cells."""
        width, height = image.size
        x = np.linspace(0, width, self._columns + 1)
        y = np.linspace(0, height, self._rows + 1)
        left, top = np.meshgrid(x[:-1], y[:-1])
        right, bottom = np.meshgrid(x[1:], y[1:])
        cells = np.stack([left, top, right, bottom], axis=-1).reshape(-1, 4)
        scores = np.full(len(cells), 0.5)
        return _with_whole_photo(cells, scores, image.size)


class DetectorBoxes:
    """The best boxes of a torchvision detector, whatever class each was found for."""

    def __init__(self, detector: Any, count: int = 19, nms_iou: float = 0.7) -> None:
        """Take a built detector.

        Args:
            detector: called with a list of float32 (3, height, width) tensors in 0..1, returns for
                each a dictionary with ``boxes`` (N, 4) xyxy in pixels and ``scores`` (N,), as
                torchvision's detection models do.
            count: boxes kept beside the whole photo; 19 in [1].
            nms_iou: of two boxes of different classes over this IoU only the better stays.

        Raises:
            ValueError: the count is below 1 or ``nms_iou`` outside 0..1.
        """
        if count < 1 or not 0 < nms_iou <= 1:
            raise ValueError(
                f"detector: expected count >= 1 and nms_iou in 0..1, got {count} and {nms_iou}"
            )
        self._detector = detector.eval()
        self._count = count
        self._nms_iou = nms_iou

    @classmethod
    def load(
        cls,
        architecture: str = ARCHITECTURES[0],
        weights: str | Path | None = "DEFAULT",
        count: int = 19,
        nms_iou: float = 0.7,
        device: str = "cpu",
    ) -> DetectorBoxes:
        """A torchvision Faster R-CNN.

        Args:
            architecture: one of `ARCHITECTURES`.
            weights: "DEFAULT" downloads the published weights; a path names a local state dict in a
                safetensors file; None leaves random ones.
            count: see the constructor.
            nms_iou: see the constructor.
            device: where it runs.

        Raises:
            ValueError: an unknown architecture, or a file whose tensors do not fit it.
            FileNotFoundError: no such file.
        """
        detector = detector_network(architecture, weights).to(device)
        return cls(detector, count, nms_iou)

    def propose(self, image: Image.Image) -> Regions:
        """The whole photo and up to `count` boxes by falling score."""
        import torch

        device = next(self._detector.parameters()).device
        rgb = torch.from_numpy(np.array(image.convert("RGB")))
        pixels = rgb.permute(2, 0, 1).float() / 255  # (3, h, w)
        with torch.inference_mode():
            (output,) = self._detector([pixels.to(device)])
        detected = output["boxes"].float().cpu().numpy()
        scores = output["scores"].float().cpu().numpy()
        detected = boxes.clip(detected, image.size)
        # thinner than a pixel: nothing to see
        sides_wh = detected[:, 2:] - detected[:, :2]
        is_solid = sides_wh.min(axis=1) >= 1
        detected, scores = detected[is_solid], scores[is_solid]
        chosen = boxes.non_maximum_suppression(
            detected, scores, self._nms_iou, self._count
        )
        return _with_whole_photo(detected[chosen], scores[chosen], image.size)


def detector_network(architecture: str, weights: str | Path | None) -> Any:
    """A torchvision Faster R-CNN; arguments and errors as those of `DetectorBoxes.load`."""
    if architecture not in ARCHITECTURES:
        raise ValueError(
            f"architecture: expected one of {', '.join(ARCHITECTURES)}, got {architecture!r}"
        )
    published = "DEFAULT" if weights == "DEFAULT" else None
    # here: without a detector nothing needs torchvision
    from torchvision.models import get_model

    # Objectness matters for boxes, not certainty about a class: ask for more and weaker ones than
    # the default 0.05.
    detector = get_model(
        architecture,
        weights=published,
        weights_backbone=None,
        box_score_thresh=0.01,
        box_detections_per_img=300,
    )
    if weights is not None and published is None:
        load_weights(detector, Path(weights))
    return detector


def load_weights(network: Any, path: Path) -> None:
    """Fill a network from a safetensors state dict; every tensor must be there and fit.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not safetensors, or its tensors are not the network's.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: expected a safetensors file with the network's weights; no such file"
        )
    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        first = str(error).strip().splitlines()
        raise ValueError(
            f"{path}: expected the weights of this network ({' '.join(first[:2])})"
        ) from error


class PrecomputedRegions:
    """Boxes and features that somebody else computed, as the bottom-up and SCAN sets come.

    Layouts, N regions a photo of F features each:

    - ``PHOTO.npz`` with ``features`` (N, F) and ``boxes`` (N, 4), and perhaps ``image_w``,
      ``image_h`` (the image that the boxes refer to) and ``scores`` (N,);
    - ``PHOTO.npy`` (N, F) with ``PHOTO_boxes.npy`` (N, 4);
    - ``SET.npy`` (photos, N, F) with ``SET_boxes.npy`` (photos, N, 4): the photo's name is its row
      number.

    These sets hold no vector of the whole photo: unless the first box is the whole photo already,
    row 0 gets the mean of the region vectors.
    """

    def __init__(self, path: Path) -> None:
        """Name a folder of such files, or one of them.

        Raises:
            FileNotFoundError: nothing is there.
        """
        if not path.exists():
            raise FileNotFoundError(
                f"{path}: expected a folder or a file of precomputed regions; nothing is there"
            )
        self.path = path

    def holds(self, name: str) -> bool:
        """Whether there are regions for a photo of exactly that name.

        One photo's file is for that photo alone.

        Raises:
            ValueError: the file of a whole set is damaged.
        """
        if self.path.is_dir():
            return self._find(name) is not None
        if self.path.suffix == ".npy":
            values = _read_npy(self.path)
            if values.ndim == 3:  # a whole set
                return name.isdecimal() and int(name) < len(values)
        return self.path.stem == name

    def stamp(self, name: str) -> tuple[int, int]:
        """Size and time of the file of one photo, by which a change of it is seen.

        Raises:
            FileNotFoundError: the folder has nothing of that name.
        """
        status = self._file(name).stat()
        return status.st_size, status.st_mtime_ns

    def propose(self, image: Image.Image) -> Regions:
        """The regions of a photo that was opened from a file, whose name finds them.

        Or of the one file's photo.

        Raises:
            FileNotFoundError: the folder has nothing of that name.
            ValueError: the image has no file name to look for, or the file is not as described.
        """
        name = Path(str(getattr(image, "filename", "") or "")).stem
        if self.path.is_dir() and not name:
            raise ValueError(
                "precomputed regions: this image has no file name to look for; call "
                "read(name, size_wh)"
            )
        return self.read(name, image.size)

    def read(self, name: str, size_wh: tuple[int, int] | None = None) -> Regions:
        """The regions of one photo.

        Args:
            name: the photo's file name without its suffix; a row number where the file holds a
                whole set.
            size_wh: the photo's width and height in pixels; None takes the file's own ``image_w``,
                ``image_h``.

        Raises:
            FileNotFoundError: the folder has nothing of that name.
            ValueError: the file is damaged, not as described, or nobody says how large the image
                is.
        """
        file = self._file(name)
        arrays = _read_npz(file) if file.suffix == ".npz" else _read_pair(file, name)
        return _regions(arrays, size_wh, file)

    def _file(self, name: str) -> Path:
        """The file of a photo; the one file that was named stands for every photo."""
        if self.path.is_file():
            return self.path
        file = self._find(name)
        if file is None:
            raise FileNotFoundError(
                f"{self.path}: expected {name}.npz or {name}.npy with "
                f"{name}_boxes.npy; found neither"
            )
        return file

    def _find(self, name: str) -> Path | None:
        """The file of a photo in the folder; None where it has none."""
        for suffix in (".npz", ".npy"):
            file = self.path / f"{name}{suffix}"
            if file.is_file():
                return file
        return None


def _read_npz(file: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an npz file."""
    try:
        with np.load(file, allow_pickle=False) as archive:
            values = {key: archive[key] for key in archive.files}
    # zipfile, zlib and numpy each have their own errors for a damaged archive
    except Exception as error:
        raise ValueError(
            f"{file}: expected an npz file of plain arrays ({error})"
        ) from error
    if missing := {"features", "boxes"} - set(values):
        raise ValueError(
            f"{file}: expected the keys features and boxes, {sorted(missing)} missing "
            f"in {sorted(values)}"
        )
    return values


def _read_pair(file: Path, name: str) -> dict[str, NDArray[Any]]:
    """Features and boxes of one photo from two npy files; of a whole set only its row is read."""
    beside = file.with_name(f"{file.stem}_boxes.npy")
    if not beside.is_file():
        raise FileNotFoundError(f"{beside}: expected the boxes of {file.name} there")
    features, region_boxes = _read_npy(file), _read_npy(beside)
    if features.ndim != 3:
        return {"features": features, "boxes": region_boxes}
    if region_boxes.shape[:2] != features.shape[:2]:
        raise ValueError(
            f"{file}: expected features (photos, N, F) and boxes (photos, N, 4), "
            f"got {features.shape} and {region_boxes.shape}"
        )
    if not name.isdecimal() or int(name) >= len(features):
        raise ValueError(
            f"{file}: expected a row number below {len(features)}, got {name!r}"
        )
    row = int(name)
    return {"features": features[row], "boxes": region_boxes[row]}


def _read_npy(file: Path) -> NDArray[Any]:
    """An npy file, memory-mapped."""
    try:
        values: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(
            f"{file}: expected npy files of plain numbers ({error})"
        ) from error
    return values


def _regions(
    arrays: dict[str, NDArray[Any]], size_wh: tuple[int, int] | None, file: Path
) -> Regions:
    """Checked regions in pixels of the photo."""
    features = np.asarray(arrays["features"], np.float32)
    region_boxes = np.asarray(arrays["boxes"], np.float32)
    if features.ndim != 2 or region_boxes.shape != (len(features), 4):
        raise ValueError(
            f"{file}: expected features (N, F) and boxes (N, 4), "
            f"got {features.shape} and {region_boxes.shape}"
        )
    annotated_wh = _annotated_size(arrays) or size_wh  # what the boxes refer to
    size_wh = size_wh or annotated_wh
    if size_wh is None or annotated_wh is None:
        raise ValueError(
            f"{file}: has no image_w and image_h; give the photo's size_wh"
        )
    scores = _scores(arrays, len(features), file)
    order = np.argsort(-scores, kind="stable")
    try:
        rescaled = boxes.rescale(region_boxes, annotated_wh, size_wh)
        checked = checked_boxes(boxes.clip(rescaled, size_wh))
        return _with_whole_photo(
            checked[order], scores[order], size_wh, features[order]
        )
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def _scores(arrays: dict[str, NDArray[Any]], count: int, file: Path) -> FloatArray:
    """The scores (N,) of a file; ones where it has none."""
    scores = np.asarray(arrays.get("scores", np.ones(count)), np.float32)
    if scores.shape != (count,):
        raise ValueError(f"{file}: expected scores ({count},), got {scores.shape}")
    return scores


def _annotated_size(arrays: dict[str, NDArray[Any]]) -> tuple[int, int] | None:
    """Width and height of the image that a file's boxes refer to; None where it does not say."""
    if {"image_w", "image_h"} <= set(arrays):
        return int(arrays["image_w"]), int(arrays["image_h"])
    return None


def in_network_pixels(
    photos: Sequence[Regions], preprocessing: Preprocessing, count: int
) -> tuple[FloatArray, FloatArray]:
    """What a source found in B photos as one batch of N = ``count`` places a photo.

    Returns:
        boxes (B, N, 4) in network pixels and scores (B, N); the whole photo and 0 fill the places
        that are left.
    """
    size = float(preprocessing.size)
    whole_photo = np.array([0, 0, size, size], dtype=np.float32)
    network_boxes = np.tile(whole_photo, (len(photos), count, 1))
    scores = np.zeros((len(photos), count), dtype=np.float32)
    for row, regions in enumerate(photos):
        inside = preprocessing.to_network(regions.boxes_xyxy, regions.size_wh)
        network_boxes[row, : len(regions)] = inside
        # 0 is an empty place
        scores[row, : len(regions)] = regions.scores.clip(min=1e-6)
    return network_boxes, scores


def _with_whole_photo(
    boxes_xyxy: NDArray[Any],
    scores: NDArray[Any],
    size_wh: tuple[int, int],
    features: FloatArray | None = None,
) -> Regions:
    """Put the whole photo in row 0.

    A first box within a pixel of it that brings features is taken for it.
    """
    whole_photo = np.array([[0, 0, *size_wh]], dtype=np.float32)
    if features is not None:
        if len(boxes_xyxy) and np.abs(boxes_xyxy[0] - whole_photo[0]).max() <= 1:
            boxes_xyxy, scores = boxes_xyxy[1:], scores[1:]
        else:
            photo_features = np.zeros((1, features.shape[1]))
            if len(features):
                photo_features = features.mean(axis=0, keepdims=True)
            features = np.concatenate([photo_features, features]).astype(np.float32)
    all_boxes = np.concatenate([whole_photo, boxes_xyxy.reshape(-1, 4)])
    all_scores = np.concatenate([[1.0], scores])
    return Regions(
        all_boxes.astype(np.float32), all_scores.astype(np.float32), size_wh, features
    )
