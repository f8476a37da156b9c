"""What a training step reads.

Which photos, which sentences, which spans of them, as words and targets.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from regiontalk import boxes as box_ops
from regiontalk.datasets.checks import LONGEST
from regiontalk.images.open import ImageError, open_photo
from regiontalk.images.preprocessing import Preprocessing
from regiontalk.records import Example, FloatArray
from regiontalk.text.vocabulary import (
    END,
    PAD,
    START,
    UNKNOWN,
    Vocabulary,
    pad_token_ids,
)

Sentences = list[list[int]]  # of one photo, as word numbers


def sentence_numbers(
    examples: Sequence[Example], vocabulary: Vocabulary
) -> list[Sentences]:
    """The first `LONGEST` word numbers of every sentence of every photo.

    A sentence without a word is left out.
    """
    return [_numbers_of_photo(example, vocabulary) for example in examples]


def _numbers_of_photo(example: Example, vocabulary: Vocabulary) -> Sentences:
    """`sentence_numbers` of one photo."""
    sentences = [vocabulary.encode(caption)[:LONGEST] for caption in example.captions]
    return [sentence for sentence in sentences if sentence]


def batch_rows(rows: Sequence[int], batch: int, step: int, seed: int) -> list[int]:
    """The rows of a step.

    Each epoch is one shuffle of all of them, cut into batches, its rest left out.
    """
    if not rows:
        raise ValueError(
            "training data: expected photos with words or boxes to learn from, got none"
        )
    batch = min(batch, len(rows))
    epoch, number = divmod(step, len(rows) // batch)
    order = np.random.default_rng((seed, epoch)).permutation(len(rows))
    return [rows[row] for row in order[number * batch : (number + 1) * batch]]


def random_span(
    sentence: Sequence[int], longest: int, chooser: random.Random
) -> list[int]:
    """A run of 1 to ``longest`` words of a sentence."""
    length = min(len(sentence), chooser.randint(1, longest))
    first = chooser.randint(0, len(sentence) - length)
    return list(sentence[first : first + length])


def random_spans(
    sentences: Sequence[Sentences], count: int, longest: int, chooser: random.Random
) -> list[Sentences]:
    """For each photo, ``count`` random runs of words out of its sentences."""
    spans: list[Sentences] = []
    for group in sentences:
        spans.append(
            [random_span(chooser.choice(group), longest, chooser) for _ in range(count)]
        )
    return spans


def teacher_words(sentences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Inputs (R, T + 1), START first, and targets (R, T + 1), END last.

    An unknown word is read but never a target.
    """
    inputs = torch.from_numpy(
        pad_token_ids([[START, *sentence] for sentence in sentences])[0]
    )
    targets = torch.from_numpy(
        pad_token_ids([[*sentence, END] for sentence in sentences])[0]
    )
    return inputs, targets.masked_fill(targets == UNKNOWN, PAD)


def count_targets(sentences: Sequence[Sequence[int]]) -> int:
    """How many targets `teacher_words` gives: every known word, and END of each sentence.

    >>> count_targets([[5, UNKNOWN, 7], [4]])
    5
    """
    known_words = sum(word != UNKNOWN for word in chain.from_iterable(sentences))
    return len(sentences) + known_words


def network_boxes(example: Example, preprocessing: Preprocessing) -> FloatArray:
    """An example's boxes in pixels of the network picture."""
    if example.size_wh is None or not len(example.boxes_xyxy):
        return np.zeros((0, 4), dtype=np.float32)
    # the same square, in whatever size the photo is stored
    if preprocessing.fit == "squash":
        return box_ops.rescale(
            example.boxes_xyxy,
            example.size_wh,
            (preprocessing.size, preprocessing.size),
        )
    try:  # its aspect places it in the square; it may be stored in another than the annotators saw
        stored_wh = open_photo(example.photo, at_least=1).size_wh
    except ImageError:  # it stays grey, wherever its boxes are
        stored_wh = example.size_wh
    return preprocessing.to_network(
        box_ops.rescale(example.boxes_xyxy, example.size_wh, stored_wh), stored_wh
    )
