"""Where things are: phrase localisation on Flickr30k Entities, and how many true boxes the proposals cover."""

from __future__ import annotations

from collections.abc import Iterator

from regiontalk.captioner import LOCATE_REGIONS
from regiontalk.evaluate.photos import EncodedPhotos, PhotoBatch
from regiontalk.evaluate.result import Figure, Result
from regiontalk.metrics.phrases import PhraseAnswer, PhraseFigures, localisation, ranked
from regiontalk.metrics.recall import PhotoProposals, proposal_recall
from regiontalk.records import FloatArray, Phrase

PROPOSALS = 100
COUNTS = (20, 100)
THRESHOLDS = (0.5, 0.75)


def evaluate_phrases(photos: EncodedPhotos, *, regions: int = LOCATE_REGIONS, resamples: int = 1000) -> Result:
    """Phrase localisation at IoU 0.5, any box and merged box, by type, beside constant boxes and the upper bound.

    Args:
        photos: the data set, with Entities boxes and phrases.
        regions: proposals that compete; the whole photo does as well.
        resamples: bootstrap draws of photos.

    Raises:
        ValueError: no phrase has a box.
    """
    report = localisation(_answers(photos, regions), resamples=resamples)
    overall = report.overall
    figures: dict[str, dict[str, Figure]] = {"model": _row(overall)}
    figures["upper bound of the proposals"] = {
        "any box R@1": overall.bound["any box"],
        "merged R@1": overall.bound["merged"],
    }
    figures |= {f"always the {name}": _floor(values) for name, values in report.floors.items()}
    figures |= {
        f"type {name}": {**_row(values), "phrases": float(values.phrases)} for name, values in report.by_type.items()
    }
    counts = {
        "photos": report.photos,
        "phrases": overall.phrases,
        "phrases without a box, left out": report.left_out,
        "boxes that compete": regions + 1,
    }
    return Result("phrases", figures, counts, ("a phrase of two types counts in the row of each",))


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
        asked = [row for row, example in enumerate(batch.examples) if any(phrase.boxes for phrase in example.phrases)]
        for row in sorted(set(range(len(batch))) - set(asked)):
            yield from (_answer(batch, row, phrase, None) for phrase in batch.examples[row].phrases)
        if not asked:
            continue
        part = batch.take(asked)
        wanted = [[phrase for phrase in example.phrases if phrase.boxes] for example in part.examples]
        numbers = [[captioner.model.vocabulary.encode(phrase.text) for phrase in own] for own in wanted]
        boxes, scores = captioner.phrase_scores(part.maps, numbers, regions)
        for row, example in enumerate(part.examples):
            yield from (_answer(part, row, phrase, None) for phrase in example.phrases if not phrase.boxes)
            places = part.to_annotation(row, boxes[row])
            real = _with_area(places)
            real = [place for place in real if place == 0 or (places[place] != places[0]).any()]  # no fill-ins
            for phrase, own in zip(wanted[row], scores[row].float().cpu().numpy(), strict=True):
                yield _answer(part, row, phrase, ranked(places[real], own[real]))


def _answer(batch: PhotoBatch, row: int, phrase: Phrase, candidates: FloatArray | None) -> PhraseAnswer:
    """One phrase; without candidates where it has no truth and nothing was asked."""
    example = batch.examples[row]
    truths = example.boxes_xyxy[list(phrase.boxes)]
    boxes = truths[:0] if candidates is None else candidates
    return PhraseAnswer(example.id, boxes, truths, batch.annotated_wh(row), phrase.types, phrase.text)


def _with_area(boxes_xyxy: FloatArray) -> list[int]:
    """Rows that are boxes at all: one in the padding of a letterboxed photo has no area left."""
    thinnest = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).min(axis=1)
    return [row for row, side in enumerate(thinnest.tolist()) if side > 0]


def evaluate_proposals(photos: EncodedPhotos, *, resamples: int = 1000) -> Result:
    """Share of the annotated boxes that a proposal covers at IoU 0.5 and 0.75, with 20 and with 100 boxes.

    Two ways of counting to 20: proposals alone, and the whole photo as one of the 20 (as the model uses them: the
    paper's 19 and the whole picture).

    Args:
        photos: the data set, with Entities boxes.
        resamples: bootstrap draws of photos.

    Raises:
        ValueError: no photo has a box.
    """
    alone, with_whole = [], []
    for batch in photos:
        boxes, scores = photos.captioner.model.extractor.propose(batch.maps, PROPOSALS)
        for row, example in enumerate(batch.examples):
            places = batch.to_annotation(row, boxes[row])
            real = [place for place in _with_area(places) if place == 0 or float(scores[row, place]) > 0]
            with_whole.append(PhotoProposals(example.id, places[real], example.boxes_xyxy))
            alone.append(PhotoProposals(example.id, places[real[1:]], example.boxes_xyxy))
    figures: dict[str, dict[str, Figure]] = {}
    for name, rows in (("proposals alone", alone), ("whole photo among them", with_whole)):
        report = proposal_recall(rows, counts=COUNTS, thresholds=THRESHOLDS, resamples=resamples)
        figures[name] = {
            **{f"{count} boxes IoU {least:g}": report.recall[count, least] for count in COUNTS for least in THRESHOLDS},
            **{f"{count} boxes mean IoU .5-.95": report.average[count] for count in COUNTS},
        }
    return Result(
        "proposals",
        figures,
        {"photos": report.photos, "boxes": report.truths, "photos that cannot be opened": len(photos.broken)},
        ("'whole photo among them': 19 proposals and the whole photo make 20 boxes, 99 make 100",),
    )
