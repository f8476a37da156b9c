"""One way to a data set of any layout.

The Flickr folders, Karpathy's file, COCO, YOLO, or your own folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from regiontalk.datasets.caption_files import has_caption_files, read_caption_files
from regiontalk.datasets.coco import read_coco
from regiontalk.datasets.entities import add_entities
from regiontalk.datasets.flickr import read_flickr, read_karpathy
from regiontalk.datasets.folder import lists_photos, read_folder
from regiontalk.datasets.names import read_detected
from regiontalk.datasets.report import DataReport
from regiontalk.datasets.yolo import is_yolo, read_yolo
from regiontalk.records import Example

SPLITS = ("train", "dev", "test")
# captions_train2017.json, captions_val2017.json
COCO_NAMES = {"train": "train", "dev": "val", "test": "test"}
PHOTO_FOLDERS = ("flickr8k", "flickr30k")
CAPTIONS_FILE = "_captions.json"
ENTITIES = "flickr30k_entities"
KARPATHY_FILE = "dataset_"


def read_split(data: Path, split: str) -> tuple[list[Example], list[DataReport]]:
    """The photos of one split, and what was wrong with the files.

    With Entities boxes and phrases where they are there.

    Args:
        data: holds ``flickr8k/`` (or ``flickr30k/``) and perhaps ``flickr30k_entities/``, or COCO's
            ``annotations/`` beside its folders of photos, or your own JSONL or CSV, or
            YOLO's labels and names of classes, or a text beside each photo, or
            ``images.json`` and ``detections.json`` (`datasets.names`, the split train); or a file
            ``NAME_captions.json`` of COCO's format with the folder ``NAME`` and perhaps
            ``NAME_instances.json`` beside it, which has no splits; or Karpathy's file
            ``dataset_NAME.json`` with the folder ``NAME``, ``images`` or ``Images`` beside it.
        split: train, dev or test, or of COCO "all": every photo of every captions file.

    Raises:
        ValueError: no data set there, or no such split.
    """
    if data.name.endswith(CAPTIONS_FILE):
        examples, report = _read_coco_files(data)
        return examples, [report]
    if data.name.startswith(KARPATHY_FILE) and data.suffix == ".json":
        examples, report = read_karpathy(data, _karpathy_photos(data), split)
        return examples, [report]
    has_detections = (data / "images.json").is_file() and (
        data / "detections.json"
    ).is_file()
    if has_detections and split == "train":
        examples, report = read_detected(data)
        return examples, [report]
    if coco_captions(data, "all"):
        return _read_coco(data, split)
    if split == "all":
        raise ValueError(
            f"split: all is for COCO's layout, which {data} has not; expected one of "
            f"{', '.join(SPLITS)}"
        )
    for name in PHOTO_FOLDERS:
        if (data / name).is_dir():
            return _read_flickr(data, data / name, split)
    examples, report = _read_own(data, split)
    return examples, [report]


def _read_own(data: Path, split: str) -> tuple[list[Example], DataReport]:
    """A split of somebody's own photos: a list goes before labels or texts beside them."""
    if not lists_photos(data):
        if is_yolo(data):
            return read_yolo(data, split)
        if has_caption_files(data):
            return read_caption_files(data, split)
    return read_folder(data, split)  # where there is nothing, it says what it expected


def _read_flickr(
    data: Path, flickr: Path, split: str
) -> tuple[list[Example], list[DataReport]]:
    """A split of an official Flickr folder, with its Entities where ``data`` holds them."""
    examples, report = read_flickr(flickr, split)
    if not (data / ENTITIES).is_dir():
        return examples, [report]
    joined, entities_report = add_entities(examples, data / ENTITIES)
    return joined, [report, entities_report]


def _read_coco_files(captions: Path) -> tuple[list[Example], DataReport]:
    """``NAME_captions.json`` and ``NAME_instances.json`` in COCO's format.

    With the folder ``NAME`` beside them.
    """
    name = captions.name.removesuffix(CAPTIONS_FILE)
    folder = captions.with_name(name)
    instances = captions.with_name(f"{name}_instances.json")
    return read_coco(folder, captions, instances if instances.is_file() else None)


def _karpathy_photos(json_path: Path) -> Path:
    """The folder of photos beside ``dataset_NAME.json``: ``NAME``, ``images`` or ``Images``."""
    name = json_path.stem.removeprefix(KARPATHY_FILE)
    folders = [json_path.with_name(folder) for folder in (name, "images", "Images")]
    return _first_folder(folders)


def _first_folder(folders: Sequence[Path]) -> Path:
    """The first folder that is there; the first of all where none is."""
    for folder in folders:
        if folder.is_dir():
            return folder
    return folders[0]


def default_split(data: Path) -> str:
    """The split that is measured where nobody names one.

    That is dev; all of COCO, on which nothing was chosen.
    """
    return "all" if coco_captions(data, "all") else "dev"


def coco_captions(data: Path, split: str) -> list[Path]:
    """COCO's captions files of a split in a folder of its layout; empty where it has none."""
    splits = [split]
    if split == "all":
        splits = list(COCO_NAMES)
    files: list[Path] = []
    for name in splits:
        if name in COCO_NAMES:
            pattern = f"captions_{COCO_NAMES[name]}*.json"
            files += sorted((data / "annotations").glob(pattern))
    return files


def _read_coco(data: Path, split: str) -> tuple[list[Example], list[DataReport]]:
    """The photos of all captions files of a split.

    With their objects where an instances file stands beside it.
    """
    files = coco_captions(data, split)
    if not files:
        raise ValueError(
            f"split: expected one of {', '.join(SPLITS)} or all, with a captions file, "
            f"got {split!r}"
        )
    examples: list[Example] = []
    reports: list[DataReport] = []
    for path in files:
        folder_name = path.stem.removeprefix("captions_")
        photos = _first_folder([data / folder_name, data / "images" / folder_name])
        instances = path.with_name(f"instances_{folder_name}.json")
        file_examples, report = read_coco(
            photos, path, instances if instances.is_file() else None
        )
        examples += file_examples
        reports.append(report)
    return examples, reports
