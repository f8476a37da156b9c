"""Equations (7) and (8) of [1] against plain loops, and by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from regiontalk.align import score as array_score
from regiontalk.align.torch_score import maxsim, mean_positive, sum_positive

Score = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def slow_scores(
    regions: Tensor, words: Tensor, region_mask: Tensor, word_mask: Tensor, printed: str
) -> Tensor:
    """Eq. 8 (``max``), eq. 7 (``sum``) or eq. 7 as [3] divides it (``mean``).

    One product at a time.
    """
    scores = torch.zeros(len(regions), len(words))
    for k in range(len(regions)):
        for sentence in range(len(words)):
            for t in range(words.shape[1]):
                products = [
                    sum(
                        float(a) * float(b)
                        for a, b in zip(regions[k, i], words[sentence, t], strict=True)
                    )
                    for i in range(regions.shape[1])
                    if region_mask[k, i]
                ]
                if word_mask[sentence, t] and products:
                    best = (
                        max(products)
                        if printed == "max"
                        else sum(max(0.0, product) for product in products)
                    )
                    scores[k, sentence] += best
            if printed == "mean":  # [3]: N_k (T_l + 5)
                scores[k, sentence] /= max(1, int(region_mask[k].sum())) * (
                    int(word_mask[sentence].sum()) + 5
                )
    return scores


def batch(
    photos: int, regions: int, sentences: int, words: int, holes: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Random vectors.

    With holes, half the regions and words are padding, some photos and sentences empty.
    """
    chance = torch.Generator().manual_seed(
        photos + 10 * regions + 100 * sentences + 1000 * words
    )
    share = 0.5 if holes else -1.0
    return (
        torch.randn(photos, regions, 4, generator=chance),
        torch.randn(sentences, words, 4, generator=chance),
        torch.rand(photos, regions, generator=chance) > share,
        torch.rand(sentences, words, generator=chance) > share,
    )


@pytest.mark.parametrize("holes", [False, True], ids=["full", "padded"])
@pytest.mark.parametrize(
    "sizes",
    [(1, 1, 1, 1), (3, 4, 5, 6), (1, 4, 3, 2), (4, 1, 1, 5), (6, 2, 6, 1)],
    ids=lambda sizes: str(sizes),
)
@pytest.mark.parametrize(
    ("score", "printed"),
    [(maxsim, "max"), (sum_positive, "sum"), (mean_positive, "mean")],
    ids=["eq8", "eq7", "eq7 of [3]"],
)
def test_scores(
    score: Score, printed: str, sizes: tuple[int, int, int, int], holes: bool
) -> None:
    given = batch(*sizes, holes)
    expected = slow_scores(*given, printed)
    torch.testing.assert_close(score(*given), expected, rtol=1e-4, atol=1e-5)
    on_arrays = getattr(array_score, score.__name__)(*(part.numpy() for part in given))
    torch.testing.assert_close(
        torch.from_numpy(on_arrays), expected, rtol=1e-4, atol=1e-5
    )


def test_by_hand() -> None:
    # one photo: v_1 = (1, 0), v_2 = (0, 2); one sentence: s_1 = (3, 1), s_2 = (-1, -1)
    regions, words = (
        torch.tensor([[[1.0, 0], [0, 2]]]),
        torch.tensor([[[3.0, 1], [-1, -1]]]),
    )
    every = torch.ones(1, 2, dtype=torch.bool)
    # products: s_1 with v_1 3, with v_2 2; s_2 with v_1 -1, with v_2 -2
    assert array_score.affinity(regions.numpy(), words.numpy()).tolist() == [
        [[[3, 2], [-1, -2]]]
    ]
    # eq. 8: the best may be negative
    assert maxsim(regions, words, every, every).tolist() == [[3 - 1]]
    # eq. 7: only what is above 0
    assert sum_positive(regions, words, every, every).tolist() == [[3 + 2]]
    assert mean_positive(regions, words, every, every).tolist() == [
        [pytest.approx(5 / (2 * (2 + 5)))]
    ]
    second = torch.tensor([[False, True]])
    assert maxsim(regions, words, second, every).tolist() == [[2 - 2]]
    assert maxsim(regions, words, every, second).tolist() == [[-1]]


@pytest.mark.parametrize("score", [maxsim, sum_positive, mean_positive])
def test_padding_has_no_gradient(score: Score) -> None:
    regions, words, region_mask, word_mask = batch(3, 4, 5, 6, True)
    region_mask[0], word_mask[0] = (
        False,
        False,
    )  # a photo without regions, a sentence without words
    regions.requires_grad_(), words.requires_grad_()
    scores = score(regions, words, region_mask, word_mask)
    assert not scores[0].any() and not scores[:, 0].any()
    scores.sum().backward()
    assert regions.grad is not None and words.grad is not None
    assert (
        regions.grad.isfinite().all()
        and not regions.grad[~region_mask].any()
        and regions.grad.any()
    )
    assert (
        words.grad.isfinite().all()
        and not words.grad[~word_mask].any()
        and words.grad.any()
    )
