"""The losses over a block of scores against plain loops.

From [1] (9), [6] and the definition of InfoNCE.
"""

from __future__ import annotations

import math
from typing import Literal

import pytest
import torch
from torch import Tensor

from regiontalk.align.config import AlignerConfig
from regiontalk.align.loss import fragment_loss, info_nce, max_margin, true_pairs
from regiontalk.align.model import Aligner

BLOCKS = [
    pytest.param(1, [0], id="one pair"),
    pytest.param(3, [0, 1, 2], id="a sentence a photo"),
    pytest.param(3, [2, 0, 1], id="another order"),
    pytest.param(3, [0, 0, 1, 2, 2, 2], id="several sentences a photo"),
    pytest.param(4, [3, 1], id="photos without sentences"),
    pytest.param(2, [1, 1, 1], id="one photo has them all"),
]


def random_scores(photos: int, sentences: int) -> Tensor:
    return (
        torch.randn(
            photos,
            sentences,
            generator=torch.Generator().manual_seed(photos + sentences),
        )
        * 2
    )


def slow_margin(
    scores: Tensor, owner: list[int], margin: float, hardest: bool
) -> float:
    """Eq. 9 of [1] for every true pair (k, sentence).

    Captions of one photo are never negatives.
    """
    terms = []
    for own, k in enumerate(owner):
        true = float(scores[k, own])
        sentences = [
            max(0.0, float(scores[k, i]) - true + margin)
            for i in range(len(owner))
            if owner[i] != k
        ]
        photos = [
            max(0.0, float(scores[i, own]) - true + margin)
            for i in range(len(scores))
            if i != k
        ]
        reduce = max if hardest else sum
        terms.append(reduce(sentences or [0.0]) + reduce(photos or [0.0]))
    return sum(terms) / len(terms)


def slow_info_nce(scores: Tensor, owner: list[int], scale: float) -> float:
    """-log of the true pair's share, among photos and among sentences.

    The photo's other sentences are left out.
    """
    terms = []
    for own, k in enumerate(owner):
        true = math.exp(scale * float(scores[k, own]))
        photos = sum(
            math.exp(scale * float(scores[i, own])) for i in range(len(scores))
        )
        others = sum(
            math.exp(scale * float(scores[k, i]))
            for i in range(len(owner))
            if owner[i] != k
        )
        terms.append(-math.log(true / photos) - math.log(true / (true + others)))
    return sum(terms) / len(terms) / 2


@pytest.mark.parametrize(("photos", "owner"), BLOCKS)
@pytest.mark.parametrize("margin", [0.2, 1.0])
@pytest.mark.parametrize("negatives", ["sum", "hardest"])
def test_max_margin(
    photos: int, owner: list[int], margin: float, negatives: Literal["sum", "hardest"]
) -> None:
    scores = random_scores(photos, len(owner))
    got = max_margin(scores, torch.tensor(owner), margin=margin, negatives=negatives)
    assert float(got) == pytest.approx(
        slow_margin(scores, owner, margin, negatives == "hardest"), abs=1e-5
    )


@pytest.mark.parametrize(("photos", "owner"), BLOCKS)
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_info_nce(photos: int, owner: list[int], scale: float) -> None:
    scores = random_scores(photos, len(owner)).requires_grad_()
    got = info_nce(scores, torch.tensor(owner), scale)
    assert got.item() == pytest.approx(
        slow_info_nce(scores.detach(), owner, scale), abs=1e-5
    )
    got.backward()
    assert scores.grad is not None and scores.grad.isfinite().all()


def test_by_hand() -> None:
    # photos 0, 1; sentences a, b of photo 0 and c of photo 1; margin 1
    scores, owner = (
        torch.tensor([[2.0, 1.0, 1.5], [0.0, 0.5, 3.0]]),
        torch.tensor([0, 0, 1]),
    )
    assert true_pairs(owner, 2).tolist() == [[True, True, False], [False, False, True]]
    # a (true 2): photo 1: 0 - 2 + 1 < 0 -> 0; sentence c: 1.5 - 2 + 1 = .5; b is photo 0's own ->
    # .5 b (true 1): photo 1: .5 - 1 + 1 = .5; sentence c: 1.5 - 1 + 1 = 1.5 -> 2 c (true 3): photo
    # 0: 1.5 - 3 + 1 < 0 -> 0; sentences a, b: 0 - 3 + 1, .5 - 3 + 1 < 0 -> 0
    assert float(max_margin(scores, owner)) == pytest.approx((0.5 + 2.0 + 0.0) / 3)
    # with margin 3 c has two sentences to fear: 0 - 3 + 3 = 0 and .5 - 3 + 3 = .5; photo 0: 1.5
    # sum: a 1 + 2.5, b 2.5 + 3.5, c 1.5 + .5 = 11.5; nothing here has two violations a side, so the
    # hardest are the sum
    assert float(max_margin(scores, owner, margin=3.0)) == pytest.approx(11.5 / 3)
    assert float(
        max_margin(scores, owner, margin=3.0, negatives="hardest")
    ) == pytest.approx(11.5 / 3)
    # InfoNCE of two photos with equal scores everywhere: half the mass each way, log 2
    assert float(
        info_nce(torch.zeros(2, 2), torch.tensor([0, 1]), 5.0)
    ) == pytest.approx(math.log(2))


