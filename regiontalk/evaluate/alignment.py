"""Whether a true box's own phrase outranks others, and whether each word finds its box (docs/protocols.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regiontalk import boxes as box_ops
from regiontalk.align.score import affinity, region_prior
from regiontalk.align.snippets import viterbi
from regiontalk.captioner import ALIGN_REGIONS, RegionCaptioner
from regiontalk.evaluate.charts import Chart, histogram
from regiontalk.evaluate.examples import Case, Cases, on_boxes, on_words, pick
from regiontalk.evaluate.photos import EncodedPhotos, PhotoBatch, box_vectors
from regiontalk.evaluate.region_captions import chain, one_box_batch
from regiontalk.evaluate.result import Figure, Result
from regiontalk.evaluate.training_bank import read_bags
from regiontalk.evaluate.word_variance import SpokenWords, share_of_word, spreads, word_notes
from regiontalk.metrics.bootstrap import Interval, bootstrap_shares, bootstrap_sums
from regiontalk.records import Example, FloatArray, Phrase
from regiontalk.text.vocabulary import tokenize

COLUMNS = (
    "own phrase first, photo",
    "pairs in order, photo",
    "own phrase first, batch",
    "pairs in order, batch",
)
WORD_COLUMNS = ("word on box IoU .5", "word in box")


Measured = tuple[str, tuple[float, ...], float]
"""Photo, box and vector length of a region."""


@dataclass(frozen=True)
class Outcomes:
    """Rows of outcomes and the photo of each.

    Attributes:
        phrases: (P, 10) one a true box: `COLUMNS`, what chance gives in each, then the score of its
            best own phrase and of the best other phrase of the photo, nan where there is no other.
        phrase_photos: (P,) photo of each.
        words: (W, 6) one a word of a phrase: `WORD_COLUMNS` of its region, of the whole photo, of
            the best region.
        word_photos: (W,) photo of each.
        spoken: the word vectors met.
        regions: photo, box in pixels of the annotation and vector length of every proposal.
    """

    phrases: NDArray[np.float64]
    phrase_photos: tuple[str, ...]
    words: NDArray[np.float64]
    word_photos: tuple[str, ...]
    spoken: SpokenWords
    regions: tuple[Measured, ...]


def evaluate_alignment(
    photos: EncodedPhotos, *, beta: float = 0.0, untrained: bool = True, resamples: int = 1000
) -> Result:
    """Whether regions and words that belong together score highest.

    *Own phrase first*: on the true box of a one-box chain, the best phrase of the chain scores
        above every phrase of
    the photo's other things (or of the batch's other photos, phrases of the same words left out).
    *Pairs in order*: of all (own, other) pairs, the share with the own phrase above. *Word on box*:
    the region that a word of a phrase chooses (whole photo and 19 proposals, as
    `RegionCaptioner.align`) meets a true box of the phrase at IoU 0.5; *word in box*: its centre
    lies in one. *Share from the word*: how much of the spread of word vectors the word alone
    explains; its interval holds the words' means fixed. Lengths of region vectors are those before
    they become 1.

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
    if (share := share_from_word(photos, found.spoken, resamples)) is not None:
        figures["word vectors"] = {"share from the word": share}
    if untrained:
        blank = EncodedPhotos(
            untrained_captioner(photos.captioner), photos.examples, done=photos.done
        )
        figures["untrained model"] = _rows(measure(blank, beta), resamples)["model"]
    counts = {
        "photos": len(set(found.phrase_photos) | set(found.word_photos)),
        "boxes": len(found.phrases),
        "words": len(found.words),
        "beta": beta,
    }
    cases = {**_photo_cases(photos, found), **_length_cases(photos.examples, found.regions)}
    return Result(
        "alignment",
        figures,
        counts,
        tuple(word_notes(found.spoken)),
        charts=_charts(found),
        cases=cases,
    )


def share_from_word(
    photos: EncodedPhotos, spoken: SpokenWords, resamples: int = 1000
) -> Interval | None:
    """How much of the spread of word vectors the word alone explains, over redrawn photos; None where nobody can say.

    The sentences are read once more, so that no word vector needs to be kept.
    """
    if share_of_word(spoken) is None:
        return None
    read = (read_words(photos.captioner, example) for example in photos.examples)
    rows = spreads(spoken, (found for found in read if found is not None))
    return bootstrap_sums(
        rows, lambda sums: (1 - sums[..., 0] / sums[..., 1]).clip(min=0), resamples=resamples
    )[0]


def _charts(found: Outcomes) -> tuple[Chart, ...]:
    """Scores of own and other phrases on true boxes, and lengths of region vectors."""
    own, other = found.phrases[:, 8], found.phrases[:, 9]
    return (
        histogram(
            "Scores of phrases on a true box",
            "alignment score",
            {
                "its best own phrase": own,
                "the best other phrase of the photo": other[np.isfinite(other)],
            },
        ),
        histogram(
            "Lengths of region vectors",
            "length",
            {"proposals": [length for *_, length in found.regions]},
        ),
    )


