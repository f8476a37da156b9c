"""Films on the command line: `regiontalk caption video.mp4`, ``camera:0`` or a stream's address."""

from __future__ import annotations

import json as json_module
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regiontalk.cli.output import box_text
from regiontalk.export.alt_text import LEAST
from regiontalk.files import write_data

if TYPE_CHECKING:
    from regiontalk.records import ImageResult
    from regiontalk.video.frames import Frame, Video
    from regiontalk.video.timeline import Timeline, Tracker

EVERY, EVERY_CHANGE = 1.0, 0.2  # seconds between frames: usually, and where only changes are taken
PATIENCE = 3  # frames from one sight of a thing to the next

EveryOption = Annotated[
    float | None,
    typer.Option(
        "--every",
        metavar="SECONDS",
        min=0,
        help=f"Films: time between frames.  [default: {EVERY:g}; 0 takes all]",
    ),
]
SceneOption = Annotated[
    float | None,
    typer.Option(
        "--scene",
        metavar="SHARE",
        min=0,
        max=1,
        help="Films: only frames whose colours changed so much; try 0.3.",
    ),
]
SecondsOption = Annotated[
    float | None,
    typer.Option("--seconds", metavar="N", min=0, help="Films: stop after so many seconds."),
]
TimelineOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--timeline", metavar="FILE", help="Films: write .json or .vtt (WebVTT); may be repeated."
    ),
]


@dataclass(frozen=True)
class Sampling:
    """Which frames are looked at, and what is written; from the command line.

    Attributes:
        every: seconds from frame to frame; None takes the usual.
        scene: share of the colours that has to change; None takes every frame that is due.
        seconds: when to stop; None goes on to the end.
        timelines: files to write.
    """

    every: float | None = None
    scene: float | None = None
    seconds: float | None = None
    timelines: tuple[Path, ...] = ()

    @property
    def step(self) -> float:
        """Seconds from frame to frame."""
        if self.every is not None:
            return self.every
        return EVERY if self.scene is None else EVERY_CHANGE

    @property
    def asked(self) -> bool:
        """Whether any of these was given."""
        return self != Sampling()


def find_film(arguments: Sequence[str], sampling: Sampling, drawn: bool) -> str | None:
    """The film that a user means; None for photos.

    Raises:
        ValueError: more than one film, an option that does not go with what was named, or a
            timeline of another kind.
    """
    from regiontalk.video.frames import is_video, shown_name

    films = [text for text in arguments if is_video(text) and not Path(text).is_dir()]
    if not films:
        if sampling.asked:
            raise ValueError(
                "--every, --scene, --seconds and --timeline are for films: a video file, camera:0 or rtsp://"
            )
        return None
    if len(arguments) > 1:
        raise ValueError(
            f"{shown_name(films[0])}: expected one film and nothing else, got {len(arguments)} names"
        )
    if drawn:
        raise ValueError("--draw: expected photos; a film writes a --timeline")
    for path in sampling.timelines:
        if path.suffix.lower() not in (".json", ".vtt"):
            raise ValueError(f"--timeline {path}: expected a name that ends in .json or .vtt")
    return films[0]


def open_quietly(source: str, max_pixels: int) -> Video:
    """Open a film without the lines that its decoders print."""
    from regiontalk.video.frames import open_video

    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    return open_video(source, max_pixels)


def caption_film(
    film: Video,
    speak: Callable[[Sequence[Any]], Sequence[ImageResult]],
    sampling: Sampling,
    json: bool,
    threshold: float | None,
) -> None:
    """Print what is new in each frame as it comes, then write the timelines, also where Ctrl-C stopped it.

    Raises:
        ValueError: no frame could be read.
        typer.Exit: code 1 where the film ended before its stated length; what was seen is written
            first. The same where it was stopped before there was anything to write.
    """
    from regiontalk.video.timeline import Timeline, Tracker

    least = LEAST if threshold is None else threshold
    joiner = Tracker(patience=PATIENCE)
    model, stopped = "", False
    with film:
        try:
            for frame in film.frames(sampling.step, sampling.scene, sampling.seconds):
                result = speak([frame.image])[0]
                model = result.model
                _take(joiner, frame, result, least, silent=json)
        except KeyboardInterrupt:
            stopped = True
            typer.echo(
                "stopped"
                if joiner.times()
                else "stopped before the first frame; nothing is written",
                err=True,
            )
    if stopped and not joiner.times():
        raise typer.Exit(1)
    if not joiner.times():
        raise ValueError(f"{film.name}: no frame could be read; the file is damaged or cut short")
    timeline = Timeline(
        film.name,
        film.size_wh,
        model,
        joiner.times(),
        film.complete,
        joiner.scenes(),
        joiner.things(),
    )
    if json:
        typer.echo(json_module.dumps(timeline.to_dict(), indent=2))
    last = timeline.times[-1] + sampling.step
    _write(timeline, sampling.timelines, film.end if film.complete else max(film.end, last))
    if not film.complete and not stopped:
        typer.echo(
            f"regiontalk: {film.name}: ended after {timeline.times[-1]:.1f} of {film.seconds or 0:.1f} s: "
            "damaged or cut short; what was seen up to there is kept",
            err=True,
        )
        raise typer.Exit(1)


def _take(joiner: Tracker, frame: Frame, result: ImageResult, least: float, silent: bool) -> None:
    """Join one frame to those before and print what is new in it."""
    from regiontalk.export.alt_text import distinct

    sure = (
        result.caption
        if result.caption is not None and result.caption.confidence >= least
        else None
    )
    new_scene, fresh = joiner.add(frame.time, sure, distinct(result.regions, least=least))
    if silent:
        return
    clock = f"{int(frame.time // 60)}:{frame.time % 60:04.1f}"
    if new_scene and sure is not None:
        typer.echo(f"{clock}  {sure.text} ({sure.confidence:.2f})")
    for region in fresh:
        typer.echo(f"{clock}    {box_text(region.box)}: {region.text} ({region.confidence:.2f})")


def _write(timeline: Timeline, paths: Sequence[Path], end: float) -> None:
    """Write the files; ``end`` is when the last frame's cues end, in seconds."""
    from regiontalk.video.timeline import webvtt

    for path in paths:
        if path.suffix.lower() == ".vtt":
            text = webvtt(timeline, end)
        else:
            text = json_module.dumps(timeline.to_dict(), indent=1) + "\n"
        write_data(path, text.encode())
        typer.echo(f"wrote {path}", err=True)
