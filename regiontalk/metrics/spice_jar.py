"""SPICE (Anderson et al., ECCV 2016) by its own jar.

How far a caption and its references name the same things. The jar parses every sentence
into objects, attributes and relations, and a caption's figure is the F-score of its set
against that of its references. Nothing of it is ours: it needs an old Java,
spice-1.0.jar and the libraries that the jar's manifest names, Stanford CoreNLP 3.6.0
and its models among them. Enter: tokens of C captions and their references. Leave: (C,)
F-scores in 0..1, of which SPICE is the mean.
"""

from __future__ import annotations

import json
import math
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontalk.metrics.java import java_version, run_java
from regiontalk.metrics.ngrams import Tokens, require_pairs

MEMORY_GIB = 8  # the most that its published wrapper gives it
TIMEOUT_S = 7200.0  # it parses every reference
# it writes its output with the JavaScript engine, which Java 15 no longer has
_LAST_JAVA = 14
_JUDGE = "SPICE's jar"


def spice_scores(
    candidates: Sequence[Tokens],
    references: Sequence[Sequence[Tokens]],
    jar: Path,
    *,
    memory_gib: int = MEMORY_GIB,
    timeout_s: float = TIMEOUT_S,
) -> NDArray[np.float64]:
    """The F-score over all tuples of each caption.

    An empty caption has no tuples and scores 0; the jar, whose parser expects words, is not asked.

    Args:
        candidates: C token lists.
        references: C groups of at least one token list.
        jar: ``spice-1.0.jar`` with its ``lib`` folder beside it.
        memory_gib: most memory of Java's heap.
        timeout_s: seconds after which Java is ended.

    Returns:
        (C,).

    Raises:
        ValueError: the lists do not belong together; Java, the jar or one of its libraries is
            missing; Java is too young; it failed, or its output is not what was asked for.
    """
    require_pairs(candidates, references)
    missing = missing_libraries(jar)
    if missing:
        raise ValueError(
            f"{_JUDGE}: {', '.join(missing)} missing beside {jar.name}; "
            "pycocoevalcap's wrapper fetches Stanford CoreNLP 3.6.0 and its models "
            "when it is first run"
        )
    version = java_version(_JUDGE)
    if version > _LAST_JAVA:
        raise ValueError(
            f"{_JUDGE}: expected Java 8 to {_LAST_JAVA}, got {version}; it writes its "
            "output with Java's JavaScript engine, which later ones lack"
        )
    asked = []
    for row, (tokens, group) in enumerate(zip(candidates, references, strict=True)):
        if tokens:
            sentences = [" ".join(reference) for reference in group]
            asked.append({"image_id": row, "test": " ".join(tokens), "refs": sentences})
    scores = np.zeros(len(candidates))
    if asked:
        scores_by_row = _ask(asked, jar.resolve(), memory_gib, timeout_s)
        scores[list(scores_by_row)] = list(scores_by_row.values())
    return scores


def missing_libraries(jar: Path) -> list[str]:
    """The libraries that the jar's manifest names and that do not lie beside it.

    Raises:
        ValueError: the file is not there or is no jar with a manifest.
    """
    try:
        with zipfile.ZipFile(jar) as file:
            manifest = file.read("META-INF/MANIFEST.MF").decode("utf-8")
    except (OSError, KeyError, UnicodeDecodeError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{_JUDGE}: expected spice-1.0.jar, got {jar} ({error})"
        ) from error
    # a long line goes on after a blank
    unfolded = manifest.replace("\r\n", "\n").replace("\n ", "")
    missing: list[str] = []
    for line in unfolded.splitlines():
        if line.startswith("Class-Path:"):
            paths = line.split()[1:]
            missing += [path for path in paths if not (jar.parent / path).is_file()]
    return missing


def _ask(
    asked: Sequence[dict[str, Any]], jar: Path, memory_gib: int, timeout_s: float
) -> dict[int, float]:
    """The jar's answers by image_id; its files live in a folder of their own that goes away."""
    with tempfile.TemporaryDirectory(prefix="regiontalk-spice-") as name:
        folder = Path(name)
        # pure ASCII: the jar reads it in whatever encoding the machine has
        (folder / "input.json").write_text(json.dumps(asked), encoding="ascii")
        run_java(
            ["-jar", str(jar), "input.json", "-out", "output.json", "-silent"],
            judge=_JUDGE,
            folder=folder,
            memory_gib=memory_gib,
            timeout_s=timeout_s,
        )
        try:
            rows = json.loads((folder / "output.json").read_text(encoding="utf-8"))
            scores_by_row = {
                int(row["image_id"]): float(row["scores"]["All"]["f"]) for row in rows
            }
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{_JUDGE}: expected scores with All.f in its output ({error!r})"
            ) from error
    wanted = {row["image_id"] for row in asked}
    is_valid = all(
        math.isfinite(score) and 0 <= score <= 1 for score in scores_by_row.values()
    )
    if set(scores_by_row) != wanted or not is_valid:
        raise ValueError(
            f"{_JUDGE}: expected {len(wanted)} captions with All.f in 0..1, got "
            f"{len(scores_by_row)} answers"
        )
    return scores_by_row
