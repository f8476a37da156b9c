"""A library of photos that can be searched by region: `PhotoIndex` adds, removes and finds.

>>> from regiontalk import RegionCaptioner  # doctest: +SKIP
>>> captioner = RegionCaptioner.from_pretrained("mini")  # doctest: +SKIP
>>> index = PhotoIndex.open_or_create("photos.index", captioner)  # doctest: +SKIP
>>> index.add(captioner, ["beach.jpg", "street.jpg"])  # doctest: +SKIP
>>> index.search(captioner, "a dog in a red collar")[0].answer.box  # doctest: +SKIP

Sketches of all regions propose candidates (`sketch`), the score of [1] (`align.score`, eq. 8) ranks
them exactly (`query`); what they are kept in is LanceDB's table (`store`). A row is written whole
or not at all and batches are committed one by one, so that a process that is killed leaves a
smaller library, never a broken one; adding the same photos again goes on from there.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from regiontalk.captioner import ALIGN_REGIONS, RegionCaptioner
from regiontalk.images.open import PictureSource
from regiontalk.index.metadata import About
from regiontalk.index.projections import sketch_basis
from regiontalk.index.query import Hit, best_hits, read_query
from regiontalk.index.rows import PhotoFile, Stamp, photo_rows, read_file, read_stamp
from regiontalk.index.store import Store, where
from regiontalk.records import FloatArray
from regiontalk.runtime.predictor import Predictor

BATCH = 32  # photos that are computed together and committed together
JOIN = 64  # batches after which their files are joined: each commit reads the names of all files


@dataclass(frozen=True)
class Added:
    """What became of the photos that were given to `PhotoIndex.add`.

    Attributes:
        added: new in the library.
        changed: were in it with another content.
        unchanged: were in it as they are, and were passed over.
        failed: path and reason of those that cannot be used.
    """

    added: int = 0
    changed: int = 0
    unchanged: int = 0
    failed: tuple[tuple[str, str], ...] = ()

    def __add__(self, other: Added) -> Added:
        return Added(
            self.added + other.added,
            self.changed + other.changed,
            self.unchanged + other.unchanged,
            self.failed + other.failed,
        )


class PhotoIndex:
    """An open library. One process at a time writes to a local one.

    Any number may search meanwhile.
    """

    def __init__(self, store: Store) -> None:
        """Take an open table (`open` and `open_or_create` find one)."""
        self._store = store
        # the last model whose fingerprint was compared
        self._fits: Predictor | None = None
        self._basis: FloatArray = np.zeros((0, 0), dtype=np.float32)  # of its sketches

    @classmethod
    def open(
        cls, uri: str | Path, *, storage: Mapping[str, str] | None = None
    ) -> PhotoIndex:
        """The library at a folder or at any URI that LanceDB takes ("s3://bucket/photos").

        Args:
            uri: where it is.
            storage: credentials and settings of an object store, as LanceDB names them.

        Raises:
            ValueError: there is none, or it is damaged or of another format; says how to make or
                rebuild it.
            ImportError: LanceDB is not installed.
        """
        return cls(Store.open(str(uri), storage))

    @classmethod
    def open_or_create(
        cls,
        uri: str | Path,
        captioner: RegionCaptioner,
        *,
        regions: int = ALIGN_REGIONS,
        rebuild: bool = False,
        storage: Mapping[str, str] | None = None,
    ) -> PhotoIndex:
        """The library at ``uri``; an empty one is made where there is none.

        Args:
            uri: a folder or a URI that LanceDB takes.
            captioner: the model whose vectors it holds.
            regions: boxes a photo beside the whole photo, for a library that is made now.
            rebuild: throw away what is there, readable or not, and begin again.
            storage: credentials and settings of an object store, as LanceDB names them.

        Raises:
            ValueError: another model made it, the model cannot be indexed (its vectors have no unit
                length), or the library is damaged.
            BlockingIOError: another process writes to it.
            ImportError: LanceDB is not installed.
        """
        about = About.of(captioner.predictor, regions)
        index = cls(Store.create(str(uri), about, storage, rebuild=rebuild))
        index.check_model(captioner)
        return index

    @property
    def about(self) -> About:
        """Which model made the library, and how many regions a photo it holds."""
        return self._store.about

    def info(self) -> dict[str, Any]:
        """Photos, regions, dates, bytes and model; plain values for JSON."""
        return self._store.info()

    def paths(self) -> list[str]:
        """Absolute paths of all photos."""
        return self._store.paths()

    def __len__(self) -> int:
        return self._store.count()

    def check_model(self, captioner: RegionCaptioner) -> None:
        """Compare fingerprints; the answer is remembered for the model.

        Raises:
            ValueError: another model made the library.
        """
        if captioner.predictor is self._fits:
            return
        model_metadata = About.of(captioner.predictor, self.about.regions)
        if model_metadata.fingerprint != self.about.fingerprint:
            raise ValueError(
                f"{self._store.uri}: its vectors were made by the model {self.about.model!r} "
                f"({self.about.fingerprint[:12]}), expected that one, "
                f"got {model_metadata.model!r} ({model_metadata.fingerprint[:12]}); "
                f"name its model with --model, or make it anew: {self._store.rebuild_command}"
            )
        self._fits = captioner.predictor
        self._basis = sketch_basis(captioner.predictor)

    def add(
        self,
        captioner: RegionCaptioner,
        photos: Sequence[str | Path],
        *,
        captions: int | None = None,
        batch: int = BATCH,
        done: Callable[[int], None] = lambda count: None,
    ) -> Added:
        """Add photos, or renew those whose content changed.

        A photo whose size and time are those of its row, or whose content has the row's hash, is
        passed over.

        Args:
            captioner: the model that made the library.
            photos: paths; the library knows them by their absolute form.
            captions: how many regions of a photo get words, the whole photo first; None for all, 0
                is fastest.
            batch: photos computed and committed together.
            done: told after each batch how many photos are dealt with.

        Raises:
            ValueError: another model made the library, or a number is out of range.
            BlockingIOError: another process writes to it.
        """
        if batch < 1:
            raise ValueError(f"batch: expected 1 or more photos, got {batch}")
        if captions is not None and captions < 0:
            raise ValueError(f"captions: expected 0 or more regions, got {captions}")
        self.check_model(captioner)
        paths = list(dict.fromkeys(os.path.abspath(path) for path in photos))
        report = Added()
        groups = [paths[first : first + batch] for first in range(0, len(paths), batch)]
        with self.writing():
            read = functools.partial(_changed, known=self.known(), captioner=captioner)
            batches = _read_ahead(read, groups)
            for number, (files, batch_report) in enumerate(batches, 1):
                self._write(captioner, files, captions)
                report += batch_report
                if number % JOIN == 0:
                    self._store.join()
                done(len(groups[number - 1]))
            self._store.join()
        return report

    def add_batch(
        self,
        captioner: RegionCaptioner,
        paths: Sequence[str],
        known: Mapping[str, Stamp],
        *,
        captions: int | None = None,
    ) -> Added:
        """Add photos in one commit, for a caller that has the right to write (`writing`).

        Of a local library one process has that right; it may let others add batches meanwhile.

        Args:
            captioner: the model that made the library.
            paths: absolute, each once.
            known: of `known`.
            captions: as for `add`.

        Raises:
            ValueError: another model made the library.
        """
        self.check_model(captioner)
        files, report = _changed(paths, known, captioner)
        self._write(captioner, files, captions)
        return report

    def _write(
        self,
        captioner: RegionCaptioner,
        files: Sequence[PhotoFile],
        captions: int | None,
    ) -> None:
        """Compute the rows of files and write them in one commit; nothing where there are none."""
        if files:
            rows = photo_rows(
                captioner, files, regions=self.about.regions, captions=captions
            )
            self._store.write(rows, self._basis)

    def known(self) -> dict[str, Stamp]:
        """By what each photo of the library is known to be unchanged, by its path."""
        return self._store.known()

    def join(self) -> None:
        """Join small files, drop versions of an hour ago, renew the cells of a large library.

        For a caller that has the right to write; `add` and `compact` do it themselves.
        """
        self._store.join()

    def writing(self) -> AbstractContextManager[None]:
        """The right to write, of this process alone where the library is local.

        Raises:
            BlockingIOError: another process has it.
        """
        return self._store.writing()

    def remove(self, paths: Sequence[str | Path]) -> int:
        """Forget photos, or all photos below folders; the files stay.

        Returns how many photos were forgotten.

        Raises:
            ValueError: a path names no photo of the library; nothing is removed then.
            BlockingIOError: another process writes to it.
        """
        wanted = [where(below=os.path.abspath(path)) for path in paths]
        with self._store.writing():
            for path, condition in zip(paths, wanted, strict=True):
                if not self._store.count(condition):
                    raise ValueError(
                        f"{path}: expected a photo or a folder of the library, got one "
                        "that is not in it"
                    )
            return sum(self._store.delete(condition) for condition in wanted)

    def compact(self, older_than: timedelta = timedelta(hours=1)) -> None:
        """Join small files and drop old versions, which every batch that is added leaves behind.

        Args:
            older_than: age from which a version is dropped.

        Raises:
            BlockingIOError: another process writes to it.
            ValueError: the age is negative, or the library is damaged.
        """
        if older_than < timedelta(0):
            raise ValueError(f"older_than: expected 0 or more, got {older_than}")
        with self._store.writing():
            self._store.join(older_than)

    def remove_missing(self) -> int:
        """Forget the photos whose file is no longer there. Returns how many."""
        with self._store.writing():
            gone = [path for path in self._store.known() if not Path(path).is_file()]
            return sum(self._store.delete(where(below=path)) for path in gone)

    def search(
        self,
        captioner: RegionCaptioner,
        text: str | None = None,
        *,
        photo: PictureSource | None = None,
        boxes: Any = None,
        k: int = 10,
        folder: str | Path | None = None,
        after: date | datetime | None = None,
        before: date | datetime | None = None,
    ) -> list[Hit]:
        """The ``k`` photos that answer best, best first.

        Every hit says which region answers which word.

        Args:
            captioner: the model that made the library.
            text: a sentence or a phrase.
            photo: an example; with ``text`` both count.
            boxes: (N, 4) ``boxes_xyxy`` in pixels of the example: only these parts of it count.
            k: how many.
            folder: only photos below it.
            after: only photos taken at this time or later (without a camera's date: changed at).
            before: only photos taken before this time.

        Raises:
            ValueError: neither words nor photo, no word that the model knows, a box outside the
                example, another model made the library, or the library is damaged.
            ImageError: the example cannot be used.
        """
        if k < 1:
            raise ValueError(f"k: expected 1 or more, got {k}")
        self.check_model(captioner)
        query = read_query(captioner, text, photo, boxes)
        below = None if folder is None else os.path.abspath(folder)
        words = query.heaviest() @ self._basis
        candidates = self._store.candidates(
            words, k, where(below=below, after=after, before=before)
        )
        return best_hits(captioner, query, candidates, k)


def _read_ahead(
    read: Callable[[Sequence[str]], tuple[list[PhotoFile], Added]],
    groups: Sequence[Sequence[str]],
) -> Iterator[tuple[list[PhotoFile], Added]]:
    """What ``read`` makes of each group, the next one read while the last is computed.

    What one thread must do alone, such as writing, leaves the others time for it.
    """
    with ThreadPoolExecutor(1) as ahead:
        reading = [ahead.submit(read, group) for group in groups[:1]]
        for number in range(1, len(groups) + 1):
            result = reading.pop().result()
            reading = [ahead.submit(read, group) for group in groups[number:][:1]]
            yield result


def _changed(
    paths: Sequence[str], known: Mapping[str, Stamp], captioner: RegionCaptioner
) -> tuple[list[PhotoFile], Added]:
    """The files of a batch that the library does not hold as they are, decoded.

    And the report of all.
    """

    def look(path: str) -> PhotoFile | str | None:
        """The decoded file, why it cannot be used, or None where it is unchanged."""
        row = known.get(path)
        try:
            path.encode()  # a name that is no text cannot be a row's name
            if row is not None and read_stamp(path) == (row.size, row.modified):
                return None
            return read_file(path, captioner, None if row is None else row.sha256)
        except (ValueError, OSError) as error:
            return str(error)

    with ThreadPoolExecutor() as pool:
        results = list(pool.map(look, paths))
    files = [result for result in results if isinstance(result, PhotoFile)]
    changed = sum(file.path in known for file in files)
    failed = [
        (path, result)
        for path, result in zip(paths, results, strict=True)
        if isinstance(result, str)
    ]
    return files, Added(
        len(files) - changed, changed, results.count(None), tuple(failed)
    )
