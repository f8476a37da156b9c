"""Flickr8k and Flickr30k in their official layout, and Karpathy's ``dataset_*.json``.

Official layout, one folder: ``Flickr8k.token.txt`` (lines ``photo.jpg#0<tab>sentence``), one list
of photo names a split (``Flickr_8k.trainImages.txt``, ``...devImages.txt``,
``...testImages.txt``) and the photos in ``images/``. A folder that holds one split only is read as
well. No photo is decoded here: files are listed, and an empty one counts as broken.
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from regiontalk.datasets.checks import caption_troubles
from regiontalk.datasets.photo_paths import find_photo
from regiontalk.datasets.report import DataReport, report_on
from regiontalk.files import read_text
from regiontalk.records import Example

SPLIT_LISTS = {  # split -> how Flickr8k and Flickr30k name its list
    "train": ("*.trainImages.txt", "train.txt"),
    "dev": ("*.devImages.txt", "val.txt", "dev.txt"),
    "test": ("*.testImages.txt", "test.txt"),
}
IMAGE_FOLDERS = (
    "images",
    "Images",
    "Flicker8k_Dataset",
    "Flickr8k_Dataset",
    "flickr30k-images",
    "flickr30k_images",
)
# As [1] trains: docs/protocols.md.
KARPATHY_SPLITS = {
    "train": ("train", "restval"),
    "dev": ("val",),
    "test": ("test",),
}


class ImageFile(NamedTuple):
    """A file that should be an image, and its bytes."""

    path: Path
    size: int


def read_flickr(folder: Path, split: str) -> tuple[list[Example], DataReport]:
    """The photos of one split with their sentences, in the order of the split's list.

    A photo is left out, and reported, where its file is missing or empty or it has no sentence.
    Photos that are the same file byte for byte are all kept and reported.

    Args:
        folder: the data set in its official layout.
        split: "train", "dev" or "test".

    Raises:
        ValueError: the split is not known, or the folder lacks its token file, the split's list or
            its photos.
    """
    if split not in SPLIT_LISTS:
        raise ValueError(
            f"split: expected one of {', '.join(SPLIT_LISTS)}, got {split!r}"
        )
    files = image_files(_image_folder(folder))
    captions, troubles = _read_tokens(_token_file(folder), files)
    names = _read_list(_list_file(folder, split))
    name_counts = Counter(names)
    troubles["photo twice in the split's list"] = [
        name for name, count in name_counts.items() if count > 1
    ]
    examples: list[Example] = []
    for name in name_counts:
        example = _example(name, files.get(name), captions.get(name, []), troubles)
        if example is not None:
            examples.append(example)
    troubles["photo stored twice"] = same_files([example.photo for example in examples])
    for kind, photos in caption_troubles(examples).items():
        troubles[kind] += photos
    return examples, report_on(f"{folder.name} {split}", examples, troubles)


def read_karpathy(
    json_path: Path, images_folder: Path, split: str
) -> tuple[list[Example], DataReport]:
    """The photos of one split of a Karpathy file.

    Such as ``dataset_flickr8k.json``, ``dataset_flickr30k.json`` or
    ``dataset_coco.json``. The file's "val" is our "dev"; "train" takes COCO's "restval"
    with it. Photos are looked for as ``images_folder/filepath/filename`` and then as
    ``images_folder/filename``.

    Raises:
        ValueError: the split is not known, the folder is missing, or the file is not such a data
            set.
    """
    if split not in KARPATHY_SPLITS:
        raise ValueError(
            f"split: expected one of {', '.join(KARPATHY_SPLITS)}, got {split!r}"
        )
    rows = read_json(json_path, "images")["images"]
    files = _KarpathyFiles(images_folder)
    troubles: dict[str, list[str]] = defaultdict(list)
    examples: list[Example] = []
    for number, row in enumerate(rows):
        photo = _karpathy_photo(row)
        if photo is None:
            kind = "bad entry (expected filename, split, sentences[raw])"
            troubles[kind].append(f"images[{number}]")
            continue
        if photo.split not in KARPATHY_SPLITS[split]:
            continue
        file = files.find(photo.subfolder, photo.name)
        example = _example(photo.name, file, photo.captions, troubles)
        if example is not None:
            examples.append(example)
    return examples, report_on(f"{json_path.name} {split}", examples, troubles)


class _KarpathyPhoto(NamedTuple):
    """One entry of Karpathy's file."""

    name: str
    split: str
    subfolder: Path
    captions: list[str]


def _karpathy_photo(row: Any) -> _KarpathyPhoto | None:
    """An entry's values; None where one is missing or of another type."""
    try:
        name = row["filename"]
        split = row["split"]
        subfolder = Path(row.get("filepath", ""))
        captions = [str(sentence["raw"]).strip() for sentence in row["sentences"]]
    except (KeyError, TypeError, AttributeError):
        return None
    captions = [text for text in captions if text]
    return _KarpathyPhoto(name, split, subfolder, captions)


