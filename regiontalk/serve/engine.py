"""The queue before the model: requests that wait together are computed together, in one thread.

While one batch is computed others arrive; the next batch takes the oldest request and all that ask
for the same settings, up to a limit. One thread computes, because torch uses every core by itself;
the event loop stays free.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, NamedTuple, Protocol, TypeVar

from regiontalk.images.open import Photo, PictureSource
from regiontalk.records import ImageResult

T = TypeVar("T")


class CaptionMany(Protocol):
    """`RegionCaptioner.caption_many`."""

    def __call__(
        self,
        photos: Sequence[PictureSource],
        *,
        regions: int,
        beams: int | None,
        threshold: float | None,
    ) -> list[ImageResult]:
        """Captions of several photos."""


class Speaking(NamedTuple):
    """The settings of a caption; requests with equal ones may be computed together."""

    regions: int
    beams: int | None
    threshold: float | None


class BusyError(Exception):
    """No more requests fit; ``seconds`` says when to come again."""

    def __init__(self, seconds: int) -> None:
        """Take the seconds after which the queue will probably have moved."""
        super().__init__(f"too many requests wait; come again in {seconds} s")
        self.seconds = seconds


@dataclass(eq=False)
class _Job:
    """One request: a photo with settings, or other work."""

    future: asyncio.Future[Any]
    photo: Photo | None = None
    settings: Speaking | None = None
    work: Callable[[], Any] | None = None


@dataclass
class _Pace:
    """A running mean of how long one request takes, in seconds."""

    seconds: float = 0.5

    def saw(self, seconds: float, requests: int) -> None:
        self.seconds += 0.2 * (seconds / requests - self.seconds)


@dataclass(eq=False)
class Engine:
    """Computes requests in their order, together where that is possible.

    Attributes:
        caption_many: computes a batch of photos.
        waiting: requests that may be inside at once.
        batch: photos computed together at most.
        saw_batch: told the size of every batch of captions.
    """

    caption_many: CaptionMany
    waiting: int
    batch: int
    saw_batch: Callable[[int], object] = lambda size: None
    inside: int = 0
    _jobs: deque[_Job] = field(default_factory=deque)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _pace: _Pace = field(default_factory=_Pace)

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """A place for one request, taken before its body is read.

        Raises:
            BusyError: all places are taken.
        """
        if self.inside >= self.waiting:
            raise BusyError(max(1, math.ceil(self.inside * self._pace.seconds)))
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Compute while the context lasts."""
        with ThreadPoolExecutor(1, "regiontalk") as thread:
            task = asyncio.create_task(self._work(thread))
            try:
                yield
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def caption(self, photo: Photo, settings: Speaking) -> ImageResult:
        """`caption_many` of one photo, perhaps together with other requests'."""
        result: ImageResult = await self._wait(
            _Job(self._future(), photo=photo, settings=settings)
        )
        return result

    async def call(self, work: Callable[[], T]) -> T:
        """Anything else that needs the model, in its turn."""
        result: T = await self._wait(_Job(self._future(), work=work))
        return result

    def _future(self) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().create_future()

    async def _wait(self, job: _Job) -> Any:
        self._jobs.append(job)
        self._arrived.set()
        return await job.future

    async def _work(self, thread: ThreadPoolExecutor) -> None:
        """Batch after batch, until cancelled."""
        while True:
            await self._arrived.wait()
            jobs = self._next()
            if not jobs:
                self._arrived.clear()
                continue
            begun = monotonic()
            try:
                outcomes = await asyncio.get_running_loop().run_in_executor(
                    thread, self._compute, jobs
                )
                _settle(jobs, outcomes)
            except Exception as error:  # a fault of ours must not end the loop, and with it every answer to come
                fault = RuntimeError("the engine failed")
                fault.__cause__ = error
                _settle(jobs, [fault] * len(jobs))
            self._pace.saw(monotonic() - begun, len(jobs))

    def _next(self) -> list[_Job]:
        """The oldest job that somebody still waits for, and those that can be computed with it."""
        self._jobs = deque(job for job in self._jobs if not job.future.done())
        if not self._jobs:
            return []
        first = self._jobs[0]
        alike = [
            job
            for job in self._jobs
            if job is first or (first.settings and job.settings == first.settings)
        ]
        chosen = alike[: self.batch]
        self._jobs = deque(job for job in self._jobs if job not in chosen)
        return chosen

    def _compute(self, jobs: Sequence[_Job]) -> list[Any]:
        """A result or an exception for each job; where a batch fails, each alone, so that one cannot harm another."""
        try:
            if jobs[0].work is not None:
                return [jobs[0].work()]
            self.saw_batch(len(jobs))
            regions, beams, threshold = jobs[0].settings or Speaking(0, None, None)
            photos = [job.photo for job in jobs if job.photo is not None]
            return list(
                self.caption_many(
                    photos, regions=regions, beams=beams, threshold=threshold
                )
            )
        except Exception as error:  # handed to whoever asked
            return (
                [error]
                if len(jobs) == 1
                else [outcome for job in jobs for outcome in self._compute([job])]
            )


def _settle(jobs: Sequence[_Job], outcomes: Sequence[Any]) -> None:
    """Give each job its result or its exception."""
    for job, outcome in zip(jobs, outcomes, strict=True):
        if job.future.done():  # its client gave up meanwhile
            continue
        if isinstance(outcome, Exception):
            job.future.set_exception(outcome)
        else:
            job.future.set_result(outcome)
