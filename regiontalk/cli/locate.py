"""``regiontalk locate``: the place of a phrase in a photo."""

from __future__ import annotations

from typing import Annotated

import typer

from regiontalk.cli import session
from regiontalk.cli.options import Device, Draw, Json, Model, Photo

Phrase = Annotated[str, typer.Argument(metavar="PHRASE", help='What to find: "a red car".', show_default=False)]
Count = Annotated[int, typer.Option("-k", "--count", min=1, help="How many places, best first.")]


def locate(
    photo: Photo,
    phrase: Phrase,
    k: Count = 1,
    json: Json = False,
    draw: Draw = None,
    model: Model = "mini",
    device: Device = None,
) -> None:
    """Find where a phrase is in a photo."""
    from regiontalk.cli.run import run_one

    run_one(photo, lambda: session.load_captioner(model, device).locate(photo, phrase, k=k), json, draw)
