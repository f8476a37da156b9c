"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a file beside ``path``, then give it its name; nothing is left where that fails.

    Args:
        path: the name that the file gets.
        write: takes a path with the same suffix, by which some libraries choose the format.

    Raises:
        OSError: the disk is full, the folder cannot be written, ...; names ``path`` and says why.
    """
    fresh = path.with_name(f".{path.stem}.new{path.suffix}")
    try:
        write(fresh)
        os.replace(fresh, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)


def write_data(path: Path, data: bytes) -> None:
    """Write a whole file at once, as `write_whole` does; its folder is made where it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda fresh: fresh.write_bytes(data))


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Keep other processes away from a folder or file; the lock ends with the process, however it ends.

    Args:
        path: of the lock file, which stays; its folder is made where it is not there.
        what: what is locked, for the message.

    Raises:
        ValueError: another process holds it; names that process.
        OSError: the lock file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            _lock(file)
        except OSError as error:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            raise ValueError(
                f"{what}: another process is at work here (number {owner}); "
                "wait until it ends, or name another folder"
            ) from error
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield


if sys.platform == "win32":

    def _lock(file: IO[str]) -> None:
        # Windows keeps others from reading what is locked: a byte far behind the text.
        file.seek(1 << 20)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:

    def _lock(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def cannot_write(path: Path, error: OSError) -> OSError:
    """The error for a file that could not be written, with its final name."""
    return OSError(
        f"{path}: cannot be written ({error.strerror or error}); free some space or choose another place"
    )
