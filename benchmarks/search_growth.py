"""How a search's cost grows with the library.

The p50 and p99, recall@10, memory, build time, bytes a photo.

    python benchmarks/search_growth.py --data DATA --photos 10000 100000 1000000 --json growth.json

One library grows from size to size; at each it is measured twice, by the sketches of all photos in
memory and by cells (`regiontalk/index/cells.py`), each in a process of its own whose memory is read
at the end. On a machine that does other work too the time of the processor (cpu_...) is what
counts. The photos are those of `index_speed.py`: regions of real photos mixed, with noise. They are
written in chunks; with ``--index`` a run that was stopped goes on where it was. The exact ten are
found chunk by chunk while the photos are made. ``--lancedb 20000`` also tries LanceDB's own indices
at that size (`lancedb_indices.py`).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from index_speed import clock, made_row, made_up, pool, queries_of, recall
from lancedb_indices import try_lancedb
from numpy.typing import NDArray

from regiontalk import RegionCaptioner
from regiontalk.datasets.splits import read_split
from regiontalk.index import cell_table, first_stage
from regiontalk.index.library import PhotoIndex
from regiontalk.index.query import Query, read_query
from regiontalk.index.rows import Row
from regiontalk.index.table import to_arrow

CHUNK = 5_000  # photos made and written together
WAYS = ("sketches", "cells")
Vectors = NDArray[np.float32]


@dataclass
class Exact:
    """The ten best photos of every query among those made so far.

    Attributes:
        photos: how many were made.
        scores: (Q, 10) of the best.
        numbers: (Q, 10) of the best photos.
    """

    photos: int
    scores: Vectors
    numbers: NDArray[np.int64]

    @classmethod
    def load(cls, path: Path, queries: int) -> Exact:
        """What an earlier run saved, or nothing yet."""
        if not path.exists():
            scores = np.full((queries, 10), -np.inf, dtype=np.float32)
            return cls(0, scores, np.zeros((queries, 10), dtype=np.int64))
        values = np.load(path, allow_pickle=False)
        return cls(int(values["photos"]), values["scores"], values["numbers"])

    def save(self, path: Path) -> None:
        """Write it in one piece."""
        new = path.with_suffix(".new.npz")
        np.savez(new, photos=self.photos, scores=self.scores, numbers=self.numbers)
        new.replace(path)

    def add(self, vectors: Vectors, queries: Sequence[Query]) -> None:
        """Look through a chunk (B, N, D)."""
        scores = exact_scores(vectors, queries)
        numbers = np.arange(self.photos, self.photos + len(vectors))
        all_scores = np.concatenate([self.scores, scores], axis=1)
        all_numbers = np.concatenate(
            [self.numbers, np.tile(numbers, (len(queries), 1))], axis=1
        )
        best = np.argsort(-all_scores, axis=1)[:, :10]
        self.scores = np.take_along_axis(all_scores, best, 1)
        self.numbers = np.take_along_axis(all_numbers, best, 1)
        self.photos += len(vectors)


def exact_scores(vectors: Vectors, queries: Sequence[Query]) -> Vectors:
    """Eq. 8 for every query and photo, (Q, B), of the vectors (B, N, D)."""
    words = [query.vectors[query.counted] for query in queries]
    bounds = np.cumsum([0, *map(len, words)])
    flat = vectors.reshape(-1, vectors.shape[2])
    products = flat @ np.concatenate(words).T
    best = products.reshape(*vectors.shape[:2], -1).max(axis=1)
    return np.add.reduceat(best, bounds[:-1], axis=1).T


@dataclass(frozen=True)
class Mixture:
    """What made-up photos are made of.

    Attributes:
        real: (B, N, D) vectors of real photos.
        noise: its length beside that of a vector.
        queries: whose exact answers are looked for meanwhile.
    """

    real: Vectors
    noise: float
    queries: Sequence[Query]


def grow(
    library: PhotoIndex, mixture: Mixture, size: int, folder: Path
) -> dict[str, float]:
    """Write photos until there are ``size``.

    Returns the processor's seconds of making and of writing them.
    """
    exact = Exact.load(folder / "exact.npz", len(mixture.queries))
    making = writing = 0.0
    table = library._store._table
    table.delete(
        f"bytes >= {exact.photos}"
    )  # a chunk whose exact scores were not saved
    while exact.photos < size:
        start = time.process_time()
        rows = make_rows(mixture, exact, min(CHUNK, size - exact.photos))
        made = time.process_time()
        table.add(to_arrow(rows, library.about, library._basis))
        exact.save(folder / "exact.npz")
        making += made - start
        writing += time.process_time() - made
        print(f"{exact.photos:,} photos", file=sys.stderr, flush=True)
    return {"made_cpu_s": making, "written_cpu_s": writing}


def make_rows(mixture: Mixture, exact: Exact, count: int) -> list[Row]:
    """The rows of the next photos, which are also looked through for exact answers."""
    first = exact.photos
    chunk = next(made_up(mixture.real, count, mixture.noise, first, CHUNK))
    exact.add(chunk, mixture.queries)
    return [made_row(first + number, vectors) for number, vectors in enumerate(chunk)]


def build_cells(library: PhotoIndex) -> float:
    """Make the cells of all photos anew, whatever their number; the seconds of the processor."""
    cell_table.CROSSOVER = cell_table.GROWTH = 0
    start = time.process_time()
    library._store._cell_table.update(library._store._table)
    return time.process_time() - start


def measure(folder: Path, model: str, texts: Sequence[str], how: str) -> dict[str, Any]:
    """Figures of one way of searching, by a process that does nothing else."""
    captioner = RegionCaptioner.from_pretrained(model)
    library = PhotoIndex.open(folder / "index")
    if how == "sketches":
        first_stage.CellTable.version = lambda self: None  # type: ignore[method-assign]
    before = resident_mb()
    start = time.perf_counter()
    library.search(captioner, texts[0])
    first = time.perf_counter() - start
    answers, figures = search_all(library, captioner, texts)
    exact = Exact.load(folder / "exact.npz", len(texts)).numbers.tolist()
    memory = {"before_mb": before, "now_mb": resident_mb(), "peak_mb": peak_mb()}
    return {
        "how": how,
        **figures,
        "recall@10": recall(answers, exact),
        "first_search_s": first,
        **memory,
    }


def search_all(
    library: PhotoIndex, captioner: RegionCaptioner, texts: Sequence[str]
) -> tuple[list[list[int]], dict[str, float]]:
    """The answers to all queries, and how long they took by the clock and of the processor."""
    cpu_seconds: list[float] = []

    def work(text: str) -> list[int]:
        start = time.process_time()
        hits = library.search(captioner, text)
        cpu_seconds.append(time.process_time() - start)
        return [int(Path(hit.photo).stem) for hit in hits]

    answers, figures = clock(work, texts)
    cpu_seconds = cpu_seconds[-len(texts) :]  # without those that warmed up
    figures["cpu_p50_ms"] = float(np.percentile(cpu_seconds, 50)) * 1e3
    figures["cpu_p99_ms"] = float(np.percentile(cpu_seconds, 99)) * 1e3
    return answers, figures


def resident_mb() -> float:
    """Memory of this process (Linux)."""
    return _status_mb("VmRSS")


def peak_mb() -> float:
    """The most memory that this process ever had (Linux)."""
    return _status_mb("VmHWM")


def _status_mb(name: str) -> float:
    text = Path("/proc/self/status").read_text()
    return int(text.partition(f"{name}:")[2].split()[0]) / 1024


def measured(folder: Path, arguments: argparse.Namespace, how: str) -> dict[str, Any]:
    """`measure` in a process of its own."""
    command = [
        sys.executable,
        __file__,
        "--data",
        str(arguments.data),
        "--model",
        arguments.model,
    ]
    command += [
        "--queries",
        str(arguments.queries),
        "--index",
        str(folder),
        "--measure",
        how,
    ]
    output = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    values: dict[str, Any] = json.loads(output.splitlines()[-1])
    return values


def run(
    folder: Path, arguments: argparse.Namespace, texts: Sequence[str]
) -> list[dict[str, Any]]:
    """Grow, build and measure, size by size."""
    captioner = RegionCaptioner.from_pretrained(arguments.model)
    examples, _ = read_split(arguments.data, "train")
    real = pool(captioner, examples[: arguments.real], arguments.vectors)
    queries = [read_query(captioner, text, None, None) for text in texts]
    library = PhotoIndex.open_or_create(folder / "index", captioner)
    rows: list[dict[str, Any]] = []
    for size in arguments.photos:
        seconds = grow(library, Mixture(real, arguments.noise, queries), size, folder)
        seconds["cells_built_cpu_s"] = build_cells(library)
        if arguments.lancedb == size:
            exact = Exact.load(folder / "exact.npz", len(texts)).numbers.tolist()
            rows += try_lancedb(library, queries, exact)
        rows += measure_ways(folder, arguments, size, seconds)
    return rows


def measure_ways(
    folder: Path, arguments: argparse.Namespace, size: int, seconds: dict[str, float]
) -> list[dict[str, Any]]:
    """A row for each way of searching that a library of this size allows."""
    rows: list[dict[str, Any]] = []
    sizes = {**seconds, "disk_mb": disk_mb(folder / "index")}
    for how in WAYS if size <= arguments.sketches_up_to else WAYS[1:]:
        rows.append({"photos": size, **measured(folder, arguments, how), **sizes})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def disk_mb(folder: Path) -> float:
    """What all files of a folder take."""
    return (
        sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    )


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """The milliseconds and the memory of each way over the number of photos."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    panels: list[tuple[Any, str, Callable[[dict[str, Any]], float]]] = [
        (axes[0], "processor time, p50, ms", lambda row: float(row["cpu_p50_ms"])),
        (axes[1], "peak memory, MB", lambda row: float(row["peak_mb"])),
    ]
    for axis, title, value in panels:
        for how in WAYS:
            rows_of_way = [row for row in rows if row["how"] == how]
            axis.loglog(
                [row["photos"] for row in rows_of_way],
                [*map(value, rows_of_way)],
                "o-",
                label=how,
            )
        axis.set(title=title, xlabel="photos")
        axis.legend()
    figure.savefig(path, dpi=120)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="Flickr8k with Entities"
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument("--photos", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument(
        "--real", type=int, default=1_500, help="real photos that are mixed"
    )
    parser.add_argument("--noise", type=float, default=0.3, help="length of the noise")
    parser.add_argument("--queries", type=int, default=40)
    parser.add_argument(
        "--sketches-up-to",
        type=int,
        default=200_000,
        help="photos whose sketches fit the memory",
    )
    parser.add_argument(
        "--vectors", type=Path, help="npy file that keeps the real vectors"
    )
    parser.add_argument(
        "--index", type=Path, help="folder that keeps the library between runs"
    )
    parser.add_argument(
        "--lancedb",
        type=int,
        metavar="PHOTOS",
        help="try LanceDB's own indices at this size",
    )
    parser.add_argument("--measure", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    return parser.parse_args()


def main() -> None:
    """Measure, print and write."""
    arguments = parse_arguments()
    texts = queries_of(read_split(arguments.data, "dev")[0], arguments.queries)
    if arguments.measure:
        print(
            json.dumps(
                measure(arguments.index, arguments.model, texts, arguments.measure)
            )
        )
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.index or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        rows = run(folder, arguments, texts)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")
    if arguments.plot:
        plot(rows, arguments.plot)


if __name__ == "__main__":
    main()
