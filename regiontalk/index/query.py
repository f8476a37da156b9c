"""What is looked for, and the exact ranking of the photos that may answer.

A query is a list of unit vectors with weights: the words of a text (T, D) as the aligner reads
them, the regions of an example photo, or both. A photo's score is eq. 8 of [1] over its own region
vectors, as everywhere else.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontalk.align.score import affinity, region_prior
from regiontalk.captioner import RegionCaptioner, visible
from regiontalk.images.open import PictureSource, open_photo
from regiontalk.index.rows import Row
from regiontalk.index.table import Candidates
from regiontalk.model.config import DecodingConfig
from regiontalk.records import (
    FloatArray,
    ImageResult,
    PhraseMatch,
    RegionCaption,
    checked_boxes,
)
from regiontalk.runtime.predictor import PhotoFeatures

# of an example photo, beside itself; each is one more vector of the query
EXAMPLE_REGIONS = 7
MOST = 16  # candidates are sought by the heaviest words of a query, so many


@dataclass(frozen=True)
class Hit:
    """A photo that answers a query.

    Attributes:
        score: eq. 8 of [1]; comparable inside one search.
        answer: the region that answers the whole query best: what to frame.
        result: the photo with its caption, the captions of the regions that answer, and in
            ``matches`` the region of every word (of an example photo: of every region of it).
        date: when the photo was taken.
        missing: its file was not there when it was found.
    """

    score: float
    answer: PhraseMatch
    result: ImageResult
    date: datetime
    missing: bool

    @property
    def photo(self) -> str:
        """Absolute path of the file."""
        return self.result.photo

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: an `ImageResult` document with what the search adds to it."""
        return self.result.to_dict() | {
            "score": round(self.score, 6),
            "answer": self.answer.to_dict(),
            "date": self.date.isoformat(),
            "missing": self.missing,
        }


@dataclass(frozen=True)
class Query:
    """What is looked for.

    Attributes:
        phrase: how the answer is called.
        names: T names of the vectors; None for one that is not shown (what a sentence says as a
            whole).
        vectors: (T, D), each as long as its weight.
        counted: (T,) which of them the score counts; the others are words of a model that scores a
            sentence as a whole.
        spoken: how many vectors, from the first, decide which region is framed: the text's, or the
            example's.
    """

    phrase: str
    names: tuple[str | None, ...]
    vectors: FloatArray
    counted: NDArray[np.bool_]
    spoken: int

    def heaviest(self) -> FloatArray:
        """The vectors (t, D) that candidates are sought by: the heaviest of those that count."""
        counted = self.vectors[self.counted]
        order = np.argsort(-np.linalg.norm(counted, axis=1), kind="stable")
        return counted[order[:MOST]]


def read_query(
    captioner: RegionCaptioner,
    text: str | None,
    photo: PictureSource | None,
    boxes_xyxy: Any,
) -> Query:
    """The query of a text, of an example photo (or of boxes in it), or of both.

    Raises:
        ValueError: neither is given, boxes without a photo, no known word, a box outside the photo.
        ImageError: the photo cannot be used.
    """
    if text is None and photo is None:
        raise ValueError(
            "search: expected words, an example photo or both, got neither"
        )
    if boxes_xyxy is not None and photo is None:
        raise ValueError(
            "search: boxes belong to an example photo, got no photo; give one, or "
            "leave the boxes away"
        )
    queries = []
    if text is not None:
        queries.append(_of_text(captioner, text))
    if photo is not None:
        queries.append(_of_photo(captioner, photo, boxes_xyxy))
    return Query(
        queries[0].phrase,
        tuple(name for query in queries for name in query.names),
        np.concatenate([query.vectors for query in queries]),
        np.concatenate([query.counted for query in queries]),
        queries[0].spoken,
    )


def _of_text(captioner: RegionCaptioner, text: str) -> Query:
    tokens, numbers = captioner.read(text)
    # (1, T, D), (1, T); after the words may stand END
    vectors, counted = captioner.predictor.encode_text([numbers])
    names = (*tokens, *[None] * (vectors.shape[1] - len(tokens)))
    return Query(" ".join(text.split()), names, vectors[0], counted[0], len(names))


def _of_photo(
    captioner: RegionCaptioner, photo: PictureSource, boxes_xyxy: Any
) -> Query:
    predictor, preprocessing = captioner.predictor, captioner.preprocessing
    opened = open_photo(
        photo, max_pixels=captioner.max_pixels, at_least=preprocessing.size
    )
    features = captioner.encode([opened])
    if boxes_xyxy is None:
        boxes, photo_boxes = _example_boxes(captioner, features, opened.size_wh)
    else:
        photo_boxes = checked_boxes(boxes_xyxy, opened.size_wh)
        if not len(photo_boxes):
            raise ValueError(
                "boxes: expected at least one box of the example photo, got none"
            )
        boxes = preprocessing.to_network(photo_boxes, opened.size_wh)[None]
    vectors = predictor.embed_regions(predictor.region_features(features, boxes))[0]
    names = tuple("box " + ",".join(map("{:.0f}".format, box)) for box in photo_boxes)
    counted = np.ones(len(vectors), dtype=bool)
    return Query(
        f"like {opened.name}", names, vectors / len(vectors), counted, len(vectors)
    )


