"""What the generator is taught of regions that nobody named: the pairs that the aligner infers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from regiontalk.align.model import Aligner
from regiontalk.align.pairs import Pair, infer_pairs
from regiontalk.model.region_model import RegionModel
from regiontalk.records import FloatArray
from regiontalk.text.vocabulary import Vocabulary, trimmed
from regiontalk.train.em import responsibilities
from regiontalk.train.features import FrozenFeatures
from regiontalk.train.region_texts import BoxText
from regiontalk.train.sentences import Sentences


def inferred_pairs(
    model: RegionModel,
    features: FrozenFeatures,
    sentences: Sequence[Sentences],
    *,
    min_words: int,
    trim: bool,
    weight: float = 0.0,
) -> list[list[BoxText]]:
    """The inferred pairs of every row of the features, as boxes and words.

    Args:
        model: its aligner infers them.
        features: of the data set.
        sentences: of each photo.
        min_words: shorter snippets are left out.
        trim: snippets lose function words at their ends.
        weight: of the generator's say; 0 = it is not asked.
    """
    model.aligner.eval()
    pairs_by_row: list[list[BoxText]] = []
    rows = len(features.boxes_xyxy)
    for first in range(0, rows, 64):
        block = range(first, min(first + 64, rows))
        texts = [sentences[row % features.photos] for row in block]
        boxes = features.read_boxes(block)
        opinion = _opinion(model, features, block, weight) if weight else None
        regions, words = _embed(model.aligner, features.read_vectors(block), texts)
        objectness = features.read_objectness(block).numpy()
        pairs = infer_pairs(regions, objectness, words, texts, model.chain(), opinion)
        pairs_by_row += [
            _teachable(boxes[index], items, model.vocabulary, min_words, trim)
            for index, items in enumerate(pairs)
        ]
    return pairs_by_row


@torch.inference_mode()
def _embed(
    aligner: Aligner, vectors: Tensor, sentences: Sequence[Sentences]
) -> tuple[FloatArray, FloatArray]:
    """What words may choose (B, N, D), and the words (C, T, D) of all sentences of B photos."""
    device = aligner.log_scale.device
    choices = aligner.choices(aligner.embed_regions(vectors.float().to(device)))
    words, _ = aligner.encode_text(
        [sentence for group in sentences for sentence in group]
    )
    return choices.float().cpu().numpy(), words.float().cpu().numpy()


def _teachable(
    boxes: Tensor,
    pairs: Sequence[Pair],
    vocabulary: Vocabulary,
    min_words: int,
    trim: bool,
) -> list[BoxText]:
    """The pairs worth learning: of a part of the photo, long enough, each wording once a region."""
    teachable: set[tuple[int, tuple[int, ...]]] = set()
    for pair in pairs:
        names = [vocabulary.words[number] for number in pair.words]
        words = pair.words[trimmed(names)] if trim else pair.words
        if pair.region and len(words) >= min_words:
            teachable.add((pair.region, words))
    return [BoxText(boxes[region], list(words)) for region, words in sorted(teachable)]


def _opinion(
    model: RegionModel, features: FrozenFeatures, rows: Sequence[int], weight: float
) -> Callable[[int, Sequence[Sequence[int]]], FloatArray]:
    """The generator's say about the photos of a block of rows, as `infer_pairs` asks for it."""

    def opinion(place: int, sentences: Sequence[Sequence[int]]) -> FloatArray:
        row = [rows[place]]
        shares = responsibilities(
            model, features.read_maps(row), features.read_boxes(row), sentences
        )
        return np.asarray(weight * shares.cpu().numpy(), dtype=np.float32)

    return opinion
