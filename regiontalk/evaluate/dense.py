"""Dense captioning with a model: its own regions and words against the true ones, DenseCap's mean average precision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from regiontalk import boxes as box_ops
from regiontalk.captioner import calibrated
from regiontalk.evaluate.charts import Chart, Line, histogram
from regiontalk.evaluate.examples import Case, Cases, on_boxes, pick
from regiontalk.evaluate.judges import find_tables
from regiontalk.evaluate.photos import EncodedPhotos
from regiontalk.evaluate.region_captions import OneBox, left_out, one_box_things, speak
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
    dense_captioning,
    rank_detections,
    right_detections,
)
from regiontalk.metrics.meteor.score import corpus_meteor, meteor_statistics
from regiontalk.metrics.meteor.tables import MeteorTables
from regiontalk.metrics.tokenizer import ptb_tokenize
from regiontalk.records import Example, FloatArray

REGIONS = 20
CANDIDATES = 300  # proposals that compete for these places
OVERLAP = 0.3  # DenseCap's suppression of its final boxes
SHOWN = 8  # detections that are drawn on an example


def evaluate_dense(
    photos: EncodedPhotos,
    *,
    regions: int = REGIONS,
    overlap: float = OVERLAP,
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
        overlap: IoU above which the weaker of two goes; 1 leaves what the model's own proposals
            have passed.
        beams: K of the beam search; None takes the model's own.
        resamples: bootstrap draws of photos.

    Raises:
        ValueError: no chain has exactly one box.
    """
    detected = detect(photos, regions, beams, overlap)
    meteor, words, reason = _judge(detected)
    stages = " (METEOR exact, stem)" if reason else ""
    report = dense_captioning(detected, meteor, resamples=resamples)
    row: dict[str, Figure] = {
        "mean AP": None if reason else report.mean_ap,
        "localisation AP": report.localisation_ap,
    }
    if words:
        row |= {f"mean AP{stages}": report.mean_ap}
        row |= {f"AP at IoU {least:g}{stages}": value for least, value in report.at_iou.items()}
    counts = {
        "photos": report.photos,
        "overlap kept": overlap,
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
    """METEOR of all that will be asked, whether it says anything at all, and why it is not the whole of METEOR."""
    tables, reason = find_tables()
    try:
        return meteor_of(detected, tables or MeteorTables()), True, reason
    except ImportError as error:
        return lambda said, references: 0.0, False, f"{reason}; {error}" if reason else str(error)


def _charts(
    report: DenseReport, detected: Sequence[DensePhoto], *, words: bool
) -> tuple[Chart, ...]:
    """Average precision over both thresholds, and the scores of detections that meet a true box and of others."""
    lines = [
        Line(
            f"METEOR above {least:g}",
            IOU_THRESHOLDS,
            tuple(report.ap[iou, least] for iou in IOU_THRESHOLDS),
        )
        for least in METEOR_THRESHOLDS
    ]
    groups: dict[str, list[float]] = {"meets a true box at IoU 0.5": [], "other": []}
    meets, other = groups.values()
    for photo in detected:
        overlap = box_ops.iou(photo.boxes_xyxy, photo.truths_xyxy).max(axis=1, initial=0.0)
        for score, most in zip(photo.scores.tolist(), overlap.tolist(), strict=True):
            (meets if most >= 0.5 else other).append(score)
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
    examples: Sequence[Example], detected: Sequence[DensePhoto], meteor: Meteor, *, words: bool
) -> Cases:
    """Photos by their own mean average precision, of boxes alone where words cannot be judged."""
    by_id = {example.id: example for example in examples}
    ranking = rank_detections(detected, meteor)
    asked = [
        (iou, least)
        for iou in IOU_THRESHOLDS
        for least in (METEOR_THRESHOLDS if words else (ANY_WORDS,))
    ]
    right = right_detections(ranking, asked)
    rows = np.flatnonzero(ranking.positives).tolist()
    many = np.bincount(ranking.photo, minlength=len(detected))
    own = np.split(
        np.argsort(ranking.photo, kind="stable"), many.cumsum()[:-1]
    )  # of each photo, still by score
    alone = [
        Ranking(
            ranking.photo[at] * 0,
            ranking.overlap[at],
            ranking.meteor[at],
            ranking.positives[row : row + 1],
        )
        for row, at in enumerate(own)
    ]
    values = [float(average_precisions(alone[row], right[:, own[row]]).mean()) for row in rows]

    def make(place: int) -> Case:
        photo = detected[rows[place]]
        order = np.argsort(-photo.scores, kind="stable")[:SHOWN].tolist()
        boxes = [(photo.boxes_xyxy[at].tolist(), photo.captions[at]) for at in order]
        drawn = on_boxes(by_id[photo.photo], boxes, photo.truths_xyxy, photo.size_wh)
        lines = [(f"{photo.scores[at]:.2f}", photo.captions[at]) for at in order]
        lines += [("person", text) for text in dict.fromkeys(photo.truth_captions)]
        return Case(
            f"{'mean' if words else 'localisation'} AP {values[place]:.2f}",
            tuple(lines),
            drawn,
            photo.size_wh,
        )

    return pick(values, [detected[row].photo for row in rows], make)


