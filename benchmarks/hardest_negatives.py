"""How often the hardest negative of a phrase is none.

It shares a content word with what people call the box.

    python benchmarks/hardest_negatives.py --data DATA --model runs/cosine/model

Pairs of a box and a phrase of Entities, in batches of 64 as the recipe cosine has them; beside the
hardest negative of every pair the share among all its negatives, which is what chance gives.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from regiontalk.datasets.splits import read_split
from regiontalk.model.hub import resolve_model
from regiontalk.model.region_model import RegionModel
from regiontalk.records import Example
from regiontalk.text.vocabulary import Vocabulary
from regiontalk.train.photos import PictureStore, pad_boxes
from regiontalk.train.phrases import (
    BoxPhrase,
    box_names,
    choose_phrases,
    embed_phrases,
    likely_true,
    one_box_phrases,
)
from regiontalk.train.sentences import network_boxes

BATCH = 32  # photos, two phrases each


def wordings_of(
    chosen: Sequence[Sequence[BoxPhrase]], vocabulary: Vocabulary
) -> list[str]:
    """The words of all chosen phrases, photo by photo."""
    wordings = []
    for phrases in chosen:
        for phrase in phrases:
            words = [vocabulary.words[token_id] for token_id in phrase.token_ids]
            wordings.append(" ".join(words))
    return wordings


@dataclass
class Tally:
    """What the pairs of all batches showed.

    Attributes:
        hardest: of each pair, whether its hardest negative shares a content word with its box.
        every: of each pair, the share of all negatives that do.
        wordings: of each pair, its phrase and that of its hardest negative.
    """

    hardest: list[bool] = field(default_factory=list)
    every: list[float] = field(default_factory=list)
    wordings: list[str] = field(default_factory=list)

    def add(self, scores: Tensor, is_alike: Tensor, texts: Sequence[str]) -> None:
        """Take the pairs of a batch: scores (P, P), likely truths (P, P) and phrases."""
        worst = scores.fill_diagonal_(float("-inf")).argmax(1)
        self.hardest += is_alike.gather(1, worst[:, None])[:, 0].tolist()
        self.every += (is_alike.sum(1) / (len(texts) - 1)).tolist()
        for row, negative in enumerate(worst.tolist()):
            self.wordings.append(f"{texts[row]!r}: {texts[negative]!r}")

    def report(self) -> str:
        """The shares, and a few hardest negatives that share no word."""
        pairs = len(self.hardest)
        hardest, by_chance = (
            100 * sum(self.hardest) / pairs,
            100 * sum(self.every) / pairs,
        )
        rows = zip(self.wordings, self.hardest, strict=True)
        apart = [wording for wording, is_alike in rows if not is_alike]
        examples = "; ".join(random.Random(1).sample(apart, 12))
        return (
            f"{pairs} pairs; their hardest negative shares a content word with the "
            f"box's own phrases in {hardest:.1f} %, a negative by chance in "
            f"{by_chance:.1f} %\nhardest negatives that share none, by chance: "
            f"{examples}"
        )


def main() -> None:
    """Count and print."""
    arguments = parse_arguments()
    model = RegionModel.from_folder(resolve_model(arguments.model)).eval()
    examples = read_split(arguments.data, "dev")[0][: arguments.limit]
    store = PictureStore(examples, model.preprocessing)
    chooser = random.Random(0)
    tally = Tally()
    for start in range(0, len(examples), BATCH):
        batch = examples[start : start + BATCH]
        phrases = [one_box_phrases(example, model.vocabulary) for example in batch]
        names = [
            box_names(photo_phrases, model.vocabulary) for photo_phrases in phrases
        ]
        boxes, mask = padded_boxes(batch, model)
        chosen = choose_phrases(phrases, mask, 2, chooser)
        wordings = wordings_of(chosen, model.vocabulary)
        if len(wordings) < 2:
            continue
        scores = score_pairs(
            model, store.batch(range(start, start + len(batch))), boxes, chosen
        )
        tally.add(scores, likely_true(chosen, names), wordings)
    print(tally.report())


def padded_boxes(
    examples: Sequence[Example], model: RegionModel
) -> tuple[Tensor, Tensor]:
    """The boxes (B, G, 4) of photos in network pixels, and which of them there are (B, G)."""
    return pad_boxes(
        [network_boxes(example, model.preprocessing) for example in examples]
    )


def score_pairs(
    model: RegionModel,
    pixels: Tensor,
    boxes_xyxy: Tensor,
    chosen: Sequence[Sequence[BoxPhrase]],
) -> Tensor:
    """The aligner's score (P, P) of each pair's box with each pair's phrase.

    Args:
        model: extractor and aligner.
        pixels: (B, 3, S, S) network input.
        boxes_xyxy: (B, G, 4) network pixels.
        chosen: of each photo its pairs.
    """
    regions, words, word_mask = embed_phrases(
        model, model.extractor(pixels), boxes_xyxy, chosen
    )
    region_mask = torch.ones(regions.shape[:2], dtype=torch.bool)
    scores: Tensor = model.aligner.score(regions, words, region_mask, word_mask)
    return scores


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--limit", type=int, default=1000, help="dev photos")
    return parser.parse_args()


if __name__ == "__main__":
    with torch.inference_mode():
        main()
