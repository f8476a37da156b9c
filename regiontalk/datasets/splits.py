"""One way to a data set, whatever its layout: the official Flickr folders with Entities, or your own folder."""

from __future__ import annotations

from pathlib import Path

from regiontalk.datasets.entities import add_entities
from regiontalk.datasets.flickr import read_flickr
from regiontalk.datasets.folder import read_folder
from regiontalk.datasets.report import DataReport
from regiontalk.records import Example

PHOTO_FOLDERS = ("flickr8k", "flickr30k")
ENTITIES = "flickr30k_entities"


def read_split(data: Path, split: str) -> tuple[list[Example], list[DataReport]]:
    """The photos of one split, with Entities boxes and phrases where they are there, and what was wrong with the files.

    Args:
        data: holds ``flickr8k/`` (or ``flickr30k/``) and perhaps ``flickr30k_entities/``, or your own JSONL or CSV.
        split: train, dev or test.

    Raises:
        ValueError: no data set there, or no such split.
    """
    found = next((data / name for name in PHOTO_FOLDERS if (data / name).is_dir()), None)
    if found is None:
        examples, report = read_folder(data, split)
        return examples, [report]
    examples, report = read_flickr(found, split)
    if not (data / ENTITIES).is_dir():
        return examples, [report]
    joined, second = add_entities(examples, data / ENTITIES)
    return joined, [report, second]
