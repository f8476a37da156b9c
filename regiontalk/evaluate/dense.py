"""Dense captioning with a model.

Its own regions and words against the true ones, DenseCap's mean average precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from regiontalk import boxes as box_ops
from regiontalk.captioner import RegionCaptioner, confidence_of
from regiontalk.evaluate.charts import Chart, Line, histogram
from regiontalk.evaluate.examples import Case, Cases, on_boxes, pick
from regiontalk.evaluate.judges import find_tables
from regiontalk.evaluate.photos import EncodedPhotos, PhotoBatch
from regiontalk.evaluate.region_captions import (
    OneBox,
    caption_boxes,
    left_out,
    one_box_things,
)
from regiontalk.evaluate.result import Figure, Result
from regiontalk.metrics.dense import (
    ANY_WORDS,
    IOU_THRESHOLDS,
    METEOR_THRESHOLDS,
    DensePhoto,
    DenseReport,
    Meteor,
    Ranking,
    average_precisions,
    correct_detections,
    dense_captioning,
    rank_detections,
)
from regiontalk.metrics.meteor.score import corpus_meteor, meteor_statistics
from regiontalk.metrics.meteor.tables import MeteorTables
from regiontalk.metrics.tokenizer import ptb_tokenize
from regiontalk.records import Example, FloatArray

REGIONS = 20
CANDIDATES = 300  # proposals that compete for these places
NMS_IOU = 0.3  # DenseCap's suppression of its final boxes
SHOWN = 8  # detections that are drawn on an example


def evaluate_dense(
    photos: EncodedPhotos,
    *,
    regions: int = REGIONS,
    nms_iou: float = NMS_IOU,
    beams: int | None = None,
    resamples: int = 1000,
) -> Result:
    """Mean average precision over IoU .3 to .7 and METEOR 0 to .25 (docs/protocols.md, [5]).

    Detections are the model's proposals with its captions, ranked by objectness times confidence;
    truths are the boxes of one-box chains, each with every phrase of its chain. The whole photo is
    no detection, and of two proposals that overlap much only the one of greater objectness is.

    Args:
        photos: the data set, with Entities boxes and phrases.
        regions: detections a photo.
        nms_iou: IoU above which the weaker of two goes; 1 leaves what the model's own proposals
            have passed.
        beams: K of the beam search; None takes the model's own.
        resamples: bootstrap draws of photos.

    Raises:
        ValueError: no chain has exactly one box.
    """
    detected = detect(photos, regions, beams, nms_iou)
    meteor, words, reason = _judge(detected)
    stages = " (METEOR exact, stem)" if reason else ""
    report = dense_captioning(detected, meteor, resamples=resamples)
    row: dict[str, Figure] = {
        "mean AP": None if reason else report.mean_ap,
        "localisation AP": report.localisation_ap,
    }
    if words:
        row |= {f"mean AP{stages}": report.mean_ap}
        row |= {
            f"AP at IoU {iou:g}{stages}": value for iou, value in report.at_iou.items()
        }
    counts = {
        "photos": report.photos,
        "overlap kept": nms_iou,
        "detections": report.detections,
        "truths": report.truths,
        "truths after merging": report.merged,
        **left_out(photos.examples),
    }
    notes = [*([f"mean AP: {reason}"] if reason else []), *report.sanity.lines]
    return Result(
        "dense",
        {"model": row},
        counts,
        tuple(notes),
        tuple(map(_output, detected)),
        _charts(report, detected, words=words),
        _cases(photos.examples, detected, meteor, words=words),
    )


def _judge(detected: Sequence[DensePhoto]) -> tuple[Meteor, bool, str]:
    """METEOR of all pairs that will be asked, and whether there is any.

    And why it is not all of METEOR.
    """
    tables, reason = find_tables()
    try:
        return meteor_of(detected, tables or MeteorTables()), True, reason
    except ImportError as error:
        return (
            lambda text, references: 0.0,
            False,
            f"{reason}; {error}" if reason else str(error),
        )


def _charts(
    report: DenseReport, detected: Sequence[DensePhoto], *, words: bool
) -> tuple[Chart, ...]:
    """Average precision over both thresholds.

    And the scores of detections that meet a true box and of others.
    """
    lines = []
    for min_meteor in METEOR_THRESHOLDS:
        precisions = tuple(report.ap[iou, min_meteor] for iou in IOU_THRESHOLDS)
        lines.append(Line(f"METEOR above {min_meteor:g}", IOU_THRESHOLDS, precisions))
    meeting, others = [np.zeros(0)], [np.zeros(0)]
    for photo in detected:
        best_iou = box_ops.iou(photo.boxes_xyxy, photo.truths_xyxy).max(
            axis=1, initial=0.0
        )
        meeting.append(photo.scores[best_iou >= 0.5])
        others.append(photo.scores[best_iou < 0.5])
    groups = {
        "meets a true box at IoU 0.5": np.concatenate(meeting),
        "other": np.concatenate(others),
    }
    scores = histogram("Scores of detections", "objectness times confidence", groups)
    precision = Chart(
        "lines",
        "Average precision over the IoU asked for",
        "IoU",
        "average precision",
        tuple(lines),
    )
    return (precision, scores) if words else (scores,)


def _cases(
    examples: Sequence[Example],
    detected: Sequence[DensePhoto],
    meteor: Meteor,
    *,
    words: bool,
) -> Cases:
    """Photos by their own mean average precision, of boxes alone where words cannot be judged."""
    by_id = {example.id: example for example in examples}
    precisions = _photo_precisions(detected, meteor, words=words)
    with_truths = [detected[row] for row in precisions]
    values = list(precisions.values())
    figure = "mean" if words else "localisation"

    def make(row: int) -> Case:
        photo = with_truths[row]
        return _case(f"{figure} AP {values[row]:.2f}", photo, by_id[photo.photo])

    return pick(values, [photo.photo for photo in with_truths], make)


def _case(value: str, photo: DensePhoto, example: Example) -> Case:
    """One photo with its best detections."""
    best = np.argsort(-photo.scores, kind="stable")[:SHOWN].tolist()
    boxes, lines = [], []
    for row in best:
        boxes.append((photo.boxes_xyxy[row].tolist(), photo.captions[row]))
        lines.append((f"{photo.scores[row]:.2f}", photo.captions[row]))
    lines += [("person", text) for text in dict.fromkeys(photo.truth_captions)]
    drawn = on_boxes(example, boxes, photo.truths_xyxy, photo.size_wh)
    return Case(value, tuple(lines), drawn, photo.size_wh)


def _photo_precisions(
    detected: Sequence[DensePhoto], meteor: Meteor, *, words: bool
) -> dict[int, float]:
    """By the row of each photo that has a true box.

    Its own average precision, the mean over all thresholds.
    """
    ranking = rank_detections(detected, meteor)
    thresholds = [
        *product(IOU_THRESHOLDS, METEOR_THRESHOLDS if words else (ANY_WORDS,))
    ]
    is_correct = correct_detections(ranking, thresholds)
    by_photo = np.argsort(ranking.photo, kind="stable")  # of each photo, still by score
    detection_counts = np.bincount(ranking.photo, minlength=len(detected))
    rows_by_photo = np.split(by_photo, detection_counts.cumsum()[:-1])
    means = {}
    for photo in np.flatnonzero(ranking.positives).tolist():
        rows = rows_by_photo[photo]
        photo_ranking = Ranking(
            ranking.photo[rows] * 0,
            ranking.overlap[rows],
            ranking.meteor[rows],
            ranking.positives[photo : photo + 1],
        )
        precisions = average_precisions(photo_ranking, is_correct[:, rows])
        means[photo] = float(precisions.mean())
    return means


def detect(
    photos: EncodedPhotos,
    regions: int,
    beams: int | None = None,
    nms_iou: float = NMS_IOU,
) -> list[DensePhoto]:
    """The model's described regions of every photo beside the true ones.

    Arguments as of `evaluate_dense`.
    """
    captioner = photos.captioner
    calibration = captioner.config.decoding.region
    detected = []
    for batch in photos:
        boxes, objectness = _detections(captioner, batch, regions, nms_iou)
        captions_by_photo = caption_boxes(captioner, batch, boxes, beams)
        for row, captions in enumerate(captions_by_photo):
            scores = []
            for score, caption in zip(objectness[row], captions, strict=True):
                scores.append(score * confidence_of(calibration, caption, score))
            example = batch.examples[row]
            truths_xyxy, truth_captions = true_boxes(example, one_box_things(example))
            photo = DensePhoto(
                example.id,
                batch.annotated_wh(row),
                batch.to_annotation(row, boxes[row]),
                np.array(scores),
                tuple(caption.text for caption in captions),
                truths_xyxy,
                truth_captions,
            )
            detected.append(photo)
    return detected


def _detections(
    captioner: RegionCaptioner, batch: PhotoBatch, regions: int, nms_iou: float
) -> tuple[list[FloatArray], list[list[float]]]:
    """Each photo's proposals (n, 4) that overlap little, and their objectness (n,).

    In network pixels.
    """
    proposals, objectness = captioner.predictor.propose(
        batch.features, max(regions, CANDIDATES)
    )
    boxes, scores = [], []
    for row in range(len(batch)):
        is_region = (objectness[row] > 0) & batch.visible(row, proposals[row])
        is_region[0] = False  # the whole photo
        candidates = np.flatnonzero(is_region)
        survivors = box_ops.non_maximum_suppression(
            proposals[row, candidates], objectness[row, candidates], nms_iou, regions
        )
        detections = candidates[survivors]
        boxes.append(proposals[row, detections])
        scores.append(objectness[row, detections].tolist())
    return boxes, scores


def true_boxes(
    example: Example, things: Sequence[OneBox]
) -> tuple[FloatArray, tuple[str, ...]]:
    """A row for every phrase of every one-box chain.

    The metric merges equal boxes and keeps all phrases.
    """
    rows: list[int] = []
    phrases: list[str] = []
    for thing in things:
        rows += [thing.box] * len(thing.phrases)
        phrases += thing.phrases
    return example.boxes_xyxy[rows].reshape(-1, 4), tuple(phrases)


def meteor_of(detected: Sequence[DensePhoto], tables: MeteorTables) -> Meteor:
    """METEOR as a look-up of all pairs that the metric will ask for, computed together.

    Its tables are read once.
    """
    pairs: dict[tuple[str, tuple[str, ...]], None] = {}

    def note(text: str, references: Sequence[str]) -> float:
        pairs[text, tuple(references)] = None
        return 0.0

    rank_detections(detected, note)
    if not pairs:
        return note
    candidates = [ptb_tokenize(text) for text, _ in pairs]
    references = [list(map(ptb_tokenize, texts)) for _, texts in pairs]
    values = corpus_meteor(meteor_statistics(candidates, references, tables))
    known = dict(zip(pairs, values.tolist(), strict=True))
    return lambda text, references: float(known[text, tuple(references)])


def _output(photo: DensePhoto) -> dict[str, object]:
    """The model's detections on one photo."""
    rows = zip(
        photo.boxes_xyxy.tolist(), photo.scores.tolist(), photo.captions, strict=True
    )
    return {
        "photo": photo.photo,
        "detections": [
            {"box": box, "score": score, "text": text} for box, score, text in rows
        ],
    }
