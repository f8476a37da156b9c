"""What a client may ask, and how a request is read.

Multipart with the file in ``photo``, or JSON with it in base64. Both ways fill the same
pydantic records, so that a mistake gets the same words. Nothing here opens a path or an
address that the client named: a photo is bytes, and nothing else.
"""

from __future__ import annotations

import json
from contextlib import aclosing
from datetime import datetime
from typing import Annotated, Any, Self, TypeVar

from fastapi import Request
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    model_validator,
)
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from regiontalk.deprecation import renamed_keys
from regiontalk.export.alt_text import LIMIT, MIN_CONFIDENCE, SHORTEST
from regiontalk.images.encoded import decode_photo
from regiontalk.model.storage import describe_errors
from regiontalk.serve.limits import MOST_BEAMS, MOST_BOXES, MOST_LETTERS

_LONGEST_NAME = 120
_LONGEST_REASON = 400
_FIELD_BYTES = 100_000  # of a multipart field that is not the photo


class RefusedError(Exception):
    """A request that is not answered; status is 4xx or 5xx, reason one line for the client."""

    def __init__(self, status: int, reason: str) -> None:
        """Take the HTTP status and why."""
        super().__init__(reason)
        self.status = status
        self.reason = (
            reason
            if len(reason) <= _LONGEST_REASON
            else reason[: _LONGEST_REASON - 1] + "…"
        )


def _from_json(value: Any) -> Any:
    """Fields of a form are text: lists come as JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError("expected JSON, such as [[10, 20, 110, 220]]") from None


def _four_numbers(value: Any) -> Any:
    """A box is a list: other tools write objects of x, y, width and height."""
    if not isinstance(value, list | tuple):
        raise ValueError(
            f"expected a box [x1, y1, x2, y2], got {json.dumps(value)[:60]}"
        )
    return value


def _bytes(value: Any) -> Any:
    """A photo in JSON is text, which has been decoded: what is left is none."""
    if not isinstance(value, bytes):
        raise ValueError(
            f"expected the bytes of a photo in base64, got a {type(value).__name__}"
        )
    return value


def local(time: datetime) -> datetime:
    """A time without a zone, as cameras write it; one with a zone becomes this machine's.

    >>> local(datetime(2024, 5, 1)).isoformat()
    '2024-05-01T00:00:00'
    """
    try:
        return time if time.tzinfo is None else time.astimezone().replace(tzinfo=None)
    except OverflowError:
        raise ValueError(
            "expected a time that is still of the years 1 to 9999 in this machine's zone"
        ) from None


OLD_FIELDS = {
    "least": "min_confidence"
}  # name in the version before -> today's, HTTP and MCP
Box = Annotated[
    tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat],
    BeforeValidator(_four_numbers),
]
Boxes = Annotated[
    list[Box], BeforeValidator(_from_json), Field(min_length=1, max_length=MOST_BOXES)
]
OneBox = Annotated[Box, BeforeValidator(_from_json)]
Words = Annotated[str, Field(min_length=1, max_length=MOST_LETTERS)]
Time = Annotated[datetime, AfterValidator(local)]
Picture = Annotated[
    bytes,
    BeforeValidator(_bytes),
    Field(min_length=1, description="the bytes of a picture file; in JSON base64"),
]


class Form(BaseModel):
    """The parent of all requests: unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PhotoForm(Form):
    """The parent of those about one photo."""

    photo: Picture


