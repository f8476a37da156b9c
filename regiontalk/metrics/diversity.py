"""How varied captions are and how many were merely remembered.

Distinct-n (Li et al., NAACL 2016), the vocabulary used, the mean length, and novelty as Karpathy &
Fei-Fei report it: the share of captions that stand word for word in the training set. Captions
without words count in no share.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontalk.metrics.bootstrap import Interval, bootstrap_shares, interval
from regiontalk.metrics.ngrams import Tokens


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

    >>> measure_diversity(["a dog".split(), "a cat".split()], [["a", "dog"]])  # words a dog a cat: 3 distinct of 4
    Diversity(distinct_1=0.75, distinct_2=1.0, vocabulary=3, mean_length=2.0, distinct_captions=1.0, in_training=0.5)
    """
    spoken = [tuple(caption) for caption in captions if len(caption)]
    known = None if training is None else found_in(spoken, training)
    return Diversity(
        distinct_1=distinct(spoken, 1),
        distinct_2=distinct(spoken, 2),
        vocabulary=len({word for caption in spoken for word in caption}),
        mean_length=_share(sum(map(len, spoken)), len(spoken)),
        distinct_captions=_share(len(set(spoken)), len(spoken)),
        in_training=None if known is None else _share(int(known.sum()), len(spoken)),
    )


def diversity_intervals(
    captions: Sequence[Tokens],
    training: Iterable[Tokens] | None = None,
    photos: Sequence[Hashable] | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Interval | None]:
    """Variety with intervals over photos: "distinct-1", "distinct-2", "vocabulary", "mean length", "in training".

    A draw repeats some captions and so holds fewer distinct words than the captions as they are. Of
    the first three the draws are therefore moved by that shortfall (their mean less the figure):
    the interval says how far the figure spreads, around the figure.

    Args:
        captions: C captions as tokens.
        training: training sentences; None leaves novelty out.
        photos: (C,) photo of each caption; None: each has its own.
        resamples: bootstrap draws of photos.
        seed: of the draws.
    """
    worded = [index for index, words in enumerate(captions) if len(words)]
    if not worded:
        return dict.fromkeys(
            ("distinct-1", "distinct-2", "vocabulary", "mean length", "in training")
        )
    spoken = [tuple(captions[index]) for index in worded]
    names = worded if photos is None else [photos[index] for index in worded]
    known = None if training is None else found_in(spoken, training)
    table = (
        np.array([[len(words), 0.0] for words in spoken])
        if known is None
        else np.column_stack([[len(words) for words in spoken], known])
    )
    length, novelty = bootstrap_shares(table, names, resamples=resamples, seed=seed)
    owner = np.unique([str(name) for name in names], return_inverse=True)[1]
    (words, types), (pairs, _) = (
        _drawn_types(spoken, owner, order, resamples, seed) for order in (1, 2)
    )
    return {
        "distinct-1": words,
        "distinct-2": pairs,
        "vocabulary": types,
        "mean length": length,
        "in training": None if known is None else novelty,
    }


def _drawn_types(
    captions: Sequence[Tokens], owner: NDArray[np.int64], order: int, resamples: int, seed: int
) -> tuple[Interval | None, Interval | None]:
    """Distinct n-grams over n-grams, and distinct n-grams, with intervals; ``owner`` (C,) is the photo's number."""
    grams = [
        (tuple(words[at : at + order]), caption_row)
        for caption_row, words in enumerate(captions)
        for at in range(len(words) - order + 1)
    ]
    if not grams:
        return None, None
    number: dict[Tokens, int] = {}
    kind = np.array([number.setdefault(gram, len(number)) for gram, _ in grams])
    photo = owner[[caption_row for _, caption_row in grams]]
    generator, photos = np.random.default_rng(seed), int(owner.max()) + 1
    drawn = np.zeros((resamples, 2))
    for row in range(resamples):
        times = np.bincount(generator.integers(0, photos, photos), minlength=photos)[photo]
        types = np.count_nonzero(np.bincount(kind[times > 0], minlength=len(number)))
        drawn[row] = types / max(1, times.sum()), types
    values = np.array([len(number) / len(grams), len(number)])
    moved = drawn + (values - drawn.mean(axis=0))
    share, count = (interval(float(value), moved[:, column]) for column, value in enumerate(values))
    return share, count


def distinct(captions: Sequence[Tokens], order: int) -> float | None:
    """Distinct n-grams over all n-grams of the captions; None where there is none.

    Raises:
        ValueError: ``order`` is below 1.
    """
    if order < 1:
        raise ValueError(f"distinct: expected n-grams of 1 word or more, got {order}")
    grams = [
        tuple(words[start : start + order])
        for words in captions
        for start in range(len(words) - order + 1)
    ]
    return _share(len(set(grams)), len(grams))


def found_in(captions: Sequence[Tokens], training: Iterable[Tokens]) -> NDArray[np.bool_]:
    """(C,) True where the caption stands word for word among the training sentences.

    Letters and digits alone are compared: a model says "mans tshirt" where a tokeniser cuts "man 's
    t-shirt".
    """

    def plain(tokens: Tokens) -> str:
        return "".join(letter for token in tokens for letter in token if letter.isalnum())

    known = {plain(sentence) for sentence in training}
    return np.array([plain(caption) in known for caption in captions], dtype=np.bool_)


def _share(count: int, total: int) -> float | None:
    return count / total if total else None
