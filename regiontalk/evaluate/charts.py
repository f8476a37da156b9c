"""Drawings as numbers: what a protocol found out that a table cannot show.

`plots` turns them into SVG. Enter: outcomes by photo, values or judged confidences.
Leave: a `Chart` of plain numbers, which JSON holds as well.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from regiontalk.metrics.bootstrap import Interval, bootstrap_shares
from regiontalk.metrics.calibration import Reliability

AT = (
    1,
    2,
    3,
    5,
    10,
    20,
    50,
    100,
)  # ranks and numbers of boxes at which curves are drawn
BINS = 30


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        name: what the legend calls it.
        x: of its points; of a histogram the K + 1 edges of the bins.
        y: of its points; of a histogram the K shares.
        low: lower end of the 95 % interval of each y; empty where there is none.
        high: upper end.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


@dataclass(frozen=True)
class Chart:
    """Lines over common axes.

    Attributes:
        kind: "curve" (x in powers of ten), "lines", "histogram", or "reliability" (both axes 0..1
            and a diagonal).
        title: what it shows.
        x: name of the horizontal axis.
        y: name of the vertical axis.
        lines: in the order of the legend.
    """

    kind: Literal["curve", "lines", "histogram", "reliability"]
    title: str
    x: str
    y: str
    lines: tuple[Line, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def rank_curve(
    name: str,
    ranks: NDArray[Any],
    photos: Sequence[Hashable],
    last: int,
    *,
    resamples: int = 1000,
) -> Line:
    """Share of things found at rank K or better, with intervals over photos.

    Args:
        name: of the line.
        ranks: (P,) from 1; what was not found ranks beyond ``last``.
        photos: (P,) the photo of each.
        last: greatest K that means something.
        resamples: bootstrap draws of photos.
    """
    depths = [number for number in AT if number <= last] or [1]
    is_within = np.asarray(ranks)[:, None] <= np.array(depths)
    shares = bootstrap_shares(is_within, photos, resamples=resamples)
    return interval_line(name, depths, shares)


def interval_line(name: str, x: Iterable[float], shares: Sequence[Interval]) -> Line:
    """A line of figures with their intervals."""
    return Line(
        name,
        tuple(map(float, x)),
        tuple(share.value for share in shares),
        tuple(share.low for share in shares),
        tuple(share.high for share in shares),
    )


def histogram(
    title: str,
    x: str,
    groups: Mapping[str, Sequence[float] | NDArray[Any]],
    bins: int = BINS,
) -> Chart:
    """Shares of each group's values over common bins; groups without a value are left out.

    >>> [line.y for line in histogram("t", "x", {"a": [0.0, 1.0, 1.0, 1.0], "b": []}, bins=2).lines]
    [(0.25, 0.75)]
    """
    values = {
        name: np.asarray(group, dtype=np.float64)
        for name, group in groups.items()
        if len(group)
    }
    all_values = np.concatenate([np.zeros(0), *values.values()])
    low, high = 0.0, 1.0
    if len(all_values):
        low, high = float(all_values.min()), float(all_values.max())
    edges = np.linspace(low, high if high > low else low + 1.0, bins + 1)
    lines = []
    for name, group in values.items():
        shares = np.histogram(group, edges)[0] / len(group)
        lines.append(Line(name, tuple(edges.tolist()), tuple(shares.tolist())))
    return Chart("histogram", title, x, "share", tuple(lines))


def reliability_chart(title: str, kinds: Mapping[str, Reliability]) -> Chart:
    """Share of right answers over confidence; empty bins are left out."""
    lines = []
    for name, fit in kinds.items():
        bins = [each_bin for each_bin in fit.bins if each_bin.count]
        confidences = tuple(each_bin.confidence for each_bin in bins)
        lines.append(
            Line(name, confidences, tuple(each_bin.accuracy for each_bin in bins))
        )
    return Chart("reliability", title, "confidence", "share right", tuple(lines))
