"""METEOR 1.5 for English without Java, parameters of the ranking task.

Denkowski & Lavie, WMT 2014. A caption and its best reference become 23 numbers
(`meteor_statistics`), in the order in which the original prints them; METEOR of any set
of captions is a function of their sum (`corpus_meteor`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
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
        "s": [""], "ses": ["s"], "xes": ["x"], "zes": ["z"], "ches": ["ch"], "shes": ["sh"],
        "men": ["man"], "ies": ["y"], "es": ["e", ""], "ed": ["e", ""], "ing": ["e", ""],
        "er": ["", "e"], "est": ["", "e"],
    }.items()
    for base in bases
)  # fmt: skip


def meteor_statistics(
    candidates: Sequence[Tokens],
    references: Sequence[Sequence[Tokens]],
    tables: MeteorTables,
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
    words = list(map(_normalize_tokens, candidates))
    reference_words = [list(map(_normalize_tokens, group)) for group in references]
    lexicon = build_lexicon(chain(words, chain.from_iterable(reference_words)), tables)
    rows = np.zeros((len(words), SIZE), dtype=np.int64)
    for row, (candidate, group) in enumerate(zip(words, reference_words, strict=True)):
        comparisons = [
            _compare(candidate, reference, lexicon, tables.function_words)
            for reference in group
        ]
        group_statistics = np.array(comparisons)
        rows[row] = group_statistics[int(np.argmax(corpus_meteor(group_statistics)))]
    return rows


def _normalize_tokens(tokens: Tokens) -> list[str]:
    """The words that METEOR counts in a caption."""
    return normalize(" ".join(tokens))


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
    by_stage = totals[..., 4:20].reshape(*totals.shape[:-1], STAGES, 4)
    # (..., 4): content and function words, of the candidate and of the reference
    weighed = np.einsum("...sk,s->...k", by_stage, np.array(WEIGHTS))
    precision = _share(weighed[..., 0], weighed[..., 2], totals[..., 0], totals[..., 2])
    recall = _share(weighed[..., 1], weighed[..., 3], totals[..., 1], totals[..., 3])
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = precision * recall / (ALPHA * precision + (1 - ALPHA) * recall)
        score = np.nan_to_num(mean * (1 - _fragmentation(totals)))
    return np.asarray(np.where(precision * recall > 0, score, 0.0))


def _fragmentation(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """The penalty (...) of summed statistics (..., 23): many chunks are a different word order."""
    words, reference_words = totals[..., 0], totals[..., 1]
    chunks, matched, reference_matched = (
        totals[..., 20],
        totals[..., 21],
        totals[..., 22],
    )
    is_all_matched = (matched == words) & (reference_matched == reference_words)
    chunk_share = chunks / ((matched + reference_matched) / 2)
    chunk_share = np.where(is_all_matched & (chunks == 1), 0.0, chunk_share)
    return np.asarray(GAMMA * chunk_share**BETA)


def build_lexicon(sentences: Iterable[Tokens], tables: MeteorTables) -> Lexicon:
    """Stems, synonym sets and paraphrases of all words that occur."""
    distinct = set(map(tuple, sentences))
    words = sorted(set(chain.from_iterable(distinct)))
    stem = english_stemmer()
    wanted: set[str] = set()
    if tables.paraphrases is not None:
        for sentence in distinct:
            wanted.update(phrase for phrase, _, _ in phrases(sentence, LONGEST))
    synsets = {word: _synsets(word, tables) for word in words} if tables.synsets else {}
    pairs = tables.phrase_pairs(wanted)
    longest = max((phrase.count(" ") + 1 for phrase in pairs), default=0)
    return Lexicon({word: stem(word) for word in words}, synsets, pairs, longest)


def _synsets(word: str, tables: MeteorTables) -> frozenset[int]:
    """Synonym sets of a word and of its base form.

    The listed irregular ones, else the first that a rule makes.
    """
    regular_bases = []
    for ending, base_ending in _ENDINGS:
        if word.endswith(ending) and len(word) > len(ending):
            base = word[: -len(ending)] + base_ending
            if base in tables.synsets:
                regular_bases.append(base)
    bases = tables.bases.get(word) or regular_bases[:1]
    return frozenset().union(*(tables.synsets.get(form, ()) for form in (word, *bases)))


def _compare(
    candidate: Tokens,
    reference: Tokens,
    lexicon: Lexicon,
    function_words: frozenset[str],
) -> list[int]:
    """The 23 numbers of one pair."""
    matches, chunks = align(candidate, reference, lexicon)
    is_function = [word in function_words for word in candidate]
    is_reference_function = [word in function_words for word in reference]
    row = [0] * SIZE
    row[:4] = [
        len(candidate),
        len(reference),
        sum(is_function),
        sum(is_reference_function),
    ]
    row[20] = chunks
    for start, length, other_start, other_length, stage in matches:
        function = sum(is_function[start : start + length])
        other_function = sum(
            is_reference_function[other_start : other_start + other_length]
        )
        column = 4 + 4 * stage
        row[column] += length - function
        row[column + 1] += other_length - other_function
        row[column + 2] += function
        row[column + 3] += other_function
        row[21] += length
        row[22] += other_length
    return row


def _share(
    content: NDArray[np.float64],
    function: NDArray[np.float64],
    words: NDArray[np.float64],
    function_words: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Weighed matched words (content and function words) over weighed words."""
    total_weight = DELTA * (words - function_words) + (1 - DELTA) * function_words
    matched_weight = DELTA * content + (1 - DELTA) * function
    nothing = np.zeros_like(matched_weight)
    share = np.divide(matched_weight, total_weight, out=nothing, where=total_weight > 0)
    return np.asarray(share)
