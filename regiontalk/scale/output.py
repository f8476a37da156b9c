"""The output of a job: parts that appear whole, each photo in exactly one of them.

A worker writes the rows of a batch under ``_staging/RUN``; they count once the driver, which alone
may write to the output (`Output.lock`), has given them their final name (`Output.commit`). So the
work of a worker or driver that was killed either counts once or not at all, and what a worker that
outlived its driver still writes is never taken for a result. The name of a part follows from the
photos in it, which makes the files of a job that was killed and run again those of an undisturbed
one.

    OUTPUT/_job.json             the model's fingerprint and the settings, which all parts share
    OUTPUT/part-*.parquet (or .jsonl)
    OUTPUT/_staging/RUN/  rows that do not count yet
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

from regiontalk.files import write_data
from regiontalk.scale.identities import Digests, Identities, digests, identity, is_new
from regiontalk.scale.rows import Row, Task, decode, encode
from regiontalk.scale.storage import is_local, open_storage, shown, storage_errors

FORMAT = 1  # of _job.json
# after which the lock of a job on an object store counts as left behind
LEASE_SECONDS = 60.0


@dataclass(frozen=True)
class Job:
    """What all rows of an output share.

    Attributes:
        model: the model's name, for people.
        fingerprint: SHA-256 of its files.
        form: "parquet" or "jsonl".
        settings: what is computed of each photo.
    """

    model: str
    fingerprint: str
    form: str
    settings: Task

    def to_dict(self) -> dict[str, Any]:
        """What ``_job.json`` says of it."""
        return {"rows": self.settings.kind, **asdict(self)}

    def fields(self) -> dict[str, Any]:
        """The settings by name, as ``_job.json`` has them."""
        settings: dict[str, Any] = asdict(self)["settings"]
        return settings

    def encode(self, rows: Sequence[Row]) -> bytes:
        """Rows as the bytes of a part."""
        return encode(rows, self.form, self.settings.schema())


@dataclass(frozen=True)
class Part:
    """A batch that a worker has written.

    Attributes:
        staged: path of the file in the output's storage.
        name: the name that it gets.
        identities: (P,) of its rows, in their order.
        failed: rows with an error.
    """

    staged: str
    name: str
    identities: Digests
    failed: int


class Output:
    """The folder of a job's results, on this machine or in an object store."""

    def __init__(self, uri: str) -> None:
        """Take an address; nothing is written.

        Raises:
            ValueError: the address is not understood.
            OSError: the storage cannot be reached.
        """
        self._files, self._root = open_storage(uri)
        # absolute, since a worker has a working folder of its own
        self.uri = self._root if is_local(uri) else uri
        self._lock_lost = False

    def begin(self, job: Job) -> Identities:
        """Make the folder or check that the job fits what is in it; the photos that are finished.

        What earlier runs left in ``_staging`` is removed. Call it inside `lock`.

        Raises:
            ValueError: the output was made by another model or with other settings, or holds
                something else.
            OSError: it cannot be read or written.
        """
        path = f"{self._root}/_job.json"
        if self._exists(path):
            _check_job(shown(self.uri), json.loads(self._read(path)), job)
        else:
            self._check_empty()
            self._write(
                path, json.dumps({"format": FORMAT, **job.to_dict()}, indent=2).encode()
            )
        self.end()
        return self._finished(job.form)

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[Row]:
        """All rows, part by part.

        Raises:
            ValueError: no job wrote here.
            OSError: a part cannot be read.
        """
        job = f"{self._root}/_job.json"
        if not self._exists(job):
            raise ValueError(
                f"{shown(self.uri)}: expected the output of a job, got another folder"
            )
        form = json.loads(self._read(job))["form"]
        for path in self._parts(form):
            yield from decode(self._read(path), form, columns)

    def stage(self, run: str, rows: Sequence[Row], job: Job) -> Part:
        """Write the rows of a batch where they do not count yet; what a worker calls.

        Raises:
            OSError: the disk is full, the storage cannot be reached, ...
        """
        keys = digests(identity(row["photo"], row["sha256"] or "") for row in rows)
        name = part_name(keys, job.form)
        staged = f"{self._root}/_staging/{run}/{uuid.uuid4().hex}-{name}"
        self._write(staged, job.encode(rows))
        return Part(staged, name, keys, sum(row["error"] is not None for row in rows))

    def commit(self, part: Part, known: Identities, job: Job) -> int:
        """Let a part count, without the photos that count already; how many rows are new.

        Args:
            part: what `stage` returned, on any machine.
            known: the photos that count; those of the part are added.
            job: of the output.

        Raises:
            BlockingIOError: another job took the lock, because this one stood still for too long.
            OSError: the staged file is not here, or cannot be moved.
        """
        if self._lock_lost:
            raise _locked(
                shown(self.uri), "it took the lock, which was not renewed in time"
            )
        if not self._exists(part.staged):
            raise OSError(
                f"{shown(self.uri)}: what a worker wrote is not here; expected an "
                "output that all machines share, such as a network folder or "
                "s3://bucket/folder"
            )
        name, new = part.name, is_new(part.identities, known)
        if not new.all():
            rows = decode(self._read(part.staged), job.form)
            rows = [
                row for row, counts in zip(rows, new.tolist(), strict=True) if counts
            ]
            name = part_name(part.identities[new], job.form)
            self._write(part.staged, job.encode(rows))
        with storage_errors(self.uri):
            if new.any():
                self._files.move(part.staged, f"{self._root}/{name}")
            else:
                self._files.delete_file(part.staged)
        known.add(part.identities[new])
        return int(new.sum())

    def end(self) -> None:
        """Remove what is left of staging."""
        if self._exists(f"{self._root}/_staging"):
            with storage_errors(self.uri):
                self._files.delete_dir(f"{self._root}/_staging")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """The right to write here; it goes with the process, however that ends.

        In an object store it is a file that is renewed while the job runs, and counts for
        `LEASE_SECONDS` after that.

        Raises:
            BlockingIOError: another job has it.
            OSError: the folder cannot be made.
        """
        if is_local(self.uri):
            with storage_errors(self.uri):
                Path(self._root).mkdir(parents=True, exist_ok=True)
            holder = _file_lock(Path(self._root) / "_lock", shown(self.uri))
        else:
            holder = self._lease()
        with holder:
            yield

    @contextmanager
    def _lease(self) -> Iterator[None]:
        path, owner = f"{self._root}/_lock", uuid.uuid4().hex

        def renew() -> None:
            self._lock_lost = (self._lease_at(path) or {"owner": owner})[
                "owner"
            ] != owner
            if not self._lock_lost:
                values = {"owner": owner, "renewed": time.time()}
                self._write(path, json.dumps(values).encode())

        self._clear_lease(path)
        renew()
        # of two jobs that begin at once, one sees the lock of the other
        time.sleep(1.0)
        renew()
        if self._lock_lost:
            raise _locked(shown(self.uri), "it began at the same moment")
        with _repeated(renew, LEASE_SECONDS / 6):
            yield
        with suppress(OSError):
            self._files.delete_file(path)

    def _lease_at(self, path: str) -> Any:
        """The owner of a lock file and when it was renewed; None where there is none."""
        return json.loads(self._read(path)) if self._exists(path) else None

    def _clear_lease(self, path: str) -> None:
        """Remove a lock that was left behind.

        Raises:
            BlockingIOError: it counts still.
        """
        lease = self._lease_at(path)
        if lease is None:
            return
        age = time.time() - lease["renewed"]
        if age < LEASE_SECONDS:
            why = f"its lock was renewed {age:.0f} s ago and counts for {LEASE_SECONDS:.0f} s"
            raise _locked(shown(self.uri), why)
        with storage_errors(self.uri):
            self._files.delete_file(path)

    def _finished(self, form: str) -> Identities:
        """The photos of all parts."""
        known = Identities()
        for path in self._parts(form):
            rows = decode(self._read(path), form, ["photo", "sha256"])
            keys = digests(identity(row["photo"], row["sha256"] or "") for row in rows)
            known.add(keys)
        return known

    def _parts(self, form: str) -> list[str]:
        return [
            path
            for path in self._names()
            if Path(path).name.startswith("part-") and path.endswith(f".{form}")
        ]

    def _check_empty(self) -> None:
        """Refuse a folder that holds something of somebody else's."""
        names = [
            name for path in self._names() if (name := Path(path).name)[0] not in "._"
        ]
        if names:
            raise ValueError(
                f"{shown(self.uri)}: expected a new or empty folder, or the output of "
                f"an earlier run, got one that holds {names[0]!r}"
            )

    def _names(self) -> list[str]:
        """Paths of everything in the folder, sorted."""
        from pyarrow import fs

        selector = fs.FileSelector(self._root, allow_not_found=True)
        with storage_errors(self.uri):
            return sorted(info.path for info in self._files.get_file_info(selector))

    def _exists(self, path: str) -> bool:
        from pyarrow import fs

        with storage_errors(self.uri):
            return bool(self._files.get_file_info(path).type != fs.FileType.NotFound)

    def _read(self, path: str) -> bytes:
        with storage_errors(self.uri), self._files.open_input_file(path) as stream:
            return bytes(stream.read())

    def _write(self, path: str, data: bytes) -> None:
        """Write a file that appears whole: an object store shows none before its last byte."""
        if is_local(self.uri):
            write_data(Path(path), data)
            return
        with storage_errors(self.uri), self._files.open_output_stream(path) as stream:
            stream.write(data)


