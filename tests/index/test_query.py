"""The exact ranking: worked by hand, against plain loops, and which words are sought by."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regiontalk.captioner import RegionCaptioner
from regiontalk.cli.search import lines
from regiontalk.index.library import PhotoIndex
from regiontalk.index.metadata import About
from regiontalk.index.query import Hit, Query, best_hits, read_query
from regiontalk.index.rows import Row, Stamp
from regiontalk.index.table import Candidates, to_arrow

SIZE = 12  # D of the tiny model
BASIS = np.eye(SIZE, dtype=np.float32)


def unit(*values: float) -> np.ndarray:
    return np.array([*values, *[0.0] * (SIZE - len(values))], dtype=np.float16)


def row(name: str, *vectors: np.ndarray) -> Row:
    """A photo of 100x100 pixels whose n-th region is its first 10 n + 10 columns."""
    count = len(vectors)
    boxes = np.array([[0, 0, 10 * n + 10, 100] for n in range(count)], dtype=np.float32)
    ones = np.ones(count, dtype=np.float32)
    words = tuple(f"words {n}" for n in range(count))
    return Row(
        f"/{name}",
        Stamp(1, 2, "3"),
        datetime(2024, 5, 6),
        (100, 100),
        np.stack(vectors),
        boxes,
        ones,
        words,
        ones,
    )


def candidates(*rows: Row) -> Candidates:
    return Candidates(to_arrow(rows, About("tiny", "", SIZE, 4), BASIS))


def query(vectors: Sequence[np.ndarray], names: Sequence[str | None]) -> Query:
    values = np.stack(vectors).astype(np.float32)
    return Query(
        "red car", tuple(names), values, np.ones(len(values), dtype=bool), len(values)
    )


def test_by_hand(captioner: RegionCaptioner) -> None:
    """red = 0.7 along the first axis, car = 0.3 along the second.

    a: regions (0, 1) and (1, 0): red takes the second, car the first; 0.7 + 0.3 = 1.
    b: regions (1, 0) and (0.6, 0.8): red takes the first, car the second; 0.7 + 0.3 * 0.8 = 0.94.
    c: one region (0, 1): 0 + 0.3.
    Framed: of a the second (0.7 against 0.3); of b the first (0.7 against 0.7 * 0.6 + 0.3 * 0.8 =
        0.66).
    """
    rows = (
        row("c", unit(0, 1)),
        row("b", unit(1, 0), unit(0.6, 0.8)),
        row("a", unit(0, 1), unit(1, 0)),
    )
    hits = best_hits(
        captioner,
        query([0.7 * unit(1), 0.3 * unit(0, 1)], ["red", "car"]),
        candidates(*rows),
        2,
    )
    assert [hit.photo for hit in hits] == ["/a", "/b"]
    assert [hit.score for hit in hits] == pytest.approx([1.0, 0.94], abs=1e-3)
    first, second = (0.0, 0.0, 10.0, 100.0), (0.0, 0.0, 20.0, 100.0)
    assert [
        [(match.phrase, match.box) for match in hit.result.matches] for hit in hits
    ] == [
        [("red", second), ("car", first)],
        [("red", first), ("car", second)],
    ]
    assert [hit.answer.box for hit in hits] == [second, first]
    assert [hit.answer.score for hit in hits] == pytest.approx([0.7, 0.7], abs=1e-3)
    assert (
        hits[0].result.caption is not None and hits[0].result.caption.text == "words 0"
    )
    assert [region.text for region in hits[0].result.regions] == ["words 1"]
    assert hits[0].date == datetime(2024, 5, 6) and hits[0].missing
    values = hits[0].to_dict()
    assert (
        values["answer"]["phrase"] == "red car"
        and values["date"] == "2024-05-06T00:00:00"
        and values["missing"]
    )


@pytest.mark.parametrize("is_sure", [True, False])
def test_a_sentence_that_is_not_sure_is_hedged(
    captioner: RegionCaptioner, is_sure: bool
) -> None:
    least = captioner.config.decoding.photo_threshold
    confidence = np.array([least + (0.01 if is_sure else -0.01)], dtype=np.float32)
    stored = replace(row("a", unit(1)), confidences=confidence)
    (hit,) = best_hits(captioner, query([unit(1)], ["red"]), candidates(stored), 1)
    assert hit.result.caption is not None and hit.result.caption.sure is is_sure
    hedge = "" if is_sure else "perhaps: "
    assert f"   whole photo: {hedge}words 0" in list(lines(1, hit))


def test_slow_twin(captioner: RegionCaptioner) -> None:
    """Photos of one to five regions, words with and without a name, plain loops."""
    chance = np.random.default_rng(2)
    rows = []
    for number in range(20):
        vectors = chance.normal(size=(chance.integers(1, 6), SIZE))
        rows.append(
            row(
                str(number),
                *(vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(
                    np.float16
                ),
            )
        )
    words = chance.normal(size=(3, SIZE)).astype(np.float16)
    hits = best_hits(
        captioner, query(words, ["red", "car", None]), candidates(*rows), 20
    )
    scores = {}
    for one in rows:
        products = [
            [
                sum(float(a) * float(b) for a, b in zip(word, own, strict=True))
                for own in one.vectors
            ]
            for word in words
        ]
        scores[one.path] = sum(max(own) for own in products)
    assert [hit.photo for hit in hits] == sorted(scores, key=lambda path: -scores[path])
    for hit in hits:
        assert (
            hit.score == pytest.approx(scores[hit.photo], abs=1e-3)
            and len(hit.result.matches) == 2
        )


def test_a_text_and_a_photo_both_count(
    captioner: RegionCaptioner, library: PhotoIndex, photos: Sequence[Path]
) -> None:
    text, example = (
        read_query(captioner, "a red car", None, None),
        read_query(captioner, None, photos[1], None),
    )
    both = read_query(captioner, "a red car", photos[1], None)
    np.testing.assert_allclose(
        both.vectors, np.concatenate([text.vectors, example.vectors])
    )
    assert both.names == (*text.names, *example.names) and (
        both.phrase,
        both.spoken,
    ) == (
        "a red car",
        text.spoken,
    )
    assert text.names == (
        "a",
        "red",
        "car",
        None,
    )  # what the sentence says as a whole is not shown
    by_photo: list[dict[str, Hit]] = [
        {hit.photo: hit for hit in library.search(captioner, words, photo=picture)}
        for words, picture in (
            ("a red car", None),
            (None, photos[1]),
            ("a red car", photos[1]),
        )
    ]
    for path, hit in by_photo[2].items():
        assert hit.score == pytest.approx(
            by_photo[0][path].score + by_photo[1][path].score, abs=1e-4
        )
        assert hit.answer == by_photo[0][path].answer


@pytest.mark.parametrize(
    ("weights", "chosen"),
    [
        pytest.param([0.05, 0.45, 0.2, 0.3], [1, 3, 2, 0], id="the heaviest first"),
        pytest.param([1.0], [0], id="one word"),
        pytest.param([0.25] * 4, [0, 1, 2, 3], id="all alike"),
        pytest.param([0.05] * 20, list(range(16)), id="a long sentence"),
    ],
)
def test_which_words_are_sought_by(
    weights: Sequence[float], chosen: Sequence[int]
) -> None:
    directions = np.eye(len(weights), 24, dtype=np.float32)
    asked = query(
        [weight * own for weight, own in zip(weights, directions, strict=True)],
        ["x"] * len(weights),
    )
    wanted = (
        np.array(weights, dtype=np.float32)[list(chosen), None]
        * directions[list(chosen)]
    )
    np.testing.assert_allclose(asked.heaviest(), wanted)


def test_words_that_are_not_known(captioner: RegionCaptioner) -> None:
    assert captioner.vocabulary.unknown("a Zyzzyva in the red canoe") == [
        "zyzzyva",
        "canoe",
    ]


def test_no_candidate(captioner: RegionCaptioner) -> None:
    empty: Any = to_arrow([row("a", unit(1))], About("tiny", "", SIZE, 4), BASIS).slice(
        0, 0
    )
    assert best_hits(captioner, query([unit(1)], ["red"]), Candidates(empty), 3) == []


@pytest.mark.parametrize("code", [errno.ENOTCONN, errno.EACCES])
def test_a_drive_that_does_not_answer(
    captioner: RegionCaptioner, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    real = os.stat

    def stat(path: Any, *rest: Any, **named: Any) -> os.stat_result:
        if str(path) == "/a":
            raise OSError(code, os.strerror(code))
        return real(path, *rest, **named)

    monkeypatch.setattr(os, "stat", stat)
    (hit,) = best_hits(
        captioner, query([unit(1)], ["red"]), candidates(row("a", unit(1))), 1
    )
    assert hit.missing
