"""A job: photos of a Ray Dataset to rows in an output, by many processes, each photo exactly once.

`map_rows` takes and returns a Ray Dataset and leaves the rest to the caller. `run_job` passes over
what is finished, writes parts (`output`), and can be killed at any moment and started again.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regiontalk.scale.identities import (
    SIZE,
    Digests,
    Identities,
    digests,
    identity,
    is_in,
)
from regiontalk.scale.output import Job, Output, Part
from regiontalk.scale.rows import CAPTIONS, Task, to_arrow
from regiontalk.scale.workers import Workers, first_cause

if TYPE_CHECKING:
    from ray.data import Dataset

    from regiontalk.captioner import RegionCaptioner


def with_hashes(table: Any, finished: Any = None) -> Any:
    """A block of photos with ``sha256`` of their content, without those that are finished.

    Args:
        table: columns ``key``, ``data``, ``error``, ``captions``; the last two may be left out.
        finished: identities, sorted (`identities.Identities.to_array`), or a Ray reference to them;
            None passes over nothing.
    """
    import pyarrow as pa

    data = table["data"].to_pylist()
    sentences = [()] * len(data)
    if CAPTIONS in table.column_names:
        sentences = table[CAPTIONS].to_pylist()
    hashes = [*map(content_hash, data, sentences)]
    if "error" not in table.column_names:
        missing = [
            f"{key}: expected the bytes of a photo, got none" if value is None else None
            for key, value in zip(table["key"].to_pylist(), data, strict=True)
        ]
        table = table.append_column("error", pa.array(missing, pa.string()))
    table = table.append_column("sha256", pa.array(hashes, pa.string()))
    if finished is None:
        return table
    keys = table["key"].to_pylist()
    values = digests(
        identity(key, sha or "") for key, sha in zip(keys, hashes, strict=True)
    )
    return table.filter(pa.array(~is_in(values, _fetch(finished))))


def content_hash(data: bytes | None, captions: Sequence[str] = ()) -> str | None:
    """SHA-256 of a photo's bytes and of the sentences that belong to it.

    None where it could not be read.
    """
    if data is None:
        return None
    digest = hashlib.sha256(data)
    if captions:
        digest.update(json.dumps(captions).encode())
    return digest.hexdigest()


def _fetch(finished: Any) -> Digests:
    """The array behind a Ray reference, without a copy of its own."""
    if hasattr(finished, "dtype"):
        return finished  # type: ignore[no-any-return]
    import ray

    values: Digests = ray.get(finished[0])
    return values


class RowWorker:
    """Blocks of photos to blocks of rows."""

    def __init__(self, workers: Workers, task: Task) -> None:
        """Load the model."""
        self._captioner, self._task = workers.load(task.max_pixels), task

    def __call__(self, table: Any) -> Any:
        """The rows of a block, as an Arrow table with the columns of the task."""
        rows = self._task.rows(self._captioner, table.to_pylist())
        return to_arrow(rows, self._task.schema())


class PartWorker:
    """Blocks of photos to parts of an output; what is wrong with the worker is a row too."""

    def __init__(self, workers: Workers, job: Job, output: str, run: str) -> None:
        """Take what is needed; the model is loaded with the first block."""
        self._workers, self._job = workers, job
        self._output, self._run = output, run
        self._ready: tuple[RegionCaptioner, Output] | None = None

    def __call__(self, table: Any) -> Any:
        """A table of one row, what `Part` says or what is wrong.

        Of none where the block is empty.
        """
        import pyarrow as pa

        names = ("staged", "name", "identities", "failed", "trouble")
        types = (pa.string(), pa.string(), pa.binary(), pa.int64(), pa.string())
        values: list[Any] = []
        if table.num_rows:
            try:
                output_part = self._write(table)
                values = [
                    output_part.staged,
                    output_part.name,
                    output_part.identities.tobytes(),
                    output_part.failed,
                    None,
                ]
            except (ValueError, OSError, ImportError) as error:
                values = [None, None, None, 0, " ".join(str(error).split())]
        row = [dict(zip(names, values, strict=True))] if values else []
        return pa.Table.from_pylist(
            row, schema=pa.schema(list(zip(names, types, strict=True)))
        )

    def _write(self, table: Any) -> Part:
        if self._ready is None:
            captioner = self._workers.load(self._job.settings.max_pixels)
            self._ready = captioner, Output(self._output)
        captioner, output = self._ready
        rows = self._job.settings.rows(captioner, table.to_pylist())
        return output.stage(self._run, rows, self._job)


def to_part(row: Mapping[str, Any]) -> Part:
    """The part that a row of `PartWorker` tells of."""
    text = row["identities"]
    starts = range(0, len(text), SIZE)
    keys = digests(text[start : start + SIZE] for start in starts)
    return Part(row["staged"], row["name"], keys, row["failed"])


def map_rows(dataset: Dataset, workers: Workers, task: Task) -> Dataset:
    """The rows of the photos of a Ray Dataset, as a Ray Dataset; nothing runs until it is read.

    Args:
        dataset: columns ``key`` (names) and ``data`` (the bytes of photo files), and those that the
            task asks for beside them.
        workers: which model, and how many processes.
        task: what is computed of each photo.
    """
    hashed = dataset.map_batches(with_hashes, batch_size=None, batch_format="pyarrow")
    return workers.map(hashed, RowWorker, {"workers": workers, "task": task})


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        finished: photos that count since this run began.
        failed: those of them whose row is an error.
        before: photos that earlier runs finished.
        seconds: since this run began.
    """

    finished: int
    failed: int
    before: int
    seconds: float

    @property
    def photos_per_second(self) -> float:
        """Throughput of this run, the start of its workers included."""
        return self.finished / max(self.seconds, 1e-9)


