"""How often region captions name the wrong sex, by the margin under which neither is named.

    python benchmarks/neutral_words.py --model mini --data DATA --margins 0 0.5 1 1.5 2

On the true boxes of dev whose phrases speak of one sex alone (a man, her ...): captions that speak
of the other are wrong, captions that speak of the same are right, the rest speak of neither.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from regiontalk import RegionCaptioner
from regiontalk.datasets.splits import read_split
from regiontalk.evaluate.photos import EncodedPhotos
from regiontalk.evaluate.regions import describe_boxes
from regiontalk.generate.neutral import FEMALE, MALE
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
    examples, _ = read_split(arguments.data, arguments.split)
    captioner = RegionCaptioner.from_pretrained(arguments.model)
    photos = EncodedPhotos(captioner, examples[: arguments.limit], keep=True)
    config = captioner.config
    for margin in arguments.margins:
        decoding = config.decoding.model_copy(update={"neutral_margin": margin})
        captioner.predictor.config = config.model_copy(update={"decoding": decoding})
        counts: Counter[str] = Counter()
        for region in describe_boxes(photos):
            true_sex = sex_of(region.thing.phrases)
            if true_sex is not None:
                stated = sex_of([region.caption.text])
                counts["neither" if stated is None else str(stated == true_sex)] += 1
        total = max(1, counts.total())
        print(
            f"margin {margin:g}: wrong {counts['False'] / total:.1%}, right {counts['True'] / total:.1%}, "
            f"neither {counts['neither'] / total:.1%} of {total} boxes"
        )


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="dev")
    parser.add_argument("--limit", type=int)
    parser.add_argument(
        "--margins", type=float, nargs="+", default=[0.0, 0.5, 1.0, 1.5, 2.0]
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
