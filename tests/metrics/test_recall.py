"""Recall of true boxes by proposals: by hand and against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from regiontalk.metrics.recall import COCO_THRESHOLDS, PhotoProposals, proposal_recall


def photo(name: str, proposals: object, truths: object) -> PhotoProposals:
    return PhotoProposals(name, np.array(proposals), np.array(truths))


def slow_iou(first: list[float], second: list[float]) -> float:
    wide = max(0.0, min(first[2], second[2]) - max(first[0], second[0]))
    high = max(0.0, min(first[3], second[3]) - max(first[1], second[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return wide * high / (sum(areas) - wide * high)


def test_hand_worked() -> None:
    report = proposal_recall(
        [
            # First proposal: 50 / 100 with the first truth. Second proposal: 80 / 100 with the
            # second truth.
            photo(
                "a", [[0, 0, 10, 5], [20, 0, 30, 8]], [[0, 0, 10, 10], [20, 0, 30, 10]]
            ),
            photo("b", [], [[0, 0, 10, 10]]),
            photo("c", [[0, 0, 10, 10]], []),  # nothing to find: counts for nothing
        ],
        counts=(1, 2, 50),
        resamples=20,
    )
    assert (report.photos, report.truths) == (2, 3)
    got = {key: round(figure.value, 4) for key, figure in report.recall.items()}
    assert got == {
        (1, 0.5): 0.3333, (1, 0.7): 0.0, (1, 0.9): 0.0,
        (2, 0.5): 0.6667, (2, 0.7): 0.3333, (2, 0.9): 0.0,
        (50, 0.5): 0.6667, (50, 0.7): 0.3333, (50, 0.9): 0.0,
    }  # fmt: skip
    # Over .5 .55 ... .95: the first truth passes 1 of 10, the second 7 (.5 to .8), the third none:
    # 8 / 30.
    assert report.average[2].value == pytest.approx(8 / 30)


@pytest.mark.parametrize("seed", range(5))
def test_twin(seed: int) -> None:
    generator = np.random.default_rng(seed)

    def boxes(count: int) -> list[list[float]]:
        low = generator.integers(0, 30, (count, 2))
        return np.concatenate(
            [low, low + generator.integers(10, 40, (count, 2))], axis=1
        ).tolist()

    data = [
        (boxes(int(generator.integers(0, 8))), boxes(int(generator.integers(1, 4))))
        for _ in range(6)
    ]
    report = proposal_recall(
        [photo(str(row), *pair) for row, pair in enumerate(data)],
        counts=(1, 3, 10),
        resamples=5,
    )
    for (count, threshold), figure in report.recall.items():
        covered = [
            any(slow_iou(box, truth) >= threshold for box in proposals[:count])
            for proposals, truths in data
            for truth in truths
        ]
        assert figure.value == pytest.approx(np.mean(covered))
    assert len(COCO_THRESHOLDS) == 10


@pytest.mark.parametrize(
    ("photos", "counts", "message"),
    [
        pytest.param([], (1,), "got none", id="no-photos"),
        pytest.param(
            [photo("a", [[0, 0, 1, 1]], [])], (1,), "got none", id="no-truths"
        ),
        pytest.param(
            [photo("a", [], [[0, 0, 1, 1]])], (0, 1), "at least 1", id="count-of-zero"
        ),
        pytest.param(
            [photo("a", [], [[0, 0, 1, 1]])], (), "at least 1", id="no-counts"
        ),
    ],
)
def test_errors(
    photos: list[PhotoProposals], counts: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        proposal_recall(photos, counts=counts)
