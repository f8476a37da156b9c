"""Threads that compute side by side: the same results in the same order, and one error."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from regiontalk.captioner import BOXES_TOGETHER, _shares
from regiontalk.runtime.parallel import (
    free_workers,
    in_parallel,
    one_core,
    usable_cores,
)


@pytest.mark.parametrize("workers", [1, 2, 9])
def test_order(workers: int) -> None:
    tasks: list[Callable[[], int]] = [partial(int, number) for number in range(5)]
    assert in_parallel(tasks, workers) == [0, 1, 2, 3, 4]
    nothing: list[Callable[[], int]] = []
    assert in_parallel(nothing, workers) == []


def test_side_by_side() -> None:
    meeting = threading.Barrier(2, timeout=30)  # passed only where both are inside
    assert sorted(in_parallel([meeting.wait, meeting.wait], 2)) == [0, 1]


def test_the_first_failure_is_raised() -> None:
    with pytest.raises(ValueError, match="could not convert string to float: 'one'"):
        in_parallel([partial(float, "one"), partial(float, "two")], 2)


def test_an_interrupt_is_raised_and_nobody_waits() -> None:
    meeting = threading.Barrier(2, timeout=30)  # a thread each

    def interrupted() -> None:
        meeting.wait()
        raise KeyboardInterrupt

    for tasks in ([interrupted, meeting.wait], [meeting.wait, interrupted]):
        with pytest.raises(KeyboardInterrupt):
            in_parallel(tasks, 2)
    assert in_parallel([lambda: 1, lambda: 2], 2) == [1, 2]


def test_threads_are_kept_and_the_caller_works_too() -> None:
    def meet() -> int:
        meeting.wait()  # so that each thread takes one
        return threading.get_ident()

    meeting = threading.Barrier(2, timeout=30)
    calls = usable_cores() + 9
    threads = [set(in_parallel([meet, meet], 2)) for _ in range(calls)]
    assert all(len(each) == 2 for each in threads)
    assert len(set.union(*threads)) <= 1 + usable_cores()
    assert threading.get_ident() in set.intersection(*threads)


def test_calls_from_many_threads_wait_for_no_helper() -> None:
    many = 3 * usable_cores()  # more than there are helpers
    meeting = threading.Barrier(many, timeout=30)
    results: list[list[int]] = []

    def call() -> None:
        meeting.wait()
        results.append(in_parallel([lambda: 1, lambda: 2, lambda: 3], 3))

    callers = [threading.Thread(target=call) for _ in range(many)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(30)
    assert results == [[1, 2, 3]] * many


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_has_helpers_of_its_own() -> None:
    in_parallel([lambda: 1, lambda: 2], 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads, which is the point
        child = os.fork()
    if child == 0:
        meeting = threading.Barrier(2, timeout=10)
        try:
            os._exit(int(sorted(in_parallel([meeting.wait] * 2, 2)) != [0, 1]))
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_cores() -> None:
    assert usable_cores() >= 1


@pytest.mark.parametrize(
    ("photos", "boxes", "workers"),
    [(1, 1, 1), (1, 31, 2), (8, 31, 2), (3, 11, 2), (2, 700, 3), (5, 2, 8)],
)
def test_every_box_has_one_share(photos: int, boxes: int, workers: int) -> None:
    counts = np.zeros((photos, boxes), dtype=int)
    for rows, columns in _shares(photos, boxes, workers):
        counts[rows, columns] += 1
        assert columns.start > 0 or columns.stop == 1  # whole photos by themselves
        assert counts[rows, columns].size <= max(BOXES_TOGETHER, photos)
    assert (counts == 1).all()


def test_inside_a_task_nothing_more_is_shared() -> None:
    def inside() -> tuple[int, list[int]]:
        return free_workers(4), in_parallel([threading.get_ident] * 3, 3)

    for workers, threads in in_parallel([inside, inside], 2):
        assert workers == 1
        assert len(set(threads)) == 1
    assert free_workers(4) == 4


def test_one_core_may_be_nested() -> None:
    with one_core():
        with one_core():
            pass
        assert free_workers(2) == 1
    assert free_workers(2) == 2
