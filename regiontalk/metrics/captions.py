"""The field's caption table in one call.

BLEU-1..4, ROUGE-L, CIDEr-D, METEOR, SPICE, variety, and what was wrong.
`score_captions` takes plain predictions and references, pairs them by id (`pairing`),
cuts them with `ptb_tokenize` and hands the tokens to one file a metric (`bleu`,
`rouge`, `cider`, `meteor`, `diversity`). A metric that cannot run is None and its
reason is given. Figures come with bootstrap 95 % intervals over photos; those of
CIDEr-D hold the document frequencies of the whole set fixed; of variety see
`diversity.diversity_intervals`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontalk.metrics.bleu import ORDERS, bleu_statistics, corpus_bleu
from regiontalk.metrics.bootstrap import Interval, bootstrap_sums
from regiontalk.metrics.cider import cider_d
from regiontalk.metrics.diversity import (
    Diversity,
    diversity_intervals,
    measure_diversity,
)
from regiontalk.metrics.meteor.score import corpus_meteor, meteor_statistics
from regiontalk.metrics.meteor.tables import MeteorTables
from regiontalk.metrics.ngrams import IntArray, Tokens
from regiontalk.metrics.pairing import Pairs, Predictions, Problem, pair
from regiontalk.metrics.rouge import rouge_l
from regiontalk.metrics.tokenizer import ptb_tokenize

Statistics = Callable[[Sequence[Tokens], Sequence[Sequence[Tokens]]], IntArray]
Scores = Callable[[Sequence[Tokens], Sequence[Sequence[Tokens]]], NDArray[np.float64]]
_TWO_STAGES = "METEOR (exact, stem)"
_NO_METEOR = (
    "synonyms, paraphrases and function words are in pycocoevalcap: pip install pycocoevalcap, "
    "then read_tables"
)
_NO_SPICE = "needs Java 8 to 14, spice-1.0.jar and the Stanford CoreNLP models: --spice-jar FILE"


@dataclass(frozen=True)
class CaptionScores:
    """What `score_captions` returns.

    Attributes:
        figures: name -> figure with its interval, or None where the metric could not run. BLEU,
            ROUGE-L, METEOR, SPICE in 0..1, CIDEr-D in 0..10. "CIDEr-D" is what coco-caption prints
            as CIDEr.
        reasons: name -> why its figure is None, and how to get it.
        diversity: variety and novelty of the predictions.
        captions: how many ids were scored.
        counts: sums that BLEU is made of: "testlen", "reflen", "guess", "correct", as coco-caption
            names them.
        problems: all that was wrong with the input.
        variety: distinct-1, distinct-2, vocabulary, mean length and share in training, with
            intervals.
    """

    figures: Mapping[str, Interval | None]
    reasons: Mapping[str, str]
    diversity: Diversity
    captions: int
    counts: Mapping[str, Any]
    problems: tuple[Problem, ...]
    variety: Mapping[str, Interval | None]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: null for what could not run."""
        return {
            "figures": {
                name: figure and figure.to_dict()
                for name, figure in self.figures.items()
            },
            "reasons": dict(self.reasons),
            "diversity": self.diversity.to_dict(),
            "captions": self.captions,
            "counts": dict(self.counts),
            "problems": [problem.to_dict() for problem in self.problems],
            "variety": {
                name: figure and figure.to_dict()
                for name, figure in self.variety.items()
            },
        }


