"""ROUGE-L: by hand, and against the textbook table."""

from __future__ import annotations

import numpy as np
import pytest

from regiontalk.metrics.rouge import longest_common_subsequence, rouge_l


def slow_subsequence(first: list[str], second: list[str]) -> int:
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, word in enumerate(first):
        for j, other in enumerate(second):
            table[i + 1][j + 1] = (
                table[i][j] + 1
                if word == other
                else max(table[i][j + 1], table[i + 1][j])
            )
    return table[-1][-1]


def slow_rouge(candidate: list[str], group: list[list[str]]) -> float:
    shared = [slow_subsequence(candidate, other) for other in group]
    precision = max(common / max(len(candidate), 1) for common in shared)
    recall = max(
        common / max(len(other), 1) for common, other in zip(shared, group, strict=True)
    )
    if precision == 0 or recall == 0:
        return 0.0
    return (1 + 1.2**2) * precision * recall / (recall + 1.2**2 * precision)


def test_by_hand() -> None:
    # "a b c" and "a c d e": common "a c" = 2, p = 2/3, r = 2/4; F = 2.44 * (1/3) / (0.5 + 1.44 *
    # 2/3) = 0.557078
    assert rouge_l(["a b c".split()], [["a c d e".split()]]) == pytest.approx(
        [2.44 / 3 / (0.5 + 0.96)]
    )


@pytest.mark.parametrize("seed", range(5))
def test_slow_twin(seed: int) -> None:
    random = np.random.default_rng(seed)
    sentences = [
        random.choice(list("abcd"), size=random.integers(0, 80)).tolist()
        for _ in range(24)
    ]
    for first, second in zip(sentences[::2], sentences[1::2], strict=True):
        assert longest_common_subsequence(first, second) == slow_subsequence(
            first, second
        )
    groups = [sentences[i : i + 3] for i in range(1, 20)]
    wanted = [
        slow_rouge(candidate, group)
        for candidate, group in zip(sentences, groups, strict=False)
    ]
    assert rouge_l(sentences[:19], groups) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("candidate", "group"),
    [
        pytest.param([], [["a"]], id="empty-candidate"),
        pytest.param(["a"], [[]], id="empty-reference"),
        pytest.param(["a"], [["b"]], id="nothing-common"),
    ],
)
def test_zero(candidate: list[str], group: list[list[str]]) -> None:
    assert rouge_l([candidate], [group]).tolist() == [0.0]


def test_errors() -> None:
    with pytest.raises(ValueError, match="one group a candidate"):
        rouge_l([["a"]], [])
