"""Photos encoded in batches, and boxes between annotation and network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from regiontalk.captioner import RegionCaptioner
from regiontalk.evaluate.photos import (
    EncodedPhotos,
    PhotoBatch,
    box_features,
    pad_with_whole,
)
from regiontalk.images.preprocessing import Preprocessing
from regiontalk.records import Example
from regiontalk.regions.extractor import Maps


def batch(
    size_wh: tuple[int, int] | None,
    photo_wh: tuple[int, int],
    preprocessing: Preprocessing,
) -> PhotoBatch:
    nothing = torch.zeros(1, 1)
    return PhotoBatch(
        (Example(Path("a.jpg"), size_wh=size_wh),),
        (photo_wh,),
        Maps(nothing, nothing, nothing),
        preprocessing,
    )


@pytest.mark.parametrize(
    ("size_wh", "photo_wh", "fit", "box", "inside"),
    [
        # annotated 400x200, stored and seen 100x100: x / 4, y / 2
        pytest.param(
            (400, 200),
            (100, 100),
            "squash",
            [40, 20, 80, 60],
            [10, 10, 20, 30],
            id="stored squashed",
        ),
        # no annotation size: the file's 200x50 to 100x100: x / 2, y * 2
        pytest.param(
            None,
            (200, 50),
            "squash",
            [20, 10, 40, 50],
            [10, 20, 20, 100],
            id="the file's own size",
        ),
        # annotated 400x200, stored 200x100, letterboxed to 100x50 with 25 above: x / 4, y / 4 + 25
        pytest.param(
            (400, 200),
            (200, 100),
            "pad",
            [40, 20, 80, 60],
            [10, 30, 20, 40],
            id="letterboxed",
        ),
        # annotated 400x200 but stored as a square: the network saw the square, so nothing is
        # letterboxed
        pytest.param(
            (400, 200),
            (100, 100),
            "pad",
            [40, 20, 80, 60],
            [10, 10, 20, 30],
            id="pad of a squashed file",
        ),
    ],
)
def test_boxes_there_and_back(
    size_wh: tuple[int, int] | None,
    photo_wh: tuple[int, int],
    fit: str,
    box: list[float],
    inside: list[float],
) -> None:
    photos = batch(size_wh, photo_wh, Preprocessing(size=100, fit=fit))
    network = photos.to_network(0, np.array([box], dtype=np.float32))
    assert network.tolist() == [inside]
    assert photos.to_annotation(0, torch.from_numpy(network)).tolist() == [box]


def test_pad_with_whole() -> None:
    rows = [
        np.array([[1, 2, 3, 4]], dtype=np.float32),
        np.zeros((0, 4), dtype=np.float32),
    ]
    padded = pad_with_whole(rows, 64)
    assert padded.tolist() == [[[1, 2, 3, 4]], [[0, 0, 64, 64]]]


def test_batches_cover_all_photos_in_order(photos: Any) -> None:
    told: list[int] = []
    encoded = photos(batch=4, keep=True, done=told.append)
    found = list(encoded)
    assert [len(part) for part in found] == [4, 2] and told == [4, 6]
    assert [example.id for part in found for example in part.examples] == [
        e.id for e in encoded.examples
    ]
    assert all(mine is again for mine, again in zip(found, encoded, strict=True))
    assert told == [4, 6, 4, 6]  # a walk over what is kept is told as well


def test_take_slices_all_fields(photos: Any) -> None:
    whole = next(iter(photos(batch=6)))
    part = whole.take([3, 1])
    assert [example.id for example in part.examples] == [
        whole.examples[3].id,
        whole.examples[1].id,
    ]
    assert all(
        np.array_equal(some, every[[3, 1]])
        for some, every in zip(part.features, whole.features, strict=True)
    )


def test_box_vectors_leave_the_padding_out(
    captioner: RegionCaptioner, photos: Any
) -> None:
    part = next(iter(photos(batch=2)))
    boxes = [
        np.array([[0, 0, 64, 64], [8, 8, 40, 40]], dtype=np.float32),
        np.zeros((0, 4), dtype=np.float32),
    ]
    first, second = box_features(captioner, part, boxes)
    assert first.shape == (2, 16) and second.shape == (0, 16)
    whole = captioner.predictor.photo_features(part.features)[0]
    np.testing.assert_allclose(first[0], whole, atol=1e-6)


def test_a_broken_photo_is_left_out_and_named(
    captioner: RegionCaptioner, photos: Any, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    good = photos().examples[0]
    encoded = EncodedPhotos(
        captioner, [Example(broken), good, Example(broken)], batch=1
    )
    assert [example.id for part in encoded for example in part.examples] == [good.id]
    assert len(encoded.broken) == 2 and "broken.jpg" in encoded.broken[0]


def test_no_photo_is_refused(captioner: RegionCaptioner) -> None:
    with pytest.raises(ValueError, match="expected at least one, got none"):
        EncodedPhotos(captioner, [])
