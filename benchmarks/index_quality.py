"""What the photo index finds, beside exact scores of the same photos: sentences, short phrases, and the framed region.

    python benchmarks/index_quality.py --data DATA --json index_quality.json
    python benchmarks/index_quality.py --data DATA --library all --queries 1000 --json index_quality_all.json

The library is the 1,000 Flickr8k dev photos, or all photos of the folder; queries are dev's own.
*Sentence to photo*: R@1 and R@10 through `PhotoIndex.search` and by the model's float32 scores of
every photo. *Phrase to photo*: an Entities phrase with a box finds its own photo among ten (others
may well show the same thing). *Framed*: the region that a hit frames has IoU 0.5 or more with a box
of the phrase, over the photos that were found, and over all phrases with the search kept to the
phrase's own photo. With ``--library all`` most photos are ones that the model was trained on: exact
R@1 and R@10 of a dev photo among 999 of those stand beside the same among dev's own 999.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from regiontalk import RegionCaptioner
from regiontalk import boxes as box_ops
from regiontalk.captioner import ALIGN_REGIONS
from regiontalk.datasets.splits import read_split
from regiontalk.evaluate.photos import EncodedPhotos
from regiontalk.evaluate.retrieval import region_embeddings, score_matrix
from regiontalk.evaluate.suite import write_json
from regiontalk.index.library import PhotoIndex
from regiontalk.index.query import Hit
from regiontalk.records import Example, FloatArray
from regiontalk.text.vocabulary import Vocabulary, tokenize


@dataclass(frozen=True)
class Asked:
    """A query, the row of its photo in the library, and its true boxes (n, 4) with the size they refer to."""

    text: str
    photo: int
    truths_xyxy: FloatArray
    size_wh: tuple[int, int] | None = None


def sentences(examples: Sequence[Example]) -> list[Asked]:
    """Every sentence of dev."""
    none = np.zeros((0, 4), dtype=np.float32)
    return [
        Asked(text, row, none) for row, example in enumerate(examples) for text in example.captions
    ]


def phrases(examples: Sequence[Example]) -> list[Asked]:
    """Every phrase with a box, the same words of one photo once."""
    queries: dict[tuple[int, str], Asked] = {}
    for row, example in enumerate(examples):
        for phrase in example.phrases:
            if phrase.boxes:
                truths = example.boxes_xyxy[list(phrase.boxes)]
                queries.setdefault(
                    (row, phrase.text.lower()), Asked(phrase.text, row, truths, example.size_wh)
                )
    return list(queries.values())


def right(hit: Hit, asked: Asked) -> bool:
    """Whether the framed region meets a true box."""
    framed = np.array([hit.answer.box], dtype=np.float32)
    if asked.size_wh is not None:
        framed = box_ops.rescale(framed, hit.result.size_wh, asked.size_wh)
    return bool(box_ops.iou(framed, asked.truths_xyxy).max() >= 0.5)


def exact_ranks(
    captioner: RegionCaptioner,
    embeddings: Tensor,
    is_region: Tensor,
    queries: Sequence[Asked],
    rivals: Sequence[slice],
) -> list[np.ndarray]:
    """For each group of photos the rank of a query's own among them by the model's scores, 0 the best."""
    ranks = []
    for start in range(0, len(queries), 100):
        block = queries[start : start + 100]
        token_ids = [captioner.vocabulary.encode(asked.text) for asked in block]
        scores = score_matrix(captioner.predictor, embeddings, token_ids, is_region)  # (B, C)
        true = scores[[asked.photo for asked in block], np.arange(len(block))]
        ranks.append([(scores[some] > true).sum(axis=0) for some in rivals])
    return [np.concatenate(group_ranks) for group_ranks in zip(*ranks, strict=True)]


def measure(
    captioner: RegionCaptioner,
    library: PhotoIndex,
    paths: Sequence[str],
    queries: Sequence[Asked],
    exact: np.ndarray,
) -> dict[str, Any]:
    """R@1 and R@10 of both ways, how often the ten are found, and for phrases the framed regions."""
    ranks, framed, alone, took = [], [], [], []
    for asked in queries:
        start = time.perf_counter()
        hits = library.search(captioner, asked.text, k=10)
        took.append(time.perf_counter() - start)
        rank_of_own = next(
            (rank for rank, hit in enumerate(hits) if hit.photo == paths[asked.photo]), None
        )
        ranks.append(10**9 if rank_of_own is None else rank_of_own)
        if len(asked.truths_xyxy):
            framed_hits = library.search(captioner, asked.text, k=1, folder=paths[asked.photo])
            alone.append(right(framed_hits[0], asked))
            if rank_of_own is not None:
                framed.append(right(hits[rank_of_own], asked))
    figures = {
        "queries": len(queries),
        **{f"index R@{k}": float(np.mean(np.array(ranks) < k)) for k in (1, 10)},
        **{f"exact R@{k}": float(np.mean(exact < k)) for k in (1, 10)},
        "p50_ms": float(np.median(took) * 1e3),
    }
    if alone:
        figures |= {"framed right, photos found": float(np.mean(framed)) if framed else None}
        figures |= {"framed right, own photo": float(np.mean(alone))}
    return figures


def knows_word(vocabulary: Vocabulary, text: str) -> bool:
    """Whether the model knows a word of a text."""
    return any(word in vocabulary for word in tokenize(text))


def library_photos(data: Path, which: str) -> tuple[list[Example], list[Example]]:
    """The photos of the library, dev first so that queries know their rows; and dev's own."""
    dev, _ = read_split(data, "dev")
    if which == "dev":
        return dev, dev
    known = {example.photo for example in dev}
    others = sorted(path for path in dev[0].photo.parent.iterdir() if path not in known)
    return [*dev, *(Example(path) for path in others)], dev


