from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from regiontalk.align import pairs as pairing
from regiontalk.align.config import AlignerConfig
from regiontalk.align.model import Aligner
from regiontalk.align.pairs import Chain, Pair


class ByHand:
    """An aligner whose region vectors are the given ones and whose word n is the unit vector n."""

    def embed_regions(self, vectors: Tensor) -> Tensor:
        return vectors

    def choices(self, regions: Tensor) -> Tensor:
        return regions

    def encode_text(self, sentences: Any) -> tuple[Tensor, Tensor]:
        # one more: a token that closes the sentence
        longest = 1 + max(len(sentence) for sentence in sentences)
        words = torch.zeros(len(sentences), longest, 3)
        mask = torch.zeros(len(sentences), longest, dtype=torch.bool)
        for row, sentence in enumerate(sentences):
            for place, word in enumerate(sentence):
                words[row, place, word] = 1
            # would win everywhere if it were counted as a word
            words[row, len(sentence)] = 9
            mask[row, : len(sentence) + 1] = True
        return words, mask


def infer_pairs(
    aligner: Any,
    vectors: Tensor,
    objectness: Tensor,
    sentences: Sequence[Sequence[Sequence[int]]],
    chain: Chain,
    opinion: Any = None,
) -> list[list[Pair]]:
    """`pairs.infer_pairs` on what an aligner makes of region features."""
    flat = [sentence for own in sentences for sentence in own]
    if not flat:
        return pairing.infer_pairs(
            np.zeros(0), np.zeros(0), np.zeros(0), sentences, chain
        )
    with torch.no_grad():
        regions = aligner.choices(aligner.embed_regions(vectors)).numpy()
        words = aligner.encode_text(flat)[0].numpy()
    return pairing.infer_pairs(
        regions, objectness.numpy(), words, sentences, chain, opinion
    )


# Region r answers word w with REGIONS[r][w].
REGIONS = [[0.5, 0.0, 0.25], [0.0, 1.0, 0.0]]
ONES = torch.ones(2, 2)  # objectness that says nothing


@pytest.mark.parametrize(
    ("beta", "pairs"),
    [
        # words 0 1 2: the best regions are 0, 1, 0
        pytest.param(
            0.0,
            [
                Pair(0, 0, (0,), 0, 0.5),
                Pair(0, 1, (1,), 1, 1.0),
                Pair(0, 2, (2,), 0, 0.25),
            ],
            id="every word for itself",
        ),
        # staying on 1 pays 0.3 and costs 0.25: 0.5 + 1 + 0 + 0.3 against 0.5 + 1 + 0.25
        pytest.param(
            0.3,
            [Pair(0, 0, (0,), 0, 0.5), Pair(0, 1, (1, 2), 1, 1.0)],
            id="the last word stays",
        ),
        # all on 1: 0 + 1 + 0 + 2 * 0.6 = 2.2; 0, 1, 1: 0.5 + 1 + 0 + 0.6 = 2.1; all on 0: 0.75 +
        # 1.2 = 1.95
        pytest.param(0.6, [Pair(0, 0, (0, 1, 2), 1, 1.0)], id="one snippet"),
    ],
)
def test_by_hand(beta: float, pairs: list[Pair]) -> None:
    (found,) = infer_pairs(
        ByHand(), torch.tensor([REGIONS]), ONES[:1], [[[0, 1, 2]]], Chain(beta)
    )
    assert found == pairs


def test_another_opinion_by_hand() -> None:
    # the second photo's sentences are passed over where there are none; +1 moves the last word from
    # region 0 to 1
    def opinion(photo: int, sentences: Any) -> Any:
        assert (photo, sentences) == (1, [[0, 1, 2]])
        return np.array([[[0.0, 0.0], [0.0, 0.0], [0.0, 1.0]]], dtype=np.float32)

    found = infer_pairs(
        ByHand(),
        torch.tensor([REGIONS, REGIONS]),
        ONES,
        [[], [[0, 1, 2]]],
        Chain(),
        opinion,
    )
    assert found == [[], [Pair(0, 0, (0,), 0, 0.5), Pair(0, 1, (1, 2), 1, 1.0)]], (
        "the score is v . s alone"
    )


def test_words_on_the_null_region_are_in_no_pair() -> None:
    class WithNull(ByHand):
        def choices(self, regions: Tensor) -> Tensor:
            return torch.cat([regions, torch.tensor([[[0.6, 0.0, 0.0]]])], 1)

    (found,) = infer_pairs(
        WithNull(), torch.tensor([REGIONS]), ONES[:1], [[[0, 1, 2]]], Chain()
    )
    assert found == [
        Pair(0, 1, (1,), 1, 1.0),
        Pair(0, 2, (2,), 0, 0.25),
    ]  # word 0: 0.6 beats 0.5


