"""The alignment model's settings: what they change, what they leave alone, what cannot meet."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from regiontalk.align.config import AlignerConfig
from regiontalk.align.model import Aligner
from regiontalk.align.torch_score import maxsim, mean_positive, sum_positive

SIZES = {"size": 6, "word_size": 5, "hidden": 4}
LAST = {
    "size": 6,
    "word_size": 5,
    "hidden": 6,
    "cell": "gru",
    "normalise": True,
    "sentence": "last",
}


def build(**settings: Any) -> Aligner:
    torch.manual_seed(0)
    return Aligner(
        features=7, vocabulary=12, config=AlignerConfig(**(SIZES | settings))
    ).eval()


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("maxsim", maxsim),
        ("sum_positive", sum_positive),
        ("mean_positive", mean_positive),
    ],
)
@pytest.mark.parametrize("null", [False, True], ids=["regions", "regions and NULL"])
@torch.no_grad()
def test_score(name: str, function: Any, null: bool) -> None:
    model = build(score=name, null=null)
    regions, (words, mask) = (
        model.embed_regions(torch.randn(3, 4, 7)),
        model.encode_text([[4, 5, 6], [7]]),
    )
    seen = torch.rand(3, 4) < 0.6
    got = model.score(regions, words, seen, mask)
    if null:  # by hand: one more region, the same for every photo, always there
        regions = torch.stack([torch.cat([own, model.null[None]]) for own in regions])
        seen = torch.cat([seen, torch.ones(3, 1, dtype=torch.bool)], 1)
    torch.testing.assert_close(got, function(regions, words, seen, mask))


def test_null_adds_one_vector_that_learns_and_nothing_else() -> None:
    plain, model = build(), build(null=True)
    assert set(model.state_dict()) - set(plain.state_dict()) == {"null"}
    assert "null" not in plain.state_dict() and plain.choices(
        torch.ones(2, 3, 6)
    ).shape == (
        2,
        3,
        6,
    )
    regions, (words, mask) = (
        model.embed_regions(torch.randn(3, 4, 7)),
        model.encode_text([[4, 5, 6], [7]]),
    )
    model.score(
        regions, words, torch.zeros(3, 4, dtype=torch.bool), mask
    ).sum().backward()  # NULL alone is left
    assert model.null.grad is not None and model.null.grad.any()


@torch.no_grad()
def test_the_last_word_counts_alone() -> None:
    model = build(**LAST)
    words, mask = model.encode_text([[4, 5, 6], [7], []])
    assert mask.tolist() == [
        [False, False, True],
        [True, False, False],
        [False, False, False],
    ]
    torch.testing.assert_close(words.norm(dim=2)[0], torch.ones(3))
    regions = model.embed_regions(torch.randn(2, 3, 7))
    scores = model.score(regions, words, torch.ones(2, 3, dtype=torch.bool), mask)
    cosines = torch.einsum(
        "bnd,cd->bcn", regions, torch.stack([words[0, 2], words[1, 0]])
    ).amax(2)
    torch.testing.assert_close(scores[:, :2], cosines)
    assert not scores[:, 2].any()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        pytest.param(
            {"cell": "relu"}, "sentence = last and cell = relu cannot meet", id="no GRU"
        ),
        pytest.param(
            {"normalise": False},
            "sentence = last and normalise = false cannot meet",
            id="free lengths",
        ),
        pytest.param(
            {"hidden": 5}, "hidden = 5 and size = 6 cannot meet", id="another length"
        ),
    ],
)
def test_parts_that_cannot_meet(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AlignerConfig(**(LAST | changed))
