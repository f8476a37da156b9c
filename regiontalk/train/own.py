"""Your own photos without a recipe.

What the folder holds, what is held out, and the plan that fits its size. The plan is a
`Recipe` like any other, made of the start model's sizes; `train.run` runs it.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from regiontalk.datasets.duplicates import held_out, near_duplicates, sketch
from regiontalk.datasets.folder import read_folder
from regiontalk.datasets.names import DETECTOR
from regiontalk.datasets.report import DataReport
from regiontalk.datasets.splits import SPLITS, read_split
from regiontalk.images.open import ImageError, open_photo
from regiontalk.model.config import ModelConfig
from regiontalk.records import Example
from regiontalk.text.nouns import FUNCTION_WORDS
from regiontalk.text.vocabulary import tokenize
from regiontalk.train.align import AlignConfig
from regiontalk.train.generate import GenerateConfig
from regiontalk.train.joint import JointConfig
from regiontalk.train.loop import Log, OptimiserConfig
from regiontalk.train.photos import AugmentConfig
from regiontalk.train.recipe import FeaturesConfig, Recipe
from regiontalk.train.vocabulary import phrase_texts

MIN_PHOTOS = 20  # with words; from fewer a model only learns to repeat them
MIN_KNOWN = 0.5  # share of the texts' words that occur twice or more
# every step of the proposals runs the backbone: so many photos are read, few of them often
PROPOSER_PHOTOS, MAX_PROPOSER_EPOCHS = 2000, 10.0
HELD_OUT = 0.1
MAX_DEV = 500
MIN_DEV = 5
SKETCH_SIZE = 64  # pixels a side at least, as photos are opened to be compared


@dataclass(frozen=True)
class OwnPhotos:
    """The photos of a folder, ready to be learnt from.

    Attributes:
        train: photos with words that can be opened.
        dev: photos that are never learnt from.
        is_held_out: whether dev was taken from the training photos here.
    """

    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    is_held_out: bool


def read_own(folder: Path, log: Log) -> OwnPhotos:
    """Read, check and split the photos of a folder.

    Args:
        folder: any layout of `datasets.splits.read_split`, or a folder or file of one list of
            photos (`datasets.folder`).
        log: takes what was read, what was wrong with it and what is held out.

    Raises:
        ValueError: nothing there that can be learnt from; says what is lacking.
    """
    train, dev = (_usable(rows, log) for rows in _read(folder, log))
    with_words = [example for example in train if texts_of(example)]
    if train and not with_words:
        raise ValueError(
            f"{folder}: expected words, got {len(train)} photos without; a box alone "
            "teaches no word: give it a "
            'phrase ({"box": [x1, y1, x2, y2], "phrase": "a blue cup"}), or photos sentences'
        )
    check_texts(with_words, folder)
    examples: list[Example] = []
    sketches: list[np.ndarray] = []
    for example in with_words:
        photo_sketch = _sketch(example, log)
        if photo_sketch is not None:
            examples.append(example)
            sketches.append(photo_sketch)
    if len(examples) < MIN_PHOTOS:
        raise ValueError(
            f"{folder}: expected at least {MIN_PHOTOS} photos with words that can be "
            f"opened, got {len(examples)}; fewer teach a model nothing but themselves"
        )
    if dev:
        check_apart(examples, dev)
        return OwnPhotos(tuple(examples), tuple(dev), is_held_out=False)
    return _hold_out(examples, sketches, folder, log)


def _hold_out(
    examples: Sequence[Example], sketches: Sequence[np.ndarray], folder: Path, log: Log
) -> OwnPhotos:
    """Take photos to judge by out of the training photos; near-duplicates stay on one side.

    Args:
        examples: the photos.
        sketches: of each, as `datasets.duplicates.sketch` gives it.
        folder: for the message.
        log: takes a line about what is held out.

    Raises:
        ValueError: all photos are near-duplicates.
    """
    groups = near_duplicates(np.stack(sketches))
    different = len(set(groups.tolist()))
    dev_count = min(MAX_DEV, max(MIN_DEV, round(HELD_OUT * len(examples))))
    dev_rows = set(held_out(groups, dev_count))
    if len(dev_rows) < 2:
        raise ValueError(
            f"{folder}: expected different photos, got {different} that are not near-duplicates; "
            "a model cannot be judged on copies of what it learnt"
        )
    alike = len(examples) - different
    log(
        f"held out: {len(dev_rows)} photos to judge by, never learnt from"
        + (f"; {alike} near-duplicates stay on one side" if alike else "")
    )
    return OwnPhotos(
        tuple(example for row, example in enumerate(examples) if row not in dev_rows),
        tuple(example for row, example in enumerate(examples) if row in dev_rows),
        is_held_out=True,
    )


def check_texts(examples: Sequence[Example], source: Path) -> None:
    """Refuse texts from which nothing can be learnt.

    Raises:
        ValueError: all are the same, name one thing, or are in a script without blanks.
    """
    texts = [text for example in examples for text in texts_of(example)]
    tokens = [word for text in texts for word in tokenize(text)]
    different = {tuple(tokenize(text)) for text in texts}
    if texts and len(different) < 2:
        raise ValueError(
            f"{source}: expected different words for different photos, got "
            f"{texts[0]!r} for all {len(examples)}; a model that learnt it would say "
            "it of everything"
        )
    content = {word for word in tokens if word not in FUNCTION_WORDS}
    if texts and len(content) < 2:
        raise ValueError(
            f"{source}: expected two or more words that name something, got "
            f"{', '.join(content) or 'none'}"
        )
    counts = Counter(tokens)
    known = sum(count for count in counts.values() if count >= 2)
    if texts and known < MIN_KNOWN * len(tokens):
        raise ValueError(
            f"{source}: expected words that occur again, got {len(counts)} different "
            f"ones among {len(tokens)}, such as {tokens[0]!r}; words are parted by "
            "blanks: a script without them needs some put in"
        )


def check_apart(train: Sequence[Example], dev: Sequence[Example]) -> None:
    """Refuse a photo that stands in both splits, under whatever name.

    Raises:
        ValueError: names the photo.
    """
    learnt = {_content(example): example.photo for example in train}
    for example in dev:
        twin = learnt.get(_content(example))
        if twin is not None:
            raise ValueError(
                f"{example.photo.name}: expected photos of train and dev to differ, "
                f"got this one in both (train has it as {twin.name}); take it out of "
                "one"
            )


def plan_recipe(
    base: ModelConfig, photos: OwnPhotos, name: str, *, is_new: bool = False
) -> Recipe:
    """The recipe that fits the photos.

    The start model's sizes, stages by what words there are, epochs by their number.

    Args:
        base: of the start model.
        photos: what there is to learn.
        name: of the new model.
        is_new: whether it has a backbone alone, whose proposals have to learn too.
    """
    count = len(photos.train)
    epochs = epochs_for(count, is_new=is_new)
    sentences = any(example.captions for example in photos.train)
    sources = _sources(photos.train)
    align = AlignConfig(
        batch=max(8, min(128, count // 4)),
        captions=5,
        spans=3,
        noise=0.1,
        phrases=True,
        optimiser=OptimiserConfig(
            epochs=max(4, epochs / 2),
            learning_rate=6e-4,
            weight_decay=0.0,
            checkpoint_every=10**6,
        ),
    )
    generate = GenerateConfig(
        batch=max(8, min(64, count // 8)),
        captions=3 if sentences else 0,
        pairs=0,
        phrases=4 if sources - {DETECTOR} else 0,
        names=4 if DETECTOR in sources else 0,
        optimiser=OptimiserConfig(
            epochs=epochs, learning_rate=1e-3, weight_decay=0.0, checkpoint_every=10**6
        ),
    )
    return Recipe(
        name=name,
        min_count=2 if count < 5000 else 5,
        extractor=base.extractor,
        aligner=base.aligner,
        generator=base.generator,
        decoding=base.decoding,
        augment=AugmentConfig(flip=0.0 if _has_sides(photos.train) else 0.5),
        features=FeaturesConfig(regions=19),
        proposer=_plan_proposer(photos) if is_new else None,
        align=align,
        generate=generate,
    )


def _sources(examples: Sequence[Example]) -> set[str]:
    """Who gave phrases on boxes."""
    phrases = itertools.chain.from_iterable(example.phrases for example in examples)
    return {phrase.source for phrase in phrases if phrase.boxes}


def _plan_proposer(photos: OwnPhotos) -> JointConfig | None:
    """How proposals learn on a backbone that stands still; None where no photo has a box."""
    with_boxes = sum(bool(len(example.boxes_xyxy)) for example in photos.train)
    if not with_boxes:
        return None
    return JointConfig(
        batch=max(8, min(32, with_boxes // 8)),
        weight_sentence=0.0,
        weight_span=0.0,
        weight_caption=0.0,
        weight_proposal=1.0,
        optimiser=OptimiserConfig(
            epochs=min(MAX_PROPOSER_EPOCHS, max(1.0, PROPOSER_PHOTOS / with_boxes)),
            learning_rate=2e-3,
            backbone_learning_rate=0.0,
            checkpoint_every=10,
        ),
    )


def _has_sides(examples: Sequence[Example]) -> bool:
    """Whether a text says left or right, which a mirrored photo would make wrong."""
    return any(
        re.search(r"\b(left|right)\b", text, re.IGNORECASE)
        for example in examples
        for text in texts_of(example)
    )


def epochs_for(photos: int, *, is_new: bool = False) -> float:
    """Walks over so many photos: few are read often, many seldom.

    Steps rise with the square root of their number.

    Args:
        photos: to learn from.
        is_new: whether the model knows nothing yet, and walks twice as often.

    >>> [epochs_for(photos) for photos in (50, 300, 3000, 100_000)]
    [49.0, 20.0, 6.0, 4.0]
    >>> epochs_for(300, is_new=True)
    40.0
    """
    walks = 20 * (300 / photos) ** 0.5
    return float(min(100, max(4, round(2 * walks if is_new else walks))))


def summary(photos: OwnPhotos) -> str:
    """What there is, in one line."""
    rows = photos.train
    boxes = sum(len(example.boxes_xyxy) for example in rows)
    named = sum(len(phrase_texts(example)) for example in rows)
    sentences = sum(len(example.captions) for example in rows)
    parts = [
        f"{sentences} sentences",
        f"{boxes} boxes",
        f"{named} phrases and names on boxes",
    ]
    return f"{len(rows)} photos to learn from and {len(photos.dev)} to judge by: {', '.join(parts)}"


def _read(folder: Path, log: Log) -> tuple[list[Example], list[Example]]:
    """The training and the dev photos, as the files have them."""
    if not folder.exists():
        raise ValueError(
            f"{folder}: expected a folder with your photos, got nothing there"
        )
    lists = (
        sorted([*folder.glob("*.jsonl"), *folder.glob("*.csv")])
        if folder.is_dir()
        else [folder]
    )
    photo_lists = [path for path in lists if path.suffix.lower() in (".jsonl", ".csv")]
    in_splits = {path.stem for path in photo_lists} & set(SPLITS)
    if photo_lists and not in_splits:
        examples, report = read_folder(folder)
        _tell([report], log)
        return examples, []
    train, reports = read_split(folder, "train")
    _tell(reports, log)
    try:
        dev, reports = read_split(folder, "dev")
    except ValueError:
        if "dev" in in_splits:
            raise
        return train, []
    _tell(reports, log)
    return train, dev


def _tell(reports: Sequence[DataReport], log: Log) -> None:
    for report in reports:
        for line in report.lines():
            log(line)


def texts_of(example: Example) -> list[str]:
    """The texts of a photo that have a word."""
    texts = [*example.captions, *phrase_texts(example)]
    return [text for text in texts if tokenize(text)]


def _usable(examples: Sequence[Example], log: Log) -> list[Example]:
    """Photos once each: rows of one photo are put together."""
    by_photo: dict[Path, Example] = {}
    for example in examples:
        known = by_photo.get(example.photo)
        captions = (
            example.captions if known is None else (*known.captions, *example.captions)
        )
        by_photo[example.photo] = replace(known or example, captions=captions)
    if len(by_photo) < len(examples):
        log(
            f"{len(examples) - len(by_photo)} entries name a photo that another names too"
        )
    return list(by_photo.values())


def _sketch(example: Example, log: Log) -> np.ndarray | None:
    """The sketch of a photo; None where it cannot be opened."""
    try:
        return sketch(open_photo(example.photo, at_least=SKETCH_SIZE).image)
    except ImageError as error:
        log(f"left out: {error}")
        return None


def _content(example: Example) -> str:
    with example.photo.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
