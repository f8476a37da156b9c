"""Equations (1) to (6) of [1] against plain loops over words."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from regiontalk.align.encoders import (
    GRUSentenceEncoder,
    RegionEncoder,
    ReluRNN,
    SentenceEncoder,
)

LENGTHS = [
    pytest.param([4], id="one sentence"),
    pytest.param([1], id="one word"),
    pytest.param([5, 2, 3], id="padded"),
    pytest.param([3, 3], id="no padding"),
    pytest.param([2, 0, 4], id="an empty sentence"),
]


def encoder(cell: Literal["relu", "gru"], normalise: bool) -> SentenceEncoder:
    torch.manual_seed(1)
    return SentenceEncoder(
        vocabulary=11,
        word_size=5,
        hidden=6,
        size=7,
        cell=cell,
        normalise=normalise,
        dropout=0.5,
    ).eval()


def sentences(lengths: list[int], spare: int = 0) -> tuple[Tensor, Tensor]:
    """Random word numbers (C, T), 0 where the mask (C, T) says padding.

    ``spare`` columns that no sentence reaches.
    """
    chance = torch.Generator().manual_seed(len(lengths))
    mask = torch.arange(max(lengths) + spare) < torch.tensor(lengths)[:, None]
    return torch.randint(4, 11, mask.shape, generator=chance) * mask, mask


def relu(vector: Tensor) -> Tensor:
    return torch.stack([value if value > 0 else value * 0 for value in vector])


def slow_directions(model: SentenceEncoder, inputs: list[Tensor]) -> list[Tensor]:
    """hf_t + hb_t of one sentence: eq. 4 and 5, or two GRUs run by hand over the very words."""
    if model.cell == "relu":
        both = []
        for recurrence, order in (
            (model.forwards, inputs),
            (model.backwards, inputs[::-1]),
        ):
            state, states = torch.zeros(6), []
            for e in order:
                state = relu(
                    e + recurrence.recur.weight @ state + recurrence.recur.bias
                )
                states.append(state)
            both.append(states)
        return [f + b for f, b in zip(both[0], both[1][::-1], strict=True)]
    both = []
    for suffix, order in (("", inputs), ("_reverse", inputs[::-1])):
        cell = nn.GRUCell(6, 6)
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(cell, name).data = getattr(
                model.recurrent, f"{name}_l0{suffix}"
            ).data
        state, states = torch.zeros(1, 6), []
        for e in order:
            state = cell(e[None], state)
            states.append(state[0])
        both.append(states)
    return [f + b for f, b in zip(both[0], both[1][::-1], strict=True)]


def slow_sentence(model: SentenceEncoder, words: list[int]) -> list[Tensor]:
    """s_t of the words of one sentence, without padding: eq. 2, 3, 4, 5 and 6 in order."""
    inputs = [
        relu(model.input.weight @ model.embed.weight[word] + model.input.bias)
        for word in words
    ]
    states = slow_directions(model, inputs)
    vectors = [model.output.weight @ state + model.output.bias for state in states]
    if model.share is None:
        return [relu(vector) for vector in vectors]
    weights = [
        torch.log1p(torch.exp(model.share.weight[0] @ state + model.share.bias[0]))
        for state in states
    ]
    total = sum(float(weight) for weight in weights)
    return [
        vector / vector.square().sum().sqrt() * (weight / total)
        for vector, weight in zip(vectors, weights, strict=True)
    ]


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("normalise", [False, True], ids=["as printed", "normalised"])
@pytest.mark.parametrize("cell", ["relu", "gru"])
@torch.no_grad()
def test_sentence_encoder(
    cell: Literal["relu", "gru"], normalise: bool, lengths: list[int]
) -> None:
    model = encoder(cell, normalise)
    for spare in (0, 3):  # columns of nothing but padding change nothing
        words, mask = sentences(lengths, spare)
        got = model(words, mask)
        assert got.shape == (*words.shape, 7)
        for row, length in enumerate(lengths):
            assert not got[row, length:].any()
            for t, expected in enumerate(
                slow_sentence(model, words[row, :length].tolist())
            ):
                torch.testing.assert_close(got[row, t], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", ["relu", "gru"])
@torch.no_grad()
def test_no_sentences(cell: Literal["relu", "gru"]) -> None:
    assert encoder(cell, True)(
        torch.zeros(0, 3, dtype=torch.int64), torch.zeros(0, 3, dtype=torch.bool)
    ).shape == (
        0,
        3,
        7,
    )


@torch.no_grad()
def test_lengths_of_normalised_words_share_the_sentence() -> None:
    words, mask = sentences([5, 2, 0])
    norms = encoder("gru", True)(words, mask).norm(dim=2).sum(1)
    torch.testing.assert_close(norms, torch.tensor([1.0, 1.0, 0.0]))


@torch.no_grad()
def test_recurrence_by_hand() -> None:
    # H = 1, W = 1, b = -1: forwards over e = 3, 1, (padding), backwards the same words
    recurrence = ReluRNN(1)
    recurrence.recur.weight.fill_(1.0), recurrence.recur.bias.fill_(-1.0)
    inputs, mask = (
        torch.tensor([[[3.0], [1.0], [9.0]]]),
        torch.tensor([[True, True, False]]),
    )
    # h_1 = 3 + 0 - 1 = 2; h_2 = 1 + 2 - 1 = 2; padding keeps 2
    assert recurrence(inputs, mask, backward=False).flatten().tolist() == [2, 2, 2]
    # from the right: padding 0; h_2 = 1 + 0 - 1 = 0; h_1 = 3 + 0 - 1 = 2
    assert recurrence(inputs, mask, backward=True).flatten().tolist() == [2, 0, 0]


@pytest.mark.parametrize("normalise", [False, True], ids=["eq1", "unit vectors"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 4), (2, 0)], ids=str)
@torch.no_grad()
def test_region_encoder(shape: tuple[int, int], normalise: bool) -> None:
    torch.manual_seed(0)
    model = RegionEncoder(5, 3, normalise=normalise, dropout=0.5).eval()
    features = torch.randn(*shape, 5)
    got = model(features)
    assert got.shape == (*shape, 3)
    for b in range(shape[0]):
        for n in range(shape[1]):
            expected = model.project.weight @ features[b, n] + model.project.bias
            if normalise:
                expected = expected / expected.square().sum().sqrt()
            torch.testing.assert_close(got[b, n], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", ["relu", "gru"])
@pytest.mark.parametrize("normalise", [False, True], ids=["as printed", "normalised"])
def test_gradients_are_finite_and_padding_learns_nothing(
    cell: Literal["relu", "gru"], normalise: bool
) -> None:
    model = encoder(cell, normalise)
    words, mask = sentences([3, 0, 5])
    model(words, mask).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    assert model.embed.weight.grad is not None and not model.embed.weight.grad[0].any()


@pytest.mark.parametrize("lengths", LENGTHS)
@torch.no_grad()
def test_last_state(lengths: list[int]) -> None:
    """Row t is what a sentence that ends there would be."""
    torch.manual_seed(2)
    model = GRUSentenceEncoder(vocabulary=11, word_size=5, size=6, dropout=0.5).eval()
    cell = nn.GRUCell(5, 6)
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        getattr(cell, name).data = getattr(model.recurrent, f"{name}_l0").data
    for spare in (0, 3):
        words, mask = sentences(lengths, spare)
        got = model(words, mask)
        assert got.shape == (*words.shape, 6) and not got[~mask].any()
        for row, length in enumerate(lengths):
            state = torch.zeros(6)
            for t in range(length):
                state = cell(model.embed.weight[words[row, t]][None], state[None])[0]
                torch.testing.assert_close(
                    got[row, t],
                    state / state.square().sum().sqrt(),
                    rtol=1e-4,
                    atol=1e-5,
                )


@torch.no_grad()
def test_last_state_of_no_sentences() -> None:
    model = GRUSentenceEncoder(vocabulary=11, word_size=5, size=6)
    assert model(
        torch.zeros(0, 3, dtype=torch.int64), torch.zeros(0, 3, dtype=torch.bool)
    ).shape == (0, 3, 6)
