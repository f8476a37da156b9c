"""Scheduled sampling and self-critical training.

What is replaced, what is rewarded, and that it teaches.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from regiontalk.generate.config import GeneratorConfig
from regiontalk.generate.model import Generator
from regiontalk.metrics.cider import cider_d
from regiontalk.runtime.search import greedy
from regiontalk.runtime.torch_engine import search_step
from regiontalk.text.vocabulary import END, PAD, START, Vocabulary
from regiontalk.train.self_critical import (
    CiderReward,
    self_critical_loss,
    with_own_words,
)

VOCABULARY = Vocabulary(["a", "dog", "runs", "cat", "sits"], [8, 4, 2, 2, 2])


@pytest.fixture
def generator() -> Generator:
    torch.manual_seed(0)
    config = GeneratorConfig(
        cell="gru", hidden=8, word_size=6, attention=4, dropout=0.5
    )
    return Generator(features=3, annotation=4, vocabulary=VOCABULARY, config=config)


def given(rows: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(rows, 3), torch.randn(rows, 2, 4)


def test_own_words_stand_where_people_wrote_words(generator: Generator) -> None:
    words = torch.tensor([[START, 4, 5, 6], [START, 4, PAD, PAD]]).repeat(50, 1)
    condition, annotations = given(100)
    assert torch.equal(
        with_own_words(generator, condition, annotations, words, 0.0), words
    )
    torch.manual_seed(2)
    mixed = with_own_words(generator, condition, annotations, words, 1.0)
    assert torch.equal(mixed[:, 0], words[:, 0]) and torch.equal(
        mixed == PAD, words == PAD
    )
    assert mixed[:, 1:][words[:, 1:] != PAD].min() >= 4, (
        "START, END and unknown words are never read as one's own"
    )
    torch.manual_seed(3)
    half = with_own_words(generator, condition, annotations, words, 0.5) != words
    assert 0.1 < half[words > 3].float().mean() < 0.6


def test_own_words_are_drawn_from_the_model(generator: Generator) -> None:
    """The share of each second word, against the model's own probabilities."""
    condition, annotations = (
        part[:1].expand(4000, *part.shape[1:]) for part in given(1)
    )
    words = torch.tensor([[START, 4, 4]]).expand(4000, -1)
    torch.manual_seed(4)
    mixed = with_own_words(generator.eval(), condition, annotations, words, 1.0)
    logits, _ = generator(condition[:1], annotations[:1], torch.tensor([[START]]))
    expected = logits[0, 0, 4:].softmax(0)
    found = torch.bincount(mixed[:, 1], minlength=9)[4:] / 4000
    torch.testing.assert_close(found, expected, atol=0.03, rtol=0)


def test_the_reward_is_cider_with_end_as_a_word() -> None:
    sentences = [[[4, 5, 6], [5, 6]], [[4, 7, 8]], []]
    reward = CiderReward(sentences, VOCABULARY)
    captions = [(4, 5, 6), (4, 7)]
    words = [
        ["a dog runs <end>".split(), "dog runs <end>".split()],
        ["a cat sits <end>".split()],
    ]
    expected = cider_d(["a dog runs <end>".split(), "a cat <end>".split()], words)
    assert reward([0, 1], captions).tolist() == pytest.approx(
        expected.tolist(), rel=1e-5
    )
    assert reward([1], captions[1:]).tolist() == pytest.approx(
        expected.tolist()[1:], rel=1e-5
    )


def test_it_learns_what_is_rewarded(generator: Generator) -> None:
    condition, annotations = given(2)
    optimiser = torch.optim.Adam(generator.parameters(), lr=0.05)
    wanted = [7, 6]  # the first photo wants cats, the second things that run

    def reward(photos: object, captions: object) -> Tensor:
        pairs = zip(photos, captions, strict=True)  # type: ignore[call-overload]
        return torch.tensor(
            [sum(word == wanted[photo] for word in words) / 3 for photo, words in pairs]
        )

    for step in range(60):
        torch.manual_seed(step)
        generator.train()
        loss = self_critical_loss(
            generator, condition, annotations, [0, 1], reward, draws=8, max_words=3
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert generator.training
    step_, state = search_step(generator.eval(), condition, annotations)
    found = [row[0].words for row in greedy(step_, state, 2, 3)]
    assert found == [(7, 7, 7), (6, 6, 6)]


def test_an_end_that_was_forced_is_nobodys_choice(generator: Generator) -> None:
    """With one word at most, the loss holds the log-probabilities of the first words alone.

    Rewards 3 and 1.
    """
    condition, annotations = given(1)
    torch.manual_seed(5)
    drawn: list[tuple[int, ...]] = []

    def reward(photos: object, captions: list[tuple[int, ...]]) -> Tensor:
        drawn.extend(captions)
        return torch.tensor([3.0, 1.0])

    loss = self_critical_loss(
        generator, condition, annotations, [0], reward, draws=2, max_words=1
    )  # type: ignore[arg-type]
    logits, _ = generator.eval()(condition, annotations, torch.tensor([[START]]))
    first, second = (
        logits[0, 0].log_softmax(0)[words[0] if words else END] for words in drawn
    )
    # each caption against the other: 3 - 1 = 2 and 1 - 3 = -2, over two words
    assert loss.item() == pytest.approx(
        (-(2 * first - 2 * second) / 2).item(), abs=2e-2
    )


def test_one_draw_has_nothing_to_be_compared_with(generator: Generator) -> None:
    condition, annotations = given(1)
    with pytest.raises(ValueError, match="draws: expected 2 or more"):
        self_critical_loss(
            generator,
            condition,
            annotations,
            [0],
            lambda photos, words: condition,
            draws=1,
            max_words=3,
        )
