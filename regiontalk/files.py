"""Text files as people have them, files that appear whole or not at all, and locks."""

from __future__ import annotations

import codecs
import errno
import hashlib
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

# Byte order marks, the longer first: UTF-32's begins with UTF-16's.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# How libraries in Rust, such as safetensors, tell of the system's errors in errors of their own.
_RUST_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_LONGEST_NAME = 255  # bytes; Linux, macOS and Windows allow no more
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
# where more space would not help
_BAD_PLACE = (errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.EACCES, errno.EPERM)
_SAMPLED = 4096  # bytes that tell UTF-16 without a mark


def atomic_write(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a file beside ``path``, then give it its name.

    Nothing is left where that fails. A link stays: the file behind it is written. A
    file that is there keeps its mode.

    Args:
        path: the name that the file gets.
        write: takes a path with the same suffix, by which some libraries choose the format.

    Raises:
        OSError: the disk is full, the folder cannot be written, ...; names ``path`` and says why.
    """
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    try:
        with _folder_beside(target) as folder:
            temporary = folder / f".new{target.suffix}"
            write(temporary)
            # Some libraries write a file that nobody else may read.
            mode = (
                target.stat().st_mode
                if target.exists()
                else folder.stat().st_mode & 0o666
            )
            temporary.chmod(stat.S_IMODE(mode))
            os.replace(temporary, target)
    except OSError as error:
        raise cannot_write(path, error) from error
    except Exception as error:
        code = _RUST_OS_ERROR.search(str(error))
        if code is None:
            raise
        number = int(code[1])
        raise cannot_write(path, OSError(number, os.strerror(number))) from error


@contextmanager
def _folder_beside(target: Path) -> Iterator[Path]:
    """A folder beside a file for what is to become that file, of this writer alone.

    It is removed at the end. Its name is the same in each run, so that what a killed
    process left there is thrown away by the next, also what libraries write beside the
    file that they were asked for.
    """
    folder, descriptor = _claim_one(target)
    try:
        yield folder
    finally:
        with suppress(OSError):
            _empty(folder)
            folder.rmdir()
        if descriptor >= 0:
            os.close(descriptor)


def discard_unfinished(path: Path) -> None:
    """Remove what a writer of a file that was killed left beside it.

    Where nobody writes the file anew.
    """
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    if target.with_name(_folder_name(target.name, 0)).exists():
        with suppress(OSError), _folder_beside(target):
            pass


def _claim_one(target: Path) -> tuple[Path, int]:
    """The first folder beside a file that no other writer has, and what `_claim` says of it."""
    number = 0
    while True:
        folder = target.with_name(_folder_name(target.name, number))
        descriptor = _claim(folder)
        if descriptor is not None:
            return folder, descriptor
        number += 1


def _folder_name(name: str, number: int) -> str:
    """The name of a temporary folder: hidden, and no longer than a name may be.

    >>> _folder_name("a.txt", 0), _folder_name("a.txt", 1)
    ('.a.txt.new', '.a.txt.new1')
    """
    ending = f".new{number or ''}"
    if len(os.fsencode(name)) + len(ending) < _LONGEST_NAME:
        return f".{name}{ending}"
    return f".{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}{ending}"


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def read_text(path: Path) -> str:
    r"""The text of a file as people's programs write it, line ends as ``\n``.

    Raises:
        OSError: the file cannot be read.
    """
    return decode_text(path.read_bytes())


def decode_text(data: bytes) -> str:
    r"""The text of bytes, by their mark or as UTF-8, else as Windows's cp1252.

    Known are UTF-8, UTF-16 and UTF-32 with or without a byte order mark. Line ends
    become ``\n``. UTF-8 with a few broken bytes stays UTF-8, with U+FFFD in their
    places; text that is not UTF-8 at all is read as cp1252.

    >>> decode_text("café\r\n".encode("utf-16"))
    'café\n'
    """
    text = data.decode(_encoding(data), errors="replace")
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _encoding(data: bytes) -> str:
    """Python's name of the encoding that bytes are most likely in."""
    for mark, name in _MARKS.items():
        if data.startswith(mark):
            return name
    sample = data[:_SAMPLED]
    # in UTF-16 of Latin letters each other byte is 0
    if sample and sample.count(0) > len(sample) // 4:
        return (
            "utf-16-le" if sample[1::2].count(0) > sample[::2].count(0) else "utf-16-be"
        )
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("utf-8", errors="replace")
        broken_count = text.count("\ufffd")
        foreign_count = sum(not letter.isascii() for letter in text) - broken_count
        return "cp1252" if broken_count > foreign_count else "utf-8"
    return "utf-8"


def write_data(path: Path, data: bytes) -> None:
    """Write a whole file at once, as `atomic_write` does.

    Its folder is made where it is not there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, lambda temporary: temporary.write_bytes(data))


def write_text(path: Path, text: str) -> None:
    """`write_data` of a text, in UTF-8."""
    write_data(path, text.encode("utf-8"))


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Keep other processes away from a folder or file.

    The lock ends with the process, however it ends.

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

    def _claim(folder: Path) -> int | None:
        """Make a folder and take it: -1, as nothing is held open; None where it is there."""
        try:
            folder.mkdir()
        except FileExistsError:
            return None
        return -1

    def _lock(file: IO[str]) -> None:
        # Windows keeps others from reading what is locked: a byte far behind the text.
        file.seek(1 << 20)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:

    def _claim(folder: Path) -> int | None:
        """Make or take over a folder, and lock it until the process ends.

        Returns its descriptor, None where another has it.
        """
        try:
            folder.mkdir()
            is_new = True
        except FileExistsError:
            is_new = False
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = os.path.samestat(os.fstat(descriptor), os.lstat(folder))
        except OSError as error:  # where folders cannot be locked, a new one is ours
            is_ours = is_new and not isinstance(
                error, BlockingIOError | FileNotFoundError
            )
        if not is_ours:
            os.close(descriptor)
            return None
        if not is_new:
            _empty(folder)
        return descriptor

    def _lock(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class DiskFullError(OSError):
    """Nothing more can be written there, this file or another.

    A reason to end, where one file's failure is none.
    """


def cannot_write(path: Path, error: OSError) -> OSError:
    """The error for a file that could not be written, with its final name."""
    kind = DiskFullError if error.errno in _DISK_FULL else OSError
    advice = "free some space or choose another place"
    if error.errno in _BAD_PLACE:
        advice = "choose another place"
    return kind(f"{path}: cannot be written ({error.strerror or error}); {advice}")


def relative(path: str, folder: Path) -> str:
    """The path of a file as seen from a folder, with slashes.

    >>> relative("album/one dog.jpg", Path("album/boxes"))
    '../one dog.jpg'
    """
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # another drive of a Windows machine
        return Path(path).resolve().as_posix()
