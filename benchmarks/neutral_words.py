"""How often captions name the wrong sex, by the margin under which neither is named.

    python benchmarks/neutral_words.py --model mini --data DATA --margins 0 0.5 1 1.5 2
    python benchmarks/neutral_words.py --model mini --photos --data DATA --limit 400

On the true boxes of dev whose phrases speak of one sex alone (a man, her ...), or with --photos on
whole photos whose sentences do: captions that speak of the other are wrong, captions that speak of
the same are right, the rest speak of neither.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from regiontalk import RegionCaptioner
from regiontalk.datasets.splits import read_split
from regiontalk.evaluate.photos import EncodedPhotos
from regiontalk.evaluate.region_captions import caption_photos
from regiontalk.evaluate.regions import describe_boxes
from regiontalk.generate.neutral import FEMALE, MALE
from regiontalk.metrics.captions import score_captions
from regiontalk.text.vocabulary import tokenize


def sex_of(texts: Iterable[str]) -> str | None:
    """Male or female, where words of one sex alone stand in the texts."""
    words = {word for text in texts for word in tokenize(text)}
    is_male, is_female = not words.isdisjoint(MALE), not words.isdisjoint(FEMALE)
    if is_male == is_female:
        return None
    return "male" if is_male else "female"


def main() -> None:
    """Print a row a margin."""
    arguments = parse_arguments()
    examples = []
    for data in arguments.data:
        examples += read_split(data, arguments.split)[0]
    captioner = RegionCaptioner.from_pretrained(arguments.model)
    photos = EncodedPhotos(captioner, examples[: arguments.limit], keep=True)
    config = captioner.config
    for margin in arguments.margins:
        update = {"neutral_margin": margin, "photo_neutral_margin": margin}
        decoding = config.decoding.model_copy(update=update)
        captioner.predictor.config = config.model_copy(update={"decoding": decoding})
        if arguments.photos:
            print(f"margin {margin:g}: {photo_row(photos)}", flush=True)
        else:
            print(f"margin {margin:g}: {region_row(photos)}", flush=True)


def region_row(photos: EncodedPhotos) -> str:
    """How captions on true boxes name sexes."""
    counts: Counter[str] = Counter()
    for region in describe_boxes(photos):
        counts[judged(region.caption.text, region.thing.phrases)] += 1
    return shares(counts, "boxes")


def photo_row(photos: EncodedPhotos) -> str:
    """How sentences of whole photos name sexes, and their CIDEr-D."""
    texts = {name: row.text for name, row in caption_photos(photos, None).items()}
    sentences = {example.id: example.captions for example in photos.examples}
    counts = Counter(judged(text, sentences[name]) for name, text in texts.items())
    scores = score_captions(texts, sentences, resamples=2)
    cider = 100 * scores.figures["CIDEr-D"].value
    return f"{shares(counts, 'photos')}; CIDEr-D {cider:.1f}"


def judged(text: str, references: Iterable[str]) -> str:
    """One of wrong, right and neither; "" where the references name no sex or both."""
    true_sex = sex_of(references)
    if true_sex is None:
        return ""
    stated_sex = sex_of([text])
    if stated_sex is None:
        return "neither"
    return "right" if stated_sex == true_sex else "wrong"


def shares(counts: Counter[str], unit: str) -> str:
    """The counts in per cent of those that name one sex."""
    names = ("wrong", "right", "neither")
    total = max(1, sum(counts[name] for name in names))
    line = ", ".join(f"{name} {counts[name] / total:.1%}" for name in names)
    return f"{line} of {total} {unit}"


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument("--data", type=Path, required=True, nargs="+")
    parser.add_argument("--split", default="dev", help="all of COCO files")
    parser.add_argument("--photos", action="store_true", help="whole photos, not boxes")
    parser.add_argument("--limit", type=int)
    parser.add_argument(
        "--margins", type=float, nargs="+", default=[0.0, 0.5, 1.0, 1.5, 2.0]
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
