"""How far a long command is.

A bar on a terminal, plain lines elsewhere, nothing at all for what is quick.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

QUIET_SECONDS = 2.0  # what takes no longer needs no progress
LINE_SECONDS = 10.0  # between plain lines


class Meter:
    """Counts photos on stderr; a context manager.

    Args:
        total: photos in all; one photo is never shown.
        clock: seconds; for tests.
        terminal: whether stderr is one; None asks it.
        unit: what is counted.
    """

    def __init__(
        self,
        total: int,
        clock: Callable[[], float] = time.monotonic,
        terminal: bool | None = None,
        unit: str = "photos",
    ) -> None:
        self._total = total
        self._done = 0
        self._unit = unit
        self._clock = clock
        self._terminal = sys.stderr.isatty() if terminal is None else terminal
        self._next = clock() + QUIET_SECONDS
        self._bar: Progress | None = None

    def __enter__(self) -> Meter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self) -> None:
        """One photo more is done."""
        self._done += 1
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self._done)
        elif self._done < self._total and self._clock() >= self._next:
            self._show()

    def _show(self) -> None:
        if self._terminal:
            self._bar = _bar(self._total, self._done, self._unit)
            self._bar.start()
        else:
            typer.echo(f"{self._done} of {self._total} {self._unit}", err=True)
            self._next = self._clock() + LINE_SECONDS

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take the bar away while results are printed on the same terminal."""
        if self._bar is None:
            yield
            return
        self._bar.stop()
        yield
        self._bar.start()


class Walks:
    """Meters of walks over the same photos again and again, one at a time.

    A context manager that ends the last.
    """

    def __init__(self) -> None:
        self._meter: Meter | None = None
        self._walk: object = None
        self._done = 0

    def __enter__(self) -> Walks:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        self._end()

    def over(self, total: int, unit: str) -> Callable[[int], None]:
        """What wants to be told how many of ``total`` are done.

        A number that does not rise begins another walk.
        """

        def done(number: int) -> None:
            if self._meter is None or self._walk is not done or number <= self._done:
                self._end()
                self._meter = Meter(total, unit=unit)
                self._walk = done
                self._done = 0
            for _ in range(number - self._done):
                self._meter.advance()
            self._done = number
            if number >= total:
                self._end()

        return done

    def _end(self) -> None:
        if self._meter is not None:
            self._meter.__exit__(None, None, None)
        self._meter = None


def _bar(total: int, done: int, unit: str) -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TimeRemainingColumn,
    )

    columns = (BarColumn(), MofNCompleteColumn(), unit, TimeRemainingColumn())
    progress = Progress(
        *columns, console=Console(stderr=True), transient=True, redirect_stdout=False
    )
    progress.add_task("photos", total=total, completed=done)
    return progress
