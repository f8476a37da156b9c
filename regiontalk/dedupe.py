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


def merged(regions: Sequence[RegionCaption]) -> list[RegionCaption]:
    """The regions in their order, without a second box on the same thing: of one thing the most confident stays.

    A region without words names nothing, so it is never merged.
    """
    import numpy as np

    from regiontalk.boxes import shared_of_smaller

    corners = np.array([region.box for region in regions], dtype=np.float32).reshape(-1, 4)
    shared = shared_of_smaller(corners, corners)
    kinds = [kind_of(region.text or "") for region in regions]
    spoken = [row for row, region in enumerate(regions) if region.text]
    best: list[int] = []
    for row in sorted(spoken, key=lambda row: -regions[row].confidence):
        if not any(kinds[row] == kinds[other] and shared[row, other] >= SAME for other in best):
            best.append(row)
    kept = set(best)
    return [region for row, region in enumerate(regions) if row in kept or not region.text]
