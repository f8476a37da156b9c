"""What the first stage of a large library's search costs, by the number of photos.

Cells alone, no library.

    python benchmarks/cells_growth.py --photos 10000 100000 1000000 3000000

Photos are 20 random cells each of 65,536 with random centers, words are random too:
what is found means nothing, the steps are those of a search
(`regiontalk/index/cells.py`). Each size has a process of its own. The processor's time
is given, so that a machine with other work says the same.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np

from regiontalk.index.cells import MAX_BRANCH, Cells, Centers, branch_for
from regiontalk.index.first_stage import SHORTLIST
from regiontalk.index.projections import SIZE

REGIONS = 20  # of a photo, the whole photo included
SEARCHES = 15


def measure(photos: int, words: int) -> dict[str, float]:
    """Seconds to sort the cells, milliseconds of a search, and the memory of the process."""
    chance = np.random.default_rng(0)
    branch = min(MAX_BRANCH, branch_for(photos * REGIONS))
    cells = chance.standard_normal((branch, branch, SIZE), dtype=np.float32)
    codes = chance.integers(0, branch**2, (photos, REGIONS), dtype=np.uint16)
    start = time.process_time()
    library = Cells(Centers(cells[:, 0], cells), codes)
    sorted_s = time.process_time() - start
    times = []
    for _ in range(SEARCHES):
        query = chance.standard_normal((words, SIZE), dtype=np.float32)
        start = time.process_time()
        library.best(query, SHORTLIST)
        times.append((time.process_time() - start) * 1e3)
    return {
        "photos": photos,
        "cells": branch**2,
        "words": words,
        "sorted_s": sorted_s,
        "cpu_p50_ms": float(np.percentile(times, 50)),
        "cpu_p99_ms": float(np.percentile(times, 99)),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    """Measure each size in a process of its own, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--photos", type=int, nargs="+", default=[10_000, 100_000, 1_000_000]
    )
    parser.add_argument("--words", type=int, default=10, help="of a query")
    arguments = parser.parse_args()
    if len(arguments.photos) == 1:
        print(json.dumps(measure(arguments.photos[0], arguments.words)))
        return
    for photos in arguments.photos:
        options = ["--photos", str(photos), "--words", str(arguments.words)]
        subprocess.run([sys.executable, __file__, *options], check=True)


if __name__ == "__main__":
    main()
