"""Caption scores as protocols want them: METEOR where its tables are, intervals over photos where boxes share one."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontalk.metrics.bleu import bleu_statistics, corpus_bleu
from regiontalk.metrics.bootstrap import Interval, bootstrap_sums
from regiontalk.metrics.captions import CaptionScores, Scores, Statistics, score_captions
from regiontalk.metrics.cider import cider_d
from regiontalk.metrics.diversity import diversity_intervals
from regiontalk.metrics.meteor.jar import jar_statistics
from regiontalk.metrics.meteor.score import corpus_meteor, meteor_statistics
from regiontalk.metrics.meteor.tables import MeteorTables, installed_folder, read_tables
from regiontalk.metrics.pairing import pair
from regiontalk.metrics.rouge import rouge_l
from regiontalk.metrics.spice_jar import spice_scores
from regiontalk.metrics.tokenizer import ptb_tokenize


def find_tables() -> tuple[MeteorTables | None, str]:
    """METEOR's tables where pycocoevalcap is installed, or why they are not there."""
    folder = installed_folder()
    if folder is None:
        return (
            None,
            "METEOR's tables are not here; pip install pycocoevalcap (its Java is not needed)",
        )
    try:
        return read_tables(folder), ""
    except ValueError as error:
        return None, str(error)


def find_meteor() -> Statistics | None:
    """METEOR for `score_captions`; None where its tables are not here."""
    tables, _ = find_tables()
    return None if tables is None else partial(meteor_statistics, tables=tables)


def find_jar() -> Statistics:
    """METEOR by its own jar, for `score_captions`.

    Raises:
        ValueError: pycocoevalcap, which holds the jar, is not installed.
    """
    folder = installed_folder()
    if folder is None:
        raise ValueError(
            "METEOR's jar: expected an installed pycocoevalcap, which holds it; pip install pycocoevalcap"
        )
    return partial(jar_statistics, folder=folder)


def find_spice(jar: Path) -> Scores:
    """SPICE by its own jar, for `score_captions`, which says what else is missing.

    Raises:
        ValueError: there is no such file.
    """
    if not jar.is_file():
        raise ValueError(
            f"{jar}: expected spice-1.0.jar, as pycocoevalcap has it in its spice folder; no such file"
        )
    return partial(spice_scores, jar=jar)


def score_by_photo(
    predictions: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    photo_of: Mapping[str, Hashable],
    *,
    training: Iterable[str] | None = None,
    meteor: Statistics | None = None,
    resamples: int = 1000,
) -> CaptionScores:
    """`score_captions` for captions of which several belong to one photo: intervals redraw photos, not captions.

    Args:
        predictions: id -> caption.
        references: id -> sentences.
        photo_of: id -> photo.
        training: as in `score_captions`.
        meteor: as in `score_captions`.
        resamples: bootstrap draws of photos.

    Raises:
        ValueError: predictions and references share no id.
    """
    kept: list[NDArray[Any]] = []

    def record(candidates: Sequence[Any], groups: Sequence[Any]) -> NDArray[Any]:
        kept.append(
            (meteor or partial(meteor_statistics, tables=MeteorTables()))(candidates, groups)
        )
        return kept[-1]

    listen = record if meteor is not None else None
    texts = None if training is None else list(training)
    scores = score_captions(predictions, references, training=texts, meteor=listen, resamples=1)
    pairs = pair(predictions, references)
    said, truths = pairs.candidates, pairs.references
    photos = np.unique([str(photo_of[str(name)]) for name in pairs.ids], return_inverse=True)[1]
    means = np.column_stack([rouge_l(said, truths), cider_d(said, truths), np.ones(len(said))])
    draw = partial(bootstrap_sums, resamples=resamples)
    bleus = draw(sums_by_photo(bleu_statistics(said, truths), photos), corpus_bleu)
    rouge, cider = draw(sums_by_photo(means, photos), lambda sums: sums[..., :2] / sums[..., 2:])
    fresh: dict[str, Interval] = {
        f"BLEU-{order}": figure for order, figure in enumerate(bleus, start=1)
    }
    fresh |= {"ROUGE-L": rouge, "CIDEr-D": cider}
    for name in (
        name
        for name, figure in scores.figures.items()
        if name.startswith("METEOR") and figure is not None
    ):
        rows = kept[0] if kept else record(said, truths)
        (fresh[name],) = draw(sums_by_photo(rows, photos), corpus_meteor)
    known = None if texts is None else list(map(ptb_tokenize, texts))
    return replace(
        scores,
        figures={name: fresh.get(name, figure) for name, figure in scores.figures.items()},
        variety=diversity_intervals(said, known, photos.tolist(), resamples=resamples),
    )


def each_cider(
    predictions: Mapping[str, str], references: Mapping[str, Sequence[str]]
) -> dict[str, float]:
    """CIDEr-D of every caption by its id; the corpus figure is their mean."""
    pairs = pair(predictions, references)
    return dict(
        zip(map(str, pairs.ids), cider_d(pairs.candidates, pairs.references).tolist(), strict=True)
    )


def sums_by_photo(rows: NDArray[Any], photos: NDArray[np.int64]) -> NDArray[np.float64]:
    """Rows (C, S) of captions added up for each photo: (P, S), given each caption's photo (C,) in 0..P-1.

    >>> sums_by_photo(np.array([[1, 2], [3, 4], [5, 6]]), np.array([0, 1, 0])).tolist()
    [[6.0, 8.0], [3.0, 4.0]]
    """
    table = np.zeros((int(photos.max()) + 1, rows.shape[1]))
    np.add.at(table, photos, rows)
    return table
