"""The queue before the model: who computes what beside whom."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from regiontalk.images.open import Photo
from regiontalk.records import ImageResult
from regiontalk.runtime.parallel import free_workers
from regiontalk.serve.admission import Admission
from regiontalk.serve.engine import Engine, Speaking

SETTINGS = Speaking(3, None, None)
WAIT = 30.0  # seconds; a test that hangs fails


class Model:
    """Notes the batches it gets, and meets as many others as it is told."""

    def __init__(self, together: int = 1) -> None:
        self.batches: list[tuple[int, int]] = []  # photos, workers that it may use
        self.meeting = threading.Barrier(together, timeout=WAIT)

    def caption_many(self, photos: Sequence[Any], **settings: Any) -> list[ImageResult]:
        self.batches.append((len(photos), free_workers(2)))
        self.meeting.wait()
        return list(photos)


def run(engine: Engine, requests: Callable[[], Sequence[Awaitable[Any]]]) -> list[Any]:
    """Every outcome of requests that come at once."""

    async def main() -> list[Any]:
        async with engine.running():
            answers = asyncio.gather(*requests(), return_exceptions=True)
            return list(await asyncio.wait_for(answers, WAIT))

    return asyncio.run(main())


def make(model: Model, threads: int = 2, batch: int = 8) -> Engine:
    admission = Admission(waiting=32, batch=batch, seconds=WAIT)
    return Engine(model.caption_many, admission, batch=batch, threads=threads)


def captions(engine: Engine, count: int) -> list[Awaitable[Any]]:
    photos: list[Any] = [f"photo {number}" for number in range(count)]
    ask: Callable[[Photo, Speaking], Awaitable[Any]] = engine.caption
    return [ask(photo, SETTINGS) for photo in photos]


def test_a_request_that_is_alone_gets_all_cores() -> None:
    model = Model()
    engine = make(model)
    assert run(engine, lambda: captions(engine, 1)) == ["photo 0"]
    assert model.batches == [(1, 2)]


def test_those_who_wait_together_are_shared_out() -> None:
    model = Model(together=2)  # each batch waits for the other
    engine = make(model)
    wanted = [f"photo {number}" for number in range(7)]
    assert run(engine, lambda: captions(engine, 7)) == wanted
    assert sorted(model.batches) == [(3, 1), (4, 1)]


def test_one_thread_computes_one_batch_after_the_other() -> None:
    model = Model()
    engine = make(model, threads=1, batch=4)
    run(engine, lambda: captions(engine, 6))
    assert [photos for photos, _ in model.batches] == [4, 2]


def test_other_work_waits_for_what_came_before_and_is_done_alone() -> None:
    order: list[str] = []

    class Slow(Model):
        def caption_many(
            self, photos: Sequence[Any], **settings: Any
        ) -> list[ImageResult]:
            time.sleep(0.05)
            order.append("captions")
            return list(photos)

    engine = make(Slow())
    run(
        engine,
        lambda: [*captions(engine, 3), engine.call(lambda: order.append("work"))],
    )
    assert order == ["captions", "captions", "work"]


def test_other_work_is_done_one_at_a_time() -> None:
    model = Model()
    engine = make(model)
    running, most = [0], [0]

    def work() -> str:
        running[0] += 1
        most[0] = max(most[0], running[0])
        time.sleep(0.02)
        running[0] -= 1
        return "done"

    def requests() -> list[Awaitable[Any]]:
        return [*(engine.call(work) for _ in range(4)), *captions(engine, 2)]

    outcomes = run(engine, requests)
    assert outcomes == ["done"] * 4 + ["photo 0", "photo 1"]
    assert most == [1]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_failure_is_handed_to_whoever_asked(threads: int) -> None:
    engine = make(Model(), threads=threads)

    def fail() -> None:
        raise ValueError("no such phrase")

    first, second = run(engine, lambda: [engine.call(fail), *captions(engine, 1)])
    assert isinstance(first, ValueError)
    assert second == "photo 0"
