"""Retrieval both ways: recall at 1, 5 and 10, median and mean rank, exact and in blocks (docs/protocols.md).

Enter: scores of N photos against C sentences, as a matrix (N, C) or as a callable that makes any
block of it, and
``photo_of_sentence`` (C,), the row of the photo that each sentence describes. Leave: ranks from 1
and their figures. Ties are broken by row number, the lower first: a model that gives every pair one
score earns chance, never all hits. Memory is one block and a few vectors, whatever N and C are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontalk.metrics.bootstrap import Interval, bootstrap_interval, bootstrap_shares

AT = (1, 5, 10)
BLOCK = (
    128,
    640,
)  # photos and sentences whose scores are made at once: 80 MB of products with 20 regions
KEPT_BYTES = 100_000_000  # of blocks with true pairs, kept so that most are not made twice
IntArray = NDArray[np.int64]
ScoreArray = NDArray[Any]
Blocks = Callable[[IntArray, IntArray], ScoreArray]
"""Row numbers of photos (P,) and of sentences (S,) to their scores (P, S)."""


@dataclass(frozen=True)
class Ranks:
    """Where the true items landed; 1 is the top.

    Attributes:
        photo_to_sentence: (N,) int64, rank of the photo's closest true sentence among all C
            sentences.
        sentence_to_photo: (C,) int64, rank of the sentence's photo among all N photos.
        photo_of_sentence: (C,) int64, as it came in.
    """

    photo_to_sentence: IntArray
    sentence_to_photo: IntArray
    photo_of_sentence: IntArray


@dataclass(frozen=True)
class RetrievalReport:
    """Retrieval figures with their intervals, over redrawn photos with the ranks as they stand.

    Attributes:
        photos: photos that were ranked, all folds together.
        sentences: sentences that were ranked.
        folds: sizes of the folds, in photos; one fold is the plain protocol.
        photo_to_sentence: "R@1", "R@5", "R@10" (shares in 0..1), "median rank", "mean rank".
        sentence_to_photo: the same the other way.
        parts: the ranks of each fold.
    """

    photos: int
    sentences: int
    folds: tuple[int, ...]
    photo_to_sentence: dict[str, Interval]
    sentence_to_photo: dict[str, Interval]
    parts: tuple[Ranks, ...]


def retrieval(
    scores: ScoreArray | Blocks,
    photo_of_sentence: Sequence[int] | IntArray,
    *,
    photos: int | None = None,
    fold: int | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> RetrievalReport:
    """All retrieval figures: over everything, or the mean over folds (docs/protocols.md: 1K, 5 folds of 1K, 5K).

    Args:
        scores: as `ranks` takes them.
        photo_of_sentence: (C,) photo row of each sentence.
        photos: N, needed with a callable.
        fold: photos of a fold, consecutive rows; a last smaller fold is left out. None ranks
            everything together.
        resamples: bootstrap draws of photos.
        seed: of the draws.

    Raises:
        ValueError: as `ranks` does, or a fold is larger than the data.
    """
    if fold is None:
        parts = [ranks(scores, photo_of_sentence, photos=photos)]
    else:
        parts = fold_ranks(scores, photo_of_sentence, fold, photos=photos)
    forward = [
        (fold_result.photo_to_sentence, np.arange(len(fold_result.photo_to_sentence)))
        for fold_result in parts
    ]
    backward = [
        (fold_result.sentence_to_photo, fold_result.photo_of_sentence) for fold_result in parts
    ]
    return RetrievalReport(
        photos=sum(len(fold_result.photo_to_sentence) for fold_result in parts),
        sentences=sum(len(fold_result.sentence_to_photo) for fold_result in parts),
        folds=tuple(len(fold_result.photo_to_sentence) for fold_result in parts),
        photo_to_sentence=_figures(forward, resamples, seed),
        sentence_to_photo=_figures(backward, resamples, seed),
        parts=tuple(parts),
    )


def ranks(
    scores: ScoreArray | Blocks,
    photo_of_sentence: Sequence[int] | IntArray,
    *,
    photos: int | None = None,
    block: tuple[int, int] = BLOCK,
) -> Ranks:
    """Ranks of the true items, both ways.

    Blocks that hold a true pair are visited twice, once to learn the true scores and once to count
    what stands above them; sentences go in the order of their photos, so these are few, and they
    are kept in memory up to `KEPT_BYTES`. Beyond that a callable is asked again: it must answer the
    same block with the same numbers.

    Args:
        scores: (N, C) matrix, or a callable from photo rows (P,) and sentence rows (S,) to (P, S).
        photo_of_sentence: (C,) photo row of each sentence; every photo needs one sentence at least.
        photos: N; needed with a callable, checked against a matrix.
        block: photos and sentences of one block.

    Raises:
        ValueError: shapes do not agree, a photo has no sentence, or a score is not finite.
    """
    owner = np.asarray(photo_of_sentence, dtype=np.int64)
    count = _photo_count(scores, owner, photos)
    make = scores if callable(scores) else _blocks_of(scores)
    tiles = list(_tiles(owner, count, block))
    best, best_at = np.full(count, -np.inf), np.full(count, len(owner), dtype=np.int64)
    true_scores = np.zeros(len(owner))
    cached_tiles: dict[int, ScoreArray] = {}
    for number, (rows, columns) in enumerate(tiles):
        true = owner[columns][None, :] == rows[:, None]
        if true.any():
            tile = _checked_block(make, rows, columns)
            masked = np.where(true, tile, -np.inf)
            true_scores[columns[true.any(axis=0)]] = masked.max(axis=0)[true.any(axis=0)]
            _raise_best(best, best_at, rows, columns, masked)
            if (len(cached_tiles) + 1) * tile.nbytes <= KEPT_BYTES:
                cached_tiles[number] = tile
    forward, backward = np.ones(count, dtype=np.int64), np.ones(len(owner), dtype=np.int64)
    for number, (rows, columns) in enumerate(tiles):
        cached = cached_tiles.pop(number, None)
        tile = _checked_block(make, rows, columns) if cached is None else cached
        earlier = columns[None, :] < best_at[rows][:, None]
        forward[rows] += _above(tile, best[rows][:, None], earlier).sum(axis=1)
        earlier = rows[:, None] < owner[columns][None, :]
        backward[columns] += _above(tile, true_scores[columns][None, :], earlier).sum(axis=0)
    return Ranks(forward, backward, owner)


def _photo_count(scores: ScoreArray | Blocks, owner: IntArray, photos: int | None) -> int:
    """N, once the shapes agree."""
    if callable(scores):
        if photos is None:
            raise ValueError(
                "photos: expected their number with a callable, got None; pass photos=N"
            )
        count = photos
    else:
        if scores.ndim != 2 or (photos is not None and photos != len(scores)):
            raise ValueError(
                f"scores: expected (photos, sentences) with {photos} photos, got shape {scores.shape}"
            )
        if owner.shape != (scores.shape[1],):
            raise ValueError(
                f"photo_of_sentence: expected ({scores.shape[1]},), one a sentence, got {owner.shape}"
            )
        count = len(scores)
    if owner.ndim != 1 or not len(owner) or owner.min() < 0 or owner.max() >= count:
        raise ValueError(
            f"photo_of_sentence: expected photo rows 0..{count - 1}, one a sentence, got {owner[:5]}..."
        )
    missing = np.flatnonzero(np.bincount(owner, minlength=count) == 0)
    if len(missing):
        raise ValueError(
            f"photo {missing[0]}: expected a true sentence, got none ({len(missing)} such); leave it out"
        )
    return count


def _blocks_of(matrix: ScoreArray) -> Blocks:
    """The callable form of a matrix."""
    return lambda rows, columns: matrix[np.ix_(rows, columns)]


def _tiles(
    owner: IntArray, count: int, block: tuple[int, int]
) -> Iterator[tuple[IntArray, IntArray]]:
    """All blocks as (photo rows, sentence rows), sentences in the order of their photos."""
    order = np.argsort(owner, kind="stable")
    for top in range(0, count, block[0]):
        rows = np.arange(top, min(top + block[0], count))
        for left in range(0, len(order), block[1]):
            yield rows, order[left : left + block[1]]


def _checked_block(make: Blocks, rows: IntArray, columns: IntArray) -> ScoreArray:
    """One block, refused where its shape is wrong or a score is not finite (NaN would rank first for free)."""
    tile = np.asarray(make(rows, columns))
    if tile.shape != (len(rows), len(columns)):
        raise ValueError(f"block: expected shape ({len(rows)}, {len(columns)}), got {tile.shape}")
    if not np.isfinite(tile).all():
        raise ValueError(
            "scores: expected finite numbers, got NaN or infinity; look at the model's output"
        )
    return tile


def _raise_best(
    best: ScoreArray, best_at: IntArray, rows: IntArray, columns: IntArray, masked: ScoreArray
) -> None:
    """Take over, in place, each photo's best true sentence of one block; of equal ones the lower row number stays."""
    at = masked.argmax(axis=1)  # columns rise inside a photo, so argmax already takes the lower one
    value = masked[np.arange(len(rows)), at]
    better = value > best[rows]
    best[rows[better]] = value[better]
    best_at[rows[better]] = columns[at[better]]


