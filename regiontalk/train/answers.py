"""What a person says of photos, saved after every answer.

A JSON Lines file that ``regiontalk train`` reads. One photo a line, in the layout of
`datasets.folder`:

```json
{"photo": "a.jpg", "captions": ["a dark form"], "width": 320, "height": 400}
{"photo": "b.jpg", "boxes": [{"box": [9, 3, 96, 70], "phrase": "a key"}], "width": 96, "height": 80}
{"photo": "c.jpg"}
```

``photo`` is relative to the file; boxes are x1, y1, x2, y2 in pixels of the photo as it
is seen, whose size is ``width`` and ``height``. A photo of which the person has nothing
to say has its name alone. The file is replaced whole, so a kill at any moment leaves
the answers before it or after it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regiontalk.files import read_text, relative, write_data
from regiontalk.records import checked_boxes
from regiontalk.text.vocabulary import tokenize

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Answer:
    """What a person says of one photo.

    Attributes:
        photo: its path.
        size_wh: width and height in pixels, after the EXIF turn.
        captions: sentences about the whole photo.
        boxes: x1, y1, x2, y2 in pixels, each with its words.

    Raises:
        ValueError: a box is empty or outside the photo, or words have no letter or digit.
    """

    photo: Path
    size_wh: tuple[int, int]
    captions: tuple[str, ...] = ()
    boxes: tuple[tuple[Box, str], ...] = ()

    def __post_init__(self) -> None:
        checked_boxes([box for box, _ in self.boxes], self.size_wh)
        for text in (*self.captions, *(phrase for _, phrase in self.boxes)):
            if not tokenize(text):
                raise ValueError(f"{self.photo.name}: expected words, got {text!r}")

    def to_dict(self) -> dict[str, Any]:
        """The answer as a row of the file, but for the name of the photo."""
        row: dict[str, Any] = {}
        if self.captions:
            row["captions"] = list(self.captions)
        if self.boxes:
            row["boxes"] = [
                {"box": list(box), "phrase": phrase} for box, phrase in self.boxes
            ]
        if row:
            row["width"], row["height"] = self.size_wh
        return row


class Answers:
    """The answers of one file, in the order in which the photos were first answered."""

    def __init__(self, path: Path) -> None:
        """Read the file, where it is there.

        Raises:
            ValueError: a line is no JSON object with a photo; says which.
            OSError: the file cannot be read.
        """
        if path.suffix.lower() != ".jsonl":
            raise ValueError(f"--answers {path}: expected a name that ends in .jsonl")
        self.path = path
        self._rows: dict[Path, dict[str, Any]] = {}
        lines = read_text(path).split("\n") if path.is_file() else []
        for number, line in enumerate(lines, start=1):
            if line.strip():
                row = _parsed(line, f"{path}, line {number}")
                self._rows[self._key(path.parent / row["photo"])] = row

    def __contains__(self, photo: Path) -> bool:
        return self._key(photo) in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._rows.values())

    @property
    def with_words(self) -> int:
        """The photos of which there are words."""
        return sum(bool(row.get("captions") or row.get("boxes")) for row in self)

    def add(self, answer: Answer) -> None:
        """Save an answer; one about the same photo is replaced.

        Raises:
            OSError: the file cannot be written; the answers before are whole.
        """
        self.add_rows([(answer.photo, answer.to_dict())])

    def add_rows(self, rows: Sequence[tuple[Path, dict[str, Any]]]) -> None:
        """Save photos with their rows, as other programs have them."""
        changed = dict(self._rows)
        folder = self.path.parent.resolve()
        for photo, row in rows:
            key = self._key(photo)
            changed[key] = {"photo": relative(str(key), folder), **row}
        text = "".join(
            json.dumps(row, ensure_ascii=False) + "\n" for row in changed.values()
        )
        write_data(self.path, text.encode())
        self._rows = changed

    @staticmethod
    def _key(photo: Path) -> Path:
        return photo.resolve()


def _parsed(line: str, where: str) -> dict[str, Any]:
    """The row of a line."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{where}: expected a JSON object, got {line[:60]!r}"
        ) from error
    if not isinstance(row, dict) or not isinstance(row.get("photo"), str):
        raise ValueError(f'{where}: expected an object with "photo", got {line[:60]!r}')
    return row
