"""``regiontalk caption``: words on the regions of photos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from regiontalk.cli import session
from regiontalk.cli.options import (
    MAX_PIXELS,
    AllBoxes,
    Device,
    Draw,
    Engine,
    Json,
    MaxPixels,
    Model,
    Threads,
    parse_boxes,
)
from regiontalk.cli.source import KINDS, USUAL, parse_source
from regiontalk.cli.video import EveryOption, Sampling, SceneOption, SecondsOption, TimelineOption

if TYPE_CHECKING:
    from regiontalk.images.open import PictureSource
    from regiontalk.records import ImageResult

PhotosArgument = Annotated[
    list[str],
    typer.Argument(metavar="PHOTO|FOLDER|GLOB|FILM", help="What to caption.", show_default=False),
]
BoxOption = Annotated[
    list[str] | None,
    typer.Option(
        "--box", metavar="x1,y1,x2,y2", help="A box to caption, in pixels; may be repeated."
    ),
]
RegionsOption = Annotated[
    int | None,
    typer.Option(
        "--regions",
        metavar="N",
        min=0,
        help=f"How many regions.  [default: {USUAL}, or all cells of a grid]",
    ),
]
SourceOption = Annotated[
    str,
    typer.Option(
        "--source",
        metavar="SOURCE",
        help=f"Where to look: {', '.join(KINDS)}; the first is the model's.",
    ),
]
BeamOption = Annotated[
    int | None,
    typer.Option(
        "--beam", metavar="K", min=1, help="Beams of the search; the model's own if unset."
    ),
]
ThresholdOption = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        metavar="SHARE",
        min=0,
        max=1,
        help="Stay silent below this confidence.  [default: the model's own for regions, 0 for the whole photo]",
    ),
]
AttentionOption = Annotated[
    bool,
    typer.Option(
        "--attention", help="With --draw: a sheet of where each word of the caption looked."
    ),
]


def caption(
    photos: PhotosArgument,
    box: BoxOption = None,
    regions: RegionsOption = None,
    source: SourceOption = KINDS[0],
    beam: BeamOption = None,
    threshold: ThresholdOption = None,
    all_boxes: AllBoxes = False,
    json: Json = False,
    draw: Draw = None,
    attention: AttentionOption = False,
    model: Model = "mini",
    device: Device = None,
    engine: Engine = "auto",
    threads: Threads = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    every: EveryOption = None,
    scene: SceneOption = None,
    seconds: SecondsOption = None,
    timeline: TimelineOption = None,
) -> None:
    """Caption the regions of photos and the photos themselves, or a film's frames.

    One photo prints one document with --json, several print JSON Lines. A photo that fails does not
    stop the others: it is reported at the end, and the exit code is 1.

    A film is a video file, camera:0 or rtsp://...: its frames are joined over time, so that one
        thing is named once.
    """
    from regiontalk.cli.output import Drawings
    from regiontalk.cli.photos import find_photos
    from regiontalk.cli.run import run_many
    from regiontalk.cli.video import caption_film, find_film, open_quietly

    boxes = parse_boxes(box or [])
    if boxes and (regions is not None or source != KINDS[0]):
        other = "--regions" if regions is not None else "--source"
        raise ValueError(
            f"--box and {other} exclude each other: either you choose the boxes or the model does"
        )
    if attention and draw is None:
        raise ValueError("--attention: expected --draw DIR beside it, the folder for the sheets")
    sampling = Sampling(every, scene, seconds, tuple(timeline or ()))
    film_name = find_film(photos, sampling, draw is not None)
    film = None if film_name is None else open_quietly(film_name, max_pixels)
    if film is not None and all_boxes:
        raise ValueError("--all-boxes: expected photos; a film names each thing once")
    found = find_photos(photos) if film is None else None
    where, count = parse_source(source, regions, device)
    bare_boxes = all_boxes or bool(boxes)
    drawings = None if draw is None else Drawings(draw, max_pixels, bare_boxes=bare_boxes)
    captioner = session.load_captioner(
        model, session.compute(device, engine, threads), max_pixels, where
    )
    if draw is not None and attention:
        if not captioner.attends:
            raise ValueError(
                f"--attention: expected a model that attends, got {model!r}, which has no attention"
            )
        drawings = Drawings(draw, max_pixels, captioner.look, bare_boxes=bare_boxes)

    def speak(paths: Sequence[PictureSource]) -> Sequence[ImageResult]:
        if boxes:
            return [
                captioner.describe(path, boxes, beams=beam, threshold=threshold) for path in paths
            ]
        return captioner.caption_many(
            paths, regions=count, beams=beam, threshold=threshold, merge=not all_boxes
        )

    if film is not None:
        caption_film(film, speak, sampling, json, threshold)
    elif found is not None:
        run_many(found, speak, json, drawings)
