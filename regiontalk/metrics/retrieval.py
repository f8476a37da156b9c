"""Retrieval both ways.

Recall at 1, 5 and 10, median and mean rank, exact and in blocks (docs/protocols.md).
Enter: scores of N photos against C sentences, as a matrix (N, C) or as a callable that
makes any block of it, and ``photo_of_sentence`` (C,), the row of the photo that each
sentence describes. Leave: ranks from 1 and their figures. Ties are broken by row
number, the lower first: a model that gives every pair one score earns chance, never all
hits. Memory is one block and a few vectors, whatever N and C are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regiontalk.metrics.bootstrap import Interval, bootstrap_interval, bootstrap_shares

AT = (1, 5, 10)
# photos and sentences whose scores are made at once: 80 MB of products with 20 regions
BLOCK = (128, 640)
# of blocks with true pairs, kept so that most are not made twice
KEPT_BYTES = 100_000_000
IntArray = NDArray[np.int64]
ScoreArray = NDArray[Any]
Blocks = Callable[[IntArray, IntArray], ScoreArray]
"""Row numbers of photos (P,) and of sentences (S,) to their scores (P, S)."""
FoldRanks = tuple[IntArray, IntArray]
"""Ranks of one fold in one direction, and the photo of each."""


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
        ranks_by_fold: the ranks of each fold.
    """

    photos: int
    sentences: int
    folds: tuple[int, ...]
    photo_to_sentence: dict[str, Interval]
    sentence_to_photo: dict[str, Interval]
    ranks_by_fold: tuple[Ranks, ...]


