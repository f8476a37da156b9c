"""Word vectors: where a run takes them from, and how to make a file of them from sentences.

They are made by counting, not by a network: how much more often two words stand near each other
than chance has it (positive pointwise mutual information, the context's counts to the power 0.75),
and the best D-dimensional picture of that table by its singular vectors, ``U sqrt(S)`` (Levy,
Goldberg & Dagan 2015). The result depends on nothing random but the start of the decomposition,
which is fixed, and takes seconds for 100,000 sentences.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from regiontalk.datasets.entities import plain_sentence
from regiontalk.records import FloatArray
from regiontalk.text.vocabulary import UNKNOWN, Vocabulary
from regiontalk.train.loop import Log
from regiontalk.train.vector_files import (
    fill_embedding,
    read_word_vectors,
    wanted_words,
)

Use = Literal["random", "trained", "fixed"]
WINDOW = 5  # words on each side that count as near; the nearest counts most


class VectorsConfig(BaseModel):
    """What the word vectors of each part begin with; the file is named on the command line."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    aligner: Use = Field(
        "random", description="random, or a file's, trained further or fixed"
    )
    generator: Use = Field("random", description="the same for the generator")


def read_text(path: Path) -> Iterator[str]:
    """Sentences, one a line.

    Gzipped or not, with Entities brackets or a ``photo.jpg#0<tab>`` in front or
    without.

    Raises:
        ValueError: the file is not text or a damaged gzip file.
        OSError: it cannot be opened.
    """
    with path.open("rb") as plain:
        zipped = plain.read(2) == b"\x1f\x8b"
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8")
            if zipped
            else path.open(encoding="utf-8") as lines
        ):
            for line in lines:
                yield plain_sentence(line.rpartition("\t")[2])
    except (UnicodeDecodeError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(
            f"{path}: expected sentences, one a line, as text or gzipped text ({error})"
        ) from error


def make_vectors(
    sentences: Sequence[str], size: int, min_count: int = 5
) -> tuple[list[str], FloatArray]:
    """Vectors of the words that occur at least ``min_count`` times.

    Args:
        sentences: as people wrote them.
        size: D.
        min_count: rarer words are passed over.

    Returns:
        V words, most frequent first, and their vectors (V, D), of standard deviation 1 like the
        first weights of an embedding.

    Raises:
        ValueError: fewer words than dimensions.
    """
    vocabulary = Vocabulary.build(sentences, min_count)
    words = wanted_words(vocabulary)
    if len(words) < size:
        raise ValueError(
            f"sentences: expected at least {size} words seen {min_count} times for "
            f"vectors of {size} numbers, got {len(words)}; give more sentences or a "
            "smaller --size"
        )
    table = association(
        neighbours(
            [vocabulary.encode(sentence) for sentence in sentences], len(vocabulary)
        )
    )
    torch.manual_seed(0)
    left, strength, _ = torch.svd_lowrank(table, q=size, niter=2)
    vectors = (left * strength.sqrt())[len(vocabulary) - len(words) :]
    return words, (vectors / vectors.std()).numpy()


def neighbours(
    sentences: Sequence[Sequence[int]], count: int, window: int = WINDOW
) -> Tensor:
    """How often words stand near each other: a sparse symmetric table (count, count).

    A distance of k counts 1 / k. Words that are not known take their place but are
    nobody's neighbours.
    """
    lengths = [len(sentence) for sentence in sentences]
    words = np.fromiter(chain.from_iterable(sentences), dtype=np.int64)
    sentence_of = np.repeat(np.arange(len(sentences)), lengths)
    pairs: list[NDArray[np.int64]] = []
    weights: list[NDArray[np.float64]] = []
    for distance in range(1, window + 1):
        pairs_here = _pairs_at(distance, words, sentence_of)
        pairs += [pairs_here, pairs_here[::-1]]
        weights.append(np.full(2 * pairs_here.shape[1], 1 / distance))
    cells = torch.from_numpy(np.concatenate(pairs, 1))
    values = torch.from_numpy(np.concatenate(weights))
    return _sparse(cells, values.float(), count)


def _pairs_at(
    distance: int, words: NDArray[np.int64], sentence_of: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The pairs (2, P) of known words of one sentence that stand so many words apart."""
    first, second = words[:-distance], words[distance:]
    is_same_sentence = sentence_of[:-distance] == sentence_of[distance:]
    is_known = (first != UNKNOWN) & (second != UNKNOWN)
    is_pair = is_same_sentence & is_known
    return np.stack([first[is_pair], second[is_pair]])


def association(counts: Tensor) -> Tensor:
    """Positive pointwise mutual information of a sparse table (V, V) of counts.

    That is log(p(a, b) / (p(a) p'(b))), or 0.
    """
    total = counts.sum(1).to_dense()
    smoothed = total**0.75
    (row, column), values = counts.indices(), counts.values()
    chance = total[row] * smoothed[column] / smoothed.sum()
    return _sparse(counts.indices(), (values / chance).log().clamp(min=0), len(counts))


def _sparse(cells: Tensor, values: Tensor, count: int) -> Tensor:
    """A table (count, count) of values at cells (2, P); those of the same cell are added."""
    table = torch.sparse_coo_tensor(
        cells, values, (count, count), check_invariants=True
    )
    return table.coalesce()


def begin_with_vectors(
    parts: Sequence[tuple[str, nn.Embedding, Use]],
    vocabulary: Vocabulary,
    path: Path | None,
    log: Log,
) -> str:
    """Fill the embeddings that a recipe wants from a file, and fix those that it wants fixed.

    Args:
        parts: name, embedding and use of each part.
        vocabulary: of the model.
        path: the file of word vectors.
        log: takes the report of the words found and missing.

    Returns:
        A hash of the vectors that were taken; "" where nobody wants a file.

    Raises:
        ValueError: vectors are wanted and no file is named, or the other way round, or the file
            does not fit.
    """
    users = [
        (name, embedding, use) for name, embedding, use in parts if use != "random"
    ]
    if path is None and users:
        name, _, use = users[0]
        raise ValueError(
            f"vectors.{name} = {use} and no file cannot meet; give one with --vectors FILE "
            "(regiontalk train vectors TEXT --data DIR --out FILE makes one of any sentences)"
        )
    if path is not None and not users:
        raise ValueError(
            "--vectors and a recipe whose vectors are all random cannot meet; set "
            "vectors.aligner = fixed"
        )
    digest = hashlib.sha256()
    for name, embedding, use in users:
        try:
            word_vectors = read_word_vectors(
                Path(str(path)), wanted_words(vocabulary), embedding.embedding_dim
            )
        except ValueError as error:
            raise ValueError(
                f"{name}.word_size = {embedding.embedding_dim}: {error}"
            ) from error
        fill_embedding(embedding, vocabulary, word_vectors)
        embedding.weight.requires_grad_(use == "trained")
        log(f"word vectors of the {name}, {use}: {word_vectors.report()}")
        digest.update(embedding.weight.detach().numpy().tobytes())
    return digest.hexdigest() if users else ""
