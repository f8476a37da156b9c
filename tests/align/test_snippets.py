"""Viterbi against brute force over every labelling, and snippets against arithmetic by hand."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from regiontalk.align.snippets import NO_LABEL, Snippet, snippets, viterbi

BETAS = [0.0, 0.25, 1.0, 3.0, 1e12]


def total_of(affinity: np.ndarray, labels: tuple[int, ...], beta: float) -> float:
    """Eq. 10 of [1] as it is printed."""
    total = 0.0
    for t, label in enumerate(labels):
        total += float(affinity[t, label])
        if t + 1 < len(labels) and label == labels[t + 1]:
            total += beta
    return total


def brute_force(affinity: np.ndarray, beta: float) -> tuple[tuple[int, ...], float]:
    """The best of all N ** T labellings.

    Ties from the last word back: stay, or else the lowest region.
    """
    length, count = affinity.shape
    paths = list(itertools.product(range(count), repeat=length))
    best = max(total_of(affinity, path, beta) for path in paths)

    def from_the_end(path: tuple[int, ...]) -> list[tuple[bool, int]]:
        after = (None, *path[::-1])
        return [
            (label != later, label)
            for label, later in zip(path[::-1], after, strict=False)
        ]

    winners = [path for path in paths if total_of(affinity, path, beta) == best]
    return min(winners, key=from_the_end), best


@pytest.mark.parametrize("beta", BETAS, ids=lambda beta: f"beta {beta:g}")
@pytest.mark.parametrize(
    ("length", "count"),
    [(1, 1), (1, 4), (4, 1), (2, 2), (5, 3), (3, 5), (6, 2)],
    ids=lambda size: str(size),
)
@pytest.mark.parametrize("kind", ["quarters", "equal", "normal"])
def test_against_every_labelling(
    length: int, count: int, beta: float, kind: str
) -> None:
    for seed in range(6):
        chance = np.random.default_rng(seed)
        # quarters are exact in floating point, so ties are real ties
        affinity = {
            "quarters": chance.integers(-4, 5, (length, count)) / 4,
            "equal": np.zeros((length, count)),
            "normal": chance.normal(size=(length, count)),
        }[kind]
        labels, total = viterbi(affinity, beta)
        expected, best = brute_force(affinity, beta)
        assert labels.dtype == np.int64 and labels.shape == (length,)
        assert float(total) == pytest.approx(best, rel=1e-12, abs=1e-9)
        if beta < 1e6:  # there the sums of brute force lose the affinities themselves
            assert tuple(labels.tolist()) == expected


def test_by_hand() -> None:
    # a, red, ball, on, grass over the regions ball, lawn. Affinities v_i.s_t:
    affinity = np.array([[0.2, 0.1], [2.0, 0.5], [1.0, 0.25], [0.3, 0.4], [0.5, 3.0]])
    # beta 0: every word its larger: 0 0 0 1 1, .2 + 2 + 1 + .4 + 3 = 6.6
    assert [part.tolist() for part in viterbi(affinity, 0.0)] == [
        [0, 0, 0, 1, 1],
        pytest.approx(6.6),
    ]
    # beta 1: three of the four neighbours agree, 6.6 + 3 = 9.6; all on the lawn: .1+.5+.25+.4+3 + 4
    # = 8.25
    assert [part.tolist() for part in viterbi(affinity, 1.0)] == [
        [0, 0, 0, 1, 1],
        pytest.approx(9.6),
    ]
    # beta 2.4: 6.6 + 7.2 = 13.8; all on the lawn 4.25 + 9.6 = 13.85, which wins; all on the ball 4
    # + 9.6 = 13.6
    assert [part.tolist() for part in viterbi(affinity, 2.4)] == [
        [1, 1, 1, 1, 1],
        pytest.approx(13.85),
    ]
    assert snippets(viterbi(affinity, 1.0)[0]) == [Snippet(0, 2, 0), Snippet(3, 4, 1)]


@pytest.mark.parametrize("beta", [0.0, 0.25, 1e12], ids=lambda beta: f"beta {beta:g}")
def test_regions_change_only_at_starts(beta: float) -> None:
    """Against the best of all labellings that keep to the starts."""
    for seed in range(20):
        chance = np.random.default_rng(seed)
        affinity, starts = chance.normal(size=(6, 3)), chance.random(6) < 0.5
        labels, total = viterbi(affinity, beta, starts=starts)
        allowed = [
            path
            for path in itertools.product(range(3), repeat=6)
            if all(path[t] == path[t - 1] or starts[t] for t in range(1, 6))
        ]
        assert tuple(labels.tolist()) in allowed
        assert float(total) == pytest.approx(
            max(total_of(affinity, path, beta) for path in allowed)
        )


@pytest.mark.parametrize("beta", [0.0, 0.5, 1e30], ids=lambda beta: f"beta {beta:g}")
def test_a_masked_batch_is_its_sentences(beta: float) -> None:
    chance = np.random.default_rng(3)
    affinity = chance.normal(size=(3, 4, 7, 5))
    words = chance.random((3, 4, 7)) < 0.7  # with holes, not only padding at the end
    words[0, 0] = False
    regions = chance.random((3, 4, 5)) < 0.7
    regions[..., 2] = True
    affinity[~words] = math.nan  # what is masked may be anything
    affinity = np.where(regions[..., None, :] | ~words[..., None], affinity, math.inf)
    labels, totals = viterbi(affinity, beta, words, regions)
    assert labels.shape == (3, 4, 7) and totals.shape == (3, 4)
    for place in itertools.product(range(3), range(4)):
        kept = np.flatnonzero(regions[place])
        alone, total = viterbi(affinity[place][words[place]][:, kept], beta)
        assert labels[place][words[place]].tolist() == kept[alone].tolist()
        assert (labels[place][~words[place]] == NO_LABEL).all()
        assert float(totals[place]) == pytest.approx(float(total))


def test_a_huge_beta_still_finds_the_best_region() -> None:
    # the whole sentence on one region, which must be the one with the largest sum: 3.0 against 2.9
    affinity = np.array([[1.0, 2.9], [1.0, 0.0], [1.0, 0.0]])
    labels, total = viterbi(affinity, 1e30)
    assert labels.tolist() == [0, 0, 0]
    assert float(total) == pytest.approx(2e30)


def test_more_beta_never_gives_more_snippets() -> None:
    affinity = np.random.default_rng(0).normal(size=(12, 6))
    counts = [
        len(snippets(viterbi(affinity, beta)[0]))
        for beta in (0.0, 0.2, 0.5, 1.0, 2.0, 5.0, 100.0)
    ]
    assert counts == sorted(counts, reverse=True) and counts[0] > 5 and counts[-1] == 1


@pytest.mark.parametrize(
    ("shape", "labels", "total"),
    [
        pytest.param((0, 3), (0,), (), id="no words"),
        pytest.param((0, 0), (0,), (), id="nothing"),
        pytest.param((2, 0, 3), (2, 0), (2,), id="batch without words"),
        pytest.param((0, 4, 3), (0, 4), (0,), id="batch of none"),
    ],
)
def test_empty(
    shape: tuple[int, ...], labels: tuple[int, ...], total: tuple[int, ...]
) -> None:
    got, totals = viterbi(np.zeros(shape), 1.0)
    assert got.shape == labels and totals.shape == total and not totals.any()


def test_padding_without_regions() -> None:
    labels, total = viterbi(np.zeros((2, 0)), 1.0, words=np.zeros(2, dtype=bool))
    assert labels.tolist() == [NO_LABEL, NO_LABEL] and float(total) == 0.0


TRUE = np.ones(2, dtype=bool)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param((np.zeros(3), 1.0), "words by regions, got", id="one dimension"),
        pytest.param(
            (np.zeros((2, 2)), -0.5),
            "beta: expected .* at least 0, got -0.5",
            id="negative beta",
        ),
        pytest.param(
            (np.zeros((2, 2)), math.inf), "beta: expected a finite", id="infinite beta"
        ),
        pytest.param(
            (np.zeros((2, 2)), math.nan), "beta: expected a finite", id="beta NaN"
        ),
        pytest.param((np.zeros((2, 0)), 1.0), "at least one region", id="no region"),
        pytest.param(
            (np.zeros((2, 2)), 1.0, TRUE, ~TRUE),
            "at least one region",
            id="all regions masked",
        ),
        pytest.param(
            (np.full((2, 2), math.nan), 1.0),
            "finite numbers where words meet",
            id="NaN",
        ),
        pytest.param(
            (np.zeros((2, 2)), 1.0, np.ones(3, dtype=bool)),
            r"words: expected .* \(2,\)",
            id="words",
        ),
        pytest.param(
            (np.zeros((2, 2)), 1.0, None, np.ones(2)),
            "regions: expected a bool mask",
            id="float mask",
        ),
    ],
)
def test_viterbi_errors(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        viterbi(*arguments)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        pytest.param([], [], id="no words"),
        pytest.param([4], [(0, 0, 4)], id="one word"),
        pytest.param(
            [4, 4, 0, 0, 4], [(0, 1, 4), (2, 3, 0), (4, 4, 4)], id="a region comes back"
        ),
        pytest.param([2, 2, -1, -1], [(0, 1, 2)], id="padding"),
        pytest.param([1, -1, 1], [(0, 0, 1), (2, 2, 1)], id="a hole breaks the run"),
        pytest.param([-1, -1], [], id="nothing but padding"),
        pytest.param(np.array([3, 3]), [(0, 1, 3)], id="tensor"),
        pytest.param(
            np.array([0, 1], dtype=np.int32), [(0, 0, 0), (1, 1, 1)], id="array"
        ),
    ],
)
def test_snippets(labels: Any, expected: list[tuple[int, int, int]]) -> None:
    found = snippets(labels)
    assert found == [Snippet(*item) for item in expected]
    slow: list[tuple[int, int, int]] = []
    for region, run in itertools.groupby(
        enumerate(list(labels)), key=lambda item: int(item[1])
    ):
        places = [place for place, _ in run]
        slow += [(places[0], places[-1], region)] if region >= 0 else []
    assert slow == expected
    words = "a red ball on grass".split()
    assert [len(words[item.words]) for item in found] == [len(item) for item in found]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(
            lambda: snippets([[1, 2]]),
            r"one sentence, got int64 \(1, 2\)",
            id="a batch",
        ),
        pytest.param(lambda: snippets([0.5]), "whole numbers", id="fractions"),
        pytest.param(lambda: Snippet(2, 1, 0), "first <= last", id="inverted"),
        pytest.param(lambda: Snippet(0, 1, -1), "region of at least 0", id="no region"),
    ],
)
def test_snippet_errors(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