def main() -> None:
    """Build the library, ask, print and write."""
    arguments = parse_arguments()
    captioner = RegionCaptioner.from_pretrained(arguments.model)
    examples, dev = library_photos(arguments.data, arguments.library)
    if arguments.photos:
        examples = dev = dev[: arguments.photos]
    paths = [os.path.abspath(example.photo) for example in examples]
    with tempfile.TemporaryDirectory() as temporary:
        library = PhotoIndex.open_or_create(arguments.index or Path(temporary) / "index", captioner)
        start = time.perf_counter()
        added = library.add(captioner, paths, captions=0)
        seconds = time.perf_counter() - start
        opened, embeddings, is_region = region_embeddings(
            EncodedPhotos(captioner, examples), ALIGN_REGIONS
        )
        if len(opened) != len(examples):
            raise ValueError(
                f"expected {len(examples)} photos that can be opened, got {len(opened)}"
            )
        report: dict[str, Any] = {
            "photos": len(library),
            "added": added.added,
            "add_s": round(seconds, 1),
        }
        vocabulary = captioner.vocabulary
        for name, every in (
            ("sentence to photo", sentences(dev)),
            ("phrase to photo", phrases(dev)),
        ):
            asked = [query for query in every if knows_word(vocabulary, query.text)]
            drawn = random.Random(0).sample(asked, min(arguments.queries, len(asked)))
            groups = {"all": slice(None)}
            if len(examples) > len(dev):
                groups |= {
                    "dev alone": slice(len(dev)),
                    "others": slice(len(dev), 2 * len(dev) - 1),
                }
            exact, *apart = exact_ranks(
                captioner, embeddings, is_region, drawn, list(groups.values())
            )
            report[name] = measure(captioner, library, paths, drawn, exact)
            for group, ranks in zip(list(groups)[1:], apart, strict=True):
                report[name] |= {
                    f"exact R@{k}, {group}": float(np.mean(ranks < k)) for k in (1, 10)
                }
            report[name]["left out, no word known"] = len(every) - len(asked)
            print(name, json.dumps(report[name]), flush=True)
        report["index"] = {key: library.info()[key] for key in ("bytes",)}
    print(json.dumps(report, indent=2))
    if arguments.json:
        write_json(arguments.json, report)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="Flickr8k with Entities")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--library", choices=("dev", "all"), default="dev")
    parser.add_argument("--photos", type=int, help="only the first dev photos, to try it out")
    parser.add_argument(
        "--queries", type=int, default=2_000, help="sentences, and as many phrases, drawn at random"
    )
    parser.add_argument(
        "--index", type=Path, help="folder that keeps the library; else it is a temporary one"
    )
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    with torch.inference_mode():
        main()
