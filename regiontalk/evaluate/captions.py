"""Whole-photo captions beside the nearest training photo's sentence.

And captions that come from a file.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from regiontalk.captioner import ScoredCaption
from regiontalk.evaluate.charts import Chart, histogram
from regiontalk.evaluate.correctness import confidence_charts, is_photo_correct
from regiontalk.evaluate.examples import Case, Cases, on_words, pick
from regiontalk.evaluate.judges import each_cider, find_meteor
from regiontalk.evaluate.photos import EncodedPhotos
from regiontalk.evaluate.prediction_files import caption_pairs
from regiontalk.evaluate.region_captions import caption_photos, photo_features
from regiontalk.evaluate.result import (
    Figure,
    Result,
    caption_notes,
    caption_row,
    unique,
)
from regiontalk.evaluate.training_bank import Training, nearest, unit_rows
from regiontalk.metrics.captions import (
    CaptionScores,
    Scores,
    Statistics,
    score_captions,
)
from regiontalk.records import Example


def evaluate_captions(
    photos: EncodedPhotos,
    training: Training | None = None,
    *,
    beams: int | None = None,
    resamples: int = 1000,
) -> Result:
    """The field's figures of the model's whole-photo captions (docs/protocols.md).

    The baseline is the first sentence of the training photo whose features have the greatest
    cosine.

    Args:
        photos: the data set.
        training: for the baseline and for novelty; None leaves both out.
        beams: K of the beam search; None takes the model's own.
        resamples: bootstrap draws of photos.

    Raises:
        ValueError: no photo has a sentence.
    """
    captions = caption_photos(photos, beams)
    references = _references(photos.examples, captions)
    rows = {"model": {name: captions[name].text for name in references}}
    notes: list[str] = []
    if training is None:
        notes.append(
            "no training split: no nearest photo and no novelty; give one with --train-data"
        )
    else:
        rows["nearest training photo"] = nearest_sentences(photos, training, references)
    scores = _score_rows(rows, references, training, resamples)
    cider_by_row = {name: each_cider(texts, references) for name, texts in rows.items()}
    return caption_result(
        "captions",
        scores,
        {
            "photos": len(references),
            "sentences": sum(map(len, references.values())),
            "beams": beams or photos.captioner.config.decoding.beams,
            "training photos": 0 if training is None else len(training.examples),
            "photos without a sentence": len(captions) - len(references),
            "photos that cannot be opened": len(photos.broken),
        },
        notes,
        _outputs(rows, references),
        charts=[
            _cider_chart(cider_by_row),
            *_confidence_charts(photos, captions, references, resamples),
        ],
        cases=_cases(photos, rows, references, cider_by_row["model"]),
    )


def _score_rows(
    rows: Mapping[str, Mapping[str, str]],
    references: Mapping[str, Sequence[str]],
    training: Training | None,
    resamples: int,
) -> dict[str, CaptionScores]:
    """The figures of every row."""
    sentences = None
    if training is not None:
        sentences = list(training.sentences())
    meteor = find_meteor()
    score = partial(
        score_captions, training=sentences, meteor=meteor, resamples=resamples
    )
    return {name: score(texts, references) for name, texts in rows.items()}


def _references(
    examples: Sequence[Example], captions: Mapping[str, ScoredCaption]
) -> dict[str, tuple[str, ...]]:
    """The sentences of each photo that has a caption and a sentence."""
    references = {}
    for example in examples:
        if example.id in captions and any(map(str.strip, example.captions)):
            references[example.id] = example.captions
    if not references:
        raise ValueError(
            "captions: expected photos with sentences, got none; check the token file"
        )
    return references


def _cider_chart(cider_by_row: Mapping[str, Mapping[str, float]]) -> Chart:
    """CIDEr-D of every row."""
    values = {name: list(ciders.values()) for name, ciders in cider_by_row.items()}
    return histogram("CIDEr-D of each photo's caption", "CIDEr-D", values)


def _confidence_charts(
    photos: EncodedPhotos,
    captions: Mapping[str, ScoredCaption],
    references: Mapping[str, Sequence[str]],
    resamples: int,
) -> list[Chart]:
    """How the model's confidence holds on whole photos."""
    judged = []
    for name, sentences in references.items():
        caption = captions[name]
        judged.append((name, caption, is_photo_correct(caption.text, sentences)))
    return confidence_charts(photos.captioner.config.decoding.photo, judged, resamples)


def _outputs(
    rows: Mapping[str, Mapping[str, str]], references: Mapping[str, Sequence[str]]
) -> tuple[dict[str, Any], ...]:
    """Each photo's sentences and its caption in every row."""
    outputs = []
    for name, sentences in references.items():
        captions = {row: texts.get(name) for row, texts in rows.items()}
        outputs.append({"photo": name, "references": list(sentences), **captions})
    return tuple(outputs)


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
        lines = [(name, texts.get(example.id, "")) for name, texts in rows.items()]
        lines += [("person", text) for text in references[example.id]]
        return Case(
            f"CIDEr-D {values[example.id]:.2f}", tuple(lines), drawn, example.size_wh
        )

    return pick(list(values.values()), names, make)


def nearest_sentences(
    photos: EncodedPhotos, training: Training, names: Container[str]
) -> dict[str, str]:
    """For each of the named photos the first sentence of the nearest training photo."""
    examples, features = photo_features(photos)
    usable = [row for row, example in enumerate(training.examples) if example.captions]
    bank = unit_rows(training.features[usable])
    nearest_rows = nearest(unit_rows(features), bank)
    sentences = {}
    for example, row in zip(examples, nearest_rows, strict=True):
        if example.id in names:
            sentences[example.id] = training.examples[usable[row]].captions[0]
    return sentences


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
    figures: dict[str, dict[str, Figure]] = {}
    lines = list(notes)
    for name, row_scores in scores.items():
        figures[name] = caption_row(row_scores)
        lines += caption_notes(name, row_scores)
    return Result(
        protocol, figures, counts, unique(lines), outputs, tuple(charts), cases or {}
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
    pairs = caption_pairs(predictions)
    sentences: dict[str, list[str]] = {}
    for name, text in caption_pairs(references):
        sentences.setdefault(name, []).append(text)
    scores = score_captions(
        pairs,
        sentences,
        training=training,
        meteor=meteor or find_meteor(),
        spice=spice,
        resamples=resamples,
    )
    notes = (
        []
        if training is not None
        else ["no training sentences: no novelty; give --train-data"]
    )
    counts = {
        "photos": scores.captions,
        "predictions": len(pairs),
        "references": sum(map(len, sentences.values())),
    }
    captions = dict(reversed(pairs))  # of several for one id the first
    ciders = each_cider(captions, sentences)
    values = list(ciders.values())
    return caption_result(
        "captions",
        {"predictions": scores},
        counts,
        notes,
        (),
        charts=[
            histogram("CIDEr-D of each caption", "CIDEr-D", {"predictions": values})
        ],
        cases=_file_cases(captions, sentences, ciders),
    )


def _file_cases(
    captions: Mapping[str, str],
    sentences: Mapping[str, Sequence[str]],
    ciders: Mapping[str, float],
) -> Cases:
    """Captions of a file by their CIDEr-D, without photos."""
    names = list(ciders)

    def make(row: int) -> Case:
        name = names[row]
        lines = [("prediction", captions.get(name, ""))]
        lines += [("reference", text) for text in sentences[name]]
        return Case(f"{name}: CIDEr-D {ciders[name]:.2f}", tuple(lines))

    return pick(list(ciders.values()), names, make)
