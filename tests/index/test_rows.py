"""Rows of photos: what the captioner sees, when it was taken, and which files are unchanged."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from regiontalk.captioner import RegionCaptioner
from regiontalk.images.open import ImageError
from regiontalk.index.rows import photo_rows, read_file, read_stamp


def test_read_file(captioner: RegionCaptioner, photos: Sequence[Path]) -> None:
    path = str(photos[4])  # no camera's date: the file's own, to the second
    os.utime(path, (1_700_000_000.75, 1_700_000_000.75))
    file = read_file(path, captioner)
    assert (
        file is not None and file.photo.size_wh == (90, 70) and file.photo.name == path
    )
    assert file.stamp.sha256 == hashlib.sha256(photos[4].read_bytes()).hexdigest()
    assert (file.stamp.size, file.stamp.modified) == read_stamp(path)
    assert file.date == datetime.fromtimestamp(1_700_000_000)
    assert read_file(path, captioner, file.stamp.sha256) is None
    assert read_file(path, captioner, "another") is not None


@pytest.mark.parametrize(
    ("name", "got"), [("nowhere.jpg", "no such file"), (".", "a folder or a device")]
)
def test_what_is_no_file(
    captioner: RegionCaptioner, tmp_path: Path, name: str, got: str
) -> None:
    with pytest.raises(ImageError, match=f"expected a picture file, got {got}"):
        read_file(str(tmp_path / name), captioner)


@pytest.mark.parametrize("captions", [None, 0, 1, 3])
def test_a_row_is_what_the_captioner_says(
    captioner: RegionCaptioner, photos: Sequence[Path], captions: int | None
) -> None:
    """Row 0 is the whole photo, the others its proposals by falling score."""
    files = [
        file
        for path in photos[:3]
        if (file := read_file(str(path), captioner)) is not None
    ]
    for row, path in zip(
        photo_rows(captioner, files, regions=4, captions=captions), photos, strict=False
    ):
        said = captioner.caption(path, regions=4, beams=1, merge=False)
        assert said.caption is not None
        every = [said.caption, *said.regions]
        assert (
            len(row.vectors)
            == len(row.captions)
            == len(row.scores)
            == len(row.confidences)
            == len(every)
        )
        np.testing.assert_allclose(
            row.boxes_xyxy, [one.box for one in every], atol=1e-2
        )
        np.testing.assert_allclose(row.scores, [one.score for one in every], atol=1e-4)
        np.testing.assert_allclose(
            np.linalg.norm(row.vectors.astype(np.float32), axis=1), 1, atol=2e-3
        )
        spoken = len(every) if captions is None else min(captions, len(every))
        assert row.captions == (
            *(one.text for one in every[:spoken]),
            *[None] * (len(every) - spoken),
        )
        assert (
            (row.confidences[spoken:] == 0).all()
            and row.path == str(path)
            and row.size_wh == (90, 70)
        )
