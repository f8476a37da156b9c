"""LanceDB's own indices as the first stage of a search.

How quickly they name a shortlist, and how good it is. `search_growth.py --lancedb
PHOTOS` tries them on its library. A shortlist's recall is that of the exact ten best
photos in it, which no later stage can raise.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from index_speed import recall
from numpy.typing import NDArray

from regiontalk.index.library import PhotoIndex
from regiontalk.index.query import Query

NEAREST_PHOTOS = 1_000  # of whole photos
NEAREST_REGIONS = 500  # of each word

Vectors = NDArray[np.float32]
Shortlist = Callable[[Any, Vectors], list[int]]


@dataclass(frozen=True)
class Trial:
    """An index of LanceDB.

    Attributes:
        name: for people.
        kind: LanceDB's name of it.
        regions: whether every region is a row, or whole photos alone.
        options: of its making.
    """

    name: str
    kind: str
    regions: bool
    options: dict[str, Any] = field(default_factory=dict)


TRIALS = (
    Trial("whole photos, IVF_HNSW_SQ", "IVF_HNSW_SQ", regions=False),
    Trial("regions, IVF_PQ", "IVF_PQ", regions=True, options={"num_sub_vectors": 32}),
    Trial("regions, IVF_HNSW_SQ", "IVF_HNSW_SQ", regions=True),
)


def try_lancedb(
    library: PhotoIndex, queries: Sequence[Query], exact: list[list[int]]
) -> list[dict[str, Any]]:
    """A row of figures for each of `TRIALS`."""
    numbers, vectors = read_vectors(library)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        for trial in TRIALS:
            figures = run(trial, Path(temporary), numbers, vectors, queries, exact)
            rows.append({"photos": len(numbers), **figures})
            print(json.dumps(rows[-1]), flush=True)
    return rows


def read_vectors(library: PhotoIndex) -> tuple[NDArray[np.int64], Vectors]:
    """The numbers (P,) of a library's photos and their vectors (P, N, D).

    The first is the whole photo's.
    """
    rows = library._store._table.search().select(["bytes", "vectors"]).to_arrow()
    flat = (
        rows["vectors"]
        .combine_chunks()
        .flatten()
        .flatten()
        .to_numpy(zero_copy_only=False)
    )
    shape = (rows.num_rows, 1 + library.about.regions, library.about.size)
    return rows["bytes"].to_numpy(), flat.reshape(shape).astype(np.float32)


def run(
    trial: Trial,
    folder: Path,
    numbers: NDArray[np.int64],
    vectors: Vectors,
    queries: Sequence[Query],
    exact: list[list[int]],
) -> dict[str, Any]:
    """Build one index and ask it for the shortlist of every query."""
    table = make_table(trial, folder, numbers, vectors)
    start = time.process_time()
    table.create_index(metric="dot", index_type=trial.kind, **trial.options)
    built = time.process_time() - start
    shortlists, times = clock(
        of_regions if trial.regions else of_whole_photos, table, queries
    )
    return {
        "how": f"LanceDB: {trial.name}",
        "built_cpu_s": built,
        "cpu_p50_ms": float(np.percentile(times, 50)),
        "recall of the shortlist": recall(shortlists, exact),
        "shortlist": float(np.mean([len(shortlist) for shortlist in shortlists])),
    }


def clock(
    shortlist: Shortlist, table: Any, queries: Sequence[Query]
) -> tuple[list[list[int]], list[float]]:
    """The shortlists of all queries, and the processor's milliseconds of each."""
    shortlists, times = [], []
    for query in queries:
        start = time.process_time()
        shortlists.append(shortlist(table, query.heaviest()))
        times.append((time.process_time() - start) * 1e3)
    return shortlists, times


def make_table(
    trial: Trial, folder: Path, numbers: NDArray[np.int64], vectors: Vectors
) -> Any:
    """A table with a row for each photo or each region."""
    import lancedb
    import pyarrow as pa

    size = vectors.shape[2]
    flat = vectors.reshape(-1, size) if trial.regions else vectors[:, 0]
    owners = np.repeat(numbers, vectors.shape[1]) if trial.regions else numbers
    column = pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), size)
    name = trial.name.replace(", ", "_").replace(" ", "_")
    data = pa.table({"photo": owners, "vector": column})
    return lancedb.connect(folder).create_table(name, data)


def of_whole_photos(table: Any, words: Vectors) -> list[int]:
    """The photos whose vectors as a whole are nearest to the sum of the words (T, D)."""
    return nearest(table, words.sum(axis=0), NEAREST_PHOTOS)


def of_regions(table: Any, words: Vectors) -> list[int]:
    """The photos of the regions nearest to each word (T, D)."""
    photos = [nearest(table, word, NEAREST_REGIONS) for word in words]
    return sorted(set().union(*photos))


def nearest(table: Any, vector: Vectors, limit: int) -> list[int]:
    """The photos of the rows nearest to a vector (D,)."""
    query = (
        table.search(vector, vector_column_name="vector")
        .distance_type("dot")
        .nprobes(20)
    )
    rows = query.limit(limit).select(["photo", "_distance"]).to_arrow()
    photos: list[int] = rows["photo"].to_pylist()
    return photos
