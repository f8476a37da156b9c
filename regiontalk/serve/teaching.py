"""``regiontalk teach`` in a browser.

Asks about photos, saves every answer, trains in the background. The page is
``teach.html``; what it asks of the server stands under ``/v1/teach``.
"""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Request
from PIL import Image
from pydantic import BeforeValidator, Field
from starlette.concurrency import run_in_threadpool

from regiontalk import RegionCaptioner
from regiontalk.images.open import open_photo
from regiontalk.serve.app import create_app
from regiontalk.serve.limits import MOST_BOXES, MOST_LETTERS, Limits
from regiontalk.serve.routes import Service
from regiontalk.serve.schemas import Box, Form, RefusedError, body_of, read
from regiontalk.train.answers import Answer
from regiontalk.train.background import BackgroundTraining
from regiontalk.train.teaching import Question, Teacher

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


class Session:
    """What one person is asked.

    Attributes:
        teacher: chooses photos and saves answers.
        training: trains on request.
        folder: of the photos, which are named as seen from it.
    """

    def __init__(
        self, teacher: Teacher, training: BackgroundTraining, folder: Path
    ) -> None:
        """Begin; no photo is looked at yet."""
        self.teacher, self.training, self.folder = teacher, training, folder
        self.used_round = 0

    def state(self) -> dict[str, Any]:
        """How far it is."""
        progress = self.training.progress()
        return {
            "answered": self.teacher.answers.with_words,
            "left": self.teacher.left,
            "training": None if progress is None else progress.to_dict(),
        }

    def next(self) -> dict[str, Any]:
        """The next question with its photo; ``name`` is null where all are answered."""
        question = self.teacher.next()
        if question is None:
            return {"name": None, **self.state()}
        return {**question_dict(question, self.folder), **self.state()}

    def take(self, form: AnswerForm) -> dict[str, Any]:
        """Save an answer."""
        photo = self.folder / form.name
        question = self.teacher.question(photo)
        if question is None:
            raise RefusedError(
                422,
                f"name: expected the photo that was asked about, got {form.name[:80]!r}",
            )
        boxes = tuple((named.box, named.phrase) for named in form.boxes)
        size_wh = question.result.size_wh
        self.teacher.take(Answer(photo, size_wh, form.captions, boxes))
        return self.state()

    def use_new_model(self) -> None:
        """Let a model that has been trained since ask from now on."""
        progress = self.training.progress()
        if progress and progress.state == "done" and progress.round != self.used_round:
            self.used_round = progress.round
            self.teacher.use(RegionCaptioner.from_pretrained(progress.model))


def question_dict(question: Question, folder: Path) -> dict[str, Any]:
    """A question as JSON, with its photo as the page shows it."""
    result = question.result
    return {
        "name": question.photo.relative_to(folder).as_posix(),
        "width": result.size_wh[0],
        "height": result.size_wh[1],
        "caption": None if result.caption is None else result.caption.to_dict(),
        "regions": [region.to_dict() for region in result.regions],
        "picture": shown_photo(question.photo),
    }


def shown_photo(path: Path) -> str:
    """A photo as a JPEG, upright and no larger than `SHOWN_SIDE`, in base64."""
    image = open_photo(path, at_least=SHOWN_SIDE).image
    image.thumbnail((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.BICUBIC)
    target = io.BytesIO()
    image.save(target, "JPEG", quality=88)
    return base64.b64encode(target.getvalue()).decode()


def create_teaching_app(session: Session, *, token: str | None = None) -> FastAPI:
    """The application of `regiontalk serve` with one person's questions.

    Args:
        session: whose teacher's model is used by this application alone.
        token: as `create_app` has it.
    """
    limits = Limits(seconds=120.0)
    app = create_app(
        session.teacher.captioner, limits=limits, token=token, routers=[router]
    )
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
        session.use_new_model()
        return session.next()

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
    return await _service(request).engine.call(lambda: session.take(form))


@router.post("/train")
async def train(request: Request) -> dict[str, Any]:
    """Train on the answers so far, in the background."""
    session = _session(request)
    await run_in_threadpool(session.training.start)
    return await run_in_threadpool(session.state)
