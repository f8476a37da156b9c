"""``regiontalk caption``: words on the regions of photos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from regiontalk.cli import session
from regiontalk.cli.options import MAX_PIXELS, Device, Draw, Json, MaxPixels, Model, parse_boxes
from regiontalk.cli.source import KINDS, USUAL, parse_source

if TYPE_CHECKING:
    from regiontalk.records import ImageResult

PhotosArgument = Annotated[
    list[str], typer.Argument(metavar="PHOTO|FOLDER|GLOB", help="What to caption.", show_default=False)
]
BoxOption = Annotated[
    list[str] | None,
    typer.Option("--box", metavar="x1,y1,x2,y2", help="A box to caption, in pixels; may be repeated."),
]
RegionsOption = Annotated[
    int | None,
    typer.Option(
        "--regions", metavar="N", min=0, help=f"How many regions.  [default: {USUAL}, or all cells of a grid]"
    ),
]
SourceOption = Annotated[
    str,
    typer.Option("--source", metavar="SOURCE", help=f"Where to look: {', '.join(KINDS)}; the first is the model's."),
]
BeamOption = Annotated[
    int | None, typer.Option("--beam", metavar="K", min=1, help="Beams of the search; the model's own if unset.")
]
ThresholdOption = Annotated[
    float | None,
    typer.Option("--threshold", metavar="SHARE", min=0, max=1, help="Stay silent below this confidence."),
]
AttentionOption = Annotated[
    bool, typer.Option("--attention", help="With --draw: a sheet of where each word of the caption looked.")
]


def caption(
    photos: PhotosArgument,
    box: BoxOption = None,
    regions: RegionsOption = None,
    source: SourceOption = KINDS[0],
    beam: BeamOption = None,
    threshold: ThresholdOption = None,
    json: Json = False,
    draw: Draw = None,
    attention: AttentionOption = False,
    model: Model = "mini",
    device: Device = None,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Caption the regions of photos and the photos themselves.

    One photo prints one document with --json, several print JSON Lines. A photo that fails does not stop the others:
    it is reported at the end, and the exit code is 1.
    """
    from regiontalk.cli.output import Drawings
    from regiontalk.cli.photos import find_photos
    from regiontalk.cli.run import run_many

    boxes = parse_boxes(box or [])
    if boxes and (regions is not None or source != KINDS[0]):
        other = "--regions" if regions is not None else "--source"
        raise ValueError(f"--box and {other} exclude each other: either you choose the boxes or the model does")
    if attention and draw is None:
        raise ValueError("--attention: expected --draw DIR beside it, the folder for the sheets")
    found = find_photos(photos)
    where, count = parse_source(source, regions, device)
    drawings = None if draw is None else Drawings(draw, max_pixels)
    captioner = session.load_captioner(model, device, max_pixels, where)
    if draw is not None and attention:
        if not captioner.attends:
            raise ValueError(f"--attention: expected a model that attends, got {model!r}, which has no attention")
        drawings = Drawings(draw, max_pixels, captioner.look)

    def speak(paths: Sequence[str]) -> Sequence[ImageResult]:
        if boxes:
            return [captioner.describe(path, boxes, beams=beam, threshold=threshold) for path in paths]
        return captioner.caption_many(paths, regions=count, beams=beam, threshold=threshold)

    run_many(found, speak, json, drawings)