def _example_boxes(
    captioner: RegionCaptioner, features: PhotoFeatures, size_wh: tuple[int, int]
) -> tuple[FloatArray, FloatArray]:
    """Boxes that the model proposes in an example photo.

    Of the network (1, N, 4) and of the photo (N, 4).
    """
    boxes, scores = captioner.predictor.propose(features, EXAMPLE_REGIONS)
    photo_boxes = captioner.preprocessing.to_original(boxes[0], size_wh)
    is_region = visible(photo_boxes) & (scores[0] > 0)
    is_region[0] = True
    return boxes[:, is_region], photo_boxes[is_region]


def best_hits(
    captioner: RegionCaptioner, query: Query, candidates: Candidates, k: int
) -> list[Hit]:
    """The ``k`` best of the candidates by exact score, best first."""
    if not len(candidates):
        return []
    predictor = captioner.predictor
    regions, there = candidates.vectors()  # (B, N, D), (B, N)
    words = query.vectors[None]
    scores = predictor.score(regions, words, there, query.counted[None])[:, 0]
    best = np.argsort(-scores, kind="stable")[:k]
    # (k, T, N), NULL last if there
    products = affinity(predictor.choices(regions[best]), words)[:, 0]
    return [
        _hit(captioner, query, row, score, photo_products, there.shape[1])
        for row, score, photo_products in zip(
            candidates.rows(best.tolist()), scores[best].tolist(), products, strict=True
        )
    ]


def _hit(
    captioner: RegionCaptioner,
    query: Query,
    row: Row,
    score: float,
    products: FloatArray,
    width: int,
) -> Hit:
    """One hit.

    Args:
        captioner: the model.
        query: what was looked for.
        row: a photo with N regions.
        score: of the photo.
        products: (T, N or more) of the query's vectors with the regions and their padding.
        width: regions with their padding; after these places stands NULL.
    """
    prior_weight = captioner.config.decoding.region_prior
    box_scores, has_region = _box_scores(query, row, products, width, prior_weight)
    region_captions = _region_captions(row, captioner.config.decoding)
    total = (box_scores * query.counted[:, None])[: query.spoken].sum(axis=0)
    framed = int(total.argmax())
    answering = sorted({framed, *box_scores.argmax(axis=1)[has_region].tolist()} - {0})
    result = ImageResult(
        row.path,
        row.size_wh,
        captioner.config.name,
        region_captions[0],
        tuple(region_captions[number] for number in answering),
        _matches(query, region_captions, box_scores, has_region),
    )
    return Hit(
        score,
        PhraseMatch(query.phrase, region_captions[framed].box, float(total[framed])),
        result,
        row.date,
        # unlike Path.is_file, isfile does not raise for a drive that is gone
        missing=not os.path.isfile(row.path),
    )


def _box_scores(
    query: Query, row: Row, products: FloatArray, width: int, prior_weight: float
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """The products (T, N) of words and regions with the regions' prior.

    And which words have a region (T,). A word whose best choice is NULL has none.
    """
    count = len(row.boxes_xyxy)
    prior = region_prior(query.vectors, row.scores, prior_weight, count + 1)
    scores = products[:, :count] + prior[:, :-1]
    null_scores = (products[:, width:] + prior[:, -1:]).max(axis=1, initial=-np.inf)
    return scores, scores.max(axis=1) >= null_scores


def _matches(
    query: Query,
    regions: Sequence[RegionCaption],
    box_scores: FloatArray,
    has_region: NDArray[np.bool_],
) -> tuple[PhraseMatch, ...]:
    """The region of every vector of a query that has a name and a region.

    Scores (T, N), mask (T,).
    """
    matches = []
    for name, scores, matched in zip(
        query.names, box_scores, has_region.tolist(), strict=True
    ):
        if name is not None and matched:
            best = int(scores.argmax())
            matches.append(PhraseMatch(name, regions[best].box, float(scores[best])))
    return tuple(matches)


def _region_captions(row: Row, decoding: DecodingConfig) -> list[RegionCaption]:
    """The stored captions of a photo's N boxes, the whole photo first."""
    sure_from = [decoding.threshold] * len(row.captions)
    sure_from[0] = decoding.photo_threshold
    boxes = [
        (float(x1), float(y1), float(x2), float(y2))
        for x1, y1, x2, y2 in row.boxes_xyxy
    ]
    return [
        RegionCaption(box, text, confidence, quality, confidence >= least)
        for box, text, confidence, quality, least in zip(
            boxes,
            row.captions,
            row.confidences.tolist(),
            row.scores.tolist(),
            sure_from,
            strict=True,
        )
    ]
