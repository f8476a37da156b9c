"""``regiontalk caption`` on films: lines as they come, timelines, cut films, mistakes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regiontalk.cli import session
from regiontalk.records import ImageResult, RegionCaption

cv2: Any = pytest.importorskip(
    "cv2", reason="OpenCV is not installed (the extra video)"
)


class Watcher:
    """Says the colour of a frame, and of a ball that moves."""

    def __init__(self) -> None:
        self.frames = 0

    def caption_many(self, photos: Sequence[Any], **_: Any) -> list[ImageResult]:
        return [self._said(photo) for photo in photos]

    def describe(self, photo: Any, boxes_xyxy: Sequence[Any], **_: Any) -> ImageResult:
        return self._said(
            photo, [RegionCaption(box, "a door", 0.9) for box in boxes_xyxy]
        )

    def _said(
        self, photo: Any, regions: list[RegionCaption] | None = None
    ) -> ImageResult:
        self.frames += 1
        red = photo[..., 0].mean() > photo[..., 2].mean()
        whole = RegionCaption(
            (0, 0, 64, 48), "a red field" if red else "the blue sea", 0.8
        )
        ball = RegionCaption((self.frames, 0, self.frames + 10, 10), "a ball", 0.6)
        return ImageResult("array", (64, 48), "fake", whole, tuple(regions or [ball]))


@pytest.fixture
def film(run: Any, monkeypatch: pytest.MonkeyPatch) -> Watcher:
    """Two seconds of red and two of blue in ``film.avi``, and the model that watches.

    Ten frames a second.
    """
    writer = cv2.VideoWriter("film.avi", cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for number in range(40):
        writer.write(
            np.full(
                (48, 64, 3), (0, 0, 200) if number < 20 else (200, 0, 0), dtype=np.uint8
            )
        )
    writer.release()
    watcher = Watcher()
    monkeypatch.setattr(session, "load_captioner", lambda *_: watcher)
    return watcher


def test_lines(run: Any, film: Watcher) -> None:
    result = run("caption", "film.avi")
    assert result.exit_code == 0 and film.frames == 4, result.output
    assert result.stdout.splitlines() == [
        "0:00.0  a red field (0.80)",
        "0:00.0    1,0,11,10: a ball (0.60)",
        "0:02.0  the blue sea (0.80)",
    ]


def test_timelines(run: Any, film: Watcher) -> None:
    result = run(
        "caption",
        "film.avi",
        "--json",
        "--timeline",
        "out/t.vtt",
        "--timeline",
        "out/t.json",
    )
    document = json.loads(result.stdout)
    assert result.exit_code == 0 and document == json.loads(
        Path("out/t.json").read_text()
    )
    assert document["frames"] == [0, 1, 2, 3] and document["complete"] is True
    assert [(row["text"], row["first"], row["last"]) for row in document["scenes"]] == [
        ("a red field", 0, 1),
        ("the blue sea", 2, 3),
    ]
    (ball,) = document["things"]
    assert ball["text"] == "a ball" and len(ball["seen"]) == 4
    assert (
        "00:00:02.000 --> 00:00:04.000\nthe blue sea" in Path("out/t.vtt").read_text()
    )


@pytest.mark.parametrize(
    ("options", "frames"),
    [
        pytest.param(["--every", "0.5"], 8, id="every half second"),
        pytest.param(["--scene", "0.3"], 2, id="scene changes"),
        pytest.param(["--seconds", "1.5"], 2, id="stop early"),
        pytest.param(["--box", "0,0,9,9"], 4, id="a box of one's own"),
    ],
)
def test_sampling(run: Any, film: Watcher, options: list[str], frames: int) -> None:
    result = run("caption", "film.avi", *options)
    assert result.exit_code == 0 and film.frames == frames
    assert result.stdout.count("a door" if "--box" in options else "a ball") == 1


def test_a_film_that_ends_in_the_middle(run: Any, film: Watcher) -> None:
    data = Path("film.avi").read_bytes()
    Path("cut.avi").write_bytes(data[: len(data) * 3 // 4])
    result = run("caption", "cut.avi", "--timeline", "t.json")
    assert (
        result.exit_code == 1
        and "ended after 2.0 of 4.0 s: damaged or cut short" in result.stderr
    )
    assert json.loads(Path("t.json").read_text())["complete"] is False


def test_stopped_by_hand(
    run: Any, film: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> Any:
        if film.frames == 2:
            raise KeyboardInterrupt
        return [film._said(np.zeros((48, 64, 3), dtype=np.uint8))]

    monkeypatch.setattr(film, "caption_many", stop)
    result = run("caption", "film.avi", "--timeline", "t.json")
    assert result.exit_code == 0 and "stopped" in result.stderr
    document = json.loads(Path("t.json").read_text())
    assert len(document["frames"]) == 2 and document["complete"] is False


def test_stopped_before_the_first_frame(
    run: Any, film: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(film, "caption_many", stop)
    result = run("caption", "film.avi", "--json", "--timeline", "t.json")
    assert result.exit_code == 1 and result.stdout == "" and not Path("t.json").exists()
    assert result.stderr == "stopped before the first frame; nothing is written\n"


@pytest.mark.parametrize(
    ("options", "end"),
    [
        pytest.param(["--scene", "0.3"], "00:00:04.000", id="to the end of the film"),
        pytest.param(
            ["--scene", "0.3", "--seconds", "3"],
            "00:00:03.100",
            id="to the last frame that was asked for",
        ),
        pytest.param(["--every", "3"], "00:00:04.000", id="not beyond the end"),
    ],
)
def test_the_last_cue(run: Any, film: Watcher, options: list[str], end: str) -> None:
    assert run("caption", "film.avi", "--timeline", "t.vtt", *options).exit_code == 0
    assert f"--> {end}\nthe blue sea" in Path("t.vtt").read_text()


def test_the_last_cue_of_a_film_that_was_stopped(
    run: Any, film: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> Any:
        if film.frames == 1:
            raise KeyboardInterrupt
        return [film._said(np.zeros((48, 64, 3), dtype=np.uint8))]

    monkeypatch.setattr(film, "caption_many", stop)
    for options, end in (
        (["--scene", "0.3"], "00:00:02.100"),
        (["--every", "0.5"], "00:00:00.600"),
    ):
        film.frames = 0
        run("caption", "film.avi", "--timeline", "t.vtt", *options)
        assert f"00:00:00.000 --> {end}\n" in Path("t.vtt").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["gone.mp4"], "gone.mp4: no such film", id="no such film"),
        pytest.param(["words.mp4"], "expected a video file", id="no film"),
        pytest.param(
            ["film.avi", "a.png"],
            "expected one video and nothing else, got 2 names",
            id="film and photo",
        ),
        pytest.param(
            ["rtsp://me:pass@door/1", "a.png"],
            "rtsp://me@door/1: expected one video",
            id="not with its password",
        ),
        pytest.param(["film.avi", "--draw", "x"], "--draw: expected photos", id="draw"),
        pytest.param(
            ["film.avi", "--all-boxes"], "--all-boxes: expected photos", id="all boxes"
        ),
        pytest.param(
            ["film.avi", "--timeline", "t.srt"],
            "expected a name that ends in .json or .vtt",
            id="timeline",
        ),
        pytest.param(
            ["a.png", "--every", "2"],
            "--every, --scene, --seconds and --timeline are for videos",
            id="a photo",
        ),
        pytest.param(
            ["film.avi", "--max-pixels", "99"], "raise --max-pixels", id="large frames"
        ),
    ],
)
def test_mistakes(
    run: Any, film: Watcher, refused: Any, arguments: list[str], message: str
) -> None:
    Path("words.mp4").write_text("only words")
    refused(run("caption", *arguments), message)
    assert film.frames == 0
