"""Phrase localisation on Flickr30k Entities: the box that the model finds for each phrase."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from regiontalk import boxes as box_ops
from regiontalk.captioner import LOCATE_REGIONS, RegionCaptioner
from regiontalk.evaluate.charts import Chart, histogram, rank_curve
from regiontalk.evaluate.examples import Case, Cases, on_boxes, pick
from regiontalk.evaluate.photos import EncodedPhotos, PhotoBatch
from regiontalk.evaluate.result import Figure, Result
from regiontalk.metrics.phrases import (
    PhraseAnswer,
    PhraseFigures,
    first_ranks,
    localisation,
    ranked,
)
from regiontalk.records import Example, FloatArray, Phrase


def evaluate_phrases(
    photos: EncodedPhotos, *, regions: int = LOCATE_REGIONS, resamples: int = 1000
) -> Result:
    """Phrase localisation at IoU 0.5, any box and merged box, by type.

    Beside constant boxes and the upper bound.

    Args:
        photos: the data set, with Entities boxes and phrases.
        regions: proposals that compete; the whole photo does as well.
        resamples: bootstrap draws of photos.

    Raises:
        ValueError: no phrase has a box.
    """
    regions = photos.captioner.predictor.competing_regions(regions)
    located: list[_Located] = []
    report = localisation(
        _noted(_answers(photos, regions), located), resamples=resamples
    )
    overall = report.overall
    figures: dict[str, dict[str, Figure]] = {
        "model": _row(overall),
        "upper bound of the proposals": {
            "any box R@1": overall.bound["any box"],
            "merged R@1": overall.bound["merged"],
        },
    }
    for name, values in report.floors.items():
        figures[f"always the {name}"] = _floor(values)
    for name, values in report.by_type.items():
        figures[f"type {name}"] = {**_row(values), "phrases": float(values.phrases)}
    counts = {
        "photos": report.photos,
        "phrases": overall.phrases,
        "phrases without a box, left out": report.left_out,
        "boxes that compete": regions + 1,
    }
    return Result(
        "phrases",
        figures,
        counts,
        ("a phrase of two types counts in the row of each",),
        charts=_phrase_charts(located, regions + 1, resamples),
        cases=_phrase_cases(photos.examples, located),
    )


@dataclass(frozen=True)
class _Located:
    """What is kept of a phrase's answer.

    The first right rank (any box, merged), the first box and its best IoU.
    """

    answer: PhraseAnswer
    ranks: tuple[int, int]
    iou: float


def _noted(
    answers: Iterable[PhraseAnswer], located: list[_Located]
) -> Iterator[PhraseAnswer]:
    """The answers as they are, each added to ``located``; of their boxes only the first is kept."""
    for answer in answers:
        if len(answer.truths_xyxy):
            first = answer.candidates_xyxy[:1]
            iou = float(box_ops.iou(first, answer.truths_xyxy).max(initial=0.0))
            with_first = replace(answer, candidates_xyxy=first)
            located.append(_Located(with_first, first_ranks(answer), iou))
        yield answer


def _phrase_charts(
    located: Sequence[_Located], boxes: int, resamples: int
) -> tuple[Chart, ...]:
    """Recall at K by both protocols, and how well the first box overlaps."""
    photos = [phrase.answer.photo for phrase in located]
    curves = []
    for column, name in enumerate(("any box", "merged box")):
        ranks = np.array([phrase.ranks[column] for phrase in located])
        curves.append(rank_curve(name, ranks, photos, boxes, resamples=resamples))
    recall = Chart(
        "curve",
        "Recall at K, IoU 0.5",
        "K",
        "share of phrases found among the first K boxes",
        tuple(curves),
    )
    ious = {"phrases": [phrase.iou for phrase in located]}
    return recall, histogram("Overlap of the first box with a true one", "IoU", ious)


def _phrase_cases(examples: Sequence[Example], located: Sequence[_Located]) -> Cases:
    """Phrases by the IoU of the first box with a true one."""
    by_id = {example.id: example for example in examples}

    def make(row: int) -> Case:
        answer, iou = located[row].answer, located[row].iou
        boxes = [(box, answer.text) for box in answer.candidates_xyxy.tolist()]
        lines = [("phrase", answer.text), *(("type", name) for name in answer.types)]
        drawn = on_boxes(by_id[answer.photo], boxes, answer.truths_xyxy, answer.size_wh)
        return Case(f"IoU {iou:.2f}", tuple(lines), drawn, answer.size_wh)

    ious = [phrase.iou for phrase in located]
    return pick(ious, [phrase.answer.photo for phrase in located], make)


def _row(figures: PhraseFigures) -> dict[str, Figure]:
    """A model's columns."""
    any_box = {f"any box {name}": value for name, value in figures.any_box.items()}
    merged = {f"merged {name}": value for name, value in figures.merged.items()}
    return {**any_box, **merged, "pointing": figures.pointing}


