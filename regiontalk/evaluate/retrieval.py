"""Retrieval with a model: every photo against every sentence by the model's own score, ranked both ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regiontalk.captioner import ALIGN_REGIONS, RegionCaptioner
from regiontalk.evaluate.charts import Chart, Line, histogram, rank_curve
from regiontalk.evaluate.examples import Case, Cases, on_words, pick
from regiontalk.evaluate.photos import EncodedPhotos
from regiontalk.evaluate.result import Result
from regiontalk.metrics.retrieval import BLOCK, Blocks, IntArray, RetrievalReport, retrieval
from regiontalk.records import Example, FloatArray
from regiontalk.runtime.predictor import Predictor
from regiontalk.text.vocabulary import tokenize

READ = 64  # sentences that are read together


def evaluate_retrieval(
    photos: EncodedPhotos,
    *,
    regions: int = ALIGN_REGIONS,
    fold: int | None = None,
    resamples: int = 1000,
) -> Result:
    """Recall at 1, 5 and 10, median and mean rank, both ways (docs/protocols.md).

    A photo is its whole picture and ``regions`` proposals, a sentence all its words; the score of a
    pair depends on nothing but the two. A photo without a sentence takes no part.

    Args:
        photos: the data set.
        regions: proposals beside the whole photo.
        fold: photos of a fold (1,000 for COCO's "1K"); None ranks everything together.
        resamples: bootstrap draws of photos.

    Raises:
        ValueError: no photo has a sentence.
    """
    examples, vectors, seen = region_vectors(
        photos, photos.captioner.predictor.competing_regions(regions)
    )
    said = [[text for text in example.captions if tokenize(text)] for example in examples]
    used = [row for row, own in enumerate(said) if own]
    if not used:
        raise ValueError(
            "retrieval: expected photos with sentences, got none; check the token file"
        )
    captions = [(place, text) for place, row in enumerate(used) for text in said[row]]
    predictor = photos.captioner.predictor
    words = pack_words(predictor, [predictor.vocabulary.encode(text) for _, text in captions])
    scores = score_blocks(predictor, vectors[used], words, seen[used])
    owner = np.array([place for place, _ in captions])
    found = retrieval(scores, owner, photos=len(used), fold=fold, resamples=resamples)
    ranked = _Ranked(
        photos.captioner,
        [examples[row] for row in used],
        [text for _, text in captions],
        owner,
        scores,
    )
    return Result(
        "retrieval",
        {
            "photo to sentence": dict(found.photo_to_sentence),
            "sentence to photo": dict(found.sentence_to_photo),
        },
        {
            "photos": found.photos,
            "sentences": found.sentences,
            "folds": len(found.folds),
            "regions a photo": vectors.shape[1],
            "photos without a sentence": len(examples) - len(used),
            "sentences without a word": sum(len(example.captions) for example in examples)
            - len(captions),
            "photos that cannot be opened": len(photos.broken),
        },
        (f"chance: R@1 {1 / max(1, found.folds[0]):.4f} sentence to photo",),
        charts=_charts(found, scores, owner, resamples),
        cases=_cases(ranked, found),
    )


@dataclass(frozen=True)
class _Ranked:
    """Photos and sentences that were ranked: blocks of their scores, and the photo of each sentence (C,)."""

    captioner: RegionCaptioner
    examples: Sequence[Example]
    sentences: Sequence[str]
    owner: NDArray[np.int64]
    scores: Blocks


def _charts(
    found: RetrievalReport, scores: Blocks, owner: NDArray[np.int64], resamples: int
) -> tuple[Chart, ...]:
    """Recall at K both ways, and the scores of true pairs beside those of a sentence and the next photo."""
    size = found.folds[0]
    directions = {
        "photo to sentence": [
            (part.photo_to_sentence, np.arange(len(part.photo_to_sentence))) for part in found.parts
        ],
        "sentence to photo": [
            (part.sentence_to_photo, part.photo_of_sentence) for part in found.parts
        ],
    }
    curves = []
    for name, parts in directions.items():
        photos = [(fold, photo) for fold, (_, rows) in enumerate(parts) for photo in rows.tolist()]
        curves.append(
            rank_curve(
                name, np.concatenate([rank for rank, _ in parts]), photos, size, resamples=resamples
            )
        )
    at = curves[1].x
    chance = Line("chance, sentence to photo", at, tuple(number / size for number in at))
    count = int(owner.max()) + 1
    both = [
        scores(np.array([row, (row + 1) % count]), np.flatnonzero(owner == row))
        for row in range(count)
    ]
    pairs = {
        "sentence and its photo": np.concatenate([block[0] for block in both]),
        "sentence and the next photo": np.concatenate(
            [block[1] for block in both if count > 1] or [np.zeros(0)]
        ),
    }
    return (
        Chart("curve", "Recall at K", "K", "share found among the first K", (*curves, chance)),
        histogram("Scores of pairs", "alignment score", pairs),
    )


def _cases(ranked: _Ranked, found: RetrievalReport) -> Cases:
    """Photos by the rank of their closest own sentence, with its words on their regions."""
    ranks = np.concatenate([part.photo_to_sentence for part in found.parts])
    fold = found.folds[0]

    def make(row: int) -> Case:
        first = row // fold * fold
        inside = np.flatnonzero((ranked.owner >= first) & (ranked.owner < first + fold))
        blocks = np.split(inside, range(BLOCK[1], len(inside), BLOCK[1]))
        scores = np.concatenate([ranked.scores(np.array([row]), block)[0] for block in blocks])
        order = inside[np.argsort(-scores, kind="stable")]
        own = next(column for column in order if ranked.owner[column] == row)
        example, closest = ranked.examples[row], ranked.sentences[own]
        lines = [(f"rank {int(ranks[row])}, its own", closest)]
        lines += [
            (f"rank {place}", ranked.sentences[column])
            for place, column in enumerate(order[:3], start=1)
        ]
        return Case(
            f"rank {int(ranks[row])}",
            tuple(lines),
            on_words(ranked.captioner, example, closest),
            example.size_wh,
        )

    return pick((-ranks).tolist(), [example.id for example in ranked.examples[: len(ranks)]], make)


def region_vectors(
    photos: EncodedPhotos, regions: int
) -> tuple[list[Example], FloatArray, NDArray[np.bool_]]:
    """Of the examples that could be opened v (M, 1 + regions, D) of the whole photo and its proposals.

    Returns:
        The M examples, the vectors, and (M, 1 + regions), True where a box shows something of the
        photo.
    """
    predictor = photos.captioner.predictor
    examples: list[Example] = []
    rows: list[FloatArray] = []
    seen: list[NDArray[np.bool_]] = []
    for batch in photos:
        boxes, _ = predictor.propose(batch.features, regions)
        examples.extend(batch.examples)
        rows.append(predictor.embed_regions(predictor.region_features(batch.features, boxes)))
        seen += [batch.visible(row, own) for row, own in enumerate(boxes)]
    if not rows:
        raise ValueError(
            f"photos: expected one that can be opened, got none: {'; '.join(photos.broken[:3])}"
        )
    return examples, np.concatenate(rows), np.stack(seen)


@dataclass(frozen=True)
class PackedWords:
    """The words of C sentences one behind the other, so that no time goes into padding.

    Attributes:
        vectors: (W, D) word vectors s.
        starts: (C + 1,) int64, where each sentence begins; the last is W.
    """

    vectors: FloatArray
    starts: IntArray

    def of(self, sentences: IntArray) -> tuple[FloatArray, IntArray]:
        """The words (P, D) of some sentences, and which of these sentences each belongs to (P,)."""
        lengths = self.starts[sentences + 1] - self.starts[sentences]
        owner = np.repeat(np.arange(len(sentences)), lengths)
        inside = np.arange(len(owner)) - np.repeat(lengths.cumsum() - lengths, lengths)
        return self.vectors[self.starts[sentences][owner] + inside], owner


def pack_words(predictor: Predictor, sentences: Sequence[Sequence[int]]) -> PackedWords:
    """The word vectors of C lists of word numbers, END among them where the model reads it."""
    order = sorted(
        range(len(sentences)), key=lambda row: len(sentences[row])
    )  # of one length: little padding
    words_by_row: dict[int, FloatArray] = {}
    for start in range(0, len(order), READ):
        rows = order[start : start + READ]
        vectors, mask = predictor.encode_text([sentences[row] for row in rows])
        for row, own, is_word in zip(rows, vectors, mask, strict=True):
            words_by_row[row] = own[is_word]
    lengths = [len(words_by_row[row]) for row in range(len(sentences))]
    starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    packed = np.empty((int(starts[-1]), predictor.config.aligner.size), dtype=np.float32)
    for row in range(len(sentences)):
        packed[starts[row] : starts[row + 1]] = words_by_row.pop(row)  # each stands there once
    return PackedWords(packed, starts)


def score_blocks(
    predictor: Predictor, vectors: FloatArray, words: PackedWords, seen: NDArray[np.bool_]
) -> Blocks:
    """The model's score of any block of photos and sentences, as `metrics.retrieval` asks for it.

    A word is scored as a sentence of one word, and a sentence adds its words up: eq. 7 and eq. 8
    are such sums.

    Args:
        predictor: the model.
        vectors: (M, N, D) region vectors v.
        words: of C sentences.
        seen: (M, N), True = a region.
    """

    def block(photos: IntArray, sentences: IntArray) -> NDArray[np.float32]:
        own, owner = words.of(sentences)
        lengths = np.bincount(owner, minlength=len(sentences))
        if (
            predictor.config.aligner.score == "mean_positive"
        ):  # divides by a sentence's length: no sum of its words
            mask = np.arange(max(1, lengths.max(initial=0)))[None] < lengths[:, None]
            padded = np.zeros((*mask.shape, own.shape[1]), dtype=np.float32)
            padded[mask] = own
            return predictor.score(vectors[photos], padded, seen[photos], mask)
        alone = np.ones((len(own), 1), dtype=bool)
        each = predictor.score(vectors[photos], own[:, None], seen[photos], alone)  # (P, W)
        sums = np.zeros((len(photos), len(sentences)), dtype=np.float32)
        has_words = np.flatnonzero(lengths)
        begins = (lengths.cumsum() - lengths)[has_words]
        if len(begins):
            sums[:, has_words] = np.add.reduceat(each, begins, axis=1)
        return sums

    return block


def score_matrix(
    predictor: Predictor,
    vectors: FloatArray,
    sentences: Sequence[Sequence[int]],
    seen: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """The model's score of every photo and sentence at once.

    Args:
        predictor: the model.
        vectors: (M, N, D) region vectors v.
        sentences: C lists of word numbers.
        seen: (M, N), True = a region; None = all are.

    Returns:
        (M, C) float32.
    """
    shown = np.ones(vectors.shape[:2], dtype=bool) if seen is None else seen
    make = score_blocks(predictor, vectors, pack_words(predictor, sentences), shown)
    matrix = np.zeros((len(vectors), len(sentences)), dtype=np.float32)
    for top in range(0, matrix.shape[0], BLOCK[0]):
        for left in range(0, matrix.shape[1], BLOCK[1]):
            rows, columns = (
                np.arange(first, min(first + size, most))
                for first, size, most in zip((top, left), BLOCK, matrix.shape, strict=True)
            )
            matrix[np.ix_(rows, columns)] = make(rows, columns)
    return matrix
