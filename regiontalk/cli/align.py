"""``regiontalk align``: the box of each word of a sentence."""

from __future__ import annotations

from typing import Annotated

import typer

from regiontalk.cli import session
from regiontalk.cli.options import Device, Draw, Json, Model, Photo

Sentence = Annotated[str, typer.Argument(metavar="SENTENCE", help="A sentence about the photo.", show_default=False)]


def align(
    photo: Photo,
    sentence: Sentence,
    json: Json = False,
    draw: Draw = None,
    model: Model = "mini",
    device: Device = None,
) -> None:
    """Find the region of each word of a sentence."""
    from regiontalk.cli.run import run_one

    run_one(photo, lambda: session.load_captioner(model, device).align(photo, sentence), json, draw)
