"""METEOR 1.5 for English without Java (Denkowski & Lavie, WMT 2014), parameters of the ranking task.

A caption and its best reference become 23 numbers (`meteor_statistics`), in the order in which the
original prints them; METEOR of any set of captions is a function of their sum (`corpus_meteor`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontalk.metrics.meteor.align import STAGES, WEIGHTS, Lexicon, align, phrases
from regiontalk.metrics.meteor.normal import normalize
from regiontalk.metrics.meteor.tables import LONGEST, MeteorTables, english_stemmer
from regiontalk.metrics.ngrams import IntArray, Tokens, require_pairs

ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75
SIZE = 23
# WordNet's rules of detachment: inflected ending -> ending of the base form (nouns, verbs,
# adjectives).
_ENDINGS = tuple(
    (end, base)
    for end, bases in {
        "s": [""], "ses": ["s"], "xes": ["x"], "zes": ["z"], "ches": ["ch"], "shes": ["sh"], "men": ["man"],
        "ies": ["y"], "es": ["e", ""], "ed": ["e", ""], "ing": ["e", ""], "er": ["", "e"], "est": ["", "e"],
    }.items()
    for base in bases
)  # fmt: skip


def meteor_statistics(
    candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]], tables: MeteorTables
) -> IntArray:
    """What METEOR needs to know of each candidate and the reference that scores highest.

    Args:
        candidates: C token lists (`ptb_tokenize`).
        references: C groups of at least one token list.
        tables: `read_tables`, or empty ones for the exact and stem stages alone.

    Returns:
        (C, 23): words of the candidate and of the reference, function words of each, then for each
        of the four stages content words matched in the candidate, in the reference, function words
        matched in the candidate, in the reference; chunks; words matched in the candidate, in the
        reference.

    Raises:
        ValueError: the lists do not belong together.
        ImportError: snowballstemmer is not installed.
    """
    require_pairs(candidates, references)
    spoken = [normalize(" ".join(tokens)) for tokens in candidates]
    groups = [[normalize(" ".join(tokens)) for tokens in group] for group in references]
    lexicon = build_lexicon(chain(spoken, chain.from_iterable(groups)), tables)
    rows = np.zeros((len(spoken), SIZE), dtype=np.int64)
    for row, (candidate, group) in enumerate(zip(spoken, groups, strict=True)):
        group_statistics = np.array(
            [_compare(candidate, reference, lexicon, tables.function_words) for reference in group]
        )
        rows[row] = group_statistics[int(np.argmax(corpus_meteor(group_statistics)))]
    return rows


def corpus_meteor(totals: NDArray[Any]) -> NDArray[np.float64]:
    """METEOR of summed statistics.

    Precision and recall weigh stages by `WEIGHTS` and content words by delta against function
    words; ``F = P R / (alpha P + (1 - alpha) R)``, less the share ``gamma (chunks /
    matched)^beta``.

    Args:
        totals: (..., 23) sums of `meteor_statistics` rows.

    Returns:
        (...) float64 in 0..1.
    """
    totals = np.asarray(totals, dtype=np.float64)
    parts = totals[..., 4:20].reshape(*totals.shape[:-1], STAGES, 4)
    weighed = np.einsum(
        "...sk,s->...k", parts, np.array(WEIGHTS)
    )  # (..., 4): content and function words, here and there
    precision = _share(weighed[..., 0], weighed[..., 2], totals[..., 0], totals[..., 2])
    recall = _share(weighed[..., 1], weighed[..., 3], totals[..., 1], totals[..., 3])
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = precision * recall / (ALPHA * precision + (1 - ALPHA) * recall)
        chunks = totals[..., 20] / ((totals[..., 21] + totals[..., 22]) / 2)
    is_full_match = (
        (totals[..., 21] == totals[..., 0])
        & (totals[..., 22] == totals[..., 1])
        & (totals[..., 20] == 1)
    )
    penalty = GAMMA * np.where(is_full_match, 0.0, chunks) ** BETA
    return np.asarray(np.where(precision * recall > 0, np.nan_to_num(mean * (1 - penalty)), 0.0))


def build_lexicon(sentences: Iterable[Tokens], tables: MeteorTables) -> Lexicon:
    """Stems, synonym sets and paraphrases of all words that occur."""
    known = {tuple(sentence) for sentence in sentences}
    words = sorted(set(chain.from_iterable(known)))
    stem = english_stemmer()
    wanted: set[str] = set()
    if tables.paraphrases is not None:
        wanted = {phrase for sentence in known for phrase, _, _ in phrases(sentence, LONGEST)}
    synsets = {word: _synsets(word, tables) for word in words} if tables.synsets else {}
    pairs = tables.phrase_pairs(wanted)
    longest = max((phrase.count(" ") + 1 for phrase in pairs), default=0)
    return Lexicon({word: stem(word) for word in words}, synsets, pairs, longest)


def _synsets(word: str, tables: MeteorTables) -> frozenset[int]:
    """Synonym sets of a word and of its base form: the listed irregular ones, else the first that a rule makes."""
    made = (
        word[: -len(end)] + replacement
        for end, replacement in _ENDINGS
        if word.endswith(end) and len(word) > len(end)
    )
    bases = tables.bases.get(word) or tuple(
        islice((base for base in made if base in tables.synsets), 1)
    )
    return frozenset().union(*(tables.synsets.get(form, ()) for form in (word, *bases)))


def _compare(
    candidate: Tokens, reference: Tokens, lexicon: Lexicon, function_words: frozenset[str]
) -> list[int]:
    """The 23 numbers of one pair."""
    matches, chunks = align(candidate, reference, lexicon)
    small = [word in function_words for word in candidate]
    other_small = [word in function_words for word in reference]
    row = [
        len(candidate),
        len(reference),
        sum(small),
        sum(other_small),
        *[0] * (4 * STAGES),
        chunks,
        0,
        0,
    ]
    for start, length, other_start, other_length, stage in matches:
        few = sum(small[start : start + length])
        other_few = sum(other_small[other_start : other_start + other_length])
        at = 4 + 4 * stage
        row[at] += length - few
        row[at + 1] += other_length - other_few
        row[at + 2] += few
        row[at + 3] += other_few
        row[21] += length
        row[22] += other_length
    return row


def _share(
    content: NDArray[np.float64],
    small: NDArray[np.float64],
    words: NDArray[np.float64],
    few: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Weighed matched words over weighed words."""
    total_weight = DELTA * (words - few) + (1 - DELTA) * few
    matched_weight = DELTA * content + (1 - DELTA) * small
    return np.asarray(
        np.divide(
            matched_weight, total_weight, out=np.zeros_like(matched_weight), where=total_weight > 0
        )
    )
