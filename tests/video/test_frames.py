"""Films made by code: times, sampling, scene changes, cut files, live sources."""

from __future__ import annotations

import builtins
import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regiontalk.video.frames import Video, histogram, is_video, open_video, shown_name

cv2: Any = pytest.importorskip(
    "cv2", reason="OpenCV is not installed (the extra video)"
)
RED, BLUE = (0, 0, 220), (220, 0, 0)  # as OpenCV orders colours
RATE = 10


def write(path: Path, colours: list[tuple[int, int, int]], code: str = "MJPG") -> Path:
    """A film with a frame a colour, ten a second."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), RATE, (64, 48))
    assert writer.isOpened()
    for number, colour in enumerate(colours):
        image = np.full((48, 64, 3), colour, dtype=np.uint8)
        image[number % 48] = 255 - image[number % 48]
        writer.write(image)
    writer.release()
    return path


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of red, then two of blue."""
    return write(tmp_path_factory.mktemp("films") / "a.avi", [RED] * 20 + [BLUE] * 20)


@pytest.mark.parametrize(
    ("every", "change", "most", "times"),
    [
        pytest.param(1.0, None, None, [0, 1, 2, 3], id="every second"),
        pytest.param(
            0.25, None, 1.0, [0, 0.3, 0.5, 0.8, 1.0], id="between frames: the next one"
        ),
        pytest.param(0.2, 0.3, None, [0, 2], id="only where the colours change"),
        pytest.param(0, None, 0.35, [0, 0.1, 0.2, 0.3], id="all"),
        pytest.param(9, None, None, [0], id="the first"),
        pytest.param(
            0.2,
            None,
            1.5,
            [0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4],
            id="a period that is no binary fraction",
        ),
    ],
)
def test_sampling(
    film: Path,
    every: float,
    change: float | None,
    most: float | None,
    times: list[float],
) -> None:
    with open_video(str(film)) as opened:
        frames = list(opened.frames(every, change, most))
        assert (
            opened.complete
            and opened.size_wh == (64, 48)
            and opened.seconds == pytest.approx(4)
        )
    assert [frame.time for frame in frames] == pytest.approx(times, abs=1e-3)
    for frame in frames:
        assert frame.image.shape == (48, 64, 3) and frame.image.dtype == np.uint8
        red, _, blue = np.median(frame.image, axis=(0, 1))
        assert (red > blue) == (frame.time < 1.95)  # RGB, though OpenCV reads BGR


def test_a_film_that_a_server_hands_out(film: Path) -> None:
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(film.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with open_video(f"http://127.0.0.1:{server.server_port}/{film.name}") as opened:
            times = [frame.time for frame in opened.frames(1.0)]
            assert not opened.live and opened.complete
        server.shutdown()
    # its own clock, not the wall's
    assert times == pytest.approx([0, 1, 2, 3], abs=1e-3)


@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".mkv"])
def test_a_film_that_ends_in_the_middle(tmp_path: Path, suffix: str) -> None:
    path = write(
        tmp_path / f"a{suffix}", [RED] * 60, "mp4v" if suffix == ".mp4" else "MJPG"
    )
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    if suffix == ".mp4":  # its index stands at the end: nothing can be read
        with pytest.raises(
            ValueError,
            match=r"a\.mp4: expected a video file, got something else or a file .* cut short",
        ):
            open_video(str(path))
        return
    with open_video(str(path)) as opened:
        times = [frame.time for frame in opened.frames(0.5)]
        assert 2 <= len(times) < 12 and not opened.complete


class Camera:
    """A capture with frames of its own and no time stamps."""

    def __init__(self, frames: int, rate: float = 0.0, stated: int = 0) -> None:
        self.left, self.rate, self.stated, self.released = frames, rate, stated, False

    def get(self, key: int) -> float:
        values = {
            cv2.CAP_PROP_FRAME_WIDTH: 8,
            cv2.CAP_PROP_FRAME_HEIGHT: 6,
            cv2.CAP_PROP_FPS: self.rate,
            cv2.CAP_PROP_FRAME_COUNT: self.stated,
        }
        return float(values.get(key, 0))

    def grab(self) -> bool:
        self.left -= 1
        return self.left >= 0

    def retrieve(self) -> tuple[bool, Any]:
        # every third cannot be decoded
        return self.left % 3 != 1, np.zeros((6, 8, 3), dtype=np.uint8)

    def release(self) -> None:
        self.released = True


def test_a_live_film_goes_on_while_we_compute() -> None:
    seconds = iter(np.arange(0, 99, 0.5).tolist())
    camera = Camera(12)
    with Video(camera, "camera:0", live=True, clock=lambda: next(seconds)) as opened:
        times = []
        for frame in opened.frames(1.0):
            times.append(frame.time)
            [next(seconds) for _ in range(4)]  # two seconds of work
        assert opened.complete and opened.seconds is None
    assert times == sorted(times) and min(np.diff(times)) >= 1.0 and camera.released


def test_frames_without_time_stamps() -> None:
    opened = Video(Camera(4, rate=2.0, stated=4), "a.avi", live=False)
    times = [frame.time for frame in opened.frames(0)]
    assert times == sorted(set(times)) and times[0] >= 0 and opened.complete


@pytest.mark.parametrize(
    ("every", "count"), [(0.1, 101), (0.2, 51), (0.3, 34), (0.7, 15)]
)
def test_a_period_takes_as_many_frames_as_fit(every: float, count: int) -> None:
    opened = Video(Stamped([number / 10 for number in range(101)]), "a.mp4", live=False)
    times = [frame.time for frame in opened.frames(every)]
    assert len(times) == count and times == pytest.approx(
        [number * every for number in range(count)]
    )