def _floor(figures: PhraseFigures) -> dict[str, Figure]:
    """A constant box's columns: it has one answer, so R@1 is all there is."""
    return {
        "any box R@1": figures.any_box["R@1"],
        "merged R@1": figures.merged["R@1"],
        "pointing": figures.pointing,
    }


def _answers(photos: EncodedPhotos, regions: int) -> Iterator[PhraseAnswer]:
    """Each phrase with the model's boxes, best first, in pixels of the annotation."""
    captioner = photos.captioner
    for batch in photos:
        asked: list[int] = []
        unasked: list[int] = []
        for row, example in enumerate(batch.examples):
            has_box = any(phrase.boxes for phrase in example.phrases)
            if has_box:
                asked.append(row)
            else:
                unasked.append(row)
        for row in unasked:
            for phrase in batch.examples[row].phrases:
                yield _answer(batch, row, phrase, None)
        if asked:
            yield from _batch_answers(captioner, batch.take(asked), regions)


def _batch_answers(
    captioner: RegionCaptioner, batch: PhotoBatch, regions: int
) -> Iterator[PhraseAnswer]:
    """The same of photos that all have a phrase with a box."""
    phrases_by_photo: list[list[Phrase]] = []
    token_ids: list[list[list[int]]] = []  # photo, phrase, word
    for example in batch.examples:
        phrases = [phrase for phrase in example.phrases if phrase.boxes]
        phrases_by_photo.append(phrases)
        token_ids.append(
            [captioner.vocabulary.encode(phrase.text) for phrase in phrases]
        )
    boxes, scores = captioner.phrase_scores(batch.features, token_ids, regions)
    for row, example in enumerate(batch.examples):
        for phrase in example.phrases:
            if not phrase.boxes:
                yield _answer(batch, row, phrase, None)
        candidates = _candidates(batch, row, boxes[row])
        for phrase, phrase_scores in zip(
            phrases_by_photo[row], scores[row], strict=True
        ):
            best_first = ranked(candidates.boxes_xyxy, phrase_scores[candidates.rows])
            yield _answer(batch, row, phrase, best_first)


class _Candidates(NamedTuple):
    """The boxes (N, 4) of a photo that may be a phrase's, and their rows (N,).

    In pixels of the annotation.
    """

    boxes_xyxy: FloatArray
    rows: NDArray[np.int64]


def _candidates(batch: PhotoBatch, row: int, boxes: FloatArray) -> _Candidates:
    """Those of the boxes (M, 4) in network pixels, the whole photo first, that are no fill-in."""
    boxes_xyxy = batch.to_annotation(row, boxes)
    # a copy of the whole photo fills in
    is_other = (boxes_xyxy != boxes_xyxy[0]).any(axis=1)
    is_other[0] = True
    rows = np.flatnonzero(batch.visible(row, boxes) & is_other)
    return _Candidates(boxes_xyxy[rows], rows)


def _answer(
    batch: PhotoBatch, row: int, phrase: Phrase, candidates: FloatArray | None
) -> PhraseAnswer:
    """One phrase; without candidates where it has no truth and nothing was asked."""
    example = batch.examples[row]
    truths = example.boxes_xyxy[list(phrase.boxes)]
    if candidates is None:
        candidates = truths[:0]
    size_wh = batch.annotated_wh(row)
    return PhraseAnswer(
        example.id, candidates, truths, size_wh, phrase.types, phrase.text
    )
