"""``regiontalk teach`` in a browser.

Asks about photos, saves every answer, trains in the background. The page is
``teach.html``; what it asks of the server stands under ``/v1/teach``.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, FastAPI, Request
from PIL import Image
from pydantic import BeforeValidator, Field
from starlette.concurrency import run_in_threadpool

from regiontalk import ImageResult, RegionCaptioner
from regiontalk.images.open import open_photo
from regiontalk.serve.app import create_app
from regiontalk.serve.limits import MOST_BOXES, MOST_LETTERS, Limits
from regiontalk.serve.routes import Service
from regiontalk.serve.schemas import Box, Form, body_of, read

PAGE = "teach.html"
SHOWN_SIDE = 1280  # pixels of the longer side of a photo as the page shows it

router = APIRouter(prefix="/v1/teach")


def _from_json(value: Any) -> Any:
    """A list in a field of a multipart form is JSON."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError as error:
        raise ValueError(f"expected JSON ({error})") from error


Text = Annotated[str, Field(min_length=1, max_length=MOST_LETTERS)]


class NamedBox(Form):
    """A box and its words."""

    box: Box = Field(description="x1, y1, x2, y2 in pixels of the photo")
    phrase: Text


class AnswerForm(Form):
    """What a person says of a photo; without words it is skipped."""

    name: Text = Field(description="of the photo, as the question has it")
    captions: Annotated[
        tuple[Text, ...], BeforeValidator(_from_json), Field(max_length=20)
    ] = ()
    boxes: Annotated[
        tuple[NamedBox, ...], BeforeValidator(_from_json), Field(max_length=MOST_BOXES)
    ] = ()


class Session(Protocol):
    """What one person is asked, as `regiontalk.train.session.Session` has it."""

    @property
    def captioner(self) -> RegionCaptioner:
        """The model that asks."""

    def state(self) -> dict[str, Any]:
        """How far it is, and how training stands."""

    def next(self) -> tuple[str, ImageResult] | None:
        """The name of the next photo and what the model says of it; None at the end."""

    def take(
        self, name: str, captions: Sequence[str], boxes: Sequence[tuple[Box, str]]
    ) -> None:
        """Save an answer; a ValueError where no such photo was asked about."""

    def start_training(self) -> None:
        """Train on the answers so far, in the background."""


def question_dict(name: str, result: ImageResult) -> dict[str, Any]:
    """A question as JSON, with its photo as the page shows it."""
    return {
        "name": name,
        "width": result.size_wh[0],
        "height": result.size_wh[1],
        "caption": None if result.caption is None else result.caption.to_dict(),
        "regions": [region.to_dict() for region in result.regions],
        "picture": shown_photo(result.photo),
    }


def shown_photo(path: str) -> str:
    """A photo as a JPEG, upright and no larger than `SHOWN_SIDE`, in base64."""
    image = open_photo(path, at_least=SHOWN_SIDE).image
    image.thumbnail((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.BICUBIC)
    target = io.BytesIO()
    image.save(target, "JPEG", quality=88)
    return base64.b64encode(target.getvalue()).decode()


def create_teaching_app(session: Session, *, token: str | None = None) -> FastAPI:
    """The application of `regiontalk serve` with one person's questions.

    Args:
        session: whose model is used by this application alone.
        token: as `create_app` has it.
    """
    limits = Limits(seconds=120.0)
    app = create_app(session.captioner, limits=limits, token=token, routers=[router])
    app.state.teaching = session
    return app


def _session(request: Request) -> Session:
    session: Session = request.app.state.teaching
    return session


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


@router.get("/next")
async def next_question(request: Request) -> dict[str, Any]:
    """The photo and the regions of which the model is least sure."""
    session = _session(request)

    def ask() -> dict[str, Any]:
        question = session.next()
        if question is None:
            return {"name": None, **session.state()}
        return {**question_dict(*question), **session.state()}

    return await _service(request).engine.call(ask)


@router.get("/state")
async def state(request: Request) -> dict[str, Any]:
    """How many answers there are, and how training stands."""
    return await run_in_threadpool(_session(request).state)


@router.post("/answer", openapi_extra=body_of(AnswerForm))
async def answer(request: Request) -> dict[str, Any]:
    """Save an answer; it is on disk when this returns."""
    session = _session(request)
    form, _ = await read(request, AnswerForm)
    boxes = [(named.box, named.phrase) for named in form.boxes]

    def save() -> dict[str, Any]:
        session.take(form.name, form.captions, boxes)
        return session.state()

    return await _service(request).engine.call(save)


@router.post("/train")
async def train(request: Request) -> dict[str, Any]:
    """Train on the answers so far, in the background."""
    session = _session(request)
    await run_in_threadpool(session.start_training)
    return await run_in_threadpool(session.state)