def detect(
    photos: EncodedPhotos, regions: int, beams: int | None = None, overlap: float = OVERLAP
) -> list[DensePhoto]:
    """The model's described regions of every photo beside the true ones; arguments as of `evaluate_dense`."""
    captioner, found = photos.captioner, []
    calibration = captioner.config.decoding.region
    for batch in photos:
        boxes, quality = captioner.predictor.propose(batch.features, max(regions, CANDIDATES))
        for_words: list[FloatArray] = []
        places: list[FloatArray] = []
        scores: list[list[float]] = []
        for row in range(len(batch)):
            is_region = (quality[row] > 0) & batch.visible(row, boxes[row])
            is_region[0] = False  # the whole photo
            rows = np.flatnonzero(is_region)
            kept = rows[
                box_ops.non_maximum_suppression(
                    boxes[row, rows], quality[row, rows], overlap, regions
                )
            ]
            for_words.append(boxes[row, kept])
            places.append(batch.to_annotation(row, boxes[row, kept]))
            scores.append(quality[row, kept].tolist())
        for row, said in enumerate(speak(captioner, batch, for_words, beams)):
            ranks = np.array(
                [
                    score * calibrated(calibration, caption.fluency, caption.match, score)
                    for score, caption in zip(scores[row], said, strict=True)
                ]
            )
            words = tuple(one.text for one in said)
            example = batch.examples[row]
            truths, phrases = true_boxes(example, one_box_things(example))
            found.append(
                DensePhoto(
                    example.id, batch.annotated_wh(row), places[row], ranks, words, truths, phrases
                )
            )
    return found


def true_boxes(example: Example, things: Sequence[OneBox]) -> tuple[FloatArray, tuple[str, ...]]:
    """A row for every phrase of every one-box chain; the metric merges equal boxes and keeps all phrases."""
    rows = [(thing.box, phrase) for thing in things for phrase in thing.phrases]
    return example.boxes_xyxy[[box for box, _ in rows]].reshape(-1, 4), tuple(
        phrase for _, phrase in rows
    )


def meteor_of(detected: Sequence[DensePhoto], tables: MeteorTables) -> Meteor:
    """METEOR as a look-up of all pairs that the metric will ask for, computed together: its tables are read once."""
    asked: dict[tuple[str, tuple[str, ...]], None] = {}

    def note(said: str, references: Sequence[str]) -> float:
        asked[said, tuple(references)] = None
        return 0.0

    rank_detections(detected, note)
    pairs = list(asked)
    if not pairs:
        return note
    said = [ptb_tokenize(text) for text, _ in pairs]
    references = [[ptb_tokenize(text) for text in group] for _, group in pairs]
    values = corpus_meteor(meteor_statistics(said, references, tables))
    known = dict(zip(pairs, values.tolist(), strict=True))
    return lambda text, group: float(known[text, tuple(group)])


def _output(photo: DensePhoto) -> dict[str, object]:
    """What was said of one photo."""
    rows = zip(photo.boxes_xyxy.tolist(), photo.scores.tolist(), photo.captions, strict=True)
    return {
        "photo": photo.photo,
        "detections": [{"box": box, "score": score, "text": text} for box, score, text in rows],
    }
