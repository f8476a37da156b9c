"""``regiontalk narrate``: an alt text for each photo.

Printed and, where a voice is installed, spoken.
"""

from __future__ import annotations

import json as json_module
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from regiontalk.cli import session
from regiontalk.cli.options import MAX_PIXELS, Device, Engine, MaxPixels, Model, Threads
from regiontalk.export.alt_text import LIMIT, MIN_CONFIDENCE

if TYPE_CHECKING:
    from regiontalk.records import ImageResult

REGIONS = 20  # more than `caption` shows: most say what others have said

PhotosArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="PHOTO|FOLDER|GLOB", help="What to narrate.", show_default=False
    ),
]
LimitOption = Annotated[
    int,
    typer.Option(
        "--limit", metavar="N", min=20, help="Most characters of an alt text."
    ),
]
MinConfidenceOption = Annotated[
    float,
    typer.Option(
        "--min-confidence",
        metavar="SHARE",
        min=0,
        max=1,
        help="Say nothing below this confidence.",
    ),
]
NeutralOption = Annotated[
    bool,
    typer.Option(
        "--neutral", help="Person, child, their: words that do not guess a sex."
    ),
]
RegionsOption = Annotated[
    int,
    typer.Option(
        "--regions", metavar="N", min=0, help="How many regions are looked at."
    ),
]


def narrate(
    photos: PhotosArgument,
    limit: LimitOption = LIMIT,
    min_confidence: MinConfidenceOption = MIN_CONFIDENCE,
    neutral: NeutralOption = False,
    regions: RegionsOption = REGIONS,
    speak: Annotated[
        bool, typer.Option("--speak", help="Say it aloud with espeak-ng.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print photo and alt as JSON.")
    ] = False,
    model: Model = "mini",
    device: Device = None,
    engine: Engine = "auto",
    threads: Threads = None,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Compose an alt text: the photo's sentence, then what else it shows, left to right.

    It holds only what the model is confident of; a photo without any of that prints [not sure].
    Several photos print a line each, name and text, or JSON Lines. `regiontalk export xmp` writes
    the text into photos.
    """
    from regiontalk.cli.photos import find_photos
    from regiontalk.cli.run import for_each
    from regiontalk.export import alt_text as narration

    named_photos = find_photos(photos)
    if speak:
        narration.voice()  # before a model is loaded
    captioner = session.load_captioner(
        model, session.compute(device, engine, threads), max_pixels
    )

    def caption(paths: Sequence[str]) -> Sequence[ImageResult]:
        return captioner.caption_many(
            paths, regions=regions, beams=None, threshold=min_confidence
        )

    def show(path: str, result: ImageResult) -> None:
        alt = narration.narrate(
            result, limit=limit, min_confidence=min_confidence, neutral=neutral
        )
        if json:
            typer.echo(json_module.dumps({"photo": path, "alt": alt}))
        else:
            words = alt or "[not sure]"
            typer.echo(words if named_photos.single else f"{path}: {words}")
        if speak and alt:
            narration.speak(alt)

    for_each(named_photos, caption, show)
