"""Which photos a job has finished: 16 bytes a photo, in sorted arrays that numpy searches.

A photo is its key (the name under which it was read) and the hash of its content. Ten million of
them take 160 MB, a billion 16 GB; workers of one machine share one copy through Ray's object store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

SIZE = 16  # bytes: among a billion photos two share them with a probability of 1e-21
Digests = NDArray[np.bytes_]  # (P,) of dtype S16


def identity(key: str, sha256: str) -> bytes:
    """The 16 bytes by which a job knows a photo.

    Args:
        key: the name under which it was read.
        sha256: of its content, as hex; empty where it could not be read.
    """
    text = f"{key}\0{sha256}".encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).digest()[:SIZE]


def digests(values: Iterable[bytes]) -> Digests:
    """Identities as an array (P,)."""
    return np.array(list(values), dtype=f"S{SIZE}")


class Identities:
    """A growing set of identities: sorted arrays, each at least twice as long as the next."""

    def __init__(self) -> None:
        self._runs: list[Digests] = []

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    def add(self, values: Digests) -> None:
        """Put identities (P,) in that are not there yet."""
        run = np.sort(values)
        while self._runs and len(self._runs[-1]) < 2 * len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]))
        self._runs.append(run)

    def contains(self, values: Digests) -> NDArray[np.bool_]:
        """Which of the identities (P,) are in the set, as a mask (P,)."""
        mask = np.zeros(len(values), dtype=bool)
        for run in self._runs:
            mask |= is_in(values, run)
        return mask

    def to_array(self) -> Digests:
        """All of them, sorted."""
        return np.sort(np.concatenate([digests([]), *self._runs]))


def is_in(values: Digests, ordered: Digests) -> NDArray[np.bool_]:
    """Which values (P,) stand in a sorted array, as a mask (P,)."""
    if not len(ordered):
        return np.zeros(len(values), dtype=bool)
    slots = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    return np.asarray(ordered[slots] == values)


def is_new(values: Digests, known: Identities) -> NDArray[np.bool_]:
    """Which of the identities (P,) are new, as a mask (P,).

    Neither in the set nor earlier in the array.
    """
    mask = np.zeros(len(values), dtype=bool)
    mask[np.unique(values, return_index=True)[1]] = True
    return mask & ~known.contains(values)
