"""Whether a true box's own phrase outranks others, and each word finds its box.

See docs/protocols.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from regiontalk import boxes as box_ops
from regiontalk.align.score import affinity, region_prior
from regiontalk.align.snippets import viterbi
from regiontalk.captioner import ALIGN_REGIONS, RegionCaptioner
from regiontalk.evaluate.charts import Chart, histogram
from regiontalk.evaluate.examples import Case, Cases, on_boxes, on_words, pick
from regiontalk.evaluate.photos import EncodedPhotos, PhotoBatch, box_features
from regiontalk.evaluate.region_captions import OneBox, chain, one_box_batch
from regiontalk.evaluate.result import Figure, Result
from regiontalk.evaluate.training_bank import embed_texts
from regiontalk.evaluate.word_variance import (
    Sentences,
    SpokenWords,
    share_of_word,
    spreads,
    word_notes,
)
from regiontalk.metrics.bootstrap import Interval, bootstrap_shares, bootstrap_sums
from regiontalk.records import Example, FloatArray, Phrase
from regiontalk.runtime.predictor import Predictor
from regiontalk.text.vocabulary import tokenize

COLUMNS = (
    "own phrase first, photo",
    "pairs in order, photo",
    "own phrase first, batch",
    "pairs in order, batch",
)
WORD_COLUMNS = ("word on box IoU .5", "word in box")


RegionLength = tuple[str, tuple[float, ...], float]
"""Photo, box and vector length of a region."""
PhotoOutcome = tuple[str, list[float]]
"""The photo of a phrase or word, and its numbers."""


@dataclass(frozen=True)
class Outcomes:
    """Rows of outcomes and the photo of each.

    Attributes:
        phrases: (P, 10) for each true box: `COLUMNS`, what chance gives in each, then the score of
            its best own phrase and of the best other phrase of the photo, nan where there is no
            other.
        phrase_photos: (P,) photo of each.
        words: (W, 6) for each word of a phrase: `WORD_COLUMNS` of its region, of the
            whole photo, of the best region.
        word_photos: (W,) photo of each.
        spoken: the word vectors met.
        regions: photo, box in pixels of the annotation and vector length of every proposal.
    """

    phrases: NDArray[np.float64]
    phrase_photos: tuple[str, ...]
    words: NDArray[np.float64]
    word_photos: tuple[str, ...]
    spoken: SpokenWords
    regions: tuple[RegionLength, ...]


def evaluate_alignment(
    photos: EncodedPhotos,
    *,
    beta: float = 0.0,
    untrained: bool = True,
    resamples: int = 1000,
) -> Result:
    """Whether regions and words that belong together score highest.

    *Own phrase first*: on the true box of a one-box chain, the best phrase of the chain
    scores above every phrase of the photo's other things (or of the batch's other
    photos, phrases of the same words left out). *Pairs in order*: of all (own, other)
    pairs, the share with the own phrase above. *Word on box*: the region that a word of
    a phrase chooses (whole photo and 19 proposals, as `RegionCaptioner.align`) meets a
    true box of the phrase at IoU 0.5; *word in box*: its centre lies in one. *Share
    from the word*: how much of the spread of word vectors the word alone explains; its
    interval holds the words' means fixed. Lengths of region vectors are those before
    they become 1.

    Args:
        photos: the data set, with Entities boxes and phrases.
        beta: smoothing of word paths (eq. 12).
        untrained: whether a model of the same sizes with first weights is measured beside it.
        resamples: bootstrap draws of photos.

    Raises:
        ValueError: no chain has exactly one box, or no phrase stands in a sentence.
    """
    outcomes = measure(photos, beta)
    figures = _rows(outcomes, resamples)
    share = share_from_word(photos, outcomes.spoken, resamples)
    if share is not None:
        figures["word vectors"] = {"share from the word": share}
    if untrained:
        blank = untrained_captioner(photos.captioner)
        blank_photos = EncodedPhotos(blank, photos.examples, done=photos.done)
        figures["untrained model"] = _rows(measure(blank_photos, beta), resamples)[
            "model"
        ]
    counts = {
        "photos": len(set(outcomes.phrase_photos) | set(outcomes.word_photos)),
        "boxes": len(outcomes.phrases),
        "words": len(outcomes.words),
        "beta": beta,
    }
    return Result(
        "alignment",
        figures,
        counts,
        tuple(word_notes(outcomes.spoken)),
        charts=_charts(outcomes),
        cases={
            **_photo_cases(photos, outcomes),
            **_length_cases(photos.examples, outcomes.regions),
        },
    )


def share_from_word(
    photos: EncodedPhotos, spoken: SpokenWords, resamples: int = 1000
) -> Interval | None:
    """How much of the spread of word vectors the word alone explains.

    Over redrawn photos; None where nobody can say. The sentences are read once more, so
    that no word vector needs to be kept.
    """
    if share_of_word(spoken) is None:
        return None
    sentences = (read_words(photos.captioner, example) for example in photos.examples)
    rows = spreads(spoken, (words for words in sentences if words is not None))
    (share,) = bootstrap_sums(
        rows,
        lambda sums: (1 - sums[..., 0] / sums[..., 1]).clip(min=0),
        resamples=resamples,
    )
    return share


def _charts(outcomes: Outcomes) -> tuple[Chart, ...]:
    """Scores of own and other phrases on true boxes, and lengths of region vectors."""
    own_scores, other_scores = outcomes.phrases[:, 8], outcomes.phrases[:, 9]
    scores = {
        "its best own phrase": own_scores,
        "the best other phrase of the photo": other_scores[np.isfinite(other_scores)],
    }
    lengths = {"proposals": [length for *_, length in outcomes.regions]}
    return (
        histogram("Scores of phrases on a true box", "alignment score", scores),
        histogram("Lengths of region vectors", "length", lengths),
    )


def _photo_cases(photos: EncodedPhotos, outcomes: Outcomes) -> Cases:
    """Photos by the share of words on their box.

    The first sentence is drawn, over the annotated boxes.
    """
    on_box_by_photo: dict[str, list[float]] = {}
    for photo, row in zip(outcomes.word_photos, outcomes.words, strict=True):
        on_box_by_photo.setdefault(photo, []).append(float(row[0]))
    names = list(on_box_by_photo)
    shares = [sum(on_box) / len(on_box) for on_box in on_box_by_photo.values()]
    examples = {example.id: example for example in photos.examples}

    def make(row: int) -> Case:
        example, on_box = examples[names[row]], on_box_by_photo[names[row]]
        sentence = example.captions[0]
        lines = (
            ("sentence", sentence),
            ("words on their box", f"{sum(on_box):.0f} of {len(on_box)}"),
        )
        drawn = on_words(photos.captioner, example, sentence)
        return Case(
            f"{shares[row]:.0%} of its words on their box",
            lines,
            drawn,
            example.size_wh,
        )

    return pick(shares, names, make)


def _length_cases(
    examples: Sequence[Example], regions: Sequence[RegionLength]
) -> dict[str, tuple[Case, ...]]:
    """The regions of the longest and of the shortest vectors, one a photo."""
    by_id = {example.id: example for example in examples}

    def make(row: int) -> Case:
        photo, box, length = regions[row]
        drawn = on_boxes(by_id[photo], [(box, f"{length:.2f}")])
        return Case(f"length {length:.2f}", (), drawn, by_id[photo].size_wh)

    ends = pick(
        [length for *_, length in regions], [photo for photo, *_ in regions], make
    )
    return {
        "longest region vectors": ends["best"],
        "shortest region vectors": ends["worst"],
    }


def measure(photos: EncodedPhotos, beta: float) -> Outcomes:
    """Walk over the photos once.

    Raises:
        ValueError: there is nothing to measure.
    """
    phrases: list[PhotoOutcome] = []
    words: list[PhotoOutcome] = []
    regions: list[RegionLength] = []
    spoken = SpokenWords.empty()
    for batch in photos:
        phrases.extend(phrase_outcomes(photos.captioner, batch))
        batch_words, batch_spoken, batch_regions = word_outcomes(
            photos.captioner, batch, beta
        )
        words.extend(batch_words)
        regions.extend(batch_regions)
        spoken = spoken.joined(batch_spoken)
    if not phrases or not words:
        raise ValueError(
            "alignment: expected boxes with phrases inside sentences, got "
            f"{len(phrases)} boxes, {len(words)} words; is Flickr30k Entities there?"
        )
    return Outcomes(
        np.array([row for _, row in phrases]),
        tuple(photo for photo, _ in phrases),
        np.array([row for _, row in words]),
        tuple(photo for photo, _ in words),
        spoken,
        tuple(regions),
    )


def _rows(outcomes: Outcomes, resamples: int) -> dict[str, dict[str, Figure]]:
    """The model, chance, the whole photo and the best region."""
    phrases = bootstrap_shares(
        outcomes.phrases[:, :8], outcomes.phrase_photos, resamples=resamples
    )
    words = bootstrap_shares(outcomes.words, outcomes.word_photos, resamples=resamples)

    def named(names: Sequence[str], values: Sequence[Interval]) -> dict[str, Figure]:
        return dict(zip(names, values, strict=True))

    return {
        "model": {**named(COLUMNS, phrases[:4]), **named(WORD_COLUMNS, words[:2])},
        "chance": named(COLUMNS, phrases[4:]),
        "every word on the whole photo": named(WORD_COLUMNS, words[2:4]),
        "every word on its best region": named(WORD_COLUMNS, words[4:]),
    }


@dataclass(frozen=True)
class _BatchPhrases:
    """The phrases with a box of a batch, Q in all.

    Attributes:
        phrases: Q phrases.
        photo: (Q,) row of the photo of each.
        words: (Q,) the words of each as one text.
        chain: (Q,) the name of its thing.
    """

    phrases: list[Phrase]
    photo: NDArray[np.int64]
    words: NDArray[np.str_]
    chain: NDArray[np.str_]

    @classmethod
    def of(cls, batch: PhotoBatch) -> _BatchPhrases:
        """Those of a batch, the same words for the same boxes once."""
        phrases: list[Phrase] = []
        photo_rows: list[int] = []
        for row, example in enumerate(batch.examples):
            distinct = _distinct(example)
            phrases += distinct
            photo_rows += [row] * len(distinct)
        words = [" ".join(tokenize(phrase.text)) for phrase in phrases]
        chains = [chain(phrase) for phrase in phrases]
        return cls(phrases, np.array(photo_rows), np.array(words), np.array(chains))


def phrase_outcomes(
    captioner: RegionCaptioner, batch: PhotoBatch
) -> list[PhotoOutcome]:
    """For each box of a one-box chain: the photo, and the ten numbers of `Outcomes.phrases`.

    A box whose photo (or batch) has no other phrase counts as correct and as chance 1 there:
    nothing could go wrong.
    """
    things_by_photo, boxes = one_box_batch(batch)
    phrases = _BatchPhrases.of(batch)
    if not phrases.phrases or not any(things_by_photo):
        return []
    features = np.concatenate(box_features(captioner, batch, boxes))
    regions = captioner.predictor.embed_regions(features[None])[0]
    texts = embed_texts(captioner, (phrase.text for phrase in phrases.phrases))
    scores = iter(regions @ texts.T)  # for each box (Q,)
    outcomes = []
    for row, things in enumerate(things_by_photo):
        for thing in things:
            outcomes.append(
                (thing.photo, _phrase_outcome(next(scores), phrases, row, thing))
            )
    return outcomes


def _phrase_outcome(
    scores: FloatArray, phrases: _BatchPhrases, photo: int, thing: OneBox
) -> list[float]:
    """The ten numbers of one box, given its scores (Q,) with all phrases of the batch."""
    in_photo = phrases.photo == photo
    is_own = in_photo & (phrases.chain == thing.entity)
    # neither a phrase of several boxes, this one among them, nor the same words are rivals
    has_box = np.array([thing.box in phrase.boxes for phrase in phrases.phrases])
    has_same_words = np.isin(phrases.words, phrases.words[is_own])
    is_rival = in_photo & ~is_own & ~has_box & ~has_same_words
    near = _outranks(scores, is_own, is_rival)
    far = _outranks(scores, is_own, ~in_photo & ~has_same_words)
    best_rival = float(scores[is_rival].max(initial=-np.inf))
    return [
        *near[:2],
        *far[:2],
        *near[2:],
        *far[2:],
        float(scores[is_own].max()),
        best_rival if np.isfinite(best_rival) else np.nan,
    ]


def _distinct(example: Example) -> list[Phrase]:
    """The phrases of a photo that have a box, the same words for the same boxes once."""
    distinct: dict[tuple[str, tuple[int, ...]], Phrase] = {}
    for phrase in example.phrases:
        if phrase.boxes:
            distinct[phrase.text.lower(), phrase.boxes] = phrase
    return list(distinct.values())


def _outranks(
    scores: FloatArray, is_own: NDArray[np.bool_], is_rival: NDArray[np.bool_]
) -> tuple[float, float, float, float]:
    """Whether the best own is strictly first, and the share of pairs in order.

    Ties count a half; and what chance gives in both.
    """
    own_scores, rival_scores = scores[is_own], scores[is_rival]
    if not len(rival_scores):
        return 1.0, 1.0, 1.0, 1.0
    above = (own_scores[:, None] > rival_scores[None]).mean()
    ties = (own_scores[:, None] == rival_scores[None]).mean()
    return (
        float(own_scores.max() > rival_scores.max()),
        float(above + ties / 2),
        len(own_scores) / (len(own_scores) + len(rival_scores)),
        0.5,
    )


def word_outcomes(
    captioner: RegionCaptioner, batch: PhotoBatch, beta: float
) -> tuple[list[PhotoOutcome], SpokenWords, list[RegionLength]]:
    """For each word of a phrase with a box: the photo, and the numbers of `Outcomes.words`.

    Returns:
        These rows, all word vectors, and the regions with the lengths of their vectors.
    """
    predictor = captioner.predictor
    boxes, objectness = predictor.propose(batch.features, ALIGN_REGIONS)
    features = predictor.region_features(batch.features, boxes)
    embeddings = predictor.embed_regions(features)
    lengths = _embedding_lengths(predictor, features)
    outcomes: list[PhotoOutcome] = []
    measured: list[RegionLength] = []
    spoken = SpokenWords.empty()
    for row, example in enumerate(batch.examples):
        regions = _PhotoRegions(
            batch.to_annotation(row, boxes[row]),
            embeddings[row],
            lengths[row],
            objectness[row],
            batch.visible(row, boxes[row]),
        )
        measured += regions.proposal_lengths(example.id)
        sentences = read_words(captioner, example)
        if sentences is not None:
            spoken = spoken.joined(SpokenWords.of(*sentences))
            outcomes += _photo_outcomes(captioner, example, regions, sentences, beta)
    return outcomes, spoken, measured


class _PhotoRegions(NamedTuple):
    """N regions of a photo, the whole photo first.

    Attributes:
        boxes_xyxy: (N, 4) in pixels of the annotation.
        embeddings: (N, D).
        lengths: (N,) of the embeddings before `normalise` makes them 1.
        objectness: (N,).
        is_region: (N,), True where a box shows something of the photo.
    """

    boxes_xyxy: FloatArray
    embeddings: FloatArray
    lengths: FloatArray
    objectness: FloatArray
    is_region: NDArray[np.bool_]

    def proposal_lengths(self, photo: str) -> list[RegionLength]:
        """The lengths of the proposals' embeddings.

        Without the whole photo and without fill-ins.
        """
        proposals = np.flatnonzero(self.is_region & (self.objectness > 0))[1:]
        boxes_xyxy, lengths = (
            self.boxes_xyxy[proposals].tolist(),
            self.lengths[proposals].tolist(),
        )
        return [
            (photo, tuple(box), length)
            for box, length in zip(boxes_xyxy, lengths, strict=True)
        ]


def _photo_outcomes(
    captioner: RegionCaptioner,
    example: Example,
    regions: _PhotoRegions,
    sentences: Sentences,
    beta: float,
) -> list[PhotoOutcome]:
    """The outcomes of one photo's words."""
    region_of_word = _align_words(captioner, regions, sentences, beta)
    rows = _judge_words(example, regions.boxes_xyxy, region_of_word, regions.is_region)
    return [(example.id, row) for row in rows]


