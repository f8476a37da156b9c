"""``regiontalk locate``: the place of a phrase in a photo."""

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

Phrase = Annotated[
    str,
    typer.Argument(
        metavar="PHRASE", help='What to find: "a red car".', show_default=False
    ),
]
Count = Annotated[
    int,
    typer.Option(
        "-k", "--count", metavar="K", min=1, help="How many places, best first."
    ),
]


def locate(
    photo: Photo,
    phrase: Phrase,
    k: Count = 1,
    json: Json = False,
    draw: Draw = None,
    model: Model = "mini",
    device: Device = None,
    engine: Engine = "auto",
    threads: Threads = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    features: Features = None,
) -> None:
    """Find where a phrase is in a photo."""
    from regiontalk.cli.run import prepare, show_one

    drawings = prepare(photo, draw, max_pixels)
    source = precomputed_features(features, model)
    compute = session.compute(device, engine, threads)
    captioner = session.load_captioner(model, compute, max_pixels, source)
    result = captioner.locate(photo, phrase, k=k)
    show_one(photo, result, json, drawings)
