import numpy as np
import pytest
import torch

from regiontalk.datasets.batches import Item, collate, pad_regions, pad_words
from regiontalk.text.vocabulary import PAD


@pytest.mark.parametrize(
    "sentences",
    [
        pytest.param([[5, 6, 7], [8], [9, 4]], id="lengths 3 1 2"),
        pytest.param([[5, 6]], id="a batch of one"),
        pytest.param([[], [4]], id="an empty sentence"),
        pytest.param([[], []], id="only empty sentences"),
        pytest.param([], id="no sentences"),
    ],
)
def test_pad_words_against_loops(sentences: list[list[int]]) -> None:
    words, mask = pad_words(sentences)
    width = max([1] + [len(item) for item in sentences])
    assert words.shape == mask.shape == (len(sentences), width)
    assert (words.dtype, mask.dtype) == (torch.int64, torch.bool)
    for row, sentence in enumerate(sentences):
        for place in range(width):
            assert words[row, place] == (sentence[place] if place < len(sentence) else PAD)
            assert mask[row, place] == (place < len(sentence))


@pytest.mark.parametrize(
    ("counts", "dtype"),
    [
        pytest.param([2, 4, 1], np.float32, id="lengths 2 4 1"),
        pytest.param([3], np.float16, id="a batch of one, half precision"),
        pytest.param([0, 2], np.float64, id="a photo without regions"),
        pytest.param([0], np.float32, id="no regions at all"),
    ],
)
def test_pad_regions_against_loops(counts: list[int], dtype: type) -> None:
    random = np.random.default_rng(0)
    features = [random.normal(size=(count, 3)).astype(dtype) for count in counts]
    padded, mask = pad_regions(features)
    longest = max([1, *counts])
    assert padded.shape == (len(counts), longest, 3)
    assert padded.dtype == torch.float32
    for row, item in enumerate(features):
        for region in range(longest):
            expected = item[region].astype(np.float32) if region < len(item) else np.zeros(3)
            assert padded[row, region].tolist() == expected.tolist()
            assert mask[row, region] == (region < len(item))


def test_collate_by_hand() -> None:
    items = [
        Item(np.ones((2, 2), np.float32), [[4, 5], [6]]),
        Item(torch.full((1, 2), 2.0), []),
        Item(np.full((1, 2), 3.0), [[7, 8, 9]]),
    ]
    batch = collate(items).to("cpu")
    assert batch.regions.tolist() == [[[1, 1], [1, 1]], [[2, 2], [0, 0]], [[3, 3], [0, 0]]]
    assert batch.region_mask.tolist() == [[True, True], [True, False], [True, False]]
    assert batch.words.tolist() == [[4, 5, 0], [6, 0, 0], [7, 8, 9]]
    assert batch.word_mask.sum(1).tolist() == [2, 1, 3]
    assert batch.photo.tolist() == [0, 0, 2], "photo 1 has no sentence"
    assert batch.photo.dtype == torch.int64
    same = batch.photo[:, None] == torch.arange(
        3
    )  # what a loss masks: sentence 1 is no negative of photo 0
    assert same.tolist() == [[True, False, False], [True, False, False], [False, False, True]]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        pytest.param([], "expected at least one photo", id="no items"),
        pytest.param(
            [Item(np.ones((2, 2)), []), Item(np.ones((2, 3)), [])],
            "one F for all",
            id="two lengths",
        ),
        pytest.param([Item(np.ones(2), [])], r"expected \(N, F\)", id="no rows"),
    ],
)
def test_collate_refuses(items: list[Item], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        collate(items)
