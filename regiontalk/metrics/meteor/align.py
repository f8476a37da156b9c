"""METEOR's alignment of a candidate and a reference.

Denkowski & Lavie, WMT 2014; the aligner of METEOR 1.5. Four stages propose matches: the
same word, the same stem, a shared synonym set, a phrase and its paraphrase. A match
that no other touches is taken. Among the others a beam search over the candidate's
words picks matches that do not overlap: first by words covered, each side's weighed by
the stage and *cut to a whole number* (so a lone stem or synonym counts nothing, which
is what the jar does), then fewest chunks, then most matches, then those that move
least. The order of the last two, and the cut, were read off the jar's answers; about
one pair in fifty still differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import NamedTuple

EXACT, STEM, SYNONYM, PARAPHRASE = range(4)
STAGES = 4
WEIGHTS = (1.0, 0.6, 0.8, 0.6)  # of the stages, METEOR 1.5 English
_BEAM = 40
_ORDER = itemgetter(0, 1, 2, 3)  # the fields of `_Path` that are compared
_NONE: frozenset[str] = frozenset()


class Match(NamedTuple):
    """Words of the candidate that answer words of the reference.

    Attributes:
        start: first word in the candidate.
        length: words there.
        other: first word in the reference.
        other_length: words there.
        stage: EXACT, STEM, SYNONYM or PARAPHRASE.
    """

    start: int
    length: int
    other: int
    other_length: int
    stage: int


@dataclass(frozen=True)
class Lexicon:
    """What is known of the words at hand.

    Attributes:
        stems: word -> stem.
        synsets: word -> numbers of its synonym sets, its base forms' among them.
        paraphrases: phrase -> phrases.
        longest: words of the longest phrase in ``paraphrases``.
    """

    stems: Mapping[str, str]
    synsets: Mapping[str, frozenset[int]]
    paraphrases: Mapping[str, frozenset[str]]
    longest: int


class _Path(NamedTuple):
    """A choice of matches for the words so far.

    The first four fields sort the best to the front.
    """

    uncovered: int = 0  # minus the words covered on both sides, weighed and cut
    chunks: int = 0
    absent: int = 0  # minus the number of matches
    distance: int = 0
    end: int = -1  # one past the last matched word of the candidate
    other_end: int = -1
    used: int = 0  # bit j: word j of the reference is taken
    matches: tuple[Match, ...] = ()


def find_matches(
    candidate: Sequence[str], reference: Sequence[str], lexicon: Lexicon
) -> list[list[Match]]:
    """All matches of every stage by the candidate's word that they start at."""
    matches_by_start: list[list[Match]] = [[] for _ in candidate]
    for start, word in enumerate(candidate):
        stem, sets = lexicon.stems.get(word, word), lexicon.synsets.get(word)
        for other_start, against in enumerate(reference):
            if word == against:
                matches_by_start[start].append(Match(start, 1, other_start, 1, EXACT))
                continue
            if stem == lexicon.stems.get(against, against):
                matches_by_start[start].append(Match(start, 1, other_start, 1, STEM))
            if sets and not sets.isdisjoint(lexicon.synsets.get(against, ())):
                matches_by_start[start].append(Match(start, 1, other_start, 1, SYNONYM))
    for match in _paraphrases(candidate, reference, lexicon):
        matches_by_start[match.start].append(match)
    return matches_by_start


def align(
    candidate: Sequence[str], reference: Sequence[str], lexicon: Lexicon
) -> tuple[tuple[Match, ...], int]:
    """The best alignment and its number of chunks.

    Chunks are runs that are contiguous and in order on both sides.
    """
    choices = find_matches(candidate, reference, lexicon)
    lone = _untouched(choices, len(candidate), len(reference))
    paths = [_Path()]
    for position, matches in enumerate(choices):
        if not matches:
            continue
        if position in lone:
            paths = [_extend(path, matches[0]) for path in paths]
            continue
        grown = []
        for path in paths:
            if path.end <= position:  # not inside a phrase
                grown += [
                    _extend(path, match)
                    for match in matches
                    if not path.used & _bits(match)
                ]
            grown.append(path)
        grown.sort(key=_ORDER)
        paths = grown[:_BEAM]
    best = min(paths, key=_ORDER)
    return best.matches, best.chunks


def _untouched(
    choices: Sequence[Sequence[Match]], words: int, other_words: int
) -> frozenset[int]:
    """Positions in the candidate whose only match is free of others.

    It shares no word, on either side, with another match.
    """
    here, there = [0] * words, [0] * other_words
    for match in chain.from_iterable(choices):
        for position in range(match.start, match.start + match.length):
            here[position] += 1
        for position in range(match.other, match.other + match.other_length):
            there[position] += 1
    untouched = set()
    for position, matches in enumerate(choices):
        if len(matches) == 1:
            _, length, other_start, other_length, _ = matches[0]
            uses = here[position : position + length]
            uses += there[other_start : other_start + other_length]
            if max(uses) == 1:
                untouched.add(position)
    return frozenset(untouched)


def _bits(match: Match) -> int:
    """The reference's words of a match as bits."""
    return ((1 << match.other_length) - 1) << match.other


def _extend(path: _Path, match: Match) -> _Path:
    """The path with one match more."""
    goes_on = path.end == match.start and path.other_end == match.other
    weight = WEIGHTS[match.stage]
    return _Path(
        path.uncovered - int(weight * match.length) - int(weight * match.other_length),
        path.chunks + (not goes_on),
        path.absent - 1,
        path.distance + abs(match.start - match.other),
        match.start + match.length,
        match.other + match.other_length,
        path.used | _bits(match),
        (*path.matches, match),
    )


def _paraphrases(
    candidate: Sequence[str], reference: Sequence[str], lexicon: Lexicon
) -> list[Match]:
    """Matches of the last stage."""
    if not lexicon.paraphrases:
        return []
    here: dict[str, list[tuple[int, int]]] = {}
    for phrase, start, length in phrases(candidate, lexicon.longest):
        here.setdefault(phrase, []).append((start, length))
    matches = []
    for phrase, other_start, other_length in phrases(reference, lexicon.longest):
        for paraphrase in lexicon.paraphrases.get(phrase, _NONE) & here.keys():
            for start, length in here[paraphrase]:
                matches.append(
                    Match(start, length, other_start, other_length, PARAPHRASE)
                )
    return matches


def phrases(words: Sequence[str], longest: int) -> list[tuple[str, int, int]]:
    """Every phrase of up to ``longest`` words with its first word's place and its length."""
    all_phrases = []
    for start in range(len(words)):
        for length in range(1, min(longest, len(words) - start) + 1):
            all_phrases.append((" ".join(words[start : start + length]), start, length))
    return all_phrases
