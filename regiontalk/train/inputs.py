"""What the stages of a run read.

Photos with their words, decoded pixels, frozen features, and the run's folder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from regiontalk.datasets.names import CONTRADICTED, add_names, read_results
from regiontalk.datasets.splits import read_split
from regiontalk.model.region_model import RegionModel, resolve_device
from regiontalk.records import Example
from regiontalk.regions.sources import PrecomputedRegions
from regiontalk.train.changes import content_hash
from regiontalk.train.features import FrozenFeatures, freeze_features
from regiontalk.train.keep import WEIGHT, Kept, Memory, with_kept
from regiontalk.train.loop import Log, Terms
from regiontalk.train.photos import PictureStore
from regiontalk.train.precomputed import GivenFeatures
from regiontalk.train.processes import ALONE, Processes
from regiontalk.train.recipe import Recipe
from regiontalk.train.region_texts import BoxText, region_texts, unique_boxes
from regiontalk.train.word_vectors import read_text


class Inputs:
    """The data of a run and its folder.

    Attributes:
        recipe: the plan; its stages count steps, no epochs.
        examples: the training photos.
        dev: photos on which the frozen stages are judged.
        unseen: sentences that belong to no photo.
        given: region features that somebody else computed, or None.
        content: a hash of all that the photos and texts teach.
        vectors: a hash of the word vectors that the model began with; empty where no file gave any.
    """

    def __init__(
        self,
        *,
        recipe: Recipe,
        data: Path | Sequence[Path],
        out: Path,
        log: Log,
        limit: int | None = None,
        device: str = "cpu",
        given: PrecomputedRegions | None = None,
        names: Sequence[Path] = (),
        sentences: Sequence[Path] = (),
        examples: Sequence[Example] | None = None,
        dev: Sequence[Example] = (),
        base: RegionModel | None = None,
        memory: Memory | None = None,
        processes: Processes = ALONE,
    ) -> None:
        """Read the training split.

        Args:
            recipe: what is trained.
            data: a data folder, or several, whose photos are put together.
            out: the run's folder.
            log: takes lines of progress.
            limit: keeps the first photos only.
            device: where torch computes.
            given: keeps the photos with features of its own.
            names: results of detectors in COCO's format for photos of the data.
            sentences: texts, one sentence a line, that belong to no photo.
            examples: the training photos, where they have been read already.
            dev: photos on which the frozen stages are judged; none judges nothing.
            base: a whole model that goes on learning, its vocabulary grown.
            memory: everyday photos of which the base must not forget what it knows.
            processes: those that train together.

        Raises:
            ValueError: there is no data, no photo of it has words (or features), or torch cannot
                compute on the device.
        """
        self.out = out
        self.log = log
        self.processes = processes
        self.device = resolve_device(processes.device(device))
        folders = [data] if isinstance(data, Path) else list(data)
        if examples is None:
            examples = read_folders(folders, log)
        self.examples = list(examples[:limit])
        for path in names:
            self.examples = name_boxes(
                self.examples, path, recipe.sources.min_score, log
            )
        self.dev = list(dev)
        self.base = base
        self.memory = memory
        self.unseen = _read_unseen(sentences, log)
        self.given = None if given is None else self._take_given(given, recipe)
        _refuse_silence(folders, self.examples)
        self.recipe = recipe.in_steps(self.examples)
        self.content = content_hash(self.examples, self.unseen)
        self.vectors = ""
        self._held: Kept | None = None
        self._store: PictureStore | None = None

    @property
    def has_boxes(self) -> bool:
        """Whether proposals can learn."""
        return any(len(example.boxes_xyxy) for example in self.examples)

    def _take_given(self, source: PrecomputedRegions, recipe: Recipe) -> GivenFeatures:
        """The features that somebody else computed; photos without any are left out."""
        path = self.out / "features_given"
        features = GivenFeatures(source, self.examples, recipe.features, path, self.log)
        self.examples = features.examples
        return features

    def store(self, model: RegionModel) -> PictureStore:
        """The training photos' pixels, decoded when first needed."""
        if self._store is None:
            self.log(f"decoding {len(self.examples)} photos")
            self._store = PictureStore(self.examples, model.preprocessing)
            for line in self._store.broken:
                self.log(f"left grey: {line}")
        return self._store

    def features(self, model: RegionModel, stage: str) -> FrozenFeatures:
        """The frozen features of the training photos under the model's extractor.

        Args:
            model: as the stages before have left it.
            stage: its name; all stages but ``warm`` share one file.
        """
        is_warm = stage == "warm"
        taught = () if is_warm else self._taught_boxes(model, self.examples)
        with self.processes.main_first():
            if self.given is not None:
                return self.given.freeze(model.preprocessing)
            return freeze_features(
                model.extractor.eval(),
                self.examples,
                lambda: self.store(model),
                self.out / ("features_warm" if is_warm else "features"),
                regions=self.recipe.features.regions,
                views=self.recipe.features.views,
                maps=not is_warm and self.recipe.reads_maps,
                taught=taught,
                changes=self.recipe.augment,
                log=self.log,
            )

    def dev_features(self, model: RegionModel) -> FrozenFeatures:
        """The frozen features of the dev photos."""
        return freeze_features(
            model.extractor.eval(),
            self.dev,
            lambda: PictureStore(self.dev, model.preprocessing),
            self.out / "features_dev",
            regions=self.recipe.features.regions,
            maps=self.recipe.reads_maps,
            taught=self._taught_boxes(model, self.dev),
        )

    def _taught_boxes(
        self, model: RegionModel, examples: Sequence[Example]
    ) -> list[NDArray[np.float32]]:
        """The boxes (G, 4) in network pixels of each photo that the generator learns from.

        Those read from region vectors.
        """
        stage = self.recipe.generate
        if stage is None or self.recipe.generator.attention or not stage.reads_boxes:
            return []
        phrases, names = region_texts(
            examples, model, phrases=bool(stage.phrases), names=bool(stage.names)
        )
        nothing: list[list[BoxText]] = [[] for _ in examples]
        texts_by_photo = zip(phrases or nothing, names or nothing, strict=True)
        return unique_boxes(
            [[*of_people, *of_detector] for of_people, of_detector in texts_by_photo]
        )

    def with_memory(self, terms: Terms, loss: Callable[[Kept, int], Tensor]) -> Terms:
        """Terms of a step, with one more where there is a memory.

        That one holds what the base knows.

        Args:
            terms: of a stage.
            loss: how far the model has moved from the memory in a step.
        """
        held = self.held()
        if held is None:
            return terms
        return with_kept(terms, lambda step: loss(held, step), WEIGHT)

    def held(self) -> Kept | None:
        """The memory with what the base says of it, computed when first needed.

        None where there is none.
        """
        if self._held is None and self.memory is not None and self.base is not None:
            self._held = Kept(self.memory, self.base)
        return self._held


