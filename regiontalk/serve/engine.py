"""The queue before the model: requests that wait together are computed together.

While one batch is computed others arrive; the next batch takes the oldest request and those that
ask for the same settings, up to a limit. A request that is alone gets all cores; where more wait,
threads share them out and each computes on a core of its own, so that no core waits for another.
Other work than captions is done alone, in its turn. The event loop stays free.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

from regiontalk.images.open import Photo, PictureSource
from regiontalk.records import ImageResult
from regiontalk.runtime.parallel import one_core
from regiontalk.serve.admission import (
    Admission,
    BusyError,
    Ticket,
    current_ticket,
    in_queue,
)

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


@dataclass(eq=False)
class _Job:
    """One request: a photo with settings, or other work.

    Attributes:
        begin: called when its turn has come.
        ticket: says how long it may still take; None where that is as long as it wants.
    """

    future: asyncio.Future[Any]
    photo: Photo | None = None
    settings: Speaking | None = None
    work: Callable[[], Any] | None = None
    ticket: Ticket | None = field(default_factory=current_ticket.get)
    begin: Callable[[], None] = lambda: None


@dataclass(eq=False)
class Engine:
    """Computes requests in their order, together where that is possible.

    Attributes:
        caption_many: computes a batch of photos.
        admission: knows how long a request takes.
        batch: photos computed together at most.
        saw_batch: told the size of every batch of captions.
        threads: that compute batches; 1 for an engine that uses every core by itself.
    """

    caption_many: CaptionMany
    admission: Admission
    batch: int
    saw_batch: Callable[[int], object] = lambda size: None
    threads: int = 1
    _busy: int = 0  # threads
    _is_working: bool = False  # one of them computes something else than captions
    _jobs: deque[_Job] = field(default_factory=deque)
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Compute while the context lasts."""
        with ThreadPoolExecutor(self.threads, "regiontalk") as pool:
            tasks = [asyncio.create_task(self._work(pool)) for _ in range(self.threads)]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

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
        with in_queue() as job.begin:
            self._jobs.append(job)
            self._arrived.set()
            return await job.future

    async def _work(self, pool: ThreadPoolExecutor) -> None:
        """Batch after batch, until cancelled."""
        while True:
            await self._arrived.wait()
            jobs = self._next()
            if not jobs:
                self._arrived.clear()
                continue
            is_alone = not self._busy and not self._jobs
            compute = self._compute if is_alone else self._compute_on_one_core
            is_work = jobs[0].work is not None
            self._busy += 1
            self._is_working |= is_work
            try:
                outcomes = await asyncio.get_running_loop().run_in_executor(
                    pool, compute, jobs
                )
                _settle(jobs, outcomes)
            except Exception as error:
                # a fault of ours must not end the loop, and with it every answer to come
                fault = RuntimeError("the engine failed")
                fault.__cause__ = error
                _settle(jobs, [fault] * len(jobs))
            finally:
                self._busy -= 1
                self._is_working &= not is_work
                self._arrived.set()  # work may have waited for this one

    def _next(self) -> list[_Job]:
        """The oldest job that somebody still waits for, and those that can be computed with it."""
        for job in self._jobs:
            self._send_late_away(job)
        self._jobs = deque(job for job in self._jobs if not job.future.done())
        if not self._jobs or self._is_working:
            return []
        first = self._jobs[0]
        if first.work is not None and self._busy:
            return []  # a page that asks for words and then for places gets them in that order
        alike = [
            job
            for job in self._jobs
            if job is first or (first.settings and job.settings == first.settings)
        ]
        share = math.ceil(len(alike) / (self.threads - self._busy))
        chosen = alike[: min(self.batch, share)]
        self._jobs = deque(job for job in self._jobs if job not in chosen)
        for job in chosen:
            job.begin()
        return chosen

    def _send_late_away(self, job: _Job) -> None:
        """Refuse what waited for so long that it could not even be computed alone.

        Others gain its time.
        """
        if job.ticket is None or job.future.done() or not job.ticket.late_by_queue:
            return
        if job.ticket.left < self.admission.pace:
            job.future.set_exception(BusyError(self.admission.retry_after))

    def _compute_on_one_core(self, jobs: Sequence[_Job]) -> list[Any]:
        """`_compute`, beside other batches."""
        with one_core():
            return self._compute(jobs)

    def _compute(self, jobs: Sequence[_Job]) -> list[Any]:
        """A result or an exception for each job.

        Where a batch fails, each alone, so that one cannot harm another.
        """
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
