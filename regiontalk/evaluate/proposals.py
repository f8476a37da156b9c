"""How many annotated boxes the proposals cover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from regiontalk.evaluate.charts import AT, Chart, Line, interval_line
from regiontalk.evaluate.examples import Case, Cases, on_boxes, pick
from regiontalk.evaluate.photos import EncodedPhotos
from regiontalk.evaluate.result import Figure, Result
from regiontalk.metrics.recall import (
    PhotoProposals,
    RecallReport,
    best_overlaps,
    proposal_recall,
)
from regiontalk.records import Example

PROPOSALS = 100
COUNTS = (20, 100)
THRESHOLDS = (0.5, 0.75)


def evaluate_proposals(photos: EncodedPhotos, *, resamples: int = 1000) -> Result:
    """Share of the annotated boxes that a proposal covers at IoU 0.5 and 0.75.

    With 20 and with 100 boxes. Two ways of counting to 20: proposals alone, and the
    whole photo as one of the 20 (as the model uses them: the paper's 19 and the whole
    photo).

    Args:
        photos: the data set, with Entities boxes.
        resamples: bootstrap draws of photos.

    Raises:
        ValueError: no photo has a box.
    """
    with_whole_photo = _all_proposals(photos)
    alone = [
        replace(photo, proposals_xyxy=photo.proposals_xyxy[1:])
        for photo in with_whole_photo
    ]
    figures: dict[str, dict[str, Figure]] = {}
    lines: list[Line] = []
    for name, rows in (
        ("proposals alone", alone),
        ("whole photo among them", with_whole_photo),
    ):
        report = proposal_recall(
            rows, counts=AT, thresholds=THRESHOLDS, resamples=resamples
        )
        figures[name] = _recalls(report)
        for min_iou in THRESHOLDS:
            recalls = [report.recall[count, min_iou] for count in AT]
            lines.append(interval_line(f"{name}, IoU {min_iou:g}", AT, recalls))
    counts = {
        "photos": report.photos,
        "boxes": report.truths,
        "photos that cannot be opened": len(photos.broken),
    }
    chart = Chart(
        "curve",
        "Recall against the number of boxes",
        "boxes",
        "share of true boxes covered",
        tuple(lines),
    )
    return Result(
        "proposals",
        figures,
        counts,
        (
            "'whole photo among them': 19 proposals and the whole photo make 20 boxes, 99 make 100",
        ),
        charts=(chart,),
        cases=_proposal_cases(photos.examples, alone),
    )


def _all_proposals(photos: EncodedPhotos) -> list[PhotoProposals]:
    """The whole photo, its proposals and its true boxes, in pixels of the annotation."""
    all_proposals = []
    for batch in photos:
        boxes, objectness = photos.captioner.predictor.propose(
            batch.features, PROPOSALS
        )
        for row, example in enumerate(batch.examples):
            # the whole photo, which comes first, has objectness 1
            usable = np.flatnonzero(
                batch.visible(row, boxes[row]) & (objectness[row] > 0)
            )
            boxes_xyxy = batch.to_annotation(row, boxes[row])[usable]
            all_proposals.append(
                PhotoProposals(example.id, boxes_xyxy, example.boxes_xyxy)
            )
    return all_proposals


def _recalls(report: RecallReport) -> dict[str, Figure]:
    """The columns of one way of counting."""
    recalls: dict[str, Figure] = {
        f"{count} boxes IoU {min_iou:g}": report.recall[count, min_iou]
        for count, min_iou in product(COUNTS, THRESHOLDS)
    }
    for count in COUNTS:
        recalls[f"{count} boxes mean IoU .5-.95"] = report.average[count]
    return recalls


def _proposal_cases(
    examples: Sequence[Example], proposals: Sequence[PhotoProposals]
) -> Cases:
    """Photos by the mean best IoU of their true boxes, each box with its own."""
    by_id = {example.id: example for example in examples}
    judged = [photo for photo in proposals if len(photo.truths_xyxy)]
    best_ious = [best_overlaps(photo, [PROPOSALS])[:, 0] for photo in judged]

    def make(row: int) -> Case:
        example, truths = by_id[judged[row].photo], judged[row].truths_xyxy.tolist()
        boxes = [
            (box, f"{iou:.2f}") for box, iou in zip(truths, best_ious[row], strict=True)
        ]
        covered = int((best_ious[row] >= THRESHOLDS[0]).sum())
        lines = (("true boxes covered at IoU 0.5", f"{covered} of {len(boxes)}"),)
        value = f"mean IoU {best_ious[row].mean():.2f}"
        return Case(value, lines, on_boxes(example, boxes), example.size_wh)

    means = [float(ious.mean()) for ious in best_ious]
    return pick(means, [photo.photo for photo in judged], make)
