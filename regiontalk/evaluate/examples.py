"""Examples to look at: the best, the median and the worst of a protocol, with what is to be drawn on their photos."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from regiontalk.captioner import RegionCaptioner
from regiontalk.images.open import open_photo
from regiontalk.records import Example, FloatArray, ImageResult, RegionCaption
from regiontalk.text.vocabulary import UNKNOWN, tokenize

EACH = 3  # examples of a kind

Said = tuple[Sequence[float], str]
"""A box and the words on it."""


@dataclass(frozen=True)
class Case:
    """One example.

    Attributes:
        value: its figure in words, such as "IoU 0.71".
        lines: what stands below the photo, as (name, text).
        drawn: the photo and what is drawn on it; a box without words is an annotated one. None
            where there is no photo.
        size_wh: the size that the photo is shown at, where its file has lost its shape; None: the
            file's.
    """

    value: str
    lines: tuple[tuple[str, str], ...]
    drawn: ImageResult | None = None
    size_wh: tuple[int, int] | None = None


Cases = Mapping[str, tuple[Case, ...]]
"""Kind of example ("best", "median", "worst", ...) to the examples."""


def pick(
    values: Sequence[float],
    photos: Sequence[Hashable],
    make: Callable[[int], Case],
    each: int = EACH,
) -> dict[str, tuple[Case, ...]]:
    """The best, the median and the worst of P things, each photo at most once; ties by order.

    Args:
        values: (P,) greater is better.
        photos: (P,) the photo of each.
        make: the case of a row; called for the chosen rows alone.
        each: how many of a kind, fewer where there are few photos.
    """
    order = sorted(range(len(values)), key=lambda row: -values[row])
    middle = sorted(range(len(order)), key=lambda place: abs(place - len(order) // 2))
    walks = {"best": order, "worst": order[::-1], "median": [order[place] for place in middle]}
    number = max(1, min(each, len(set(photos)) // 3))
    used: set[Hashable] = set()
    rows: dict[str, list[int]] = {name: [] for name in ("best", "median", "worst")}
    for name, walk in walks.items():
        for row in walk:
            if photos[row] not in used and len(rows[name]) < number:
                used.add(photos[row])
                rows[name].append(row)
    return {name: tuple(map(make, own)) for name, own in rows.items()}


def on_words(captioner: RegionCaptioner, example: Example, sentence: str) -> ImageResult:
    """A sentence with a box for each of its words, in pixels of the photo's file; the bare photo if none is known."""
    tokens = tokenize(sentence)
    if any(number != UNKNOWN for number in captioner.vocabulary.encode(tokens)):
        return captioner.align(example.photo, sentence)
    photo = open_photo(example.photo, max_pixels=captioner.max_pixels, at_least=1)
    return ImageResult(photo.name, photo.size_wh, captioner.config.name)


def on_boxes(
    example: Example,
    said: Iterable[Said],
    truths_xyxy: FloatArray | None = None,
    size_wh: tuple[int, int] | None = None,
) -> ImageResult:
    """Boxes with words over annotated boxes without any, in pixels of the annotation.

    Args:
        example: the photo.
        said: boxes with words; what leaves the photo by rounding is cut.
        truths_xyxy: (M, 4) annotated boxes; None for none.
        size_wh: of the picture that the boxes refer to, where the example does not say it.
    """
    size = example.size_wh or size_wh
    if size is None:
        raise ValueError(
            f"{example.id}: expected the size that its boxes refer to, got none; pass size_wh"
        )
    rows: list[tuple[Sequence[float], str | None]] = (
        [] if truths_xyxy is None else [(box, None) for box in truths_xyxy.tolist()]
    )
    regions = []
    for box, text in [*rows, *said]:
        x1, y1, x2, y2 = np.clip(box, 0, [*size, *size]).tolist()
        if x1 < x2 and y1 < y2:
            regions.append(RegionCaption((x1, y1, x2, y2), text, 1.0))
    return ImageResult(str(example.photo), size, "", regions=tuple(regions))
