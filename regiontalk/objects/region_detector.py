"""Who says what is in a photo: a detector with class names, or our own captions.

What they find goes to `regiontalk.objects.captioner`, which makes a sentence of it.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from regiontalk.captioner import RegionCaptioner
from regiontalk.regions.detectors import (
    Detection,
    Detector,
    Reads,
    TorchvisionDetector,
    YoloxDetector,
)

KINDS = (
    "yolox:FILE.onnx",
    "torchvision",
    "torchvision:WEIGHTS.safetensors",
    "regions",
    "regions:MODEL",
)


class RegionDetector:
    """Our own region captions: what `RegionCaptioner` is sure enough to say, each wording once."""

    reads: Reads = "captions"

    def __init__(self, captioner: RegionCaptioner, regions: int = 10) -> None:
        """Take a captioner and how many of a photo's regions it describes."""
        self._captioner = captioner
        self._regions = regions

    def detect(self, image: Image.Image) -> list[Detection]:
        """The captioned regions of a photo; the whole photo is none of them."""
        result = self._captioner.caption(image, regions=self._regions)
        captioned = [region for region in result.regions if region.text]
        captioned.sort(key=lambda region: -region.confidence)
        surest = {
            region.text: region for region in reversed(captioned)
        }  # of each wording
        return [
            Detection(str(region.text), region.box, region.confidence)
            for region in captioned
            if region in surest.values()
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
        return RegionDetector(
            RegionCaptioner.from_pretrained(argument or "mini", device=device)
        )
    raise ValueError(f"detector: expected one of {', '.join(KINDS)}, got {text!r}")
