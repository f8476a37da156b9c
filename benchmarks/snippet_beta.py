"""Choose beta of eq. 12.

How often the box inferred for a snippet is the true box of a phrase inside it.

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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regiontalk import RegionCaptioner
from regiontalk.align.score import region_prior
from regiontalk.align.snippets import Snippet, snippets, viterbi
from regiontalk.boxes import iou
from regiontalk.captioner import ALIGN_REGIONS
from regiontalk.datasets.splits import read_split
from regiontalk.images.open import open_photo
from regiontalk.model.config import chain_of
from regiontalk.records import Example, FloatArray, Phrase
from regiontalk.text.vocabulary import tokenize

BETAS = (0.0, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 1.0)


def main() -> None:
    """Print the table and write it as JSON."""
    arguments = parse_arguments()
    examples, _ = read_split(arguments.data, arguments.split)
    captioner = RegionCaptioner.from_pretrained(arguments.model)
    counts = measure(
        captioner, examples[: arguments.limit], np.random.default_rng(arguments.seed)
    )
    print("beta    snippets  words/snippet  inferred  whole photo  shuffled")
    rows = []
    for beta, tally in counts.items():
        row = shares(tally)
        rows.append({"beta": beta, **row})
        print(
            f"{beta:<7g} {row['snippets']:8d}  {row['words']:13.2f}  {row['inferred']:8.3f}  "
            f"{row['whole']:11.3f}  {row['shuffled']:8.3f}"
        )
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def shares(tally: Counter[str]) -> dict[str, Any]:
    """A row of the table: counts, and the shares that are right."""
    with_phrase = max(1, tally["held"])
    return {
        "snippets": tally["snippets"],
        "words": tally["words"] / tally["snippets"],
        "with_phrase": tally["held"],
        "inferred": tally["right"] / with_phrase,
        "whole": tally["whole"] / with_phrase,
        "shuffled": tally["shuffled right"] / max(1, tally["shuffled held"]),
    }


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
    """For each beta: snippets, their words, and those that hold a phrase.

    And how many of these are right in each way.
    """
    counts: dict[float, Counter[str]] = {beta: Counter() for beta in BETAS}
    for example in examples:
        if example.size_wh is None or not len(example.boxes_xyxy):
            continue
        for sentence in scored_sentences(captioner, example, example.size_wh):
            shuffled = random.permuted(sentence.scores, axis=1)
            for beta, tally in counts.items():
                runs = snippets(
                    viterbi(sentence.scores, beta, starts=sentence.starts)[0]
                )
                tally["snippets"] += len(runs)
                tally["words"] += len(sentence.scores)
                with_phrase, correct, on_whole_photo = judge(runs, sentence)
                tally.update(
                    {"held": with_phrase, "right": correct, "whole": on_whole_photo}
                )
                shuffled_runs = snippets(
                    viterbi(shuffled, beta, starts=sentence.starts)[0]
                )
                with_phrase, correct, _ = judge(shuffled_runs, sentence)
                tally.update({"shuffled held": with_phrase, "shuffled right": correct})
    return counts


class ScoredSentence(NamedTuple):
    """A sentence of a photo on the photo's regions.

    Attributes:
        scores: (T, N) what its words choose their regions by.
        starts: (T,) before which words the region may change; None = before all.
        phrases: those of this sentence that have boxes.
        overlap: (N, M) IoU of the regions and the photo's annotated boxes.
    """

    scores: FloatArray
    starts: NDArray[np.bool_] | None
    phrases: Sequence[Phrase]
    overlap: FloatArray


def scored_sentences(
    captioner: RegionCaptioner, example: Example, size_wh: tuple[int, int]
) -> Iterator[ScoredSentence]:
    """The sentences of a photo with their scores."""
    model = captioner.predictor
    decoding = model.config.decoding
    begins = chain_of(decoding, model.vocabulary).starts
    features = captioner.encode([open_photo(example.photo)])
    boxes, objectness = model.propose(features, ALIGN_REGIONS)
    regions = model.embed_regions(model.region_features(features, boxes))[0]  # (N, D)
    overlap = iou(
        model.preprocessing.to_original(boxes[0], size_wh), example.boxes_xyxy
    )
    for number, caption in enumerate(example.captions):
        token_ids = model.vocabulary.encode(caption)
        if not token_ids:
            continue
        words, _ = model.encode_text([token_ids])
        prior = region_prior(words, objectness, decoding.region_prior, len(regions))
        scores = (words[0] @ regions.T + prior[0])[: len(token_ids)]
        starts = None if begins is None else np.array(begins(token_ids))
        yield ScoredSentence(scores, starts, phrases_of(example, number), overlap)


def phrases_of(example: Example, caption: int) -> list[Phrase]:
    """The phrases of a sentence that have boxes and a place in it."""
    return [
        phrase
        for phrase in example.phrases
        if phrase.caption == caption and phrase.boxes and phrase.first_word is not None
    ]


def holds(run: Snippet, phrase: Phrase) -> bool:
    """Whether a phrase stands inside a snippet."""
    first = phrase.first_word or 0
    return run.first <= first and first + len(tokenize(phrase.text)) - 1 <= run.last


def judge(runs: Sequence[Snippet], sentence: ScoredSentence) -> tuple[int, int, int]:
    """Snippets that hold a phrase with a box, and the right ones among them.

    And those right if they meant the whole photo.
    """
    with_phrase = correct = on_whole_photo = 0
    for run in runs:
        phrases = [phrase for phrase in sentence.phrases if holds(run, phrase)]
        boxes = [row for phrase in phrases for row in phrase.boxes]
        if boxes:
            with_phrase += 1
            correct += bool(sentence.overlap[run.region, boxes].max() >= 0.5)
            on_whole_photo += bool(sentence.overlap[0, boxes].max() >= 0.5)
    return with_phrase, correct, on_whole_photo


if __name__ == "__main__":
    main()
