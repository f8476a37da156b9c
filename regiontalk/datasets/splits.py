"""One way to a data set, whatever its layout: the official Flickr folders with Entities, COCO, or your own folder."""

from __future__ import annotations

from pathlib import Path

from regiontalk.datasets.coco import read_coco
from regiontalk.datasets.entities import add_entities
from regiontalk.datasets.flickr import read_flickr
from regiontalk.datasets.folder import read_folder
from regiontalk.datasets.names import read_detected
from regiontalk.datasets.report import DataReport
from regiontalk.records import Example

SPLITS = ("train", "dev", "test")
COCO_NAMES = {
    "train": "train",
    "dev": "val",
    "test": "test",
}  # captions_train2017.json, captions_val2017.json
PHOTO_FOLDERS = ("flickr8k", "flickr30k")
CAPTIONS_FILE = "_captions.json"
ENTITIES = "flickr30k_entities"


def read_split(data: Path, split: str) -> tuple[list[Example], list[DataReport]]:
    """The photos of one split, with Entities boxes and phrases where they are there, and what was wrong with the files.

    Args:
        data: holds ``flickr8k/`` (or ``flickr30k/``) and perhaps ``flickr30k_entities/``, or COCO's
            ``annotations/`` beside its folders of photos, or your own JSONL or CSV, or
            ``images.json`` and ``detections.json`` (`datasets.names`, the split train); or a file
            ``NAME_captions.json`` of COCO's format with the folder ``NAME`` and perhaps
            ``NAME_instances.json`` beside it, which has no splits.
        split: train, dev or test, or of COCO "all": every photo of every captions file.

    Raises:
        ValueError: no data set there, or no such split.
    """
    if data.name.endswith(CAPTIONS_FILE):
        examples, report = _read_coco_files(data)
        return examples, [report]
    if (
        (data / "images.json").is_file()
        and (data / "detections.json").is_file()
        and split == "train"
    ):
        examples, report = read_detected(data)
        return examples, [report]
    if coco_captions(data, "all"):
        return _read_coco(data, split)
    if split == "all":
        raise ValueError(
            f"split: all is for COCO's layout, which {data} has not; expected one of {', '.join(SPLITS)}"
        )
    found = next((data / name for name in PHOTO_FOLDERS if (data / name).is_dir()), None)
    if found is None:
        examples, report = read_folder(data, split)
        return examples, [report]
    examples, report = read_flickr(found, split)
    if not (data / ENTITIES).is_dir():
        return examples, [report]
    joined, second = add_entities(examples, data / ENTITIES)
    return joined, [report, second]


def _read_coco_files(captions: Path) -> tuple[list[Example], DataReport]:
    """``NAME_captions.json`` in COCO's format with ``NAME_instances.json`` and the folder ``NAME`` beside it."""
    name = captions.name.removesuffix(CAPTIONS_FILE)
    instances = captions.with_name(f"{name}_instances.json")
    return read_coco(captions.with_name(name), captions, instances if instances.is_file() else None)


def default_split(data: Path) -> str:
    """The split that is measured where nobody names one: dev; all of COCO, on which nothing was chosen."""
    return "all" if coco_captions(data, "all") else "dev"


def coco_captions(data: Path, split: str) -> list[Path]:
    """COCO's captions files of a split in a folder of its layout; empty where it has none."""
    names = (
        COCO_NAMES.values()
        if split == "all"
        else [COCO_NAMES[split]]
        if split in COCO_NAMES
        else []
    )
    return [
        path
        for name in names
        for path in sorted((data / "annotations").glob(f"captions_{name}*.json"))
    ]


def _read_coco(data: Path, split: str) -> tuple[list[Example], list[DataReport]]:
    """The photos of all captions files of a split, with their objects where an instances file stands beside it."""
    files = coco_captions(data, split)
    if not files:
        raise ValueError(
            f"split: expected one of {', '.join(SPLITS)} or all, with a captions file, got {split!r}"
        )
    examples: list[Example] = []
    reports: list[DataReport] = []
    for path in files:
        part = path.stem.removeprefix("captions_")
        pictures = next(
            (place for place in (data / part, data / "images" / part) if place.is_dir()),
            data / part,
        )
        instances = path.with_name(f"instances_{part}.json")
        own, report = read_coco(pictures, path, instances if instances.is_file() else None)
        examples += own
        reports.append(report)
    return examples, reports
