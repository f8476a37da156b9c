"""Box arithmetic against torchvision, plain loops and cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision import ops

from regiontalk import boxes as box_ops


def some_boxes(count: int, seed: int, most: float = 60.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 100
    return torch.cat(
        [corner, corner + 1 + torch.rand(count, 2, generator=generator) * most], 1
    )


def slow_nms(boxes: torch.Tensor, scores: torch.Tensor, threshold: float) -> list[int]:
    """The rule as it is told: the best first, ties by row.

    A box stays if no box kept before covers it.
    """
    kept: list[int] = []
    for row in sorted(range(len(boxes)), key=lambda row: (-float(scores[row]), row)):
        if all(
            slow_iou(boxes[row].tolist(), boxes[other].tolist()) <= threshold
            for other in kept
        ):
            kept.append(row)
    return kept


def slow_iou(first: list[float], second: list[float]) -> float:
    wide = min(first[2], second[2]) - max(first[0], second[0])
    tall = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(wide, 0.0) * max(tall, 0.0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return shared / (sum(areas) - shared)


@pytest.mark.parametrize("threshold", [0.2, 0.6, 0.9])
@pytest.mark.parametrize(
    "count",
    [
        pytest.param(0, id="none"),
        pytest.param(1, id="one"),
        pytest.param(150, id="many"),
    ],
)
@pytest.mark.parametrize(
    "ties", [pytest.param(False, id="distinct"), pytest.param(True, id="ties")]
)
def test_suppression(threshold: float, count: int, ties: bool) -> None:
    boxes = some_boxes(count, 0)
    scores = torch.rand(count, generator=torch.Generator().manual_seed(1))
    scores = (scores * 5).round() if ties else scores
    arrays = boxes.numpy(), scores.numpy()
    chosen = box_ops.non_maximum_suppression(*arrays, threshold)
    assert chosen.dtype == np.int64
    assert (
        chosen.tolist()
        == slow_nms(boxes, scores, threshold)
        == ops.nms(boxes, scores, threshold).tolist()
    )
    first = box_ops.non_maximum_suppression(*arrays, threshold, 7)
    assert first.tolist() == chosen[:7].tolist()


def test_suppression_by_hand() -> None:
    # Row 1 is best. Row 0 shares 8 x 10 of 10 x 10 each with it: 80 / (100 + 100 - 80) = 2/3. Row 2
    # touches neither.
    boxes = np.array(
        [[2.0, 0, 12, 10], [0, 0, 10, 10], [50, 50, 60, 60]], dtype=np.float32
    )
    scores = np.array([0.5, 0.9, 0.1], dtype=np.float32)
    assert box_ops.non_maximum_suppression(boxes, scores, 0.6).tolist() == [1, 2]
    assert box_ops.non_maximum_suppression(boxes, scores, 0.7).tolist() == [1, 0, 2]


def test_an_overlap_equal_to_the_threshold_stays() -> None:
    # 3 of 5 cells: 3/5 in float32 is a little over 0.6, so it goes; 1/2 is exact, so it stays
    wide, three, half = [0.0, 0, 5, 1], [0.0, 0, 3, 1], [0.0, 0, 2.5, 1]
    scores = np.array([1.0, 0.5], dtype=np.float32)
    for boxes, threshold, wanted in (
        ([wide, three], 0.6, [0]),
        ([wide, half], 0.5, [0, 1]),
    ):
        rows = np.array(boxes, dtype=np.float32)
        chosen = box_ops.non_maximum_suppression(rows, scores, threshold).tolist()
        judge = ops.nms(
            torch.from_numpy(rows), torch.from_numpy(scores), threshold
        ).tolist()
        assert chosen == judge == wanted


@pytest.mark.parametrize(("rows", "columns"), [(5, 3), (0, 3), (3, 0)])
def test_iou(rows: int, columns: int) -> None:
    first, second = some_boxes(rows, 2), some_boxes(columns, 3)
    overlap = box_ops.iou(first.numpy(), second.numpy())
    np.testing.assert_allclose(overlap, ops.box_iou(first, second).numpy(), rtol=1e-6)
    slow = [
        [slow_iou(one, other) for other in second.tolist()] for one in first.tolist()
    ]
    np.testing.assert_allclose(
        overlap, np.array(slow).reshape(rows, columns), rtol=1e-5
    )


def test_shared_of_smaller() -> None:
    first, second = some_boxes(5, 2), some_boxes(3, 3)
    found = box_ops.shared_of_smaller(first.numpy(), second.numpy())
    for row, one in enumerate(first.tolist()):
        for column, other in enumerate(second.tolist()):
            wide = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
            tall = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
            least = min((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
            np.testing.assert_allclose(
                found[row, column], wide * tall / least, rtol=1e-5
            )
    assert box_ops.shared_of_smaller(first.numpy()[:0], second.numpy()).shape == (0, 3)


def test_clip() -> None:
    boxes = some_boxes(20, 4) - 30
    judge = ops.clip_boxes_to_image(boxes, (50, 70)).numpy()
    np.testing.assert_array_equal(box_ops.clip(boxes.numpy(), (70, 50)), judge)
    # left of the picture and below it: x 0..7, y 5..8 of a picture 10 wide and 8 high
    outside = np.array([[-3.0, 5, 7, 12]], dtype=np.float32)
    assert box_ops.clip(outside, (10, 8)).tolist() == [[0, 5, 7, 8]]
    assert box_ops.clip(outside[:0], (10, 8)).shape == (0, 4)


def test_areas_and_the_box_around() -> None:
    # 2 x 3 and 4 x 1; around both: 0..6 by 0..5
    boxes = np.array([[0, 2, 2, 5], [2, 0, 6, 1]], dtype=np.float32)
    assert box_ops.area(boxes).tolist() == [6, 4]
    assert box_ops.union_box(boxes).tolist() == [0, 0, 6, 5]


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.9])
def test_soft_suppression_by_its_definition(threshold: float) -> None:
    """Slowly: the best of what is left is taken, the others lose by eq. 3 of Soft-NMS."""
    random = np.random.default_rng(3)
    corners = random.uniform(0, 20, (40, 2))
    boxes = np.concatenate(
        [corners, corners + random.uniform(2, 30, (40, 2))], 1
    ).astype(np.float32)
    left = dict(enumerate(random.random(40).tolist()))
    scores, expected = np.array(list(left.values())), []
    while left:
        best = max(left, key=lambda row: left[row])
        expected.append(best)
        del left[best]
        overlaps = box_ops.iou(boxes[[best]], boxes)[0]
        for row in left:
            if overlaps[row] > threshold:
                left[row] *= 1 - float(overlaps[row])
    for count in (7, 40, 99):
        chosen = box_ops.soft_non_maximum_suppression(boxes, scores, threshold, count)
        assert chosen.tolist() == expected[:count]


def test_soft_suppression_takes_no_box_twice() -> None:
    """Equal boxes lose everything, and still each is taken once."""
    boxes = np.tile(np.array([0, 0, 5, 5], dtype=np.float32), (4, 1))
    chosen = box_ops.soft_non_maximum_suppression(boxes, np.full(4, 0.5), 0.4, 4)
    assert sorted(chosen.tolist()) == [0, 1, 2, 3]
    nothing = np.zeros((0, 4), dtype=np.float32)
    assert (
        box_ops.soft_non_maximum_suppression(nothing, np.zeros(0), 0.4, 4).tolist()
        == []
    )
