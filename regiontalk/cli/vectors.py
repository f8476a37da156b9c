"""``regiontalk train vectors``: a file of word vectors from sentences."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import typer


def write_vectors(
    texts: Sequence[Path], data: Sequence[Path], out: Path, size: int
) -> None:
    """Make vectors of ``size`` numbers from texts.

    And from the training sentences of data folders where some are named.

    Raises:
        ValueError: the output is no text file's name, or there are too few words.
        OSError: a file cannot be read or written.
    """
    if not out.name.removesuffix(".gz").endswith((".txt", ".vec")):
        raise ValueError(
            f"--out: expected a file .txt or .txt.gz for word vectors, got {str(out)!r}"
        )
    from regiontalk.datasets.splits import read_split
    from regiontalk.train.vector_files import write_word_vectors
    from regiontalk.train.word_vectors import make_vectors, read_text

    sentences = list(chain.from_iterable(map(read_text, texts)))
    for folder in data:
        examples, _ = read_split(folder, "train")
        sentences += [caption for example in examples for caption in example.captions]
    typer.echo(f"counting the words of {len(sentences)} sentences", err=True)
    words, vectors = make_vectors(sentences, size)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_word_vectors(out, words, vectors)
    typer.echo(f"{len(words)} words of {size} numbers", err=True)
    typer.echo(out)
