"""Many photos captioned by many processes: one model a worker, Ray Data between them.

`caption_photos` takes and returns a Ray Dataset and leaves the rest to the caller.
`caption_to_output` is a job: it passes over what is finished, writes parts (`output`), and can be
killed at any moment and started again.
"""

from __future__ import annotations

import hashlib
import socket
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
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
from regiontalk.scale.ray_session import ray_data
from regiontalk.scale.rows import CaptionSettings, caption_rows, to_arrow

if TYPE_CHECKING:
    from ray.data import Dataset

    from regiontalk.captioner import RegionCaptioner

MODEL_FILES = ("config.json", "vocabulary.json", "model.safetensors")
RETRIES = (
    4  # of a batch whose worker died; then one of its photos is likely what kills it
)


@dataclass(frozen=True)
class Workers:
    """What captions: so many processes with the same model.

    Attributes:
        model: a bundled name, a folder that every machine has, or owner/name on the Hub.
        fingerprint: of its files; a worker whose model has another one ends the job.
        count: processes.
        threads: CPU cores of each.
        device: where each computes; for "cuda" each takes one GPU.
    """

    model: str
    fingerprint: str
    count: int = 1
    threads: int = 1
    device: str = "cpu"

    @classmethod
    def of(
        cls, model: str | Path, *, count: int = 1, threads: int = 1, device: str = "cpu"
    ) -> Workers:
        """Workers with the model that this process finds by that name.

        Raises:
            ValueError: no such model, or a count below 1.
        """
        for name, value in (("workers", count), ("threads", threads)):
            if value < 1:
                raise ValueError(f"{name}: expected 1 or more, got {value}")
        from regiontalk.model.hub import BUNDLED, resolve_model

        folder = resolve_model(model)
        is_here = folder.parent != BUNDLED and Path(model).exists()
        name = str(folder.absolute()) if is_here else str(model)
        return cls(name, model_fingerprint(folder), count, threads, device)

    def load(self, max_pixels: int) -> RegionCaptioner:
        """The model, on the machine of a worker.

        Raises:
            ValueError: the machine lacks the model, or has another one of its name.
        """
        from regiontalk.captioner import RegionCaptioner
        from regiontalk.model.hub import resolve_model

        try:
            fingerprint = model_fingerprint(resolve_model(self.model))
        except (ValueError, OSError) as error:
            raise ValueError(
                f"worker on {socket.gethostname()}: lacks the model ({error}); every machine needs it at the same place"
            ) from None
        if fingerprint != self.fingerprint:
            raise ValueError(
                f"worker on {socket.gethostname()}: its model {self.model!r} has the fingerprint {fingerprint[:12]}, "
                f"expected {self.fingerprint[:12]}; copy the same model to every machine"
            )
        return RegionCaptioner.from_pretrained(
            self.model, device=self.device, max_pixels=max_pixels, threads=self.threads
        )

    def map(
        self, dataset: Dataset, worker: type, arguments: Mapping[str, Any]
    ) -> Dataset:
        """A dataset whose blocks pass through workers, each made of a class with the arguments."""
        with (
            warnings.catch_warnings()
        ):  # the one way to bound retries goes away with Ray 2.64
            warnings.simplefilter("ignore", DeprecationWarning)
            result: Dataset = dataset.map_batches(
                worker,
                batch_size=None,
                batch_format="pyarrow",
                fn_constructor_kwargs=dict(arguments),
                compute=ray_data().ActorPoolStrategy(size=self.count),
                num_cpus=self.threads,
                num_gpus=1 if self.device.startswith("cuda") else None,
                ray_remote_args_fn=_retries,
            )
        return result


def _retries() -> dict[str, int]:
    return {"max_task_retries": RETRIES}


def model_fingerprint(folder: Path) -> str:
    """SHA-256 over the files that decide what a model says.

    Raises:
        ValueError: one of them is not there.
    """
    digest = hashlib.sha256()
    for name in MODEL_FILES:
        path = folder / name
        if not path.is_file():
            raise ValueError(
                f"{path}: expected a file of the model, got none; copy the whole folder"
            )
        digest.update(path.read_bytes())
    return digest.hexdigest()


def with_hashes(table: Any, finished: Any = None) -> Any:
    """A block of photos with ``sha256`` of their content, without those that are finished.

    Args:
        table: columns ``key``, ``data``, ``error``; the last may be left out.
        finished: identities, sorted (`identities.Identities.to_array`), or a Ray reference to them;
            None passes over nothing.
    """
    import pyarrow as pa

    data = table["data"].to_pylist()
    hashes = [
        None if value is None else hashlib.sha256(value).hexdigest() for value in data
    ]
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


