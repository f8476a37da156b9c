"""The generator: what is trained is what is decoded.

And equations (13) to (15) of [1] word by word.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from regiontalk.generate.config import GeneratorConfig
from regiontalk.generate.model import Generator, caption_loss, vocabulary_log_frequency
from regiontalk.runtime.search import beam
from regiontalk.runtime.torch_engine import search_step
from regiontalk.text.vocabulary import END, PAD, START, Vocabulary

VOCABULARY = Vocabulary(["a", "dog", "runs", "grass"], [8, 4, 2, 2])


def generator(**settings: Any) -> Generator:
    torch.manual_seed(0)
    config = GeneratorConfig(hidden=6, word_size=5, **settings)
    model = Generator(
        features=3, annotation=4, vocabulary=VOCABULARY, config=config
    ).eval()
    with torch.no_grad():
        model.output.weight.mul_(5)
    return model


def given(model: Generator, rows: int) -> tuple[Tensor, Tensor | None, Tensor]:
    """Conditions, annotation vectors where the model attends, and words that begin with START."""
    chance = torch.Generator().manual_seed(rows)
    words = torch.randint(4, 8, (rows, 4), generator=chance)
    words[:, 0] = START
    annotations = (
        torch.randn(rows, 3, 4, generator=chance) if model.config.attention else None
    )
    return torch.randn(rows, 3, generator=chance), annotations, words


@pytest.mark.parametrize("rows", [1, 3])
@torch.no_grad()
def test_paper_equations(rows: int) -> None:
    model = generator(cell="relu")
    condition, _, words = given(model, rows)
    logits, looks = model(condition, None, words)
    assert looks is None and logits.shape == (rows, 4, 8)
    for row in range(rows):
        # eq. 13: b_v
        picture = model.picture.weight @ condition[row] + model.picture.bias
        h = torch.zeros(6)
        for t, word in enumerate(words[row].tolist()):
            x = model.embed.weight[word]
            drive = (
                model.word_drive.weight @ x
                + model.word_drive.bias
                + model.cell.recur.weight @ h
            )
            h = (drive + picture if t == 0 else drive).clamp(min=0)  # eq. 14
            y = model.output.weight @ h + model.output.bias  # eq. 15
            torch.testing.assert_close(logits[row, t], y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "attends",
    [{}, {"attention": 5}, {"attention": 5, "look": "after"}],
    ids=["plain", "before", "after"],
)
@pytest.mark.parametrize("image", ["first", "every", "state"])
@pytest.mark.parametrize("cell", ["relu", "gru", "lstm"])
@torch.no_grad()
def test_steps_are_teacher_forcing(
    cell: str, image: str, attends: dict[str, Any]
) -> None:
    model = generator(cell=cell, image=image, **attends)
    condition, annotations, words = given(model, 3)
    logits, looks = model(condition, annotations, words)
    assert (looks is None) == (not attends) and (
        looks is None or looks.shape == (3, 4, 3)
    )
    state, memory = model.start(condition, annotations)
    for t in range(words.shape[1]):
        log_probabilities, state, look = model.look_step(words[:, t], state, memory)
        assert (look is None) == (not attends)
        torch.testing.assert_close(log_probabilities, logits[:, t].log_softmax(-1))
    # the picture matters, and a row does not depend on its neighbours
    other, _ = model(condition.roll(1, 0), annotations, words)
    alone, _ = model(
        condition[:1], None if annotations is None else annotations[:1], words[:1]
    )
    assert not torch.allclose(other, logits, atol=1e-3)
    torch.testing.assert_close(alone[0], logits[0])


@torch.no_grad()
def test_padding_gets_no_weight() -> None:
    model = generator(cell="gru", attention=5)
    condition, annotations, words = given(model, 2)
    assert annotations is not None
    padded = torch.cat([annotations, torch.full((2, 2, 4), 9.0)], 1)
    mask = torch.tensor([[True] * 3 + [False] * 2] * 2)
    logits, looks = model(condition, padded, words, mask)
    expected, seen = model(condition, annotations, words)
    torch.testing.assert_close(logits, expected)
    assert looks is not None and (looks[..., 3:] == 0).all()
    torch.testing.assert_close(looks[..., :3], seen)
    first, _, _ = model.look_step(words[:, 0], *model.start(condition, padded, mask))
    torch.testing.assert_close(first, expected[:, 0].log_softmax(-1))


@pytest.mark.parametrize("look", ["before", "after"])
@torch.no_grad()
def test_what_a_look_has_read(look: str) -> None:
    """Where the model looks depends on the word that it reads now, or only on those before.

    Never on later ones.
    """
    model = generator(cell="gru", attention=5, look=look)
    condition, annotations, words = given(model, 1)
    _, looks = model(condition, annotations, words)
    others = words.clone()
    others[:, 2] = 4 + (words[:, 2] - 3) % 4
    _, changed = model(condition, annotations, others)
    assert looks is not None and changed is not None
    torch.testing.assert_close(changed[:, :2], looks[:, :2])
    assert torch.equal(changed[:, 2], looks[:, 2]) == (look == "before")


@pytest.mark.parametrize(
    ("name", "value"), [("regions", 1), ("places", True), ("look", "after")]
)
def test_how_attention_looks_needs_attention(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"cannot meet: {name} and attention = 0"):
        GeneratorConfig.model_validate({name: value})


@pytest.mark.parametrize("look", ["before", "after"])
@torch.no_grad()
def test_search_finds_what_the_model_says(look: str) -> None:
    model = generator(cell="lstm", attention=5, look=look)
    condition, annotations, _ = given(model, 3)
    step, state = search_step(model, condition, annotations)
    for row, found in enumerate(beam(step, state, 3, 5, 3)):
        for hypothesis in found:
            words = torch.tensor([[START, *hypothesis.words]])
            targets = [*hypothesis.words, END]
            assert annotations is not None
            logits, _ = model(
                condition[row : row + 1], annotations[row : row + 1], words
            )
            table = logits[0].log_softmax(-1)
            total = sum(float(table[t, word]) for t, word in enumerate(targets))
            assert hypothesis.log_probability == pytest.approx(total, abs=1e-4)


def test_first_bias_by_hand() -> None:
    # counts 8, 4, 2, 2, END as often as the most frequent (8), the three others .01 each: 24.03 in
    # all
    expected = [0.01, 0.01, 8, 0.01, 8, 4, 2, 2]
    shares = vocabulary_log_frequency(VOCABULARY).exp()
    assert shares.tolist() == pytest.approx([count / 24.03 for count in expected])
    assert generator().output.bias.exp().tolist() == pytest.approx(shares.tolist())


@pytest.mark.parametrize(
    "targets", [[[4, 5, END]], [[4, END, PAD], [5, 6, END]]], ids=["full", "padded"]
)
def test_caption_loss(targets: list[list[int]]) -> None:
    logits = torch.randn(len(targets), 3, 8, generator=torch.Generator().manual_seed(0))
    terms = [
        -float(logits[row, t].log_softmax(0)[word])
        for row, sentence in enumerate(targets)
        for t, word in enumerate(sentence)
        if word != PAD
    ]
    assert float(caption_loss(logits, torch.tensor(targets))) == pytest.approx(
        sum(terms) / len(terms), abs=1e-5
    )


def test_attention_without_annotations_is_refused() -> None:
    with pytest.raises(ValueError, match="expected annotation vectors"):
        generator(attention=5).start(torch.zeros(1, 3), None)


@pytest.mark.parametrize("look", ["before", "after"])
def test_texts_of_any_length_are_read_together(look: str) -> None:
    model = generator(cell="lstm", attention=8, look=look).eval()
    condition, annotations, _ = given(model, 2)
    texts = [[START, 4], [START, 5, 6, 4], [START, 4, 5]]
    words, rows = torch.full((3, 5), PAD), torch.tensor([1, 0, 1])
    for text, own in enumerate(texts):
        words[text, : len(own)] = torch.tensor(own)
    logits, looks = model(condition, annotations, words, rows=rows)
    assert annotations is not None and looks is not None
    for text, own in enumerate(texts):
        row = rows[text : text + 1]
        alone, looked = model(condition[row], annotations[row], torch.tensor([own]))
        torch.testing.assert_close(logits[text, : len(own)], alone[0])
        torch.testing.assert_close(looks[text, : len(own)], looked[0])
        assert not logits[text, len(own) :].any() and not looks[text, len(own) :].any()
