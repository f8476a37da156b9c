"""Retrieval at the size of COCO 5K: exact MaxSim ranks in blocks against the bare matrix products.

5,000 photos of 20 regions and 25,000 sentences, 256 dimensions, random vectors. Times `metrics.retrieval.ranks` over
blocks that `align.score.maxsim` makes, beside the products of the same vectors in the same blocks and nothing else (the
floor), in one run. Words are packed without padding: each word is scored as a sentence of one word, and a sentence adds
its words up. On a busy machine compare the CPU seconds, which other programs disturb less than the wall clock.

    python benchmarks/retrieval_speed.py --fraction 0.1 --json retrieval_speed.json
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from regiontalk.align.score import maxsim
from regiontalk.metrics.retrieval import Blocks, IntArray, ranks

PHOTOS, SENTENCES_EACH, REGIONS, DIMENSIONS = 5000, 5, 20, 256
WORDS = (6, 18)  # shortest and longest sentence; the mean of 12 is that of Flickr and COCO
BLOCK = (128, 640)
ALLOWED_RATIO, ALLOWED_BYTES = 2.0, 2e9


@dataclass(frozen=True)
class Vectors:
    """regions (B, N, D); words of all sentences in a row (W, D); starts (C + 1,) of the sentences in it."""

    regions: Tensor
    words: Tensor
    starts: IntArray

    def packed(self, sentences: IntArray) -> tuple[Tensor, Tensor]:
        """The words of some sentences (P, D), and which of these sentences each belongs to (P,)."""
        lengths = self.starts[sentences + 1] - self.starts[sentences]
        owner = np.repeat(np.arange(len(sentences)), lengths)
        inside = np.arange(len(owner)) - np.repeat(lengths.cumsum() - lengths, lengths)
        return self.words[torch.from_numpy(self.starts[sentences][owner] + inside)], torch.from_numpy(owner)


def make_vectors(photos: int) -> Vectors:
    """Random unit vectors for so many photos and five times as many sentences."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(WORDS[0], WORDS[1] + 1, (photos * SENTENCES_EACH,), generator=generator)
    regions = torch.randn(photos, REGIONS, DIMENSIONS, generator=generator)
    words = torch.randn(int(lengths.sum()), DIMENSIONS, generator=generator)
    for vectors in (regions, words):
        vectors /= vectors.norm(dim=-1, keepdim=True)
    return Vectors(regions, words, np.concatenate([[0], lengths.numpy().cumsum()]))


def maxsim_blocks(vectors: Vectors) -> Blocks:
    """Scores of any block, Eq. 8 of [1]."""

    def block(photos: IntArray, sentences: IntArray) -> np.ndarray:
        words, owner = vectors.packed(sentences)
        regions = vectors.regions[torch.from_numpy(photos)]
        everything = torch.ones(regions.shape[:2], dtype=torch.bool)
        best = maxsim(regions, words[:, None], everything, torch.ones(len(words), 1, dtype=torch.bool))  # (B, P)
        return torch.zeros(len(photos), len(sentences)).index_add_(1, owner, best).numpy()

    return block


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


def time_products(vectors: Vectors, photos: int) -> tuple[float, float]:
    """Wall and CPU seconds of the matrix products alone, over the same blocks."""
    start = seconds()
    for rows, columns in tiles(photos):
        words = vectors.words[vectors.starts[columns[0]] : vectors.starts[columns[-1] + 1]]
        torch.mm(words, vectors.regions[rows[0] : rows[-1] + 1].flatten(0, 1).T)
    end = seconds()
    return end[0] - start[0], end[1] - start[1]


def time_ranks(vectors: Vectors, photos: int) -> tuple[float, float]:
    """Wall and CPU seconds of scoring and ranking, both ways."""
    start = seconds()
    ranks(maxsim_blocks(vectors), np.repeat(np.arange(photos), SENTENCES_EACH), photos=photos, block=BLOCK)
    end = seconds()
    return end[0] - start[0], end[1] - start[1]


def main() -> None:
    """Measure, print a table, write JSON; exit 1 where a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fraction", type=float, default=1.0, help="share of the 5,000 x 25,000 pairs to time")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    photos = max(BLOCK[0], round(PHOTOS * arguments.fraction**0.5))
    vectors = make_vectors(photos)
    time_products(vectors, min(photos, BLOCK[0]))  # threads and memory are set up outside the timing
    with torch.no_grad():
        floor, took = time_products(vectors, photos), time_ranks(vectors, photos)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    result = {
        "photos": photos,
        "sentences": photos * SENTENCES_EACH,
        "threads": arguments.threads,
        "products_seconds": round(floor[0], 3),
        "ranks_seconds": round(took[0], 3),
        "ratio": round(took[0] / floor[0], 3),
        "products_cpu_seconds": round(floor[1], 3),
        "ranks_cpu_seconds": round(took[1], 3),
        "cpu_ratio": round(took[1] / floor[1], 3),
        "peak_bytes": peak,
    }
    for name, value in result.items():
        print(f"{name:>18}  {value}")
    if arguments.json:
        partial = arguments.json.with_suffix(".partial")
        partial.write_text(json.dumps(result, indent=1), encoding="utf-8")
        os.replace(partial, arguments.json)
    sys.exit(result["ratio"] > ALLOWED_RATIO or peak > ALLOWED_BYTES)


if __name__ == "__main__":
    main()
