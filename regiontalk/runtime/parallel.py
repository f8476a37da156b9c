"""Work side by side in threads.

ONNX Runtime, Pillow and numpy leave Python's lock while they compute.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def usable_cores() -> int:
    """Cores that this process may use.

    Fewer than the machine has in a container or under ``taskset``.
    """
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_parallel(tasks: Sequence[Callable[[], Result]], workers: int) -> list[Result]:
    """The results of tasks, in their order, ``workers`` of them computed at a time.

    >>> in_parallel([lambda: 1, lambda: 2], workers=2)
    [1, 2]

    Raises:
        Exception: what the first task that failed raised.
    """
    if workers == 1 or len(tasks) < 2:
        return [task() for task in tasks]
    with ThreadPoolExecutor(min(workers, len(tasks)), "regiontalk") as pool:
        return list(pool.map(_call, tasks))


def _call(task: Callable[[], Result]) -> Result:
    return task()
