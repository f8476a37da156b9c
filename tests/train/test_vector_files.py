"""Word-vector files in every form, and what is wrong with bad ones."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from regiontalk.text.vocabulary import Vocabulary
from regiontalk.train.vector_files import (
    WordVectors,
    fill_embedding,
    read_word_vectors,
    write_word_vectors,
)

ROWS = {
    "the": [0.5, -1.0, 2.0],
    "T-shirt": [1.0, 0.0, 0.25],
    "dog": [3.0, 4.0, 5.0],
    "Dog": [9.0, 9.0, 9.0],
}
TEXT = "".join(f"{word} {' '.join(map(str, row))}\n" for word, row in ROWS.items())
BINARY = b"4 3\n" + b"".join(
    word.encode() + b" " + struct.pack("<3f", *row) + b"\n"
    for word, row in ROWS.items()
)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("v.txt", TEXT, id="GloVe"),
        pytest.param("v.vec", f"4 3\n{TEXT}", id="word2vec text"),
        pytest.param(
            "v.txt",
            TEXT.replace(" ", "\t").replace("\n", " \r\n"),
            id="tabs, blanks at the end, CRLF",
        ),
        pytest.param(
            "v.txt", f". . . 7 7 7\n\n{TEXT}", id="a word with blanks, an empty line"
        ),
        pytest.param("v.txt.gz", gzip.compress(TEXT.encode()), id="gzip"),
        pytest.param(
            "v.txt", gzip.compress(TEXT.encode()), id="gzip under a plain name"
        ),
        pytest.param("v.bin", BINARY, id="binary"),
        pytest.param(
            "v.bin",
            BINARY.replace(b"\nT", b"T").replace(b"\ndog", b"dog"),
            id="binary without line ends",
        ),
        pytest.param("v.bin.gz", gzip.compress(BINARY), id="binary, gzip"),
    ],
)
def test_every_form(tmp_path: Path, name: str, content: str | bytes) -> None:
    (tmp_path / name).write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )
    found = read_word_vectors(tmp_path / name, ["dog", "surfer", "the", "tshirt"], 3)
    assert {word: vector.tolist() for word, vector in found.vectors.items()} == {
        "the": ROWS["the"],
        "tshirt": ROWS["T-shirt"],
        "dog": ROWS["dog"],  # itself, not "Dog"
    }
    assert (
        found.missing == ("surfer",)
        and found.report() == "3 of 4 words found; missing: surfer"
    )


def test_words_that_are_unicode_blanks(tmp_path: Path) -> None:
    """glove.840B.300d and glove.twitter.27B have such lines: only spaces and tabs separate."""
    odd = "".join(
        f"{word} 7 7 7\n" for word in ("\u0085", "\u00a0", "\u2028", "a\u00a0b", "\x1c")
    )
    (tmp_path / "v.txt").write_bytes(f"{odd}{TEXT}".encode())
    assert (
        read_word_vectors(tmp_path / "v.txt", ["dog"], 3).vectors["dog"].tolist()
        == ROWS["dog"]
    )


def test_report_is_short() -> None:
    found = WordVectors({}, tuple(f"w{number}" for number in range(12)))
    assert found.report().endswith("w8, w9 and 2 more")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param(
            "v.txt",
            f"{TEXT}cat 1 2\n",
            "line 5: expected 3 numbers after 'cat', got 2",
            id="too few",
        ),
        pytest.param(
            "v.txt",
            f"{TEXT}cat 1 2 3 4\n",
            "line 5: expected 3 numbers after 'cat', got 4",
            id="too many",
        ),
        pytest.param(
            "v.txt",
            "the 1 2 x\n",
            "line 1: expected 3 numbers after 'the'",
            id="no number",
        ),
        pytest.param(
            "v.txt",
            "the 1 2 nan\n",
            "line 1: expected 3 finite numbers for 'the'",
            id="not finite",
        ),
        pytest.param(
            "v.txt",
            "the 1 2\ndog 3 4\n",
            "line 1: .*got 2; set word_size = 2",
            id="another dimension",
        ),
        pytest.param(
            "v.txt",
            "2 50\n",
            "line 1: expected vectors of 3 numbers, got 50",
            id="another, in the heading",
        ),
        pytest.param(
            "v.txt",
            "cat 1 2 3\n",
            "expected vectors of some of the 2 words, found none",
            id="other words",
        ),
        pytest.param("v.txt", "", "found none", id="empty"),
        pytest.param(
            "v.txt", gzip.compress(TEXT.encode())[:40], "v.txt: ", id="half a gzip"
        ),
        pytest.param(
            "v.bin",
            BINARY[:50],
            "word 3: expected 4 words of 3 numbers, the file ends here",
            id="cut short",
        ),
        pytest.param(
            "v.bin", TEXT, "line 1: expected COUNT and DIMENSION", id="text as binary"
        ),
        pytest.param(
            "v.bin",
            b"4 5\n",
            "line 1: expected vectors of 3 numbers, got 5",
            id="binary, another dimension",
        ),
    ],
)
def test_bad_files(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )
    with pytest.raises(ValueError, match=message):
        read_word_vectors(tmp_path / name, ["the", "dog"], 3)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected a file of word vectors"):
        read_word_vectors(tmp_path / "v.txt", ["the"], 3)


def test_fill_embedding(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text(TEXT)
    vocabulary = Vocabulary(["dog", "surfer", "the"])
    torch.manual_seed(0)
    embedding = nn.Embedding(len(vocabulary), 3, padding_idx=0)
    before = embedding.weight.detach().clone()
    fill_embedding(
        embedding, vocabulary, read_word_vectors(tmp_path / "v.txt", ["dog", "the"], 3)
    )
    rows = embedding.weight.detach()
    assert (
        rows[4].tolist() == ROWS["dog"]
        and rows[6].tolist() == ROWS["the"]
        and not rows[0].any()
    )
    scale = float(np.std([ROWS["dog"], ROWS["the"]]))
    torch.testing.assert_close(rows[[1, 2, 3, 5]], before[[1, 2, 3, 5]] * scale)


@pytest.mark.parametrize("name", ["v.txt", "v.txt.gz"])
def test_written_files_are_read(tmp_path: Path, name: str) -> None:
    vectors = np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32)
    write_word_vectors(tmp_path / name, ["dog", "été"], vectors)
    found = read_word_vectors(tmp_path / name, ["dog", "été"], 5).vectors
    np.testing.assert_allclose([found["dog"], found["été"]], vectors, rtol=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == [name]
