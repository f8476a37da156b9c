"""The requests under ``/v1``.

Each reads its form, opens the photo in a thread, and waits for the model's turn.
"""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from fastapi import APIRouter, Request, Response
from PIL import Image

from regiontalk import RegionCaptioner
from regiontalk.export.alt_text import narrate as compose
from regiontalk.images.open import MAX_PIXELS, ImageError, Photo, open_photo
from regiontalk.records import checked_boxes
from regiontalk.serve import responses, schemas
from regiontalk.serve.admission import current_ticket, in_queue
from regiontalk.serve.engine import Engine, Speaking
from regiontalk.serve.limits import Limits
from regiontalk.serve.metrics import Metrics

if TYPE_CHECKING:
    from regiontalk.index.library import PhotoIndex
    from regiontalk.index.query import Hit

T = TypeVar("T")
PhotoFormKind = TypeVar("PhotoFormKind", bound=schemas.PhotoForm)

_USUAL = 10  # regions, where a request names neither a number nor boxes
_DECODERS = 2  # photos decoded at once: a large one takes hundreds of megabytes


@dataclass(frozen=True)
class Service:
    """What the requests need."""

    captioner: RegionCaptioner
    engine: Engine
    limits: Limits
    metrics: Metrics
    library: PhotoIndex | None
    decoders: Executor
    licence: str

    async def read(
        self, request: Request, kind: type[PhotoFormKind]
    ) -> tuple[PhotoFormKind, Photo]:
        """What a request asks, and its photo.

        The bytes that came are not kept while it waits for its turn.
        """
        form, name = await schemas.read(request, kind)
        photo = await self.open(form.photo, name)
        return form.model_copy(update={"photo": b""}), photo

    async def open(self, content: bytes, name: str) -> Photo:
        """The photo in an upload, decoded and kept no larger than the model needs."""
        size = self.captioner.preprocessing.size
        photo = await self.decode(
            lambda: open_photo(
                content, max_pixels=self.limits.pixels, at_least=size, name=name
            )
        )
        ticket = current_ticket.get()
        if ticket is not None:
            ticket.upload.release()
        return photo

    async def decode(self, work: Callable[[], T]) -> T:
        """Work on a picture in a decoder's thread.

        The place is taken as long as the thread works, asked for or not.
        """
        with in_queue() as begin:

            def run() -> T:
                begin()
                return work()

            return await asyncio.get_running_loop().run_in_executor(self.decoders, run)


router = APIRouter(prefix="/v1", responses=responses.PROBLEMS)


def make_decoders() -> Executor:
    """Threads for photos that are decoded at once."""
    return ThreadPoolExecutor(_DECODERS, "decode")


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


@router.post(
    "/caption",
    response_model=responses.Image,
    openapi_extra=schemas.body_of(schemas.CaptionForm),
)
async def caption(request: Request) -> dict[str, Any]:
    """Words on the regions of a photo, or on your boxes."""
    service = _service(request)
    form, photo = await service.read(request, schemas.CaptionForm)
    if form.boxes is None:
        regions = _USUAL if form.regions is None else form.regions
        return (
            await service.engine.caption(
                photo, Speaking(regions, form.beams, form.threshold)
            )
        ).to_dict()
    boxes = checked_boxes(form.boxes, photo.size_wh)

    def describe() -> dict[str, Any]:
        return service.captioner.describe(
            photo, boxes, beams=form.beams, threshold=form.threshold
        ).to_dict()

    return await service.engine.call(describe)


@router.post(
    "/align",
    response_model=responses.Aligned,
    openapi_extra=schemas.body_of(schemas.AlignForm),
)
async def align(request: Request) -> dict[str, Any]:
    """The box of every word of a sentence, and every word's score on every box."""
    service = _service(request)
    form, photo = await service.read(request, schemas.AlignForm)

    def work() -> dict[str, Any]:
        captioner = service.captioner
        word_scores = captioner.score_words(photo, form.sentence)
        looks = None
        if form.looks and captioner.attends:
            attention = captioner.look(photo, form.sentence)
            looks = _matrix(attention.words, attention.boxes_xyxy, attention.weights)
        boxes_xyxy = word_scores.boxes_xyxy
        matrix = _matrix(
            word_scores.words, boxes_xyxy, word_scores.scores[:, : len(boxes_xyxy)]
        )
        aligned = captioner.decode_alignment(word_scores, beta=form.beta).to_dict()
        return aligned | {
            "matrix": matrix,
            "looks": looks,
            "unknown_words": captioner.vocabulary.unknown(form.sentence),
        }

    return await service.engine.call(work)


@router.post(
    "/locate",
    response_model=responses.Located,
    openapi_extra=schemas.body_of(schemas.LocateForm),
)
async def locate(request: Request) -> dict[str, Any]:
    """The places of a phrase."""
    service = _service(request)
    form, photo = await service.read(request, schemas.LocateForm)

    def work() -> dict[str, Any]:
        result = service.captioner.locate(photo, form.phrase, k=form.k).to_dict()
        return result | {
            "unknown_words": service.captioner.vocabulary.unknown(form.phrase)
        }

    return await service.engine.call(work)


