"""Retrieval at the size of COCO 5K: exact MaxSim ranks in blocks against the bare matrix products.

5,000 photos of 20 regions and 25,000 sentences, 256 dimensions, random vectors. Times
`metrics.retrieval.ranks` over the blocks that `regiontalk evaluate retrieval` scores
(`evaluate.retrieval.score_blocks`), beside the products of the same vectors in the same blocks and
nothing else (the floor), in one run. Peak memory is that of the whole process with both; where
fewer pairs are timed, what the full size adds, its vectors and ranks, is added to it. On a busy
machine compare the CPU seconds, which other programs disturb less than the wall clock.

    python benchmarks/retrieval_speed.py --fraction 0.1 --json retrieval_speed.json
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from regiontalk.align.score import maxsim
from regiontalk.evaluate.retrieval import PackedWords, score_blocks
from regiontalk.files import write_data
from regiontalk.metrics.retrieval import BLOCK, IntArray, ranks
from regiontalk.model.config import ModelConfig
from regiontalk.records import FloatArray

PHOTOS, SENTENCES_EACH, REGIONS, DIMENSIONS = 5000, 5, 20, 256
WORDS = (
    6,
    18,
)  # shortest and longest sentence; the mean of 12 is that of Flickr and COCO
ALLOWED_RATIO, ALLOWED_BYTES = 2.0, 2e9


@dataclass(frozen=True)
class Vectors:
    """regions (B, N, D) and the words of all sentences."""

    regions: FloatArray
    words: PackedWords


def make_vectors(photos: int) -> Vectors:
    """Random unit vectors for so many photos and five times as many sentences."""
    generator = np.random.default_rng(0)
    lengths = generator.integers(WORDS[0], WORDS[1] + 1, photos * SENTENCES_EACH)
    regions = generator.normal(size=(photos, REGIONS, DIMENSIONS)).astype(np.float32)
    words = generator.normal(size=(int(lengths.sum()), DIMENSIONS)).astype(np.float32)
    for vectors in (regions, words):
        vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    return Vectors(regions, PackedWords(words, np.concatenate([[0], lengths.cumsum()])))


def tiles(photos: int) -> Iterator[tuple[IntArray, IntArray]]:
    """The blocks that the ranking visits."""
    for top in range(0, photos, BLOCK[0]):
        for left in range(0, photos * SENTENCES_EACH, BLOCK[1]):
            yield (
                np.arange(top, min(top + BLOCK[0], photos)),
                np.arange(left, min(left + BLOCK[1], photos * SENTENCES_EACH)),
            )


def seconds() -> tuple[float, float]:
    """The wall clock and the CPU time of all threads so far."""
    return time.perf_counter(), time.process_time()


def missing_bytes(photos: int) -> int:
    """What 5,000 photos hold and so many do not.

    Vectors, and a handful of numbers a photo and a sentence.
    """
    words = SENTENCES_EACH * sum(WORDS) / 2
    each = 4 * DIMENSIONS * (REGIONS + words) + 8 * 8 * (1 + SENTENCES_EACH)
    return round((PHOTOS - photos) * each)


def time_products(vectors: Vectors, photos: int) -> tuple[float, float]:
    """Wall and CPU seconds of the matrix products alone, over the same blocks."""
    start = seconds()
    for rows, columns in tiles(photos):
        starts = vectors.words.starts
        words = vectors.words.embeddings[starts[columns[0]] : starts[columns[-1] + 1]]
        words @ vectors.regions[rows[0] : rows[-1] + 1].reshape(-1, DIMENSIONS).T
    end = seconds()
    return end[0] - start[0], end[1] - start[1]


def time_ranks(vectors: Vectors, photos: int) -> tuple[float, float]:
    """Wall and CPU seconds of scoring and ranking, both ways."""
    is_region = np.ones(vectors.regions.shape[:2], dtype=bool)
    scorer: Any = SimpleNamespace(config=ModelConfig(), score=maxsim)
    start = seconds()
    scores = score_blocks(scorer, vectors.regions, vectors.words, is_region)
    ranks(
        scores, np.repeat(np.arange(photos), SENTENCES_EACH), photos=photos, block=BLOCK
    )
    end = seconds()
    return end[0] - start[0], end[1] - start[1]


def main() -> None:
    """Measure, print a table, write JSON; exit 1 where a bound is broken."""
    arguments = parse_arguments()
    photos = max(BLOCK[0], round(PHOTOS * arguments.fraction**0.5))
    vectors = make_vectors(photos)
    time_products(vectors, BLOCK[0])  # threads and memory are set up outside the timing
    timings = compare(vectors, photos)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    full_peak = peak + missing_bytes(photos)
    report = {
        "photos": photos,
        "sentences": photos * SENTENCES_EACH,
        "threads": arguments.threads,
        **timings,
        "peak_bytes": peak,
        "peak_bytes_at_5000": full_peak,
    }
    print("\n".join(f"{name:>20}  {value}" for name, value in report.items()))
    if arguments.json:
        write_data(arguments.json, json.dumps(report, indent=1).encode())
    sys.exit(timings["ratio"] > ALLOWED_RATIO or full_peak > ALLOWED_BYTES)


def compare(vectors: Vectors, photos: int) -> dict[str, float]:
    """Seconds of the matrix products alone and of the ranks.

    And how many times as long the ranks take.
    """
    products_seconds, products_cpu_seconds = time_products(vectors, photos)
    ranks_seconds, ranks_cpu_seconds = time_ranks(vectors, photos)
    timings = {
        "products_seconds": products_seconds,
        "ranks_seconds": ranks_seconds,
        "ratio": ranks_seconds / products_seconds,
        "products_cpu_seconds": products_cpu_seconds,
        "ranks_cpu_seconds": ranks_cpu_seconds,
        "cpu_ratio": ranks_cpu_seconds / products_cpu_seconds,
    }
    return {name: round(value, 3) for name, value in timings.items()}


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--fraction",
        type=float,
        default=1.0,
        help="share of the 5,000 x 25,000 pairs to time",
    )
    parser.add_argument(
        "--threads", type=int, default=2, help="as OMP_NUM_THREADS has it"
    )
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
