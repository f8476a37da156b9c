"""Writing in bfloat16: what the generator says, on as many rows as asked for."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from regiontalk.generate.half_precision import HalfGenerator, filled_rows, for_writing
from regiontalk.generate.model import Generator, GeneratorConfig
from regiontalk.text.vocabulary import Vocabulary

ATTENDS = {"attention": 4, "look": "after"}


def generator(**settings: Any) -> Generator:
    torch.manual_seed(0)
    vocabulary = Vocabulary(["a", "dog", "runs", "grass"], [8, 4, 2, 2])
    config = GeneratorConfig(hidden=6, word_size=5, cell="lstm", **settings)
    return Generator(features=3, annotation=4, vocabulary=vocabulary, config=config).eval()


@pytest.mark.parametrize("native", [True, False])
def test_only_where_it_is_native(monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    model = generator()
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native, raising=False)
    assert isinstance(for_writing(model), HalfGenerator) == native
    assert model.output.weight.dtype == torch.float32
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported")
    assert for_writing(model) is model


@pytest.mark.parametrize("rows", [1, 4, 50])
@pytest.mark.parametrize(
    ("settings", "masked"),
    [({}, False), (ATTENDS, False), (ATTENDS, True)],
    ids=["blind", "attends", "masked"],
)
@torch.no_grad()
def test_the_same_words(settings: dict[str, Any], masked: bool, rows: int) -> None:
    model, chance = generator(**settings), torch.Generator().manual_seed(rows)
    condition, words = (
        torch.randn(rows, 3, generator=chance),
        torch.randint(4, 8, (3, rows), generator=chance),
    )
    annotations = torch.randn(rows, 3, 4, generator=chance) if settings else None
    mask = torch.tensor([[True, True, False]]).expand(rows, 3) if masked else None
    given = (condition, annotations, mask)
    (step, state), (fast, fast_state) = (
        one.search_step(*given) for one in (model, HalfGenerator(model))
    )
    for word in words:
        expected, state = step(word, state)
        found, fast_state = fast(word, fast_state)
        assert found.dtype == torch.float32 and found.shape == (rows, 8)
        torch.testing.assert_close(found, expected, atol=0.05, rtol=0.05)


def test_few_numbers_of_rows() -> None:
    numbers = {filled_rows(rows) for rows in range(1, 769)}
    assert len(numbers) < 32 and all(filled_rows(rows) >= rows for rows in range(1, 769))
