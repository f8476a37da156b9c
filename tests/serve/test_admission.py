"""Who is let in: bodies before places, expected waits.

And what becomes of those that waited in vain.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from regiontalk import RegionCaptioner
from regiontalk.records import ImageResult
from regiontalk.serve import admission
from regiontalk.serve.admission import (
    Admission,
    BusyError,
    Ticket,
    UploadMemory,
    current_ticket,
    in_queue,
)
from regiontalk.serve.app import create_app
from regiontalk.serve.limits import Limits


class Clock:
    """A clock that is put forward by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(admission, "monotonic", clock)
    return clock


@pytest.fixture
def places() -> Iterator[Callable[[Admission], Ticket]]:
    """Takes places that are given back when the test ends."""
    with ExitStack() as stack:
        memory = UploadMemory(10)

        def take(admission: Admission) -> Ticket:
            upload = stack.enter_context(memory.upload())
            return stack.enter_context(admission.admitted(upload))

        yield take


def test_the_expected_wait(clock: Clock, places: Any) -> None:
    """Two answers, of 4 and 2 s: after the first guess of a sixtieth of 30 s."""
    admission = Admission(waiting=100, batch=1, seconds=30)
    places(admission)
    for seconds in (4, 2):
        clock.now += seconds
        admission.answered()
    # One is inside, and would be the fourth answer if it ended now: (0.5 + 4 + 2) / 4.
    assert admission.pace == pytest.approx(6.5 / 4)
    for _ in range(12):  # 13 x 6.5 / 4 < 22.5 = 0.75 x 30 < 14 x 6.5 / 4
        places(admission)
    with pytest.raises(BusyError, match="come again in 11 s") as caught:
        places(admission)
    assert caught.value.seconds == 11, "half of thirteen: 13 x 6.5 / 4 / 2"


def test_the_mean_follows_the_latest(clock: Clock, places: Any) -> None:
    admission = Admission(waiting=100, batch=1, seconds=20)
    with ExitStack() as stack:
        upload = stack.enter_context(UploadMemory(1).upload())
        stack.enter_context(admission.admitted(upload))
        for seconds in [9.0] * 20 + [0.25] * 16:
            clock.now += seconds
            admission.answered()
    assert admission.pace == pytest.approx(0.25)


def test_a_pause_is_nobodys_time(clock: Clock) -> None:
    admission = Admission(waiting=100, batch=1, seconds=20)
    for _ in range(16):
        clock.now += 1000
        with UploadMemory(1).upload() as upload, admission.admitted(upload):
            clock.now += 2
            admission.answered()
    assert admission.pace == pytest.approx(2)


def test_a_model_that_stands_still_is_noticed(clock: Clock, places: Any) -> None:
    admission = Admission(waiting=100, batch=8, seconds=20)
    for _ in range(4):
        places(admission)
    clock.now += 60
    with pytest.raises(BusyError):
        places(admission)


def test_one_is_always_let_in(clock: Clock, places: Any) -> None:
    """However long the last ones took: it may be quicker, and nothing else would tell."""
    admission = Admission(waiting=100, batch=1, seconds=1)
    with UploadMemory(1).upload() as upload, admission.admitted(upload):
        clock.now += 500
        admission.answered()
    places(admission)
    with pytest.raises(BusyError):
        places(admission)


def test_uploads_share_their_memory() -> None:
    memory = UploadMemory(10)
    with memory.upload() as first, memory.upload() as second:
        first.add(6)
        second.add(4)
        with pytest.raises(BusyError, match="too many uploads at once"):
            second.add(1)
        first.release()
        first.release()
        second.add(6)
        assert memory.held_bytes == 10
    assert memory.held_bytes == 0


@pytest.mark.parametrize(
    ("waited", "worked", "late"),
    [
        pytest.param(0.0, 20.0, False, id="only worked"),
        pytest.param(1.9, 18.1, False, id="hardly waited"),
        pytest.param(2.1, 17.9, True, id="waited"),
        pytest.param(20.0, 0.0, True, id="only waited"),
    ],
)
def test_why_it_is_late(
    clock: Clock, places: Any, waited: float, worked: float, late: bool
) -> None:
    ticket = places(Admission(waiting=1, batch=1, seconds=20))
    with in_queue() as begin:
        clock.now += waited
        if worked:
            begin()
        clock.now += worked
        assert ticket.late_by_queue is late
    assert ticket.late_by_queue is late and ticket.left == pytest.approx(0)


def test_without_a_gate() -> None:
    assert current_ticket.get() is None
    with in_queue() as begin:
        begin()


# Below, the whole application, with a captioner that sleeps.

HEADERS = [
    (b"host", b"localhost"),
    (b"content-type", b"multipart/form-data; boundary=b"),
]
SCOPE = {
    "type": "http",
    "method": "POST",
    "path": "/v1/caption",
    "query_string": b"",
    "http_version": "1.1",
    "scheme": "http",
    "raw_path": b"",
    "headers": HEADERS,
}
Messages = Callable[[], Awaitable[dict[str, Any]]]