def _photo_cases(photos: EncodedPhotos, found: Outcomes) -> Cases:
    """Photos by the share of words on their box; drawn is the first sentence over the annotated boxes."""
    sums: dict[str, list[float]] = {}
    for photo, row in zip(found.word_photos, found.words, strict=True):
        sums.setdefault(photo, []).append(float(row[0]))
    names = list(sums)
    examples = {example.id: example for example in photos.examples}

    def make(row: int) -> Case:
        example, right = examples[names[row]], sums[names[row]]
        drawn = on_words(photos.captioner, example, example.captions[0])
        lines = (
            ("sentence", example.captions[0]),
            ("words on their box", f"{sum(right):.0f} of {len(right)}"),
        )
        return Case(
            f"{sum(right) / len(right):.0%} of its words on their box",
            lines,
            drawn,
            example.size_wh,
        )

    return pick([sum(right) / len(right) for right in sums.values()], names, make)


def _length_cases(
    examples: Sequence[Example], regions: Sequence[Measured]
) -> dict[str, tuple[Case, ...]]:
    """The regions of the longest and of the shortest vectors, one a photo."""
    by_id = {example.id: example for example in examples}

    def make(row: int) -> Case:
        photo, box, length = regions[row]
        drawn = on_boxes(by_id[photo], [(box, f"{length:.2f}")])
        return Case(f"length {length:.2f}", (), drawn, by_id[photo].size_wh)

    ends = pick([length for *_, length in regions], [photo for photo, *_ in regions], make)
    return {"longest region vectors": ends["best"], "shortest region vectors": ends["worst"]}


def measure(photos: EncodedPhotos, beta: float) -> Outcomes:
    """Walk over the photos once.

    Raises:
        ValueError: there is nothing to measure.
    """
    phrases: list[tuple[str, list[float]]] = []
    words: list[tuple[str, list[float]]] = []
    regions: list[Measured] = []
    spoken = SpokenWords.empty()
    for batch in photos:
        phrases.extend(phrase_outcomes(photos.captioner, batch))
        rows, heard, lengths = word_outcomes(photos.captioner, batch, beta)
        words.extend(rows)
        regions.extend(lengths)
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
        tuple(regions),
    )


def _rows(found: Outcomes, resamples: int) -> dict[str, dict[str, Figure]]:
    """The model, chance, the whole photo and the best region."""
    shares = bootstrap_shares(found.phrases[:, :8], found.phrase_photos, resamples=resamples)
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
    """For each box of a one-box chain: the photo, and the ten numbers of `Outcomes.phrases`.

    A box whose photo (or batch) has no other phrase counts as right and as chance 1 there: nothing
    could go wrong.
    """
    things, boxes = one_box_batch(batch)
    asked = [
        (row, phrase) for row, example in enumerate(batch.examples) for phrase in _distinct(example)
    ]
    if not asked or not any(things):
        return []
    vectors = np.concatenate(box_vectors(captioner, batch, boxes))
    regions = captioner.predictor.embed_regions(vectors[None])[0]
    # (boxes, phrases)
    scores = regions @ read_bags(captioner, (phrase.text for _, phrase in asked)).T
    photo = np.array([row for row, _ in asked])
    words = np.array([" ".join(tokenize(phrase.text)) for _, phrase in asked])
    found = []
    owners = [(row, thing) for row, own in enumerate(things) for thing in own]
    for values, (row, thing) in zip(scores, owners, strict=True):
        inside = photo == row
        own = inside & np.array([chain(phrase) == thing.entity for _, phrase in asked])
        # neither a phrase of several boxes, this one among them, nor the same words are rivals
        touching = np.array([thing.box in phrase.boxes for _, phrase in asked]) | np.isin(
            words, words[own]
        )
        near = _outranks(values, own, inside & ~own & ~touching)
        far = _outranks(values, own, ~inside & ~np.isin(words, words[own]))
        rival = float(values[inside & ~own & ~touching].max(initial=-np.inf))
        best = float(values[own].max()), rival if np.isfinite(rival) else np.nan
        found.append((thing.photo, [*near[:2], *far[:2], *near[2:], *far[2:], *best]))
    return found


def _distinct(example: Example) -> list[Phrase]:
    """The phrases of a photo that have a box, the same words for the same boxes once."""
    return list(
        {
            (phrase.text.lower(), phrase.boxes): phrase
            for phrase in example.phrases
            if phrase.boxes
        }.values()
    )


