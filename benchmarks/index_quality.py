r"""What the photo index finds, beside exact scores of the same photos.

Sentences, short phrases, and the framed region.

    python benchmarks/index_quality.py --data DATA --json index_quality.json
    python benchmarks/index_quality.py --data DATA --library all --queries 1000 \
        --json index_quality_all.json

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
from collections import defaultdict
from collections.abc import Mapping, Sequence
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

NOT_FOUND = 10**9  # the rank of a photo that is not among the ten


@dataclass(frozen=True)
class Asked:
    """A query, the row of its photo in the library, and its true boxes (n, 4).

    With the size they refer to.
    """

    text: str
    photo: int
    truths_xyxy: FloatArray
    size_wh: tuple[int, int] | None = None


def sentences(examples: Sequence[Example]) -> list[Asked]:
    """Every sentence of dev."""
    none = np.zeros((0, 4), dtype=np.float32)
    return [
        Asked(text, row, none)
        for row, example in enumerate(examples)
        for text in example.captions
    ]


def phrases(examples: Sequence[Example]) -> list[Asked]:
    """Every phrase with a box, the same words of one photo once."""
    queries: dict[tuple[int, str], Asked] = {}
    for row, example in enumerate(examples):
        for phrase in example.phrases:
            if phrase.boxes:
                truths = example.boxes_xyxy[list(phrase.boxes)]
                queries.setdefault(
                    (row, phrase.text.lower()),
                    Asked(phrase.text, row, truths, example.size_wh),
                )
    return list(queries.values())


QUERIES = {"sentence to photo": sentences, "phrase to photo": phrases}


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
    groups: Mapping[str, slice],
) -> dict[str, np.ndarray]:
    """For each group of photos the rank of a query's own among them.

    By the model's scores, 0 the best.
    """
    ranks = defaultdict(list)
    for start in range(0, len(queries), 100):
        block = queries[start : start + 100]
        token_ids = [captioner.vocabulary.encode(asked.text) for asked in block]
        # (B, C)
        scores = score_matrix(captioner.predictor, embeddings, token_ids, is_region)
        true = scores[[asked.photo for asked in block], np.arange(len(block))]
        for name, group in groups.items():
            ranks[name].append((scores[group] > true).sum(axis=0))
    return {name: np.concatenate(group_ranks) for name, group_ranks in ranks.items()}


def measure(
    captioner: RegionCaptioner,
    library: PhotoIndex,
    paths: Sequence[str],
    queries: Sequence[Asked],
    exact: np.ndarray,
) -> dict[str, Any]:
    """R@1 and R@10 of both ways, and how often the ten are found.

    For phrases also the framed regions.
    """
    ranks, framed, framed_alone, seconds = [], [], [], []
    for asked in queries:
        own_photo = paths[asked.photo]
        start = time.perf_counter()
        hits = library.search(captioner, asked.text, k=10)
        seconds.append(time.perf_counter() - start)
        rank = rank_of(own_photo, hits)
        ranks.append(rank)
        if len(asked.truths_xyxy):
            framed += [right(hit, asked) for hit in hits[rank : rank + 1]]
            (hit_alone,) = library.search(captioner, asked.text, k=1, folder=own_photo)
            framed_alone.append(right(hit_alone, asked))
    figures: dict[str, Any] = {"queries": len(queries)}
    figures |= recalls("index R@{}", np.array(ranks)) | recalls("exact R@{}", exact)
    figures["p50_ms"] = float(np.median(seconds) * 1e3)
    return figures | framed_figures(framed, framed_alone)


def framed_figures(
    framed: Sequence[bool], framed_alone: Sequence[bool]
) -> dict[str, Any]:
    """The share of framed regions that are right.

    Of the photos that were found, and of a search in them alone.
    """
    if not framed_alone:
        return {}
    return {
        "framed right, photos found": float(np.mean(framed)) if framed else None,
        "framed right, own photo": float(np.mean(framed_alone)),
    }


def rank_of(photo: str, hits: Sequence[Hit]) -> int:
    """The first hit's number that is a photo; `NOT_FOUND` where none is."""
    photos = [hit.photo for hit in hits]
    return photos.index(photo) if photo in photos else NOT_FOUND


def recalls(name: str, ranks: np.ndarray) -> dict[str, Any]:
    """R@1 and R@10 of ranks (Q,), 0 the best, under a name with a place for the number."""
    return {name.format(k): float(np.mean(ranks < k)) for k in (1, 10)}


