"""How often the hardest negative of a phrase is none: it shares a content word with what people call the box.

    python benchmarks/hardest_negatives.py --data DATA --model runs/cosine/model

Pairs of a box and a phrase of Entities, in batches of 64 as the recipe cosine has them; beside the
hardest negative of every pair the share among all its negatives, which is what chance gives.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

import torch

from regiontalk import RegionCaptioner
from regiontalk.datasets.splits import read_split
from regiontalk.text.vocabulary import Vocabulary
from regiontalk.train.photos import PictureStore, pad_boxes
from regiontalk.train.phrases import box_names, choose_phrases, likely_true, one_box_phrases
from regiontalk.train.sentences import network_boxes

BATCH = 32  # photos, two phrases each


def spell(vocabulary: Vocabulary, token_ids: Sequence[int]) -> str:
    """The words of token ids."""
    return " ".join(vocabulary.words[token_id] for token_id in token_ids)


def main() -> None:
    """Count and print."""
    arguments = parse_arguments()
    model = RegionCaptioner.from_pretrained(arguments.model).model
    examples, _ = read_split(arguments.data, "dev")
    examples = examples[: arguments.limit]
    pictures = PictureStore(examples, model.preprocessing)
    chooser = random.Random(0)
    hardest: list[bool] = []
    every: list[float] = []
    shown: list[str] = []
    for start in range(0, len(examples), BATCH):
        batch = examples[start : start + BATCH]
        phrases = [one_box_phrases(example, model.vocabulary) for example in batch]
        boxes, mask = pad_boxes([network_boxes(example, model.preprocessing) for example in batch])
        chosen = choose_phrases(phrases, mask, 2, chooser)
        if len(chosen) < 2:
            continue
        photos, rows, texts = zip(*chosen, strict=True)
        maps = model.extractor(
            pictures.normalise(pictures.pixels[start : start + len(batch)].float())
        )
        regions = model.aligner.embed_regions(
            model.extractor.vectors(maps, boxes)[list(photos), list(rows)]
        )[:, None]
        words, word_mask = model.aligner.encode_text(list(texts))
        scores = model.aligner.score(
            regions, words, torch.ones(regions.shape[:2], dtype=torch.bool), word_mask
        )
        alike = likely_true(
            chosen, [box_names(photo_phrases, model.vocabulary) for photo_phrases in phrases]
        )
        worst = scores.fill_diagonal_(float("-inf")).argmax(1)
        hardest += alike.gather(1, worst[:, None])[:, 0].tolist()
        every += (alike.sum(1) / (len(chosen) - 1)).tolist()
        texts_of = [spell(model.vocabulary, text) for text in texts]
        shown += [
            f"{texts_of[row]!r}: {texts_of[negative]!r}"
            for row, negative in enumerate(worst.tolist())
        ]
    print(
        f"{len(hardest)} pairs; their hardest negative shares a content word with the box's own phrases in ",
        end="",
    )
    print(
        f"{100 * sum(hardest) / len(hardest):.1f} %, a negative by chance in {100 * sum(every) / len(every):.1f} %"
    )
    apart = [text for text, true in zip(shown, hardest, strict=True) if not true]
    print(
        "hardest negatives that share none, by chance: "
        + "; ".join(random.Random(1).sample(apart, 12))
    )


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