def part_name(identities: Digests, form: str) -> str:
    """The name of a part: a hash of the photos in it."""
    return f"part-{hashlib.sha256(identities.tobytes()).hexdigest()[:20]}.{form}"


def _check_job(uri: str, values: Mapping[str, Any], job: Job) -> None:
    """Refuse to add rows that another model or other settings would have made otherwise."""
    if values.get("format") != FORMAT:
        raise ValueError(
            f"{uri}: expected an output of format {FORMAT}, got "
            f"{values.get('format')!r}; choose another place"
        )
    kind = values.get("rows", "captions")  # those of the first version say nothing
    if kind != job.settings.kind:
        raise ValueError(
            f"{uri}: holds {kind}, expected {job.settings.kind}; choose another output"
        )
    if values["fingerprint"] != job.fingerprint:
        raise ValueError(
            f"{uri}: its rows were made by the model {values['model']!r} "
            f"({values['fingerprint'][:12]}), expected that one, got {job.model!r} "
            f"({job.fingerprint[:12]}); name its model, or choose another output"
        )
    wanted = {"form": job.form, **job.fields()}
    there = {"form": values["form"], **values["settings"]}
    for name, value in wanted.items():
        if there.get(name) != value:
            raise ValueError(
                f"{uri}: its rows were made with {name} = {there.get(name)}, expected "
                f"the same, got {value}; use that setting, or choose another output"
            )


def _locked(uri: str, why: str) -> BlockingIOError:
    return BlockingIOError(
        f"{uri}: another job is writing to this output ({why}); wait until it is done, "
        "or choose another output"
    )


@contextmanager
def _file_lock(path: Path, uri: str) -> Iterator[None]:
    from filelock import FileLock, Timeout

    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise _locked(uri, "it holds the lock") from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _repeated(work: Callable[[], None], seconds: float) -> Iterator[None]:
    """Do something again and again in a thread; an error is tried again at the next turn."""
    stopped = Event()

    def loop() -> None:
        while not stopped.wait(seconds):
            with suppress(OSError):
                work()

    thread = Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
