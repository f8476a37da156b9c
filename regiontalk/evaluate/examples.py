"""Examples to look at.

The best, the median and the worst of a protocol, with what is to be drawn on their
photos.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from regiontalk.captioner import RegionCaptioner
from regiontalk.images.open import open_photo
from regiontalk.records import Example, FloatArray, ImageResult, RegionCaption
from regiontalk.text.vocabulary import UNKNOWN, tokenize

EACH = 3  # examples of a kind

BoxText = tuple[Sequence[float], str]
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
    best_first = sorted(range(len(values)), key=lambda row: -values[row])
    ranks = range(len(best_first))
    from_middle = sorted(ranks, key=lambda rank: abs(rank - len(best_first) // 2))
    orders = {
        "best": best_first,
        "worst": best_first[::-1],
        "median": [best_first[rank] for rank in from_middle],
    }
    number = max(1, min(each, len(set(photos)) // 3))
    used: set[Hashable] = set()
    cases: dict[str, tuple[Case, ...]] = dict.fromkeys(("best", "median", "worst"), ())
    for kind, order in orders.items():
        rows = _unused_photos(order, photos, used, number)
        cases[kind] = tuple(map(make, rows))
    return cases


def _unused_photos(
    order: Iterable[int], photos: Sequence[Hashable], used: set[Hashable], number: int
) -> list[int]:
    """The first rows of an order whose photos are not used yet.

    Adds their photos to the used ones.
    """
    rows: list[int] = []
    for row in order:
        if photos[row] not in used and len(rows) < number:
            used.add(photos[row])
            rows.append(row)
    return rows


def on_words(
    captioner: RegionCaptioner, example: Example, sentence: str
) -> ImageResult:
    """A sentence with a box for each of its words, in pixels of the photo's file.

    The bare photo if none is known.
    """
    token_ids = captioner.vocabulary.encode(tokenize(sentence))
    if any(token_id != UNKNOWN for token_id in token_ids):
        return captioner.align(example.photo, sentence)
    photo = open_photo(example.photo, max_pixels=captioner.max_pixels, at_least=1)
    return ImageResult(photo.name, photo.size_wh, captioner.config.name)


def on_boxes(
    example: Example,
    captions: Iterable[BoxText],
    truths_xyxy: FloatArray | None = None,
    size_wh: tuple[int, int] | None = None,
) -> ImageResult:
    """Boxes with words over annotated boxes without any, in pixels of the annotation.

    Args:
        example: the photo.
        captions: boxes with words; what leaves the photo by rounding is cut.
        truths_xyxy: (M, 4) annotated boxes; None for none.
        size_wh: of the photo that the boxes refer to, where the example does not say it.
    """
    size = example.size_wh or size_wh
    if size is None:
        raise ValueError(
            f"{example.id}: expected the size that its boxes refer to, got none; pass size_wh"
        )
    truths = [] if truths_xyxy is None else truths_xyxy.tolist()
    rows: list[tuple[Sequence[float], str | None]] = [(box, None) for box in truths]
    rows += captions
    regions = []
    for box, text in rows:
        x1, y1, x2, y2 = np.clip(box, 0, [*size, *size]).tolist()
        if x1 < x2 and y1 < y2:
            regions.append(RegionCaption((x1, y1, x2, y2), text, 1.0))
    return ImageResult(str(example.photo), size, "", regions=tuple(regions))
