"""Caption scores as protocols want them.

METEOR where its tables are, intervals over photos where boxes share one.
"""

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
from regiontalk.metrics.captions import (
    CaptionScores,
    Scores,
    Statistics,
    score_captions,
)
from regiontalk.metrics.cider import cider_d
from regiontalk.metrics.diversity import diversity_intervals
from regiontalk.metrics.meteor.jar import jar_statistics
from regiontalk.metrics.meteor.score import corpus_meteor, meteor_statistics
from regiontalk.metrics.meteor.tables import MeteorTables, installed_folder, read_tables
from regiontalk.metrics.pairing import Pairs, pair
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
            "METEOR's jar: expected an installed pycocoevalcap, which holds it; pip "
            "install pycocoevalcap"
        )
    return partial(jar_statistics, folder=folder)


def find_spice(jar: Path) -> Scores:
    """SPICE by its own jar, for `score_captions`, which says what else is missing.

    Raises:
        ValueError: there is no such file.
    """
    if not jar.is_file():
        raise ValueError(
            f"{jar}: expected spice-1.0.jar, as pycocoevalcap has it in its spice "
            "folder; no such file"
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
    """`score_captions` for captions of which several belong to one photo.

    Intervals redraw photos, not captions.

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
    texts = None if training is None else list(training)
    recorder = _Recorder(meteor or partial(meteor_statistics, tables=MeteorTables()))
    scores = score_captions(
        predictions,
        references,
        training=texts,
        meteor=None if meteor is None else recorder,
        resamples=1,
    )
    pairs = pair(predictions, references)
    names = [str(photo_of[str(name)]) for name in pairs.ids]
    photos = np.unique(names, return_inverse=True)[1]
    figures = {**scores.figures, **_figures_by_photo(pairs, photos, resamples)}
    for name in scores.figures:
        if name.startswith("METEOR") and figures[name] is not None:
            sums = sums_by_photo(recorder.rows_of(pairs), photos)
            (figures[name],) = bootstrap_sums(sums, corpus_meteor, resamples=resamples)
    variety = diversity_intervals(
        pairs.candidates,
        None if texts is None else list(map(ptb_tokenize, texts)),
        photos.tolist(),
        resamples=resamples,
    )
    return replace(scores, figures=figures, variety=variety)


class _Recorder:
    """METEOR's statistics that remember what they returned, so that they are computed once."""

    def __init__(self, compute: Statistics) -> None:
        self._compute = compute
        self._rows: NDArray[Any] | None = None

    def __call__(
        self, candidates: Sequence[Any], groups: Sequence[Any]
    ) -> NDArray[Any]:
        self._rows = self._compute(candidates, groups)
        return self._rows

    def rows_of(self, pairs: Pairs) -> NDArray[Any]:
        """The statistics (C, S) of pairs, those of the first call where there was one."""
        return (
            self(pairs.candidates, pairs.references)
            if self._rows is None
            else self._rows
        )


def _figures_by_photo(
    pairs: Pairs, photos: NDArray[np.int64], resamples: int
) -> dict[str, Interval]:
    """BLEU, ROUGE-L and CIDEr-D with intervals over photos.

    Given the photo of each caption (C,).
    """
    candidates, references = pairs.candidates, pairs.references
    bleu_sums = sums_by_photo(bleu_statistics(candidates, references), photos)
    rouges, ciders = rouge_l(candidates, references), cider_d(candidates, references)
    mean_sums = sums_by_photo(
        np.column_stack([rouges, ciders, np.ones(len(candidates))]), photos
    )
    bleus = bootstrap_sums(bleu_sums, corpus_bleu, resamples=resamples)
    rouge, cider = bootstrap_sums(
        mean_sums, lambda sums: sums[..., :2] / sums[..., 2:], resamples=resamples
    )
    figures = {f"BLEU-{order}": bleu for order, bleu in enumerate(bleus, start=1)}
    return {**figures, "ROUGE-L": rouge, "CIDEr-D": cider}


def each_cider(
    predictions: Mapping[str, str], references: Mapping[str, Sequence[str]]
) -> dict[str, float]:
    """CIDEr-D of every caption by its id; the corpus figure is their mean."""
    pairs = pair(predictions, references)
    ciders = cider_d(pairs.candidates, pairs.references).tolist()
    return dict(zip(map(str, pairs.ids), ciders, strict=True))


def sums_by_photo(rows: NDArray[Any], photos: NDArray[np.int64]) -> NDArray[np.float64]:
    """Rows (C, S) of captions added up for each photo: (P, S).

    Given each caption's photo (C,) in 0..P-1.

    >>> sums_by_photo(np.array([[1, 2], [3, 4], [5, 6]]), np.array([0, 1, 0])).tolist()
    [[6.0, 8.0], [3.0, 4.0]]
    """
    table = np.zeros((int(photos.max()) + 1, rows.shape[1]))
    np.add.at(table, photos, rows)
    return table
