"""Region features of a data set on disk, with their boxes: computed once, memory-mapped ever after.

A cache is one ``NAME.npy`` (a structured array, one record a photo) and one ``NAME.json`` (the
header): what the rows are, a fingerprint of everything that made them, and a checksum of every
block of rows. A cache made by other settings or for other photos is built anew; a damaged block is
found by its checksum and only that block is computed again. Building goes to ``NAME.partial.npy``
and ``NAME.partial.json``, which are renamed when complete and are continued after a stop. One
process at a time may build a cache; a second is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from regiontalk.files import locked

FORMAT = 1  # of the header; a cache of another format is built anew

Key = Mapping[str, str | int | float]
Build = Callable[[Sequence[int]], Mapping[str, NDArray[Any]]]
Progress = Callable[[int, int], None]


class FeatureCache:
    """Arrays of fixed shape per photo, kept in one memory-mapped file.

    >>> import tempfile
    >>> def build(rows):
    ...     return {"features": np.full((len(rows), 2), rows[0], dtype=np.float32)}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cache = FeatureCache(Path(folder) / "train", {"backbone": "tiny", "size": 224})
    ...     arrays = cache.open_or_build(["a.jpg"], build, {"features": ((2,), "float32")})
    ...     arrays["features"].tolist()
    [[0.0, 0.0]]
    """

    def __init__(self, path: Path, key: Key, block: int = 64) -> None:
        """Name a cache; nothing is read or written yet.

        Args:
            path: where, with or without ``.npy``; the header stands beside it.
            key: everything that shapes the values (backbone, weights, preprocessing, regions ...).
                Another key is another cache.
            block: photos computed, checked and kept at a time.

        Raises:
            ValueError: the block is not positive or the key holds what JSON cannot (a list, NaN).
        """
        if block < 1:
            raise ValueError(f"block: expected at least 1 photo, got {block}")
        bad = {
            name: value
            for name, value in key.items()
            if not isinstance(value, str | int | float)
        }
        if bad:
            raise ValueError(f"key: expected texts and numbers, got {bad}")
        stem = path.name.removesuffix(".npy")
        self.data = path.parent / f"{stem}.npy"
        self.header = path.parent / f"{stem}.json"
        self._key = dict(key)
        self._block = block

    def open_or_build(
        self,
        names: Sequence[str],
        build: Build,
        arrays: Mapping[str, tuple[tuple[int, ...], DTypeLike]],
        progress: Progress | None = None,
    ) -> dict[str, NDArray[Any]]:
        """The arrays of all photos, read-only and memory-mapped.

        What is missing or damaged is built first.

        Args:
            names: the photos, in the order of the rows.
            build: given row numbers, returns each array for them, (rows, *shape). An error that it
                raises passes through; the blocks already done are kept and the next call goes on
                from there.
            arrays: shape per photo and dtype of each array, by name: ``{"features": ((20, F),
                "float16"), ...}``.
            progress: called with (photos done, photos in all) after every block that was built.

        Returns:
            Each array by name, (len(names), *shape).

        Raises:
            ValueError: no names, a dtype that is no number, or `build` returned other names or
                shapes.
        """
        dtype = _row_dtype(arrays)
        if not names:
            raise ValueError("names: expected at least one photo, got none")
        fingerprint = _fingerprint(self._key, names, dtype, self._block)
        checksums = _read(self.header, self.data, fingerprint, len(names), dtype)
        if checksums is None or _missing(self.data, checksums, self._block):
            with locked(
                self.data.with_name(f".{self.data.stem}.lock"), f"cache {self.data}"
            ):
                self._build(fingerprint, build, dtype, len(names), progress)
        rows = np.load(self.data, mmap_mode="r", allow_pickle=False)
        return {name: rows[name] for name in arrays}

    def _build(
        self,
        fingerprint: str,
        build: Build,
        dtype: np.dtype[Any],
        count: int,
        progress: Progress | None,
    ) -> None:
        """Compute every block whose checksum is missing or wrong.

        Then give the files their names.
        """
        data = self.data.with_name(f"{self.data.stem}.partial.npy")
        header = self.header.with_name(f"{self.header.stem}.partial.json")
        checksums = self._resume(data, header, fingerprint, count, dtype)
        rows = np.lib.format.open_memmap(data, mode="r+")
        for number in _missing(data, checksums, self._block):
            first = number * self._block
            row_numbers = range(first, min(first + self._block, count))
            _fill(rows, row_numbers, build(row_numbers), dtype)
            rows.flush()  # before the header says that the block is there
            checksums[number] = zlib.crc32(rows[first : row_numbers.stop].tobytes())
            _write_header(header, fingerprint, checksums, self._key)
            if progress is not None:
                built_blocks = sum(checksum is not None for checksum in checksums)
                progress(min(count, built_blocks * self._block), count)
        del rows  # closes the map: Windows renames no open file
        os.replace(data, self.data)
        os.replace(header, self.header)

    def _resume(
        self,
        data: Path,
        header: Path,
        fingerprint: str,
        count: int,
        dtype: np.dtype[Any],
    ) -> list[int | None]:
        """Checksums of the blocks already built.

        Of a build that was stopped, of a damaged cache, or none.
        """
        checksums = _read(header, data, fingerprint, count, dtype)
        if checksums is not None:
            return checksums
        checksums = _read(self.header, self.data, fingerprint, count, dtype)
        # the right cache with damaged blocks: keep the others
        if checksums is not None:
            os.replace(self.data, data)
            os.replace(self.header, header)
            return checksums
        data.parent.mkdir(parents=True, exist_ok=True)
        checksums = [None] * -(-count // self._block)
        _write_header(header, fingerprint, checksums, self._key)
        np.lib.format.open_memmap(data, mode="w+", dtype=dtype, shape=(count,))
        return checksums


def _row_dtype(
    arrays: Mapping[str, tuple[tuple[int, ...], DTypeLike]],
) -> np.dtype[Any]:
    """The record of one photo."""
    bad = [
        name
        for name, (_, dtype) in arrays.items()
        if np.dtype(dtype).kind not in "biuf"
    ]
    if bad or not arrays:
        raise ValueError(
            f"arrays: expected numbers or bools under at least one name, got {bad or 'none'}"
        )
    fields = [(name, np.dtype(dtype), shape) for name, (shape, dtype) in arrays.items()]
    return np.dtype(fields)


def _fingerprint(
    key: Key, names: Sequence[str], dtype: np.dtype[Any], block: int
) -> str:
    """One text for all that a row depends on; any change of it makes the cache stale."""
    values = {
        "format": FORMAT,
        "key": dict(key),
        "names": list(names),
        "arrays": repr(dtype.descr),
        "block": block,
    }
    return _hash(values)


def _write_header(
    path: Path, fingerprint: str, checksums: Sequence[int | None], key: Key
) -> None:
    """Write the header under a temporary name, then rename it; it carries its own hash."""
    values = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "key": dict(key),
        "checksums": list(checksums),
    }
    values["sha256"] = _hash(values)
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(json.dumps(values), encoding="utf-8")
    os.replace(temporary, path)


def _hash(values: Mapping[str, Any]) -> str:
    """SHA-256 of plain values, in hexadecimal; their order counts for nothing.

    Raises:
        ValueError: a number is not finite, which JSON cannot hold.
    """
    text = json.dumps(values, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _read(
    header: Path, data: Path, fingerprint: str, count: int, dtype: np.dtype[Any]
) -> list[int | None] | None:
    """Checksums of the blocks, or None where the pair is not whole.

    It may be absent, stale, cut short or not what the header says.
    """
    try:
        values = json.loads(header.read_text(encoding="utf-8"))
        is_whole = values.pop("sha256") == _hash(values)
        # refuses a file shorter than its own header says
        rows = np.load(data, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, KeyError, AttributeError, TypeError, EOFError):
        return None
    if not is_whole or values["fingerprint"] != fingerprint:
        return None
    if rows.shape != (count,) or rows.dtype != dtype:
        return None
    return list(values["checksums"])


def _missing(data: Path, checksums: Sequence[int | None], block: int) -> list[int]:
    """Numbers of the blocks that were never built or no longer are what was written."""
    rows = np.load(data, mmap_mode="r", allow_pickle=False)
    missing: list[int] = []
    for number, checksum in enumerate(checksums):
        first = number * block
        if (
            checksum is None
            or zlib.crc32(rows[first : first + block].tobytes()) != checksum
        ):
            missing.append(number)
    return missing


def _fill(
    rows: NDArray[Any],
    row_numbers: range,
    values: Mapping[str, NDArray[Any]],
    dtype: np.dtype[Any],
) -> None:
    """Put what `build` returned into its rows."""
    names = dtype.names or ()
    if set(values) != set(names):
        raise ValueError(
            f"build: expected the arrays {sorted(names)}, got {sorted(values)}"
        )
    for name in names:
        expected = (len(row_numbers), *dtype[name].shape)
        shape = values[name].shape
        if shape != expected:
            raise ValueError(f"build: {name}: expected shape {expected}, got {shape}")
        rows[name][row_numbers.start : row_numbers.stop] = values[name]