def _above(tile: ScoreArray, true: ScoreArray, earlier: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which items of a block (P, S) stand above the true one: a greater score, or the same and an earlier row."""
    above: NDArray[np.bool_] = (tile > true) | ((tile == true) & earlier)
    return above


def fold_ranks(
    scores: ScoreArray | Blocks,
    photo_of_sentence: Sequence[int] | IntArray,
    fold: int,
    *,
    photos: int | None = None,
) -> list[Ranks]:
    """Ranks inside each run of ``fold`` consecutive photos and their own sentences; row numbers start anew in a fold.

    Raises:
        ValueError: as `ranks` does, or there is not one whole fold.
    """
    owner = np.asarray(photo_of_sentence, dtype=np.int64)
    count = _photo_count(scores, owner, photos)
    if not 1 <= fold <= count:
        raise ValueError(f"fold: expected 1..{count} photos, got {fold}")
    make = scores if callable(scores) else _blocks_of(scores)
    ranks_by_fold = []
    for start in range(0, count - fold + 1, fold):
        inside = np.flatnonzero((owner >= start) & (owner < start + fold))
        ranks_by_fold.append(ranks(_part(make, start, inside), owner[inside] - start, photos=fold))
    return ranks_by_fold


def _part(make: Blocks, start: int, inside: IntArray) -> Blocks:
    """Blocks of the photos from ``start`` on and of the sentences ``inside``, by their row numbers in the fold."""
    return lambda rows, columns: make(rows + start, inside[columns])


def _figures(
    parts: Sequence[tuple[IntArray, IntArray]], resamples: int, seed: int
) -> dict[str, Interval]:
    """Figures of the folds' (ranks, photo of each rank), averaged over folds.

    Folds hold as many photos each, so the mean over all ranks is the mean of the folds' (nearly,
    where a photo has more sentences than another); only the median needs the folds apart.
    """
    table = np.concatenate([rank for rank, _ in parts])
    names = [(fold, photo) for fold, (_, photos) in enumerate(parts) for photo in photos.tolist()]
    columns = np.stack([*(table <= at for at in AT), table], axis=1)
    *recalls, mean = bootstrap_shares(columns, names, resamples=resamples, seed=seed)
    figures = {f"R@{at}": value for at, value in zip(AT, recalls, strict=True)}
    return {**figures, "median rank": _median_rank(parts, resamples, seed), "mean rank": mean}


def _median_rank(parts: Sequence[tuple[IntArray, IntArray]], resamples: int, seed: int) -> Interval:
    """Mean over folds of the median rank; the photos of all folds are drawn together."""
    sizes = [int(photos.max()) + 1 for _, photos in parts]
    starts = np.cumsum([0, *sizes])

    def median(drawn: IntArray) -> float:
        times = np.bincount(drawn, minlength=starts[-1])  # how often each photo was drawn
        folds = zip(parts, starts[:-1], strict=True)
        ranks_by_fold = [np.repeat(rank, times[start + photos]) for (rank, photos), start in folds]
        return float(
            np.mean([np.median(drawn_ranks) for drawn_ranks in ranks_by_fold if len(drawn_ranks)])
        )  # a draw can miss a tiny fold

    return bootstrap_interval(median, int(starts[-1]), resamples=resamples, seed=seed)