class Sleeping:
    """A captioner that takes some time for every photo."""

    def __init__(self, captioner: RegionCaptioner, seconds: float) -> None:
        self.predictor = captioner.predictor
        self.preprocessing = captioner.preprocessing
        self.vocabulary = captioner.vocabulary
        self.attends = captioner.attends
        self.seconds, self.photos = seconds, 0

    def caption_many(self, photos: Any, **settings: Any) -> Any:
        self.photos += len(photos)
        time.sleep(self.seconds * len(photos))
        return [ImageResult("a", (1, 1), "tiny", None, ()) for _ in photos]


@pytest.fixture
def body(picture: bytes) -> bytes:
    head = (
        b'--b\r\ncontent-disposition: form-data; name="photo"; filename="a.png"\r\n\r\n'
    )
    return head + picture + b"\r\n--b--\r\n"


def sends(body: bytes, *, all_of_it: bool = True, leaves: bool = False) -> Messages:
    """A client that sends a body, or part of one, and then waits or leaves."""
    left = [{"type": "http.request", "body": body, "more_body": not all_of_it}]

    async def receive() -> dict[str, Any]:
        if not left and not leaves:
            await asyncio.sleep(60)
        return left.pop() if left else {"type": "http.disconnect"}

    return receive


async def ask(app: Any, receive: Messages) -> tuple[int, dict[str, str]]:
    """One request; the status and the headers of its answer."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await app(dict(SCOPE), receive, send)
    headers = {key.decode(): value.decode() for key, value in sent[0]["headers"]}
    return sent[0]["status"], headers


async def ask_all(app: Any, clients: list[Messages]) -> list[int]:
    """The statuses of requests that are begun one after another.

    None waits for the one before.
    """
    async with app.router.lifespan_context(app):
        asking = []
        for receive in clients:
            asking.append(asyncio.create_task(ask(app, receive)))
            await asyncio.sleep(0.005)
        answers = await asyncio.gather(*asking)
    refused = [headers for status, headers in answers if status == 503]
    assert all(int(headers["retry-after"]) >= 1 for headers in refused)
    return [status for status, _ in answers]


def test_nobody_who_is_let_in_is_late_because_of_others(
    captioner: RegionCaptioner, body: bytes
) -> None:
    """Sixty requests for 50 ms each, of which a second can take twenty."""
    slow: Any = Sleeping(captioner, 0.05)
    app = create_app(slow, limits=Limits(seconds=1, waiting=60, batch=2))
    statuses = asyncio.run(ask_all(app, [sends(body) for _ in range(60)]))
    assert set(statuses) == {200, 503}
    assert app.state.service.engine.admission.inside == 0


def test_who_has_the_answer_may_ask_again_at_once(
    captioner: RegionCaptioner, body: bytes
) -> None:
    app = create_app(captioner, limits=Limits(waiting=1))
    statuses = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            status, _ = await ask(app, sends(body))
            statuses.append(status)

    async def ask_twice() -> None:
        async with app.router.lifespan_context(app):
            await app(dict(SCOPE), sends(body), send)

    asyncio.run(ask_twice())
    assert statuses == [200]


def test_an_estimate_that_was_wrong(captioner: RegionCaptioner, body: bytes) -> None:
    """Let in when a request seemed to take no time.

    Sent away late, but never as if its own photo were too slow.
    """
    slow: Any = Sleeping(captioner, 0.4)
    app = create_app(slow, limits=Limits(seconds=1, batch=1))
    app.state.service.engine.admission._intervals.extend([0.001] * 16)
    statuses = asyncio.run(ask_all(app, [sends(body) for _ in range(6)]))
    assert set(statuses) == {200, 503}
    assert slow.photos < 6, "nobody is computed who has no time left"


async def with_stuck(
    app: Any, count: int, begun: bytes, body: bytes
) -> tuple[int, int]:
    """The statuses of a request beside uploads that have stopped half-way.

    And of one when those have gone.
    """
    async with app.router.lifespan_context(app):
        receive = [sends(begun, all_of_it=False) for _ in range(count)]
        stuck = [asyncio.create_task(ask(app, one)) for one in receive]
        await asyncio.sleep(0.05)
        beside, _ = await ask(app, sends(body))
        for task in stuck:
            task.cancel()
        await asyncio.wait(stuck)
        after, _ = await ask(app, sends(body))
    return beside, after


def test_slow_senders_take_no_place(captioner: RegionCaptioner, body: bytes) -> None:
    quick: Any = Sleeping(captioner, 0.0)
    app = create_app(quick, limits=Limits(waiting=1))
    assert asyncio.run(with_stuck(app, 50, b"x", body)) == (200, 200)


def test_uploads_together_are_not_too_large(
    captioner: RegionCaptioner, body: bytes
) -> None:
    quick: Any = Sleeping(captioner, 0.0)
    app = create_app(quick, limits=Limits(upload_bytes=len(body)))
    assert asyncio.run(with_stuck(app, 10, body, body)) == (503, 200)


def test_what_breaks_off_frees_its_memory(
    captioner: RegionCaptioner, body: bytes
) -> None:
    quick: Any = Sleeping(captioner, 0.0)
    app = create_app(quick, limits=Limits(upload_bytes=len(body)))
    broken = [sends(body, all_of_it=False, leaves=True) for _ in range(15)]
    statuses = asyncio.run(ask_all(app, [*broken, sends(body)]))
    assert statuses == [400] * 15 + [200]
