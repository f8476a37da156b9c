"""Networks that name what is in a photo, each behind one `detect`.

YOLOX runs on onnxruntime, torchvision's detectors on torch; both know the 80 things of
COCO. (`regions.sources` uses detectors for their boxes alone.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regiontalk import boxes as box_ops
from regiontalk.records import FloatArray, checked_boxes
from regiontalk.regions.sources import ARCHITECTURES, detector_network

Reads = Literal["labels", "captions"]

_GREY = 114  # what fills the square beside a letterboxed photo, as YOLOX was trained
_STRIDES = (8, 16, 32)


@dataclass(frozen=True)
class Detection:
    """Something in a photo.

    Attributes:
        label: a class name, or a caption of the region.
        box: x1, y1, x2, y2 in pixels of the photo.
        score: 0..1, how sure its finder is.
    """

    label: str
    box: tuple[float, float, float, float]
    score: float

    def __post_init__(self) -> None:
        checked_boxes([self.box])


class Detector(Protocol):
    """Anything that names what is in a photo."""

    @property
    def reads(self) -> Reads:
        """What its labels are: class names, or captions."""

    def detect(self, image: Image.Image) -> list[Detection]:
        """The things of an RGB photo by falling score; none where nothing is found."""


class YoloxDetector:
    """A YOLOX network exported to ONNX, without its decoding: output (1, cells, 5 + classes)."""

    reads: Reads = "labels"

    def __init__(
        self,
        session: Any,
        names: Sequence[str],
        min_score: float = 0.35,
        nms_iou: float = 0.5,
    ) -> None:
        """Take an open session.

        Args:
            session: an `onnxruntime.InferenceSession` with one square input (1, 3, S, S).
            names: of the classes, in the network's order.
            min_score: of objectness times class.
            nms_iou: of two boxes of one class over this IoU the better stays.

        Raises:
            ValueError: the network's input is not (1, 3, S, S).
        """
        first_input, *more_inputs = session.get_inputs()
        shape = list(first_input.shape)
        side = shape[-1] if shape else None
        is_square = (
            isinstance(side, int) and shape[1:] == [3, side, side] and len(shape) == 4
        )
        if more_inputs or not is_square:
            raise ValueError(
                f"yolox: expected one input (1, 3, S, S), got {shape}; is this a YOLOX export?"
            )
        self._session = session
        self._input = first_input.name
        self._size = int(shape[2])
        self._names = tuple(names)
        self._min_score = min_score
        self._nms_iou = nms_iou

    @classmethod
    def load(cls, path: Path, min_score: float = 0.35) -> YoloxDetector:
        """A network of COCO's 80 classes from a file.

        Raises:
            FileNotFoundError: no such file.
            ImportError: onnxruntime is not installed.
            ValueError: the file is no network of this kind.
        """
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: expected a YOLOX network, an .onnx file; no such file"
            )
        try:
            import onnxruntime
        except ImportError as error:
            raise ImportError(
                f"{path}: ONNX networks need onnxruntime: pip install 'regiontalk[objects]'"
            ) from error
        options = onnxruntime.SessionOptions()
        try:
            session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        # onnxruntime raises a class of its own for every kind of damage
        except Exception as error:
            raise ValueError(
                f"{path}: expected an ONNX network ({str(error).splitlines()[0]})"
            ) from error
        return cls(session, coco_names(), min_score)

    def detect(self, image: Image.Image) -> list[Detection]:
        """The things of a photo.

        Raises:
            ValueError: the network's output is not that of YOLOX for these classes.
        """
        pixels, scale = letterbox(image, self._size)
        outputs = self._session.run(None, {self._input: pixels[None]})
        raw = np.asarray(outputs[0])
        cells = sum((self._size // stride) ** 2 for stride in _STRIDES)
        expected = (1, cells, 5 + len(self._names))
        if raw.shape != expected:
            raise ValueError(f"yolox: expected output {expected}, got {raw.shape}")
        network_boxes, scores, classes = decode_yolox(raw[0], self._size)
        return _detections(
            network_boxes / scale,
            scores,
            classes,
            names=self._names,
            size_wh=image.size,
            min_score=self._min_score,
            nms_iou=self._nms_iou,
        )


def letterbox(image: Image.Image, size: int) -> tuple[FloatArray, float]:
    """A photo in the top left of a grey square.

    BGR (3, size, size) in 0..255, and network pixels a photo's pixel.
    """
    scale = min(size / image.width, size / image.height)
    width = max(1, round(image.width * scale))
    height = max(1, round(image.height * scale))
    fitted = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    square = Image.new("RGB", (size, size), (_GREY, _GREY, _GREY))
    square.paste(fitted, (0, 0))
    rgb = np.asarray(square, dtype=np.float32)
    bgr = rgb[:, :, ::-1].transpose(2, 0, 1)
    return np.ascontiguousarray(bgr), scale


def decode_yolox(
    raw: NDArray[Any], size: int
) -> tuple[FloatArray, FloatArray, NDArray[np.int64]]:
    """What the cells of a YOLOX network say.

    Centre = (cell + offset) * stride, side = exp(value) * stride.

    Args:
        raw: (cells, 5 + classes): offset x, y, logarithm of width, height, objectness and class
            chances in 0..1; the grids of strides 8, 16 and 32 one after the other, row by row.
        size: side of the network's image.

    Returns:
        boxes (cells, 4) in network pixels, objectness times the best class's chance (cells,), that
        class (cells,).
    """
    cell_corners, cell_strides = _cells(size)
    offsets, log_sizes = raw[:, :2], raw[:, 2:4]
    objectness, chances = raw[:, 4], raw[:, 5:]
    centres = (offsets + cell_corners) * cell_strides
    half_wh = np.exp(np.minimum(log_sizes, 20.0)) * cell_strides / 2
    boxes = np.concatenate([centres - half_wh, centres + half_wh], 1)
    scores = objectness * chances.max(1)
    return boxes.astype(np.float32), scores.astype(np.float32), chances.argmax(1)


def _cells(size: int) -> tuple[NDArray[np.int64], FloatArray]:
    """Column and row of every cell in its grid (cells, 2), and its stride (cells, 1)."""
    corners, strides = [], []
    for stride in _STRIDES:
        side = size // stride
        rows, columns = np.divmod(np.arange(side * side), side)
        corners.append(np.stack([columns, rows], 1))
        strides.append(np.full((side * side, 1), stride, dtype=np.float32))
    return np.concatenate(corners), np.concatenate(strides)


class TorchvisionDetector:
    """A torchvision detector with its class names."""

    reads: Reads = "labels"

    def __init__(
        self, network: Any, names: Sequence[str], min_score: float = 0.5
    ) -> None:
        """Take a built detector.

        Args:
            network: called with a list of float32 (3, height, width) tensors in 0..1, returns for
                each a dictionary with ``boxes``, ``scores`` and ``labels``, as torchvision's
                detection models do.
            names: of the labels, in their order.
            min_score: weaker boxes are left out.
        """
        self._network = network.eval()
        self._names = tuple(names)
        self._min_score = min_score

    @classmethod
    def load(
        cls, weights: str | Path | None = "DEFAULT", device: str = "cpu"
    ) -> TorchvisionDetector:
        """A Faster R-CNN; ``weights`` as `regions.sources.DetectorBoxes.load` takes them.

        Raises:
            FileNotFoundError: no such file.
            ValueError: a file whose tensors do not fit.
            OSError: the published weights cannot be downloaded.
        """
        from torchvision.models import get_model_weights

        names = get_model_weights(ARCHITECTURES[0]).DEFAULT.meta["categories"]
        network = detector_network(ARCHITECTURES[0], weights).to(device)
        return cls(network, names)

    def detect(self, image: Image.Image) -> list[Detection]:
        """The things of a photo."""
        import torch

        device = next(self._network.parameters()).device
        rgb = torch.from_numpy(np.array(image.convert("RGB")))
        pixels = rgb.permute(2, 0, 1).float() / 255  # (3, h, w)
        with torch.inference_mode():
            (output,) = self._network([pixels.to(device)])
        arrays = {name: value.cpu().numpy() for name, value in output.items()}
        return _detections(
            arrays["boxes"],
            arrays["scores"],
            arrays["labels"],
            names=self._names,
            size_wh=image.size,
            min_score=self._min_score,
            nms_iou=0.7,
        )


def coco_names() -> list[str]:
    """The 80 classes of COCO in their order.

    From torchvision's list of 91 numbers, of which 11 have no things.
    """
    from torchvision.models import get_model_weights

    names = get_model_weights(ARCHITECTURES[0]).DEFAULT.meta["categories"]
    return [name for name in names if name not in ("__background__", "N/A")]


def _detections(
    boxes_xyxy: NDArray[Any],
    scores: NDArray[Any],
    classes: NDArray[Any],
    *,
    names: Sequence[str],
    size_wh: tuple[int, int],
    min_score: float,
    nms_iou: float,
) -> list[Detection]:
    """The boxes that are sure enough, inside the photo, by falling score.

    The best of each heap of one class.
    """
    is_sure = scores >= min_score
    boxes = box_ops.clip(np.asarray(boxes_xyxy[is_sure], dtype=np.float32), size_wh)
    scores, classes = scores[is_sure], classes[is_sure]
    has_pixels = (boxes[:, 2:] - boxes[:, :2]).min(axis=1) >= 1
    boxes, scores, classes = boxes[has_pixels], scores[has_pixels], classes[has_pixels]
    # boxes of different classes are moved so far apart that none suppresses another
    class_shift = classes.astype(np.float32)[:, None] * (max(size_wh) + 1)
    rows = box_ops.non_maximum_suppression(boxes + class_shift, scores, nms_iou)
    return [
        Detection(
            label=names[int(classes[row])],
            box=tuple(boxes[row].tolist()),
            score=float(min(scores[row], 1.0)),
        )
        for row in rows.tolist()
    ]
