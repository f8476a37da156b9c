"""METEOR by its own jar, where Java and an installed pycocoevalcap are present: the judge of `meteor`, and an option.

The jar prints the same 23 numbers a caption, so intervals come from it as well.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from regiontalk.metrics.meteor import SIZE
from regiontalk.metrics.ngrams import IntArray, Tokens, require_pairs

_COMMAND = ("java", "-Xmx2G", "-jar", "meteor-1.5.jar", "-", "-", "-stdio", "-l", "en", "-norm")


def jar_statistics(
    candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]], folder: Path, timeout_s: float = 1800
) -> IntArray:
    """`meteor.meteor_statistics`, asked of the jar.

    Args:
        candidates: C token lists.
        references: C groups of at least one token list.
        folder: the ``meteor`` folder of pycocoevalcap (`meteor_tables.installed_folder`).
        timeout_s: seconds after which Java is ended.

    Returns:
        (C, 23).

    Raises:
        ValueError: the lists do not belong together, Java or the jar is missing, or Java failed.
    """
    require_pairs(candidates, references)
    if shutil.which("java") is None:
        raise ValueError("METEOR's jar: expected java on the path, found none; use meteor_statistics instead")
    if not (folder / _COMMAND[3]).is_file():
        raise ValueError(f"METEOR's jar: expected {folder / _COMMAND[3]}; pip install pycocoevalcap")
    lines = [_line(candidate, group) for candidate, group in zip(candidates, references, strict=True)]
    done = subprocess.run(
        _COMMAND, cwd=folder, input="\n".join(lines) + "\n", capture_output=True, encoding="utf-8", timeout=timeout_s
    )
    answers = done.stdout.split("\n")[: len(lines)]
    rows = [[round(float(value)) for value in answer.split()] for answer in answers]
    if len(rows) != len(lines) or any(len(row) != SIZE for row in rows):
        raise ValueError(f"METEOR's jar: expected {len(lines)} answers, it ended with {done.stderr.strip()[-200:]!r}")
    return np.array(rows, dtype=np.int64).reshape(-1, SIZE)


def _line(candidate: Tokens, group: Sequence[Tokens]) -> str:
    """The jar's question about one caption; its separator is taken out of the text."""
    texts = [" ".join(tokens).replace("|||", " ").replace("\n", " ") for tokens in (*group, candidate)]
    return " ||| ".join(["SCORE", *texts])