def slow_pairs(
    aligner: Aligner, vectors: Tensor, sentences: Any, beta: float
) -> list[list[Pair]]:
    """One sentence at a time: every path of regions is tried, then runs are read off."""
    found: list[list[Pair]] = []
    for photo, own in enumerate(sentences):
        found.append([])
        for caption, sentence in enumerate(own):
            if not sentence:
                continue
            words, _ = aligner.encode_text([sentence])
            regions = aligner.embed_regions(vectors[photo : photo + 1])[0]
            count = len(regions)
            worth = [
                [float(words[0, t] @ regions[r]) for r in range(count)]
                for t in range(len(sentence))
            ]
            best, path = -float("inf"), ()
            for code in range(count ** len(sentence)):
                labels = [code // count**t % count for t in range(len(sentence))]
                total = sum(worth[t][r] for t, r in enumerate(labels))
                total += beta * sum(
                    labels[t] == labels[t + 1] for t in range(len(labels) - 1)
                )
                if total > best:
                    best, path = total, tuple(labels)
            first = 0
            for t in range(1, len(path) + 1):
                if t == len(path) or path[t] != path[first]:
                    score = sum(worth[k][path[first]] for k in range(first, t))
                    found[-1].append(
                        Pair(
                            caption, first, tuple(sentence[first:t]), path[first], score
                        )
                    )
                    first = t
    return found


@pytest.mark.parametrize("beta", [0.0, 0.05, 10.0])
@pytest.mark.parametrize(
    "token", [pytest.param(True, id="with END"), pytest.param(False, id="without END")]
)
def test_against_plain_loops(beta: float, token: bool) -> None:
    torch.manual_seed(3)
    config = AlignerConfig(
        size=6, word_size=5, hidden=4, cell="gru", normalise=True, sentence_token=token
    )
    aligner = Aligner(features=7, vocabulary=12, config=config).eval()
    vectors = torch.randn(4, 3, 7)
    sentences = [[[4, 5, 6, 7, 8], [9]], [], [[10, 11, 4], [5, 5], []], [[6, 7, 8, 9]]]
    found = infer_pairs(aligner, vectors, torch.ones(4, 3), sentences, Chain(beta))
    with torch.no_grad():
        slow = slow_pairs(aligner, vectors, sentences, beta)
    assert [
        [(p.caption, p.first, p.words, p.region) for p in own] for own in found
    ] == [[(p.caption, p.first, p.words, p.region) for p in own] for own in slow]
    scores = [p.score for own in found for p in own]
    assert scores == pytest.approx([p.score for own in slow for p in own], abs=1e-5)


@pytest.mark.parametrize(
    "sentences",
    [
        pytest.param([[], []], id="photos without sentences"),
        pytest.param([], id="no photo"),
    ],
)
def test_nothing_to_pair(sentences: list[list[list[int]]]) -> None:
    assert infer_pairs(
        ByHand(),
        torch.zeros(len(sentences), 2, 3),
        ONES[: len(sentences)],
        sentences,
        Chain(),
    ) == [[] for _ in sentences]


def test_phrases_stay_whole_by_hand() -> None:
    # the last word may not begin a phrase: with the second it is worth 1.0 on region 1 and 0.25 on
    # region 0
    chain = Chain(starts=lambda sentence: [True, True, False])
    (found,) = infer_pairs(
        ByHand(), torch.tensor([REGIONS]), ONES[:1], [[[0, 1, 2]]], chain
    )
    assert found == [Pair(0, 0, (0,), 0, 0.5), Pair(0, 1, (1, 2), 1, 1.0)]


def test_a_prior_on_regions_by_hand() -> None:
    # the whole photo counts as the best proposal, here of objectness 1/e: both of those get -0.3,
    # the third -0.6
    objectness = torch.tensor([[1.0, math.exp(-2), math.exp(-1)]])
    regions = torch.tensor([[[0.5, 0.0, 0.1], [0.4, 1.0, 0.3], [0.6, 0.0, 0.1]]])
    (plain,) = infer_pairs(ByHand(), regions, objectness, [[[0, 1, 2]]], Chain())
    assert [pair.region for pair in plain] == [2, 1]
    (found,) = infer_pairs(
        ByHand(), regions, objectness, [[[0, 1, 2]]], Chain(prior=0.3)
    )
    assert [(pair.words, pair.region) for pair in found] == [
        ((0,), 2),
        ((1,), 1),
        ((2,), 0),
    ]
    assert [pair.score for pair in found] == pytest.approx([0.6, 1.0, 0.1]), (
        "the prior chooses only"
    )
