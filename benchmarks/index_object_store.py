"""Two writers and a reader of one library in an object store.

Nothing lost, nothing doubled, no half batch.

    python benchmarks/index_object_store.py --seconds 120 --json index_object_store.json

The store is a real S3-compatible server (moto) on loopback, in a process of its own, as is each
writer. A writer commits batches of photos that never were until the time is over, and repeats every
fifth of them, as a job does that was killed after its commit. The reader counts and searches
meanwhile. At the end the library must hold every photo of every batch once; then it is compacted
and searched again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from index_speed import made_row
from numpy.typing import NDArray

from regiontalk import RegionCaptioner
from regiontalk.index.library import PhotoIndex

BATCH = 16  # photos of a commit
WRITERS = 2
URI = "s3://bucket/photos.index"
SERVER = """
import logging, time
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("{}:{}".format(*server.get_host_and_port()), flush=True)
time.sleep(1e6)
"""


def start_server() -> tuple[subprocess.Popen[str], str]:
    """A server with an empty bucket, and its address."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True
    )
    address = server.stdout.readline().strip()  # type: ignore[union-attr]
    urllib.request.urlopen(
        urllib.request.Request(f"http://{address}/bucket", method="PUT")
    ).close()
    return server, address


def set_credentials(address: str) -> None:
    """The environment by which this process and those below it reach the server."""
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "something",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT": f"http://{address}",
        "AWS_ALLOW_HTTP": "true",
    }


def vectors_of(number: int, size: int) -> NDArray[np.float32]:
    """Unit vectors (20, D) of a photo that never was."""
    vectors = np.random.default_rng(number).standard_normal(
        (20, size), dtype=np.float32
    )
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def write(first: int, seconds: float, model: str) -> None:
    """Commit batches until the time is over, each with numbers of its own; prints their number."""
    library = PhotoIndex.open_or_create(URI, RegionCaptioner.from_pretrained(model))
    print("ready", flush=True)
    size, batches, end = library.about.size, 0, time.monotonic() + seconds
    while time.monotonic() < end:
        numbers = range(first + batches * BATCH, first + (batches + 1) * BATCH)
        rows = [made_row(number, vectors_of(number, size)) for number in numbers]
        for _ in range(2 if batches % 5 == 4 else 1):
            library._store.write(rows, library._basis)
        batches += 1
    print(batches, flush=True)


def read(
    library: PhotoIndex, captioner: RegionCaptioner, writers: list[Any]
) -> dict[str, Any]:
    """Count and search until no writer is left."""
    counts, searches = [], []
    while any(writer.poll() is None for writer in writers):
        counts.append(len(library))
        start = time.perf_counter()
        hits = library.search(captioner, "a dog on a red boat", k=10)
        searches.append((time.perf_counter() - start) * 1e3)
        assert len(hits) == min(10, len(hits)) and len(
            {hit.photo for hit in hits}
        ) == len(hits)
    halves = [count for count in counts if count % BATCH]
    assert not halves, f"half a batch was seen: {halves}"
    assert counts == sorted(counts), "a count went back"
    return {
        "counts read": len(counts),
        "search p50_ms": float(np.percentile(searches, 50)),
        "search p99_ms": float(np.percentile(searches, 99)),
    }


def measure(seconds: float, model: str) -> dict[str, Any]:
    """Write, read, check and compact; the figures of the reader and of the compaction."""
    captioner = RegionCaptioner.from_pretrained(model)
    library = PhotoIndex.open_or_create(URI, captioner)
    writers = [start_writer(number, seconds, model) for number in range(WRITERS)]
    figures = read(library, captioner, writers)
    outputs = [writer.communicate()[0].split() for writer in writers]
    batches = [int(words[-1]) for words in outputs]
    check(library, batches)
    start = time.perf_counter()
    library.compact()
    figures |= {"batches": batches, "compacted_s": time.perf_counter() - start}
    check(library, batches)
    assert len(library.search(captioner, "a dog", k=10)) == 10
    return figures


def start_writer(number: int, seconds: float, model: str) -> subprocess.Popen[str]:
    """A process that writes photos with numbers of its own."""
    options = [
        "--seconds",
        str(seconds),
        "--model",
        model,
        "--writer",
        str(number * 1_000_000),
    ]
    return subprocess.Popen(
        [sys.executable, __file__, *options], stdout=subprocess.PIPE, text=True
    )


def main() -> None:
    """Write, read, check, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--writer", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.writer is not None:
        write(arguments.writer, arguments.seconds, arguments.model)
        return
    server, address = start_server()
    try:
        set_credentials(address)
        figures = measure(arguments.seconds, arguments.model)
    finally:
        server.kill()
    print(json.dumps(figures, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


def check(library: PhotoIndex, batches: list[int]) -> None:
    """Every photo of every batch is there once."""
    paths = Counter(Path(path).stem for path in library.paths())
    expected = {
        str(writer * 1_000_000 + number)
        for writer, count in enumerate(batches)
        for number in range(count * BATCH)
    }
    assert expected == paths.keys(), f"{len(expected - paths.keys())} photos are lost"
    assert set(paths.values()) == {1}, "a photo is doubled"


if __name__ == "__main__":
    main()