def test_own_captions_are_never_negatives() -> None:
    scores, owner = random_scores(2, 4), torch.tensor([0, 0, 1, 1])
    scores[0, 1] = scores[0, 0]
    for loss in (
        lambda block: max_margin(block[:, [0, 2]], owner[[0, 2]]),
        lambda block: info_nce(block[:, [0, 2]], owner[[0, 2]], 2.0),
    ):
        assert loss(scores).isfinite()
    # raising the score of photo 0 with its other caption must not raise the part of its first
    # caption
    scores.requires_grad_()
    max_margin(scores, owner).backward()
    assert scores.grad is not None and (scores.grad[true_pairs(owner, 2)] <= 0).all()
    scores.grad = None
    info_nce(scores, owner, 1.0).backward()
    assert (scores.grad[true_pairs(owner, 2)] <= 0).all()


def slow_fragments(
    products: Tensor,
    owner: list[int],
    region_mask: Tensor,
    word_mask: Tensor,
    warm: bool,
    over: str,
) -> float:
    """C_F of [3] one fragment at a time, with the labels of its mi-SVM."""
    hinges: dict[int, list[float]] = {1: [], -1: []}
    for photo in range(len(products)):
        for sentence, own in enumerate(owner):
            for t in range(products.shape[2]):
                row = [float(value) for value in products[photo, sentence, t]]
                real = [
                    i
                    for i in range(len(row))
                    if region_mask[photo, i] and word_mask[sentence, t]
                ]
                best = max((row[i] for i in real), default=0.0)
                for i in real:
                    y = (
                        1
                        if own == photo and (warm or row[i] > 0 or row[i] == best)
                        else -1
                    )
                    hinges[y].append(max(0.0, 1 - y * row[i]))
    if over == "sum":
        return (sum(hinges[1]) + sum(hinges[-1])) / len(owner)
    return sum(sum(own) / max(1, len(own)) for own in hinges.values())


@pytest.mark.parametrize(("photos", "owner"), BLOCKS)
@pytest.mark.parametrize("over", ["sum", "mean"])
@pytest.mark.parametrize("warm", [False, True], ids=["guessed labels", "warm"])
@pytest.mark.parametrize("padded", [False, True], ids=["full", "padded"])
def test_fragments(
    photos: int,
    owner: list[int],
    over: Literal["sum", "mean"],
    warm: bool,
    padded: bool,
) -> None:
    chance = torch.Generator().manual_seed(photos)
    products = torch.randn(
        photos, len(owner), 4, 3, generator=chance, requires_grad=True
    )
    share = 0.4 if padded else -1.0
    masks = (
        torch.rand(photos, 3, generator=chance) > share,
        torch.rand(len(owner), 4, generator=chance) > share,
    )
    photo_of_word = torch.tensor(owner)[:, None].expand_as(masks[1])[masks[1]]
    got = fragment_loss(
        packed(products, masks[1]),
        photo_of_word,
        masks[0],
        len(owner),
        warm=warm,
        over=over,
    )
    assert float(got.detach()) == pytest.approx(
        slow_fragments(products.detach(), owner, *masks, warm, over), rel=1e-5
    )
    got.backward()
    assert products.grad is not None and products.grad.isfinite().all()
    assert not products.grad[
        ~(masks[0][:, None, None] & masks[1][None, :, :, None]).expand_as(products)
    ].any()


def packed(products: Tensor, word_mask: Tensor) -> Tensor:
    """(B, C, T, N) as `score.word_products` gives it: (N, B, W)."""
    return products[:, word_mask].permute(2, 0, 1)


def test_fragments_by_hand() -> None:
    # photos 0 and 1, one sentence of two words, of photo 0; two regions each
    products = torch.tensor(
        [[[[2.0, -0.5], [-0.3, -0.4]]], [[[0.5, -2.0], [-1.0, 0.25]]]]
    )
    owner, regions, words = (
        torch.tensor([0, 0]),
        torch.ones(2, 2, dtype=torch.bool),
        torch.ones(1, 2, dtype=torch.bool),
    )
    products = packed(products, words)
    # photo 0, word 1: y = +1 for 2 -> 0; y = -1 for -.5 -> 1 - .5 = .5
    # photo 0, word 2: none is positive, its best, -.3, gets y = +1 -> 1.3; -.4 has y = -1 -> .6
    # photo 1 is a stranger, y = -1: 1 + .5 = 1.5; 1 - 2 < 0 -> 0; 1 - 1 = 0; 1.25
    together, apart = [0.0, 1.3], [0.5, 0.6, 1.5, 0.0, 0.0, 1.25]
    assert float(fragment_loss(products, owner, regions, 1)) == pytest.approx(
        sum(together) + sum(apart)
    )
    assert float(
        fragment_loss(products, owner, regions, 1, over="mean")
    ) == pytest.approx(1.3 / 2 + 3.85 / 6)
    # warm: all four of photo 0 have y = +1: 0 + 1.5 + 1.3 + 1.4
    assert float(
        fragment_loss(products, owner, regions, 1, warm=True)
    ) == pytest.approx(4.2 + 2.75)


def test_hardest_negatives_begin_with_all() -> None:
    scores, owner = (
        torch.randn(4, 4, generator=torch.Generator().manual_seed(0)),
        torch.arange(4),
    )
    hardest = Aligner(features=3, vocabulary=9, config=AlignerConfig(loss="hardest"))
    assert hardest.loss(scores, owner, warm=True) == max_margin(
        scores, owner, negatives="sum"
    )
    assert hardest.loss(scores, owner) == max_margin(scores, owner, negatives="hardest")
