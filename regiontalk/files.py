"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


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


def cannot_write(path: Path, error: OSError) -> OSError:
    """The error for a file that could not be written, with its final name."""
    return OSError(
        f"{path}: cannot be written ({error.strerror or error}); free some space or choose another place"
    )