def run_job(
    dataset: Dataset,
    output: str,
    workers: Workers,
    task: Task,
    *,
    form: str = "parquet",
    report: Callable[[Progress], object] = lambda progress: None,
) -> Progress:
    """Compute the rows of the photos of a Ray Dataset into an output, without those that it holds.

    Args:
        dataset: as for `map_rows`.
        output: a folder or an address that all machines see.
        workers: which model, and how many processes.
        task: what is computed of each photo.
        form: "parquet" or "jsonl".
        report: told after each part.

    Raises:
        BlockingIOError: another job writes to the output.
        ValueError: the output was made otherwise, a worker lacks the model, or its processes died.
        OSError: the output cannot be written.
    """
    target = Output(output)
    with target.lock():
        job = Job(Path(workers.model).name, workers.fingerprint, form, task)
        known = target.begin(job)
        progress = Progress(0, 0, len(known), 0.0)
        start = time.monotonic()
        for output_part in _parts(dataset, target.uri, workers, job, known):
            new = target.commit(output_part, known, job)
            progress = replace(
                progress,
                finished=progress.finished + new,
                failed=progress.failed
                + (output_part.failed if new == len(output_part.identities) else 0),
                seconds=time.monotonic() - start,
            )
            report(progress)
        target.end()
    return replace(progress, seconds=time.monotonic() - start)


def _parts(
    dataset: Dataset, output: str, workers: Workers, job: Job, known: Identities
) -> Iterator[Part]:
    """Parts as the workers write them.

    Raises:
        ValueError: a worker is in trouble, or the processes of workers died again and again.
    """
    import ray

    finished = [ray.put(known.to_array())] if len(known) else None
    hashed = dataset.map_batches(
        with_hashes,
        batch_size=None,
        batch_format="pyarrow",
        fn_kwargs={"finished": finished},
    )
    arguments = {
        "workers": workers,
        "job": job,
        "output": output,
        "run": uuid.uuid4().hex,
    }
    parts = workers.map(hashed, PartWorker, arguments)
    try:
        for row in parts.iter_rows():
            if row["trouble"] is not None:
                raise ValueError(row["trouble"])
            yield to_part(row)
    except ray.exceptions.RayError as error:
        raise ValueError(
            "the job ended because its workers or their readers failed "
            f"({first_cause(error)}); what is finished counts, start it again to go on"
        ) from error
