r"""How good sentences made of objects are.

Flickr8k dev, and COCO photos, which the model never saw the like of.

    python benchmarks/objects_to_sentence.py --model runs/objects/model \
        --detector yolox:FILE.onnx --data DATA

Prints a table and, with --json, writes it. COCO photos and captions are those under DATA/coco where
they are there.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regiontalk.datasets.coco import read_coco
from regiontalk.datasets.splits import read_split
from regiontalk.images.open import Photo, open_image
from regiontalk.metrics.captions import score_captions
from regiontalk.objects.captioner import ObjectCaptioner
from regiontalk.objects.region_detector import find_detector
from regiontalk.records import Example

TOGETHER = 16  # photos whose sentences are written in one batch


def measure(
    captioner: ObjectCaptioner, examples: Sequence[Example], show: int
) -> dict[str, Any]:
    """BLEU-4 and CIDEr of the sentences, and how many photos held nothing for the detector."""
    sentences: dict[str, str] = {}
    empty, started = 0, time.perf_counter()
    for first in range(0, len(examples), TOGETHER):
        block = examples[first : first + TOGETHER]
        photos = list(map(unsquashed, block))
        for example, result in zip(block, captioner.caption_many(photos), strict=True):
            sentence = result.caption.text or "" if result.caption else ""
            sentences[example.id] = sentence
            empty += not result.regions
            if len(sentences) <= show:
                objects = [region.text for region in result.regions]
                print(f"  {example.id}: {objects} -> {sentence}")
    seconds = time.perf_counter() - started
    return {
        "photos": len(examples),
        "nothing found": empty,
        **score(sentences, examples),
        "photos a second": len(examples) / seconds,
    }


def score(sentences: dict[str, str], examples: Sequence[Example]) -> dict[str, float]:
    """BLEU-4 and CIDEr-D of sentences by the photo's id."""
    references = {example.id: example.captions for example in examples}
    figures = score_captions(sentences, references, resamples=1).figures
    scores = {}
    for name in ("BLEU-4", "CIDEr-D"):
        figure = figures[name]
        if figure is not None:
            scores[name] = figure.value
    return scores


def unsquashed(example: Example) -> Photo:
    """The photo in the size that its annotation knows; Flickr8k is stored squashed."""
    image = open_image(example.photo)
    fitted = image.resize(example.size_wh) if example.size_wh else image
    return Photo(fitted, fitted.size, str(example.photo))


def main() -> None:
    """Measure and print."""
    arguments = parse_arguments()
    captioner = ObjectCaptioner.from_pretrained(
        arguments.model, detector=find_detector(arguments.detector)
    )
    sets = {"dev": read_split(arguments.data, "dev")[0]}
    for captions in sorted((arguments.data / "coco").rglob("captions_*.json")):
        split = captions.stem.removeprefix("captions_")
        if (captions.parent.parent / split).is_dir():
            sets[f"coco {split}"] = read_coco(captions.parent.parent / split, captions)[
                0
            ]
    rows = {}
    for name, examples in sets.items():
        captioned = [example for example in examples if example.captions]
        rows[name] = measure(captioner, captioned[: arguments.limit], arguments.show)
        print(name, " ".join(f"{key} {value:.4g}" for key, value in rows[name].items()))
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"model": arguments.model, **rows}, indent=2) + "\n"
        )


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--detector", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=None, help="photos of each set")
    parser.add_argument(
        "--show", type=int, default=5, help="sentences to print of each set"
    )
    parser.add_argument("--json", type=Path, default=None)
    return parser.parse_args()


if __name__ == "__main__":
    main()
