"""Retrieval with a model.

Every photo against every sentence by the model's own score, ranked both ways.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from regiontalk.captioner import ALIGN_REGIONS, RegionCaptioner
from regiontalk.evaluate.charts import Chart, Line, histogram, rank_curve
from regiontalk.evaluate.examples import Case, Cases, on_words, pick
from regiontalk.evaluate.photos import EncodedPhotos
from regiontalk.evaluate.result import Result
from regiontalk.metrics.retrieval import (
    BLOCK,
    Blocks,
    IntArray,
    RetrievalReport,
    in_fold,
    retrieval,
)
from regiontalk.records import Example, FloatArray
from regiontalk.runtime.predictor import Predictor
from regiontalk.text.vocabulary import tokenize

SENTENCES_TOGETHER = 64  # encoded in one batch
SHOWN = 3  # sentences of the top ranks on an example


def evaluate_retrieval(
    photos: EncodedPhotos,
    *,
    regions: int = ALIGN_REGIONS,
    fold: int | None = None,
    resamples: int = 1000,
) -> Result:
    """Recall at 1, 5 and 10, median and mean rank, both ways (docs/protocols.md).

    A photo is the box of all of it and ``regions`` proposals, a sentence all its words; the score
    of a pair depends on nothing but the two. A photo without a sentence takes no part.

    Args:
        photos: the data set.
        regions: proposals beside the whole photo.
        fold: photos of a fold (1,000 for COCO's "1K"); None ranks everything together.
        resamples: bootstrap draws of photos.

    Raises:
        ValueError: no photo has a sentence.
    """
    ranked = _score_photos(
        photos, photos.captioner.predictor.competing_regions(regions)
    )
    report = retrieval(
        ranked.scores,
        ranked.photo_of_sentence,
        photos=len(ranked.examples),
        fold=fold,
        resamples=resamples,
    )
    return Result(
        "retrieval",
        {
            "photo to sentence": dict(report.photo_to_sentence),
            "sentence to photo": dict(report.sentence_to_photo),
        },
        {
            "photos": report.photos,
            "sentences": report.sentences,
            "folds": len(report.folds),
            **ranked.counts,
            "photos that cannot be opened": len(photos.broken),
        },
        (f"chance: R@1 {1 / max(1, report.folds[0]):.4f} sentence to photo",),
        charts=(_recall_chart(report, resamples), _score_chart(ranked)),
        cases=_cases(ranked, report),
    )


@dataclass(frozen=True)
class _Ranked:
    """Photos and sentences that are ranked.

    Attributes:
        captioner: the model.
        examples: N photos.
        sentences: C sentences.
        photo_of_sentence: (C,) the photo of each.
        scores: blocks of their scores.
        counts: what was encoded and what was left out.
    """

    captioner: RegionCaptioner
    examples: Sequence[Example]
    sentences: Sequence[str]
    photo_of_sentence: NDArray[np.int64]
    scores: Blocks
    counts: Mapping[str, int]


def _score_photos(photos: EncodedPhotos, regions: int) -> _Ranked:
    """The photos that have a sentence, and what scores them."""
    examples, embeddings, is_region = region_embeddings(photos, regions)
    texts_by_photo = [list(filter(tokenize, example.captions)) for example in examples]
    used = [row for row, texts in enumerate(texts_by_photo) if texts]
    if not used:
        raise ValueError(
            "retrieval: expected photos with sentences, got none; check the token file"
        )
    sentences = list(chain.from_iterable(texts_by_photo))
    sentence_counts = [len(texts_by_photo[row]) for row in used]
    predictor = photos.captioner.predictor
    token_ids = list(map(predictor.vocabulary.encode, sentences))
    scores = score_blocks(
        predictor, embeddings[used], pack_words(predictor, token_ids), is_region[used]
    )
    caption_count = sum(len(example.captions) for example in examples)
    counts = {
        "regions a photo": embeddings.shape[1],
        "photos without a sentence": len(examples) - len(used),
        "sentences without a word": caption_count - len(sentences),
    }
    return _Ranked(
        photos.captioner,
        [examples[row] for row in used],
        sentences,
        np.repeat(np.arange(len(used)), sentence_counts),
        scores,
        counts,
    )


def _recall_chart(report: RetrievalReport, resamples: int) -> Chart:
    """Recall at K both ways, and what chance gives from sentence to photo."""
    fold_size = report.folds[0]
    curves = []
    for name in ("photo to sentence", "sentence to photo"):
        ranks: list[int] = []
        photos: list[tuple[int, int]] = []  # fold and photo of each rank
        for fold, fold_ranks in enumerate(report.ranks_by_fold):
            if name == "photo to sentence":
                ranks += fold_ranks.photo_to_sentence.tolist()
                photos += [(fold, photo) for photo in range(report.folds[fold])]
            else:
                ranks += fold_ranks.sentence_to_photo.tolist()
                photos += [
                    (fold, photo) for photo in fold_ranks.photo_of_sentence.tolist()
                ]
        curves.append(
            rank_curve(name, np.array(ranks), photos, fold_size, resamples=resamples)
        )
    depths = curves[1].x
    chance = tuple(depth / fold_size for depth in depths)
    lines = (*curves, Line("chance, sentence to photo", depths, chance))
    return Chart("curve", "Recall at K", "K", "share found among the first K", lines)


def _score_chart(ranked: _Ranked) -> Chart:
    """The scores of true pairs beside those of a sentence and the next photo."""
    photo_count = int(ranked.photo_of_sentence.max()) + 1
    own_scores, next_scores = [], [np.zeros(0)]
    for photo in range(photo_count):
        pair = np.array([photo, (photo + 1) % photo_count])
        sentences = np.flatnonzero(ranked.photo_of_sentence == photo)
        own_row, next_row = ranked.scores(pair, sentences)
        own_scores.append(own_row)
        if photo_count > 1:
            next_scores.append(next_row)
    groups = {
        "sentence and its photo": np.concatenate(own_scores),
        "sentence and the next photo": np.concatenate(next_scores),
    }
    return histogram("Scores of pairs", "alignment score", groups)


def _cases(ranked: _Ranked, report: RetrievalReport) -> Cases:
    """Photos by the rank of their closest own sentence, with its words on their regions."""
    fold_size = report.folds[0]
    ranks = np.concatenate(
        [fold_ranks.photo_to_sentence for fold_ranks in report.ranks_by_fold]
    )

    def make(photo: int) -> Case:
        order = _best_sentences(ranked, photo, fold_size)
        own_sentences = order[ranked.photo_of_sentence[order] == photo]
        example, closest = ranked.examples[photo], ranked.sentences[own_sentences[0]]
        lines = [(f"rank {int(ranks[photo])}, its own", closest)]
        for rank, sentence in enumerate(order[:SHOWN], start=1):
            lines.append((f"rank {rank}", ranked.sentences[sentence]))
        drawn = on_words(ranked.captioner, example, closest)
        return Case(f"rank {int(ranks[photo])}", tuple(lines), drawn, example.size_wh)

    names = [example.id for example in ranked.examples[: len(ranks)]]
    return pick((-ranks).tolist(), names, make)


def _best_sentences(ranked: _Ranked, photo: int, fold_size: int) -> IntArray:
    """The sentences of a photo's fold by falling score, ties by row."""
    fold_start = photo // fold_size * fold_size
    sentences = in_fold(ranked.photo_of_sentence, fold_start, fold_size)
    scores = []
    for start in range(0, len(sentences), BLOCK[1]):
        block = sentences[start : start + BLOCK[1]]
        scores.append(ranked.scores(np.array([photo]), block)[0])
    return sentences[np.argsort(-np.concatenate(scores), kind="stable")]


def region_embeddings(
    photos: EncodedPhotos, regions: int
) -> tuple[list[Example], FloatArray, NDArray[np.bool_]]:
    """Of the examples that could be opened v (M, 1 + regions, D).

    That is the whole photo and its proposals.

    Returns:
        The M examples, the embeddings, and (M, 1 + regions), True where a box shows something of
        the photo.
    """
    predictor = photos.captioner.predictor
    examples: list[Example] = []
    embeddings: list[FloatArray] = []
    is_region: list[NDArray[np.bool_]] = []
    for batch in photos:
        boxes, _ = predictor.propose(batch.features, regions)
        features = predictor.region_features(batch.features, boxes)
        examples.extend(batch.examples)
        embeddings.append(predictor.embed_regions(features))
        is_region += [batch.visible(row, boxes[row]) for row in range(len(batch))]
    if not embeddings:
        raise ValueError(
            f"photos: expected one that can be opened, got none: {'; '.join(photos.broken[:3])}"
        )
    return examples, np.concatenate(embeddings), np.stack(is_region)


@dataclass(frozen=True)
class PackedWords:
    """The words of C sentences one behind the other, so that no time goes into padding.

    Attributes:
        embeddings: (W, D) embeddings s of words.
        starts: (C + 1,) int64, where each sentence begins; the last is W.
    """

    embeddings: FloatArray
    starts: IntArray

    def of(self, sentences: IntArray) -> tuple[FloatArray, IntArray]:
        """The words (P, D) of some sentences, and which of these sentences each belongs to (P,)."""
        lengths = self.starts[sentences + 1] - self.starts[sentences]
        sentence_of_word = np.repeat(np.arange(len(sentences)), lengths)
        first_words = np.repeat(lengths.cumsum() - lengths, lengths)
        position = np.arange(len(sentence_of_word)) - first_words  # in its sentence
        rows = self.starts[sentences][sentence_of_word] + position
        return self.embeddings[rows], sentence_of_word


def pack_words(predictor: Predictor, sentences: Sequence[Sequence[int]]) -> PackedWords:
    """The word embeddings of C lists of token ids, END among them where the model reads it."""
    words_by_row = _encode_sentences(predictor, sentences)
    lengths = [len(words_by_row[row]) for row in range(len(sentences))]
    starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    packed = np.empty(
        (int(starts[-1]), predictor.config.aligner.size), dtype=np.float32
    )
    for row in range(len(sentences)):
        # taken out of the table, so that no word is in memory twice
        packed[starts[row] : starts[row + 1]] = words_by_row.pop(row)
    return PackedWords(packed, starts)


def _encode_sentences(
    predictor: Predictor, sentences: Sequence[Sequence[int]]
) -> dict[int, FloatArray]:
    """The word embeddings (T, D) of each sentence, by its row."""
    # of one length: little padding
    by_length = sorted(range(len(sentences)), key=lambda row: len(sentences[row]))
    words_by_row: dict[int, FloatArray] = {}
    for start in range(0, len(by_length), SENTENCES_TOGETHER):
        rows = by_length[start : start + SENTENCES_TOGETHER]
        embeddings, mask = predictor.encode_text([sentences[row] for row in rows])
        for row, sentence_words, is_word in zip(rows, embeddings, mask, strict=True):
            words_by_row[row] = sentence_words[is_word]
    return words_by_row


def score_blocks(
    predictor: Predictor,
    regions: FloatArray,
    words: PackedWords,
    is_region: NDArray[np.bool_],
) -> Blocks:
    """The model's score of any block of photos and sentences, as `metrics.retrieval` asks for it.

    A word is scored as a sentence of one word, and a sentence adds its words up: eq. 7 and eq. 8
    are such sums. "mean_positive" divides by a sentence's length and is no such sum.

    Args:
        predictor: the model.
        regions: (M, N, D) embeddings v.
        words: of C sentences.
        is_region: (M, N), True = a region.
    """
    scorer = _Scorer(predictor, regions, words, is_region)
    is_mean = predictor.config.aligner.score == "mean_positive"
    return scorer.score_sentences if is_mean else scorer.add_word_scores


@dataclass(frozen=True)
class _Scorer:
    """What `score_blocks` is given, and both ways to score a block."""

    predictor: Predictor
    regions: FloatArray
    words: PackedWords
    is_region: NDArray[np.bool_]

    def score_sentences(
        self, photos: IntArray, sentences: IntArray
    ) -> NDArray[np.float32]:
        """Scores (P, S) of sentences as they are, padded."""
        embeddings, sentence_of_word = self.words.of(sentences)
        lengths = np.bincount(sentence_of_word, minlength=len(sentences))
        mask = np.arange(max(1, lengths.max(initial=0)))[None] < lengths[:, None]
        padded = np.zeros((*mask.shape, embeddings.shape[1]), dtype=np.float32)
        padded[mask] = embeddings
        return self.predictor.score(
            self.regions[photos], padded, self.is_region[photos], mask
        )

    def add_word_scores(
        self, photos: IntArray, sentences: IntArray
    ) -> NDArray[np.float32]:
        """Scores (P, S) as sums over words, which need no padding."""
        embeddings, sentence_of_word = self.words.of(sentences)
        one_word = np.ones((len(embeddings), 1), dtype=bool)
        word_scores = self.predictor.score(  # (P, W)
            self.regions[photos], embeddings[:, None], self.is_region[photos], one_word
        )
        lengths = np.bincount(sentence_of_word, minlength=len(sentences))
        has_words = np.flatnonzero(lengths)
        first_words = (lengths.cumsum() - lengths)[has_words]
        sums = np.zeros((len(photos), len(sentences)), dtype=np.float32)
        if len(first_words):
            sums[:, has_words] = np.add.reduceat(word_scores, first_words, axis=1)
        return sums


def score_matrix(
    predictor: Predictor,
    regions: FloatArray,
    sentences: Sequence[Sequence[int]],
    is_region: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """The model's score of every photo and sentence at once.

    Args:
        predictor: the model.
        regions: (M, N, D) embeddings v.
        sentences: C lists of token ids.
        is_region: (M, N), True = a region; None = all are.

    Returns:
        (M, C) float32.
    """
    if is_region is None:
        is_region = np.ones(regions.shape[:2], dtype=bool)
    scores = score_blocks(
        predictor, regions, pack_words(predictor, sentences), is_region
    )
    matrix = np.zeros((len(regions), len(sentences)), dtype=np.float32)
    for top in range(0, matrix.shape[0], BLOCK[0]):
        rows = np.arange(top, min(top + BLOCK[0], matrix.shape[0]))
        for left in range(0, matrix.shape[1], BLOCK[1]):
            columns = np.arange(left, min(left + BLOCK[1], matrix.shape[1]))
            matrix[np.ix_(rows, columns)] = scores(rows, columns)
    return matrix
