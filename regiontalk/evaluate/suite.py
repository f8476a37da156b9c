"""Protocols by name, and the one document that a run of them writes."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from regiontalk.evaluate.alignment import evaluate_alignment
from regiontalk.evaluate.calibration import (
    ConfidenceFit,
    confidence_result,
    fit_confidence,
)
from regiontalk.evaluate.captions import evaluate_captions
from regiontalk.evaluate.dense import NMS_IOU, evaluate_dense
from regiontalk.evaluate.names import evaluate_names, read_class_words
from regiontalk.evaluate.not_photos import evaluate_not_photos
from regiontalk.evaluate.photos import EncodedPhotos
from regiontalk.evaluate.phrases import evaluate_phrases
from regiontalk.evaluate.proposals import evaluate_proposals
from regiontalk.evaluate.regions import evaluate_regions
from regiontalk.evaluate.result import Result
from regiontalk.evaluate.retrieval import evaluate_retrieval
from regiontalk.evaluate.training_bank import Training, read_training
from regiontalk.files import write_text
from regiontalk.regions.detectors import YoloxDetector

FORMAT = 1
NEED_TRAINING = ("captions", "regions")


@dataclass(frozen=True)
class Settings:
    """What the protocols share.

    Attributes:
        beams: K of the beam search; None takes the model's own.
        beta: smoothing of inferred snippets (eq. 12); None takes the model's own. Alignment uses it
            only where given.
        fold: photos of a retrieval fold; None ranks everything together.
        crops: whether the photo model is run on crops.
        untrained: whether an untrained model stands beside the alignment figures.
        snippets: file of inferred pairs; None infers them.
        resamples: bootstrap draws.
        nms_iou: IoU above which the weaker of two detections of dense captioning goes.
        class_words: file of what names each class; None takes the classes' own names.
        yolox: file of a YOLOX network that is measured beside the model's names.
    """

    beams: int | None = None
    beta: float | None = None
    fold: int | None = None
    crops: bool = True
    untrained: bool = True
    snippets: Path | None = None
    resamples: int = 1000
    nms_iou: float = NMS_IOU
    class_words: Path | None = None
    yolox: Path | None = None


class Suite:
    """A data set, perhaps a training split (read when first needed), and the settings."""

    def __init__(
        self,
        photos: EncodedPhotos,
        training: EncodedPhotos | None,
        settings: Settings,
        names: Sequence[str],
    ) -> None:
        """Take what the protocols in ``names`` need."""
        self.photos = photos
        self.settings = settings
        self._training = training
        self._names = names

    @cached_property
    def training(self) -> Training | None:
        """The training split, with snippets where a protocol of this run wants them."""
        if self._training is None:
            return None
        settings, infer = self.settings, "regions" in self._names
        return read_training(
            self._training, infer=infer, beta=settings.beta, file=settings.snippets
        )

    @cached_property
    def fit(self) -> ConfidenceFit:
        """The confidence fitted on half of the photos."""
        settings = self.settings
        words = (
            None
            if settings.class_words is None
            else read_class_words(settings.class_words, ())
        )
        return fit_confidence(
            self.photos,
            class_words=words,
            beams=settings.beams,
            resamples=settings.resamples,
        )

    def run(self, name: str) -> Timed:
        """One protocol.

        Raises:
            ValueError: the data lacks what it needs.
        """
        measured = timed(lambda: PROTOCOLS[name](self))
        notes = list(measured.result.notes)
        for kind, photos in (
            ("photos", self.photos),
            ("training photos", self._training),
        ):
            broken = [] if photos is None else photos.broken
            if broken:
                notes.append(
                    f"{kind} that cannot be opened, left out: {len(broken)} ({broken[0]})"
                )
        return replace(measured, result=replace(measured.result, notes=tuple(notes)))

    def attempt(self, name: str) -> Timed:
        """One protocol of several.

        Where the data lacks what it needs, a note says so and the others go on.
        """
        try:
            return self.run(name)
        except ValueError as error:
            return Timed(Result(name, {}, {}, (f"not measured: {error}",)), 0.0, 0.0)


@dataclass(frozen=True)
class Timed:
    """A result, how long it took by the clock, and how much of the processors it used."""

    result: Result
    seconds: float
    cpu_seconds: float


def timed(measure: Callable[[], Result]) -> Timed:
    """Run a measurement and time it."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = measure()
    return Timed(result, time.perf_counter() - wall, time.process_time() - cpu)


