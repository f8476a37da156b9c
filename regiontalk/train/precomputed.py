"""Features that somebody else computed, in the form of our own frozen ones.

See `features.freeze_features`. The aligner learns from them as from any others; they
are copied once, as fp16, into one memory-mapped file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regiontalk.images.preprocessing import Preprocessing
from regiontalk.records import Example
from regiontalk.regions.cache import FeatureCache
from regiontalk.regions.config import PrecomputedConfig
from regiontalk.regions.precomputed import (
    precomputed_features,
    read_precomputed,
    size_of,
    with_features,
)
from regiontalk.regions.sources import PrecomputedRegions
from regiontalk.train.features import FrozenFeatures, Key
from regiontalk.train.loop import Log

if TYPE_CHECKING:
    from regiontalk.train.recipe import FeaturesConfig


class GivenFeatures:
    """The given features of a training split.

    Attributes:
        examples: the photos that have some.
        sizes: the length of their vectors and how many regions of a photo are read.
    """

    def __init__(
        self,
        source: PrecomputedRegions,
        examples: Sequence[Example],
        config: FeaturesConfig,
        path: Path,
        log: Log,
    ) -> None:
        """Find the photos that have features; their files are read by `freeze`.

        Args:
            source: where they are.
            examples: the training split.
            config: how many regions are read.
            path: of the file that they are copied to.
            log: takes a line on photos without features, and on those with more regions than are
                read.

        Raises:
            ValueError: no photo has features, its file is not as described, or augmented views are
                wanted.
            FileNotFoundError: a file lacks, such as the boxes of a photo.
        """
        if config.views != 1:
            raise ValueError(
                f"[features] views: expected 1, got {config.views}; nobody computed "
                "features of augmented photos"
            )
        self.examples, lines = with_features(source, examples)
        for line in lines:
            log(line)
        first = self.examples[0].photo
        self.sizes = PrecomputedConfig(
            features=read_precomputed(source, first, size_of(first))[1].shape[1],
            regions=config.regions,
        )
        self.freeze = cache(self._freeze)
        self._source = source
        self._path = path
        self._log = log

    def _freeze(self, preprocessing: Preprocessing) -> FrozenFeatures:
        """The features of all photos, or what an earlier run has copied.

        One view, places without a region told by their number.

        Args:
            preprocessing: leads from a photo's pixels to the network's.

        Raises:
            ValueError: vectors of another length than the first photo's, or a file that is not as
                described.
            FileNotFoundError: a file lacks.
        """
        names = [example.id for example in self.examples]
        cached = FeatureCache(self._path, self._key(preprocessing)).open_or_build(
            names,
            partial(self._copy, preprocessing),
            self._arrays(),
            self._log_progress,
        )
        region_counts = np.array(cached["found"])
        self._tell_surplus(region_counts)
        return FrozenFeatures(
            len(names),
            cached["boxes"],
            cached["vectors"],
            cached["objectness"],
            found=region_counts,
        )

    def _key(self, preprocessing: Preprocessing) -> Key:
        """What the copied arrays depend on."""
        files = [self._source.stamp(example.photo.stem) for example in self.examples]
        return {
            "files": hashlib.sha256(repr(files).encode()).hexdigest(),
            "size": preprocessing.size,
            "fit": preprocessing.fit,
        }

    def _arrays(self) -> dict[str, tuple[tuple[int, ...], Any]]:
        """Shape and type of each array of a photo."""
        count = 1 + self.sizes.regions
        return {
            "boxes": ((count, 4), "float32"),
            "vectors": ((count, self.sizes.features), "float16"),
            "objectness": ((count,), "float16"),
            "found": ((), "int32"),
        }

    def _log_progress(self, done: int, total: int) -> None:
        """Log a line now and then."""
        if done % 1024 == 0 or done == total:
            self._log(f"given features {done}/{total}")

    def _tell_surplus(self, region_counts: NDArray[Any]) -> None:
        """Log how many photos have more regions than are read."""
        regions = self.sizes.regions
        surplus = int((region_counts > regions).sum())
        if surplus:
            self._log(
                f"{surplus} of {len(region_counts)} photos have more than {regions} "
                f"regions, up to {region_counts.max()}: the best by score are read; "
                "regions = N in [features] reads more"
            )

    def _copy(
        self, preprocessing: Preprocessing, rows: Sequence[int]
    ) -> dict[str, NDArray[Any]]:
        """The arrays of some rows, from the files of their photos."""
        photos = [self.examples[row].photo for row in rows]
        read = [
            read_precomputed(self._source, photo, size_of(photo), self.sizes.features)
            for photo in photos
        ]
        vectors, scores, boxes = precomputed_features(read, preprocessing, self.sizes)
        return {
            "boxes": boxes,
            "vectors": vectors.astype(np.float16),
            "objectness": scores.astype(np.float16),
            "found": np.array([len(values) - 1 for _, values in read], dtype=np.int32),
        }
