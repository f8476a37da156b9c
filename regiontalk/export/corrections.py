"""What people corrected in another program, ready to be written as a training file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Corrections:
    """What people said.

    Attributes:
        rows: one a photo, as `datasets/folder.py` reads them; ``photo`` is the path below the
            folder of the photos.
        left_out: entries and boxes that were not used, and why.
    """

    rows: tuple[dict[str, Any], ...]
    left_out: tuple[str, ...]
