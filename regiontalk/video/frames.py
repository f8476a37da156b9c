"""Frames of a video file, a camera or a network stream, sampled in time or where the scene changes.

OpenCV reads the video (the extra ``video``); frames leave as upright RGB arrays uint8 (height,
width, 3) with their time in seconds. `timeline` joins what is said of them.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

SUFFIXES = frozenset(
    ".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .ts .mts .m2ts .wmv .flv .3gp .ogv".split()
)
STREAMS = ("rtsp", "rtsps", "rtmp", "http", "https", "udp", "srt")
WAIT_MS = 10_000  # for a stream to open or to go on
_CAMERA = re.compile(r"camera:(\d{1,3})")
_LOST = 0.02  # share of the stated frames that may be missing at the end: containers count loosely
_BINS = 16  # of a colour histogram, a channel
# seconds by which time stamps and multiples of a period, both floats, may differ and mean
# the same
_CLOCK = 1e-6
_FRAME = 0.04  # seconds of a frame where the video states no rate
# Up to the last @ of the host's part: a password may have one.
_USER = re.compile(r"(?<=//)([^/?#:]*):[^/?#]*@")
# A password with a slash, which is no valid address but not to be printed either; "//host:80/" is
# none.
_BROKEN = re.compile(r"(?<=//)([^/?#:@[]*):(?!\d*(?:[/?#]|$)).*@")
# In the query or, as some cameras have it, in the path: password=..., access_token=...
_SECRET = re.compile(
    r"([\w.-]*(?:pass|pwd|token|secret|key|auth)[\w.-]*=)[^&]*", re.IGNORECASE
)


@dataclass(frozen=True)
class Frame:
    """An image of a video.

    Attributes:
        time: seconds from the start.
        image: uint8 (height, width, 3), RGB.
    """

    time: float
    image: NDArray[np.uint8]


def is_video(text: str) -> bool:
    """Whether a word of the command line means a video.

    A camera, a stream, or a file with a video's suffix.

    >>> [is_video(text) for text in ("camera:0", "rtsp://door/1", "a.MP4", "a.jpg", "camera.jpg")]
    [True, True, True, False, False]
    """
    if _CAMERA.fullmatch(text) or _is_stream(text):
        return True
    suffix = Path(text).suffix
    return suffix.lower() in SUFFIXES


def shown_name(source: str) -> str:
    """A source as it may be printed and stored: an address without its password, tokens and keys.

    >>> shown_name("rtsp://me:secret@door:554/1")
    'rtsp://me@door:554/1'
    >>> shown_name("http://door/live?channel=1&token=secret")
    'http://door/live?channel=1&token=***'
    """
    if not _is_stream(source):
        return source
    for pattern in (_USER, _BROKEN):
        source = pattern.sub(r"\1@", source, count=1)
    return _SECRET.sub(r"\1***", source)


class Video:
    """An open video; a context manager.

    Attributes:
        name: the source without a password.
        size_wh: width and height of its frames in pixels.
        live: a camera or a stream without an end, whose clock is the wall's.
        complete: whether `frames` has come to the video's stated end, or to the one that was asked
            for; False before.
        end: seconds up to which the video was read, the last frame's own time included.
    """

    def __init__(
        self,
        capture: Any,
        name: str,
        live: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take an open `cv2.VideoCapture` (`open_video` opens one)."""
        import cv2

        self.name = name
        self.live = live
        self.complete = False
        self.end = 0.0
        self._capture = capture
        self._clock = clock
        width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.size_wh = (width, height)
        # frames a second
        self._rate = max(0.0, float(capture.get(cv2.CAP_PROP_FPS)) or 0.0)
        self._frame = 1 / self._rate if self._rate else _FRAME  # seconds a frame
        self._stated = 0 if live else max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.grabbed = 0

    def __enter__(self) -> Video:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        self._capture.release()

    @property
    def seconds(self) -> float | None:
        """The stated length; None for what is live or does not state one."""
        if not self._stated or not self._rate:
            return None
        return self._stated / self._rate

    def frames(
        self,
        every: float,
        change: float | None = None,
        max_seconds: float | None = None,
    ) -> Iterator[Frame]:
        """Frames in order. While the caller computes, a live video goes on.

        What was missed is passed over.

        Args:
            every: seconds from one frame to the next; 0 takes all.
            change: only frames whose colours differ by this share, 0..1, from the last one taken.
            max_seconds: stop after so many.

        Raises:
            ValueError: a negative period, or a share out of range.
        """
        if every < 0 or (change is not None and not 0 <= change <= 1):
            raise ValueError(
                f"expected every >= 0 seconds and change in 0..1, got {every} and {change}"
            )
        due = 0.0
        last_colours: NDArray[np.float64] | None = None
        for now in self._grabbed():
            if max_seconds is not None and now > max_seconds:
                self.complete = True
                return
            self.end = now + self._frame
            if now + _CLOCK < due:
                continue
            is_read, image = self._capture.retrieve()
            if not is_read or image is None:
                continue
            due = self._next_due(now, every)
            if change is not None:
                colours = histogram(image)
                if (
                    last_colours is not None
                    and _difference(colours, last_colours) < change
                ):
                    continue
                last_colours = colours
            yield Frame(now, np.ascontiguousarray(image[..., ::-1]))
        self.complete = self.live or self.grabbed >= self._stated * (1 - _LOST) - 1

    def _grabbed(self) -> Iterator[float]:
        """The time of every frame, each grabbed and not yet decoded."""
        start = self._clock()
        now = -1.0
        while self._capture.grab():
            now = self._now(start, now)
            self.grabbed += 1
            yield now

    def _next_due(self, now: float, every: float) -> float:
        """When the next frame is wanted.

        At a multiple of the period, or so long after now in what is live.
        """
        if self.live or not every:
            return now + every
        return every * (math.floor((now + _CLOCK) / every) + 1)

    def _now(self, start: float, before: float) -> float:
        """The time of the frame that was just grabbed; always later than the one before."""
        import cv2

        if self.live:
            return max(self._clock() - start, before + 1e-3)
        stamp = float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
        if stamp <= before:  # some containers have no time stamps
            stamp = before + self._frame
        return max(stamp, 0.0)


