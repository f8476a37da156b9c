"""Retrieval with a model: every photo against every sentence by the model's own score, ranked both ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regiontalk.align.model import Aligner
from regiontalk.captioner import ALIGN_REGIONS, RegionCaptioner
from regiontalk.evaluate.cases import Case, Cases, on_words, pick
from regiontalk.evaluate.charts import Chart, Line, histogram, rank_curve
from regiontalk.evaluate.photos import EncodedPhotos
from regiontalk.evaluate.result import Result
from regiontalk.metrics.retrieval import RetrievalReport, retrieval
from regiontalk.records import Example

CELLS = 16_000_000  # products v.s that stand in memory at once, 64 MB


def evaluate_retrieval(
    photos: EncodedPhotos, *, regions: int = ALIGN_REGIONS, fold: int | None = None, resamples: int = 1000
) -> Result:
    """Recall at 1, 5 and 10, median and mean rank, both ways (PAPER.md 5).

    A photo is its whole picture and ``regions`` proposals, a sentence all its words; the score of a pair depends on
    nothing but the two. A photo without a sentence takes no part.

    Args:
        photos: the data set.
        regions: proposals beside the whole photo.
        fold: photos of a fold (1,000 for COCO's "1K"); None ranks everything together.
        resamples: bootstrap draws of photos.

    Raises:
        ValueError: no photo has a sentence.
    """
    examples, vectors, seen = region_vectors(photos, regions)
    used = [row for row, example in enumerate(examples) if any(map(str.strip, example.captions))]
    if not used:
        raise ValueError("retrieval: expected photos with sentences, got none; check the token file")
    captions = [(place, text) for place, row in enumerate(used) for text in examples[row].captions if text.strip()]
    model = photos.captioner.model
    numbers = [model.vocabulary.encode(text) for _, text in captions]
    scores = score_matrix(model.aligner, vectors[used], numbers, seen[used])
    owner = np.array([place for place, _ in captions])
    found = retrieval(scores, owner, fold=fold, resamples=resamples)
    ranked = _Ranked(photos.captioner, [examples[row] for row in used], [text for _, text in captions], owner, scores)
    return Result(
        "retrieval",
        {"photo to sentence": dict(found.photo_to_sentence), "sentence to photo": dict(found.sentence_to_photo)},
        {
            "photos": found.photos,
            "sentences": found.sentences,
            "folds": len(found.folds),
            "regions a photo": vectors.shape[1],
            "photos without a sentence": len(examples) - len(used),
            "photos that cannot be opened": len(photos.broken),
        },
        (f"chance: R@1 {1 / max(1, found.folds[0]):.4f} sentence to photo",),
        charts=_charts(found, scores, owner, resamples),
        cases=_cases(ranked, found),
    )


@dataclass(frozen=True)
class _Ranked:
    """Photos and sentences that were ranked: scores (M, C) and the photo of each sentence (C,)."""

    captioner: RegionCaptioner
    examples: Sequence[Example]
    sentences: Sequence[str]
    owner: NDArray[np.int64]
    scores: NDArray[np.float32]


def _charts(
    found: RetrievalReport, scores: NDArray[np.float32], owner: NDArray[np.int64], resamples: int
) -> tuple[Chart, ...]:
    """Recall at K both ways, and the scores of true pairs beside those of a sentence and the next photo."""
    size = found.folds[0]
    directions = {
        "photo to sentence": [(part.photo_to_sentence, np.arange(len(part.photo_to_sentence))) for part in found.parts],
        "sentence to photo": [(part.sentence_to_photo, part.photo_of_sentence) for part in found.parts],
    }
    curves = []
    for name, parts in directions.items():
        photos = [(fold, photo) for fold, (_, rows) in enumerate(parts) for photo in rows.tolist()]
        curves.append(rank_curve(name, np.concatenate([rank for rank, _ in parts]), photos, size, resamples=resamples))
    at = curves[1].x
    chance = Line("chance, sentence to photo", at, tuple(number / size for number in at))
    every = np.arange(len(owner))
    pairs = {"sentence and its photo": scores[owner, every]}
    if len(scores) > 1:
        pairs["sentence and the next photo"] = scores[(owner + 1) % len(scores), every]
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
        order = inside[np.argsort(-ranked.scores[row, inside], kind="stable")]
        own = next(column for column in order if ranked.owner[column] == row)
        example, closest = ranked.examples[row], ranked.sentences[own]
        lines = [(f"rank {int(ranks[row])}, its own", closest)]
        lines += [(f"rank {place}", ranked.sentences[column]) for place, column in enumerate(order[:3], start=1)]
        return Case(
            f"rank {int(ranks[row])}", tuple(lines), on_words(ranked.captioner, example, closest), example.size_wh
        )

    return pick((-ranks).tolist(), [example.id for example in ranked.examples[: len(ranks)]], make)


@torch.inference_mode()
def region_vectors(photos: EncodedPhotos, regions: int) -> tuple[list[Example], Tensor, Tensor]:
    """Of the examples that could be opened v (M, 1 + regions, D) of the whole photo and its proposals.

    Returns:
        The M examples, the vectors, and (M, 1 + regions), True where a box shows something of the photo.
    """
    model = photos.captioner.model
    examples: list[Example] = []
    rows: list[Tensor] = []
    seen: list[NDArray[np.bool_]] = []
    for batch in photos:
        boxes, _ = model.extractor.propose(batch.maps, regions)
        examples.extend(batch.examples)
        rows.append(model.aligner.regions(model.extractor.vectors(batch.maps, boxes)))
        seen += [batch.visible(row, own) for row, own in enumerate(boxes)]
    if not rows:
        raise ValueError(f"photos: expected one that can be opened, got none: {'; '.join(photos.broken[:3])}")
    return examples, torch.cat(rows), torch.from_numpy(np.stack(seen)).to(rows[0].device)


@torch.inference_mode()
def score_matrix(
    aligner: Aligner, vectors: Tensor, sentences: Sequence[Sequence[int]], seen: Tensor | None = None
) -> NDArray[np.float32]:
    """The model's score of every photo and sentence.

    Sentences of one length are computed together, so that no time goes into padding; the numbers are those of
    `Aligner.score`.

    Args:
        aligner: the alignment model.
        vectors: (M, N, D) region vectors v.
        sentences: C lists of word numbers.
        seen: (M, N), True = a region; None = all are.

    Returns:
        (M, C) float32.
    """
    matrix = np.zeros((len(vectors), len(sentences)), dtype=np.float32)
    mask = torch.ones(vectors.shape[:2], dtype=torch.bool, device=vectors.device) if seen is None else seen
    order = sorted(range(len(sentences)), key=lambda row: len(sentences[row]))
    start = 0
    while start < len(order):
        longest = len(sentences[order[min(start + 63, len(order) - 1)]]) + 1
        step = max(1, min(64, CELLS // (vectors.shape[0] * vectors.shape[1] * longest)))
        rows = order[start : start + step]
        words, word_mask = aligner.read([sentences[row] for row in rows])
        matrix[:, rows] = aligner.score(vectors, words, mask, word_mask).float().cpu().numpy()
        start += step
    return matrix
