"""Work side by side in threads.

ONNX Runtime, Pillow and numpy leave Python's lock while they compute.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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

    Each is computed on `one_core`.

    >>> in_parallel([lambda: 1, lambda: 2], workers=2)
    [1, 2]

    Raises:
        Exception: what the first task that failed raised.
    """
    workers = free_workers(workers)
    if workers == 1 or len(tasks) < 2:
        return [task() for task in tasks]
    with ThreadPoolExecutor(min(workers, len(tasks)), "regiontalk") as pool:
        return list(pool.map(_call, tasks))


def _call(task: Callable[[], Result]) -> Result:
    with one_core():
        return task()
