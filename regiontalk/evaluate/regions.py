"""Captions on true boxes and on matched proposals.

Beside three baselines and people (docs/protocols.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from regiontalk import boxes as box_ops
from regiontalk.captioner import ScoredCaption
from regiontalk.evaluate.captions import caption_result
from regiontalk.evaluate.charts import Chart, histogram
from regiontalk.evaluate.correctness import confidence_charts, is_region_correct
from regiontalk.evaluate.examples import Case, Cases, on_boxes, pick
from regiontalk.evaluate.judges import each_cider, find_meteor, score_by_photo
from regiontalk.evaluate.photos import BATCH, EncodedPhotos, PhotoBatch, box_features
from regiontalk.evaluate.region_captions import (
    OneBox,
    caption_boxes,
    left_out,
    one_box_batch,
    one_box_things,
)
from regiontalk.evaluate.result import Result
from regiontalk.evaluate.training_bank import Training, embed_texts, nearest, unit_rows
from regiontalk.images.open import Photo, open_image
from regiontalk.metrics.captions import CaptionScores
from regiontalk.records import Example, FloatArray

if TYPE_CHECKING:
    from PIL import Image

Value = TypeVar("Value")
HUMAN = "human agreement"
SAME = "model, judged like people"
MATCHED = "model on matched proposals"
UNMOVED = "model, the same true boxes"
MIN_IOU = 0.5
PROPOSALS = 100


@dataclass(frozen=True)
class DescribedBox:
    """A thing with one box, the model's caption of it, and its region features (F,)."""

    thing: OneBox
    box_xyxy: tuple[float, ...]
    caption: ScoredCaption
    features: FloatArray


@dataclass(frozen=True)
class MatchedBox:
    """The proposal that overlaps a true box most, and the model's caption of it.

    The box is in pixels of the annotation.
    """

    box_xyxy: tuple[float, ...]
    iou: float
    caption: ScoredCaption


CaptionRows = Mapping[str, Mapping[str, str]]
"""Row of the table (the model, a baseline) -> id of the thing -> caption."""


def evaluate_regions(
    photos: EncodedPhotos,
    training: Training | None = None,
    *,
    beams: int | None = None,
    crops: bool = True,
    resamples: int = 1000,
) -> Result:
    """Captions on the boxes of chains that have exactly one box.

    References are all phrases of the chain. Baselines: *ranking*, the training snippet
    that the alignment model scores highest on the region ([1]'s); *nearest region*, the
    best snippet of the training region of greatest cosine; *photo model on the crop*,
    the region's pixels cut out and captioned as a whole photo. *Human agreement* takes
    the first phrase of each chain that has several against the others; the model's row
    for the same chains and references stands beside it. *Matched proposals*: the
    model's words on its own box instead of the annotated one, the most overlapping of
    its 100 proposals where that meets the box at IoU 0.5; beside it the model's row for
    the true boxes of the same chains.

    Args:
        photos: the data set, with Entities boxes and phrases.
        training: snippets for the first two baselines; None leaves them out.
        beams: K of the beam search; None takes the model's own.
        crops: whether to run the model on crops, which takes as long as encoding that many photos.
        resamples: bootstrap draws.

    Raises:
        ValueError: no chain has exactly one box.
    """
    regions = describe_boxes(photos, beams)
    if not regions:
        raise ValueError(
            "regions: expected chains with exactly one box, got none; is Flickr30k Entities there?"
        )
    rows, notes = _caption_rows(photos, regions, training, beams, crops=crops)
    matched = match_proposals(photos, beams)
    scores = _score_rows(regions, rows, matched, training, resamples)
    if HUMAN in scores:
        several = f"{scores[HUMAN].captions} chains that several phrases name"
        notes.append(f"{HUMAN}: {several}, the first phrase against the others")
    references = {region.thing.id: region.thing.phrases for region in regions}
    cider_by_row = {
        name: each_cider(captions, references) for name, captions in rows.items()
    }
    return caption_result(
        "regions",
        scores,
        _counts(photos, regions, matched),
        notes,
        tuple(
            _output(region, rows, matched.get(region.thing.id)) for region in regions
        ),
        charts=_charts(photos, regions, cider_by_row, resamples),
        cases=_cases(photos, regions, rows, matched, cider_by_row["model"]),
    )


