"""Videos on the command line.

`regiontalk caption video.mp4`, ``camera:0`` or a stream's address.
"""

from __future__ import annotations

import json as json_module
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regiontalk.cli.output import box_text
from regiontalk.export.alt_text import MIN_CONFIDENCE
from regiontalk.files import write_text

if TYPE_CHECKING:
    from regiontalk.records import ImageResult
    from regiontalk.video.frames import Frame, Video
    from regiontalk.video.timeline import Timeline

EVERY, EVERY_CHANGE = (
    1.0,
    0.2,
)  # seconds between frames: by default, and where only changes are taken
PATIENCE = 3  # frames from one sight of a thing to the next

EveryOption = Annotated[
    float | None,
    typer.Option(
        "--every",
        metavar="SECONDS",
        min=0,
        help=f"Videos: time between frames.  [default: {EVERY:g}; 0 takes all]",
    ),
]
SceneOption = Annotated[
    float | None,
    typer.Option(
        "--scene",
        metavar="SHARE",
        min=0,
        max=1,
        help="Videos: only frames whose colours changed so much; try 0.3.",
    ),
]
SecondsOption = Annotated[
    float | None,
    typer.Option(
        "--seconds", metavar="N", min=0, help="Videos: stop after so many seconds."
    ),
]
TimelineOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--timeline",
        metavar="FILE",
        help="Videos: write .json or .vtt (WebVTT); may be repeated.",
    ),
]


@dataclass(frozen=True)
class Sampling:
    """Which frames are looked at, and what is written; from the command line.

    Attributes:
        every: seconds from frame to frame; None takes the default.
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


def find_video(arguments: Sequence[str], sampling: Sampling, drawn: bool) -> str | None:
    """The video that a user means; None for photos.

    Raises:
        ValueError: more than one video, an option that does not go with what was named, or a
            timeline of another kind.
    """
    from regiontalk.video.frames import is_video, shown_name

    videos = [text for text in arguments if is_video(text) and not Path(text).is_dir()]
    if not videos:
        if sampling.asked:
            raise ValueError(
                "--every, --scene, --seconds and --timeline are for videos: a file, "
                "camera:0 or rtsp://"
            )
        return None
    if len(arguments) > 1:
        raise ValueError(
            f"{shown_name(videos[0])}: expected one video and nothing else, got "
            f"{len(arguments)} names"
        )
    if drawn:
        raise ValueError("--draw: expected photos; a video writes a --timeline")
    for path in sampling.timelines:
        if path.suffix.lower() not in (".json", ".vtt"):
            raise ValueError(
                f"--timeline {path}: expected a name that ends in .json or .vtt"
            )
    return videos[0]


def open_video(
    arguments: Sequence[str],
    sampling: Sampling,
    max_pixels: int,
    *,
    drawn: bool,
    all_boxes: bool,
) -> Video | None:
    """The video that a user means, open; None for photos.

    Raises:
        ValueError: as `find_video`, or all boxes are asked of a video.
    """
    name = find_video(arguments, sampling, drawn)
    if name is None:
        return None
    video = open_quietly(name, max_pixels)
    if all_boxes:
        raise ValueError("--all-boxes: expected photos; a video names each thing once")
    return video


def open_quietly(source: str, max_pixels: int) -> Video:
    """Open a video without the lines that its decoders print."""
    from regiontalk.video.frames import open_video as open_frames

    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    return open_frames(source, max_pixels)


def caption_video(
    video: Video,
    caption_frames: Callable[[Sequence[Any]], Sequence[ImageResult]],
    sampling: Sampling,
    json: bool,
    threshold: float | None,
) -> None:
    """Print what is new in each frame as it comes, then write the timelines.

    Also where Ctrl-C stopped it.

    Raises:
        ValueError: no frame could be read.
        typer.Exit: code 1 where the video ended before its stated length; what was seen is written
            first. The same where it was stopped before there was anything to write.
    """
    joined = _Joined(
        min_confidence=MIN_CONFIDENCE if threshold is None else threshold, silent=json
    )
    is_stopped = False
    with video:
        try:
            for frame in video.frames(sampling.step, sampling.scene, sampling.seconds):
                joined.add(frame, caption_frames([frame.image])[0])
        except KeyboardInterrupt:
            is_stopped = True
    timeline = joined.timeline(video)
    _check_frames(video, len(timeline.times), is_stopped=is_stopped)
    if json:
        typer.echo(json_module.dumps(timeline.to_dict(), indent=2))
    last_end = timeline.times[-1] + sampling.step
    end = video.end if video.complete else max(video.end, last_end)
    _write(timeline, sampling.timelines, end)
    if not video.complete and not is_stopped:
        typer.echo(
            f"regiontalk: {video.name}: ended after {timeline.times[-1]:.1f} of "
            f"{video.seconds or 0:.1f} s: damaged or cut short; what was seen up to "
            "there is kept",
            err=True,
        )
        raise typer.Exit(1)


def _check_frames(video: Video, frames: int, *, is_stopped: bool) -> None:
    """Say that Ctrl-C stopped the video, and end where no frame came before it."""
    if is_stopped:
        nothing = "stopped before the first frame; nothing is written"
        typer.echo("stopped" if frames else nothing, err=True)
    if not frames and is_stopped:
        raise typer.Exit(1)
    if not frames:
        raise ValueError(
            f"{video.name}: no frame could be read; the file is damaged or cut short"
        )


class _Joined:
    """The frames so far, joined over time."""

    def __init__(self, *, min_confidence: float, silent: bool) -> None:
        """Begin without a frame.

        Args:
            min_confidence: below it nothing is named.
            silent: print nothing.
        """
        from regiontalk.video.timeline import Tracker

        self._min_confidence = min_confidence
        self._silent = silent
        self._tracker = Tracker(patience=PATIENCE)
        self._model = ""

    def add(self, frame: Frame, result: ImageResult) -> None:
        """Join one frame to those before and print what is new in it."""
        from regiontalk.export.alt_text import distinct

        self._model = result.model
        caption = result.caption
        if caption is not None and caption.confidence < self._min_confidence:
            caption = None
        regions = distinct(result.regions, min_confidence=self._min_confidence)
        is_new_scene, new_regions = self._tracker.add(frame.time, caption, regions)
        if self._silent:
            return
        minutes, seconds = divmod(frame.time, 60)
        clock = f"{int(minutes)}:{seconds:04.1f}"
        if is_new_scene and caption is not None:
            words = caption.hedged_text
            typer.echo(f"{clock}  {words} ({caption.confidence:.2f})")
        for region in new_regions:
            typer.echo(
                f"{clock}    {box_text(region.box)}: {region.text} ({region.confidence:.2f})"
            )

    def timeline(self, video: Video) -> Timeline:
        """All that was seen."""
        from regiontalk.video.timeline import Timeline

        joiner = self._tracker
        return Timeline(
            video.name,
            video.size_wh,
            self._model,
            joiner.times(),
            video.complete,
            joiner.scenes(),
            joiner.things(),
        )


def _write(timeline: Timeline, paths: Sequence[Path], end: float) -> None:
    """Write the files; ``end`` is when the last frame's cues end, in seconds."""
    from regiontalk.video.timeline import webvtt

    for path in paths:
        if path.suffix.lower() == ".vtt":
            text = webvtt(timeline, end)
        else:
            text = json_module.dumps(timeline.to_dict(), indent=1) + "\n"
        write_text(path, text)
        typer.echo(f"wrote {path}", err=True)
