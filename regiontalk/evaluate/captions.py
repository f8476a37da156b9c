"""Whole-photo captions beside the nearest training photo's sentence; and captions that come from a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from regiontalk.evaluate.charts import Chart, histogram
from regiontalk.evaluate.correctness import confidence_charts, photo_right
from regiontalk.evaluate.examples import Case, Cases, on_words, pick
from regiontalk.evaluate.judges import each_cider, find_meteor
from regiontalk.evaluate.photos import EncodedPhotos
from regiontalk.evaluate.prediction_files import caption_pairs
from regiontalk.evaluate.region_captions import photo_vectors, speak_of_photos
from regiontalk.evaluate.result import Figure, Result, caption_notes, caption_row, unique
from regiontalk.evaluate.training_bank import Training, nearest, unit_rows
from regiontalk.metrics.captions import CaptionScores, Scores, Statistics, score_captions


def evaluate_captions(
    photos: EncodedPhotos,
    training: Training | None = None,
    *,
    beams: int | None = None,
    resamples: int = 1000,
) -> Result:
    """The field's figures of the model's whole-photo captions (docs/protocols.md).

    The baseline is the first sentence of the training photo whose whole-photo vector has the
    greatest cosine.

    Args:
        photos: the data set.
        training: for the baseline and for novelty; None leaves both out.
        beams: K of the beam search; None takes the model's own.
        resamples: bootstrap draws of photos.

    Raises:
        ValueError: no photo has a sentence.
    """
    said_of_all = speak_of_photos(photos, beams)
    sayings = {
        example.id: example.captions
        for example in photos.examples
        if any(map(str.strip, example.captions))
    }
    references = {name: captions for name, captions in sayings.items() if name in said_of_all}
    if not references:
        raise ValueError("captions: expected photos with sentences, got none; check the token file")
    spoken = {name: said_of_all[name] for name in references}
    rows = {"model": {name: said.text for name, said in spoken.items()}}
    notes: list[str] = []
    if training is None:
        notes.append(
            "no training split: no nearest photo and no novelty; give one with --train-data"
        )
    else:
        closest = nearest_sentences(photos, training)
        rows["nearest training photo"] = {name: closest[name] for name in references}
    sentences = None if training is None else list(training.sentences())
    meteor = find_meteor()
    scores = {
        name: score_captions(
            said, references, training=sentences, meteor=meteor, resamples=resamples
        )
        for name, said in rows.items()
    }
    outputs = tuple(
        {
            "photo": name,
            "references": list(references[name]),
            **{row: said.get(name) for row, said in rows.items()},
        }
        for name in references
    )
    counts = {
        "photos": len(references),
        "sentences": sum(map(len, references.values())),
        "beams": beams or photos.captioner.config.decoding.beams,
        "training photos": 0 if training is None else len(training.examples),
        "photos without a sentence": len(said_of_all) - len(spoken),
        "photos that cannot be opened": len(photos.broken),
    }
    each = {name: each_cider(said, references) for name, said in rows.items()}
    charts = [
        histogram(
            "CIDEr-D of each photo's caption",
            "CIDEr-D",
            {name: list(one.values()) for name, one in each.items()},
        )
    ]
    charts += confidence_charts(
        photos.captioner.config.decoding.photo,
        [(name, said, photo_right(said.text, references[name])) for name, said in spoken.items()],
        resamples,
    )
    cases = _cases(photos, rows, references, each["model"])
    return caption_result("captions", scores, counts, notes, outputs, charts=charts, cases=cases)


def _cases(
    photos: EncodedPhotos,
    rows: Mapping[str, Mapping[str, str]],
    references: Mapping[str, Sequence[str]],
    values: Mapping[str, float],
) -> Cases:
    """Photos by the CIDEr-D of the model's caption, with its words on their regions."""
    examples = {example.id: example for example in photos.examples}
    names = list(values)

    def make(row: int) -> Case:
        example = examples[names[row]]
        drawn = on_words(photos.captioner, example, rows["model"][example.id])
        lines = [*((name, said.get(example.id, "")) for name, said in rows.items())]
        lines += [("person", text) for text in references[example.id]]
        return Case(f"CIDEr-D {values[example.id]:.2f}", tuple(lines), drawn, example.size_wh)

    return pick(list(values.values()), names, make)


def nearest_sentences(photos: EncodedPhotos, training: Training) -> dict[str, str]:
    """For each photo the first sentence of the nearest training photo."""
    examples, vectors = photo_vectors(photos)
    usable = [row for row, example in enumerate(training.examples) if example.captions]
    bank = unit_rows(training.vectors[usable])
    rows = nearest(unit_rows(vectors), bank)
    return {
        example.id: training.examples[usable[row]].captions[0]
        for example, row in zip(examples, rows, strict=True)
    }


def caption_result(
    protocol: str,
    scores: Mapping[str, CaptionScores],
    counts: Mapping[str, int | float],
    notes: Sequence[str],
    outputs: tuple[Mapping[str, Any], ...],
    *,
    charts: Sequence[Chart] = (),
    cases: Cases | None = None,
) -> Result:
    """Rows of caption figures as one result."""
    figures: dict[str, dict[str, Figure]] = {
        name: caption_row(found) for name, found in scores.items()
    }
    remarks = [note for name, found in scores.items() for note in caption_notes(name, found)]
    return Result(
        protocol, figures, counts, unique([*notes, *remarks]), outputs, tuple(charts), cases or {}
    )


def score_files(
    predictions: Path,
    references: Path,
    *,
    training: Sequence[str] | None = None,
    meteor: Statistics | None = None,
    spice: Scores | None = None,
    resamples: int = 1000,
) -> Result:
    """Score captions that anybody's model wrote.

    Args:
        predictions: COCO results, a list of ``{"image_id": ..., "caption": ...}``, or an object id
            -> caption.
        references: COCO annotations (``{"annotations": [{"image_id": ..., "caption": ...}]}``),
            such a list alone, or an object id -> list of captions.
        training: training sentences, for novelty.
        meteor: as in `score_captions`; None takes ours where its tables are.
        spice: as in `score_captions`.
        resamples: bootstrap draws of photos.

    Raises:
        ValueError: a file cannot be read or has another form, or the two share no id.
    """
    said = caption_pairs(predictions)
    groups: dict[str, list[str]] = {}
    for name, text in caption_pairs(references):
        groups.setdefault(name, []).append(text)
    meteor = meteor or find_meteor()
    scores = score_captions(
        said, groups, training=training, meteor=meteor, spice=spice, resamples=resamples
    )
    notes = [] if training is not None else ["no training sentences: no novelty; give --train-data"]
    counts = {
        "photos": scores.captions,
        "predictions": len(said),
        "references": sum(map(len, groups.values())),
    }
    first = dict(reversed(said))
    each = each_cider(first, groups)
    names = list(each)

    def make(row: int) -> Case:
        name = names[row]
        lines = [
            ("prediction", first.get(name, "")),
            *(("reference", text) for text in groups[name]),
        ]
        return Case(f"{name}: CIDEr-D {each[name]:.2f}", tuple(lines))

    charts = [histogram("CIDEr-D of each caption", "CIDEr-D", {"predictions": list(each.values())})]
    cases = pick(list(each.values()), names, make)
    return caption_result(
        "captions", {"predictions": scores}, counts, notes, (), charts=charts, cases=cases
    )