def open_video(source: str, max_pixels: int | None = None) -> Video:
    """Open ``camera:N``, a stream's address or a video file.

    Args:
        source: what `is_video` takes.
        max_pixels: larger frames are refused.

    Raises:
        ImportError: OpenCV is not installed.
        FileNotFoundError: no such file.
        ValueError: it cannot be read as a video, or its frames are too large.
    """
    try:
        import cv2
    except ImportError as error:
        raise ImportError(
            "films need OpenCV; install it with: pip install 'regiontalk[video]'"
        ) from error
    name = shown_name(source)
    capture = _capture(source)
    if not capture.isOpened():
        capture.release()
        raise ValueError(f"{name}: {_hint(source)}")
    # a file that a server hands out states its length
    is_endless = capture.get(cv2.CAP_PROP_FRAME_COUNT) <= 0
    is_live = bool(_CAMERA.fullmatch(source)) or (_is_stream(source) and is_endless)
    video = Video(capture, name, live=is_live)
    width, height = video.size_wh
    if max_pixels is not None and width * height > max_pixels:
        capture.release()
        raise ValueError(
            f"{name}: frames of {width}x{height} pixels, expected at most "
            f"{max_pixels:,}; raise --max-pixels"
        )
    return video


def _capture(source: str) -> Any:
    """OpenCV's reader of a camera, a stream or a file; it may not have been able to open it."""
    import cv2

    camera = _CAMERA.fullmatch(source)
    if camera:
        return cv2.VideoCapture(int(camera[1]))
    if _is_stream(source):
        waits = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
            WAIT_MS,
            cv2.CAP_PROP_READ_TIMEOUT_MSEC,
            WAIT_MS,
        ]
        return cv2.VideoCapture(source, cv2.CAP_FFMPEG, waits)
    if Path(source).is_file():
        return cv2.VideoCapture(source)
    raise FileNotFoundError(f"{shown_name(source)}: no such film")


def histogram(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The shares of colours in an image (height, width, 3).

    They are (3 x 16,), each channel summing to 1/3.
    """
    height, width, _ = image.shape
    small = image[:: max(1, height // 128), :: max(1, width // 128)]
    bins = small >> 4  # 16 of 256 values each
    counts = [
        np.bincount(bins[..., channel].ravel(), minlength=_BINS) for channel in range(3)
    ]
    shares = np.concatenate(counts) / (3 * small.shape[0] * small.shape[1])
    return np.asarray(shares, dtype=np.float64)


def _difference(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """The share of colours that two histograms do not have in common, 0..1."""
    return float(np.abs(first - second).sum()) / 2


def _is_stream(text: str) -> bool:
    """Whether a text is the address of a stream."""
    scheme, mark, _ = text.partition("://")
    return bool(mark) and scheme.lower() in STREAMS


def _hint(source: str) -> str:
    """What to say of a source that does not open."""
    if _CAMERA.fullmatch(source):
        return "no such camera, or another program uses it; camera:0 is the first"
    if _is_stream(source):
        # its errors quote what they were given
        host = urlsplit(shown_name(source)).hostname
        return f"{host} does not answer with a film within {WAIT_MS // 1000} s; check the address"
    return (
        "expected a video file, got something else or a file that is cut short; "
        "check it with a player"
    )
