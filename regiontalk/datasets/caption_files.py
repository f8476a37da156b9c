"""A text file of sentences beside each photo: ``cat.txt`` or ``cat.caption`` for ``cat.jpg``.

So folders are written for the tuning of picture generators. Each line of a file is a sentence. A
folder may have one folder a split, and the photos may stand in further folders.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from regiontalk.datasets.checks import caption_troubles, is_missing
from regiontalk.datasets.report import DataReport, report_on
from regiontalk.files import read_text
from regiontalk.images.suffixes import SUFFIXES
from regiontalk.records import Example

ENDINGS = (".txt", ".caption")
SPLIT_FOLDERS = {"dev": ("dev", "val", "valid", "validation")}


def has_caption_files(folder: Path) -> bool:
    """Whether a folder holds a photo with a text of its name beside it."""
    return folder.is_dir() and next(_photos_with_texts(folder), None) is not None


def read_caption_files(folder: Path, split: str) -> tuple[list[Example], DataReport]:
    """The photos of a split with their sentences; photos without a text are counted.

    Args:
        folder: of the photos; training where it has no folder ``train``.
        split: train, dev or test.

    Raises:
        ValueError: no photo of that split has a text.
    """
    photos = _folder_of(folder, split)
    troubles: dict[str, list[str]] = defaultdict(list)
    examples: list[Example] = []
    for photo, text in _photos_with_texts(photos):
        name = photo.relative_to(folder).as_posix()
        captions = _sentences(text)
        if photo.stat().st_size == 0:
            troubles["photo broken (0 bytes)"].append(name)
        elif captions:
            examples.append(Example(photo, captions, id=name))
        else:
            troubles["photo with an empty text, left out"].append(name)
    for kind, where in caption_troubles(examples).items():
        troubles[kind] += where
    return examples, report_on(
        f"{folder.name} (a text beside each photo)", examples, troubles
    )


def _folder_of(folder: Path, split: str) -> Path:
    """The folder of a split's photos.

    Raises:
        ValueError: there is none, or no photo in it has a text.
    """
    names = SPLIT_FOLDERS.get(split, (split,))
    folders = [folder / name for name in names if (folder / name).is_dir()]
    if split == "train" and not folders:
        folders = [folder]
    if not folders or not has_caption_files(folders[0]):
        raise ValueError(
            f"{folder}: expected photos of the split {split} with a text of the same "
            "name beside each, got none"
        )
    return folders[0]


def _photos_with_texts(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Each photo below a folder that has a text, and that text, in order."""
    for photo in sorted(folder.rglob("*")):
        if photo.suffix.lower() not in SUFFIXES or photo.name.startswith("."):
            continue
        texts = [photo.with_suffix(ending) for ending in ENDINGS]
        for text in texts:
            if text.is_file() and photo.is_file():
                yield photo, text
                break


def _sentences(path: Path) -> tuple[str, ...]:
    """The lines of a text that say something, in Unicode's composed form."""
    lines = [" ".join(line.split()) for line in read_text(path).split("\n")]
    return tuple(
        unicodedata.normalize("NFC", line)
        for line in lines
        if line and not is_missing(line)
    )
