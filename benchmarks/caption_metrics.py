r"""Caption metrics beside pycocoevalcap's own Python classes.

Time and figures on the same tokens, in one run. Data: the 4,982 raw captions of
DATA/eval_fixtures/magic_karpathy_test, five references each, cut once by our tokeniser
(timed by itself; theirs starts Java). Each class runs a few rounds in turn and the
fastest counts, in processor time, so that other work on the machine matters little.
Needs pycocoevalcap, here or in another environment:

    python benchmarks/caption_metrics.py CAPTIONS.json --site-packages FOLDER \
        --json caption_metrics.json
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from regiontalk.files import write_data
from regiontalk.metrics.bleu import bleu_statistics, corpus_bleu
from regiontalk.metrics.cider import cider_d
from regiontalk.metrics.meteor.score import corpus_meteor, meteor_statistics
from regiontalk.metrics.meteor.tables import read_tables
from regiontalk.metrics.ngrams import Tokens
from regiontalk.metrics.rouge import rouge_l
from regiontalk.metrics.tokenizer import ptb_tokenize


def clock(work: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds of a call, and its result."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def theirs(module: str, name: str, *arguments: Any) -> Callable[[Any, Any], Any]:
    """The ``compute_score`` of one of pycocoevalcap's classes, which print as they go."""
    scorer = getattr(importlib.import_module(f"pycocoevalcap.{module}"), name)(
        *arguments
    )
    return lambda references, candidates: scorer.compute_score(references, candidates)[
        0
    ]


def cut_row(row: dict[str, Any]) -> list[list[str]]:
    """The tokens of a prediction and of its references."""
    return list(map(ptb_tokenize, (row["prediction"], *row["captions"])))


def compare(rows: list[dict[str, Any]], rounds: int) -> dict[str, dict[str, Any]]:
    """Seconds and figures of both sides for each metric."""
    seconds, tokens_by_row = clock(lambda: list(map(cut_row, rows)))
    candidates = [texts[0] for texts in tokens_by_row]
    groups = [texts[1:] for texts in tokens_by_row]
    rows_by_metric: dict[str, dict[str, Any]] = {"tokeniser": alone(seconds)}
    raced = {}
    for name, (ours_of, theirs_of) in pairs_of(candidates, groups).items():
        their_call = partial(theirs_of, *their_texts(tokens_by_row))
        raced[name] = race(ours_of, their_call, rounds)
    rows_by_metric |= raced
    rows_by_metric["together"] = {
        "ours_s": sum(row["ours_s"] for row in raced.values()),
        "theirs_s": sum(row["theirs_s"] for row in raced.values()),
        "apart": max(row["apart"] for row in raced.values()),
    }
    seconds, score = clock(lambda: full_meteor(candidates, groups))
    rows_by_metric["METEOR, tables read"] = alone(seconds) | {"figure": score}
    return rows_by_metric


def alone(seconds: float) -> dict[str, Any]:
    """The row of something that only our side is timed for."""
    return {"ours_s": seconds, "theirs_s": None, "apart": None}


def pairs_of(
    candidates: Sequence[Tokens], groups: Sequence[Sequence[Tokens]]
) -> dict[str, tuple[Callable[[], Any], Callable[[Any, Any], Any]]]:
    """Each metric as a call of ours, and as theirs, which takes texts."""
    return {
        "BLEU-1..4": (
            lambda: corpus_bleu(bleu_statistics(candidates, groups).sum(axis=0)),
            theirs("bleu.bleu", "Bleu", 4),
        ),
        "ROUGE-L": (
            lambda: rouge_l(candidates, groups).mean(),
            theirs("rouge.rouge", "Rouge"),
        ),
        "CIDEr-D": (
            lambda: cider_d(candidates, groups).mean(),
            theirs("cider.cider", "Cider"),
        ),
    }


def their_texts(
    tokens_by_row: Sequence[list[list[str]]],
) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    """References and candidates by row number, as pycocoevalcap takes them."""
    candidates: dict[int, list[str]] = {}
    references: dict[int, list[str]] = {}
    for row_number, texts in enumerate(tokens_by_row):
        joined = list(map(" ".join, texts))
        candidates[row_number], references[row_number] = joined[:1], joined[1:]
    return references, candidates


def race(
    ours_of: Callable[[], Any], theirs_of: Callable[[], Any], rounds: int
) -> dict[str, float]:
    """The fastest of several runs of each, and how far their figures are apart."""
    our_runs, their_runs = [], []
    for _ in range(rounds):
        our_runs.append(clock(ours_of))
        their_runs.append(clock(theirs_of))
    our_figures, their_figures = np.array(our_runs[0][1]), np.array(their_runs[0][1])
    return {
        "ours_s": min(seconds for seconds, _ in our_runs),
        "theirs_s": min(seconds for seconds, _ in their_runs),
        "apart": float(np.max(np.abs(our_figures - their_figures))),
    }


def full_meteor(
    candidates: Sequence[Tokens], groups: Sequence[Sequence[Tokens]]
) -> float:
    """METEOR with all its tables, which are read anew."""
    folder = Path(str(importlib.import_module("pycocoevalcap").__path__[0])) / "meteor"
    statistics = meteor_statistics(candidates, groups, read_tables(folder))
    return float(corpus_meteor(statistics.sum(axis=0)))


def main() -> None:
    """Print the table and write the JSON file."""
    arguments = parse_arguments()
    if arguments.site_packages:
        sys.path.append(str(arguments.site_packages.resolve()))
    rows_by_metric = compare(
        json.loads(arguments.captions.read_text(encoding="utf-8")), arguments.rounds
    )
    print(f"{'metric':20} {'ours s':>8} {'theirs s':>9} {'times':>6} {'apart':>9}")
    for name, row in rows_by_metric.items():
        their_seconds = row["theirs_s"]
        their_columns = (
            f"{their_seconds:9.3f} {their_seconds / row['ours_s']:6.1f} {row['apart']:9.1e}"
            if their_seconds
            else f"{'-':>9}"
        )
        print(f"{name:20} {row['ours_s']:8.3f} {their_columns}")
    if arguments.json:
        report = {"captions": 4982, "rounds": arguments.rounds, "rows": rows_by_metric}
        write_data(arguments.json, json.dumps(report, indent=1).encode())


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Time the caption metrics beside pycocoevalcap."
    )
    parser.add_argument(
        "--site-packages",
        type=Path,
        help="where pycocoevalcap is, if not in this environment",
    )
    parser.add_argument(
        "--rounds", type=int, default=3, help="runs of each; the fastest counts"
    )
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("captions", type=Path, help="mscoco_magic_result.json")
    return parser.parse_args()


if __name__ == "__main__":
    main()
