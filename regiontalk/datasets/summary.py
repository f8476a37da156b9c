"""A data set on one screen before it trains.

What is read, which words it has, how its photos and captions are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from math import prod
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from regiontalk.datasets.flickr import same_files
from regiontalk.datasets.report import DataReport
from regiontalk.datasets.splits import SPLITS, default_split, read_split
from regiontalk.records import Example
from regiontalk.text.vocabulary import SPECIAL, tokenize

LOOKED_AT = 2000  # photos of a split whose size is read
MIN_COUNT = 5  # how often a word is seen that a recipe keeps, unless it says otherwise


def summary(data: Path) -> tuple[list[str], bool]:
    """The lines of the report, and whether a model can be trained on the data.

    Args:
        data: as `read_split` takes it; every split that it has is read.

    Raises:
        ValueError: no data set there, or it cannot be read.
    """
    splits = _splits(data)
    lines: list[str] = []
    for split, (examples, reports) in splits.items():
        lines += [
            f"{split}:",
            *chain.from_iterable(report.lines() for report in reports),
        ]
        lines += _texts(examples) + _sizes(examples)
    lines += _shared({split: examples for split, (examples, _) in splits.items()})
    first_examples, _ = next(iter(splits.values()))
    is_usable = any(
        tokenize(text) for example in first_examples for text in _all_texts(example)
    )
    if is_usable:
        lines.append("ready to train")
    else:
        lines.append(
            "not to be trained on: no photo has a caption or a phrase with words"
        )
    return lines, is_usable


def _splits(data: Path) -> dict[str, tuple[list[Example], list[DataReport]]]:
    """Every split that the data have.

    Those that are not there are passed over, as long as one is.
    """
    if data.is_file() or default_split(data) == "all":
        return {"train": read_split(data, "train")}
    splits: dict[str, tuple[list[Example], list[DataReport]]] = {}
    for split in SPLITS:
        try:
            splits[split] = read_split(data, split)
        except ValueError:
            if not splits:  # without training photos there is nothing to say but why
                raise
    return splits


def _all_texts(example: Example) -> list[str]:
    """The sentences of a photo and its phrases."""
    phrases = [phrase.text for phrase in example.phrases]
    return [*example.captions, *phrases]


def _texts(examples: Sequence[Example]) -> list[str]:
    """Words of the captions, and the share that recipes keep."""
    captions = [
        tokenize(caption) for example in examples for caption in example.captions
    ]
    lengths = sorted(len(words) for words in captions)
    if not lengths:
        return ["  captions: none"]
    counts = Counter(
        word for words in captions for word in words if word not in SPECIAL
    )
    frequent = [count for count in counts.values() if count >= MIN_COUNT]
    share = sum(frequent) / max(1, counts.total())
    median, longest = lengths[len(lengths) // 2], lengths[-1]
    return [
        f"  words: {len(counts)}, of which {len(frequent)} are seen {MIN_COUNT} times or more; "
        f"those cover {share:.1%} of the captions",
        f"  captions: {median} words in the middle, {longest} in the longest",
    ]


def _sizes(examples: Sequence[Example]) -> list[str]:
    """The photos' sizes in pixels; those that cannot be read."""
    sizes: list[tuple[int, int]] = []
    broken: list[str] = []
    for example in examples[:LOOKED_AT]:
        try:
            with Image.open(example.photo) as photo:
                sizes.append(photo.size)
        except (
            OSError,
            UnidentifiedImageError,
            ValueError,
            Image.DecompressionBombError,
        ):
            broken.append(example.id)
    lines = []
    if sizes:
        smallest = min(sizes, key=prod)
        largest = max(sizes, key=prod)
        lines.append(
            f"  sizes: {smallest[0]}x{smallest[1]} to {largest[0]}x{largest[1]} pixels"
        )
    if broken:
        lines.append(f"  {len(broken)} photos that cannot be opened: {_some(broken)}")
    return lines


def _shared(splits: Mapping[str, Sequence[Example]]) -> list[str]:
    """Photos that are in the data twice, in one split or in two."""
    split_counts: Counter[Path] = Counter()  # photo -> how many splits have it
    for examples in splits.values():
        photos = dict.fromkeys(example.photo for example in examples)
        split_counts.update(list(photos))
    names = same_files(list(split_counts))
    names += [path.name for path, count in split_counts.items() if count > 1]
    if not names:
        return []
    return [
        f"{len(names)} photos that are there twice, so that a split knows another: {_some(names)}"
    ]


def _some(names: Sequence[str]) -> str:
    """The first names, in one line."""
    line = ", ".join(names[:5])
    return f"{line}, ..." if len(names) > 5 else line
