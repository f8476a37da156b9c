"""Caption metrics beside pycocoevalcap's own Python classes: time and figures on the same tokens, in one run.

Data: the 4,982 raw captions of DATA/eval_fixtures/magic_karpathy_test, five references each, cut
once by our tokeniser (timed by itself; theirs starts Java). Each class runs a few rounds in turn and the
fastest counts, in processor time, so that other work on the machine matters little. Needs
pycocoevalcap, here or in another environment:

    python benchmarks/caption_metrics.py CAPTIONS.json --site-packages FOLDER --json caption_metrics.json
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from regiontalk.metrics.bleu import bleu_statistics, corpus_bleu
from regiontalk.metrics.cider import cider_d
from regiontalk.metrics.meteor.score import corpus_meteor, meteor_statistics
from regiontalk.metrics.meteor.tables import read_tables
from regiontalk.metrics.rouge import rouge_l
from regiontalk.metrics.tokenizer import ptb_tokenize


def clock(work: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds of a call, and its result."""
    start = time.process_time()
    found = work()
    return time.process_time() - start, found


def theirs(module: str, name: str, *arguments: Any) -> Callable[[Any, Any], Any]:
    """The ``compute_score`` of one of pycocoevalcap's classes, which print as they go."""
    scorer = getattr(importlib.import_module(f"pycocoevalcap.{module}"), name)(*arguments)
    return lambda references, said: scorer.compute_score(references, said)[0]


def compare(rows: list[dict[str, Any]], rounds: int) -> dict[str, dict[str, Any]]:
    """Seconds and figures of both sides for each metric."""
    seconds, cut = clock(
        lambda: [
            [ptb_tokenize(text) for text in (row["prediction"], *row["captions"])] for row in rows
        ]
    )
    candidates, groups = [texts[0] for texts in cut], [texts[1:] for texts in cut]
    said = {place: [" ".join(texts[0])] for place, texts in enumerate(cut)}
    references = {
        place: [" ".join(words) for words in texts[1:]] for place, texts in enumerate(cut)
    }
    pairs: dict[str, tuple[Callable[[], Any], Callable[[Any, Any], Any]]] = {
        "BLEU-1..4": (
            lambda: corpus_bleu(bleu_statistics(candidates, groups).sum(axis=0)),
            theirs("bleu.bleu", "Bleu", 4),
        ),
        "ROUGE-L": (lambda: rouge_l(candidates, groups).mean(), theirs("rouge.rouge", "Rouge")),
        "CIDEr-D": (lambda: cider_d(candidates, groups).mean(), theirs("cider.cider", "Cider")),
    }
    found: dict[str, dict[str, Any]] = {
        "tokeniser": {"ours_s": seconds, "theirs_s": None, "apart": None}
    }
    for name, (mine, other) in pairs.items():
        runs = [(clock(mine), clock(partial(other, references, said))) for _ in range(rounds)]
        apart = float(np.max(np.abs(np.array(runs[0][0][1]) - np.array(runs[0][1][1]))))
        found[name] = {
            "ours_s": min(ours for (ours, _), _ in runs),
            "theirs_s": min(took for _, (took, _) in runs),
            "apart": apart,
        }
    both = [found[name] for name in pairs]
    found["together"] = {
        "ours_s": sum(row["ours_s"] for row in both),
        "theirs_s": sum(row["theirs_s"] for row in both),
        "apart": max(row["apart"] for row in both),
    }
    folder = Path(str(importlib.import_module("pycocoevalcap").__path__[0])) / "meteor"
    seconds, score = clock(
        lambda: corpus_meteor(
            meteor_statistics(candidates, groups, read_tables(folder)).sum(axis=0)
        )
    )
    found["METEOR, tables read"] = {
        "ours_s": seconds,
        "theirs_s": None,
        "apart": None,
        "figure": float(score),
    }
    return found


def main() -> None:
    """Print the table and write the JSON file."""
    parser = argparse.ArgumentParser(description="Time the caption metrics beside pycocoevalcap.")
    parser.add_argument(
        "--site-packages", type=Path, help="where pycocoevalcap is, if not in this environment"
    )
    parser.add_argument("--rounds", type=int, default=3, help="runs of each; the fastest counts")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("captions", type=Path, help="mscoco_magic_result.json")
    arguments = parser.parse_args()
    if arguments.site_packages:
        sys.path.append(str(arguments.site_packages.resolve()))
    found = compare(json.loads(arguments.captions.read_text(encoding="utf-8")), arguments.rounds)
    print(f"{'metric':20} {'ours s':>8} {'theirs s':>9} {'times':>6} {'apart':>9}")
    for name, row in found.items():
        other = row["theirs_s"]
        rest = (
            f"{other:9.3f} {other / row['ours_s']:6.1f} {row['apart']:9.1e}"
            if other
            else f"{'-':>9}"
        )
        print(f"{name:20} {row['ours_s']:8.3f} {rest}")
    if arguments.json:
        part = arguments.json.with_suffix(".part")
        part.write_text(
            json.dumps({"captions": 4982, "rounds": arguments.rounds, "rows": found}, indent=1),
            encoding="utf-8",
        )
        os.replace(part, arguments.json)


if __name__ == "__main__":
    main()
