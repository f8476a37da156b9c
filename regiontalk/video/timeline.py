"""What was said of the frames of a video, joined over time.

One thing is named once, with the times it was seen. `Tracker` takes the regions of one
frame after the other. A region continues the track of a thing that was seen a moment
ago where its box lies over that thing's last box, or its words are that thing's words,
or some of both; a thing's name is the caption that the frames vote for, each with its
confidence. `Timeline` is the record, `webvtt` its form for players. Times are seconds
from the start, boxes pixels of the frame.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontalk.boxes import iou
from regiontalk.records import FORMAT, RegionCaption
from regiontalk.text.nouns import content_stems

SAME = 0.5  # of IoU plus half of the shared words: a region and a thing are then one
SCENE = 0.5  # of all words shared: two sentences about the whole frame say the same

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Track:
    """One thing over time.

    Attributes:
        text: its name.
        confidence: mean of the captions with that name, 0..1.
        times: when it was seen, in seconds, rising.
        boxes: where, one a time; empty for a sentence about whole frames.
        sure: whether the model was sure of that name at one of the times.
    """

    text: str
    confidence: float
    times: tuple[float, ...]
    boxes: tuple[Box, ...] = ()
    sure: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values: dict[str, Any] = {
            "text": self.text,
            "confidence": round(self.confidence, 4),
            "first": round(self.times[0], 3),
            "last": round(self.times[-1], 3),
        }
        if self.boxes:
            sights = zip(self.times, self.boxes, strict=True)
            values["seen"] = [_sight(time, box) for time, box in sights]
        return values


def _sight(time: float, box: Box) -> dict[str, Any]:
    """Where a thing was seen at one time, as plain values."""
    corners = [round(float(value), 1) for value in box]
    return {"time": round(time, 3), "box": corners}


@dataclass(frozen=True)
class Timeline:
    """A video in words.

    Attributes:
        source: the file or address, without a password.
        size_wh: width and height of its frames.
        model: the name of the model that spoke.
        times: of the frames that were looked at, in seconds.
        complete: False where the video ended before its stated length, or was stopped.
        scenes: sentences about whole frames, in order.
        things: in the order in which they were first seen.
    """

    source: str
    size_wh: tuple[int, int]
    model: str
    times: tuple[float, ...]
    complete: bool
    scenes: tuple[Track, ...]
    things: tuple[Track, ...]

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
class _OpenTrack:
    """A thing while it is being seen."""

    last: int = 0  # number of the frame that showed it last
    times: list[float] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    votes: dict[str, list[float]] = field(default_factory=dict)
    sure_texts: set[str] = field(default_factory=set)

    def add(
        self, frame: int, time: float, region: RegionCaption, with_box: bool
    ) -> None:
        """Take another sight of it."""
        self.last = frame
        self.times.append(time)
        if with_box:
            self.boxes.append(region.box)
        text = region.text or ""
        self.votes.setdefault(text, []).append(region.confidence)
        if region.sure:
            self.sure_texts.add(text)

    def text(self) -> str:
        """The name that most confidence speaks for."""
        totals = {text: sum(confidences) for text, confidences in self.votes.items()}
        return max(totals, key=totals.__getitem__)

    def record(self) -> Track:
        """What is known of it so far."""
        text = self.text()
        votes = self.votes[text]
        confidence = sum(votes) / len(votes)
        times, boxes = tuple(self.times), tuple(self.boxes)
        return Track(text, confidence, times, boxes, text in self.sure_texts)


class Tracker:
    """Joins what is said of frames over time.

    Args:
        patience: frames from one sight of a thing to the next that still make it the same; 1 allows
            no gap.
    """

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self._tracks: list[_OpenTrack] = []
        self._scenes: list[_OpenTrack] = []
        self._times: list[float] = []

    def add(
        self,
        time: float,
        caption: RegionCaption | None,
        regions: Sequence[RegionCaption],
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
        frame = len(self._times)
        captioned = [region for region in regions if region.text]
        track_of_row = self._continued(captioned)
        new_regions: list[RegionCaption] = []
        for row, region in enumerate(captioned):
            track = track_of_row.get(row)
            if track is None:
                track = _OpenTrack()
                self._tracks.append(track)
                new_regions.append(region)
            track.add(frame, time, region, with_box=True)
        return self._add_scene(time, caption), new_regions

    def scenes(self) -> tuple[Track, ...]:
        """The sentences about whole frames so far."""
        return tuple(track.record() for track in self._scenes)

    def things(self) -> tuple[Track, ...]:
        """All things so far, in the order in which they were first seen."""
        return tuple(track.record() for track in self._tracks)

    def times(self) -> tuple[float, ...]:
        """When frames were taken."""
        return tuple(self._times)

    def _is_open(self, track: _OpenTrack) -> bool:
        """Whether a thing was seen a moment ago."""
        return len(self._times) - track.last <= self._patience

    def _continued(self, regions: Sequence[RegionCaption]) -> dict[int, _OpenTrack]:
        """Row of a region -> the track that it continues, each track once, the best pairs first."""
        open_tracks = [track for track in self._tracks if self._is_open(track)]
        if not open_tracks or not regions:
            return {}
        scores = _pair_scores(regions, open_tracks)
        track_of_row: dict[int, _OpenTrack] = {}
        used_columns: set[int] = set()
        for pair in np.argsort(-scores, axis=None, kind="stable").tolist():
            row, column = divmod(pair, len(open_tracks))
            if scores[row, column] < SAME:
                break
            if row not in track_of_row and column not in used_columns:
                track_of_row[row] = open_tracks[column]
                used_columns.add(column)
        return track_of_row

    def _add_scene(self, time: float, caption: RegionCaption | None) -> bool:
        """Take the sentence about a whole frame; whether it says something new."""
        if caption is None or not caption.text:
            return False
        last = self._scenes[-1] if self._scenes else None
        is_new = (
            _shared_words(last.text(), caption.text) < SCENE
            if last is not None and self._is_open(last)
            else True
        )
        if is_new:
            self._scenes.append(_OpenTrack())
        self._scenes[-1].add(len(self._times), time, caption, with_box=False)
        return is_new


def _pair_scores(
    regions: Sequence[RegionCaption], tracks: Sequence[_OpenTrack]
) -> NDArray[np.float64]:
    """How well each of N regions continues each of M tracks.

    IoU plus half of the shared words, (N, M).
    """
    region_boxes = np.array([region.box for region in regions], dtype=np.float32)
    track_boxes = np.array([track.boxes[-1] for track in tracks], dtype=np.float32)
    names = [track.text() for track in tracks]
    shared_words = np.zeros((len(regions), len(tracks)))
    for row, region in enumerate(regions):
        shared_words[row] = [_shared_words(region.text or "", name) for name in names]
    return np.asarray(iou(region_boxes, track_boxes) + 0.5 * shared_words)


def _shared_words(first: str, second: str) -> float:
    """The share of the content words of two captions that both have, 0..1."""
    first_words, second_words = content_stems(first), content_stems(second)
    shared, total = first_words & second_words, first_words | second_words
    return len(shared) / max(1, len(total))


def webvtt(timeline: Timeline, end: float) -> str:
    """The timeline as a WebVTT file (https://www.w3.org/TR/webvtt1/).

    Cues for scenes, and for things while seen.

    Args:
        timeline: of a video.
        end: seconds at which what the last frame shows is over, later than that frame.
    """
    cues = [
        _cue(track, timeline.times, end)
        for track in (*timeline.scenes, *timeline.things)
    ]
    # of cues that begin together the sentence about the whole frame comes first
    cues.sort(key=lambda cue: cue[0])
    rows = [f"{_clock(start)} --> {_clock(end)}\n{text}" for start, end, text in cues]
    return "\n\n".join(["WEBVTT", *rows]) + "\n"


def _cue(track: Track, times: Sequence[float], last: float) -> tuple[float, float, str]:
    """Start, end (when the next frame was looked at) and escaped words."""
    following = bisect_right(times, track.times[-1])
    end = times[following] if following < len(times) else last
    hedge = "" if track.sure else "perhaps: "
    text = escape(" ".join(track.text.split()), quote=False)
    return track.times[0], end, hedge + text


def _clock(seconds: float) -> str:
    """A time as players write it.

    >>> _clock(3725.5)
    '01:02:05.500'
    """
    milliseconds = round(seconds * 1000)
    whole_seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds_left = divmod(whole_seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds_left:02d}.{milliseconds:03d}"