def _fetch(finished: Any) -> Digests:
    """The array behind a Ray reference, without a copy of its own."""
    if hasattr(finished, "dtype"):
        return finished  # type: ignore[no-any-return]
    import ray

    values: Digests = ray.get(finished[0])
    return values


class RowWorker:
    """Blocks of photos to blocks of rows."""

    def __init__(self, workers: Workers, settings: CaptionSettings) -> None:
        """Load the model."""
        self._captioner, self._settings = workers.load(settings.max_pixels), settings

    def __call__(self, table: Any) -> Any:
        """The rows of a block, as an Arrow table (`rows.schema`)."""
        return to_arrow(
            caption_rows(self._captioner, table.to_pylist(), self._settings)
        )


class PartWorker:
    """Blocks of photos to parts of an output; what is wrong with the worker is a row too."""

    def __init__(
        self,
        workers: Workers,
        settings: CaptionSettings,
        output: str,
        run: str,
        form: str,
    ) -> None:
        """Take what is needed; the model is loaded with the first block."""
        self._workers, self._settings = workers, settings
        self._output, self._run, self._form = output, run, form
        self._ready: tuple[RegionCaptioner, Output] | None = None

    def __call__(self, table: Any) -> Any:
        """A table of one row, what `Part` says or what is wrong; of none where the block is empty."""
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
            captioner = self._workers.load(self._settings.max_pixels)
            self._ready = captioner, Output(self._output)
        captioner, output = self._ready
        rows = caption_rows(captioner, table.to_pylist(), self._settings)
        return output.stage(self._run, rows, self._form)


def caption_photos(
    dataset: Dataset, workers: Workers, settings: CaptionSettings | None = None
) -> Dataset:
    """Captions of the photos of a Ray Dataset, as a Ray Dataset; nothing runs until it is read.

    Args:
        dataset: columns ``key`` (names) and ``data`` (the bytes of photo files), such as
            `sources.read_photos` gives.
        workers: which model, and how many processes.
        settings: how photos are captioned.
    """
    hashed = dataset.map_batches(with_hashes, batch_size=None, batch_format="pyarrow")
    arguments = {"workers": workers, "settings": settings or CaptionSettings()}
    return workers.map(hashed, RowWorker, arguments)


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


def caption_to_output(
    dataset: Dataset,
    output: str,
    workers: Workers,
    settings: CaptionSettings | None = None,
    *,
    form: str = "parquet",
    report: Callable[[Progress], object] = lambda progress: None,
) -> Progress:
    """Caption the photos of a Ray Dataset into an output, without those that it holds.

    Args:
        dataset: as for `caption_photos`.
        output: a folder or an address that all machines see.
        workers: which model, and how many processes.
        settings: how photos are captioned.
        form: "parquet" or "jsonl".
        report: told after each part.

    Raises:
        BlockingIOError: another job writes to the output.
        ValueError: the output was made otherwise, a worker lacks the model, or its processes died.
        OSError: the output cannot be written.
    """
    settings = settings or CaptionSettings()
    target = Output(output)
    with target.lock():
        job = Job(Path(workers.model).name, workers.fingerprint, form, settings)
        known = target.begin(job)
        progress = Progress(0, 0, len(known), 0.0)
        start = time.monotonic()
        for output_part in _parts(dataset, target.uri, workers, job, known):
            new = target.commit(output_part, known, form)
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
        "settings": job.settings,
        "output": output,
        "run": uuid.uuid4().hex,
        "form": job.form,
    }
    parts = workers.map(hashed, PartWorker, arguments)
    try:
        for row in parts.iter_rows():
            if row["trouble"] is not None:
                raise ValueError(row["trouble"])
            keys = digests(
                row["identities"][start : start + SIZE]
                for start in range(0, len(row["identities"]), SIZE)
            )
            yield Part(row["staged"], row["name"], keys, row["failed"])
    except ray.exceptions.RayError as error:
        raise ValueError(
            f"the job ended because its workers or their readers failed ({first_cause(error)}); what is finished "
            "counts, start it again to go on"
        ) from error


def first_cause(error: BaseException) -> str:
    """The last line of the innermost error, which names the cause."""
    while error.__cause__ is not None or getattr(error, "cause", None) is not None:
        error = error.__cause__ or error.cause  # type: ignore[attr-defined]
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else type(error).__name__