def read_folders(folders: Sequence[Path], log: Log) -> list[Example]:
    """The training photos of all folders; what was wrong with them is logged."""
    photos: list[Example] = []
    for folder in folders:
        examples, reports = read_split(folder, "train")
        photos += examples
        for line in chain.from_iterable(report.lines() for report in reports):
            log(line)
    return photos


def _read_unseen(paths: Sequence[Path], log: Log) -> list[str]:
    """The sentences of texts that belong to no photo."""
    sentences = list(chain.from_iterable(map(read_text, paths)))
    if sentences:
        log(f"{len(sentences)} sentences without photos")
    return sentences


def _refuse_silence(folders: Sequence[Path], examples: Sequence[Example]) -> None:
    """Refuse photos without any words."""
    if not any(example.captions or example.phrases for example in examples):
        hint = " without" if examples else "; the lines above say why"
        raise ValueError(
            f"{', '.join(map(str, folders))}: expected training photos with words, "
            f"got {len(examples)} photos{hint}"
        )


def name_boxes(
    examples: Sequence[Example], path: Path, min_score: float, log: Log
) -> list[Example]:
    """The examples with the names that a detector's results give them.

    Raises:
        ValueError: the results are for none of these photos.
    """
    contradictions: list[str] = []
    named = add_names(examples, read_results(path, min_score=min_score), contradictions)
    changed = sum(
        len(new.phrases) > len(old.phrases)
        for new, old in zip(named, examples, strict=True)
    )
    log(f"{path.name}: names on boxes of {changed} photos")
    if contradictions:
        some = "; ".join(contradictions[:3])
        log(f"  {len(contradictions)} {CONTRADICTED}: {some}")
    if not changed:
        raise ValueError(
            f"{path}: expected results for photos of the data, got none whose "
            "file_name or image_id is theirs"
        )
    return named