def _outranks(
    values: NDArray[np.float32], own: NDArray[np.bool_], others: NDArray[np.bool_]
) -> tuple[float, float, float, float]:
    """Whether the best own is strictly first, share of pairs in order (ties a half), and what chance gives in both."""
    mine, theirs = values[own], values[others]
    if not len(theirs):
        return 1.0, 1.0, 1.0, 1.0
    above = (mine[:, None] > theirs[None]).mean() + (mine[:, None] == theirs[None]).mean() / 2
    return (
        float(mine.max() > theirs.max()),
        float(above),
        len(mine) / (len(mine) + len(theirs)),
        0.5,
    )


def word_outcomes(
    captioner: RegionCaptioner, batch: PhotoBatch, beta: float
) -> tuple[list[tuple[str, list[float]]], SpokenWords, list[Measured]]:
    """For each word of a phrase with a box: the photo, and the numbers of `Outcomes.words`.

    Returns:
        These rows, all word vectors, and the regions with the lengths of their vectors.
    """
    predictor = captioner.predictor
    boxes, quality = predictor.propose(batch.features, ALIGN_REGIONS)
    features = predictor.region_features(batch.features, boxes)
    vectors = predictor.embed_regions(features)
    # before `normalise` makes them 1
    projected = features @ predictor.tensor("aligner.regions.project.weight").T
    projected += predictor.tensor("aligner.regions.project.bias")
    lengths = np.linalg.norm(projected, axis=-1)
    found: list[tuple[str, list[float]]] = []
    measured: list[Measured] = []
    spoken = SpokenWords.empty()
    for row, example in enumerate(batch.examples):
        places, seen = batch.to_annotation(row, boxes[row]), batch.visible(row, boxes[row])
        real = np.flatnonzero(seen & (quality[row] > 0))[1:]  # without the whole photo
        measured.extend(
            (example.id, tuple(places[at].tolist()), float(lengths[row, at])) for at in real
        )
        heard = read_words(captioner, example)
        if heard is None:
            continue
        tokens, words, mask = heard
        choices = predictor.choices(vectors[row : row + 1])
        weight = captioner.config.decoding.region_prior
        prior = region_prior(words, quality[row], weight, choices.shape[1])
        products = affinity(choices, words)[0] + prior
        may = np.append(
            seen, np.ones(products.shape[-1] - len(seen), dtype=np.bool_)
        )  # NULL always may be chosen
        labels, _ = viterbi(products, beta, mask, np.tile(may, (len(tokens), 1)))
        spoken = spoken.joined(SpokenWords.of(tokens, words, mask))
        found.extend((example.id, outcome) for outcome in _judge(example, places, labels, seen))
    return found, spoken, measured


def read_words(
    captioner: RegionCaptioner, example: Example
) -> tuple[list[list[str]], FloatArray, NDArray[np.bool_]] | None:
    """The tokens of a photo's C sentences, their vectors (C, T, D) and mask (C, T); None where there is no word."""
    tokens = [tokenize(caption) for caption in example.captions]
    if not any(tokens):
        return None
    words, _ = captioner.predictor.encode_text([captioner.vocabulary.encode(own) for own in tokens])
    length = max(map(len, tokens))
    mask = np.arange(length)[None] < np.array([len(own) for own in tokens])[:, None]
    return tokens, words[:, :length], mask


def _judge(
    example: Example, places: FloatArray, labels: NDArray[np.int64], seen: NDArray[np.bool_]
) -> list[list[float]]:
    """The outcomes of one photo's words, given its regions (N, 4), each word's (C, T) and which show something (N,).

    Region N is the NULL region of a model that has one: a word that chose it is on no box.
    """
    found: list[list[float]] = []
    for phrase in example.phrases:
        if phrase.caption is None or phrase.first_word is None or not phrase.boxes:
            continue
        truths = example.boxes_xyxy[list(phrase.boxes)]
        meets = seen & (box_ops.iou(places, truths).max(axis=1) >= 0.5)
        centres = (places[:, None, :2] + places[:, None, 2:]) / 2
        room = np.minimum(
            centres - truths[None, :, :2], truths[None, :, 2:] - centres
        )  # below 0: outside on that side
        inside = seen & (room.min(axis=2).max(axis=1) >= 0)
        fixed = [float(meets[0]), float(inside[0]), float(meets.any()), float(inside.any())]
        last = phrase.first_word + len(tokenize(phrase.text))
        meets, inside = np.append(meets, False), np.append(inside, False)
        for region in labels[phrase.caption, phrase.first_word : last].tolist():
            found.append([float(meets[region]), float(inside[region]), *fixed])
    return found


def untrained_captioner(captioner: RegionCaptioner, seed: int = 0) -> RegionCaptioner:
    """A model of the same sizes and words with first weights."""
    import torch

    from regiontalk.model.region_model import RegionModel
    from regiontalk.runtime.torch_engine import TorchPredictor

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = RegionModel(config=captioner.config, vocabulary=captioner.vocabulary)
    predictor = TorchPredictor(model.eval())
    return RegionCaptioner(predictor=predictor, max_pixels=captioner.max_pixels)
