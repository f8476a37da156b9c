"""Whether a true box's own phrase outranks others, and whether each word finds its box (PAPER.md 1 and 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regiontalk import boxes as box_ops
from regiontalk.align.score import affinity
from regiontalk.align.snippets import viterbi
from regiontalk.captioner import ALIGN_REGIONS, RegionCaptioner
from regiontalk.evaluate.photos import EncodedPhotos, PhotoBatch, box_vectors
from regiontalk.evaluate.result import Figure, Result
from regiontalk.evaluate.speaking import one_box_batch
from regiontalk.evaluate.training import read_bags
from regiontalk.evaluate.words import SpokenWords, word_notes
from regiontalk.metrics.intervals import Interval
from regiontalk.metrics.shares import bootstrap_shares
from regiontalk.model import RegionModel
from regiontalk.records import Example, FloatArray, Phrase
from regiontalk.text import tokenize

COLUMNS = ("own phrase first, photo", "pairs in order, photo", "own phrase first, batch", "pairs in order, batch")
WORD_COLUMNS = ("word on box IoU .5", "word in box")


@dataclass(frozen=True)
class Outcomes:
    """Rows of outcomes and the photo of each.

    Attributes:
        phrases: (P, 8) one a true box: `COLUMNS`, then what chance gives in each.
        phrase_photos: (P,) photo of each.
        words: (W, 6) one a word of a phrase: `WORD_COLUMNS` of its region, of the whole photo, of the best region.
        word_photos: (W,) photo of each.
        spoken: the word vectors met.
    """

    phrases: NDArray[np.float64]
    phrase_photos: tuple[str, ...]
    words: NDArray[np.float64]
    word_photos: tuple[str, ...]
    spoken: SpokenWords


def evaluate_alignment(
    photos: EncodedPhotos, *, beta: float = 0.0, untrained: bool = True, resamples: int = 1000
) -> Result:
    """Whether regions and words that belong together score highest.

    *Own phrase first*: on the true box of a one-box chain, the best phrase of the chain scores above every phrase of
    the photo's other things (or of the batch's other photos, phrases of the same words left out). *Pairs in order*: of
    all (own, other) pairs, the share with the own phrase above. *Word on box*: the region that a word of a phrase
    chooses (whole photo and 19 proposals, as `RegionCaptioner.align`) meets a true box of the phrase at IoU 0.5;
    *word in box*: its centre lies in one.

    Args:
        photos: the data set, with Entities boxes and phrases.
        beta: smoothing of word paths (eq. 12).
        untrained: whether a model of the same sizes with first weights is measured beside it.
        resamples: bootstrap draws of photos.

    Raises:
        ValueError: no chain has exactly one box, or no phrase stands in a sentence.
    """
    found = measure(photos, beta)
    figures = _rows(found, resamples)
    if untrained:
        blank = EncodedPhotos(untrained_captioner(photos.captioner), photos.examples)
        figures["untrained model"] = _rows(measure(blank, beta), resamples)["model"]
    counts = {
        "photos": len(set(found.phrase_photos) | set(found.word_photos)),
        "boxes": len(found.phrases),
        "words": len(found.words),
        "beta": beta,
    }
    return Result("alignment", figures, counts, tuple(word_notes(found.spoken)))


def measure(photos: EncodedPhotos, beta: float) -> Outcomes:
    """Walk over the photos once.

    Raises:
        ValueError: there is nothing to measure.
    """
    phrases: list[tuple[str, list[float]]] = []
    words: list[tuple[str, list[float]]] = []
    spoken = SpokenWords.empty()
    for batch in photos:
        phrases.extend(phrase_outcomes(photos.captioner, batch))
        rows, heard = word_outcomes(photos.captioner, batch, beta)
        words.extend(rows)
        spoken = spoken.joined(heard)
    if not phrases or not words:
        raise ValueError(
            f"alignment: expected boxes with phrases inside sentences, got {len(phrases)} boxes, {len(words)} words; "
            "is Flickr30k Entities there?"
        )
    return Outcomes(
        np.array([row for _, row in phrases]),
        tuple(photo for photo, _ in phrases),
        np.array([row for _, row in words]),
        tuple(photo for photo, _ in words),
        spoken,
    )


def _rows(found: Outcomes, resamples: int) -> dict[str, dict[str, Figure]]:
    """The model, chance, the whole photo and the best region."""
    shares = bootstrap_shares(found.phrases, found.phrase_photos, resamples=resamples)
    places = bootstrap_shares(found.words, found.word_photos, resamples=resamples)

    def named(names: Sequence[str], values: Sequence[Interval]) -> dict[str, Figure]:
        return dict(zip(names, values, strict=True))

    return {
        "model": {**named(COLUMNS, shares[:4]), **named(WORD_COLUMNS, places[:2])},
        "chance": named(COLUMNS, shares[4:]),
        "every word on the whole photo": named(WORD_COLUMNS, places[2:4]),
        "every word on its best region": named(WORD_COLUMNS, places[4:]),
    }


def phrase_outcomes(captioner: RegionCaptioner, batch: PhotoBatch) -> list[tuple[str, list[float]]]:
    """For each box of a one-box chain: the photo, and the eight numbers of `Outcomes.phrases`.

    A box whose photo (or batch) has no other phrase counts as right and as chance 1 there: nothing could go wrong.
    """
    things, boxes = one_box_batch(batch)
    asked = [(row, phrase) for row, example in enumerate(batch.examples) for phrase in _distinct(example)]
    if not asked or not any(things):
        return []
    vectors = torch.cat(box_vectors(captioner, batch, boxes))
    with torch.inference_mode():
        regions = captioner.model.aligner.regions(vectors[None])[0].float().cpu()
    scores = (regions @ read_bags(captioner, (phrase.text for _, phrase in asked)).T).numpy()  # (boxes, phrases)
    photo = np.array([row for row, _ in asked])
    words = np.array([" ".join(tokenize(phrase.text)) for _, phrase in asked])
    found = []
    owners = [(row, thing) for row, own in enumerate(things) for thing in own]
    for values, (row, thing) in zip(scores, owners, strict=True):
        inside = photo == row
        own = inside & np.array([thing.box in phrase.boxes for _, phrase in asked])
        others = ~inside & ~np.isin(words, words[own])
        near, far = _outranks(values, own, inside & ~own), _outranks(values, own, others)
        found.append((thing.photo, [*near[:2], *far[:2], *near[2:], *far[2:]]))
    return found


def _distinct(example: Example) -> list[Phrase]:
    """The phrases of a photo that have a box, the same words for the same boxes once."""
    return list({(phrase.text.lower(), phrase.boxes): phrase for phrase in example.phrases if phrase.boxes}.values())


def _outranks(
    values: NDArray[np.float32], own: NDArray[np.bool_], others: NDArray[np.bool_]
) -> tuple[float, float, float, float]:
    """Whether the best own is strictly first, share of pairs in order (ties a half), and what chance gives in both."""
    mine, theirs = values[own], values[others]
    if not len(theirs):
        return 1.0, 1.0, 1.0, 1.0
    above = (mine[:, None] > theirs[None]).mean() + (mine[:, None] == theirs[None]).mean() / 2
    return float(mine.max() > theirs.max()), float(above), len(mine) / (len(mine) + len(theirs)), 0.5


@torch.inference_mode()
def word_outcomes(
    captioner: RegionCaptioner, batch: PhotoBatch, beta: float
) -> tuple[list[tuple[str, list[float]]], SpokenWords]:
    """For each word of a phrase with a box: the photo, and the numbers of `Outcomes.words`; and all word vectors."""
    model = captioner.model
    boxes, _ = model.extractor.propose(batch.maps, ALIGN_REGIONS)
    vectors = model.aligner.regions(model.extractor.vectors(batch.maps, boxes))
    found: list[tuple[str, list[float]]] = []
    spoken = SpokenWords.empty()
    for row, example in enumerate(batch.examples):
        tokens = [tokenize(caption) for caption in example.captions]
        if not any(tokens):
            continue
        words, _ = model.aligner.read([model.vocabulary.encode(own) for own in tokens])
        length = max(map(len, tokens))
        mask = torch.arange(length)[None] < torch.tensor([len(own) for own in tokens])[:, None]
        products = affinity(vectors[row : row + 1], words)[0, :, :length].float().cpu()
        labels, _ = viterbi(products, beta, mask)
        spoken = spoken.joined(SpokenWords.of(tokens, words[:, :length].float().cpu(), mask))
        places = batch.to_annotation(row, boxes[row])
        found.extend((example.id, outcome) for outcome in _judge(example, places, labels))
    return found, spoken


def _judge(example: Example, places: FloatArray, labels: Tensor) -> list[list[float]]:
    """The outcomes of one photo's words, given its regions (N, 4) and each word's region (C, T)."""
    found: list[list[float]] = []
    for phrase in example.phrases:
        if phrase.caption is None or phrase.first_word is None or not phrase.boxes:
            continue
        truths = example.boxes_xyxy[list(phrase.boxes)]
        meets = box_ops.iou(places, truths).max(axis=1) >= 0.5
        centres = (places[:, None, :2] + places[:, None, 2:]) / 2
        room = np.minimum(centres - truths[None, :, :2], truths[None, :, 2:] - centres)  # below 0: outside on that side
        inside = room.min(axis=2).max(axis=1) >= 0
        fixed = [float(meets[0]), float(inside[0]), float(meets.any()), float(inside.any())]
        last = phrase.first_word + len(tokenize(phrase.text))
        for region in labels[phrase.caption, phrase.first_word : last].tolist():
            found.append([float(meets[region]), float(inside[region]), *fixed])
    return found


def untrained_captioner(captioner: RegionCaptioner, seed: int = 0) -> RegionCaptioner:
    """A model of the same sizes and words with first weights."""
    model = captioner.model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = RegionModel(config=model.config, vocabulary=model.vocabulary)
    return RegionCaptioner(model=fresh.eval(), device=captioner.device, max_pixels=captioner.max_pixels)
