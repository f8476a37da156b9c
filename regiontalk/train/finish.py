"""The end of a run on your own photos.

Confidences that fit them, and one page of before and after.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from regiontalk.captioner import RegionCaptioner
from regiontalk.evaluate.calibration import Judged, judge_boxes, judge_photos
from regiontalk.evaluate.captions import evaluate_captions
from regiontalk.evaluate.charts import Chart, Line
from regiontalk.evaluate.photos import EncodedPhotos
from regiontalk.evaluate.region_captions import one_box_things
from regiontalk.evaluate.regions import evaluate_regions
from regiontalk.evaluate.result import Figure, Result
from regiontalk.evaluate.retrieval import evaluate_retrieval
from regiontalk.evaluate.suite import Timed
from regiontalk.files import write_data
from regiontalk.model.region_model import RegionModel
from regiontalk.records import Example
from regiontalk.runtime.torch_engine import TorchPredictor
from regiontalk.train.loop import Log
from regiontalk.train.own_confidence import (
    MemoryTexts,
    Past,
    add_own_term,
    describe_memory,
    fit_calibration,
    recall,
)
from regiontalk.train.watch import read_rows

# captions from which a calibration is fitted; fewer keep the start model's
MIN_JUDGED = 20
REPORT_PHOTOS = 200
MAX_REFUSED = 0.02  # share of one's own photos that may look like no photos
HEADLINES = (
    (
        "retrieval",
        "photo to sentence",
        "R@1",
        "own sentence found first for a photo (R@1)",
    ),
    (
        "retrieval",
        "sentence to photo",
        "R@1",
        "own photo found first for a sentence (R@1)",
    ),
    ("captions", "model", "CIDEr-D", "sentences of photos (CIDEr-D)"),
    ("regions", "model", "CIDEr-D", "words on your boxes (CIDEr-D)"),
)


def settle_photo_check(
    model: RegionModel, photo_vectors: torch.Tensor, log: Log
) -> None:
    """Switch the check for photos off where it would refuse one's own pictures.

    Screens and scans are what they are.

    Args:
        model: changed in place.
        photo_vectors: (M, F) of whole training photos.
        log: takes a line where it is switched off.
    """
    decoding = model.config.decoding
    if model.photo_check is None or not decoding.photo_check:
        return
    with torch.inference_mode():
        device = next(model.parameters()).device
        probabilities = model.photo_check(photo_vectors.to(device)).sigmoid()[:, 0]
    refused = float((probabilities < decoding.photo_check).float().mean())
    if refused > MAX_REFUSED:
        log(
            f"the check that keeps silent on drawn pictures is off: {refused:.0%} of "
            "your photos look like such"
        )
        off = decoding.model_copy(update={"photo_check": 0.0})
        model.config = model.config.model_copy(update={"decoding": off})


def calibrate(
    model: RegionModel, dev: Sequence[Example], log: Log, past: Past | None = None
) -> None:
    """Fit both confidences on the dev photos, in place.

    Too few captions leave the start model's.

    Args:
        model: has learnt.
        dev: photos that it has not learnt from.
        log: takes a line for each kind of caption.
        past: what confidences of other photos are held to.
    """
    photos = EncodedPhotos(
        RegionCaptioner(predictor=TorchPredictor(model)), dev[:REPORT_PHOTOS], keep=True
    )
    judged_boxes = list(chain.from_iterable(judge_boxes(photos, {}).values()))
    texts = None if past is None else describe_memory(model, past.memory)
    has_term = False
    if _are_enough("region", judged_boxes, log):
        if past is not None and texts is not None:
            has_term = add_own_term(model, judged_boxes, past, texts)
        if not has_term:
            _fit(model, "region", judged_boxes, past, texts)
    photos.captioner = RegionCaptioner(predictor=TorchPredictor(model))
    # the check is taught on regions, but its new term reads whole photos as well
    judged_photos = judge_photos(photos, check=has_term)
    if _are_enough("photo", judged_photos, log):
        _fit(model, "photo", judged_photos, past, texts)


def _are_enough(kind: str, judged: Sequence[Judged], log: Log) -> bool:
    """Whether a calibration can be fitted on captions, with a line that says so."""
    if len(judged) < MIN_JUDGED:
        log(
            f"confidence, {kind}: as the start model's; {len(judged)} captions are too few to fit"
        )
        return False
    share = sum(caption.is_correct for caption in judged) / len(judged)
    log(
        f"confidence, {kind}: fitted on {len(judged)} captions, {share:.0%} of them right"
    )
    return True


def _fit(
    model: RegionModel,
    kind: str,
    judged: Sequence[Judged],
    past: Past | None,
    texts: MemoryTexts | None,
) -> None:
    """The calibration of a kind of captions, in place."""
    decoding = model.config.decoding
    recalled = None
    if past is not None and texts is not None:
        recalled = recall(model, past.start, texts, of_photos=kind == "photo")
    calibration = fit_calibration(judged, getattr(decoding, kind), recalled)
    decoding = decoding.model_copy(update={kind: calibration})
    model.config = model.config.model_copy(update={"decoding": decoding})


@dataclass(frozen=True)
class BeforeAfter:
    """What a model was before and is after, on photos that it has not learnt from.

    Attributes:
        results: of the page, in order; figures have rows "before, ..." and "after, ...".
        lines: the headline figures for people.
        figures: headline -> (before, after).
    """

    results: tuple[Timed, ...]
    lines: tuple[str, ...]
    figures: Mapping[str, tuple[float, float]]


def before_and_after(
    before: RegionModel,
    after: RegionModel,
    dev: Sequence[Example],
    resamples: int = 300,
) -> BeforeAfter:
    """Measure both models by every protocol that the dev photos allow."""
    examples = list(dev)[:REPORT_PHOTOS]
    photos_by_model = {
        name: EncodedPhotos(
            RegionCaptioner(predictor=TorchPredictor(model)), examples, keep=True
        )
        for name, model in (("before", before), ("after", after))
    }
    timed: list[Timed] = []
    results_by_protocol: dict[str, dict[str, Result]] = {}
    for name, measure in _protocols(examples, resamples).items():
        started, cpu = time.perf_counter(), time.process_time()
        results = {when: measure(photos) for when, photos in photos_by_model.items()}
        results_by_protocol[name] = results
        seconds = (time.perf_counter() - started, time.process_time() - cpu)
        timed.append(Timed(_side_by_side(results), *seconds))
    figures = _headline_figures(results_by_protocol)
    return BeforeAfter(tuple(timed), _lines(figures), figures)


def _protocols(
    examples: Sequence[Example], resamples: int
) -> dict[str, Callable[[EncodedPhotos], Result]]:
    """What the words of the photos allow to measure, by name."""
    protocols: dict[str, Callable[[EncodedPhotos], Result]] = {}
    if any(example.captions for example in examples):
        protocols["retrieval"] = partial(evaluate_retrieval, resamples=resamples)
        protocols["captions"] = partial(evaluate_captions, resamples=resamples)
    if any(one_box_things(example) for example in examples):
        protocols["regions"] = partial(
            evaluate_regions, crops=False, resamples=resamples
        )
    return protocols


def _headline_figures(
    results_by_protocol: Mapping[str, Mapping[str, Result]],
) -> dict[str, tuple[float, float]]:
    """Those of `HEADLINES` that were measured: headline -> (before, after)."""
    figures: dict[str, tuple[float, float]] = {}
    for protocol, row, column, headline in HEADLINES:
        results = results_by_protocol.get(protocol)
        if results is not None:
            figures[headline] = (
                _value(results["before"], row, column),
                _value(results["after"], row, column),
            )
    return figures


def _lines(figures: Mapping[str, tuple[float, float]]) -> tuple[str, ...]:
    """The headline figures in per cent, for people."""
    return tuple(
        f"{headline}: {old * 100:.1f} before, {new * 100:.1f} after"
        for headline, (old, new) in figures.items()
    )


def write_gain(path: Path, compared: BeforeAfter) -> None:
    """Write the headline figures for programs: a JSON object, headline -> [before, after].

    Null where not measured.
    """
    figures = {
        name: (_number_or_null(before), _number_or_null(after))
        for name, (before, after) in compared.figures.items()
    }
    write_data(path, (json.dumps(figures, indent=1) + "\n").encode())


def _number_or_null(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)


def curves(path: Path) -> tuple[Chart, ...]:
    """Loss and dev figures over the epochs of each stage, from the log of a run."""
    charts = []
    rows = read_rows(path)
    for stage in dict.fromkeys(row["stage"] for row in rows):
        stage_rows = [row for row in rows if row["stage"] == stage]
        for kind, title in (("loss", "training loss"), ("dev", "on dev")):
            names = [
                name for name in stage_rows[0][kind] if name not in ("score", "loss")
            ]
            lines = tuple(_curve(stage_rows, kind, name) for name in names)
            if lines:
                charts.append(Chart("lines", f"{stage}, {title}", "epoch", "", lines))
    return tuple(charts)


def _curve(rows: Sequence[Mapping[str, Any]], kind: str, name: str) -> Line:
    """One figure over the epochs, 0 where a row lacks it."""
    return Line(
        name,
        tuple(row["epoch"] for row in rows),
        tuple(row[kind].get(name, 0.0) for row in rows),
    )


def _side_by_side(results: Mapping[str, Result]) -> Result:
    """One result with the rows and examples of both."""
    figures: dict[str, Mapping[str, Figure]] = {}
    names = list(
        dict.fromkeys(row for result in results.values() for row in result.figures)
    )
    for row in names:
        for when, result in results.items():
            if row in result.figures:
                figures[f"{when}, {row}"] = result.figures[row]
    after = results["after"]
    cases = {
        f"{when}, {kind}": cases
        for kind in after.cases
        for when, result in results.items()
        if (cases := result.cases.get(kind))
    }
    charts = tuple(
        replace(chart, title=f"{chart.title} ({when})")
        for when, result in results.items()
        for chart in result.charts
    )
    return replace(after, figures=figures, cases=cases, charts=charts, outputs=())


def _value(result: Result, row: str, column: str) -> float:
    """A figure of a result; NaN where it was not measured."""
    figure = result.figures.get(row, {}).get(column)
    if figure is None:
        return float("nan")
    return figure if isinstance(figure, float) else figure.value
