"""Predictions and references paired by id, with all that is wrong with them counted.

A table of figures hides a file that lacks half its photos. Here nothing is dropped in silence: each
kind of trouble is a `Problem` with a count, names, and what was done about it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from regiontalk.metrics.ngrams import Tokens
from regiontalk.metrics.tokenizer import ptb_tokenize

_NAMED = 5  # examples that a problem lists

Predictions = Mapping[Any, str] | Sequence[tuple[Any, str]]


@dataclass(frozen=True)
class Problem:
    """One kind of trouble with the input.

    Attributes:
        kind: short name ("missing prediction", ...).
        count: how many ids or texts have it.
        examples: up to five of their ids.
        treatment: what was done about it.
    """

    kind: str
    count: int
    examples: tuple[str, ...]
    treatment: str

    def line(self) -> str:
        """One line for people."""
        return (
            f"{self.kind}: {self.count} ({', '.join(self.examples)}); {self.treatment}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Pairs:
    """Candidates beside their references as tokens, in the order of the references.

    Attributes:
        ids: C ids.
        candidates: C token lists; empty where nothing was predicted.
        references: C groups of token lists.
        problems: what was wrong, and what was done.
    """

    ids: tuple[Hashable, ...]
    candidates: tuple[Tokens, ...]
    references: tuple[tuple[Tokens, ...], ...]
    problems: tuple[Problem, ...]


def pair(
    predictions: Predictions,
    references: Mapping[Any, Sequence[str]],
    *,
    tokenized: bool = False,
) -> Pairs:
    """Pair predictions with references.

    Every id that has a reference is scored: one without a prediction counts as an empty caption, so
    that leaving out hard photos cannot raise a figure. Of several predictions for one id the first
    counts.

    Args:
        predictions: id -> caption, or (id, caption) pairs where ids may occur twice.
        references: id -> raw sentences.
        tokenized: the texts are tokens joined by blanks already; else `ptb_tokenize` cuts them.

    Raises:
        ValueError: there are no references, no id is in both, or an id's references are a string.
    """
    rows = list(
        predictions.items() if isinstance(predictions, Mapping) else predictions
    )
    captions = dict(reversed(rows))  # of several for one id the first
    cut = str.split if tokenized else ptb_tokenize
    groups = _cut_references(references, cut)
    ids = [name for name, group in groups.items() if group]
    if not any(name in captions for name in ids):
        raise ValueError(
            "captions: expected predictions for the ids of the references (such as "
            f"{_names(ids[:2])}), got {len(captions)} for others (such as "
            f"{_names(list(captions)[:2])}); are both of one data set and type?"
        )
    candidates = {name: cut(captions.get(name, "")) for name in ids}
    problems = [
        *_prediction_problems(rows, captions, groups, candidates),
        *_reference_problems(groups, references, captions),
    ]
    return Pairs(
        tuple(ids),
        tuple(candidates.values()),
        tuple(groups[name] for name in ids),
        tuple(problem for problem in problems if problem.count),
    )


def _cut_references(
    references: Mapping[Any, Sequence[str]], cut: Callable[[str], Tokens]
) -> dict[Any, tuple[Tokens, ...]]:
    """Each id's references as tokens, without those that have none."""
    groups = {}
    for name, sentences in references.items():
        if isinstance(sentences, str):
            raise ValueError(
                f"references[{name!r}]: expected a list of sentences, got a string; "
                "write [sentence]"
            )
        groups[name] = tuple(tokens for tokens in map(cut, sentences) if tokens)
    return groups


def _prediction_problems(
    rows: Sequence[tuple[Any, str]],
    captions: Mapping[Any, str],
    groups: Mapping[Any, Sequence[Tokens]],
    candidates: Mapping[Any, Tokens],
) -> list[Problem]:
    """What is wrong with the predictions; kinds that do not occur have count 0."""
    counted: set[Any] = set()
    repeated: list[Any] = []
    for name, _ in rows:
        if name in counted:
            repeated.append(name)
        counted.add(name)
    missing, blank, wordless = [], [], []
    for name, tokens in candidates.items():
        if name not in captions:
            missing.append(name)
        elif not captions[name].strip():
            blank.append(name)
        elif not tokens:
            wordless.append(name)
    unasked = [name for name in captions if not groups.get(name)]
    as_empty = "scored as an empty caption"
    return [
        _problem("missing prediction", missing, as_empty),
        _problem("prediction without references", unasked, "left out"),
        _problem("duplicate prediction", repeated, "the first of each id counted"),
        _problem("empty prediction", blank, as_empty),
        _problem("prediction of punctuation only", wordless, as_empty),
    ]


def _reference_problems(
    groups: Mapping[Any, Sequence[Tokens]],
    references: Mapping[Any, Sequence[str]],
    captions: Mapping[Any, str],
) -> list[Problem]:
    """What is wrong with the references; kinds that do not occur have count 0."""
    unusable, shortened, non_ascii = [], [], []
    for name, sentences in references.items():
        if not groups[name]:
            unusable.append(name)
        elif len(groups[name]) < len(sentences):
            shortened.append(name)
        if not "".join((captions.get(name, ""), *sentences)).isascii():
            non_ascii.append(name)
    return [
        _problem("no usable reference", unusable, "id left out"),
        _problem("reference without words", shortened, "that reference left out"),
        _problem("non-ASCII text", non_ascii, "kept as it is"),
    ]


def _problem(kind: str, names: Sequence[Any], treatment: str) -> Problem:
    return Problem(kind, len(names), _names(names), treatment)


def _names(ids: Iterable[Hashable]) -> tuple[str, ...]:
    return tuple(map(str, list(ids)[:_NAMED]))