class CaptionForm(PhotoForm):
    """Captions: on boxes that the model finds, or on yours."""

    regions: int | None = Field(
        None,
        ge=0,
        le=MOST_BOXES,
        description="boxes beside the whole photo; 10 if unset",
    )
    boxes: Boxes | None = Field(
        None, description="x1, y1, x2, y2 in pixels of the photo: caption these instead"
    )
    beams: int | None = Field(
        None,
        ge=1,
        le=MOST_BEAMS,
        description="K of the beam search; the model's own if unset",
    )
    threshold: float | None = Field(
        None, ge=0, le=1, description="what is less confident than this gets no words"
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.boxes is not None and self.regions is not None:
            raise ValueError(
                "boxes and regions exclude each other: either you choose the boxes or "
                "the model does"
            )
        return self


class AlignForm(PhotoForm):
    """The box of every word of a sentence."""

    sentence: Words
    beta: FiniteFloat = Field(
        0.0,
        ge=0,
        le=1000,
        description="how much a word gains on its neighbour's box (eq. 12)",
    )
    looks: bool = Field(
        False,
        description="also say where the model looks at each word, if it is one that attends",
    )


class LocateForm(PhotoForm):
    """The places of a phrase."""

    phrase: Words
    k: int = Field(1, ge=1, le=50, description="how many places, best first")


class NarrateForm(PhotoForm):
    """An alt text."""

    regions: int = Field(
        10,
        ge=0,
        le=MOST_BOXES,
        description="boxes that may be named beside the whole photo",
    )
    limit: int = Field(LIMIT, ge=SHORTEST, le=5000, description="most characters")
    min_confidence: float = Field(
        MIN_CONFIDENCE,
        ge=0,
        le=1,
        description="captions less confident than this are not used",
    )
    neutral: bool = Field(False, description="words that do not guess a sex")

    @model_validator(mode="before")
    @classmethod
    def _take_old_fields(cls, values: Any) -> Any:
        """Read the field names of the version before."""
        return renamed_keys(values, OLD_FIELDS)


class SearchForm(Form):
    """Photos of the library that answer a text, an example photo or both."""

    text: Words | None = None
    photo: Picture | None = None
    boxes: Boxes | None = Field(
        None,
        description="x1, y1, x2, y2 in pixels of the example: only these parts count",
    )
    k: int = Field(10, ge=1, le=100, description="how many photos, best first")
    folder: str | None = Field(
        None, max_length=MOST_LETTERS, description="only photos whose path begins so"
    )
    after: Time | None = Field(
        None, description="only photos taken at this time or later"
    )
    before: Time | None = Field(None, description="only photos taken before this time")
    thumbnail: int = Field(
        320,
        ge=0,
        le=1024,
        description="longer side of the small pictures in pixels; 0 for none",
    )


async def read(request: Request, kind: type[FormKind]) -> tuple[FormKind, str]:
    """The form in a request, and the name of the uploaded file ("photo" where there is none).

    Raises:
        RefusedError: another content type, broken JSON or multipart, or values out of range: 400,
            415 or 422.
    """
    content = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content == "application/json":
        # not request.body(), which would keep it for as long as the request lasts
        values, name = (
            _decoded(b"".join([chunk async for chunk in request.stream()])),
            "photo",
        )
    elif content == "multipart/form-data":
        values, name = await _fields(request)
    else:
        raise RefusedError(
            415,
            f"content-type: expected multipart/form-data or application/json, got "
            f"{content!r}; send the photo as the field photo of a form (curl -F photo=@a.jpg)",
        )
    try:
        return kind.model_validate(values), name
    except ValidationError as error:
        raise RefusedError(422, describe_errors(error, kind)) from error


FormKind = TypeVar("FormKind", bound=Form)


def _decoded(body: bytes) -> dict[str, Any]:
    """A JSON object; its photo as bytes."""
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RefusedError(
            400, f"body: expected JSON ({' '.join(str(error).split())})"
        ) from error
    if not isinstance(values, dict):
        raise RefusedError(
            400, f"body: expected a JSON object, got a {type(values).__name__}"
        )
    if isinstance(values.get("photo"), str):
        try:
            values["photo"] = decode_photo(values["photo"])
        except ValueError as error:
            raise RefusedError(422, f"photo: {error}") from error
    return values


class _InMemory(MultiPartParser):
    """Keeps files in memory, whatever their size.

    The gate has bounded the body, and no photo is to reach a disk.
    """

    spool_max_size = 2**31


async def _form(request: Request) -> FormData:
    """The parsed multipart form."""
    async with aclosing(request.stream()) as stream:
        few = {"max_files": 1, "max_fields": 20, "max_part_size": _FIELD_BYTES}
        try:
            return await _InMemory(request.headers, stream, **few).parse()
        except MultiPartException as error:
            raise RefusedError(
                400, f"body: expected a multipart form ({error.message})"
            ) from error


async def _fields(request: Request) -> tuple[dict[str, Any], str]:
    """The fields of a multipart form; a file only in ``photo``."""
    values: dict[str, Any] = {}
    name = "photo"
    form = await _form(request)
    try:
        for key, value in form.multi_items():
            if key in values:
                raise RefusedError(422, f"{key}: expected once, got twice")
            if isinstance(value, UploadFile) and key != "photo":
                raise RefusedError(
                    422,
                    f"{key[:40]}: expected the picture in the field photo, got it in {key[:40]}",
                )
            if isinstance(value, UploadFile) != (key == "photo"):
                got = "text" if key == "photo" else "a file"
                raise RefusedError(
                    422,
                    f"{key}: expected {'a file' if key == 'photo' else 'text'}, got {got}",
                )
            if isinstance(value, UploadFile):
                name = _plain(value.filename or name)
                values[key] = await value.read()
            else:
                values[key] = value
    finally:
        await form.close()
    return values, name


def _plain(name: str) -> str:
    """The last part of a file name, short and printable: it is only ever shown."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return (
        "".join(letter for letter in last if letter.isprintable())[:_LONGEST_NAME]
        or "photo"
    )


def body_of(kind: type[Form]) -> dict[str, Any]:
    """The OpenAPI description of a request that `read` reads."""
    schema = kind.model_json_schema()
    plain = {**schema, "properties": {**schema["properties"]}}
    if "photo" in schema["properties"]:
        plain["properties"]["photo"] = {
            "type": "string",
            "contentEncoding": "base64",
            "description": "a picture file",
        }
    lists = {
        name: {"type": "string", "description": f"JSON: {field.get('description', '')}"}
        for name, field in schema["properties"].items()
        if name in ("boxes", "box")
    }
    form = {**schema, "properties": {**schema["properties"], **lists}}
    content = {
        "multipart/form-data": {"schema": form},
        "application/json": {"schema": plain},
    }
    return {"requestBody": {"required": True, "content": content}}
