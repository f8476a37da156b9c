"""What the fault benchmarks share: cases that run in a process of their own, watched from outside.

A worker is forked once and given one case after another. It is a fault where a case raises what no
user should see, computes for more than `MOST_SECONDS` or waits for `MOST_WAITING`, lets the process
grow above `MOST_BYTES`, or ends the process. After each of these a new worker goes on. (Seconds are
those of the processor, so that other work on the machine changes no outcome. Linux only.)
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

MOST_SECONDS = 10.0
MOST_WAITING = 300.0  # seconds by the clock on the wall
MOST_BYTES = 1 << 30

Case = tuple[str, bytes]  # what it is, and what is read
Check = Callable[
    [str, bytes], str
]  # the outcome, in a word; raises where it is a fault


@dataclass
class Outcome:
    """What came of a campaign.

    Attributes:
        counts: outcomes, by their word.
        faults: a line each, and where its input was kept.
        peak: bytes that a worker held at most.
        slowest: seconds of the slowest case.
        seconds: of the whole campaign.
    """

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    peak: int = 0
    slowest: float = 0.0
    seconds: float = 0.0

    def __str__(self) -> str:
        """The figures in two lines."""
        counts = ", ".join(
            f"{number} {word}" for word, number in self.counts.most_common()
        )
        return (
            f"{sum(self.counts.values())} cases in {self.seconds:.0f} s: "
            f"{counts}\n{len(self.faults)} faults; slowest {self.slowest:.2f} s; most "
            f"memory {self.peak >> 20} MB"
        )


def run_cases(
    cases: Iterator[Case], check: Check, seconds: float, keep: Path | None
) -> Outcome:
    """Give the cases to workers, until there are no more or the time is over."""
    outcome = Outcome()
    begun = time.monotonic()
    worker = _Worker(check)
    try:
        for name, data in cases:
            if time.monotonic() - begun > seconds:
                break
            case_begun = worker.seconds()
            word, reason, peak = worker.run(name, data)
            outcome.slowest = max(outcome.slowest, worker.seconds() - case_begun)
            outcome.peak = max(outcome.peak, peak)
            outcome.counts[word] += 1
            if not reason and peak > MOST_BYTES:
                word, reason = "fault", f"{peak >> 20} MB"
            if reason:
                outcome.faults.append(
                    f"{name}: {reason}{_kept(keep, len(outcome.faults), data)}"
                )
                worker.stop()
                worker = _Worker(check)
    finally:
        worker.stop()
    outcome.seconds = time.monotonic() - begun
    return outcome


def _kept(keep: Path | None, number: int, data: bytes) -> str:
    """Keep the input of a fault; says where."""
    if keep is None:
        return ""
    keep.mkdir(parents=True, exist_ok=True)
    path = keep / f"fault-{number}"
    path.write_bytes(data)
    return f" ({path})"


class _Worker:
    """A forked process that runs cases."""

    def __init__(self, check: Check) -> None:
        self._connection, theirs = Pipe()
        self._process = os.fork()
        if self._process == 0:
            self._connection.close()
            _serve(theirs, check)
        theirs.close()

    def run(self, name: str, data: bytes) -> tuple[str, str, int]:
        """The outcome of a case, why it is a fault ("" where it is none), and the memory so far."""
        try:
            self._connection.send((name, data))
            begun, latest = self.seconds(), time.monotonic() + MOST_WAITING
            while not self._connection.poll(0.2):
                if self.seconds() - begun > MOST_SECONDS:
                    return "fault", f"more than {MOST_SECONDS:.0f} s", 0
                if time.monotonic() > latest:
                    return "fault", f"no answer in {MOST_WAITING:.0f} s", 0
            word, reason, peak = self._connection.recv()
            return str(word), str(reason), int(peak)
        except (EOFError, OSError):
            return "fault", "the process ended", 0

    def seconds(self) -> float:
        """Of the processor, that the process has used (clock_getcpuclockid(3))."""
        try:
            return time.clock_gettime((~self._process << 3) | 2)
        except OSError:  # it has ended
            return 0.0

    def stop(self) -> None:
        """End the process."""
        self._connection.close()
        os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)


def _serve(connection: Connection, check: Check) -> None:
    """Run cases until nobody asks any more; never returns."""
    begun_with = (
        _peak_bytes()
    )  # a fork begins with what its parent holds, which is no case's doing
    try:
        while True:
            name, data = connection.recv()
            word, reason = _checked(check, name, data)
            connection.send((word, reason, _peak_bytes() - begun_with))
    except BaseException:
        os._exit(1)


def _peak_bytes() -> int:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _checked(check: Check, name: str, data: bytes) -> tuple[str, str]:
    try:
        return check(name, data), ""
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        return (
            "fault",
            f"{type(error).__name__} at {where}: {' '.join(str(error).split())[:300]}",
        )


def mutated(
    data: bytes, chance: random.Random, other: bytes = b""
) -> tuple[str, bytes]:
    """A file with one kind of damage, and the name of the damage."""
    kind = chance.choice(
        ("cut", "bits", "bytes", "zeros", "hole", "twice", "splice", "head")
    )
    start = chance.randrange(max(1, len(data)))
    end = start + 1 + min(int(chance.expovariate(1 / 32)), len(data))
    if kind == "cut":
        return kind, data[:start]
    if kind == "hole":
        return kind, data[:start] + data[end:]
    if kind == "twice":
        return kind, data[:end] + data[start:]
    if kind == "splice":
        source = other or data
        return kind, data[:start] + source[chance.randrange(max(1, len(source))) :]
    return kind, _overwritten(kind, data, slice(start, end), chance)


def _overwritten(kind: str, data: bytes, place: slice, chance: random.Random) -> bytes:
    """A file of which some bytes are others."""
    changed, length, size = bytearray(data), len(data), place.stop - place.start
    if kind == "bits":
        for _ in range(min(size, length)):
            changed[chance.randrange(length)] ^= 1 << chance.randrange(8)
    elif kind == "head":  # sizes and counts stand in the first bytes
        for _ in range(chance.randint(1, 4)):
            changed[chance.randrange(min(length, 128))] = chance.choice(
                (0, 1, 0x7F, 0x80, 0xFF)
            )
    else:
        changed[place] = chance.randbytes(size) if kind == "bytes" else bytes(size)
    return bytes(changed)


def arguments(description: str | None, count: int) -> argparse.Namespace:
    """The options that every fault benchmark has."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=count, help="cases")
    parser.add_argument(
        "--seconds", type=float, default=600.0, help="stop after so long"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for the inputs of faults")
    return parser.parse_args()


def finish(outcome: Outcome) -> None:
    """Print the figures and the faults; ends with 1 where there are some."""
    for fault in outcome.faults:
        print(f"fault: {fault}", file=sys.stderr)
    print(outcome)
    sys.exit(1 if outcome.faults else 0)
