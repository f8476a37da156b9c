"""Joining over time: one thing is named once; cues and JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from regiontalk.records import RegionCaption
from regiontalk.video.timeline import Timeline, Track, Tracker, webvtt

LEFT, NEAR, RIGHT = (0, 0, 20, 20), (4, 0, 24, 20), (70, 0, 90, 20)


def region(
    box: tuple[float, ...], text: str | None, confidence: float = 0.5
) -> RegionCaption:
    return RegionCaption((box[0], box[1], box[2], box[3]), text, confidence)


def joined(
    *frames: list[RegionCaption], patience: int = 2
) -> list[tuple[str, tuple[float, ...]]]:
    """The names of things and when they were seen, a frame a second."""
    tracker = Tracker(patience)
    for time, regions in enumerate(frames):
        tracker.add(float(time), None, regions)
    return [(thing.text, thing.times) for thing in tracker.things()]


@pytest.mark.parametrize(
    ("frames", "things"),
    [
        pytest.param(
            [[region(LEFT, "a dog")], [region(NEAR, "a dog")]],
            [("a dog", (0, 1))],
            id="moves a little",
        ),
        pytest.param(
            [[region(LEFT, "a dog")], [region(RIGHT, "a dog")]],
            [("a dog", (0, 1))],
            id="jumps, same words",
        ),
        pytest.param(
            [[region(LEFT, "a dog")], [region(RIGHT, "a man")]],
            [("a dog", (0,)), ("a man", (1,))],
            id="another thing",
        ),
        pytest.param(
            [
                [region(LEFT, "a dog", 0.4)],
                [region(NEAR, "a wolf", 0.6)],
                [region(LEFT, "a dog", 0.4)],
            ],
            [("a dog", (0, 1, 2))],
            id="the frames vote: 0.8 against 0.6",
        ),
        pytest.param(
            [
                [region(LEFT, "a dog"), region(RIGHT, "a dog")],
                [region(RIGHT, "a dog"), region(LEFT, "a dog")],
            ],
            [("a dog", (0, 1)), ("a dog", (0, 1))],
            id="two of a kind stay two",
        ),
        pytest.param(
            [[region(LEFT, "a dog")], [], [region(LEFT, "a dog")]],
            [("a dog", (0, 2))],
            id="out of sight for a moment",
        ),
        pytest.param(
            [[region(LEFT, "a dog")], [], [], [region(LEFT, "a dog")]],
            [("a dog", (0,)), ("a dog", (3,))],
            id="out of sight too long",
        ),
        pytest.param([[region(LEFT, None)], []], [], id="without words"),
        pytest.param([], [], id="no frame"),
    ],
)
def test_joined(
    frames: list[list[RegionCaption]], things: list[tuple[str, tuple[float, ...]]]
) -> None:
    assert joined(*frames) == things


def test_what_is_new() -> None:
    tracker, dog = Tracker(3), region(LEFT, "a dog")
    assert tracker.add(0.0, region(LEFT, "a dog runs"), [dog]) == (True, [dog])
    assert tracker.add(1.0, region(LEFT, "a dog runs fast"), [dog]) == (False, [])
    assert tracker.add(2.0, None, []) == (False, [])
    cat = region(RIGHT, "a cat", 0.7)
    assert tracker.add(3.0, region(LEFT, "a cat sleeps"), [cat]) == (True, [cat])
    assert [scene.text for scene in tracker.scenes()] == ["a dog runs", "a cat sleeps"]
    assert tracker.scenes()[0].times == (0, 1) and tracker.scenes()[0].boxes == ()
    with pytest.raises(ValueError, match=r"expected more than 3.0, got 3.0"):
        tracker.add(3.0, None, [])


TIMELINE = Timeline(
    "a.mp4",
    (90, 20),
    "mini",
    (0.0, 1.0, 2.5),
    True,
    (Track("a dog runs", 0.5, (0.0, 1.0)), Track("it <rains> & rains", 0.5, (2.5,))),
    (Track("a ball", 0.75, (1.0,), (RIGHT,)),),
)


def test_webvtt() -> None:
    # The sentence of 0 and 1 s holds until the next frame, at 2.5 s; the film is over at 3.5 s
    assert webvtt(TIMELINE, 3.5) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:02.500\na dog runs\n\n00:00:01.000 --> "
        "00:00:02.500\na ball\n\n00:00:02.500 --> 00:00:03.500\nit &lt;rains&gt; &amp; "
        "rains\n"
    )


def test_a_scene_that_no_frame_was_sure_of_is_hedged() -> None:
    tracker = Tracker(3)
    for time, is_sure in enumerate([False, True, False]):
        words = "a dog runs" if time < 2 else "a cat sleeps"
        tracker.add(time, replace(region(LEFT, words), sure=is_sure), [])
    scenes = tracker.scenes()
    assert [scene.sure for scene in scenes] == [True, False]
    cues = webvtt(replace(TIMELINE, scenes=scenes, things=()), 3.5).splitlines()
    assert cues[3::3] == ["a dog runs", "perhaps: a cat sleeps"]


def test_json() -> None:
    document = json.loads(json.dumps(TIMELINE.to_dict()))
    assert (
        document["format"] == 1
        and document["frames"] == [0, 1, 2.5]
        and document["complete"] is True
    )
    assert document["things"] == [
        {
            "text": "a ball",
            "confidence": 0.75,
            "first": 1,
            "last": 1,
            "seen": [{"time": 1, "box": [70, 0, 90, 20]}],
        }
    ]
    assert document["scenes"][0] == {
        "text": "a dog runs",
        "confidence": 0.5,
        "first": 0,
        "last": 1,
    }
