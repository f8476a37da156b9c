"""What one server accepts: sizes, times and how many may wait."""

from __future__ import annotations

from dataclasses import dataclass, fields

MOST_BOXES = 100  # boxes given, or regions asked for, in one request
MOST_BEAMS = 10
MOST_LETTERS = 1000  # of a sentence or phrase
_MOST_UPLOADS = 10  # of full size, in memory at once


@dataclass(frozen=True)
class Limits:
    """Numbers that whoever runs a server may change.

    Attributes:
        upload_bytes: of one request, whatever it holds.
        pixels: width x height of a photo; larger ones are refused before they are decoded.
        seconds: to receive a request, and again from there to its answer.
        waiting: requests inside the server at once, those in work included; one more is sent away
            for a while, as is one that could not be answered in time.
        batch: photos that are computed together at most.

    Raises:
        ValueError: a number is not positive.
    """

    upload_bytes: int = 20_000_000
    pixels: int = 50_000_000
    seconds: float = 30.0
    waiting: int = 32
    batch: int = 8

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise ValueError(
                    f"{field.name}: expected a number above 0, got {getattr(self, field.name)}"
                )

    @property
    def memory_bytes(self) -> int:
        """Of all bodies that are being received, or whose photo is not decoded yet."""
        return _MOST_UPLOADS * self.upload_bytes
