"""How many annotated boxes the proposals cover."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from regiontalk.evaluate.charts import AT, Chart, Line
from regiontalk.evaluate.examples import Case, Cases, on_boxes, pick
from regiontalk.evaluate.photos import EncodedPhotos
from regiontalk.evaluate.result import Figure, Result
from regiontalk.metrics.recall import PhotoProposals, RecallReport, best_overlaps, proposal_recall
from regiontalk.records import Example

PROPOSALS = 100
COUNTS = (20, 100)
THRESHOLDS = (0.5, 0.75)


def evaluate_proposals(photos: EncodedPhotos, *, resamples: int = 1000) -> Result:
    """Share of the annotated boxes that a proposal covers at IoU 0.5 and 0.75, with 20 and with 100 boxes.

    Two ways of counting to 20: proposals alone, and the whole photo as one of the 20 (as the model
        uses them: the
    paper's 19 and the whole picture).

    Args:
        photos: the data set, with Entities boxes.
        resamples: bootstrap draws of photos.

    Raises:
        ValueError: no photo has a box.
    """
    alone, with_whole = [], []
    for batch in photos:
        boxes, scores = photos.captioner.predictor.propose(batch.features, PROPOSALS)
        for row, example in enumerate(batch.examples):
            places = batch.to_annotation(row, boxes[row])
            shown = batch.visible(row, boxes[row]) & (
                scores[row] > 0
            )  # the whole photo has score 1
            real = np.flatnonzero(shown)
            with_whole.append(PhotoProposals(example.id, places[real], example.boxes_xyxy))
            alone.append(PhotoProposals(example.id, places[real[1:]], example.boxes_xyxy))
    figures: dict[str, dict[str, Figure]] = {}
    lines: list[Line] = []
    for name, rows in (("proposals alone", alone), ("whole photo among them", with_whole)):
        report = proposal_recall(rows, counts=AT, thresholds=THRESHOLDS, resamples=resamples)
        lines += [_recall_line(f"{name}, IoU {least:g}", report, least) for least in THRESHOLDS]
        figures[name] = {
            **{
                f"{count} boxes IoU {least:g}": report.recall[count, least]
                for count in COUNTS
                for least in THRESHOLDS
            },
            **{f"{count} boxes mean IoU .5-.95": report.average[count] for count in COUNTS},
        }
    return Result(
        "proposals",
        figures,
        {
            "photos": report.photos,
            "boxes": report.truths,
            "photos that cannot be opened": len(photos.broken),
        },
        ("'whole photo among them': 19 proposals and the whole photo make 20 boxes, 99 make 100",),
        charts=(
            Chart(
                "curve",
                "Recall against the number of boxes",
                "boxes",
                "share of true boxes covered",
                tuple(lines),
            ),
        ),
        cases=_proposal_cases(photos.examples, alone),
    )


def _recall_line(name: str, report: RecallReport, least: float) -> Line:
    """Recall over the number of boxes at one IoU."""
    found = [report.recall[count, least] for count in AT]
    values, low, high = ([getattr(one, part) for one in found] for part in ("value", "low", "high"))
    return Line(name, tuple(map(float, AT)), tuple(values), tuple(low), tuple(high))


def _proposal_cases(examples: Sequence[Example], proposals: Sequence[PhotoProposals]) -> Cases:
    """Photos by the mean best IoU of their true boxes, each box with its own."""
    by_id = {example.id: example for example in examples}
    used = [one for one in proposals if len(one.truths_xyxy)]
    best = [best_overlaps(one, [PROPOSALS])[:, 0] for one in used]

    def make(row: int) -> Case:
        example = by_id[used[row].photo]
        boxes = [
            (box, f"{most:.2f}")
            for box, most in zip(used[row].truths_xyxy.tolist(), best[row], strict=True)
        ]
        covered = int((best[row] >= THRESHOLDS[0]).sum())
        lines = [("true boxes covered at IoU 0.5", f"{covered} of {len(boxes)}")]
        return Case(
            f"mean IoU {best[row].mean():.2f}",
            tuple(lines),
            on_boxes(example, boxes),
            example.size_wh,
        )

    return pick([float(one.mean()) for one in best], [one.photo for one in used], make)
