"""``--source``: where `regiontalk caption` looks, read from one word of the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the sources bring torch, which mistakes and `--help` do without
    from regiontalk.regions.sources import (
        DetectorBoxes,
        PrecomputedRegions,
        RegionSource,
    )

KINDS = (
    "proposals",
    "grid:ROWSxCOLUMNS",
    "detector",
    "detector:WEIGHTS.safetensors",
    "features:PATH",
)
DEFAULT_REGIONS = 10  # of a photo, where the user names no number
_CELLS = re.compile(r"(\d{1,3})x(\d{1,3})")


def parse_source(
    text: str, regions: int | None = None, device: str | None = None
) -> tuple[RegionSource | None, int]:
    """A source of regions and how many of them to caption.

    >>> parse_source("proposals")
    (None, 10)
    >>> parse_source("grid:2x3")[1]  # all its cells
    6

    Args:
        text: one of `KINDS`; ``features`` names npz or npy files of boxes (`PrecomputedRegions`),
            of which the boxes alone are used: the model has vectors of its own.
        regions: what the user asked for; None takes `DEFAULT_REGIONS`, or all cells of a grid.
        device: where a detector runs.

    Returns:
        The source, None for the model's own proposals, and the number of regions.

    Raises:
        ValueError: no such source, or its argument does not fit; lists what there is.
        OSError: its file is not there, or the detector's published weights cannot be downloaded.
    """
    kind, _, argument = text.partition(":")
    count = DEFAULT_REGIONS if regions is None else regions
    if text == "proposals":
        return None, count
    cells = _CELLS.fullmatch(argument)
    if kind == "grid" and cells is not None:
        from regiontalk.regions.sources import Grid

        rows, columns = int(cells[1]), int(cells[2])
        return Grid(rows, columns), rows * columns if regions is None else regions
    if text == "detector" or (kind == "detector" and argument):
        return _detector(argument, max(1, count), device), count
    if kind == "features" and argument:
        from regiontalk.regions.sources import PrecomputedRegions

        return PrecomputedRegions(Path(argument)), count
    raise ValueError(f"--source: expected one of {', '.join(KINDS)}, got {text!r}")


def precomputed_features(path: Path | None, model: str) -> PrecomputedRegions | None:
    """``--features``: what a model that was trained on precomputed features reads.

    None where none are named.

    Raises:
        ValueError: no such model, or one that looks at photos itself.
        FileNotFoundError: nothing is there.
    """
    if path is None:
        return None
    from regiontalk.model.config import ModelConfig
    from regiontalk.model.hub import resolve_model
    from regiontalk.model.storage import open_folder
    from regiontalk.regions.sources import PrecomputedRegions

    config, _ = open_folder(resolve_model(model), ModelConfig)
    if config.precomputed is None:
        raise ValueError(
            "--features: expected a model trained on given features, got "
            f"{config.name!r}, which looks at photos itself"
        )
    return PrecomputedRegions(path)


def _detector(weights: str, count: int, device: str | None) -> DetectorBoxes:
    """A torchvision Faster R-CNN with local or, where none are named, published weights."""
    from regiontalk.regions.sources import DetectorBoxes

    if weights and not Path(weights).is_file():  # before a network is built for it
        raise FileNotFoundError(
            f"--source detector: {weights}: expected a safetensors file with its "
            "weights; no such file"
        )
    if weights:
        return DetectorBoxes.load(weights=weights, count=count, device=device or "cpu")
    try:
        return DetectorBoxes.load(count=count, device=device or "cpu")
    except OSError as error:
        raise OSError(
            f"--source detector: its published weights cannot be downloaded ({error}); "
            "name a local file with detector:WEIGHTS.safetensors"
        ) from error
