"""What was said of the frames of a film, joined over time: one thing is named once, with the times it was seen.

`Joiner` takes the regions of one frame after the other. A region goes on a thing that was seen a
moment ago where its box lies over that thing's last box, or its words are that thing's words, or
some of both; a thing's name is the caption that the frames vote for, each with its confidence.
`Timeline` is the record, `webvtt` its form for players. Times are seconds from the start, boxes
pixels of the frame.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from regiontalk.boxes import iou
from regiontalk.records import FORMAT, RegionCaption
from regiontalk.text.nouns import content_words

SAME = 0.5  # of IoU plus half of the shared words: a region and a thing are then one
SCENE = 0.5  # of all words shared: two sentences about the whole frame say the same

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Thing:
    """One thing over time.

    Attributes:
        text: its name.
        confidence: mean of the captions with that name, 0..1.
        times: when it was seen, in seconds, rising.
        boxes: where, one a time; empty for a sentence about whole frames.
    """

    text: str
    confidence: float
    times: tuple[float, ...]
    boxes: tuple[Box, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values: dict[str, Any] = {
            "text": self.text,
            "confidence": round(self.confidence, 4),
            "first": round(self.times[0], 3),
            "last": round(self.times[-1], 3),
        }
        if self.boxes:
            values["seen"] = [
                {"time": round(time, 3), "box": [round(float(value), 1) for value in box]}
                for time, box in zip(self.times, self.boxes, strict=True)
            ]
        return values


@dataclass(frozen=True)
class Timeline:
    """A film in words.

    Attributes:
        source: the file or address, without a password.
        size_wh: width and height of its frames.
        model: the name of the model that spoke.
        times: of the frames that were looked at, in seconds.
        complete: False where the film ended before its stated length, or was stopped.
        scenes: sentences about whole frames, in order.
        things: in the order in which they were first seen.
    """

    source: str
    size_wh: tuple[int, int]
    model: str
    times: tuple[float, ...]
    complete: bool
    scenes: tuple[Thing, ...]
    things: tuple[Thing, ...]

    def to_dict(self) -> dict[str, Any]:
        """The JSON document, format number included."""
        return {
            "format": FORMAT,
            "source": self.source,
            "width": self.size_wh[0],
            "height": self.size_wh[1],
            "model": self.model,
            "frames": [round(time, 3) for time in self.times],
            "complete": self.complete,
            "scenes": [scene.to_dict() for scene in self.scenes],
            "things": [thing.to_dict() for thing in self.things],
        }


@dataclass
class _Track:
    """A thing while it is being seen."""

    last: int = 0  # number of the frame that showed it last
    times: list[float] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    votes: dict[str, list[float]] = field(default_factory=dict)

    def add(self, frame: int, time: float, region: RegionCaption, with_box: bool) -> None:
        self.last = frame
        self.times.append(time)
        if with_box:
            self.boxes.append(region.box)
        self.votes.setdefault(region.text or "", []).append(region.confidence)

    def text(self) -> str:
        return max(self.votes, key=lambda text: sum(self.votes[text]))

    def thing(self) -> Thing:
        text = self.text()
        votes = self.votes[text]
        return Thing(text, sum(votes) / len(votes), tuple(self.times), tuple(self.boxes))


class Joiner:
    """Joins what is said of frames over time.

    Args:
        patience: frames from one sight of a thing to the next that still make it the same; 1 allows
            no gap.
    """

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self._tracks: list[_Track] = []
        self._scenes: list[_Track] = []
        self._times: list[float] = []

    def add(
        self, time: float, caption: RegionCaption | None, regions: Sequence[RegionCaption]
    ) -> tuple[bool, list[RegionCaption]]:
        """Take the next frame.

        Args:
            time: in seconds, later than the last one.
            caption: of the whole frame; None, or one without words, says nothing.
            regions: one a thing; those without words are passed over.

        Returns:
            Whether the whole frame's sentence is a new one, and the regions that show new things.

        Raises:
            ValueError: the time is not later.
        """
        if self._times and time <= self._times[-1]:
            raise ValueError(f"time: expected more than {self._times[-1]}, got {time}")
        self._times.append(time)
        fresh = []
        spoken = [region for region in regions if region.text]
        followed = self._followed(spoken)
        for row, region in enumerate(spoken):
            track = followed.get(row)
            if track is None:
                track = _Track()
                self._tracks.append(track)
                fresh.append(region)
            track.add(len(self._times), time, region, with_box=True)
        return self._add_scene(time, caption), fresh

    def scenes(self) -> tuple[Thing, ...]:
        """The sentences about whole frames so far."""
        return tuple(track.thing() for track in self._scenes)

    def things(self) -> tuple[Thing, ...]:
        """All things so far, in the order in which they were first seen."""
        return tuple(track.thing() for track in self._tracks)

    def times(self) -> tuple[float, ...]:
        """When frames were taken."""
        return tuple(self._times)

    def _is_open(self, track: _Track) -> bool:
        """Whether a thing was seen a moment ago."""
        return len(self._times) - track.last <= self._patience

    def _followed(self, regions: Sequence[RegionCaption]) -> dict[int, _Track]:
        """Row of a region -> the thing that it goes on, each thing once, the best pairs first."""
        open_tracks = [track for track in self._tracks if self._is_open(track)]
        if not open_tracks or not regions:
            return {}
        here = np.array([region.box for region in regions], dtype=np.float32)
        there = np.array([track.boxes[-1] for track in open_tracks], dtype=np.float32)
        words = [
            [_shared(region.text or "", track.text()) for track in open_tracks]
            for region in regions
        ]
        scores = iou(here, there) + 0.5 * np.array(words)
        found: dict[int, _Track] = {}
        taken: set[int] = set()
        for place in np.argsort(-scores, axis=None, kind="stable").tolist():
            row, column = divmod(place, len(open_tracks))
            if scores[row, column] < SAME:
                break
            if row not in found and column not in taken:
                found[row] = open_tracks[column]
                taken.add(column)
        return found

    def _add_scene(self, time: float, caption: RegionCaption | None) -> bool:
        if caption is None or not caption.text:
            return False
        last = self._scenes[-1] if self._scenes else None
        known = (
            last is not None and self._is_open(last) and _shared(last.text(), caption.text) >= SCENE
        )
        if last is None or not known:
            self._scenes.append(_Track())
        self._scenes[-1].add(len(self._times), time, caption, with_box=False)
        return not known


def _shared(first: str, second: str) -> float:
    """The share of the content words of two captions that both have, 0..1."""
    one, other = content_words(first), content_words(second)
    return len(one & other) / max(1, len(one | other))


def webvtt(timeline: Timeline, end: float) -> str:
    """The timeline as a WebVTT file (https://www.w3.org/TR/webvtt1/): cues for scenes, and for things while seen.

    Args:
        timeline: of a film.
        end: seconds at which what the last frame shows is over, later than that frame.
    """
    cues = [_cue(thing, timeline.times, end) for thing in (*timeline.scenes, *timeline.things)]
    cues.sort(
        key=lambda cue: cue[0]
    )  # of cues that begin together the sentence about the whole frame comes first
    rows = [f"{_clock(start)} --> {_clock(end)}\n{text}" for start, end, text in cues]
    return "\n\n".join(["WEBVTT", *rows]) + "\n"


def _cue(thing: Thing, times: Sequence[float], last: float) -> tuple[float, float, str]:
    """Start, end (when the next frame was looked at) and escaped words."""
    following = bisect_right(times, thing.times[-1])
    end = times[following] if following < len(times) else last
    text = (
        " ".join(thing.text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    )
    return thing.times[0], end, text


def _clock(seconds: float) -> str:
    """A time as players write it.

    >>> _clock(3725.5)
    '01:02:05.500'
    """
    milliseconds = round(seconds * 1000)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d}.{rest % 1000:03d}"
