"""``regiontalk caption``: words on the regions of photos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from regiontalk.cli import session
from regiontalk.cli.options import (
    MAX_PIXELS,
    AllBoxes,
    Box,
    Device,
    Draw,
    Engine,
    Json,
    MaxPixels,
    Model,
    Threads,
    parse_boxes,
)
from regiontalk.cli.source import DEFAULT_REGIONS, KINDS, parse_source
from regiontalk.cli.video import (
    EveryOption,
    Sampling,
    SceneOption,
    SecondsOption,
    TimelineOption,
)

if TYPE_CHECKING:
    from regiontalk.images.open import PictureSource
    from regiontalk.records import AttentionMaps, ImageResult

PhotosArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="PHOTO|FOLDER|GLOB|VIDEO", help="What to caption.", show_default=False
    ),
]
BoxOption = Annotated[
    list[str] | None,
    typer.Option(
        "--box",
        metavar="x1,y1,x2,y2",
        help="A box to caption, in pixels; may be repeated.",
    ),
]
RegionsOption = Annotated[
    int | None,
    typer.Option(
        "--regions",
        metavar="N",
        min=0,
        help=f"How many regions.  [default: {DEFAULT_REGIONS}, or all cells of a grid]",
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
        "--beam",
        metavar="K",
        min=1,
        help="Beams of the search; the model's own if unset.",
    ),
]
ThresholdOption = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        metavar="SHARE",
        min=0,
        max=1,
        help="Stay silent below this confidence.  [default: the model's own for "
        "regions, 0 for the whole photo]",
    ),
]
AttentionOption = Annotated[
    bool,
    typer.Option(
        "--attention",
        help="With --draw: a sheet of where each word of the caption looked.",
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
    """Caption the regions of photos and the photos themselves, or a video's frames.

    One photo prints one document with --json, several print JSON Lines. A photo that fails does not
    stop the others: it is reported at the end, and the exit code is 1.

    A video is a file, camera:0 or rtsp://...: its frames are joined over time, so that one thing is
    named once.
    """
    from regiontalk.cli.output import Drawings
    from regiontalk.cli.photos import find_photos
    from regiontalk.cli.run import run_many
    from regiontalk.cli.video import caption_video, open_video

    boxes = _read_boxes(box or [], regions, source)
    _check_attention(attention, draw)
    sampling = Sampling(every, scene, seconds, tuple(timeline or ()))
    video = open_video(
        photos, sampling, max_pixels, drawn=draw is not None, all_boxes=all_boxes
    )
    named_photos = find_photos(photos) if video is None else None
    region_source, count = parse_source(source, regions, device)
    drawings = None
    if draw is not None:  # the folder is made before a model is loaded
        drawings = Drawings(draw, max_pixels, bare_boxes=all_boxes or bool(boxes))
    captioner = session.load_captioner(
        model, session.compute(device, engine, threads), max_pixels, region_source
    )
    if drawings is not None and attention:
        drawings.look = _attention_of(captioner, model)
    merge = not all_boxes
    caption_photos = _captioning(captioner, boxes, count, beam, threshold, merge=merge)
    if video is not None:
        caption_video(video, caption_photos, sampling, json, threshold)
    elif named_photos is not None:
        run_many(named_photos, caption_photos, json, drawings)


def _captioning(
    captioner: session.Captioner,
    boxes: Sequence[Box],
    regions: int,
    beams: int | None,
    threshold: float | None,
    *,
    merge: bool,
) -> Callable[[Sequence[PictureSource]], Sequence[ImageResult]]:
    """Photos to captions, on boxes that the user gave or regions the model chooses."""
    if not boxes:
        return partial(
            captioner.caption_many,
            regions=regions,
            beams=beams,
            threshold=threshold,
            merge=merge,
        )
    describe = partial(captioner.describe, beams=beams, threshold=threshold)
    return lambda photos: [describe(photo, boxes) for photo in photos]


def _read_boxes(texts: list[str], regions: int | None, source: str) -> list[Box]:
    """The boxes to caption; refuses options that leave the choice to the model beside them."""
    boxes = parse_boxes(texts)
    for option, is_used in (
        ("--regions", regions is not None),
        ("--source", source != KINDS[0]),
    ):
        if boxes and is_used:
            raise ValueError(
                f"--box and {option} exclude each other: either you choose the boxes "
                "or the model does"
            )
    return boxes


def _check_attention(attention: bool, draw: Path | None) -> None:
    if attention and draw is None:
        raise ValueError(
            "--attention: expected --draw DIR beside it, the folder for the sheets"
        )


def _attention_of(
    captioner: session.Captioner, model: str
) -> Callable[[str, str], AttentionMaps]:
    """What shows where each word looked."""
    if not captioner.attends:
        raise ValueError(
            f"--attention: expected a model that attends, got {model!r}, which has no attention"
        )
    return captioner.look
