"""Who is let in: a request whose body is here, and which can be answered before its time is over.

Bodies are received before a place is taken, so that slow senders keep nobody out;
together they hold no more than `UploadMemory` allows. A place is given where the
expected wait fits into a request's time: requests inside x seconds a request, a moving
average over the latest answers. All others are sent away at once and told when to come
again. The estimate may be wrong, so a request counts how long it has stood in queues:
one that ends late because of them was sent away late (503); that its own computing took
too long (504) is said of those alone that did not wait.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import monotonic

# of a request's time: how long one takes, before one was answered
_FIRST_GUESS = 1 / 60
_LATEST = 16  # answers that the moving average is taken over
_USABLE = 0.75  # of a request's time: the rest is for what an average does not know
# of a request's time: who waited longer in queues is late because of them
_WAITED = 0.1


class BusyError(Exception):
    """A request that cannot be answered in time; ``seconds`` says when to come again."""

    def __init__(self, seconds: int, why: str = "too many requests wait") -> None:
        """Take the seconds after which it will probably be answered, and why it is not now."""
        super().__init__(f"{why}; come again in {seconds} s")
        self.seconds = seconds


@dataclass(eq=False)
class UploadMemory:
    """The bytes of all bodies that are received, or whose photo is not decoded yet.

    Attributes:
        most_bytes: that all may hold together.
        held_bytes: that they hold now.
    """

    most_bytes: int
    held_bytes: int = 0

    @contextmanager
    def upload(self) -> Iterator[Upload]:
        """One body; what it still holds is free again in the end."""
        upload = Upload(self)
        try:
            yield upload
        finally:
            upload.release()


@dataclass(eq=False)
class Upload:
    """What one body holds of an `UploadMemory`."""

    memory: UploadMemory
    held_bytes: int = 0

    def add(self, size: int) -> None:
        """Count bytes that have come.

        Raises:
            BusyError: all bodies together are too large.
        """
        if self.memory.held_bytes + size > self.memory.most_bytes:
            raise BusyError(1, "too many uploads at once")
        self.memory.held_bytes += size
        self.held_bytes += size

    def release(self) -> None:
        """The body is not in memory any more."""
        self.memory.held_bytes -= self.held_bytes
        self.held_bytes = 0


@dataclass(eq=False)
class Ticket:
    """One request that was let in.

    Attributes:
        upload: its body.
        seconds: that it has from now on.
        begun: when it was let in, as are all times here by `monotonic`.
        is_inside: whether it has a place.
    """

    upload: Upload
    seconds: float
    begun: float
    is_inside: bool = True
    _waited: float = 0.0
    _queued_since: float | None = None

    def enter_queue(self) -> None:
        """From now on it waits for its turn."""
        self._queued_since = monotonic()

    def leave_queue(self) -> None:
        """Its turn has come, or it waits no longer; may be called again."""
        since, self._queued_since = self._queued_since, None
        if since is not None:
            self._waited += monotonic() - since

    @property
    def late_by_queue(self) -> bool:
        """Whether it waited for its turn for a good part of its time."""
        waited = self._waited
        if self._queued_since is not None:
            waited += monotonic() - self._queued_since
        return waited > _WAITED * self.seconds

    @property
    def left(self) -> float:
        """Seconds that it still has."""
        return self.begun + self.seconds - monotonic()


current_ticket: ContextVar[Ticket | None] = ContextVar("ticket", default=None)


@contextmanager
def in_queue() -> Iterator[Callable[[], None]]:
    """The request of this task waits for its turn.

    Yields what is to be called when that has come.
    """
    ticket = current_ticket.get()
    if ticket is None:  # one that no gate has let in has all the time it wants
        yield lambda: None
        return
    ticket.enter_queue()
    try:
        yield ticket.leave_queue
    finally:
        ticket.leave_queue()


@dataclass(eq=False)
class Admission:
    """Lets requests in, as many as can be answered in time.

    Attributes:
        waiting: requests that may be inside at once.
        batch: requests that are computed together at most.
        seconds: that each may take.
        inside: requests that were let in and are not answered.
    """

    waiting: int
    batch: int
    seconds: float
    inside: int = 0
    _intervals: deque[float] = field(
        default_factory=lambda: deque(maxlen=_LATEST), init=False
    )
    _since: float = 0.0  # the latest answer, or the first request after a pause

    def __post_init__(self) -> None:
        self._intervals.append(_FIRST_GUESS * self.seconds)

    def check(self) -> None:
        """Whether one more request can be answered in time.

        Raises:
            BusyError: it cannot.
        """
        expected = (self.inside + 1) * self.pace
        late = self.inside > 0 and expected > _USABLE * self.seconds
        if late or self.inside >= self.waiting:
            raise BusyError(self.retry_after)

    @contextmanager
    def admitted(self, upload: Upload) -> Iterator[Ticket]:
        """A place for one request whose body is here.

        Raises:
            BusyError: it cannot be answered in time.
        """
        self.check()
        if self.inside == 0:
            self._since = monotonic()
        self.inside += 1
        ticket = Ticket(upload, self.seconds, monotonic())
        reset = current_ticket.set(ticket)
        try:
            yield ticket
        finally:
            current_ticket.reset(reset)
            self.leave(ticket)

    def leave(self, ticket: Ticket) -> None:
        """Free the place of a request that is answered, or ends without; may be called again.

        A client may ask again as soon as it has the answer, before all has ended here.
        """
        if ticket.is_inside:
            ticket.is_inside = False
            self.inside -= 1

    def answered(self) -> None:
        """A request has ended, in time or not: the time since the one before was spent on it."""
        now = monotonic()
        self._intervals.append(now - self._since)
        self._since = now

    @property
    def pace(self) -> float:
        """Seconds a request: the mean of the latest.

        As if a batch of those inside were answered now.
        """
        if self.inside == 0:
            return sum(self._intervals) / len(self._intervals)
        together = min(self.inside, self.batch)
        total = sum(self._intervals) + monotonic() - self._since
        return total / (len(self._intervals) + together)

    @property
    def retry_after(self) -> int:
        """Seconds until half of those inside are answered.

        Later the model would have nothing to do.
        """
        return max(1, math.ceil(self.inside * self.pace / 2))
