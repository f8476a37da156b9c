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
from dataclasses import replace
from typing import TYPE_CHECKING

from regiontalk.text.nouns import kind_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from regiontalk.records import RegionCaption

SAME = 0.5  # of the smaller box inside the other: two boxes of one kind of thing are then one thing


def worth(region: RegionCaption) -> float:
    """How much a region is worth reading: likely right, and on a box that holds a thing."""
    return region.confidence * region.score


def merged(
    regions: Sequence[RegionCaption], overlap: float = SAME, voting: float | None = None
) -> list[RegionCaption]:
    """The regions in their order, without a second box on the same thing.

    Of one thing the worthiest stays. A region without words names nothing, so it is
    never merged.

    Args:
        regions: of one photo.
        overlap: share of the smaller box inside the other from which two boxes of one kind of thing
            are one thing.
        voting: IoU with the worthiest box from which the others of its thing vote on where its
            sides lie, weighed by their worth (box voting, Gidaris and Komodakis 2015); None leaves
            the box as it is.
    """
    import numpy as np

    from regiontalk.boxes import iou, shared_of_smaller

    corners = np.array([region.box for region in regions], dtype=np.float32).reshape(
        -1, 4
    )
    things = _things(regions, shared_of_smaller(corners, corners) >= overlap)
    boxes = [region.box for region in regions]
    if voting is not None:
        overlaps = iou(corners, corners)
        for first, rows in things.items():
            voters = [row for row in rows if overlaps[first, row] >= voting]
            if len(voters) > 1:
                worths = [worth(regions[row]) + 1e-9 for row in voters]
                box = np.average(corners[voters], axis=0, weights=worths)
                boxes[first] = tuple(box.tolist())
    return [
        region if box == region.box else replace(region, box=box)
        for row, (region, box) in enumerate(zip(regions, boxes, strict=True))
        if row in things or not region.text
    ]


def _things(
    regions: Sequence[RegionCaption], overlaps: NDArray[np.bool_]
) -> dict[int, list[int]]:
    """The rows of the boxes on each thing by the row of the worthiest; overlaps (N, N)."""
    kinds = [kind_of(region.text or "") for region in regions]
    worded_rows = [row for row, region in enumerate(regions) if region.text]
    things: dict[int, list[int]] = {}
    for row in sorted(worded_rows, key=lambda row: -worth(regions[row])):
        for first in things:
            if kinds[first] == kinds[row] and overlaps[row, first]:
                things[first].append(row)
                break
        else:
            things[row] = [row]
    return things


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
