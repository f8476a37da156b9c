"""What the API answers, as OpenAPI describes it.

`ImageResult` (docs/json.md) and what each request adds to it.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

Box = tuple[float, float, float, float]


class Said(BaseModel):
    """`RegionCaption`."""

    box: Box
    text: str | None
    confidence: float
    score: float
    sure: bool


class Match(BaseModel):
    """`PhraseMatch`."""

    phrase: str
    box: Box
    score: float


class Image(BaseModel):
    """`ImageResult`."""

    format: int
    photo: str
    width: int
    height: int
    model: str
    caption: Said | None
    regions: list[Said]
    matches: list[Match]


class Matrix(BaseModel):
    """Every word on every box, row 0 of the boxes the whole photo."""

    words: list[str]
    boxes: list[Box]
    scores: list[list[float]]


class Aligned(Image):
    """A sentence's words with boxes and the matrix behind them.

    Where the model looks, and words it does not know.
    """

    matrix: Matrix
    looks: Matrix | None
    unknown_words: list[str]


class Located(Image):
    """A phrase's places, and its words that the model does not know."""

    unknown_words: list[str]


class Narrated(Image):
    """What was said, composed into one text; "" where nothing was said with confidence."""

    alt_text: str


class Found(Image):
    """A photo of the library; ``thumbnail`` is a data: URI, null where its file is gone."""

    score: float
    answer: Match
    date: str
    missing: bool
    thumbnail: str | None


class Hits(BaseModel):
    """Photos, best first, and the words of the question that the model does not know."""

    hits: list[Found]
    unknown_words: list[str]


class Model(BaseModel):
    """A loaded model."""

    name: str
    parameters: int
    words: int
    confidence_threshold: float
    beams: int
    attends: bool
    licence: str


class Models(BaseModel):
    """The models, how many photos can be searched (null without a library), and the limits."""

    models: list[Model]
    library: int | None
    limits: dict[str, float]


class Health(BaseModel):
    """Alive."""

    status: str


class Problem(BaseModel):
    """Why a request was not answered."""

    error: str


STATUSES = {
    400: "the body is not what its content type says",
    401: "no token, or a wrong one",
    403: "a page of another site asks",
    404: "no such address, or a search where there is no library",
    405: "this address has another method",
    408: "the request took too long to arrive",
    413: "the body is too large",
    415: "neither multipart nor JSON",
    421: "the Host header names another machine",
    422: "a value is out of range, or the photo cannot be used",
    503: "too many requests wait (see Retry-After), or the library cannot be read",
    504: "computing took too long",
}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text} for status, text in STATUSES.items()
}
