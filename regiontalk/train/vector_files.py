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
from typing import IO, BinaryIO, cast

import numpy as np
import torch
from torch import nn

from regiontalk.files import atomic_write
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
        asked_count = len(self.vectors) + len(self.missing)
        line = f"{len(self.vectors)} of {asked_count} words found"
        if not self.missing:
            return line
        line += f"; missing: {', '.join(self.missing[:NAMED])}"
        unnamed_count = len(self.missing) - NAMED
        return f"{line} and {unnamed_count} more" if unnamed_count > 0 else line


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
    try:
        with path.open("rb") as file:
            vectors = _read_wanted(file, path.name, frozenset(words), size)
    except (ValueError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: {error}") from error
    if not vectors:
        raise ValueError(
            f"{path}: expected vectors of some of the {len(set(words))} words, found none of them"
        )
    missing = [word for word in dict.fromkeys(words) if word not in vectors]
    return WordVectors(vectors, tuple(missing))


def _read_wanted(
    file: BinaryIO, name: str, wanted: frozenset[str], size: int
) -> dict[str, FloatArray]:
    """The vectors (D,) of the wanted words that an open file knows; ``name`` tells its form."""
    is_zipped = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    content = cast(BinaryIO, gzip.GzipFile(fileobj=file)) if is_zipped else file
    is_binary = name.removesuffix(".gz").endswith(".bin")
    read_rows = _binary_rows if is_binary else _text_rows

    def is_wanted(word: str) -> bool:
        return _wanted_word(word, wanted) is not None

    exact: dict[str, FloatArray] = {}
    alike: dict[str, FloatArray] = {}
    for where, word, vector in read_rows(content, size, is_wanted):
        if vector.shape != (size,) or not np.isfinite(vector).all():
            raise ValueError(f"{where}: expected {size} finite numbers for {word!r}")
        vectors = exact if word in wanted else alike
        vectors.setdefault(str(_wanted_word(word, wanted)), vector)
    return alike | exact


def _wanted_word(word: str, wanted: frozenset[str]) -> str | None:
    """The wanted word that a word of the file stands for."""
    if word in wanted:
        return word
    tokens = tokenize(word)
    if len(tokens) == 1 and tokens[0] in wanted:
        return tokens[0]
    return None


def _text_rows(
    file: BinaryIO, size: int, is_wanted: Callable[[str], bool]
) -> Iterator[Row]:
    """The wanted rows of a text file; every line is checked for its count of numbers."""
    for number, raw in enumerate(file, start=1):
        fields = _fields(raw)
        if (
            number == 1
            and len(fields) == 2
            and all(field.isdecimal() for field in fields)
        ):
            _check_size(int(fields[1]), size, "line 1")
            continue
        if not fields:
            continue
        word = _word_of(fields, size, number)
        if not is_wanted(word):
            continue
        try:
            vector = np.array(fields[-size:], dtype=np.float32)
        except ValueError as error:
            raise ValueError(
                f"line {number}: expected {size} numbers after {word[:20]!r} ({error})"
            ) from error
        yield f"line {number}", word, vector


def _word_of(fields: Sequence[str], size: int, number: int) -> str:
    """The word of line ``number``, whose other fields are as many as a vector has numbers."""
    word, count = fields[0], len(fields) - 1
    if count > size and not any(map(_is_number, fields[1:-size])):
        # ". . ." is one word of the larger GloVe files
        word, count = " ".join(fields[:-size]), size
    if count != size:
        hint = f"; set word_size = {count} or give another file" if number == 1 else ""
        raise ValueError(
            f"line {number}: expected {size} numbers after {word[:20]!r}, got {count}{hint}"
        )
    return word


def _fields(raw: bytes) -> list[str]:
    """The fields of a line, which spaces and tabs separate.

    No other blank does: the usual GloVe files have words that are Unicode blanks, such as U+0085
    and U+00A0.
    """
    line = raw.decode("utf-8", errors="replace").rstrip("\r\n")
    fields = line.replace("\t", " ").split(" ")
    return [field for field in fields if field]


def _binary_rows(
    file: BinaryIO, size: int, is_wanted: Callable[[str], bool]
) -> Iterator[Row]:
    """The wanted rows of word2vec's binary form."""
    count = _read_header(file, size)
    buffer, start = b"", 0
    for number in range(1, count + 1):
        while (blank := buffer.find(b" ", start)) < 0 or len(
            buffer
        ) < blank + 1 + 4 * size:
            chunk = file.read(_CHUNK)
            if not chunk:
                raise ValueError(
                    f"word {number}: expected {count} words of {size} numbers, the file ends here"
                )
            buffer, start = buffer[start:] + chunk, 0
        word = buffer[start:blank].lstrip(b"\n").decode("utf-8", errors="replace")
        if is_wanted(word):
            vector = np.frombuffer(
                buffer, dtype="<f4", count=size, offset=blank + 1
            ).copy()
            yield f"word {number}", word, vector
        start = blank + 1 + 4 * size


def _read_header(file: BinaryIO, size: int) -> int:
    """How many words a binary file has, by its first line."""
    header = file.readline(100).split()
    if len(header) != 2 or not all(field.isdigit() for field in header):
        raise ValueError(
            f"line 1: expected COUNT and DIMENSION of a binary file, got {header[:3]}"
        )
    count, dimension = map(int, header)
    _check_size(dimension, size, "line 1")
    return count


def _check_size(dimension: int, size: int, where: str) -> None:
    """Refuse a file whose first line tells another dimension."""
    if dimension != size:
        raise ValueError(
            f"{where}: expected vectors of {size} numbers, got {dimension}; set "
            f"word_size = {dimension}"
        )


def _is_number(text: str) -> bool:
    """Whether Python reads it as a float."""
    try:
        float(text)
    except ValueError:
        return False
    return True


@torch.no_grad()
def fill_embedding(
    embedding: nn.Embedding, vocabulary: Vocabulary, word_vectors: WordVectors
) -> None:
    """Put the vectors in the rows of their words.

    Other rows keep their random direction, at the vectors' own scale.
    """
    vectors = word_vectors.vectors
    scale = np.std(np.stack(list(vectors.values())))
    embedding.weight.mul_(float(scale))
    for token_id, word in enumerate(vocabulary.words):
        if word in vectors:
            embedding.weight[token_id] = torch.from_numpy(vectors[word])


def write_word_vectors(path: Path, words: Sequence[str], vectors: FloatArray) -> None:
    """Write V words and their vectors (V, D) as text in GloVe's form.

    Gzipped where the name ends in ``.gz``.
    """

    def write_rows(file: IO[bytes]) -> None:
        for word, vector in zip(words, vectors, strict=True):
            numbers = " ".join(f"{value:.5g}" for value in vector)
            file.write(f"{word} {numbers}\n".encode())

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            if path.suffix == ".gz":
                with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as zipped:
                    write_rows(cast(IO[bytes], zipped))
            else:
                write_rows(file)

    atomic_write(path, write)


def wanted_words(vocabulary: Vocabulary) -> list[str]:
    """The words of a vocabulary that a file can know.

    All but the special four, most frequent first.
    """
    return vocabulary.words[len(SPECIAL) :]