class _KarpathyFiles:
    """The files of a folder and of its subfolders, each listed once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = {Path(): image_files(folder)}

    def find(self, subfolder: Path, name: str) -> ImageFile | None:
        """A photo in its subfolder or beside it; None where there is none of that name."""
        folder = self._folder / subfolder
        if subfolder not in self._files:
            self._files[subfolder] = image_files(folder) if folder.is_dir() else {}
        file = self._files[subfolder].get(name) or self._files[Path()].get(name)
        if file is not None:
            return file
        path = find_photo(folder, name)
        return None if path is None else ImageFile(path, path.stat().st_size)


def _example(
    name: str,
    file: ImageFile | None,
    captions: Sequence[str],
    troubles: dict[str, list[str]],
) -> Example | None:
    """A photo with its sentences; None where it is no use, which is counted."""
    if file is None:
        troubles["photo missing"].append(name)
    elif file.size == 0:
        troubles["photo broken (0 bytes)"].append(name)
    elif not captions:
        troubles["photo without a sentence"].append(name)
    else:
        return Example(file.path, tuple(captions), id=name)
    return None


def image_files(folder: Path) -> dict[str, ImageFile]:
    """File name -> path and bytes of every file of a folder.

    Raises:
        ValueError: the folder does not exist.
    """
    if not folder.is_dir():
        raise ValueError(
            f"{folder}: expected a folder of photos, got none; give the folder that holds the files"
        )
    with os.scandir(folder) as entries:
        return {
            entry.name: ImageFile(folder / entry.name, entry.stat().st_size)
            for entry in entries
            if entry.is_file()
        }


def same_files(paths: list[Path]) -> list[str]:
    """Names of the photos that repeat an earlier one byte for byte, as "later = earlier".

    Only files of equal size are read, so a folder of 6,000 photos takes a fraction of a second.
    """
    by_size: dict[int, list[Path]] = defaultdict(list)
    for path in paths:
        by_size[path.stat().st_size].append(path)
    repeated: list[str] = []
    for same_size in by_size.values():
        if len(same_size) == 1:
            continue
        first_names: dict[bytes, str] = {}
        for path in same_size:
            content = path.read_bytes()
            digest = blake2b(content).digest()
            first_name = first_names.setdefault(digest, path.name)
            if first_name != path.name:
                repeated.append(f"{path.name} = {first_name}")
    return sorted(repeated)


def read_json(path: Path, *keys: str) -> dict[str, Any]:
    """A JSON document that must be an object with lists under ``keys``.

    Raises:
        ValueError: the file is missing, is not JSON, or lacks a key.
    """
    try:
        values = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected a JSON document ({error})") from error
    is_object = isinstance(values, dict)
    lacking = [
        key for key in keys if not is_object or not isinstance(values.get(key), list)
    ]
    if lacking:
        raise ValueError(
            f"{path}: expected a JSON object with lists {', '.join(keys)}, got none at "
            f"{', '.join(lacking)}"
        )
    return dict(values)


def _image_folder(folder: Path) -> Path:
    """The folder of the photos, by any of its usual names."""
    for name in IMAGE_FOLDERS:
        if (folder / name).is_dir():
            return folder / name
    raise ValueError(
        f"{folder}: expected photos in one of {', '.join(IMAGE_FOLDERS)}, got none of these folders"
    )


def _token_file(folder: Path) -> Path:
    """The file of the sentences."""
    # The official zip also holds Flickr8k.lemma.token.txt: the same sentences with their words cut
    # to stems.
    files = sorted(
        path for pattern in ("*.token.txt", "*.token") for path in folder.glob(pattern)
    )
    files = [path for path in files if "lemma" not in path.name]
    if not files:
        raise ValueError(
            f"{folder}: expected a token file such as Flickr8k.token.txt, got none"
        )
    return files[0]


def _list_file(folder: Path, split: str) -> Path:
    """The list of a split's photos, by any of its usual names."""
    files = [
        path for pattern in SPLIT_LISTS[split] for path in sorted(folder.glob(pattern))
    ]
    if not files:
        raise ValueError(
            f"{folder}: expected a list of {split} photos, "
            f"{' or '.join(SPLIT_LISTS[split])}, got none"
        )
    return files[0]


def _read_list(path: Path) -> list[str]:
    """Photo names, one a line; Flickr30k's lists leave out ``.jpg``."""
    lines = [line.strip() for line in _text_lines(path)]
    return [name if "." in name else f"{name}.jpg" for name in lines if name]


def _text_lines(path: Path) -> list[str]:
    # Not splitlines: it also cuts at form feeds and other marks that may stand inside a sentence.
    return read_text(path).split("\n")


def _read_tokens(
    path: Path, files: Mapping[str, ImageFile]
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Photo -> its sentences in the order of their numbers, and the lines that are no use."""
    sentences: dict[str, dict[int, str]] = defaultdict(dict)
    troubles: dict[str, list[str]] = defaultdict(list)
    for line_number, line in enumerate(_text_lines(path), start=1):
        if not line.strip():
            continue
        where = f"{path.name}:{line_number}"
        key, name, number, sentence = _split_line(line)
        if number is None or not sentence:
            troubles["bad line (expected photo#number, tab, sentence)"].append(where)
        # photo.jpg.1 beside photo.jpg
        elif name not in files and Path(name).stem in files:
            troubles["line of a photo that does not exist"].append(f"{where} {key}")
        elif number in sentences[name]:
            troubles["sentence number used twice"].append(where)
        else:
            sentences[name][number] = sentence
    troubles["photo with sentences but no file"] = sorted(
        sentences.keys() - files.keys()
    )
    captions = {name: _in_order(by_number) for name, by_number in sentences.items()}
    return captions, troubles


def _in_order(sentences: Mapping[int, str]) -> list[str]:
    """Sentences in the order of their numbers."""
    return [sentences[number] for number in sorted(sentences)]


def _split_line(line: str) -> tuple[str, str, int | None, str]:
    r"""The key of a line, the photo and the sentence number in it, and the sentence.

    The number is None for a line without one.

    >>> _split_line("photo.jpg#4\ta dog")
    ('photo.jpg#4', 'photo.jpg', 4, 'a dog')
    """
    key, _, sentence = line.partition("\t")
    name, mark, number = key.rpartition("#")
    has_number = mark and number.strip().isdecimal()
    return key, name, int(number) if has_number else None, sentence.strip()
