"""Word-vector files: GloVe's and word2vec's text, word2vec's binary form, any of them gzipped.

Text has a word and D numbers a line, separated by spaces or tabs, perhaps after a first line
``COUNT D``. Binary (``.bin``) has that first line, then for each word its name, a blank and D
little-endian float32. A file is read once, and only the vectors of wanted words are kept: the usual
files have millions.

A word of the file stands for a wanted word that it equals, or else that the token rule makes of it
("T-shirt" for "tshirt"); the first of several such words is taken.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import torch
from torch import nn

from regiontalk.files import write_whole
from regiontalk.records import FloatArray
from regiontalk.text.vocabulary import SPECIAL, Vocabulary, tokenize

NAMED = 10  # missing words that a report names
_CHUNK = 1 << 20  # bytes of a binary file in memory at once

Row = tuple[str, str, FloatArray]  # where it stands, the word, its vector


@dataclass(frozen=True)
class WordVectors:
    """What a file knows of the words that were asked for.

    Attributes:
        vectors: word -> (D,) float32.
        missing: the words that the file does not have, in the order in which they were asked for.
    """

    vectors: dict[str, FloatArray]
    missing: tuple[str, ...]

    def report(self) -> str:
        """One line: how many words were found, and which were not.

        >>> WordVectors({"dog": np.zeros(2, np.float32)}, ("surfer",)).report()
        '1 of 2 words found; missing: surfer'
        """
        line = f"{len(self.vectors)} of {len(self.vectors) + len(self.missing)} words found"
        if not self.missing:
            return line
        more = len(self.missing) - NAMED
        return f"{line}; missing: {', '.join(self.missing[:NAMED])}" + (
            f" and {more} more" if more > 0 else ""
        )


def read_word_vectors(path: Path, words: Sequence[str], size: int) -> WordVectors:
    """The vectors of the wanted words.

    Args:
        path: ``.bin`` or ``.bin.gz`` is binary, anything else text.
        words: the most important first: the report names the first that are missing.
        size: D, the length that every vector must have.

    Raises:
        ValueError: vectors of another dimension, a line with another count of numbers or with
            something that is no number (its line is named), a file that ends early, or one that
            knows none of the words.
        FileNotFoundError: no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: expected a file of word vectors (.txt or .bin, perhaps .gz); no such file"
        )
    wanted = frozenset(words)
    exact: dict[str, FloatArray] = {}
    alike: dict[str, FloatArray] = {}

    def named(word: str) -> str | None:
        """The wanted word that a word of the file stands for."""
        tokens = [word] if word in wanted else tokenize(word)
        return tokens[0] if len(tokens) == 1 and tokens[0] in wanted else None

    rows = _binary_rows if path.name.removesuffix(".gz").endswith(".bin") else _text_rows
    try:
        with path.open("rb") as plain:
            zipped = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            file = cast(BinaryIO, gzip.GzipFile(fileobj=plain)) if zipped else plain
            for where, word, vector in rows(file, size, lambda word: named(word) is not None):
                if vector.shape != (size,) or not np.isfinite(vector).all():
                    raise ValueError(f"{where}: expected {size} finite numbers for {word!r}")
                (exact if word in wanted else alike).setdefault(str(named(word)), vector)
    except (ValueError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: {error}") from error
    found = alike | exact
    if not found:
        raise ValueError(
            f"{path}: expected vectors of some of the {len(wanted)} words, found none of them"
        )
    return WordVectors(found, tuple(word for word in dict.fromkeys(words) if word not in found))


def _text_rows(file: BinaryIO, size: int, keep: Callable[[str], bool]) -> Iterator[Row]:
    """The kept rows of a text file; every line is checked for its count of numbers."""
    for number, raw in enumerate(file, start=1):
        # only these two separate: the usual GloVe files have words that are Unicode blanks, such as
        # U+0085 and U+00A0
        line = raw.decode("utf-8", errors="replace").rstrip("\r\n").replace("\t", " ")
        fields = [field for field in line.split(" ") if field]
        if number == 1 and len(fields) == 2 and all(field.isdecimal() for field in fields):
            _check_size(int(fields[1]), size, "line 1")
            continue
        if not fields:
            continue
        word, count = fields[0], len(fields) - 1
        if count > size and not any(map(_is_number, fields[1:-size])):
            word, count = (
                " ".join(fields[:-size]),
                size,
            )  # ". . ." is one word of the larger GloVe files
        if count != size:
            hint = f"; set word_size = {count} or give another file" if number == 1 else ""
            raise ValueError(
                f"line {number}: expected {size} numbers after {word[:20]!r}, got {count}{hint}"
            )
        if keep(word):
            try:
                yield f"line {number}", word, np.array(fields[-size:], dtype=np.float32)
            except ValueError as error:
                raise ValueError(
                    f"line {number}: expected {size} numbers after {word[:20]!r} ({error})"
                ) from error


def _binary_rows(file: BinaryIO, size: int, keep: Callable[[str], bool]) -> Iterator[Row]:
    """The kept rows of word2vec's binary form."""
    header = file.readline(100).split()
    if len(header) != 2 or not all(part.isdigit() for part in header):
        raise ValueError(f"line 1: expected COUNT and DIMENSION of a binary file, got {header[:3]}")
    _check_size(int(header[1]), size, "line 1")
    held, start = b"", 0
    for number in range(1, int(header[0]) + 1):
        while (end := held.find(b" ", start)) < 0 or len(held) < end + 1 + 4 * size:
            fresh = file.read(_CHUNK)
            if not fresh:
                raise ValueError(
                    f"word {number}: expected {int(header[0])} words of {size} numbers, the file ends here"
                )
            held, start = held[start:] + fresh, 0
        word = held[start:end].lstrip(b"\n").decode("utf-8", errors="replace")
        start = end + 1 + 4 * size
        if keep(word):
            yield (
                f"word {number}",
                word,
                np.frombuffer(held, dtype="<f4", count=size, offset=end + 1).copy(),
            )


def _check_size(found: int, size: int, where: str) -> None:
    """Refuse a file whose first line tells another dimension."""
    if found != size:
        raise ValueError(
            f"{where}: expected vectors of {size} numbers, got {found}; set word_size = {found}"
        )


def _is_number(text: str) -> bool:
    """Whether Python reads it as a float."""
    try:
        float(text)
    except ValueError:
        return False
    return True


@torch.no_grad()
def fill_embedding(embedding: nn.Embedding, vocabulary: Vocabulary, found: WordVectors) -> None:
    """Put the vectors in the rows of their words; other rows keep their random direction, at the vectors' own scale."""
    embedding.weight.mul_(float(np.std(np.stack(list(found.vectors.values())))))
    for number, word in enumerate(vocabulary.words):
        if word in found.vectors:
            embedding.weight[number] = torch.from_numpy(found.vectors[word])


def write_word_vectors(path: Path, words: Sequence[str], vectors: FloatArray) -> None:
    """Write V words and their vectors (V, D) as text in GloVe's form, gzipped where the name ends in ``.gz``."""

    def write(fresh: Path) -> None:
        with fresh.open("wb") as plain:
            file = (
                gzip.GzipFile("", "wb", fileobj=plain, mtime=0) if path.suffix == ".gz" else plain
            )
            for word, vector in zip(words, vectors, strict=True):
                numbers = " ".join(f"{value:.5g}" for value in vector)
                file.write(f"{word} {numbers}\n".encode())
            if file is not plain:
                file.close()

    write_whole(path, write)


def wanted_words(vocabulary: Vocabulary) -> list[str]:
    """The words of a vocabulary that a file can know: all but the special four, most frequent first."""
    return vocabulary.words[len(SPECIAL) :]
