"""Photos added to a library by many processes.

Each worker commits its own batches, none waits for a writer. The driver has the
library's right to write for as long as the job runs, hands out names of photos and
joins small files. A batch is one commit that puts rows in the place of those of the
same path, so that a batch which Ray repeats after a worker's death doubles nothing, and
one that was never committed is missing until the command runs again, which passes over
what is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from regiontalk.index.library import Added, PhotoIndex
from regiontalk.index.rows import Stamp
from regiontalk.scale.ray_session import ray_data
from regiontalk.scale.workers import Workers, first_cause

if TYPE_CHECKING:
    from regiontalk.captioner import RegionCaptioner

# after which the driver joins small files, which every commit would read
JOIN_SECONDS = 60.0


@dataclass(frozen=True)
class IndexSettings:
    """How photos are added.

    Attributes:
        uri: of the library, absolute or in an object store.
        captions: how many regions of a photo get words; None for all.
        max_pixels: larger photos are not added.
    """

    uri: str
    captions: int | None = None
    max_pixels: int = 100_000_000

    def __post_init__(self) -> None:
        if self.captions is not None and self.captions < 0:
            raise ValueError(
                f"captions: expected 0 or more regions, got {self.captions}"
            )


@dataclass(frozen=True)
class IndexProgress:
    """How far a job is.

    Attributes:
        report: of the batches that are finished.
        seconds: since the job began.
    """

    report: Added
    seconds: float

    @property
    def photos_per_second(self) -> float:
        """New and changed photos a second, the start of the workers included."""
        return (self.report.added + self.report.changed) / max(self.seconds, 1e-9)


class IndexWorker:
    """Blocks of paths to what became of them."""

    def __init__(self, workers: Workers, settings: IndexSettings, known: Any) -> None:
        """Take what is needed; the model is loaded with the first block.

        Args:
            workers: which model.
            settings: of the job.
            known: what `PhotoIndex.known` gave, or a Ray reference to it in a list of one.
        """
        self._workers, self._settings, self._known = workers, settings, known
        self._ready: tuple[RegionCaptioner, PhotoIndex, Mapping[str, Stamp]] | None = (
            None
        )

    def __call__(self, table: Any) -> Any:
        """A table of one row: what `Added` says, or what is wrong.

        Of none where the block is empty.
        """
        import pyarrow as pa

        row = dict.fromkeys(_schema().names)
        if table.num_rows:
            try:
                row |= _to_row(self._add(table["path"].to_pylist()))
            except (ValueError, OSError, ImportError) as error:
                row["trouble"] = " ".join(str(error).split())
        return pa.Table.from_pylist([row] if table.num_rows else [], schema=_schema())

    def _add(self, paths: Sequence[str]) -> Added:
        if self._ready is None:
            captioner = self._workers.load(self._settings.max_pixels)
            library = PhotoIndex.open(self._settings.uri)
            self._ready = captioner, library, _fetch(self._known)
        captioner, library, known = self._ready
        return library.add_batch(
            captioner, paths, known, captions=self._settings.captions
        )


def add_to_index(
    library: PhotoIndex,
    paths: Sequence[str],
    workers: Workers,
    settings: IndexSettings,
    *,
    batch: int = 64,
    report: Callable[[IndexProgress], object] = lambda progress: None,
) -> IndexProgress:
    """Add photos to a library by workers; those that are in it unchanged are passed over.

    Args:
        library: at ``settings.uri``, made by the workers' model.
        paths: absolute, on storage that all machines share.
        workers: which model, and how many processes.
        settings: how.
        batch: photos of a commit: what a failure costs a worker at most.
        report: told after each batch.

    Raises:
        BlockingIOError: another process writes to the library.
        ValueError: a worker is in trouble, or its processes died again and again.
    """
    start = joined = time.monotonic()
    names = [path for path in paths if _is_text(path)]
    nameless = [
        (path, "its name is no text; rename it") for path in paths if not _is_text(path)
    ]
    progress = IndexProgress(Added(failed=tuple(nameless)), 0.0)
    with library.writing():
        for added in _batches(library, names, workers, settings, batch):
            now = time.monotonic()
            progress = replace(
                progress, report=progress.report + added, seconds=now - start
            )
            report(progress)
            if now - joined > JOIN_SECONDS:
                library.join()
                joined = time.monotonic()
        library.join()
    return replace(progress, seconds=time.monotonic() - start)


def _batches(
    library: PhotoIndex,
    paths: Sequence[str],
    workers: Workers,
    settings: IndexSettings,
    batch: int,
) -> Iterator[Added]:
    """What became of each batch.

    Raises:
        ValueError: a worker is in trouble, or the processes of workers died again and again.
    """
    import pyarrow as pa
    import ray

    names = ray_data().from_arrow(pa.table({"path": pa.array(paths, pa.string())}))
    blocks = names.repartition(target_num_rows_per_block=batch)
    arguments = {
        "workers": workers,
        "settings": settings,
        "known": [ray.put(library.known())],
    }
    try:
        for row in workers.map(blocks, IndexWorker, arguments).iter_rows():
            if row["trouble"] is not None:
                raise ValueError(row["trouble"])
            failed = zip(row["failed"], row["reasons"], strict=True)
            yield Added(row["added"], row["changed"], row["unchanged"], tuple(failed))
    except ray.exceptions.RayError as error:
        raise ValueError(
            f"the job ended because its workers failed ({first_cause(error)}); what is "
            "added stays, start it again to go on"
        ) from error


def _fetch(known: Any) -> Mapping[str, Stamp]:
    """The mapping itself, or the one behind a Ray reference."""
    if isinstance(known, Mapping):
        return known
    import ray

    values: Mapping[str, Stamp] = ray.get(known[0])
    return values


def _is_text(path: str) -> bool:
    """Whether a path can be the name of a row: bytes that are no text stand in it as surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in path)


def _to_row(added: Added) -> dict[str, Any]:
    return {
        "added": added.added,
        "changed": added.changed,
        "unchanged": added.unchanged,
        "failed": [path for path, _ in added.failed],
        "reasons": [reason for _, reason in added.failed],
    }


def _schema() -> Any:
    import pyarrow as pa

    counts = [(name, pa.int64()) for name in ("added", "changed", "unchanged")]
    texts = [(name, pa.list_(pa.string())) for name in ("failed", "reasons")]
    return pa.schema([*counts, *texts, ("trouble", pa.string())])