def _caption_rows(
    photos: EncodedPhotos,
    regions: Sequence[DescribedBox],
    training: Training | None,
    beams: int | None,
    *,
    crops: bool,
) -> tuple[CaptionRows, list[str]]:
    """The captions of the model and of the baselines, and remarks."""
    by_model = {region.thing.id: region.caption.text for region in regions}
    rows: dict[str, Mapping[str, str]] = {"model": by_model}
    notes: list[str] = []
    if training is None or training.bank is None:
        notes.append(
            "no training snippets: no ranking and no nearest region; give the split "
            "with --train-data"
        )
    else:
        rows |= snippet_baselines(photos, regions, training)
    if crops:
        rows["photo model on the crop"] = caption_crops(photos, regions, beams)
    return rows, notes


def _counts(
    photos: EncodedPhotos,
    regions: Sequence[DescribedBox],
    matched: Mapping[str, MatchedBox],
) -> dict[str, int]:
    """What was counted and what was left out."""
    return {
        "photos": len({region.thing.photo for region in regions}),
        "regions": len(regions),
        f"regions with a proposal at IoU {MIN_IOU:g}": len(matched),
        **left_out(photos.examples),
    }


def _output(
    region: DescribedBox, rows: CaptionRows, matched: MatchedBox | None
) -> dict[str, object]:
    """The captions of one region."""
    proposal = None
    if matched is not None:
        proposal = {
            "box": list(matched.box_xyxy),
            "overlap": matched.iou,
            "text": matched.caption.text,
        }
    return {
        "photo": region.thing.photo,
        "entity": region.thing.entity,
        "box": list(region.box_xyxy),
        "references": list(region.thing.phrases),
        **{name: captions.get(region.thing.id) for name, captions in rows.items()},
        "matched proposal": proposal,
    }


def _charts(
    photos: EncodedPhotos,
    regions: Sequence[DescribedBox],
    cider_by_row: Mapping[str, Mapping[str, float]],
    resamples: int,
) -> list[Chart]:
    """CIDEr-D of every row, and how the model's confidence holds on true boxes."""
    values = {name: list(ciders.values()) for name, ciders in cider_by_row.items()}
    judged = []
    for region in regions:
        is_correct = is_region_correct(region.caption.text, region.thing.phrases)
        judged.append((region.thing.photo, region.caption, is_correct))
    return [
        histogram("CIDEr-D of each region's caption", "CIDEr-D", values),
        *confidence_charts(photos.captioner.config.decoding.region, judged, resamples),
    ]


def _cases(
    photos: EncodedPhotos,
    regions: Sequence[DescribedBox],
    rows: CaptionRows,
    matched: Mapping[str, MatchedBox],
    ciders: Mapping[str, float],
) -> Cases:
    """Regions by the CIDEr-D of the model's caption.

    A matched proposal is drawn with its own words.
    """
    examples = {example.id: example for example in photos.examples}
    judged = [region for region in regions if region.thing.id in ciders]

    def make(row: int) -> Case:
        thing = judged[row].thing
        captions = {name: texts[thing.id] for name, texts in rows.items()}
        value = f"CIDEr-D {ciders[thing.id]:.2f}"
        example = examples[thing.photo]
        return _case(value, judged[row], captions, matched.get(thing.id), example)

    photos_judged = [region.thing.photo for region in judged]
    return pick([ciders[region.thing.id] for region in judged], photos_judged, make)


def _case(
    value: str,
    region: DescribedBox,
    captions: Mapping[str, str],
    proposal: MatchedBox | None,
    example: Example,
) -> Case:
    """One region with its caption in every row."""
    boxes = [(region.box_xyxy, region.caption.text)]
    lines = list(captions.items())
    if proposal is not None:
        boxes.append((proposal.box_xyxy, proposal.caption.text))
        lines.append(
            (f"on the proposal at IoU {proposal.iou:.2f}", proposal.caption.text)
        )
    lines += [("person", phrase) for phrase in region.thing.phrases]
    return Case(value, tuple(lines), on_boxes(example, boxes), example.size_wh)


