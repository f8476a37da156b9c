"""Do photos at full resolution do as well as stored copies of them?

The copies are stored like the training photos.

    python benchmarks/full_resolution.py --model mini --data DATA/coco

Every captioned photo is measured as it is, and again as a copy squashed to ``--side`` pixels and
stored as a JPEG. Retrieval R@1 and R@5 among these photos, and BLEU-4 and CIDEr-D of their
captions, with 95 % intervals.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from regiontalk import RegionCaptioner
from regiontalk.datasets.splits import default_split, read_split
from regiontalk.evaluate.photos import EncodedPhotos
from regiontalk.evaluate.region_captions import caption_photos
from regiontalk.evaluate.result import Figure
from regiontalk.evaluate.retrieval import evaluate_retrieval
from regiontalk.images.open import open_image
from regiontalk.metrics.bootstrap import Interval
from regiontalk.metrics.captions import score_captions
from regiontalk.records import Example


def main() -> None:
    """Print two rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--side", type=int, default=224)
    arguments = parser.parse_args()
    captioner = RegionCaptioner.from_pretrained(arguments.model)
    examples, _ = read_split(arguments.data, default_split(arguments.data))
    examples = [example for example in examples if example.captions]
    with tempfile.TemporaryDirectory() as folder:
        for name, chosen in (
            ("as they are", examples),
            (f"{arguments.side} px", squashed(examples, Path(folder), arguments.side)),
        ):
            print(name, *measure(captioner, chosen), sep="\n  ")


def squashed(examples: list[Example], folder: Path, side: int) -> list[Example]:
    """The examples on small copies of their photos, without boxes."""
    copies = []
    for example in examples:
        path = folder / f"{example.id}.jpg"
        open_image(example.photo).resize((side, side)).save(path, quality=95)
        copies.append(
            replace(
                example,
                photo=path,
                boxes_xyxy=example.boxes_xyxy[:0],
                phrases=(),
                size_wh=None,
            )
        )
    return copies


def measure(captioner: RegionCaptioner, examples: list[Example]) -> list[str]:
    """One line a figure."""
    photos = EncodedPhotos(captioner, examples, keep=True)
    lines = [
        f"{way} {name} {in_per_cent(figures[name])}"
        for way, figures in evaluate_retrieval(photos).figures.items()
        for name in ("R@1", "R@5")
    ]
    captions = {name: caption.text for name, caption in caption_photos(photos).items()}
    references = {
        example.id: example.captions
        for example in photos.examples
        if example.id in captions
    }
    figures = score_captions(captions, references).figures
    return [
        *lines,
        *(f"{name} {in_per_cent(figures[name])}" for name in ("BLEU-4", "CIDEr-D")),
    ]


def in_per_cent(figure: Figure) -> str:
    """``12.3 (11.0-13.6)``, or a dash for what could not be computed."""
    if not isinstance(figure, Interval):
        return "-"
    return f"{100 * figure.value:.1f} ({100 * figure.low:.1f}-{100 * figure.high:.1f})"


if __name__ == "__main__":
    main()
