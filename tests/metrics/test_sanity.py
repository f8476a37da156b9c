"""Boxes read in the wrong way are noticed, and boxes read rightly are left in peace."""

from __future__ import annotations

import numpy as np
import pytest

from regiontalk.metrics.sanity import AS_GIVEN, Photo, box_sanity, usable_boxes


def some_photos(change: object) -> list[Photo]:
    """Ten photos of several sizes, four truths each.

    Detections are the truths a little off, put through ``change``.
    """
    generator = np.random.default_rng(2)
    found = []
    for row in range(10):
        size = (500, 333 + 4 * row) if row % 2 else (375 + 3 * row, 500)
        low = generator.random((4, 2)) * np.array(size) * 0.6
        truths = np.concatenate(
            [low, low + (0.15 + 0.25 * generator.random((4, 2))) * np.array(size)],
            axis=1,
        )
        boxes = np.clip(truths + generator.normal(0, 4, (4, 4)), 0, [*size, *size])
        # the whole photo, as every proposer gives it
        boxes = np.concatenate([boxes, [[0, 0, *size]]])
        found.append(
            (size, change(boxes, size).astype(np.float32), truths.astype(np.float32))
        )
    return found


def as_xywh(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def as_centres(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.concatenate(
        [(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1
    )


def shares(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return boxes / np.array([*size, *size])


@pytest.mark.parametrize(
    ("change", "reading"),
    [
        pytest.param(lambda boxes, size: boxes, None, id="right"),
        pytest.param(as_xywh, "x,y,width,height in pixels", id="xywh"),
        pytest.param(as_centres, "centre x,y,width,height in pixels", id="centre"),
        pytest.param(
            lambda boxes, size: boxes[:, [1, 0, 3, 2]],
            "y1,x1,y2,x2 in pixels",
            id="rows-first",
        ),
        pytest.param(shares, "x1,y1,x2,y2 in shares 0..1 of the photo", id="shares"),
        pytest.param(
            lambda boxes, size: as_centres(shares(boxes, size), size),
            "centre x,y,width,height in shares 0..1 of the photo",
            id="detr-style",
        ),
        pytest.param(
            lambda boxes, size: 224 * shares(boxes, size),
            "x1,y1,x2,y2 in pixels of a picture squashed to 224x224",
            id="network-pixels",
        ),
        pytest.param(
            lambda boxes, size: boxes * 720 / max(size),
            "x1,y1,x2,y2 in pixels of a picture scaled to a long side of 720",
            id="long-side-720",
        ),
    ],
)
def test_readings(change: object, reading: str | None) -> None:
    report = box_sanity(some_photos(change))
    said = [line for line in report.lines if "look like" in line]
    if reading is None:
        assert report.lines == ()
        assert next(iter(report.readings)) == AS_GIVEN
    else:
        assert len(said) == 1
        assert f"look like {reading}:" in said[0]


def test_counts_by_hand() -> None:
    boxes = np.array(
        [
            [0, 0, 9, 9],
            [5, 5, 2, 9],
            [0, 0, np.nan, 9],
            [0, 0, 12, 9],
            [-2, 0, 5, 5],
            [0, 0, 11, 9],
        ]
    )
    report = box_sanity(
        [
            (
                (10, 10),
                boxes.astype(np.float32),
                np.array([[0, 0, 30, 9]], dtype=np.float32),
            )
        ]
    )
    # Broken: the inverted one and the NaN. Outside by more than a pixel: 12 and -2; 11 is within
    # it.
    assert (
        report.detections,
        report.broken,
        report.outside,
        report.truths_outside,
    ) == (6, 2, 2, 1)
    assert [line.split(" ")[0] for line in report.lines[:3]] == ["2", "2", "1"]


@pytest.mark.parametrize(
    "photos",
    [
        pytest.param([], id="no-photos"),
        pytest.param(
            [((9, 9), np.zeros((0, 4), np.float32), np.ones((1, 4), np.float32))],
            id="no-detections",
        ),
        pytest.param(
            [
                (
                    (9, 9),
                    np.array([[0, 0, 5, 5]], np.float32),
                    np.zeros((0, 4), np.float32),
                )
            ],
            id="no-truths",
        ),
    ],
)
def test_nothing_to_compare(photos: list[Photo]) -> None:
    assert box_sanity(photos).readings == {}
    assert box_sanity(photos).lines == ()


def test_all_broken() -> None:
    boxes = np.full((1, 4), np.nan, np.float32)
    report = box_sanity([((9, 9), boxes, np.array([[0, 0, 5, 5]], np.float32))])
    assert report.broken == 1
    assert not usable_boxes(boxes).any()
