"""The meter: silent for two seconds, then a bar or plain lines."""

from __future__ import annotations

import pytest

from regiontalk.cli import progress
from regiontalk.cli.progress import Meter, Walks


@pytest.mark.parametrize(
    ("seconds_a_photo", "photos", "lines"),
    [
        pytest.param(0.1, 10, [], id="quick: nothing"),
        pytest.param(5.0, 1, [], id="one photo: nothing"),
        # photos end at 1, 2, 3 ... s: the first line at 2 s, the next 10 s later
        pytest.param(
            1.0,
            15,
            ["2 of 15 photos", "12 of 15 photos"],
            id="slow: a line after 2 s, then each 10 s",
        ),
    ],
)
def test_plain_lines(
    capsys: pytest.CaptureFixture[str],
    seconds_a_photo: float,
    photos: int,
    lines: list[str],
) -> None:
    now = [0.0]
    with Meter(photos, clock=lambda: now[0], terminal=False) as meter:
        for _ in range(photos):
            now[0] += seconds_a_photo
            meter.advance()
    captured = capsys.readouterr()
    assert captured.err.splitlines() == lines and captured.out == ""


def test_bar_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    now = [0.0]
    with Meter(4, clock=lambda: now[0], terminal=True) as meter:
        for _ in range(4):
            now[0] += 1.5
            meter.advance()
            with meter.paused():
                print("result")
    captured = capsys.readouterr()
    assert captured.out == "result\n" * 4
    assert "2/4" in captured.err and "4/4" in captured.err


def test_walks_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, int]] = []

    class Counted(Meter):
        def advance(self) -> None:
            super().advance()
            told.append((self._unit, self._done))

    monkeypatch.setattr(progress, "Meter", Counted)
    with Walks() as walks:
        dev, train = walks.over(4, "of dev"), walks.over(2, "of train")
        for number in (2, 4, 4):  # a second walk of one batch, which ends
            dev(number)
        train(1)
        dev(1)  # the walk over train was left
    counts = [("of dev", 1), ("of dev", 2), ("of dev", 3), ("of dev", 4)]
    assert told == [*counts, *counts, ("of train", 1), ("of dev", 1)]