def _embedding_lengths(predictor: Predictor, features: FloatArray) -> FloatArray:
    """The lengths (B, N) of region embeddings before `normalise` makes them 1.

    The features are (B, N, F).
    """
    projected = features @ predictor.tensor("aligner.regions.project.weight").T
    projected += predictor.tensor("aligner.regions.project.bias")
    return np.asarray(np.linalg.norm(projected, axis=-1), dtype=np.float32)


def _align_words(
    captioner: RegionCaptioner,
    regions: _PhotoRegions,
    sentences: Sentences,
    beta: float,
) -> NDArray[np.int64]:
    """The region of each word (C, T) of a photo."""
    tokens, words, mask = sentences
    choices = captioner.predictor.choices(regions.embeddings[None])
    prior_weight = captioner.config.decoding.region_prior
    prior = region_prior(words, regions.objectness, prior_weight, choices.shape[1])
    products = affinity(choices, words)[0] + prior
    # NULL always may be chosen
    null_choices = np.ones(products.shape[-1] - len(regions.is_region), dtype=np.bool_)
    may_choose = np.append(regions.is_region, null_choices)
    labels, _ = viterbi(products, beta, mask, np.tile(may_choose, (len(tokens), 1)))
    return labels


def read_words(captioner: RegionCaptioner, example: Example) -> Sentences | None:
    """The tokens of a photo's C sentences, their vectors (C, T, D) and mask (C, T).

    None where there is no word.
    """
    tokens = [tokenize(caption) for caption in example.captions]
    if not any(tokens):
        return None
    token_ids = [captioner.vocabulary.encode(words) for words in tokens]
    embeddings, _ = captioner.predictor.encode_text(token_ids)
    lengths = np.array([len(words) for words in tokens])
    mask = np.arange(lengths.max())[None] < lengths[:, None]
    return tokens, embeddings[:, : lengths.max()], mask


