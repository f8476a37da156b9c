"""The field's caption table in one call: BLEU-1..4, ROUGE-L, CIDEr-D, METEOR, SPICE, variety, and what was wrong.

`score_captions` takes plain predictions and references, pairs them by id (`pairing`), cuts them with `ptb_tokenize` and
hands the tokens to one file a metric (`bleu`, `rouge`, `cider`, `meteor`, `diversity`). A metric that cannot run is
None and its reason is given. Figures come with bootstrap 95 % intervals over photos; those of CIDEr-D hold the document
frequencies of the whole set fixed. Variety has none: drawing captions twice changes what it measures.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from regiontalk.metrics.bleu import ORDERS, bleu_statistics, corpus_bleu
from regiontalk.metrics.cider import cider_d
from regiontalk.metrics.diversity import Diversity, measure_diversity
from regiontalk.metrics.intervals import Interval
from regiontalk.metrics.ngrams import IntArray
from regiontalk.metrics.pairing import Pairs, Predictions, Problem, pair
from regiontalk.metrics.rouge import rouge_l
from regiontalk.metrics.sums import bootstrap_sums
from regiontalk.metrics.tokenizer import ptb_tokenize


@dataclass(frozen=True)
class CaptionScores:
    """What `score_captions` found.

    Attributes:
        figures: name -> figure with its interval, or None where the metric could not run. BLEU, ROUGE-L, METEOR in
            0..1, CIDEr-D in 0..10. "CIDEr-D" is what coco-caption prints as CIDEr.
        reasons: name -> why its figure is None, and how to get it.
        diversity: variety and novelty of the predictions.
        captions: how many ids were scored.
        counts: sums that BLEU is made of: "testlen", "reflen", "guess", "correct", as coco-caption names them.
        problems: all that was wrong with the input.
    """

    figures: Mapping[str, Interval | None]
    reasons: Mapping[str, str]
    diversity: Diversity
    captions: int
    counts: Mapping[str, Any]
    problems: tuple[Problem, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: null for what could not run."""
        return {
            "figures": {name: found and found.to_dict() for name, found in self.figures.items()},
            "reasons": dict(self.reasons),
            "diversity": self.diversity.to_dict(),
            "captions": self.captions,
            "counts": dict(self.counts),
            "problems": [problem.to_dict() for problem in self.problems],
        }


def score_captions(
    predictions: Predictions,
    references: Mapping[Any, Sequence[str]],
    *,
    training: Iterable[str] | None = None,
    tokenized: bool = False,
    resamples: int = 1000,
    seed: int = 0,
) -> CaptionScores:
    """Score captions against references as the field does.

    Args:
        predictions: id -> caption, or (id, caption) pairs; both raw text.
        references: id -> raw sentences. Every id here is scored.
        training: raw training sentences, for novelty.
        tokenized: the texts are tokens joined by blanks already (as in nlg-eval); nothing is cut or lower-cased.
        resamples: bootstrap draws of photos.
        seed: of the draws.

    Raises:
        ValueError: predictions and references share no id.

    >>> scores = score_captions({1: "A dog runs."}, {1: ["a dog runs", "A dog is running!"]})
    >>> round(scores.figures["BLEU-1"].value, 6), round(scores.figures["ROUGE-L"].value, 6)
    (1.0, 1.0)
    """
    pairs = pair(predictions, references, tokenized=tokenized)
    statistics = bleu_statistics(pairs.candidates, pairs.references)
    figures: dict[str, Interval | None] = {}
    bleus = bootstrap_sums(statistics, corpus_bleu, resamples=resamples, seed=seed)
    figures.update({f"BLEU-{order}": figure for order, figure in enumerate(bleus, start=1)})
    means = np.stack([rouge_l(pairs.candidates, pairs.references), cider_d(pairs.candidates, pairs.references)], axis=1)
    figures["ROUGE-L"], figures["CIDEr-D"] = bootstrap_sums(means, resamples=resamples, seed=seed)
    return CaptionScores(
        figures=figures,
        reasons={},
        diversity=_diversity(pairs, training, tokenized),
        captions=len(pairs.ids),
        counts=_counts(statistics.sum(axis=0)),
        problems=pairs.problems,
    )


def _diversity(pairs: Pairs, training: Iterable[str] | None, tokenized: bool) -> Diversity:
    cut = str.split if tokenized else ptb_tokenize
    return measure_diversity(pairs.candidates, None if training is None else map(cut, training))


def _counts(totals: IntArray) -> dict[str, Any]:
    """The sums of `bleu_statistics` by coco-caption's names."""
    length, closest, *rest = totals.tolist()
    return {"testlen": length, "reflen": closest, "guess": rest[:ORDERS], "correct": rest[ORDERS:]}
