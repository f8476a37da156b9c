"""Retrieval with a model: every photo against every sentence by the model's own score, ranked both ways."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regiontalk.align.model import Aligner
from regiontalk.captioner import ALIGN_REGIONS
from regiontalk.evaluate.photos import EncodedPhotos
from regiontalk.evaluate.result import Result
from regiontalk.metrics.retrieval import retrieval
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
    examples, vectors = region_vectors(photos, regions)
    used = [row for row, example in enumerate(examples) if any(map(str.strip, example.captions))]
    if not used:
        raise ValueError("retrieval: expected photos with sentences, got none; check the token file")
    captions = [(place, text) for place, row in enumerate(used) for text in examples[row].captions if text.strip()]
    model = photos.captioner.model
    scores = score_matrix(model.aligner, vectors[used], [model.vocabulary.encode(text) for _, text in captions])
    found = retrieval(scores, [place for place, _ in captions], fold=fold, resamples=resamples)
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
    )


@torch.inference_mode()
def region_vectors(photos: EncodedPhotos, regions: int) -> tuple[list[Example], Tensor]:
    """The examples that could be opened, and v (M, 1 + regions, D) of the whole photo and its proposals."""
    model = photos.captioner.model
    examples: list[Example] = []
    rows: list[Tensor] = []
    for batch in photos:
        boxes, _ = model.extractor.propose(batch.maps, regions)
        examples.extend(batch.examples)
        rows.append(model.aligner.regions(model.extractor.vectors(batch.maps, boxes)))
    if not rows:
        raise ValueError(f"photos: expected one that can be opened, got none: {'; '.join(photos.broken[:3])}")
    return examples, torch.cat(rows)


@torch.inference_mode()
def score_matrix(aligner: Aligner, vectors: Tensor, sentences: Sequence[Sequence[int]]) -> NDArray[np.float32]:
    """The model's score of every photo and sentence.

    Sentences of one length are computed together, so that no time goes into padding; the numbers are those of
    `Aligner.score`.

    Args:
        aligner: the alignment model.
        vectors: (M, N, D) region vectors v.
        sentences: C lists of word numbers.

    Returns:
        (M, C) float32.
    """
    matrix = np.zeros((len(vectors), len(sentences)), dtype=np.float32)
    mask = torch.ones(vectors.shape[:2], dtype=torch.bool, device=vectors.device)
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
