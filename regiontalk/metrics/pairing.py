"""Predictions and references brought together by id, with all that is wrong with them counted.

A table of figures hides a file that lacks half its photos. Here nothing is dropped in silence: each
kind of trouble is a `Problem` with a count, names, and what was done about it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
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
        return f"{self.kind}: {self.count} ({', '.join(self.examples)}); {self.treatment}"

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
    predictions: Predictions, references: Mapping[Any, Sequence[str]], *, tokenized: bool = False
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
    rows = list(predictions.items() if isinstance(predictions, Mapping) else predictions)
    first = dict(reversed(rows))
    for name, group in references.items():
        if isinstance(group, str):
            raise ValueError(
                f"references[{name!r}]: expected a list of sentences, got a string; write [sentence]"
            )
    cut = str.split if tokenized else ptb_tokenize
    groups = {
        name: [tokens for tokens in map(cut, group) if tokens] for name, group in references.items()
    }
    ids = [name for name, group in groups.items() if group]
    if not ids or not any(name in first for name in ids):
        raise ValueError(
            f"captions: expected predictions for the ids of the references (such as {_names(ids[:2])}), "
            f"got {len(first)} for others (such as {_names(list(first)[:2])}); are both of one data set and type?"
        )
    candidates = [cut(first.get(name, "")) for name in ids]
    problems = _problems(rows, first, groups, references, dict(zip(ids, candidates, strict=True)))
    return Pairs(
        tuple(ids), tuple(candidates), tuple(tuple(groups[name]) for name in ids), problems
    )


def _problems(
    rows: Sequence[tuple[Any, str]],
    first: Mapping[Any, str],
    groups: Mapping[Any, Sequence[Tokens]],
    references: Mapping[Any, Sequence[str]],
    cut: Mapping[Any, Tokens],
) -> tuple[Problem, ...]:
    """All kinds of trouble that occurred."""
    earlier_names: set[Any] = set()
    twice: list[Any] = []
    for name, _ in rows:
        if name in earlier_names:
            twice.append(name)
        earlier_names.add(name)
    blank = [name for name in cut if name in first and not first[name].strip()]
    wordless = [
        name for name, tokens in cut.items() if name in first and not tokens and first[name].strip()
    ]
    lost = [name for name, group in groups.items() if len(group) < len(references[name]) and group]
    texts = {name: (first.get(name, ""), *group) for name, group in references.items()}
    checks = (
        (
            "missing prediction",
            [name for name in cut if name not in first],
            "scored as an empty caption",
        ),
        (
            "prediction without references",
            [name for name in first if not groups.get(name)],
            "left out",
        ),
        ("duplicate prediction", twice, "the first of each id counted"),
        ("empty prediction", blank, "scored as an empty caption"),
        ("prediction of punctuation only", wordless, "scored as an empty caption"),
        (
            "no usable reference",
            [name for name, group in groups.items() if not group],
            "id left out",
        ),
        ("reference without words", lost, "that reference left out"),
        (
            "non-ASCII text",
            [name for name, group in texts.items() if not "".join(group).isascii()],
            "kept as it is",
        ),
    )
    return tuple(
        Problem(kind, len(names), _names(names), done) for kind, names, done in checks if names
    )


def _names(ids: Iterable[Hashable]) -> tuple[str, ...]:
    return tuple(map(str, list(ids)[:_NAMED]))
