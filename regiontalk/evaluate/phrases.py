"""Phrase localisation on Flickr30k Entities: the box that the model finds for each phrase."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from regiontalk import boxes as box_ops
from regiontalk.captioner import LOCATE_REGIONS
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
    """Phrase localisation at IoU 0.5, any box and merged box, by type, beside constant boxes and the upper bound.

    Args:
        photos: the data set, with Entities boxes and phrases.
        regions: proposals that compete; the whole photo does as well.
        resamples: bootstrap draws of photos.

    Raises:
        ValueError: no phrase has a box.
    """
    regions = photos.captioner.predictor.competing_regions(regions)
    found: list[_Located] = []
    report = localisation(_noted(_answers(photos, regions), found), resamples=resamples)
    overall = report.overall
    figures: dict[str, dict[str, Figure]] = {"model": _row(overall)}
    figures["upper bound of the proposals"] = {
        "any box R@1": overall.bound["any box"],
        "merged R@1": overall.bound["merged"],
    }
    figures |= {f"always the {name}": _floor(values) for name, values in report.floors.items()}
    figures |= {
        f"type {name}": {**_row(values), "phrases": float(values.phrases)}
        for name, values in report.by_type.items()
    }
    counts = {
        "photos": report.photos,
        "phrases": overall.phrases,
        "phrases without a box, left out": report.left_out,
        "boxes that compete": regions + 1,
    }
    notes = ("a phrase of two types counts in the row of each",)
    charts = _phrase_charts(found, regions + 1, resamples)
    return Result(
        "phrases",
        figures,
        counts,
        notes,
        charts=charts,
        cases=_phrase_cases(photos.examples, found),
    )


@dataclass(frozen=True)
class _Located:
    """What is kept of a phrase's answer: the first right rank (any box, merged), the first box and its best IoU."""

    answer: PhraseAnswer
    ranks: tuple[int, int]
    overlap: float


def _noted(answers: Iterable[PhraseAnswer], found: list[_Located]) -> Iterator[PhraseAnswer]:
    """The answers as they are, what they came to added to ``found``; of their boxes only the first is kept."""
    for answer in answers:
        if len(answer.truths_xyxy):
            first = answer.candidates_xyxy[:1]
            overlap = box_ops.iou(first, answer.truths_xyxy).max(initial=0.0)
            found.append(
                _Located(
                    replace(answer, candidates_xyxy=first), first_ranks(answer), float(overlap)
                )
            )
        yield answer


def _phrase_charts(found: Sequence[_Located], boxes: int, resamples: int) -> tuple[Chart, ...]:
    """Recall at K by both protocols, and how well the first box overlaps."""
    photos = [item.answer.photo for item in found]
    curves = [
        rank_curve(
            name,
            np.array([item.ranks[place] for item in found]),
            photos,
            boxes,
            resamples=resamples,
        )
        for place, name in enumerate(("any box", "merged box"))
    ]
    return (
        Chart(
            "curve",
            "Recall at K, IoU 0.5",
            "K",
            "share of phrases found among the first K boxes",
            tuple(curves),
        ),
        histogram(
            "Overlap of the first box with a true one",
            "IoU",
            {"phrases": [item.overlap for item in found]},
        ),
    )


def _phrase_cases(examples: Sequence[Example], found: Sequence[_Located]) -> Cases:
    """Phrases by the IoU of the first box with a true one."""
    by_id = {example.id: example for example in examples}

    def make(row: int) -> Case:
        item = found[row]
        answer, example = item.answer, by_id[item.answer.photo]
        boxes = [(box, answer.text) for box in answer.candidates_xyxy.tolist()]
        lines = [("phrase", answer.text), *(("type", name) for name in answer.types)]
        drawn = on_boxes(example, boxes, answer.truths_xyxy, answer.size_wh)
        return Case(f"IoU {item.overlap:.2f}", tuple(lines), drawn, answer.size_wh)

    return pick([item.overlap for item in found], [item.answer.photo for item in found], make)


def _row(figures: PhraseFigures) -> dict[str, Figure]:
    """A model's columns."""
    found: dict[str, Figure] = {f"any box {name}": value for name, value in figures.any_box.items()}
    found |= {f"merged {name}": value for name, value in figures.merged.items()}
    return {**found, "pointing": figures.pointing}


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
        asked = [
            row
            for row, example in enumerate(batch.examples)
            if any(phrase.boxes for phrase in example.phrases)
        ]
        for row in sorted(set(range(len(batch))) - set(asked)):
            yield from (_answer(batch, row, phrase, None) for phrase in batch.examples[row].phrases)
        if not asked:
            continue
        part = batch.take(asked)
        wanted = [
            [phrase for phrase in example.phrases if phrase.boxes] for example in part.examples
        ]
        numbers = [[captioner.vocabulary.encode(phrase.text) for phrase in own] for own in wanted]
        boxes, scores = captioner.phrase_scores(part.features, numbers, regions)
        for row, example in enumerate(part.examples):
            yield from (
                _answer(part, row, phrase, None) for phrase in example.phrases if not phrase.boxes
            )
            places = part.to_annotation(row, boxes[row])
            real = np.flatnonzero(part.visible(row, boxes[row])).tolist()
            real = [
                place for place in real if place == 0 or (places[place] != places[0]).any()
            ]  # no fill-ins
            for phrase, own in zip(wanted[row], scores[row], strict=True):
                yield _answer(part, row, phrase, ranked(places[real], own[real]))


def _answer(
    batch: PhotoBatch, row: int, phrase: Phrase, candidates: FloatArray | None
) -> PhraseAnswer:
    """One phrase; without candidates where it has no truth and nothing was asked."""
    example = batch.examples[row]
    truths = example.boxes_xyxy[list(phrase.boxes)]
    boxes = truths[:0] if candidates is None else candidates
    return PhraseAnswer(
        example.id, boxes, truths, batch.annotated_wh(row), phrase.types, phrase.text
    )
