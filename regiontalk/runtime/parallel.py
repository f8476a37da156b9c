"""Work side by side in threads.

ONNX Runtime, Pillow and numpy leave Python's lock while they compute.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Result = TypeVar("Result")
_thread = threading.local()


def usable_cores() -> int:
    """Cores that this process may use.

    Fewer than the machine has in a container or under ``taskset``.
    """
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def one_core() -> Iterator[None]:
    """What this thread computes inside is computed by it alone: others have the other cores."""
    before = getattr(_thread, "is_alone", False)
    _thread.is_alone = True
    try:
        yield
    finally:
        _thread.is_alone = before


def free_workers(workers: int) -> int:
    """How many threads may share this thread's work: ``workers``, or 1 inside `one_core`.

    >>> with one_core():
    ...     free_workers(4)
    1
    """
    return 1 if getattr(_thread, "is_alone", False) else workers


def in_parallel(tasks: Sequence[Callable[[], Result]], workers: int) -> list[Result]:
    """The results of tasks, in their order, ``workers`` of them computed at a time.

    Each is computed on `one_core`. The calling thread takes its share, and the others are
    kept from call to call: the system starts new threads beside each other on one core, and
    moves one of them away only after some milliseconds.

    >>> in_parallel([lambda: 1, lambda: 2], workers=2)
    [1, 2]

    Raises:
        BaseException: what the first task that failed raised.
    """
    workers = free_workers(workers)
    if workers == 1 or len(tasks) < 2:
        return [task() for task in tasks]
    futures: list[Future[Result]] = [Future() for _ in tasks]
    turns = zip(futures, tasks, strict=True)
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                turn = next(turns, None)
            if turn is None:
                return
            _compute(*turn)

    pool = _helpers()
    helpers = [pool.submit(work) for _ in range(min(workers, len(tasks)) - 1)]
    work()
    for helper in helpers:
        helper.cancel()  # where all threads are taken, this one has done its share
    return [future.result() for future in futures]


def _compute(future: Future[Result], task: Callable[[], Result]) -> None:
    """Let a future have what a task returns or raises."""
    try:
        with one_core():
            future.set_result(task())
    except (
        BaseException
    ) as error:  # an interrupt too, or its caller would wait for ever
        future.set_exception(error)


@functools.cache
def _helpers() -> ThreadPoolExecutor:
    """The threads of this process that wait for `in_parallel`."""
    return ThreadPoolExecutor(usable_cores(), "regiontalk")


# a forked child has none of them; not every system forks
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_helpers.cache_clear)
