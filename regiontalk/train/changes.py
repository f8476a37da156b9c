"""What changed in a data set since a stage began.

Corrected boxes, captions or photos start it again, and are named. A stage writes
``data.json`` beside its checkpoint: of each photo a hash of its bytes, of each caption
and of each box with its phrases. A later run whose data differ compares the two files,
says what changed, sets the old checkpoint aside and starts the stage again.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from regiontalk.files import write_data
from regiontalk.records import Example
from regiontalk.train.checkpoint import (
    Checkpoint,
    differing_settings,
    set_aside,
    written_settings,
)
from regiontalk.train.loop import Log

MANIFEST = "data.json"
DATA_KEYS = {
    "photos",
    "read",
}  # of a stage's settings: hashes of all that a data set teaches
# What follows from the data: the vocabulary, and with it first weights, and what earlier stages
# have learnt.
FOLLOWING = {"begin", "before", "features.extractor", "pairs.aligner"}

Manifest = dict[str, dict[str, Any]]


def photo_hash(path: Path) -> str:
    """SHA-256 of a photo's bytes, zeros where there is no file.

    What did not change since is not read again.
    """
    try:
        status = path.stat()
    except OSError:
        return "0" * 64
    return _photo_hash(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1 << 20)
def _photo_hash(path: Path, size: int, modified: int) -> str:
    with path.open("rb") as photo:
        return hashlib.file_digest(photo, "sha256").hexdigest()


def photos_hash(examples: Sequence[Example]) -> str:
    """A hash of the photos alone: their ids and bytes, in order."""
    pairs = [(example.id, photo_hash(example.photo)) for example in examples]
    return hashlib.sha256(repr(pairs).encode()).hexdigest()


def content_hash(examples: Sequence[Example], unseen: Sequence[str] = ()) -> str:
    """A hash of all that a data set teaches.

    The photos' bytes, sentences, boxes and phrases, and other sentences.
    """
    digest = hashlib.sha256()
    for example in examples:
        digest.update(bytes.fromhex(photo_hash(example.photo)))
        texts = (example.id, example.captions, example.phrases, example.size_wh)
        digest.update(repr(texts).encode())
        digest.update(example.boxes_xyxy.tobytes())
    digest.update(repr(list(unseen)).encode())
    return digest.hexdigest()


def data_manifest(examples: Sequence[Example]) -> Manifest:
    """Short hashes of each photo's bytes, captions and boxes, by the photo's id."""
    return {example.id: _photo_entry(example) for example in examples}


def _photo_entry(example: Example) -> dict[str, Any]:
    phrases: dict[int, list[str]] = {}
    for phrase in example.phrases:
        for row in phrase.boxes:
            phrases.setdefault(row, []).append(phrase.text)
    boxes = [
        _short((np.asarray(box).tolist(), phrases.get(row, [])))
        for row, box in enumerate(example.boxes_xyxy)
    ]
    return {
        "picture": photo_hash(example.photo)[:12],
        "captions": [_short(caption) for caption in example.captions],
        "boxes": boxes,
    }


def _short(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:8]


def describe_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs between two manifests, such as "3 photos, 14 boxes changed".

    >>> old = {"a": {"picture": "1", "captions": ["x"], "boxes": ["p", "q"]}}
    >>> new = {"a": {"picture": "1", "captions": ["x"], "boxes": ["p", "r"]}, "b": {}}
    >>> describe_changes(old, new)
    '1 photo, 1 box changed; 1 photo added'
    """
    common = [name for name in now if name in before]
    changed = [
        (before[name], now[name]) for name in common if now[name] != before[name]
    ]
    clauses = []
    if changed:
        counts = [_count(len(changed), "photo"), *_count_changes(changed)]
        clauses.append(f"{', '.join(counts)} changed")
    added = len(now) - len(common)
    if added:
        clauses.append(f"{_count(added, 'photo')} added")
    gone = len(before) - len(common)
    if gone:
        clauses.append(f"{_count(gone, 'photo')} gone")
    return (
        "; ".join(clauses)
        or "the data changed in its order or in sentences without photos"
    )


def _count_changes(
    changed: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
) -> list[str]:
    """How many pictures, captions and boxes differ between photos before and now.

    Such as "2 boxes".
    """
    counts = {
        "picture": sum(old["picture"] != new["picture"] for old, new in changed),
        "caption": sum(_differing(old, new, "captions") for old, new in changed),
        "box": sum(_differing(old, new, "boxes") for old, new in changed),
    }
    return [_count(number, name) for name, number in counts.items() if number]


def _differing(before: Mapping[str, Any], now: Mapping[str, Any], key: str) -> int:
    """How many hashes differ between two lists, the order apart."""
    old, new = Counter(before[key]), Counter(now[key])
    return max((old - new).total(), (new - old).total())


def _count(number: int, name: str) -> str:
    plural = {"box": "boxes"}.get(name, f"{name}s")
    return f"{number} {name if number == 1 else plural}"


def restart_changed(checkpoint: Checkpoint, manifest: Manifest, log: Log) -> None:
    """Start a stage again where its data changed and nothing else did.

    Keeps the manifest of its data.

    Args:
        checkpoint: of the stage, with what shapes it now.
        manifest: of the data now.
        log: takes the line that names what changed.
    """
    folder, settings = checkpoint.folder, checkpoint.settings
    path, written = folder / MANIFEST, written_settings(folder)
    usual = checkpoint.usual.get("settings", "")
    differing = {name for name, _, _ in differing_settings(written, settings, usual)}
    if differing & DATA_KEYS and differing <= DATA_KEYS | FOLLOWING:
        before = _read_manifest(path)
        what = (
            "the data changed" if before is None else describe_changes(before, manifest)
        )
        old = set_aside(folder)
        log(
            f"{what}: stage {folder.name} starts again (what it had learnt is kept in {old})"
        )
    elif written:
        if not path.exists() and not differing:
            _write_manifest(path, manifest)
        return
    _write_manifest(path, manifest)


def _read_manifest(path: Path) -> Manifest | None:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def _write_manifest(path: Path, manifest: Manifest) -> None:
    write_data(
        path,
        json.dumps(manifest, ensure_ascii=False).encode("utf-8", "surrogateescape"),
    )