class Stamped(Camera):
    """A capture whose frames have these times, in seconds."""

    def __init__(self, times: list[float]) -> None:
        super().__init__(len(times), rate=10, stated=len(times))
        self.times = times

    def get(self, key: int) -> float:
        return (
            1000 * self.times[-1 - self.left]
            if key == cv2.CAP_PROP_POS_MSEC
            else super().get(key)
        )

    def retrieve(self) -> tuple[bool, Any]:
        return True, np.zeros((6, 8, 3), dtype=np.uint8)


def test_complete_and_end() -> None:
    opened = Video(Stamped([0.0, 0.1, 0.2, 0.3]), "a.mp4", live=False)
    assert (opened.complete, opened.end) == (False, 0)
    frames = opened.frames(0)
    next(frames), next(frames)
    assert (opened.complete, opened.end) == (
        False,
        pytest.approx(0.2),
    )  # who stops here has not seen it all
    assert len(list(frames)) == 2 and (opened.complete, opened.end) == (
        True,
        pytest.approx(0.4),
    )
    opened = Video(Stamped([0.0, 0.1, 0.2, 0.3]), "a.mp4", live=False)
    assert len(list(opened.frames(0, max_seconds=0.15))) == 2 and (
        opened.complete,
        opened.end,
    ) == (
        True,
        pytest.approx(0.2),
    )


@pytest.mark.parametrize(("every", "change"), [(-1, None), (1, 1.5)])
def test_settings(every: float, change: float | None) -> None:
    with pytest.raises(ValueError, match="expected every >= 0"):
        list(Video(Camera(1), "a", live=False).frames(every, change))


def test_sources(tmp_path: Path, film: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.mp4: no such film"):
        open_video("gone.mp4")
    (tmp_path / "words.mp4").write_text("these are only words")
    with pytest.raises(ValueError, match="expected a video file"):
        open_video(str(tmp_path / "words.mp4"))
    with pytest.raises(
        ValueError,
        match=r"frames of 64x48 pixels, expected at most 1,000; raise --max-pixels",
    ):
        open_video(str(film), 1000)
    with pytest.raises(ValueError, match="camera:987: no such camera"):
        open_video("camera:987")
    with pytest.raises(
        ValueError, match=r"rtsp://me@127\.0\.0\.1:9/x: 127\.0\.0\.1 does not answer"
    ):
        open_video("rtsp://me:secret@127.0.0.1:9/x")


def test_without_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def lacking(name: str, *rest: Any, **named: Any) -> Any:
        if name == "cv2":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", lacking)
    with pytest.raises(ImportError, match=r"pip install 'regiontalk\[video\]'"):
        open_video("a.mp4")


def test_names() -> None:
    assert (
        not is_video("camera:x")
        and not is_video("ftp://a/b")
        and is_video("HTTPS://a/b")
    )


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        pytest.param("a@b:c.mp4", "a@b:c.mp4", id="a file"),
        pytest.param("rtsp://door:554/1", "rtsp://door:554/1", id="no password"),
        pytest.param("http://door:80/a@b", "http://door:80/a@b", id="an @ in the path"),
        pytest.param(
            "rtsp://[::1]:554/a@b", "rtsp://[::1]:554/a@b", id="a numeric address"
        ),
        pytest.param(
            "rtsp://me@door:554/1",
            "rtsp://me@door:554/1",
            id="a user without a password",
        ),
        pytest.param("rtsp://me:SECRET@door/1", "rtsp://me@door/1", id="a password"),
        pytest.param("rtsp://:SECRET@door/1", "rtsp://@door/1", id="without a user"),
        pytest.param(
            "RTSP://me:SE@CR:ET@[::1]:554/1",
            "RTSP://me@[::1]:554/1",
            id="with @ and colon",
        ),
        pytest.param(
            "rtsp://me:SE/CR#ET@door/1", "rtsp://me@door/1", id="with a slash"
        ),
        pytest.param(
            "rtsp://me:12@3SECRET@door/1",
            "rtsp://me@door/1",
            id="that begins with digits",
        ),
        pytest.param(
            "http://a/b?user=me&password=SECRET&c=1",
            "http://a/b?user=me&password=***&c=1",
            id="password=",
        ),
        pytest.param("http://a/b?Pwd=SEC/RET", "http://a/b?Pwd=***", id="pwd="),
        pytest.param("http://a/b?pass=SECRET#x", "http://a/b?pass=***", id="pass="),
        pytest.param(
            "https://a/b?access_token=SECRET&x=1",
            "https://a/b?access_token=***&x=1",
            id="token=",
        ),
        pytest.param(
            "srt://a:9?passphrase=SECRET", "srt://a:9?passphrase=***", id="passphrase="
        ),
        pytest.param(
            "rtsp://a/user=me&password=SECRET&ch=1",
            "rtsp://a/user=me&password=***&ch=1",
            id="in the path",
        ),
    ],
)
def test_shown_name(source: str, shown: str) -> None:
    assert shown_name(source) == shown


def test_histogram() -> None:
    half = np.zeros((300, 200, 3), dtype=np.uint8)
    half[150:] = 255
    shares = histogram(half)
    assert shares.shape == (48,) and shares.sum() == pytest.approx(1)
    assert shares[[0, 15]] == pytest.approx([1 / 6, 1 / 6])
