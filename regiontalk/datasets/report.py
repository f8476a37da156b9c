"""What a reader found wrong.

Counted by kind with a few names, so that nothing is fatal and nothing silent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from regiontalk.records import Example

NAMES_KEPT = 5  # of each kind of trouble: enough to go and look, few enough to print


@dataclass(frozen=True)
class Trouble:
    """One kind of trouble.

    Attributes:
        count: how often it was met.
        names: the first `NAMES_KEPT` photos, lines or files that it was met at.
    """

    count: int
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataReport:
    """What came out of a data set's files and what did not.

    Attributes:
        source: the file or folder that was read.
        photos: examples returned.
        captions: sentences in them.
        boxes: annotated boxes in them.
        phrases: phrases in them that have at least one box.
        troubles: kind of trouble -> how often and where; kinds that did not occur are absent.
    """

    source: str
    photos: int = 0
    captions: int = 0
    boxes: int = 0
    phrases: int = 0
    troubles: Mapping[str, Trouble] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """The report for a person: one line of totals, one a kind of trouble."""
        lines = [
            f"{self.source}: {self.photos} photos, {self.captions} captions, "
            f"{self.boxes} boxes, {self.phrases} phrases with a box"
        ]
        for kind, trouble in self.troubles.items():
            names = ", ".join(trouble.names)
            if trouble.count > len(trouble.names):
                names += ", ..."
            lines.append(f"  {trouble.count} {kind}: {names}")
        return lines


def report_on(
    source: str, examples: Sequence[Example], troubles: Mapping[str, Iterable[str]]
) -> DataReport:
    r"""Totals of the examples, and kind -> names met as counted `Trouble` records.

    Kinds without a name are left out.

    >>> troubles = {"photo missing": ["a.jpg", "b.jpg"], "photo empty": []}
    >>> print(*report_on("photos", [], troubles).lines(), sep="\n")
    photos: 0 photos, 0 captions, 0 boxes, 0 phrases with a box
      2 photo missing: a.jpg, b.jpg
    """
    counted: dict[str, Trouble] = {}
    for kind, photos in troubles.items():
        names = tuple(photos)
        if names:
            counted[kind] = Trouble(len(names), names[:NAMES_KEPT])
    return DataReport(
        source,
        photos=len(examples),
        captions=sum(len(example.captions) for example in examples),
        boxes=sum(len(example.boxes_xyxy) for example in examples),
        phrases=sum(
            bool(phrase.boxes) for example in examples for phrase in example.phrases
        ),
        troubles=counted,
    )