@router.post(
    "/narrate",
    response_model=responses.Narrated,
    openapi_extra=schemas.body_of(schemas.NarrateForm),
)
async def narrate(request: Request) -> dict[str, Any]:
    """An alt text for a photo."""
    service = _service(request)
    form, photo = await service.read(request, schemas.NarrateForm)
    result = await service.engine.caption(photo, Speaking(form.regions, None, None))
    text = compose(
        result,
        limit=form.limit,
        min_confidence=form.min_confidence,
        neutral=form.neutral,
    )
    return result.to_dict() | {"alt_text": text}


@router.post(
    "/search",
    response_model=responses.Hits,
    openapi_extra=schemas.body_of(schemas.SearchForm),
)
async def search(request: Request) -> dict[str, Any]:
    """Photos of the library, best first, each with the region that answers."""
    service = _service(request)
    form, name = await schemas.read(request, schemas.SearchForm)
    library = service.library
    if library is None:
        raise schemas.RefusedError(
            404,
            "search: this server has no library; start it with --index (regiontalk index)",
        )
    photo = None if form.photo is None else await service.open(form.photo, name)
    form = form.model_copy(update={"photo": None})
    hits, unknown_words = await service.engine.call(
        partial(_search_library, service.captioner, library, form, photo)
    )
    thumbnails = await _thumbnails(service, [hit.photo for hit in hits], form.thumbnail)
    rows = [
        hit.to_dict() | {"thumbnail": thumbnail}
        for hit, thumbnail in zip(hits, thumbnails, strict=True)
    ]
    return {"hits": rows, "unknown_words": unknown_words}


def _search_library(
    captioner: RegionCaptioner,
    library: PhotoIndex,
    form: schemas.SearchForm,
    photo: Photo | None,
) -> tuple[Sequence[Hit], list[str]]:
    """The photos that a form asks for, and the words of its text that the model does not know."""
    hits = library.search(
        captioner,
        form.text,
        photo=photo,
        boxes=form.boxes,
        k=form.k,
        folder=form.folder or None,
        after=form.after,
        before=form.before,
    )
    return hits, captioner.vocabulary.unknown(form.text) if form.text else []


@router.get("/models", response_model=responses.Models)
async def models(request: Request) -> dict[str, Any]:
    """The loaded model, the library and the limits."""
    service = _service(request)
    model = service.captioner.predictor
    about = {
        "name": model.config.name,
        "parameters": sum(weights.size for weights in model.weights().values()),
        "words": len(model.vocabulary),
        "confidence_threshold": model.config.decoding.threshold,
        "beams": model.config.decoding.beams,
        "attends": service.captioner.attends,
        "licence": service.licence,
    }
    library = (
        None
        if service.library is None
        else await asyncio.to_thread(len, service.library)
    )
    return {"models": [about], "library": library, "limits": asdict(service.limits)}


side = APIRouter()


@side.get("/healthz", response_model=responses.Health)
async def healthz() -> dict[str, str]:
    """Whether the server responses."""
    return {"status": "ok"}


@side.get("/metrics", responses={401: responses.PROBLEMS[401]})
async def metrics(request: Request) -> Response:
    """Counts and times in Prometheus's text format."""
    return Response(
        _service(request).metrics.text(), media_type="text/plain; version=0.0.4"
    )


async def _thumbnails(
    service: Service, paths: Sequence[str], side: int
) -> list[str | None]:
    """Photos of the library, small; None for those that are gone, or for which there is no time.

    One after another, so that uploads find a decoder between them; together a third of a request's
    time.
    """
    # the library's own, perhaps larger than what clients may send
    pixels = max(MAX_PIXELS, service.limits.pixels)
    small: list[str | None] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(service.limits.seconds / 3):
            for path in paths if side else []:
                small.append(
                    await service.decode(partial(thumbnail, path, side, pixels))
                )
    return small + [None] * (len(paths) - len(small))


def thumbnail(path: str, side: int, pixels: int) -> str | None:
    """A photo as a data: URI, its longer side at most ``side``; None where it is gone."""
    try:
        photo = open_photo(path, max_pixels=pixels, at_least=side, srgb=True)
    # vanished or damaged since it was indexed: the answer says so by its null
    except ImageError:
        return None
    scale = min(1, side / max(photo.size_wh))
    wide, high = (max(1, round(scale * length)) for length in photo.size_wh)
    target = io.BytesIO()
    photo.image.resize((wide, high), Image.Resampling.BICUBIC).save(
        target, "JPEG", quality=80
    )
    return f"data:image/jpeg;base64,{base64.b64encode(target.getvalue()).decode()}"


def _matrix(words: Sequence[str], boxes: Any, scores: Any) -> dict[str, Any]:
    """Plain numbers of a matrix of words and boxes."""
    rounded = {
        "boxes": np.round(boxes.astype(float), 1).tolist(),
        "scores": np.round(scores.astype(float), 4).tolist(),
    }
    return {"words": list(words), **rounded}
