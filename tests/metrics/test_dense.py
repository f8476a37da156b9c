"""Dense captioning mAP: cases worked by hand, and a twin in plain loops."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from regiontalk.metrics.dense import (
    IOU_THRESHOLDS,
    METEOR_THRESHOLDS,
    DensePhoto,
    DenseReport,
    average_precisions,
    correct_detections,
    dense_captioning,
    keep_truths,
    merge_truths,
    rank_detections,
)


def meteor(prediction: str, references: Sequence[str]) -> float:
    """The prediction is its own score: "0.2" scores 0.2.

    "same" scores 1 where a reference says "same".
    """
    return float("same" in references) if prediction == "same" else float(prediction)


def photo(
    boxes: object,
    scores: object,
    captions: Sequence[str],
    truths: object,
    name: str = "a",
) -> DensePhoto:
    words = tuple("same" for _ in truths)
    return DensePhoto(
        name,
        (100, 100),
        np.array(boxes),
        np.array(scores),
        tuple(captions),
        np.array(truths),
        words,
    )


LEFT, RIGHT = [0, 0, 40, 40], [60, 60, 100, 100]


def run(*photos: DensePhoto) -> DenseReport:
    return dense_captioning(photos, meteor, resamples=20)


def test_perfect() -> None:
    # Both truths found first, exactly, in the right words: precision 1 at every recall, at all 30
    # thresholds.
    report = run(photo([LEFT, RIGHT], [0.9, 0.8], ["same", "same"], [LEFT, RIGHT]))
    assert report.mean_ap.value == 1.0
    assert set(report.ap.values()) == {1.0}
    assert (report.photos, report.detections, report.truths, report.merged) == (
        1,
        2,
        2,
        2,
    )
    assert report.sanity.lines == ()


def test_one_of_two_behind_a_miss() -> None:
    # Ranks: a miss (.9), then LEFT (.8). Recall reaches 1/2 at precision 1/2. Recalls 0, .01 ...
    # .50 are 51 points of 101 with precision 1/2, the other 50 have 0: AP = 51 * 0.5 / 101 at every
    # threshold.
    report = run(
        photo([[45, 0, 55, 10], LEFT], [0.9, 0.8], ["same", "same"], [LEFT, RIGHT])
    )
    assert report.mean_ap.value == pytest.approx(51 * 0.5 / 101)


def test_thresholds_are_crossed_one_by_one() -> None:
    # IoU 20 * 40 / 1,600 = 0.5: passes .3 .4 .5 of 5. METEOR 0.1: strictly above 0 and .05, not
    # above .1: 2 of 6. So 3 * 2 = 6 of 30 APs are 1 and the others 0: 0.2. With any words: 3 of 5.
    report = run(photo([[0, 0, 20, 40]], [0.5], ["0.1"], [LEFT]))
    assert report.mean_ap.value == pytest.approx(6 / 30)
    assert report.localisation_ap.value == pytest.approx(3 / 5)
    assert report.ap[0.5, 0.05] == 1.0
    assert report.ap[0.5, 0.1] == report.ap[0.6, 0.0] == 0.0


def test_meteor_of_zero_is_never_enough() -> None:
    assert run(photo([LEFT], [0.5], ["0"], [LEFT])).mean_ap.value == 0.0


def test_second_detection_of_a_truth_is_wrong() -> None:
    # Ranks: RIGHT (.9) right, RIGHT again (.8) wrong, LEFT (.7) right. Precisions at recall 1/2: 1,
    # at recall 1: 2/3. 51 points with 1, 50 points with 2/3.
    report = run(
        photo([RIGHT, RIGHT, LEFT], [0.9, 0.8, 0.7], ["same"] * 3, [LEFT, RIGHT])
    )
    assert report.mean_ap.value == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_a_poor_box_with_a_high_score_uses_the_truth_up() -> None:
    # IoU 4 * 40 / 1,600 = 0.1 comes first and keeps LEFT; the exact box then has none: nothing is
    # right.
    assert (
        run(
            photo([[0, 0, 4, 40], LEFT], [0.9, 0.8], ["same", "same"], [LEFT])
        ).mean_ap.value
        == 0.0
    )


def test_photos_are_ranked_together() -> None:
    # Photo a: right at .5. Photo b: two misses at .9 and .4, its truth never found. Ranking: miss,
    # right, miss. Recall 1/2 at precision 1/2.
    first = photo([LEFT], [0.5], ["same"], [LEFT], "a")
    second = photo([LEFT, [50, 0, 60, 9]], [0.9, 0.4], ["same", "same"], [RIGHT], "b")
    assert run(first, second).mean_ap.value == pytest.approx(51 * 0.5 / 101)


def test_merged_truths_share_their_captions() -> None:
    # [0 0 40 40] and [0 0 40 36]: IoU 1,440 / 1,600 = 0.9 >= 0.7: one truth [0 0 40 38] with both
    # captions.
    boxes, references = merge_truths(
        np.array([LEFT, RIGHT, [0, 0, 40, 36]], dtype=np.float32),
        ["one", "two", "three"],
    )
    assert boxes.tolist() == [[0, 0, 40, 38], RIGHT]
    assert references == [("one", "three"), ("two",)]


def test_merging_starts_at_the_box_with_most_neighbours() -> None:
    # Widths 100, 80, 60: IoU .8 between the first two, .75 between the last two, .6 between the
    # ends. The middle one has two neighbours, so it takes both ends, though they are not close to
    # each other.
    chain = np.array([[0, 0, 100, 9], [0, 0, 80, 9], [0, 0, 60, 9]], dtype=np.float32)
    boxes, references = merge_truths(chain, ["a", "b", "c"])
    assert boxes.tolist() == [[0, 0, 80, 9]]
    assert references == [("a", "b", "c")]


@pytest.mark.parametrize(
    ("boxes", "scores", "truths", "want"),
    [
        pytest.param([], [], [LEFT], [], id="no-detections"),
        pytest.param([LEFT], [1], [], [-1], id="no-truths"),
        pytest.param([LEFT, LEFT], [1, 1], [LEFT], [0, -1], id="tie-of-scores"),
        pytest.param([LEFT, LEFT], [1, 2], [LEFT], [-1, 0], id="higher-score-first"),
        pytest.param(
            [[0, 0, 10, 10]],
            [1],
            [[0, 0, 10, 5], [0, 5, 10, 10]],
            [0],
            id="tie-of-overlaps",
        ),
        pytest.param([[41, 0, 50, 9]], [1], [LEFT], [-1], id="no-overlap"),
        pytest.param(
            [[40, 40, 0, 0], [0, 0, np.nan, 9], LEFT],
            [3, 2, 1],
            [LEFT],
            [-1, -1, 0],
            id="broken-boxes",
        ),
    ],
)
def test_keep_truths(
    boxes: object, scores: object, truths: object, want: list[int]
) -> None:
    shaped = (
        np.array(values, dtype=np.float32).reshape(-1, 4) for values in (boxes, truths)
    )
    detections, true = shaped
    kept, overlaps = keep_truths(detections, np.array(scores, dtype=np.float64), true)
    assert kept.tolist() == want
    assert [overlap > 0 for overlap in overlaps] == [row >= 0 for row in want]


def slow_iou(first: list[float], second: list[float]) -> float:
    wide = max(0.0, min(first[2], second[2]) - max(first[0], second[0]))
    high = max(0.0, min(first[3], second[3]) - max(first[1], second[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return wide * high / (sum(areas) - wide * high)


def slow_merge(boxes: list[list[float]]) -> list[list[float]]:
    left, merged = list(range(len(boxes))), []
    while left:
        groups = [
            [j for j in left if slow_iou(boxes[i], boxes[j]) >= 0.7] for i in left
        ]
        group = max(groups, key=len)  # max takes the first of equals
        merged.append([sum(boxes[j][k] for j in group) / len(group) for k in range(4)])
        left = [j for j in left if j not in group]
    return merged


def slow_mean_ap(photos: list[DensePhoto]) -> float:
    """The protocol in plain loops, every threshold by itself."""
    found, positives = [], 0
    for item in photos:
        truths = slow_merge(item.truths_xyxy.tolist())
        positives += len(truths)
        free = set(range(len(truths)))
        for row in sorted(range(len(item.scores)), key=lambda row: -item.scores[row]):
            overlaps = [
                slow_iou(item.boxes_xyxy[row].tolist(), truth) for truth in truths
            ]
            best = max(
                range(len(truths)), key=lambda truth: overlaps[truth], default=-1
            )
            own = best if best in free and overlaps[best] > 0 else -1
            free.discard(own)
            words = meteor(item.captions[row], ["same"])
            found.append(
                (
                    -item.scores[row],
                    len(found),
                    overlaps[own] if own >= 0 else 0.0,
                    words if own >= 0 else -1.0,
                )
            )
    found.sort()
    total = 0.0
    for least in IOU_THRESHOLDS:
        for above in METEOR_THRESHOLDS:
            right, points = 0, []
            for seen, (_, _, overlap, words) in enumerate(found, start=1):
                right += overlap >= least and words > above
                points.append((right, right / seen))
            for recall in range(101):
                reached = [
                    precision
                    for right, precision in points
                    if 100 * right >= recall * positives
                ]
                total += max(reached, default=0.0) / 101
    return total / 30


@pytest.mark.parametrize("seed", range(8))
def test_twin(seed: int) -> None:
    generator = np.random.default_rng(seed)

    def boxes(count: int) -> np.ndarray:
        low = generator.integers(0, 25, (count, 2))
        return np.concatenate(
            [low, low + generator.integers(15, 45, (count, 2))], axis=1
        ).astype(np.float32)

    photos = []
    for row in range(int(generator.integers(1, 5))):
        count = int(generator.integers(0, 12))
        words = [
            f"{value:.2f}" for value in generator.choice([0, 0.04, 0.1, 0.3], count)
        ]
        # no ties across photos
        scores = generator.permutation(100)[:count] / 100 + row / 1000
        photos.append(
            photo(
                boxes(count),
                scores,
                words,
                boxes(int(generator.integers(1, 6))),
                str(row),
            )
        )
    assert run(*photos).mean_ap.value == pytest.approx(slow_mean_ap(photos), abs=1e-9)


def test_interval_against_plain_resampling() -> None:
    generator = np.random.default_rng(0)
    photos = []
    for row in range(12):
        words = "same" if row % 3 else "0"
        photos.append(
            photo(
                [LEFT, RIGHT],
                generator.random(2),
                [words, "0.07"],
                [LEFT, RIGHT],
                str(row),
            )
        )
    pairs = [(least, above) for least in IOU_THRESHOLDS for above in METEOR_THRESHOLDS]
    values = []
    for _ in range(60):
        ranking = rank_detections(
            [photos[row] for row in generator.integers(0, 12, 12)], meteor
        )
        values.append(
            average_precisions(ranking, correct_detections(ranking, pairs)).mean()
        )
    found = dense_captioning(photos, meteor, resamples=200).mean_ap
    assert [found.low, found.high] == pytest.approx(
        np.quantile(values, [0.025, 0.975]).tolist(), abs=0.1
    )


def test_meteor_is_asked_only_where_it_matters() -> None:
    asked: list[str] = []

    def listening(prediction: str, references: Sequence[str]) -> float:
        asked.append(prediction)
        return 1.0

    boxes = [
        LEFT,
        LEFT,
        [60, 60, 64, 64],
        [45, 0, 50, 9],
    ]  # kept; truth taken; IoU 0.01; touches nothing
    item = photo(
        boxes,
        [0.9, 0.8, 0.7, 0.6],
        ["first", "second", "third", "fourth"],
        [LEFT, RIGHT],
    )
    dense_captioning([item], listening, resamples=1)
    assert asked == ["first"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(
            lambda: run(photo([LEFT], [1.0], ["same"], [])),
            "got none in 1",
            id="no-truths",
        ),
        pytest.param(lambda: run(), "got none in 0", id="no-photos"),
        pytest.param(
            lambda: photo([LEFT], [1.0], [], [LEFT]),
            "1 boxes, 1 scores, 0 captions",
            id="no-caption",
        ),
        pytest.param(
            lambda: photo([LEFT], [np.nan], ["a"], [LEFT]),
            "finite score",
            id="nan-score",
        ),
        pytest.param(
            lambda: photo([LEFT], [1.0], ["a"], [[9, 9, 0, 0]]),
            "inverted",
            id="bad-truth",
        ),
        pytest.param(
            lambda: DensePhoto(
                "a", (9, 9), np.zeros((0, 4)), np.zeros(0), (), np.array([LEFT]), ()
            ),
            "a caption for every true box",
            id="truth-without-caption",
        ),
    ],
)
def test_errors(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
