"""Who says what is in a photo: detectors with class names, or our own region captions, behind one `detect`.

YOLOX runs on onnxruntime, torchvision's detectors on torch; both know the 80 things of COCO. What
they find goes to `regiontalk.objects.captioner`, which makes a sentence of it. (`regions.sources`
uses detectors for their boxes alone.)
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
from regiontalk.captioner import RegionCaptioner
from regiontalk.records import FloatArray, checked_boxes
from regiontalk.regions.sources import ARCHITECTURES, detector_network

KINDS = (
    "yolox:FILE.onnx",
    "torchvision",
    "torchvision:WEIGHTS.safetensors",
    "regions",
    "regions:MODEL",
)
Reads = Literal["labels", "captions"]

_GREY = 114  # what fills the square beside a letterboxed photo, as YOLOX was trained
_STRIDES = (8, 16, 32)


@dataclass(frozen=True)
class Thing:
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

    def detect(self, image: Image.Image) -> list[Thing]:
        """The things of an RGB photo by falling score; none where nothing is found."""


class YoloxDetector:
    """A YOLOX network exported to ONNX, without its decoding: output (1, cells, 5 + classes)."""

    reads: Reads = "labels"

    def __init__(
        self, session: Any, names: Sequence[str], threshold: float = 0.35, overlap: float = 0.5
    ) -> None:
        """Take an open session.

        Args:
            session: an `onnxruntime.InferenceSession` with one square input (1, 3, S, S).
            names: of the classes, in the network's order.
            threshold: least score, objectness times class.
            overlap: of two boxes of one class over this IoU the better stays.

        Raises:
            ValueError: the network's input is not (1, 3, S, S).
        """
        (entry, *more) = session.get_inputs()
        shape = list(entry.shape)
        if (
            more
            or len(shape) != 4
            or shape[1] != 3
            or not isinstance(shape[2], int)
            or shape[2] != shape[3]
        ):
            raise ValueError(
                f"yolox: expected one input (1, 3, S, S), got {shape}; is this a YOLOX export?"
            )
        self._session, self._input, self._size = session, entry.name, int(shape[2])
        self._names, self._threshold, self._overlap = tuple(names), threshold, overlap

    @classmethod
    def load(cls, path: Path, threshold: float = 0.35) -> YoloxDetector:
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
        except Exception as error:  # onnxruntime raises a class of its own for every kind of damage
            raise ValueError(
                f"{path}: expected an ONNX network ({str(error).splitlines()[0]})"
            ) from error
        return cls(session, coco_names(), threshold)

    def detect(self, image: Image.Image) -> list[Thing]:
        """The things of a photo.

        Raises:
            ValueError: the network's output is not that of YOLOX for these classes.
        """
        pixels, scale = letterbox(image, self._size)
        raw = np.asarray(self._session.run(None, {self._input: pixels[None]})[0])
        cells = sum((self._size // stride) ** 2 for stride in _STRIDES)
        if raw.shape != (1, cells, 5 + len(self._names)):
            raise ValueError(
                f"yolox: expected output (1, {cells}, {5 + len(self._names)}), got {raw.shape}"
            )
        boxes, scores, classes = decode_yolox(raw[0], self._size)
        return _things(
            boxes / scale, scores, classes, self._names, image.size, self._threshold, self._overlap
        )


def letterbox(image: Image.Image, size: int) -> tuple[FloatArray, float]:
    """A photo in the top left of a grey square: BGR (3, size, size) in 0..255, and network pixels a photo's pixel."""
    scale = min(size / image.width, size / image.height)
    fitted = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    square = Image.new("RGB", (size, size), (_GREY,) * 3)
    square.paste(image.convert("RGB").resize(fitted, Image.Resampling.BILINEAR), (0, 0))
    return np.ascontiguousarray(
        np.asarray(square, dtype=np.float32)[:, :, ::-1].transpose(2, 0, 1)
    ), scale


def decode_yolox(raw: NDArray[Any], size: int) -> tuple[FloatArray, FloatArray, NDArray[np.int64]]:
    """What the cells of a YOLOX network say: centre = (cell + offset) * stride, side = exp(value) * stride.

    Args:
        raw: (cells, 5 + classes): offset x, y, logarithm of width, height, objectness and class
            chances in 0..1; the grids of strides 8, 16 and 32 one after the other, row by row.
        size: side of the network's picture.

    Returns:
        boxes (cells, 4) in network pixels, objectness times the best class's chance (cells,), that
        class (cells,).
    """
    corners, strides = [], []
    for stride in _STRIDES:
        side = size // stride
        rows, columns = np.divmod(np.arange(side * side), side)
        corners.append(np.stack([columns, rows], 1))
        strides.append(np.full((side * side, 1), stride))
    stride_of = np.concatenate(strides).astype(np.float32)
    centre = (raw[:, :2] + np.concatenate(corners)) * stride_of
    half = np.exp(np.minimum(raw[:, 2:4], 20.0)) * stride_of / 2
    classes = raw[:, 5:].argmax(1)
    scores = raw[:, 4] * raw[:, 5:].max(1)
    return (
        np.concatenate([centre - half, centre + half], 1).astype(np.float32),
        scores.astype(np.float32),
        classes,
    )


