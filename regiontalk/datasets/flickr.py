"""Flickr8k and Flickr30k in their official layout, and Karpathy's ``dataset_*.json``.

Official layout, one folder: ``Flickr8k.token.txt`` (lines ``photo.jpg#0<tab>sentence``), one list
of photo names a
split (``Flickr_8k.trainImages.txt``, ``...devImages.txt``, ``...testImages.txt``) and the pictures
in ``images/``. A folder that holds one split only is read as well. No picture is decoded here:
files are listed, and an empty one counts as broken.
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from hashlib import blake2b
from pathlib import Path
from typing import Any

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
PICTURE_FOLDERS = (
    "images",
    "Images",
    "Flicker8k_Dataset",
    "Flickr8k_Dataset",
    "flickr30k-images",
    "flickr30k_images",
)
KARPATHY_SPLITS = {
    "train": ("train", "restval"),
    "dev": ("val",),
    "test": ("test",),
}  # as [1] trains: docs/protocols.md


def read_flickr(folder: Path, split: str) -> tuple[list[Example], DataReport]:
    """The photos of one split with their sentences, in the order of the split's list.

    A photo is left out, and reported, where its file is missing or empty or it has no sentence.
    Photos that are the same file byte for byte are all kept and reported.

    Args:
        folder: the data set in its official layout.
        split: "train", "dev" or "test".

    Raises:
        ValueError: the split is not known, or the folder lacks its token file, the split's list or
            its pictures.
    """
    if split not in SPLIT_LISTS:
        raise ValueError(f"split: expected one of {', '.join(SPLIT_LISTS)}, got {split!r}")
    pictures = picture_sizes(_picture_folder(folder))
    captions, troubles = _read_tokens(_token_file(folder), pictures)
    names = _read_list(_list_file(folder, split))
    troubles["photo twice in the split's list"] = [
        name for name, times in Counter(names).items() if times > 1
    ]
    examples: list[Example] = []
    for name in dict.fromkeys(names):
        path, size = pictures.get(name, (None, 0))
        if path is None:
            troubles["photo missing"].append(name)
        elif size == 0:
            troubles["photo broken (0 bytes)"].append(name)
        elif name not in captions:
            troubles["photo without a sentence"].append(name)
        else:
            examples.append(Example(path, tuple(captions[name]), id=name))
    troubles["photo stored twice"] = same_files([example.photo for example in examples])
    for kind, places in caption_troubles(examples).items():
        troubles[kind] += places
    return examples, report_on(f"{folder.name} {split}", examples, troubles)


def read_karpathy(
    json_path: Path, images_folder: Path, split: str
) -> tuple[list[Example], DataReport]:
    """The photos of one split of ``dataset_flickr8k.json``, ``dataset_flickr30k.json`` or ``dataset_coco.json``.

    The file's "val" is our "dev"; "train" takes COCO's "restval" with it. Pictures are looked for
    as ``images_folder/filepath/filename`` and then as ``images_folder/filename``.

    Raises:
        ValueError: the split is not known, the folder is missing, or the file is not such a data
            set.
    """
    if split not in KARPATHY_SPLITS:
        raise ValueError(f"split: expected one of {', '.join(KARPATHY_SPLITS)}, got {split!r}")
    rows = read_json(json_path, "images")["images"]
    pictures = {Path(): picture_sizes(images_folder)}
    troubles: dict[str, list[str]] = defaultdict(list)
    examples: list[Example] = []
    for number, row in enumerate(rows):
        try:
            name, row_split, under = row["filename"], row["split"], Path(row.get("filepath", ""))
            captions = tuple(str(sentence["raw"]).strip() for sentence in row["sentences"])
        except (KeyError, TypeError, AttributeError):
            troubles["bad entry (expected filename, split, sentences[raw])"].append(
                f"images[{number}]"
            )
            continue
        if row_split not in KARPATHY_SPLITS[split]:
            continue
        if under not in pictures:
            pictures[under] = (
                picture_sizes(images_folder / under) if (images_folder / under).is_dir() else {}
            )
        path, size = pictures[under].get(name) or pictures[Path()].get(name) or (None, 0)
        if path is None and (alike := find_photo(images_folder / under, name)) is not None:
            path, size = alike, alike.stat().st_size
        if path is None:
            troubles["photo missing"].append(name)
        elif size == 0:
            troubles["photo broken (0 bytes)"].append(name)
        elif not any(captions):
            troubles["photo without a sentence"].append(name)
        else:
            examples.append(Example(path, tuple(filter(None, captions)), id=name))
    return examples, report_on(f"{json_path.name} {split}", examples, troubles)


def picture_sizes(folder: Path) -> dict[str, tuple[Path, int]]:
    """File name -> (path, bytes) of every file of a folder.

    Raises:
        ValueError: the folder does not exist.
    """
    if not folder.is_dir():
        raise ValueError(
            f"{folder}: expected a folder of pictures, got none; give the folder that holds the files"
        )
    with os.scandir(folder) as entries:
        return {
            entry.name: (folder / entry.name, entry.stat().st_size)
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
    for alike in by_size.values():
        first: dict[bytes, str] = {}
        for path in alike if len(alike) > 1 else []:
            name = first.setdefault(blake2b(path.read_bytes()).digest(), path.name)
            if name != path.name:
                repeated.append(f"{path.name} = {name}")
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
    lacking = [
        key for key in keys if not isinstance(values, dict) or not isinstance(values.get(key), list)
    ]
    if lacking:
        raise ValueError(
            f"{path}: expected a JSON object with lists {', '.join(keys)}, got none at {', '.join(lacking)}"
        )
    return dict(values)


def _picture_folder(folder: Path) -> Path:
    for name in PICTURE_FOLDERS:
        if (folder / name).is_dir():
            return folder / name
    raise ValueError(
        f"{folder}: expected pictures in one of {', '.join(PICTURE_FOLDERS)}, got none of these folders"
    )


def _token_file(folder: Path) -> Path:
    # The official zip also holds Flickr8k.lemma.token.txt: the same sentences with their words cut
    # to stems.
    files = sorted(path for pattern in ("*.token.txt", "*.token") for path in folder.glob(pattern))
    files = [path for path in files if "lemma" not in path.name]
    if not files:
        raise ValueError(f"{folder}: expected a token file such as Flickr8k.token.txt, got none")
    return files[0]


def _list_file(folder: Path, split: str) -> Path:
    files = [path for pattern in SPLIT_LISTS[split] for path in sorted(folder.glob(pattern))]
    if not files:
        raise ValueError(
            f"{folder}: expected a list of {split} photos, {' or '.join(SPLIT_LISTS[split])}, got none"
        )
    return files[0]


def _read_list(path: Path) -> list[str]:
    """Photo names, one a line; Flickr30k's lists leave out ``.jpg``."""
    names = [line.strip() for line in _text_lines(path) if line.strip()]
    return [name if "." in name else f"{name}.jpg" for name in names]


