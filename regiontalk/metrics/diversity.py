"""How varied captions are and how many are copies of training sentences.

Distinct-n (Li et al., NAACL 2016), the vocabulary used, the mean length, and novelty as Karpathy &
Fei-Fei report it: the share of captions that stand word for word in the training set. Captions
without words count in no share.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontalk.metrics.bootstrap import (
    Interval,
    bootstrap_shares,
    interval,
    number_names,
)
from regiontalk.metrics.ngrams import Tokens, ngrams


@dataclass(frozen=True)
class Diversity:
    """Variety of a set of captions; None where there is nothing to divide by.

    Attributes:
        distinct_1: distinct words over words.
        distinct_2: distinct pairs of neighbouring words over such pairs.
        vocabulary: distinct words.
        mean_length: words a caption.
        distinct_captions: distinct captions over captions.
        in_training: share of captions found word for word in training; None where no training
            sentences were given.
    """

    distinct_1: float | None
    distinct_2: float | None
    vocabulary: int
    mean_length: float | None
    distinct_captions: float | None
    in_training: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def measure_diversity(
    captions: Sequence[Tokens], training: Iterable[Tokens] | None = None
) -> Diversity:
    """Measure captions given as tokens, training sentences cut by the same tokeniser.

    >>> # words a dog a cat: 3 distinct of 4
    >>> diversity = measure_diversity(["a dog".split(), "a cat".split()], [["a", "dog"]])
    >>> diversity.distinct_1, diversity.distinct_2, diversity.vocabulary
    (0.75, 1.0, 3)
    >>> diversity.mean_length, diversity.distinct_captions, diversity.in_training
    (2.0, 1.0, 0.5)
    """
    worded = [tuple(caption) for caption in captions if len(caption)]
    in_training = None
    if training is not None:
        is_copied = found_in(worded, training)
        in_training = _share(int(is_copied.sum()), len(worded))
    return Diversity(
        distinct_1=distinct(worded, 1),
        distinct_2=distinct(worded, 2),
        vocabulary=len(set(chain.from_iterable(worded))),
        mean_length=_share(sum(map(len, worded)), len(worded)),
        distinct_captions=_share(len(set(worded)), len(worded)),
        in_training=in_training,
    )


def diversity_intervals(
    captions: Sequence[Tokens],
    training: Iterable[Tokens] | None = None,
    photos: Sequence[Hashable] | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Interval | None]:
    """Variety with intervals over photos.

    The figures are "distinct-1", "distinct-2", "vocabulary", "mean length", "in
    training". A draw repeats some captions and so holds fewer distinct words than the
    captions as they are. Of the first three the draws are therefore moved by that
    shortfall (their mean less the figure): the interval says how far the figure
    spreads, around the figure.

    Args:
        captions: C captions as tokens.
        training: training sentences; None leaves novelty out.
        photos: (C,) photo of each caption; None: each has its own.
        resamples: bootstrap draws of photos.
        seed: of the draws.
    """
    rows = [row for row, words in enumerate(captions) if len(words)]
    if not rows:
        return dict.fromkeys(
            ("distinct-1", "distinct-2", "vocabulary", "mean length", "in training")
        )
    worded = [tuple(captions[row]) for row in rows]
    names = rows if photos is None else [photos[row] for row in rows]
    lengths = np.array([len(words) for words in worded], dtype=np.float64)
    is_copied = (
        np.zeros(len(worded)) if training is None else found_in(worded, training)
    )
    length, novelty = bootstrap_shares(
        np.column_stack([lengths, is_copied]), names, resamples=resamples, seed=seed
    )
    photo = np.unique(list(map(str, names)), return_inverse=True)[1]
    distinct_words, vocabulary = _drawn_types(worded, photo, 1, resamples, seed)
    distinct_pairs, _ = _drawn_types(worded, photo, 2, resamples, seed)
    return {
        "distinct-1": distinct_words,
        "distinct-2": distinct_pairs,
        "vocabulary": vocabulary,
        "mean length": length,
        "in training": None if training is None else novelty,
    }


def _drawn_types(
    captions: Sequence[Tokens],
    photo: NDArray[np.int64],
    order: int,
    resamples: int,
    seed: int,
) -> tuple[Interval | None, Interval | None]:
    """Distinct n-grams over n-grams, and distinct n-grams, with intervals.

    ``photo`` (C,) is the photo's number.
    """
    grams: list[tuple[str, ...]] = []
    gram_counts = []
    for words in captions:
        caption_grams = ngrams(words, order)
        grams += caption_grams
        gram_counts.append(len(caption_grams))
    if not grams:
        return None, None
    kinds, kind_count = number_names(grams)
    gram_photo = np.repeat(photo, gram_counts)
    photo_count = int(photo.max()) + 1
    drawn = _draw_types(kinds, gram_photo, photo_count, resamples, seed)
    share, count = kind_count / len(grams), float(kind_count)
    moved = drawn + (np.array([share, count]) - drawn.mean(axis=0))
    return interval(share, moved[:, 0]), interval(count, moved[:, 1])


def _draw_types(
    kinds: NDArray[np.int64],
    photo: NDArray[np.int64],
    photo_count: int,
    resamples: int,
    seed: int,
) -> NDArray[np.float64]:
    """Distinct n-grams over n-grams, and distinct n-grams, of redrawn photos (resamples, 2)."""
    generator = np.random.default_rng(seed)
    drawn = np.zeros((resamples, 2))
    for row in range(resamples):
        drawn_photos = generator.integers(0, photo_count, photo_count)
        times = np.bincount(drawn_photos, minlength=photo_count)[photo]
        types = np.count_nonzero(np.bincount(kinds[times > 0]))
        drawn[row] = types / max(1, times.sum()), types
    return drawn


def distinct(captions: Sequence[Tokens], order: int) -> float | None:
    """Distinct n-grams over all n-grams of the captions; None where there is none.

    Raises:
        ValueError: ``order`` is below 1.
    """
    if order < 1:
        raise ValueError(f"distinct: expected n-grams of 1 word or more, got {order}")
    all_ngrams = list(chain.from_iterable(ngrams(words, order) for words in captions))
    return _share(len(set(all_ngrams)), len(all_ngrams))


def found_in(
    captions: Sequence[Tokens], training: Iterable[Tokens]
) -> NDArray[np.bool_]:
    """(C,) True where the caption stands word for word among the training sentences.

    Letters and digits alone are compared: a model says "mans tshirt" where a tokeniser cuts "man 's
    t-shirt".
    """

    def plain(tokens: Tokens) -> str:
        return "".join(filter(str.isalnum, "".join(tokens)))

    training_texts = set(map(plain, training))
    is_copied = [plain(caption) in training_texts for caption in captions]
    return np.array(is_copied, dtype=np.bool_)


def _share(count: int, total: int) -> float | None:
    if not total:
        return None
    return count / total
