"""How fast a large library is searched.

The p50 and p99, recall@10 against exact scores, build time, bytes a photo.

    python benchmarks/index_speed.py --data DATA --photos 100000 --json index_speed.json

The library is made of real photos' regions: each made-up photo takes the whole-photo vector of one
photo and 19 regions of as many others, noise of ``--noise`` times their length is added, and each
is brought back to unit length. Queries are real sentences and phrases of dev. What is timed is
`PhotoIndex.search` from text to ten hits. Beside it, in the same run and on the same vectors: all
products by torch (brute force). Several numbers of ``--candidates`` are compared on one library.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regiontalk import RegionCaptioner
from regiontalk.captioner import ALIGN_REGIONS
from regiontalk.datasets.splits import read_split
from regiontalk.evaluate.photos import EncodedPhotos
from regiontalk.evaluate.retrieval import region_embeddings
from regiontalk.evaluate.suite import write_json
from regiontalk.index.library import PhotoIndex
from regiontalk.index.query import best_hits, read_query
from regiontalk.index.rows import Row, Stamp
from regiontalk.index.store import CANDIDATES
from regiontalk.records import Example

if TYPE_CHECKING:
    from torch import Tensor

CHUNK = 2_000  # photos written at a time


def pool(
    captioner: RegionCaptioner, examples: Sequence[Example], cache: Path | None
) -> NDArray[np.float32]:
    """Unit vectors (B, 1 + regions, D) of real photos, computed once where a cache is named."""
    if cache is not None and cache.exists():
        return np.load(cache, allow_pickle=False)
    _, vectors, _ = region_embeddings(EncodedPhotos(captioner, examples), ALIGN_REGIONS)
    values = np.asarray(vectors, dtype=np.float32)
    if cache is not None:
        np.save(cache, values)
    return values


def made_up(
    real: NDArray[np.float32],
    photos: int,
    noise: float,
    seed: int = 0,
    together: int = CHUNK,
) -> Iterator[NDArray[np.float32]]:
    """Chunks (together, N, D) of photos that never were."""
    chance = np.random.default_rng(seed)
    count, regions, size = real.shape
    for start in range(0, photos, together):
        rows = min(together, photos - start)
        places = np.tile(np.arange(regions), (rows, 1))
        places[:, 1:] = chance.integers(1, regions, (rows, regions - 1))
        mixed = real[chance.integers(0, count, (rows, regions)), places]
        mixed += chance.standard_normal(mixed.shape, dtype=np.float32) * (
            noise / size**0.5
        )
        mixed /= np.linalg.norm(mixed, axis=2, keepdims=True)
        yield mixed


def build(
    library: PhotoIndex, chunks: Iterator[NDArray[np.float32]]
) -> tuple[dict[str, float], NDArray[np.float32]]:
    """Write all photos and join their files; seconds of each, and the vectors (B, N, D)."""
    written_chunks: list[NDArray[np.float32]] = []
    writing = 0.0
    for chunk in chunks:
        first = sum(map(len, written_chunks))
        rows = [
            made_row(first + number, vectors_of_photo)
            for number, vectors_of_photo in enumerate(chunk)
        ]
        start = time.perf_counter()
        library._store.write(rows, library._basis)
        writing += time.perf_counter() - start
        written_chunks.append(chunk)
        print(f"written: {first + len(chunk)} photos, {writing:.0f} s", flush=True)
    start = time.perf_counter()
    library._store.join()
    joining = time.perf_counter() - start
    seconds = {"write_s": round(writing, 1), "join_s": round(joining, 1)}
    return seconds, np.concatenate(written_chunks)


def made_row(number: int, vectors: NDArray[np.float32]) -> Row:
    """A row with all that a real one has."""
    boxes = np.tile(np.array([10, 20, 300, 400], dtype=np.float32), (len(vectors), 1))
    ones = np.ones(len(vectors), dtype=np.float32)
    words = ("a man in a red shirt is standing",) * len(vectors)
    stamp = Stamp(number, number, sha256(str(number).encode()).hexdigest())
    return Row(
        f"/photos/{number // 500}/{number}.jpg",
        stamp,
        datetime(2024, 1, 1),
        (640, 480),
        vectors,
        boxes,
        ones,
        words,
        ones,
    )


def brute_force(captioner: RegionCaptioner, vectors: Tensor, text: str) -> list[int]:
    """The ten best by all products; ``vectors`` (B, N, D) float32."""
    import torch

    query = read_query(captioner, text, None, None)
    words = torch.from_numpy(query.vectors[query.counted])
    best = torch.cat(
        [
            (block.flatten(0, 1) @ words.T).view(*block.shape[:2], -1).amax(1).sum(1)
            for block in vectors.split(4096)
        ]
    )
    return best.topk(min(10, len(best))).indices.tolist()


def clock(
    work: Callable[[str], list[int]], queries: Sequence[str]
) -> tuple[list[list[int]], dict[str, float]]:
    """The answers of all queries, and milliseconds at p50 and p99.

    Three queries before them warm up.
    """
    for text in queries[:3]:
        work(text)
    times, answers = [], []
    for text in queries:
        start = time.perf_counter()
        answers.append(work(text))
        times.append((time.perf_counter() - start) * 1e3)
    return answers, {
        "p50_ms": float(np.percentile(times, 50)),
        "p99_ms": float(np.percentile(times, 99)),
    }


def recall(answers: Sequence[list[int]], exact: Sequence[list[int]]) -> float:
    """Share of the exact ten that were found."""
    shares = []
    for answer, true in zip(answers, exact, strict=True):
        shares.append(len(set(answer) & set(true)) / max(1, len(true)))
    return float(np.mean(shares))


def compare(
    captioner: RegionCaptioner,
    library: PhotoIndex,
    vectors: NDArray[np.float32],
    queries: Sequence[str],
    candidates: Sequence[int],
) -> list[dict[str, Any]]:
    """A row of figures for brute force and for each number of candidates.

    The first search reads the sketches.
    """
    import torch

    everything = torch.from_numpy(vectors).float()
    exact, figures = clock(
        lambda text: brute_force(captioner, everything, text), queries
    )
    rows: list[dict[str, Any]] = [
        {"how": "brute force (torch)", **figures, "recall@10": 1.0}
    ]
    print(rows[-1], flush=True)
    start = time.perf_counter()
    search(captioner, library, CANDIDATES, queries[0])
    rows.append({"how": "first search", "ms": (time.perf_counter() - start) * 1e3})
    print(rows[-1], flush=True)
    for count in candidates:
        answers, figures = clock(partial(search, captioner, library, count), queries)
        how = f"index, {count} candidates"
        rows.append({"how": how, **figures, "recall@10": recall(answers, exact)})
        print(rows[-1], flush=True)
    return rows


def search(
    captioner: RegionCaptioner, library: PhotoIndex, candidates: int, text: str
) -> list[int]:
    """The ten best by the sketches and an exact ranking of so many candidates."""
    query = read_query(captioner, text, None, None)
    heaviest = query.heaviest() @ library._basis
    shortlist = library._store.candidates(heaviest, 10, None, candidates)
    return [
        int(Path(hit.photo).stem) for hit in best_hits(captioner, query, shortlist, 10)
    ]


def queries_of(examples: Sequence[Example], count: int) -> list[str]:
    """Sentences and short phrases in turn, of as many photos."""
    with_phrases = [
        example for example in examples if example.captions and example.phrases
    ]
    chosen = with_phrases[:: max(1, len(examples) // count)]
    return [
        example.phrases[0].text if number % 2 else example.captions[0]
        for number, example in enumerate(chosen[:count])
    ]


def machine() -> str:
    """What the processor is called."""
    return platform.processor() or platform.machine()


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="Flickr8k with Entities"
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument(
        "--photos", type=int, default=100_000, help="size of the library"
    )
    parser.add_argument(
        "--real", type=int, default=6_000, help="real photos whose regions are mixed"
    )
    parser.add_argument(
        "--noise",
        type=float,
        default=0.3,
        help="length of the noise beside that of a vector",
    )
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument(
        "--candidates",
        type=int,
        nargs="+",
        default=[CANDIDATES],
        help="photos ranked exactly",
    )
    parser.add_argument(
        "--vectors",
        type=Path,
        help="npy file that keeps the real photos' vectors between runs",
    )
    parser.add_argument(
        "--index",
        type=Path,
        help="folder that keeps the library; else it is a temporary one",
    )
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> None:
    """Build, measure, print and write."""
    arguments = parse_arguments()
    captioner = RegionCaptioner.from_pretrained(arguments.model)
    examples, _ = read_split(arguments.data, "train")
    real = pool(captioner, examples[: arguments.real], arguments.vectors)
    dev_examples, _ = read_split(arguments.data, "dev")
    queries = queries_of(dev_examples, arguments.queries)
    with tempfile.TemporaryDirectory() as temporary:
        library = PhotoIndex.open_or_create(
            arguments.index or Path(temporary) / "index", captioner, rebuild=True
        )
        seconds, vectors = build(
            library, made_up(real, arguments.photos, arguments.noise)
        )
        rows = compare(captioner, library, vectors, queries, arguments.candidates)
        bytes_written = library.info()["bytes"]
    report = {
        "photos": arguments.photos,
        "regions a photo": vectors.shape[1],
        "real photos": len(real),
        "noise": arguments.noise,
        "queries": len(queries),
        "machine": machine(),
        "bytes a photo": bytes_written / arguments.photos,
        **seconds,
        "rows": rows,
    }
    print(json.dumps(report, indent=2))
    if arguments.json:
        write_json(arguments.json, report)


if __name__ == "__main__":
    main()