def _score_rows(
    regions: Sequence[DescribedBox],
    rows: CaptionRows,
    matched: Mapping[str, MatchedBox],
    training: Training | None,
    resamples: int,
) -> dict[str, CaptionScores]:
    """The scores of every row and of matched proposals.

    And of people and the model where a chain has several phrases.
    """
    score = partial(
        score_by_photo,
        photo_of={region.thing.id: region.thing.photo for region in regions},
        training=None
        if training is None or training.bank is None
        else training.bank.texts,
        meteor=find_meteor(),
        resamples=resamples,
    )
    references = {region.thing.id: region.thing.phrases for region in regions}
    scores = {name: score(captions, references) for name, captions in rows.items()}
    if matched:
        on_proposals = {
            name: proposal.caption.text for name, proposal in matched.items()
        }
        matched_references = _only(matched, references)
        scores[MATCHED] = score(on_proposals, matched_references)
        scores[UNMOVED] = score(_only(matched, rows["model"]), matched_references)
    first_phrases, later_phrases = _split_phrases(references)
    if first_phrases:
        scores[SAME] = score(_only(first_phrases, rows["model"]), later_phrases)
        scores[HUMAN] = score(first_phrases, later_phrases)
    return scores


def _split_phrases(
    references: Mapping[str, tuple[str, ...]],
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """The first and the later phrases of each thing that has several."""
    several = [name for name, phrases in references.items() if len(phrases) > 1]
    first_phrases = {name: references[name][0] for name in several}
    later_phrases = {name: references[name][1:] for name in several}
    return first_phrases, later_phrases


def _only(names: Iterable[str], values: Mapping[str, Value]) -> dict[str, Value]:
    """The values of some names."""
    return {name: values[name] for name in names}


def describe_boxes(
    photos: EncodedPhotos, beams: int | None = None
) -> list[DescribedBox]:
    """The model's caption and features of every box that belongs to a one-box chain."""
    captioner = photos.captioner
    regions: list[DescribedBox] = []
    for batch in photos:
        things_by_photo, boxes = one_box_batch(batch)
        captions_by_photo = caption_boxes(captioner, batch, boxes, beams)
        features_by_photo = box_features(captioner, batch, boxes)
        for row, things in enumerate(things_by_photo):
            boxes_xyxy = batch.examples[row].boxes_xyxy
            described = zip(
                things, captions_by_photo[row], features_by_photo[row], strict=True
            )
            for thing, caption, features in described:
                box_xyxy = tuple(map(float, boxes_xyxy[thing.box]))
                regions.append(DescribedBox(thing, box_xyxy, caption, features))
    return regions


def match_proposals(
    photos: EncodedPhotos, beams: int | None = None
) -> dict[str, MatchedBox]:
    """The proposal that overlaps a one-box thing most, described, by the thing's id.

    Where IoU reaches `MIN_IOU`.
    """
    captioner = photos.captioner
    matched: dict[str, MatchedBox] = {}
    for batch in photos:
        proposals, objectness = captioner.predictor.propose(batch.features, PROPOSALS)
        matches_by_photo = [
            _best_proposals(batch, row, proposals[row], objectness[row])
            for row in range(len(batch))
        ]
        boxes = []
        for row, matches in enumerate(matches_by_photo):
            boxes.append(proposals[row][[match.proposal for match in matches]])
        captions_by_photo = caption_boxes(captioner, batch, boxes, beams)
        for row, matches in enumerate(matches_by_photo):
            proposals_xyxy = batch.to_annotation(row, proposals[row]).tolist()
            for match, caption in zip(matches, captions_by_photo[row], strict=True):
                box_xyxy = tuple(proposals_xyxy[match.proposal])
                matched[match.thing] = MatchedBox(box_xyxy, match.iou, caption)
    return matched


class _Match(NamedTuple):
    """The id of a one-box thing, the row of the proposal that overlaps it most, and their IoU."""

    thing: str
    proposal: int
    iou: float


def _best_proposals(
    batch: PhotoBatch, row: int, proposals: FloatArray, objectness: FloatArray
) -> list[_Match]:
    """For each one-box thing of a photo the proposal that overlaps it most, if enough.

    Proposals are (N, 4) with scores (N,).
    """
    example = batch.examples[row]
    things = one_box_things(example)
    # the first proposal is the whole photo
    usable = np.flatnonzero(batch.visible(row, proposals) & (objectness > 0))[1:]
    if not things or not len(usable):
        return []
    truths_xyxy = example.boxes_xyxy[[thing.box for thing in things]]
    usable_xyxy = batch.to_annotation(row, proposals)[usable]
    ious = box_ops.iou(truths_xyxy, usable_xyxy)
    best, best_ious = ious.argmax(axis=1), ious.max(axis=1)
    return [
        _Match(thing.id, int(usable[position]), float(iou))
        for thing, position, iou in zip(things, best, best_ious, strict=True)
        if iou >= MIN_IOU
    ]


def snippet_baselines(
    photos: EncodedPhotos, regions: Sequence[DescribedBox], training: Training
) -> dict[str, dict[str, str]]:
    """The captions of the ranking and of the nearest training region on each box."""
    captioner = photos.captioner
    bank = training.bank
    if bank is None:
        raise ValueError(
            "snippets: expected a training split read with them, got none; pass infer=True"
        )
    region_features = np.stack([region.features for region in regions])
    embeddings = captioner.predictor.embed_regions(region_features[None])[0]
    best_texts = nearest(embeddings, embed_texts(captioner, bank.texts))
    nearest_regions = nearest(unit_rows(region_features), bank.features)
    names = [region.thing.id for region in regions]
    ranked = [bank.texts[row] for row in best_texts]
    copied = [bank.best[row] for row in nearest_regions]
    return {
        "ranking": dict(zip(names, ranked, strict=True)),
        "nearest region": dict(zip(names, copied, strict=True)),
    }


def caption_crops(
    photos: EncodedPhotos, regions: Sequence[DescribedBox], beams: int | None
) -> dict[str, str]:
    """The whole-photo caption of each box's pixels, cut out of the photo's file."""
    captioner = photos.captioner
    crops = _crops(photos, regions)
    texts: dict[str, str] = {}
    for start in range(0, len(regions), BATCH):
        batch = list(islice(crops, BATCH))
        photo_boxes = captioner.predictor.whole_photos(len(batch))
        captions = captioner.write(captioner.encode(batch), photo_boxes, beams)
        for region, caption in zip(
            regions[start : start + BATCH], captions, strict=True
        ):
            texts[region.thing.id] = captioner.vocabulary.decode(caption.words)
    return texts


def _crops(photos: EncodedPhotos, regions: Sequence[DescribedBox]) -> Iterator[Photo]:
    """The pixels of each box, at least one each way.

    The boxes of a photo stand together, so it is opened once.
    """
    order = {example.id: position for position, example in enumerate(photos.examples)}
    for name, in_photo in groupby(regions, key=lambda region: region.thing.photo):
        example = photos.examples[order[name]]
        image = open_image(example.photo, max_pixels=photos.captioner.max_pixels)
        photos.done(order[name] + 1)
        for region in in_photo:
            crop = _crop(image, region.box_xyxy, example.size_wh or image.size)
            yield Photo(crop, crop.size, region.thing.id)


def _crop(
    image: Image.Image, box_xyxy: tuple[float, ...], annotated_wh: tuple[int, int]
) -> Image.Image:
    """A box in pixels of the annotation cut out of an image."""
    box = np.array([box_xyxy], dtype=np.float32)
    x1, y1, x2, y2 = box_ops.rescale(box, annotated_wh, image.size)[0].tolist()
    left = min(int(x1), image.width - 1)
    top = min(int(y1), image.height - 1)
    right = max(left + 1, round(x2))
    bottom = max(top + 1, round(y2))
    return image.crop((left, top, right, bottom))
