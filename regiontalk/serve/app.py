"""The application: API, page and gate, built from a loaded model.

    app = create_app(RegionCaptioner.from_pretrained("mini"))

``regiontalk serve`` runs it with uvicorn; any ASGI server can.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.resources import files
from typing import TYPE_CHECKING

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from regiontalk import RegionCaptioner
from regiontalk.index.store import LibraryError
from regiontalk.serve.admission import Admission, BusyError
from regiontalk.serve.engine import Engine
from regiontalk.serve.limits import Limits
from regiontalk.serve.metrics import Metrics
from regiontalk.serve.middleware import Gate, answer, busy, check_token
from regiontalk.serve.routes import Service, make_decoders, router, side
from regiontalk.serve.schemas import RefusedError

if TYPE_CHECKING:
    from regiontalk.index.library import PhotoIndex

_log = logging.getLogger("regiontalk.serve")
Handler = Callable[[Request, Exception], Awaitable[Response]]


def create_app(
    captioner: RegionCaptioner,
    *,
    limits: Limits | None = None,
    library: PhotoIndex | None = None,
    token: str | None = None,
    licence: str = "",
    routers: Sequence[APIRouter] = (),
) -> FastAPI:
    """The application for one model.

    Args:
        captioner: what answers; nothing else may use it meanwhile.
        limits: sizes, times and places.
        library: the photos that ``/v1/search`` searches.
        token: clients must show it as ``Authorization: Bearer``; None where only this machine can
            connect.
        licence: of the model's weights, for ``/v1/models``.
        routers: more requests that it answers.

    Raises:
        ValueError: a token that is none (`check_token`), or the library belongs to another model.
    """
    check_token(token)
    if library is not None:
        library.check_model(captioner)
    limits = limits or Limits()
    admission = Admission(limits.waiting, limits.batch, limits.seconds)
    metrics = Metrics(lambda: admission.inside)
    engine = Engine(
        captioner.caption_many,
        admission,
        batch=limits.batch,
        saw_batch=metrics.batch,
        threads=captioner.predictor.workers,
    )

    decoders = make_decoders()
    app = FastAPI(
        title="RegionTalk",
        version="1",
        lifespan=_lifespan(engine, decoders),
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = Service(
        captioner, engine, limits, metrics, library, decoders, licence
    )
    for requests in (router, side, *routers):
        app.include_router(requests)
    page = StaticFiles(directory=str(files("regiontalk.serve") / "page"), html=True)
    app.mount("/", page, name="page")
    app.add_middleware(
        Gate, admission=admission, limits=limits, metrics=metrics, token=token
    )
    for kind, handler in _handlers().items():
        app.add_exception_handler(kind, handler)
    return app


def _lifespan(
    engine: Engine, decoders: Executor
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """What runs as long as an application does: the engine, and threads that decode."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            async with engine.running():
                yield
        finally:
            decoders.shutdown(wait=False, cancel_futures=True)

    return lifespan


def _handlers() -> dict[type[Exception], Handler]:
    """What answers for each kind of error."""
    return {
        HTTPException: _http,
        RefusedError: _refused,
        BusyError: _busy,
        LibraryError: _library,
        ValueError: _value,
        Exception: _fault,
    }


async def _http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else "unknown"
    if status in (404, 405):
        methods = _methods(request)
        if methods:  # the page's files answer whatever no route takes
            expected = ", ".join(methods)
            return answer(
                405,
                f"{request.method} {request.url.path}: expected {expected}",
                {"Allow": expected},
            )
        return answer(
            404,
            f"{request.method} {request.url.path}: no such address; "
            "/openapi.json lists those there are",
        )
    return answer(
        status,
        f"{request.method} {request.url.path}: {detail}",
        getattr(error, "headers", None),
    )


def _methods(request: Request) -> list[str]:
    """The methods of a request's address by the API's document; empty where it has none."""
    operations = request.app.openapi()["paths"].get(request.url.path, {})
    return [method.upper() for method in operations]


async def _refused(request: Request, error: Exception) -> Response:
    status, reason = (
        (error.status, error.reason)
        if isinstance(error, RefusedError)
        else (500, "unknown")
    )
    return answer(status, reason)


async def _busy(request: Request, error: Exception) -> Response:
    """One that waited in vain."""
    return busy(error) if isinstance(error, BusyError) else answer(503, "busy")


async def _value(request: Request, error: Exception) -> Response:
    """What a client can cause.

    A photo that cannot be used, a box outside it, words that nobody knows.
    """
    return answer(422, RefusedError(422, " ".join(str(error).split())).reason)


async def _library(request: Request, error: Exception) -> Response:
    """The library fails, which no client can mend.

    Its place and what to do are for the log alone.
    """
    _log.error("%s", error)
    return answer(503, "search: the library cannot be read; the server's log says why")


async def _fault(request: Request, error: Exception) -> Response:
    """A fault of ours; the log has its traceback, the answer only says so."""
    return answer(500, "the server failed; its log says where")