def _judge_words(
    example: Example,
    boxes_xyxy: FloatArray,
    region_of_word: NDArray[np.int64],
    is_region: NDArray[np.bool_],
) -> list[list[float]]:
    """The outcomes of one photo's words.

    Given its regions (N, 4), each word's (C, T) and a mask of the regions (N,). Region
    N is the NULL region of a model that has one: a word that chose it is on no box.
    """
    outcomes: list[list[float]] = []
    for phrase in example.phrases:
        if phrase.caption is None or phrase.first_word is None or not phrase.boxes:
            continue
        truths_xyxy = example.boxes_xyxy[list(phrase.boxes)]
        meets = is_region & (box_ops.iou(boxes_xyxy, truths_xyxy).max(axis=1) >= 0.5)
        is_inside = is_region & _centre_inside(boxes_xyxy, truths_xyxy)
        of_regions = np.stack([meets, is_inside], axis=1).astype(float)  # (N, 2)
        of_null = np.zeros((1, 2))
        choices = np.concatenate([of_regions, of_null])
        whole_photo, best_region = of_regions[0], of_regions.max(axis=0)
        last_word = phrase.first_word + len(tokenize(phrase.text))
        for region in region_of_word[phrase.caption, phrase.first_word : last_word]:
            outcomes.append([*choices[region], *whole_photo, *best_region])
    return outcomes


def _centre_inside(
    boxes_xyxy: FloatArray, truths_xyxy: FloatArray
) -> NDArray[np.bool_]:
    """Which boxes (N, 4) have their centre in one of (M, 4)."""
    centres = (boxes_xyxy[:, None, :2] + boxes_xyxy[:, None, 2:]) / 2
    to_top_left = centres - truths_xyxy[None, :, :2]
    to_bottom_right = truths_xyxy[None, :, 2:] - centres
    margins = np.minimum(to_top_left, to_bottom_right).min(axis=2)  # below 0: outside
    is_inside: NDArray[np.bool_] = margins.max(axis=1) >= 0
    return is_inside


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