def _text_lines(path: Path) -> list[str]:
    # Not splitlines: it also cuts at form feeds and other marks that may stand inside a sentence.
    return read_text(path).split("\n")


def _read_tokens(
    path: Path, pictures: dict[str, tuple[Path, int]]
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Photo -> its sentences in the order of their numbers, and the lines that are no use."""
    rows: dict[str, dict[int, str]] = defaultdict(dict)
    troubles: dict[str, list[str]] = defaultdict(list)
    for number, line in enumerate(_text_lines(path), start=1):
        key, _, sentence = line.partition("\t")
        name, mark, sentence_number = key.rpartition("#")
        if not line.strip():
            continue
        if not (mark and sentence_number.strip().isdecimal() and sentence.strip()):
            troubles["bad line (expected photo#number, tab, sentence)"].append(
                f"{path.name}:{number}"
            )
        elif name not in pictures and Path(name).stem in pictures:  # photo.jpg.1 beside photo.jpg
            troubles["line of a photo that does not exist"].append(f"{path.name}:{number} {key}")
        elif int(sentence_number) in rows[name]:
            troubles["sentence number used twice"].append(f"{path.name}:{number}")
        else:
            rows[name][int(sentence_number)] = sentence.strip()
    for name in rows.keys() - pictures.keys():
        troubles["photo with sentences but no file"].append(name)
    troubles["photo with sentences but no file"].sort()
    return {
        name: [sentences[sentence_number] for sentence_number in sorted(sentences)]
        for name, sentences in rows.items()
    }, troubles
