"""What the verbs need of the library facade, and how they get it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypedDict

if TYPE_CHECKING:
    from regiontalk.cli.options import Box
    from regiontalk.images.open import PictureSource
    from regiontalk.records import AttentionMaps, ImageResult
    from regiontalk.regions.sources import RegionSource


class Compute(TypedDict):
    """What computes, as `RegionCaptioner.from_pretrained` takes it."""

    device: str
    engine: str
    threads: int | None


def compute(device: str | None, engine: str, threads: int | None) -> Compute:
    """What the options of a verb say of it."""
    return Compute(device=device or "cpu", engine=engine, threads=threads)


class Captioner(Protocol):
    """The part of `regiontalk.RegionCaptioner` that the command line calls."""

    def caption_many(
        self,
        photos: Sequence[PictureSource],
        *,
        regions: int,
        beams: int | None = None,
        threshold: float | None = None,
        merge: bool = True,
    ) -> list[ImageResult]:
        """Captions on regions that the model chooses."""

    def describe(
        self,
        photo: PictureSource,
        boxes_xyxy: Sequence[Box],
        *,
        beams: int | None,
        threshold: float | None,
    ) -> ImageResult:
        """Captions on boxes that the user gave."""

    def align(self, photo: str, sentence: str) -> ImageResult:
        """Each word's box."""

    @property
    def attends(self) -> bool:
        """Whether `look` has something to show."""

    def look(self, photo: str, sentence: str) -> AttentionMaps:
        """Where each word of a sentence about the whole photo looked."""

    def locate(self, photo: str, phrase: str, *, k: int) -> ImageResult:
        """The k best boxes of a phrase."""


def load_captioner(
    model: str, where: Compute, max_pixels: int, source: RegionSource | None = None
) -> Captioner:
    """Load a model, which looks where ``source`` says.

    Raises:
        ValueError: no such model, or its folder is not complete.
    """
    from regiontalk import RegionCaptioner

    return RegionCaptioner.from_pretrained(
        model, source=source, max_pixels=max_pixels, **where
    )
