"""A simulation of many workers that fail.

How much work a failure costs, and what that adds to a job.

    python benchmarks/scale_failures.py --workers 1000 --photos 1000000

No cluster: time is counted, not spent. Each worker takes a batch, computes it photo by photo and
writes it as one part; a failure (exponential times, ``--hours`` between two of one worker) loses
what the worker has of the batch in hand, and the worker comes back after ``--restart`` seconds with
the same batch. The driver fails as often as a worker; then all workers lose their batch. Throughput
of a worker is a number that you measured (``--speed``).
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
from dataclasses import asdict, dataclass


@dataclass
class Lost:
    """What a simulated job cost.

    Attributes:
        hours: until the last batch was written.
        failures: of workers; one of the driver counts for each worker.
        photos_lost: computed and not written.
        largest_loss: photos that one worker lost to one failure.
    """

    hours: float = 0.0
    failures: int = 0
    photos_lost: float = 0.0
    largest_loss: float = 0.0

    def add(self, computed: float) -> None:
        """Count a failure that cost so many photos."""
        self.failures += 1
        self.photos_lost += computed
        self.largest_loss = max(self.largest_loss, computed)


@dataclass(frozen=True)
class Cluster:
    """Workers that fail.

    Attributes:
        workers: processes.
        speed: photos a second of one worker.
        hours: mean time between two failures of one worker, and of the driver.
        restart: seconds from a failure until work goes on.
    """

    workers: int
    speed: float
    hours: float
    restart: float


class Failures:
    """When each worker and the driver fail next, in seconds."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        """Draw the first failure of each."""
        self._chance, self._rate = random.Random(seed), 1 / (cluster.hours * 3600)
        self._driver = self._next()
        self._workers = [self._next() for _ in range(cluster.workers)]

    def _next(self) -> float:
        return self._chance.expovariate(self._rate)

    def after(self, now: float, worker: int) -> float:
        """The next moment that costs a worker its batch, its own failure or the driver's."""
        while self._driver < now:  # all workers have lost their batch to that
            self._driver += self._next()
        return min(self._workers[worker], self._driver)

    def happened(self, moment: float, worker: int) -> None:
        """Draw the worker's next failure where this one was its own."""
        if moment == self._workers[worker]:
            self._workers[worker] = moment + self._next()


def simulate(cluster: Cluster, *, photos: int, batch: int, seed: int) -> Lost:
    """One job.

    Args:
        cluster: who works.
        photos: in all.
        batch: photos of a part.
        seed: of the failures.
    """
    lost, waiting = Lost(), -(-photos // batch)
    failures = Failures(cluster, seed)
    queue = [
        (0.0, worker) for worker in range(cluster.workers)
    ]  # when it is free, and who
    end = 0.0
    while waiting > 0:
        now, worker = heapq.heappop(queue)
        done, failure = now + batch / cluster.speed, failures.after(now, worker)
        if done <= failure:
            waiting -= 1
            end = max(end, done)
            heapq.heappush(queue, (done, worker))
            continue
        lost.add(max(0.0, failure - now) * cluster.speed)
        failures.happened(failure, worker)
        heapq.heappush(queue, (max(now, failure) + cluster.restart, worker))
    lost.hours = end / 3600
    return lost


def main() -> None:
    """Simulate, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--photos", type=int, default=100_000_000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--speed", type=float, default=3.7)
    parser.add_argument("--hours", type=float, default=100.0)
    parser.add_argument("--restart", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    values = vars(parser.parse_args())
    cluster = Cluster(
        *(values[name] for name in ("workers", "speed", "hours", "restart"))
    )
    lost = simulate(
        cluster, photos=values["photos"], batch=values["batch"], seed=values["seed"]
    )
    ideal = values["photos"] / values["speed"] / values["workers"] / 3600
    assert lost.largest_loss <= values["batch"], "a failure cost more than a batch"
    share = lost.photos_lost / values["photos"]
    print(
        json.dumps(
            {**values, **asdict(lost), "hours_without": ideal, "share_lost": share},
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
