"""Captions on true boxes and on matched proposals, beside three baselines and people (docs/protocols.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice

import numpy as np

from regiontalk import boxes as box_ops
from regiontalk.evaluate.captions import caption_result
from regiontalk.evaluate.charts import Chart, histogram
from regiontalk.evaluate.correctness import confidence_charts, region_right
from regiontalk.evaluate.examples import Case, Cases, on_boxes, pick
from regiontalk.evaluate.judges import each_cider, find_meteor, score_by_photo
from regiontalk.evaluate.photos import BATCH, EncodedPhotos, box_vectors
from regiontalk.evaluate.region_captions import (
    OneBox,
    Spoken,
    left_out,
    one_box_batch,
    one_box_things,
    speak,
)
from regiontalk.evaluate.result import Result
from regiontalk.evaluate.training_bank import Training, nearest, read_bags, unit_rows
from regiontalk.images.open import Photo, open_image
from regiontalk.metrics.captions import CaptionScores
from regiontalk.records import FloatArray

HUMAN = "human agreement"
SAME = "model, judged like people"
MATCHED = "model on matched proposals"
UNMOVED = "model, the same true boxes"
LEAST_IOU = 0.5
PROPOSALS = 100


@dataclass(frozen=True)
class DescribedBox:
    """A thing with one box, what the model said of it, and its region vector (F,)."""

    thing: OneBox
    box_xyxy: tuple[float, ...]
    spoken: Spoken
    vector: FloatArray


@dataclass(frozen=True)
class MatchedBox:
    """The proposal that overlaps a true box most, in pixels of the annotation, and what the model said of it."""

    box_xyxy: tuple[float, ...]
    overlap: float
    spoken: Spoken


def evaluate_regions(
    photos: EncodedPhotos,
    training: Training | None = None,
    *,
    beams: int | None = None,
    crops: bool = True,
    resamples: int = 1000,
) -> Result:
    """Captions on the boxes of chains that have exactly one box; references are all phrases of the chain.

    Baselines: *ranking*, the training snippet that the alignment model scores highest on the region
        ([1]'s);
    *nearest region*, the best snippet of the training region of greatest cosine; *photo model on
    the crop*, the region's pixels cut out and captioned as a whole photo. *Human agreement* takes
    the first phrase of each chain that has several against the others; the model's row for the same
    chains and references stands beside it. *Matched proposals*: the model's words on its own box
    instead of the annotated one, the most overlapping of its 100 proposals where that meets the box
    at IoU 0.5; beside it the model's row for the true boxes of the same chains.

    Args:
        photos: the data set, with Entities boxes and phrases.
        training: snippets for the first two baselines; None leaves them out.
        beams: K of the beam search; None takes the model's own.
        crops: whether to run the model on crops, which takes as long as encoding that many photos.
        resamples: bootstrap draws.

    Raises:
        ValueError: no chain has exactly one box.
    """
    found = describe_boxes(photos, beams)
    if not found:
        raise ValueError(
            "regions: expected chains with exactly one box, got none; is Flickr30k Entities there?"
        )
    rows = {"model": {item.thing.id: item.spoken.text for item in found}}
    notes: list[str] = []
    if training is None or training.bank is None:
        notes.append(
            "no training snippets: no ranking and no nearest region; give the split with --train-data"
        )
    else:
        rows |= snippet_baselines(photos, found, training)
    if crops:
        rows["photo model on the crop"] = caption_crops(photos, found, beams)
    matched = match_proposals(photos, beams)
    scores = _judged(found, rows, matched, training, resamples)
    if HUMAN in scores:
        several = f"{scores[HUMAN].captions} chains that several phrases name"
        notes.append(f"{HUMAN}: {several}, the first phrase against the others")
    counts = {
        "photos": len({item.thing.photo for item in found}),
        "regions": len(found),
        f"regions with a proposal at IoU {LEAST_IOU:g}": len(matched),
        **left_out(photos.examples),
    }
    references = {item.thing.id: item.thing.phrases for item in found}
    each = {name: each_cider(said, references) for name, said in rows.items()}
    return caption_result(
        "regions",
        scores,
        counts,
        notes,
        tuple(_output(item, rows, matched.get(item.thing.id)) for item in found),
        charts=_charts(photos, found, each, resamples),
        cases=_cases(photos, found, rows, matched, each["model"]),
    )


def _output(
    item: DescribedBox, rows: Mapping[str, Mapping[str, str]], own: MatchedBox | None
) -> dict[str, object]:
    """All that was said of one region."""
    return {
        "photo": item.thing.photo,
        "entity": item.thing.entity,
        "box": list(item.box_xyxy),
        "references": list(item.thing.phrases),
        **{name: said.get(item.thing.id) for name, said in rows.items()},
        "matched proposal": own
        and {"box": list(own.box_xyxy), "overlap": own.overlap, "text": own.spoken.text},
    }


def _charts(
    photos: EncodedPhotos,
    found: Sequence[DescribedBox],
    each: Mapping[str, Mapping[str, float]],
    resamples: int,
) -> list[Chart]:
    """CIDEr-D of every row, and how the model's confidence holds on true boxes."""
    values = {name: list(one.values()) for name, one in each.items()}
    judged = [
        (item.thing.photo, item.spoken, region_right(item.spoken.text, item.thing.phrases))
        for item in found
    ]
    return [
        histogram("CIDEr-D of each region's caption", "CIDEr-D", values),
        *confidence_charts(photos.captioner.config.decoding.region, judged, resamples),
    ]


def _cases(
    photos: EncodedPhotos,
    found: Sequence[DescribedBox],
    rows: Mapping[str, Mapping[str, str]],
    matched: Mapping[str, MatchedBox],
    values: Mapping[str, float],
) -> Cases:
    """Regions by the CIDEr-D of the model's caption; a matched proposal is drawn with its own words."""
    examples = {example.id: example for example in photos.examples}
    judged = [item for item in found if item.thing.id in values]

    def make(row: int) -> Case:
        item, example = judged[row], examples[judged[row].thing.photo]
        boxes, lines = (
            [(item.box_xyxy, item.spoken.text)],
            [(name, said[item.thing.id]) for name, said in rows.items()],
        )
        if (own := matched.get(item.thing.id)) is not None:
            boxes.append((own.box_xyxy, own.spoken.text))
            lines.append((f"on the proposal at IoU {own.overlap:.2f}", own.spoken.text))
        lines += [("person", phrase) for phrase in item.thing.phrases]
        return Case(
            f"CIDEr-D {values[item.thing.id]:.2f}",
            tuple(lines),
            on_boxes(example, boxes),
            example.size_wh,
        )

    return pick(
        [values[item.thing.id] for item in judged], [item.thing.photo for item in judged], make
    )


def _judged(
    found: Sequence[DescribedBox],
    rows: Mapping[str, Mapping[str, str]],
    matched: Mapping[str, MatchedBox],
    training: Training | None,
    resamples: int,
) -> dict[str, CaptionScores]:
    """The scores of every row, of matched proposals, and of people and the model where a chain has several phrases."""
    judge = partial(
        score_by_photo,
        photo_of={item.thing.id: item.thing.photo for item in found},
        training=None if training is None or training.bank is None else training.bank.texts,
        meteor=find_meteor(),
        resamples=resamples,
    )
    references = {item.thing.id: item.thing.phrases for item in found}
    scores = {name: judge(said, references) for name, said in rows.items()}
    if matched:
        theirs = {name: references[name] for name in matched}
        scores[MATCHED] = judge({name: own.spoken.text for name, own in matched.items()}, theirs)
        scores[UNMOVED] = judge({name: rows["model"][name] for name in matched}, theirs)
    several = {name: phrases for name, phrases in references.items() if len(phrases) > 1}
    if several:
        others = {name: phrases[1:] for name, phrases in several.items()}
        scores[SAME] = judge({name: rows["model"][name] for name in several}, others)
        scores[HUMAN] = judge({name: phrases[0] for name, phrases in several.items()}, others)
    return scores


def describe_boxes(photos: EncodedPhotos, beams: int | None = None) -> list[DescribedBox]:
    """The model's caption and vector of every box that belongs to a one-box chain."""
    captioner = photos.captioner
    found: list[DescribedBox] = []
    for batch in photos:
        things, boxes = one_box_batch(batch)
        spoken = speak(captioner, batch, boxes, beams)
        vectors = box_vectors(captioner, batch, boxes)
        for example, own, said, rows in zip(batch.examples, things, spoken, vectors, strict=True):
            for thing, words, vector in zip(own, said, rows, strict=True):
                box = tuple(float(value) for value in example.boxes_xyxy[thing.box])
                found.append(DescribedBox(thing, box, words, vector))
    return found


def match_proposals(photos: EncodedPhotos, beams: int | None = None) -> dict[str, MatchedBox]:
    """By the id of a one-box thing: the proposal that overlaps it most, described, where IoU reaches `LEAST_IOU`."""
    captioner = photos.captioner
    found: dict[str, MatchedBox] = {}
    for batch in photos:
        proposed, quality = captioner.predictor.propose(batch.features, PROPOSALS)
        chosen: list[list[tuple[str, int, float]]] = []  # thing, row of its proposal, overlap
        for row, example in enumerate(batch.examples):
            things = one_box_things(example)
            real = np.flatnonzero(batch.visible(row, proposed[row]) & (quality[row] > 0))[1:]
            chosen.append([])
            if things and len(real):
                truths = example.boxes_xyxy[[thing.box for thing in things]]
                overlap = box_ops.iou(truths, batch.to_annotation(row, proposed[row])[real])
                best = zip(things, overlap.argmax(axis=1), overlap.max(axis=1), strict=True)
                chosen[row] = [
                    (thing.id, int(real[at]), float(most))
                    for thing, at, most in best
                    if most >= LEAST_IOU
                ]
        boxes = [proposed[row][[at for _, at, _ in own]] for row, own in enumerate(chosen)]
        for row, (own, said) in enumerate(
            zip(chosen, speak(captioner, batch, boxes, beams), strict=True)
        ):
            places = batch.to_annotation(row, proposed[row]).tolist()
            found |= {
                name: MatchedBox(tuple(places[at]), overlap, words)
                for (name, at, overlap), words in zip(own, said, strict=True)
            }
    return found


def snippet_baselines(
    photos: EncodedPhotos, found: Sequence[DescribedBox], training: Training
) -> dict[str, dict[str, str]]:
    """What the ranking and the nearest training region say of each box."""
    captioner, bank = photos.captioner, training.bank
    if bank is None:
        raise ValueError(
            "snippets: expected a training split read with them, got none; pass infer=True"
        )
    features = np.stack([item.vector for item in found])
    regions = captioner.predictor.embed_regions(features[None])[0]
    best = nearest(regions, read_bags(captioner, bank.texts))
    close = nearest(unit_rows(features), bank.vectors)
    names = [item.thing.id for item in found]
    return {
        "ranking": dict(zip(names, (bank.texts[row] for row in best), strict=True)),
        "nearest region": dict(zip(names, (bank.best[row] for row in close), strict=True)),
    }


def caption_crops(
    photos: EncodedPhotos, found: Sequence[DescribedBox], beams: int | None
) -> dict[str, str]:
    """The whole-photo caption of each box's pixels, cut out of the picture file."""
    captioner = photos.captioner
    crops = _crops(photos, found)
    said: dict[str, str] = {}
    for start in range(0, len(found), BATCH):
        pixels = list(islice(crops, BATCH))
        whole = captioner.predictor.whole_photos(len(pixels))
        captions = captioner.write(captioner.encode(pixels), whole, beams)
        for item, caption in zip(found[start : start + BATCH], captions, strict=True):
            said[item.thing.id] = captioner.vocabulary.decode(caption.words)
    return said


def _crops(photos: EncodedPhotos, found: Sequence[DescribedBox]) -> Iterator[Photo]:
    """The pixels of each box, at least one each way; the boxes of a photo stand together, so it is opened once."""
    examples = {example.id: example for example in photos.examples}
    places = {example.id: place for place, example in enumerate(photos.examples)}
    for name, items in groupby(found, key=lambda item: item.thing.photo):
        example = examples[name]
        picture = open_image(example.photo, max_pixels=photos.captioner.max_pixels)
        photos.done(places[name] + 1)
        for item in items:
            box = np.array([item.box_xyxy], dtype=np.float32)
            x1, y1, x2, y2 = box_ops.rescale(box, example.size_wh or picture.size, picture.size)[
                0
            ].tolist()
            left, top = min(int(x1), picture.width - 1), min(int(y1), picture.height - 1)
            crop = picture.crop((left, top, max(left + 1, round(x2)), max(top + 1, round(y2))))
            yield Photo(crop, crop.size, item.thing.id)
