"""Phrase localisation by hand, against plain loops, and the floors.

Those of Flickr8k dev that docs/protocols.md prints.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from regiontalk.metrics.phrases import (
    AT,
    PhraseAnswer,
    centred_box,
    hits,
    localisation,
    ranked,
)


def answer(
    candidates: object, truths: object, photo: str = "a", types: tuple[str, ...] = ()
) -> PhraseAnswer:
    return PhraseAnswer(
        photo, np.array(candidates), np.array(truths), (100, 100), types
    )


def slow_iou(first: list[float], second: list[float]) -> float:
    wide = max(0.0, min(first[2], second[2]) - max(first[0], second[0]))
    high = max(0.0, min(first[3], second[3]) - max(first[1], second[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return wide * high / (sum(areas) - wide * high)


def slow_hits(candidates: list[list[float]], truths: list[list[float]]) -> list[bool]:
    """The nine outcomes by plain loops over boxes."""
    union = [
        min(b[0] for b in truths),
        min(b[1] for b in truths),
        max(b[2] for b in truths),
        max(b[3] for b in truths),
    ]
    any_box = [
        any(slow_iou(box, truth) >= 0.5 for truth in truths) for box in candidates
    ]
    merged = [slow_iou(box, union) >= 0.5 for box in candidates]
    x, y = (
        [
            (candidates[0][0] + candidates[0][2]) / 2,
            (candidates[0][1] + candidates[0][3]) / 2,
        ]
        if candidates
        else [-1, -1]
    )
    inside = any(t[0] <= x <= t[2] and t[1] <= y <= t[3] for t in truths)
    found = [any(row[:at]) for row in (any_box, merged) for at in AT]
    return [*found, inside, any(any_box), any(merged)]


T, F = True, False
LEFT, RIGHT = (
    [0, 0, 40, 100],
    [60, 0, 100, 100],
)  # two people; their union is the whole photo


@pytest.mark.parametrize(
    ("candidates", "truths", "want"),
    [
        # IoU 1 with LEFT; LEFT against the union 40 * 100 / 10,000 = 0.4, a miss. Centre (20, 50)
        # is inside LEFT.
        pytest.param(
            [LEFT], [LEFT, RIGHT], [T, T, T, F, F, F, T, T, F], id="one-of-two"
        ),
        # The whole photo: 0.4 with each truth, 1 with the union; centre (50, 50) falls between the
        # two.
        pytest.param(
            [[0, 0, 100, 100]],
            [LEFT, RIGHT],
            [F, F, F, T, T, T, F, F, T],
            id="union-only",
        ),
        # 50 x 100 of 100 x 100: IoU is exactly 0.5, which counts.
        pytest.param(
            [[0, 0, 50, 100]],
            [[0, 0, 100, 100]],
            [T, T, T, T, T, T, T, T, T],
            id="exactly-half",
        ),
        # 49 / 100 does not.
        pytest.param(
            [[0, 0, 49, 100]],
            [[0, 0, 100, 100]],
            [F, F, F, F, F, F, T, F, F],
            id="just-below-half",
        ),
        # Right at rank 6: within 10, not within 5.
        pytest.param(
            [[90, 90, 95, 95]] * 5 + [LEFT],
            [LEFT],
            [F, F, T, F, F, T, F, T, T],
            id="rank-six",
        ),
        # Right at rank 11: only the bound knows.
        pytest.param(
            [[90, 90, 95, 95]] * 10 + [LEFT],
            [LEFT],
            [F, F, F, F, F, F, F, T, T],
            id="rank-eleven",
        ),
        pytest.param([], [LEFT], [F] * 9, id="no-candidates"),
        pytest.param(
            [[30, 0, 50, 100]],
            [LEFT],
            [F, F, F, F, F, F, T, F, F],
            id="centre-on-the-edge",
        ),
    ],
)
def test_hits_by_hand(candidates: object, truths: object, want: list[bool]) -> None:
    assert hits(answer(candidates, truths)).tolist() == want


@pytest.mark.parametrize("seed", range(20))
def test_hits_twin(seed: int) -> None:
    generator = np.random.default_rng(seed)

    def boxes(count: int) -> list[list[float]]:
        low = generator.integers(0, 50, (count, 2))
        return np.concatenate(
            [low, low + generator.integers(5, 50, (count, 2))], axis=1
        ).tolist()

    candidates, truths = (
        boxes(int(generator.integers(1, 30))),
        boxes(int(generator.integers(1, 4))),
    )
    assert hits(answer(candidates, truths)).tolist() == slow_hits(candidates, truths)


def test_report_counts_types_and_leaves_out() -> None:
    report = localisation(
        [
            answer([LEFT], [LEFT], "a", ("people",)),
            answer([LEFT], [RIGHT], "a", ("people", "clothing")),
            answer([LEFT], [LEFT], "b", ("other",)),
            answer([LEFT], np.zeros((0, 4)), "b", ("scene",)),
        ],
        resamples=200,
    )
    assert (report.photos, report.left_out, report.overall.phrases) == (2, 1, 3)
    assert report.overall.any_box["R@1"].value == pytest.approx(2 / 3)
    assert list(report.by_type) == ["people", "clothing", "other"]
    assert [report.by_type[kind].any_box["R@1"].value for kind in report.by_type] == [
        0.5,
        0.0,
        1.0,
    ]
    # Draws of the two photos: a a -> 2 of 4, a b -> 2 of 3, b b -> 1 of 1: the ends are a quarter
    # of the draws each.
    assert (report.overall.any_box["R@1"].low, report.overall.any_box["R@1"].high) == (
        0.5,
        1.0,
    )
    # The centred box 10..90 with LEFT: 30 * 80 / (6,400 + 4,000 - 2,400) = 0.3.
    assert report.floors["centred 0.8"].any_box["R@1"].value == 0.0
    assert report.floors["whole picture"].pointing.value == 0.0


def test_ties_keep_their_order() -> None:
    boxes = np.array([LEFT, RIGHT, [0, 0, 9, 9]], dtype=np.float32)
    assert ranked(boxes, [1, 1, 1]).tolist() == boxes.tolist()
    assert ranked(boxes, [1, 2, 1]).tolist() == boxes[[1, 0, 2]].tolist()


def test_floors_of_flickr8k_dev(shared: Path) -> None:
    """docs/protocols.md: whole 17.8 any box and 23.4 merged, centred 0.8 box 21.2.

    Every mention counts once.
    """
    from regiontalk.datasets.entities import add_entities
    from regiontalk.datasets.flickr import read_flickr

    examples, _ = read_flickr(shared / "data/flickr8k", "dev")
    joined, _ = add_entities(examples, shared / "data/flickr30k_entities")
    answers = [
        PhraseAnswer(
            example.id,
            centred_box(example.size_wh, 1.0),
            example.boxes_xyxy[list(phrase.boxes)],
            example.size_wh,
            phrase.types,
        )
        for example in joined
        if example.size_wh is not None
        for phrase in example.phrases
    ]
    report = localisation(answers, resamples=50)
    assert report.overall.phrases == 13_123
    whole, centred = report.floors["whole picture"], report.floors["centred 0.8"]
    found = [
        whole.any_box["R@1"],
        whole.merged["R@1"],
        centred.any_box["R@1"],
        report.overall.any_box["R@1"],
    ]
    assert [round(100 * figure.value, 1) for figure in found] == [
        17.8,
        23.4,
        21.2,
        17.8,
    ]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(lambda: localisation([]), "got none", id="no-phrases"),
        pytest.param(
            lambda: localisation([answer([LEFT], np.zeros((0, 4)))]),
            "1 without",
            id="no-truths",
        ),
        pytest.param(
            lambda: answer([[5, 5, 5, 9]], [LEFT]),
            "empty or inverted",
            id="bad-candidate",
        ),
        pytest.param(
            lambda: ranked(np.array([LEFT]), [1.0, 2.0]),
            "one a box",
            id="scores-do-not-match",
        ),
        pytest.param(
            lambda: ranked(np.array([LEFT]), [np.nan]), "finite", id="nan-score"
        ),
    ],
)
def test_errors(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