def knows_word(vocabulary: Vocabulary, text: str) -> bool:
    """Whether the model knows a word of a text."""
    return any(word in vocabulary for word in tokenize(text))


def library_photos(
    data: Path, which: str, limit: int | None
) -> tuple[list[Example], list[Example]]:
    """The photos of the library, dev first so that queries know their rows; and dev's own.

    A limit keeps the first dev photos alone.
    """
    dev, _ = read_split(data, "dev")
    if which == "dev" or limit:
        return dev[: limit or None], dev[: limit or None]
    known = {example.photo for example in dev}
    others = sorted(path for path in dev[0].photo.parent.iterdir() if path not in known)
    return [*dev, *(Example(path) for path in others)], dev


def main() -> None:
    """Build the library, ask, print and write."""
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as temporary:
        report = build_and_ask(arguments, arguments.index or Path(temporary) / "index")
    print(json.dumps(report, indent=2))
    if arguments.json:
        write_json(arguments.json, report)


def build_and_ask(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Build the library in a folder and ask it; all figures."""
    captioner = RegionCaptioner.from_pretrained(arguments.model)
    examples, dev = library_photos(arguments.data, arguments.library, arguments.photos)
    paths = [os.path.abspath(example.photo) for example in examples]
    library = PhotoIndex.open_or_create(folder, captioner)
    report = add_photos(library, captioner, paths)
    embedded = embed(captioner, examples)
    groups = rivals_of(examples, dev)
    for name, queries_of in QUERIES.items():
        drawn, left_out = draw(queries_of(dev), captioner.vocabulary, arguments.queries)
        ranks_by_group = exact_ranks(captioner, *embedded, drawn, groups)
        exact_of_all = ranks_by_group.pop("all")
        figures = measure(captioner, library, paths, drawn, exact_of_all)
        figures |= group_recalls(ranks_by_group)
        report[name] = figures | {"left out, no word known": left_out}
        print(name, json.dumps(report[name]), flush=True)
    report["index"] = {"bytes": library.info()["bytes"]}
    return report


def add_photos(
    library: PhotoIndex, captioner: RegionCaptioner, paths: Sequence[str]
) -> dict[str, Any]:
    """Add photos without captions: how many there are, how many are new, and the seconds."""
    start = time.perf_counter()
    added = library.add(captioner, paths, captions=0)
    seconds = time.perf_counter() - start
    return {"photos": len(library), "added": added.added, "add_s": round(seconds, 1)}


def group_recalls(ranks_by_group: dict[str, np.ndarray]) -> dict[str, Any]:
    """R@1 and R@10 in each group of photos."""
    figures: dict[str, Any] = {}
    for group, ranks in ranks_by_group.items():
        figures |= recalls(f"exact R@{{}}, {group}", ranks)
    return figures


def draw(
    queries: Sequence[Asked], vocabulary: Vocabulary, count: int
) -> tuple[list[Asked], int]:
    """Up to so many queries of which the model knows a word, and how many have none."""
    asked = [query for query in queries if knows_word(vocabulary, query.text)]
    drawn = random.Random(0).sample(asked, min(count, len(asked)))
    return drawn, len(queries) - len(asked)


def embed(
    captioner: RegionCaptioner, examples: Sequence[Example]
) -> tuple[Tensor, Tensor]:
    """The regions of all photos (B, N, D) for exact scores, and which of them there are (B, N)."""
    opened, embeddings, is_region = region_embeddings(
        EncodedPhotos(captioner, examples), ALIGN_REGIONS
    )
    if len(opened) != len(examples):
        raise ValueError(
            f"expected {len(examples)} photos that can be opened, got {len(opened)}"
        )
    return embeddings, is_region


def rivals_of(examples: Sequence[Example], dev: Sequence[Example]) -> dict[str, slice]:
    """The groups of photos among which a query's own is ranked.

    All, and those of dev and others apart.
    """
    groups = {"all": slice(None)}
    if len(examples) > len(dev):
        groups["dev alone"] = slice(len(dev))
        groups["others"] = slice(len(dev), 2 * len(dev) - 1)
    return groups


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="Flickr8k with Entities"
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument("--library", choices=("dev", "all"), default="dev")
    parser.add_argument(
        "--photos", type=int, help="only the first dev photos, to try it out"
    )
    parser.add_argument(
        "--queries",
        type=int,
        default=2_000,
        help="sentences, and as many phrases, drawn at random",
    )
    parser.add_argument(
        "--index",
        type=Path,
        help="folder that keeps the library; else it is a temporary one",
    )
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    with torch.inference_mode():
        main()
