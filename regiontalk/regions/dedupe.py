"""Which boxes show one thing: whoever names a thing once asks here.

A model that looks at ten boxes of a photo describes the same man three times, as a man, a boy and
"a man in a red shirt". Two boxes show one thing where their captions name one kind of thing and
half of the smaller box lies in the other. `merged` serves `RegionCaptioner.caption`, alt texts,
exports and videos alike; it is pure and knows no model.

numpy is imported only where boxes are compared: the command line has its defaults from the alt
texts, which read this.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from regiontalk.text.nouns import kind_of

if TYPE_CHECKING:
    from regiontalk.records import RegionCaption

SAME = 0.5  # of the smaller box inside the other: two boxes of one kind of thing are then one thing


def worth(region: RegionCaption) -> float:
    """How much a region is worth reading: likely right, and on a box that holds a thing."""
    return region.confidence * region.score


def merged(
    regions: Sequence[RegionCaption], overlap: float = SAME
) -> list[RegionCaption]:
    """The regions in their order, without a second box on the same thing.

    Of one thing the worthiest stays. A region without words names nothing, so it is
    never merged.

    Args:
        regions: of one photo.
        overlap: share of the smaller box inside the other from which two boxes of one kind of thing
            are one thing.
    """
    import numpy as np

    from regiontalk.boxes import shared_of_smaller

    corners = np.array([region.box for region in regions], dtype=np.float32).reshape(
        -1, 4
    )
    shared = shared_of_smaller(corners, corners)
    kinds = [kind_of(region.text or "") for region in regions]
    worded_rows = [row for row, region in enumerate(regions) if region.text]
    kept_rows: list[int] = []
    for row in sorted(worded_rows, key=lambda row: -worth(regions[row])):
        same_kind = [
            kept_row for kept_row in kept_rows if kinds[kept_row] == kinds[row]
        ]
        if not any(shared[row, kept_row] >= overlap for kept_row in same_kind):
            kept_rows.append(row)
    return [
        region
        for row, region in enumerate(regions)
        if row in kept_rows or not region.text
    ]


def worthiest(
    regions: Sequence[RegionCaption], count: int
) -> tuple[RegionCaption, ...]:
    """The ``count`` regions that are most worth reading.

    Then boxes without words, in their order.
    """
    worded = sorted(
        (region for region in regions if region.text), key=worth, reverse=True
    )
    silent = [region for region in regions if not region.text]
    return tuple([*worded, *silent][:count])
