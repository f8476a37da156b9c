"""METEOR by its own jar, where Java and an installed pycocoevalcap are present.

The judge of `score`, and an option. The jar prints the same 23 numbers a caption, so
intervals come from it as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from regiontalk.metrics.java import run_java
from regiontalk.metrics.meteor.score import SIZE
from regiontalk.metrics.ngrams import IntArray, Tokens, require_pairs

_JAR = "meteor-1.5.jar"
_JUDGE = "METEOR's jar"


def jar_statistics(
    candidates: Sequence[Tokens],
    references: Sequence[Sequence[Tokens]],
    folder: Path,
    timeout_s: float = 1800,
) -> IntArray:
    """`score.meteor_statistics`, asked of the jar.

    Args:
        candidates: C token lists.
        references: C groups of at least one token list.
        folder: the ``meteor`` folder of pycocoevalcap (`tables.installed_folder`).
        timeout_s: seconds after which Java is ended.

    Returns:
        (C, 23).

    Raises:
        ValueError: the lists do not belong together, Java or the jar is missing, or Java failed.
    """
    require_pairs(candidates, references)
    if not (folder / _JAR).is_file():
        raise ValueError(
            f"{_JUDGE}: expected {folder / _JAR}; pip install pycocoevalcap"
        )
    lines = [
        _line(candidate, group)
        for candidate, group in zip(candidates, references, strict=True)
    ]
    output = run_java(
        ["-jar", _JAR, "-", "-", "-stdio", "-l", "en", "-norm"],
        judge=_JUDGE,
        folder=folder,
        text="\n".join(lines) + "\n",
        timeout_s=timeout_s,
    )
    answers = output.split("\n")[: len(lines)]
    rows: list[list[int]] = []
    for answer in answers:
        try:
            rows.append([round(float(value)) for value in answer.split()])
        except ValueError:  # words, or nan
            break
    if len(rows) != len(lines) or any(len(row) != SIZE for row in rows):
        raise ValueError(
            f"{_JUDGE}: expected {len(lines)} answers of {SIZE} numbers, got {answers[-1:]}"
        )
    return np.array(rows, dtype=np.int64).reshape(-1, SIZE)


def _line(candidate: Tokens, group: Sequence[Tokens]) -> str:
    """The jar's question about one caption; its separator is taken out of the text."""
    texts = [" ".join(tokens) for tokens in (*group, candidate)]
    cleaned = [text.replace("|||", " ").replace("\n", " ") for text in texts]
    return " ||| ".join(["SCORE", *cleaned])