def retrieval(
    scores: ScoreArray | Blocks,
    photo_of_sentence: Sequence[int] | IntArray,
    *,
    photos: int | None = None,
    fold: int | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> RetrievalReport:
    """All retrieval figures, over everything or as the mean over folds.

    See docs/protocols.md: 1K, 5 folds of 1K, 5K.

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
        ranks_by_fold = [ranks(scores, photo_of_sentence, photos=photos)]
    else:
        ranks_by_fold = fold_ranks(scores, photo_of_sentence, fold, photos=photos)
    forward, backward = [], []
    for fold_result in ranks_by_fold:
        photo_count = len(fold_result.photo_to_sentence)
        forward.append((fold_result.photo_to_sentence, np.arange(photo_count)))
        backward.append((fold_result.sentence_to_photo, fold_result.photo_of_sentence))
    folds = tuple(len(fold_result.photo_to_sentence) for fold_result in ranks_by_fold)
    return RetrievalReport(
        photos=sum(folds),
        sentences=sum(
            len(fold_result.sentence_to_photo) for fold_result in ranks_by_fold
        ),
        folds=folds,
        photo_to_sentence=_figures(forward, resamples, seed),
        sentence_to_photo=_figures(backward, resamples, seed),
        ranks_by_fold=tuple(ranks_by_fold),
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
    make = _blocks_of(scores)
    tiles = list(_tiles(owner, count, block))
    truths, cached_tiles = _true_scores(make, tiles, owner, count)
    forward, backward = (
        np.ones(count, dtype=np.int64),
        np.ones(len(owner), dtype=np.int64),
    )
    for number, (rows, columns) in enumerate(tiles):
        tile = cached_tiles.pop(number, None)
        if tile is None:
            tile = _checked_block(make, rows, columns)
        is_earlier = columns < truths.best_sentence[rows, None]
        forward[rows] += _count_above(tile, truths.best[rows, None], is_earlier, axis=1)
        is_earlier = rows[:, None] < owner[columns]
        backward[columns] += _count_above(
            tile, truths.of_sentence[columns], is_earlier, axis=0
        )
    return Ranks(forward, backward, owner)


class _TrueScores(NamedTuple):
    """The scores of true pairs.

    Attributes:
        best: (N,) of each photo's closest true sentence.
        best_sentence: (N,) the row of that sentence; of equal ones the lowest.
        of_sentence: (C,) of each sentence with its photo.
    """

    best: ScoreArray
    best_sentence: IntArray
    of_sentence: ScoreArray


def _true_scores(
    make: Blocks,
    tiles: Sequence[tuple[IntArray, IntArray]],
    owner: IntArray,
    count: int,
) -> tuple[_TrueScores, dict[int, ScoreArray]]:
    """The scores of true pairs, and by their numbers the blocks that hold some.

    As many blocks as `KEPT_BYTES` allow.
    """
    truths = _TrueScores(
        best=np.full(count, -np.inf),
        best_sentence=np.full(count, len(owner), dtype=np.int64),
        of_sentence=np.zeros(len(owner)),
    )
    cached_tiles: dict[int, ScoreArray] = {}
    for number, (rows, columns) in enumerate(tiles):
        is_true = owner[columns][None, :] == rows[:, None]
        if not is_true.any():
            continue
        tile = _checked_block(make, rows, columns)
        masked = np.where(is_true, tile, -np.inf)
        has_photo = is_true.any(axis=0)
        truths.of_sentence[columns[has_photo]] = masked.max(axis=0)[has_photo]
        _raise_best(truths, rows, columns, masked)
        if (len(cached_tiles) + 1) * tile.nbytes <= KEPT_BYTES:
            cached_tiles[number] = tile
    return truths, cached_tiles


def _photo_count(
    scores: ScoreArray | Blocks, owner: IntArray, photos: int | None
) -> int:
    """N, once the shapes agree."""
    if not callable(scores):
        count = _matrix_rows(scores, owner, photos)
    elif photos is None:
        raise ValueError(
            "photos: expected their number with a callable, got None; pass photos=N"
        )
    else:
        count = photos
    if owner.ndim != 1 or not len(owner) or owner.min() < 0 or owner.max() >= count:
        raise ValueError(
            f"photo_of_sentence: expected photo rows 0..{count - 1}, one a sentence, "
            f"got {owner[:5]}..."
        )
    missing = np.flatnonzero(np.bincount(owner, minlength=count) == 0)
    if len(missing):
        raise ValueError(
            f"photo {missing[0]}: expected a true sentence, got none ({len(missing)} "
            "such); leave it out"
        )
    return count


def _matrix_rows(matrix: ScoreArray, owner: IntArray, photos: int | None) -> int:
    """N of a matrix, once it has a column for each sentence."""
    if matrix.ndim != 2 or (photos is not None and photos != len(matrix)):
        raise ValueError(
            f"scores: expected (photos, sentences) with {photos} photos, got shape {matrix.shape}"
        )
    if owner.shape != (matrix.shape[1],):
        raise ValueError(
            f"photo_of_sentence: expected ({matrix.shape[1]},), one a sentence, got {owner.shape}"
        )
    return len(matrix)


def _blocks_of(scores: ScoreArray | Blocks) -> Blocks:
    """The callable form of a matrix; a callable as it is."""
    if callable(scores):
        return scores
    return lambda rows, columns: scores[np.ix_(rows, columns)]


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
    """One block, refused where its shape is wrong or a score is not finite.

    NaN would rank first for free.
    """
    tile = np.asarray(make(rows, columns))
    if tile.shape != (len(rows), len(columns)):
        raise ValueError(
            f"block: expected shape ({len(rows)}, {len(columns)}), got {tile.shape}"
        )
    if not np.isfinite(tile).all():
        raise ValueError(
            "scores: expected finite numbers, got NaN or infinity; look at the model's output"
        )
    return tile


def _raise_best(
    truths: _TrueScores, rows: IntArray, columns: IntArray, masked: ScoreArray
) -> None:
    """Take over, in place, each photo's best true sentence of one block.

    Of equal ones the lower row number stays.
    """
    # columns rise inside a photo: argmax takes the lower one
    position = masked.argmax(axis=1)
    scores = masked[np.arange(len(rows)), position]
    is_better = scores > truths.best[rows]
    truths.best[rows[is_better]] = scores[is_better]
    truths.best_sentence[rows[is_better]] = columns[position[is_better]]


def _count_above(
    tile: ScoreArray, true: ScoreArray, is_earlier: NDArray[np.bool_], axis: int
) -> IntArray:
    """How many items of a block (P, S) stand above the true one.

    A greater score, or the same and an earlier row.
    """
    is_above = (tile > true) | ((tile == true) & is_earlier)
    return np.asarray(is_above.sum(axis=axis))


def fold_ranks(
    scores: ScoreArray | Blocks,
    photo_of_sentence: Sequence[int] | IntArray,
    fold: int,
    *,
    photos: int | None = None,
) -> list[Ranks]:
    """Ranks inside each run of ``fold`` consecutive photos and their own sentences.

    Row numbers start anew in a fold.

    Raises:
        ValueError: as `ranks` does, or there is not one whole fold.
    """
    owner = np.asarray(photo_of_sentence, dtype=np.int64)
    count = _photo_count(scores, owner, photos)
    if not 1 <= fold <= count:
        raise ValueError(f"fold: expected 1..{count} photos, got {fold}")
    make = _blocks_of(scores)
    ranks_by_fold = []
    for start in range(0, count - fold + 1, fold):
        inside = in_fold(owner, start, fold)
        fold_scores = _fold_blocks(make, start, inside)
        ranks_by_fold.append(ranks(fold_scores, owner[inside] - start, photos=fold))
    return ranks_by_fold


def in_fold(photo_of_sentence: IntArray, start: int, fold: int) -> IntArray:
    """The rows of the sentences whose photo is one of ``fold`` from ``start`` on."""
    is_inside = (photo_of_sentence >= start) & (photo_of_sentence < start + fold)
    return np.flatnonzero(is_inside)


def _fold_blocks(make: Blocks, start: int, inside: IntArray) -> Blocks:
    """Blocks of the photos from ``start`` on and of the sentences ``inside``.

    Both by their row numbers in the fold.
    """
    return lambda rows, columns: make(rows + start, inside[columns])


def _figures(
    folds: Sequence[FoldRanks], resamples: int, seed: int
) -> dict[str, Interval]:
    """Figures of all folds, averaged over them.

    Folds hold as many photos each, so the mean over all ranks is the mean of the folds' (nearly,
    where a photo has more sentences than another); only the median needs the folds apart.
    """
    all_ranks = np.concatenate([fold_ranks for fold_ranks, _ in folds])
    names: list[tuple[int, int]] = []  # fold and photo of each rank
    for fold, (_, photos) in enumerate(folds):
        names += [(fold, photo) for photo in photos.tolist()]
    columns = np.stack([*(all_ranks <= depth for depth in AT), all_ranks], axis=1)
    *recalls, mean = bootstrap_shares(columns, names, resamples=resamples, seed=seed)
    figures = {f"R@{depth}": recall for depth, recall in zip(AT, recalls, strict=True)}
    return {
        **figures,
        "median rank": _median_rank(folds, resamples, seed),
        "mean rank": mean,
    }


def _median_rank(folds: Sequence[FoldRanks], resamples: int, seed: int) -> Interval:
    """Mean over folds of the median rank; the photos of all folds are drawn together."""
    sizes = [int(photos.max()) + 1 for _, photos in folds]
    starts = np.cumsum([0, *sizes])

    def median(drawn: IntArray) -> float:
        # how often each photo was drawn
        draws = np.bincount(drawn, minlength=starts[-1])
        medians = []
        for (fold_ranks, photos), start in zip(folds, starts[:-1], strict=True):
            drawn_ranks = np.repeat(fold_ranks, draws[start + photos])
            if len(drawn_ranks):  # a draw can miss a tiny fold
                medians.append(np.median(drawn_ranks))
        return float(np.mean(medians))

    return bootstrap_interval(median, int(starts[-1]), resamples=resamples, seed=seed)
