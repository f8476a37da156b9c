"""Snippets of many photos by many processes: which words of a photo's sentences name which region.

One row a photo: its pairs by the chain of eq. 10 to 12, as `train.snippets` writes them, and for a
photo that could not be used one line that says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from regiontalk.scale.job import map_rows
from regiontalk.scale.rows import CAPTIONS, Row, error_line
from regiontalk.scale.workers import Workers

if TYPE_CHECKING:
    from ray.data import Dataset

    from regiontalk.captioner import RegionCaptioner


@dataclass(frozen=True)
class SnippetSettings:
    """How pairs are inferred (a `rows.Task`): what decides the values of a row.

    Attributes:
        beta: smoothing of eq. 12; None takes the model's own.
        max_pixels: larger photos become rows with an error.
    """

    kind: ClassVar[str] = "snippets"

    beta: float | None = None
    max_pixels: int = 100_000_000

    def __post_init__(self) -> None:
        if self.beta is not None and not 0 <= self.beta < float("inf"):
            raise ValueError(f"beta: expected a number from 0, got {self.beta}")

    def rows(
        self, captioner: RegionCaptioner, photos: Sequence[Mapping[str, Any]]
    ) -> list[Row]:
        """The rows of photos, in their order.

        Args:
            captioner: a model ready for use.
            photos: records with ``key``, ``data``, ``sha256`` and ``error`` as for captions, and
                ``captions``, the sentences.
        """
        return [_row(captioner, photo, self.beta) for photo in photos]

    def schema(self) -> Any:
        """The columns of a Parquet file, as an Arrow schema."""
        import pyarrow as pa

        pair = [
            ("caption", pa.int32()),
            ("first", pa.int32()),
            ("text", pa.string()),
            ("box", pa.list_(pa.float64())),
            ("score", pa.float64()),
        ]
        texts = [(name, pa.string()) for name in ("photo", "sha256", "error", "model")]
        sizes = [(name, pa.int32()) for name in ("width", "height")]
        pairs = ("pairs", pa.list_(pa.struct(pair)))
        return pa.schema([*texts, *sizes, pairs])


def infer_snippets(
    dataset: Dataset, workers: Workers, settings: SnippetSettings | None = None
) -> Dataset:
    """Pairs of the photos of a Ray Dataset, as a Ray Dataset; nothing runs until it is read.

    Args:
        dataset: columns ``key`` (names), ``data`` (the bytes of photo files) and ``captions``
            (lists of sentences), such as `sentences.read_captioned` gives.
        workers: which model, and how many processes.
        settings: how pairs are inferred.
    """
    return map_rows(dataset, workers, settings or SnippetSettings())


def _row(
    captioner: RegionCaptioner, photo: Mapping[str, Any], beta: float | None
) -> Row:
    """The row of one photo, computed alone: its values do not depend on its neighbours."""
    key, captions = photo["key"], photo.get(CAPTIONS) or []
    row: Row = dict.fromkeys(("photo", "sha256", "error", "model", "width", "height"))
    row |= {"photo": key, "sha256": photo["sha256"], "error": photo["error"]}
    row["pairs"] = []
    if row["error"] is None and not captions:
        row["error"] = (
            f"{key}: expected sentences beside the photo, got none; name their column "
            "or field with --sentences"
        )
    if row["error"] is not None:
        return row
    try:
        opened = captioner.open(photo["data"])
        snippets = captioner.infer_snippets(opened, captions, beta=beta)
    except (ValueError, KeyError, OSError) as error:
        row["error"] = error_line(key, error, len(photo["data"]))
        return row
    width, height = opened.size_wh
    row |= {"model": captioner.config.name, "width": width, "height": height}
    row["pairs"] = [snippet.to_dict() for snippet in snippets]
    return row
