"""``regiontalk objects``: a sentence made of what a detector finds in a photo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from regiontalk.cli.caption import BeamOption, PhotosArgument
from regiontalk.cli.options import MAX_PIXELS, Device, Draw, Json, MaxPixels

if TYPE_CHECKING:
    from regiontalk.records import ImageResult

ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="A model of `regiontalk train objects`.",
        show_default=False,
    ),
]
DetectorOption = Annotated[
    str,
    typer.Option(
        "--detector",
        metavar="KIND",
        help="yolox:FILE.onnx, torchvision[:WEIGHTS.safetensors], or regions[:MODEL] "
        "for our own region captions.",
        show_default=False,
    ),
]


def objects(
    photos: PhotosArgument,
    model: ModelOption,
    detector: DetectorOption,
    beam: BeamOption = None,
    json: Json = False,
    draw: Draw = None,
    device: Device = None,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Write a sentence about the objects of each photo; the objects are its regions.

    A photo in which nothing is found gets the likeliest sentence. One photo prints one document
    with --json, several print JSON Lines.
    """
    from regiontalk.cli.output import Drawings
    from regiontalk.cli.photos import find_photos
    from regiontalk.cli.run import run_many

    named_photos = find_photos(photos)
    drawings = None if draw is None else Drawings(draw, max_pixels)
    from regiontalk.objects.captioner import ObjectCaptioner
    from regiontalk.objects.region_detector import find_detector

    where = device or "cpu"
    captioner = ObjectCaptioner.from_pretrained(
        model,
        detector=find_detector(detector, where),
        device=where,
        max_pixels=max_pixels,
    )

    def caption(paths: Sequence[str]) -> Sequence[ImageResult]:
        return captioner.caption_many(list(paths), beams=beam)

    run_many(named_photos, caption, json, drawings)
