"""``regiontalk align``: the box of each word of a sentence."""

from __future__ import annotations

from typing import Annotated

import typer

from regiontalk.cli import session
from regiontalk.cli.options import (
    MAX_PIXELS,
    Device,
    Draw,
    Engine,
    Features,
    Json,
    MaxPixels,
    Model,
    Photo,
    Threads,
)
from regiontalk.cli.source import precomputed_features

Sentence = Annotated[
    str,
    typer.Argument(
        metavar="SENTENCE", help="A sentence about the photo.", show_default=False
    ),
]


def align(
    photo: Photo,
    sentence: Sentence,
    json: Json = False,
    draw: Draw = None,
    model: Model = "mini",
    device: Device = None,
    engine: Engine = "auto",
    threads: Threads = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    features: Features = None,
) -> None:
    """Find the region of each word of a sentence."""
    from regiontalk.cli.run import prepare, show_one

    drawings = prepare(photo, draw, max_pixels)
    source = precomputed_features(features, model)
    compute = session.compute(device, engine, threads)
    captioner = session.load_captioner(model, compute, max_pixels, source)
    result = captioner.align(photo, sentence)
    show_one(photo, result, json, drawings)