class TorchvisionDetector:
    """A torchvision detector with its class names."""

    reads: Reads = "labels"

    def __init__(self, network: Any, names: Sequence[str], threshold: float = 0.5) -> None:
        """Take a built detector.

        Args:
            network: called with a list of float32 (3, height, width) tensors in 0..1, returns for
                each a dictionary with ``boxes``, ``scores`` and ``labels``, as torchvision's
                detection models do.
            names: of the labels, in their order.
            threshold: least score.
        """
        self._network, self._names, self._threshold = network.eval(), tuple(names), threshold

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
        return cls(detector_network(ARCHITECTURES[0], weights).to(device), names)

    def detect(self, image: Image.Image) -> list[Thing]:
        """The things of a photo."""
        import torch

        device = next(self._network.parameters()).device
        pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).float() / 255
        with torch.inference_mode():
            outputs = self._network([pixels.to(device)])[0]
        found = {name: value.cpu().numpy() for name, value in outputs.items()}
        values = found["boxes"], found["scores"], found["labels"]
        return _things(*values, self._names, image.size, self._threshold, 0.7)


class RegionDetector:
    """Our own region captions: what `RegionCaptioner` is sure enough to say, each wording once."""

    reads: Reads = "captions"

    def __init__(self, captioner: RegionCaptioner, regions: int = 10) -> None:
        """Take a captioner and how many of a photo's regions it describes."""
        self._captioner, self._regions = captioner, regions

    def detect(self, image: Image.Image) -> list[Thing]:
        """The captioned regions of a photo; the whole photo is none of them."""
        result = self._captioner.caption(image, regions=self._regions)
        spoken = sorted(
            (region for region in result.regions if region.text),
            key=lambda region: -region.confidence,
        )
        best = {region.text: region for region in reversed(spoken)}  # of one wording the surest
        return [
            Thing(str(region.text), region.box, region.confidence)
            for region in spoken
            if region in best.values()
        ]


def find_detector(text: str, device: str = "cpu") -> Detector:
    """The detector that one word of the command line means.

    Raises:
        ValueError: no such detector; lists what there is.
        OSError: its file is not there, or its weights cannot be downloaded.
    """
    kind, _, argument = text.partition(":")
    if kind == "yolox" and argument:
        return YoloxDetector.load(Path(argument))
    if kind == "torchvision":
        if argument:
            return TorchvisionDetector.load(Path(argument), device)
        try:
            return TorchvisionDetector.load(device=device)
        except OSError as error:
            raise OSError(
                f"detector: torchvision's published weights cannot be downloaded ({error}); "
                "name a local file with torchvision:WEIGHTS.safetensors"
            ) from error
    if kind == "regions":
        return RegionDetector(RegionCaptioner.from_pretrained(argument or "mini", device=device))
    raise ValueError(f"detector: expected one of {', '.join(KINDS)}, got {text!r}")


def coco_names() -> list[str]:
    """The 80 classes of COCO in their order, from torchvision's list of 91 numbers, of which 11 have no things."""
    from torchvision.models import get_model_weights

    names = get_model_weights(ARCHITECTURES[0]).DEFAULT.meta["categories"]
    return [name for name in names if name not in ("__background__", "N/A")]


def _things(
    boxes_xyxy: NDArray[Any],
    scores: NDArray[Any],
    classes: NDArray[Any],
    names: Sequence[str],
    size_wh: tuple[int, int],
    threshold: float,
    overlap: float,
) -> list[Thing]:
    """The boxes that are sure enough, inside the photo, the best of each heap of one class, by falling score."""
    sure = scores >= threshold
    boxes = box_ops.clip(np.asarray(boxes_xyxy[sure], dtype=np.float32), size_wh)
    solid = (boxes[:, 2:] - boxes[:, :2]).min(axis=1) >= 1
    boxes, scores, classes = boxes[solid], scores[sure][solid], classes[sure][solid]
    # boxes of different classes are moved so far apart that none suppresses another
    apart = boxes + classes.astype(np.float32)[:, None] * (max(size_wh) + 1)
    kept = box_ops.non_maximum_suppression(apart, scores, overlap).tolist()
    return [
        Thing(names[int(classes[row])], tuple(boxes[row].tolist()), float(min(scores[row], 1.0)))
        for row in kept
    ]