def score_captions(
    predictions: Predictions,
    references: Mapping[Any, Sequence[str]],
    *,
    training: Iterable[str] | None = None,
    meteor: Statistics | None = None,
    spice: Scores | None = None,
    tokenized: bool = False,
    resamples: int = 1000,
    seed: int = 0,
) -> CaptionScores:
    """Score captions against references as the field does.

    Args:
        predictions: id -> caption, or (id, caption) pairs; both raw text.
        references: id -> raw sentences. Every id here is scored.
        training: raw training sentences, for novelty.
        meteor: METEOR's statistics of candidates and references: `meteor.meteor_statistics` or
            `meteor.jar.jar_statistics` with its tables bound (`functools.partial`). None: METEOR is
            None, and its first two stages are reported under a name of their own.
        spice: SPICE of each candidate against its references: `spice_jar.spice_scores` with its jar
            bound. Where it raises ValueError, as where it is not given, SPICE is None with the
            reason.
        tokenized: the texts are tokens joined by blanks already (as in nlg-eval); nothing is cut or
            lower-cased.
        resamples: bootstrap draws of photos.
        seed: of the draws.

    Raises:
        ValueError: predictions and references share no id.

    >>> scores = score_captions({1: "A dog runs."}, {1: ["a dog runs", "A dog is running!"]})
    >>> round(scores.figures["BLEU-1"].value, 6), round(scores.figures["ROUGE-L"].value, 6)
    (1.0, 1.0)
    """
    pairs = pair(predictions, references, tokenized=tokenized)
    cut = str.split if tokenized else ptb_tokenize
    training_tokens = None if training is None else list(map(cut, training))
    draw = partial(bootstrap_sums, resamples=resamples, seed=seed)
    bleu_rows = bleu_statistics(pairs.candidates, pairs.references)
    figures = _own_figures(pairs, bleu_rows, draw)
    meteor_name, meteor_rows, no_meteor = _meteor(pairs, meteor)
    if meteor_rows is not None:
        (figures[meteor_name],) = draw(meteor_rows, corpus_meteor)
    spices, no_spice = _spice(pairs, spice)
    if spices is not None:
        (figures["SPICE"],) = draw(spices)
    reasons = {"SPICE": no_spice, "METEOR": no_meteor}
    return CaptionScores(
        figures=figures,
        reasons={
            name: reason for name, reason in reasons.items() if reason is not None
        },
        diversity=measure_diversity(pairs.candidates, training_tokens),
        captions=len(pairs.ids),
        counts=_counts(bleu_rows.sum(axis=0)),
        problems=pairs.problems,
        variety=diversity_intervals(
            pairs.candidates, training_tokens, resamples=resamples, seed=seed
        ),
    )


def _own_figures(
    pairs: Pairs, bleu_rows: IntArray, draw: Callable[..., list[Interval]]
) -> dict[str, Interval | None]:
    """BLEU, ROUGE-L and CIDEr-D; METEOR and SPICE are None until they are computed."""
    figures: dict[str, Interval | None] = {}
    for order, figure in enumerate(draw(bleu_rows, corpus_bleu), start=1):
        figures[f"BLEU-{order}"] = figure
    rouges = rouge_l(pairs.candidates, pairs.references)
    ciders = cider_d(pairs.candidates, pairs.references)
    figures["ROUGE-L"], figures["CIDEr-D"] = draw(np.stack([rouges, ciders], axis=1))
    figures["METEOR"] = figures["SPICE"] = None
    return figures


def _meteor(
    pairs: Pairs, meteor: Statistics | None
) -> tuple[str, IntArray | None, str | None]:
    """Name of the METEOR figure, its statistics (C, 23) or None, and why METEOR itself is None."""
    try:
        if meteor is not None:
            return "METEOR", meteor(pairs.candidates, pairs.references), None
        rows = meteor_statistics(pairs.candidates, pairs.references, MeteorTables())
    except ImportError as error:
        reason = str(error) if meteor is not None else f"{_NO_METEOR}; {error}"
        return _TWO_STAGES, None, reason
    return _TWO_STAGES, rows, _NO_METEOR


def _spice(
    pairs: Pairs, spice: Scores | None
) -> tuple[NDArray[np.float64] | None, str | None]:
    """SPICE of each caption (C,), or None and why."""
    if spice is None:
        return None, _NO_SPICE
    try:
        return spice(pairs.candidates, pairs.references), None
    except ValueError as error:
        return None, str(error)


def _counts(totals: IntArray) -> dict[str, Any]:
    """The sums of `bleu_statistics` by coco-caption's names."""
    length, closest, *ngram_counts = totals.tolist()
    return {
        "testlen": length,
        "reflen": closest,
        "guess": ngram_counts[:ORDERS],
        "correct": ngram_counts[ORDERS:],
    }
