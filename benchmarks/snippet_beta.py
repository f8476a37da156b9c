"""Choose beta of eq. 12: how often the box inferred for a snippet is the true box of a phrase inside it.

    python benchmarks/snippet_beta.py --model mini --data DATA --split dev --json out/beta.json

For every beta: the share of snippets that hold an annotated phrase with a box and whose region
overlaps one of that
phrase's boxes by IoU >= 0.5; beside it the same snippets labelled with the whole photo, and with
the regions of a chain over shuffled scores (each word's scores permuted over the regions: the chain
without knowledge).
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from regiontalk import RegionCaptioner
from regiontalk.align.score import region_prior
from regiontalk.align.snippets import Snippet, snippets, viterbi
from regiontalk.boxes import iou
from regiontalk.captioner import ALIGN_REGIONS
from regiontalk.datasets.splits import read_split
from regiontalk.images.open import open_photo
from regiontalk.model.config import chain_of
from regiontalk.records import Example, FloatArray
from regiontalk.text.vocabulary import tokenize

BETAS = (0.0, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 1.0)


def main() -> None:
    """Print the table and write it as JSON."""
    arguments = parse_arguments()
    examples, _ = read_split(arguments.data, arguments.split)
    captioner = RegionCaptioner.from_pretrained(arguments.model)
    counts = measure(captioner, examples[: arguments.limit], np.random.default_rng(arguments.seed))
    print("beta    snippets  words/snippet  inferred  whole photo  shuffled")
    rows = []
    for beta, tally in counts.items():
        row = {
            "beta": beta,
            "snippets": tally["snippets"],
            "words": tally["words"] / tally["snippets"],
            "with_phrase": tally["held"],
            "inferred": tally["right"] / max(1, tally["held"]),
            "whole": tally["whole"] / max(1, tally["held"]),
            "shuffled": tally["shuffled right"] / max(1, tally["shuffled held"]),
        }
        rows.append(row)
        print(
            f"{beta:<7g} {row['snippets']:8d}  {row['words']:13.2f}  {row['inferred']:8.3f}  {row['whole']:11.3f}  "
            f"{row['shuffled']:8.3f}"
        )
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="dev")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def measure(
    captioner: RegionCaptioner, examples: Sequence[Example], random: np.random.Generator
) -> dict[float, Counter[str]]:
    """For each beta: snippets, their words, those that hold a phrase, and how many of these are right in each way."""
    counts: dict[float, Counter[str]] = {beta: Counter() for beta in BETAS}
    model = captioner.predictor
    begins = chain_of(model.config.decoding, model.vocabulary).starts
    for example in examples:
        if example.size_wh is None or not len(example.boxes_xyxy):
            continue
        photo = open_photo(example.photo)
        maps = captioner.encode([photo])
        boxes, objectness = model.propose(maps, ALIGN_REGIONS)
        vectors = model.embed_regions(model.region_features(maps, boxes))[0]  # (N, D)
        overlap = iou(
            model.preprocessing.to_original(boxes[0], example.size_wh), example.boxes_xyxy
        )
        for number, caption in enumerate(example.captions):
            sentence = model.vocabulary.encode(caption)
            if not sentence:
                continue
            words, _ = model.encode_text([sentence])
            prior = region_prior(
                words, objectness, model.config.decoding.region_prior, len(vectors)
            )
            scores = (words[0] @ vectors.T + prior[0])[: len(sentence)]
            mixed = random.permuted(scores, axis=1)
            starts = None if begins is None else np.array(begins(sentence))
            for beta in BETAS:
                runs, tally = snippets(viterbi(scores, beta, starts=starts)[0]), counts[beta]
                tally["snippets"] += len(runs)
                tally["words"] += len(sentence)
                with_phrase, correct, on_whole_photo = judge(runs, example, number, overlap)
                tally.update({"held": with_phrase, "right": correct, "whole": on_whole_photo})
                with_phrase, correct, _ = judge(
                    snippets(viterbi(mixed, beta, starts=starts)[0]), example, number, overlap
                )
                tally.update({"shuffled held": with_phrase, "shuffled right": correct})
    return counts


def judge(
    runs: Sequence[Snippet], example: Example, caption: int, overlap: FloatArray
) -> tuple[int, int, int]:
    """Snippets that hold a phrase with a box; of those, right ones; right ones if they meant the whole photo."""
    with_phrase = correct = on_whole_photo = 0
    for run in runs:
        boxes = [
            row
            for phrase in example.phrases
            if phrase.caption == caption
            and phrase.boxes
            and phrase.first_word is not None
            and run.first <= phrase.first_word
            and phrase.first_word + len(tokenize(phrase.text)) - 1 <= run.last
            for row in phrase.boxes
        ]
        if boxes:
            with_phrase += 1
            correct += bool(overlap[run.region, boxes].max() >= 0.5)
            on_whole_photo += bool(overlap[0, boxes].max() >= 0.5)
    return with_phrase, correct, on_whole_photo


if __name__ == "__main__":
    main()
