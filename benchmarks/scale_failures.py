"""A simulation of many workers that fail: how much work a failure costs, and what that adds to a job.

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


def simulate(
    *, workers: int, photos: int, batch: int, speed: float, hours: float, restart: float, seed: int
) -> Lost:
    """One job.

    Args:
        workers: processes.
        photos: in all.
        batch: photos of a part.
        speed: photos a second of one worker.
        hours: mean time between two failures of one worker, and of the driver.
        restart: seconds from a failure until work goes on.
        seed: of the failures.
    """
    chance = random.Random(seed)
    lost, waiting = Lost(), -(-photos // batch)
    seconds = batch / speed
    mean = hours * 3600
    driver_fails = chance.expovariate(1 / mean)
    queue = [(0.0, worker) for worker in range(workers)]  # when it is free, and who
    fails = [chance.expovariate(1 / mean) for _ in range(workers)]
    end = 0.0
    while queue and waiting > 0:
        now, worker = heapq.heappop(queue)
        while driver_fails < now:  # all workers have lost their batch to that
            driver_fails += chance.expovariate(1 / mean)
        done, failure = now + seconds, min(fails[worker], driver_fails)
        if done <= failure:
            waiting -= 1
            end = max(end, done)
            heapq.heappush(queue, (done, worker))
            continue
        computed = max(0.0, failure - now) * speed
        lost.photos_lost += computed
        lost.largest_loss = max(lost.largest_loss, computed)
        lost.failures += 1
        if failure == fails[worker]:
            fails[worker] = failure + chance.expovariate(1 / mean)
        heapq.heappush(queue, (max(now, failure) + restart, worker))
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
    lost = simulate(**values)
    ideal = values["photos"] / values["speed"] / values["workers"] / 3600
    assert lost.largest_loss <= values["batch"], "a failure cost more than a batch"
    share = lost.photos_lost / values["photos"]
    print(
        json.dumps(
            {**values, **asdict(lost), "hours_without": ideal, "share_lost": share}, indent=2
        )
    )


if __name__ == "__main__":
    main()