def _retrieval(suite: Suite) -> Result:
    return evaluate_retrieval(
        suite.photos, fold=suite.settings.fold, resamples=suite.settings.resamples
    )


def _captions(suite: Suite) -> Result:
    settings = suite.settings
    return evaluate_captions(
        suite.photos, suite.training, beams=settings.beams, resamples=settings.resamples
    )


def _regions(suite: Suite) -> Result:
    settings = suite.settings
    return evaluate_regions(
        suite.photos,
        suite.training,
        beams=settings.beams,
        crops=settings.crops,
        resamples=settings.resamples,
    )


def _alignment(suite: Suite) -> Result:
    settings = suite.settings
    return evaluate_alignment(
        suite.photos,
        beta=settings.beta or 0.0,
        untrained=settings.untrained,
        resamples=settings.resamples,
    )


def _names(suite: Suite) -> Result:
    settings, examples = suite.settings, suite.photos.examples
    detectors = (
        {} if settings.yolox is None else {"YOLOX": YoloxDetector.load(settings.yolox)}
    )
    return evaluate_names(
        suite.photos.captioner,
        examples,
        read_class_words(settings.class_words, examples),
        detectors=detectors,
        resamples=settings.resamples,
    )


def _dense(suite: Suite) -> Result:
    settings = suite.settings
    return evaluate_dense(
        suite.photos,
        nms_iou=settings.nms_iou,
        beams=settings.beams,
        resamples=settings.resamples,
    )


PROTOCOLS: Mapping[str, Callable[[Suite], Result]] = {
    "retrieval": _retrieval,
    "captions": _captions,
    "regions": _regions,
    "phrases": lambda suite: evaluate_phrases(
        suite.photos, resamples=suite.settings.resamples
    ),
    "proposals": lambda suite: evaluate_proposals(
        suite.photos, resamples=suite.settings.resamples
    ),
    "dense": _dense,
    "alignment": _alignment,
    "names": _names,
    "not-photos": lambda suite: evaluate_not_photos(
        suite.photos.captioner,
        suite.photos.examples,
        resamples=suite.settings.resamples,
    ),
    "calibrate": lambda suite: confidence_result(suite.fit),
}


def document(head: Mapping[str, Any], results: Sequence[Timed]) -> dict[str, Any]:
    """What ``--json`` writes: the head (command, model, data) and every result with its seconds."""
    rows = []
    for measured in results:
        seconds = {
            "seconds": round(measured.seconds, 2),
            "cpu_seconds": round(measured.cpu_seconds, 2),
        }
        rows.append({**measured.result.to_dict(), **seconds})
    return {"format": FORMAT, **head, "results": rows}


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a document."""
    text = json.dumps(values, indent=2, allow_nan=False) + "\n"
    write_text(path, text)


def write_outputs(path: Path, results: Sequence[Timed]) -> None:
    """Write the model's words, one JSON object a line, each with its protocol."""
    lines = []
    for measured in results:
        for output in measured.result.outputs:
            row = {"protocol": measured.result.protocol, **output}
            lines.append(json.dumps(row, allow_nan=False) + "\n")
    text = "".join(lines)
    write_text(path, text)


def fingerprint(folder: Path) -> str:
    """SHA-256 of a model's weights and settings.

    So that a figure names the model that it belongs to.
    """
    digest = hashlib.sha256()
    for name in ("config.json", "model.safetensors"):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()
