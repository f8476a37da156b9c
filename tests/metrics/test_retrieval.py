"""Retrieval against a twin that sorts every row, and against ranks worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from regiontalk.metrics.retrieval import fold_ranks, ranks, retrieval

# Three photos, two sentences each (0 0 1 1 2 2).
#            s0   s1   s2   s3   s4   s5
HAND = np.array(
    [
        [
            0.9,
            0.1,
            0.8,
            0.2,
            0.3,
            0.4,
        ],  # sorted: s0 s2 s5 s4 s3 s1; true s0, s1: closest is s0, rank 1
        [
            0.7,
            0.6,
            0.5,
            0.1,
            0.2,
            0.0,
        ],  # sorted: s0 s1 s2 ...; true s2, s3: closest is s2, rank 3
        [
            0.8,
            0.9,
            0.7,
            0.6,
            0.6,
            0.1,
        ],  # sorted: s1 s0 s2 s3 s4 s5 (s3 before s4 by number); true s4, s5: rank 5
    ]
)
OWNER = [0, 0, 1, 1, 2, 2]


def slow_ranks(scores: np.ndarray, owner: list[int]) -> tuple[list[int], list[int]]:
    """Sort every row and column in full, by falling score and then by number."""
    forward = []
    for photo, row in enumerate(scores.tolist()):
        order = sorted(range(len(row)), key=lambda sentence: (-row[sentence], sentence))
        forward.append(
            1
            + min(
                order.index(sentence)
                for sentence in range(len(row))
                if owner[sentence] == photo
            )
        )
    backward = []
    for sentence, column in enumerate(scores.T.tolist()):
        order = sorted(range(len(column)), key=lambda photo: (-column[photo], photo))
        backward.append(1 + order.index(owner[sentence]))
    return forward, backward


def test_hand_worked() -> None:
    found = ranks(HAND, OWNER)
    assert found.photo_to_sentence.tolist() == [1, 3, 5]
    # s0: photos 0 (.9) 2 1, true 0 -> 1. s1: 2 (.9) 1 0 -> 3. s2: 0 (.8) 2 (.7) 1 -> 3. s3: 2 0 1
    # -> 3. s4: 2 (.6) -> 1. s5: 0 (.4), 2 (.1), 1 -> 2.
    assert found.sentence_to_photo.tolist() == [1, 3, 3, 3, 1, 2]
    report = retrieval(HAND, OWNER, resamples=50)
    # Forward ranks 1 3 5: one of three at 1, two of three... at 5 all; median 3, mean 3.
    assert [
        round(report.photo_to_sentence[name].value, 4)
        for name in ("R@1", "R@5", "median rank", "mean rank")
    ] == [
        0.3333,
        1.0,
        3.0,
        3.0,
    ]
    # Backward ranks 1 1 2 3 3 3: two of six at 1; median 2.5; mean 13 / 6.
    assert report.sentence_to_photo["R@1"].value == pytest.approx(2 / 6)
    assert report.sentence_to_photo["median rank"].value == 2.5
    assert report.sentence_to_photo["mean rank"].value == pytest.approx(13 / 6)
    for value in (
        *report.photo_to_sentence.values(),
        *report.sentence_to_photo.values(),
    ):
        assert value.low <= value.value <= value.high


@pytest.mark.parametrize(
    ("photos", "sentences", "levels", "block"),
    [
        pytest.param(1, 1, 3, (1, 1), id="one-of-each"),
        pytest.param(7, 31, 1000, (3, 4), id="few-ties-small-blocks"),
        pytest.param(7, 31, 2, (3, 4), id="many-ties-small-blocks"),
        pytest.param(9, 20, 1, (2, 7), id="constant"),
        pytest.param(9, 45, 3, (100, 100), id="one-block"),
        pytest.param(12, 60, 4, (1, 60), id="row-by-row"),
    ],
)
@pytest.mark.parametrize("shuffled", [False, True], ids=["in-order", "shuffled"])
@pytest.mark.parametrize("form", ["matrix", "callable"])
def test_twin(
    photos: int,
    sentences: int,
    levels: int,
    block: tuple[int, int],
    shuffled: bool,
    form: str,
) -> None:
    generator = np.random.default_rng(photos * sentences + levels)
    owner = [index * photos // sentences for index in range(sentences)]
    if shuffled:
        generator.shuffle(owner)
    scores = generator.integers(0, levels, (photos, sentences)).astype(np.float32)
    source = (
        scores
        if form == "matrix"
        else lambda rows, columns: scores[np.ix_(rows, columns)]
    )
    found = ranks(source, owner, photos=photos, block=block)
    forward, backward = slow_ranks(scores, owner)
    assert found.photo_to_sentence.tolist() == forward
    assert found.sentence_to_photo.tolist() == backward


@pytest.mark.parametrize(
    ("kept_bytes", "calls"),
    [pytest.param(0, 6, id="asked-again"), pytest.param(10**6, 4, id="kept")],
)
def test_blocks_with_true_pairs_are_kept(
    monkeypatch: pytest.MonkeyPatch, kept_bytes: int, calls: int
) -> None:
    # 4 photos, 8 sentences by photo 0 1 1 1 | 2 2 2 3, blocks of 2 x 4: two of the four blocks hold
    # true pairs.
    monkeypatch.setattr("regiontalk.metrics.retrieval.KEPT_BYTES", kept_bytes)
    scores, owner = (
        np.random.default_rng(7).integers(0, 3, (4, 8)),
        [0, 1, 1, 2, 1, 2, 2, 3],
    )
    asked = []

    def block(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        asked.append(1)
        return scores[np.ix_(rows, columns)]

    found = ranks(block, owner, photos=4, block=(2, 4))
    assert len(asked) == calls
    assert (
        found.photo_to_sentence.tolist(),
        found.sentence_to_photo.tolist(),
    ) == slow_ranks(scores, owner)


def test_constant_scores_are_chance_never_perfect() -> None:
    report = retrieval(
        np.zeros((100, 500), dtype=np.float32),
        np.repeat(np.arange(100), 5),
        resamples=20,
    )
    # Every photo answers sentence 0 first, so only photo 0 is right; every sentence answers photo
    # 0: 5 of 500.
    assert report.photo_to_sentence["R@1"].value == pytest.approx(1 / 100)
    assert report.sentence_to_photo["R@1"].value == pytest.approx(5 / 500)
    assert report.photo_to_sentence["median rank"].value > 200


def test_folds_are_the_means_of_separate_runs() -> None:
    generator = np.random.default_rng(5)
    scores, owner = generator.normal(size=(11, 33)), np.repeat(np.arange(11), 3)
    # photo 10 is no whole fold
    parts = [ranks(scores[a : a + 5, 3 * a : 3 * a + 15], owner[:15]) for a in (0, 5)]
    for got, want in zip(fold_ranks(scores, owner, 5), parts, strict=True):
        assert got.photo_to_sentence.tolist() == want.photo_to_sentence.tolist()
        assert got.sentence_to_photo.tolist() == want.sentence_to_photo.tolist()
    report = retrieval(scores, owner, fold=5, resamples=20)
    assert report.folds == (5, 5)
    medians = [np.median(part.sentence_to_photo) for part in parts]
    assert report.sentence_to_photo["median rank"].value == pytest.approx(
        np.mean(medians)
    )
    recalls = [np.mean(part.photo_to_sentence <= 1) for part in parts]
    assert report.photo_to_sentence["R@1"].value == pytest.approx(np.mean(recalls))


def test_the_5k_and_the_five_folds_of_1k() -> None:
    generator = np.random.default_rng(9)
    # a set of 5,000 photos, two sentences each
    vectors = generator.normal(size=(5000, 8))
    owner = np.repeat(np.arange(5000), 2)
    words = vectors[owner] + generator.normal(size=(10000, 8))

    def block(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        return vectors[rows] @ words[columns].T

    folds = retrieval(block, owner, photos=5000, fold=1000, resamples=5)
    assert (folds.folds, folds.photos, folds.sentences) == ((1000,) * 5, 5000, 10000)
    # each against a plain matrix of its own photos and sentences
    for number, part in enumerate(folds.ranks_by_fold):
        photos, sentences = (
            vectors[number * 1000 : (number + 1) * 1000],
            words[number * 2000 : (number + 1) * 2000],
        )
        scores = photos @ sentences.T
        true = scores[np.arange(1000)[:, None], np.arange(2000).reshape(1000, 2)].max(
            axis=1
        )
        assert (
            part.photo_to_sentence.tolist()
            == (1 + (scores > true[:, None]).sum(axis=1)).tolist()
        )
    assert folds.photo_to_sentence["R@1"].value == pytest.approx(
        np.mean([(part.photo_to_sentence == 1).mean() for part in folds.ranks_by_fold])
    )
    whole = retrieval(block, owner, photos=5000, resamples=5)
    assert whole.folds == (5000,)
    inside = np.concatenate([part.sentence_to_photo for part in folds.ranks_by_fold])
    # more photos to choose from: never a better rank
    assert (whole.ranks_by_fold[0].sentence_to_photo >= inside).all()
    assert whole.sentence_to_photo["R@1"].value < folds.sentence_to_photo["R@1"].value


def test_median_interval_against_plain_resampling() -> None:
    generator = np.random.default_rng(3)
    scores, owner = generator.normal(size=(60, 120)), np.repeat(np.arange(60), 2)
    rank = ranks(scores, owner).sentence_to_photo
    medians = []
    for _ in range(3000):
        drawn = generator.integers(0, 60, 60)
        medians.append(
            np.median(np.concatenate([rank[owner == photo] for photo in drawn]))
        )
    low, high = np.quantile(medians, [0.025, 0.975])
    found = retrieval(scores, owner, resamples=3000).sentence_to_photo["median rank"]
    assert found.low == pytest.approx(low, abs=1.0)
    assert found.high == pytest.approx(high, abs=1.0)


def nan_scores() -> np.ndarray:
    scores = HAND.copy()
    scores[2, 5] = np.nan
    return scores


@pytest.mark.parametrize(
    ("scores", "owner", "options", "message"),
    [
        pytest.param(
            HAND, [0, 0, 1, 1, 2], {}, "expected \\(6,\\)", id="too-few-owners"
        ),
        pytest.param(
            HAND, [0, 0, 1, 1, 3, 3], {}, "rows 0..2", id="owner-out-of-range"
        ),
        pytest.param(
            HAND,
            [0, 0, 0, 1, 1, 1],
            {},
            "photo 2: expected a true sentence",
            id="photo-without-sentence",
        ),
        pytest.param(HAND, OWNER, {"photos": 4}, "with 4 photos", id="wrong-count"),
        pytest.param(HAND[0], OWNER, {}, "got shape \\(6,\\)", id="not-a-matrix"),
        pytest.param(nan_scores(), OWNER, {}, "finite", id="nan"),
        pytest.param(
            lambda rows, columns: HAND,
            OWNER,
            {},
            "pass photos=N",
            id="callable-without-count",
        ),
        pytest.param(
            lambda rows, columns: HAND[:1],
            OWNER,
            {"photos": 3},
            "block: expected shape",
            id="bad-block",
        ),
        pytest.param(
            HAND, OWNER, {"fold": 4}, "fold: expected 1..3", id="fold-too-large"
        ),
    ],
)
def test_errors(
    scores: object, owner: list[int], options: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        retrieval(scores, owner, **options)
