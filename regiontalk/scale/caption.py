"""Many photos captioned by many processes: what is written for each photo, or why it has no words.

One row a photo: the document of `ImageResult` (docs/json.md) with the hash of the photo's content
and, for a photo that could not be used, one line that says why. Parquet has the same values in
typed columns, of which ``matches`` is left out, because captions have none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from regiontalk.records import FORMAT
from regiontalk.scale.job import map_rows
from regiontalk.scale.rows import Row, error_line
from regiontalk.scale.workers import Workers

if TYPE_CHECKING:
    from ray.data import Dataset

    from regiontalk.captioner import RegionCaptioner
    from regiontalk.images.open import Photo
    from regiontalk.records import ImageResult


@dataclass(frozen=True)
class CaptionSettings:
    """How photos are captioned (a `rows.Task`): what decides the words of a row.

    Attributes:
        regions: boxes beside the whole photo.
        beams: K of the beam search; None takes the model's own.
        threshold: captions less confident than this get no words; None takes the model's own.
        together: photos computed in one run of the network. The last digit of a confidence may
            depend on the neighbours; with 1 it does not.
        max_pixels: larger photos become rows with an error.
    """

    kind: ClassVar[str] = "captions"

    regions: int = 10
    beams: int | None = None
    threshold: float | None = None
    together: int = 8
    max_pixels: int = 100_000_000

    def __post_init__(self) -> None:
        if self.regions < 0:
            raise ValueError(f"regions: expected 0 or more, got {self.regions}")
        if self.together < 1:
            raise ValueError(
                f"together: expected 1 or more photos, got {self.together}"
            )

    def rows(
        self, captioner: RegionCaptioner, photos: Sequence[Mapping[str, Any]]
    ) -> list[Row]:
        """As `caption_rows`."""
        return caption_rows(captioner, photos, self)

    def schema(self) -> Any:
        """The columns of a Parquet file, as an Arrow schema."""
        import pyarrow as pa

        words = [("text", pa.string()), ("confidence", pa.float64())]
        region = [
            ("box", pa.list_(pa.float64())),
            *words,
            ("score", pa.float64()),
            ("sure", pa.bool_()),
        ]
        return pa.schema(
            [
                ("photo", pa.string()),
                ("sha256", pa.string()),
                ("error", pa.string()),
                ("model", pa.string()),
                ("width", pa.int32()),
                ("height", pa.int32()),
                ("caption", pa.struct(region)),
                ("regions", pa.list_(pa.struct(region))),
            ]
        )


def caption_photos(
    dataset: Dataset, workers: Workers, settings: CaptionSettings | None = None
) -> Dataset:
    """Captions of the photos of a Ray Dataset, as a Ray Dataset; nothing runs until it is read.

    Args:
        dataset: columns ``key`` (names) and ``data`` (the bytes of photo files), such as
            `sources.read_photos` gives.
        workers: which model, and how many processes.
        settings: how photos are captioned.
    """
    return map_rows(dataset, workers, settings or CaptionSettings())


def caption_rows(
    captioner: RegionCaptioner,
    photos: Sequence[Mapping[str, Any]],
    settings: CaptionSettings,
) -> list[Row]:
    """The rows of photos, in their order.

    Args:
        captioner: a model ready for use.
        photos: records with ``key``, ``data`` (bytes, or None where it could not be read),
            ``sha256`` and ``error``.
        settings: how.
    """
    rows: list[Row] = []
    opened: list[tuple[int, Photo]] = []
    for number, photo in enumerate(photos):
        rows.append(_empty(photo))
        if photo["error"] is None:
            try:
                image = captioner.open(photo["data"])
                opened.append((number, replace(image, name=photo["key"])))
            except (ValueError, KeyError, OSError) as error:
                rows[number]["error"] = error_line(
                    photo["key"], error, len(photo["data"])
                )
    for start in range(0, len(opened), settings.together):
        group = opened[start : start + settings.together]
        for (number, _), outcome in zip(
            group, _captions(captioner, group, settings), strict=True
        ):
            rows[number] |= outcome
    return rows


def _empty(photo: Mapping[str, Any]) -> Row:
    return {
        "format": FORMAT,
        "photo": photo["key"],
        "width": None,
        "height": None,
        "model": None,
        "caption": None,
        "regions": [],
        "matches": [],
        "sha256": photo["sha256"],
        "error": photo["error"],
    }


def _captions(
    captioner: RegionCaptioner,
    group: Sequence[tuple[int, Photo]],
    settings: CaptionSettings,
) -> list[Row]:
    """The documents of opened photos; where one of them fails, each is tried alone."""

    def describe(photos: Sequence[Photo]) -> Sequence[ImageResult]:
        return captioner.caption_many(
            photos,
            regions=settings.regions,
            beams=settings.beams,
            threshold=settings.threshold,
        )

    images = [image for _, image in group]
    with suppress(ValueError, KeyError, OSError):
        return [result.to_dict() for result in describe(images)]
    rows: list[Row] = []
    for image in images:
        try:
            rows.append(describe([image])[0].to_dict())
        except (ValueError, KeyError, OSError) as error:
            rows.append({"error": error_line(image.name, error)})
    return rows
