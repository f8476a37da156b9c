"""The requests under ``/v1``: each reads its form, opens the photo in a thread, and waits for the model's turn."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import numpy as np
from fastapi import APIRouter, Request, Response

from regiontalk import RegionCaptioner
from regiontalk.images import ImageError, Photo, open_photo
from regiontalk.narrate import narrate as compose
from regiontalk.records import checked_boxes
from regiontalk.serve import answers, forms
from regiontalk.serve.engine import Engine, Speaking
from regiontalk.serve.limits import Limits
from regiontalk.serve.metrics import Metrics

if TYPE_CHECKING:
    from regiontalk.index.library import PhotoIndex
    from regiontalk.index.query import Hit

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
    decoders: anyio.CapacityLimiter
    licence: str

    async def open(self, content: bytes, name: str) -> Photo:
        """The photo in an upload, decoded no larger than the model needs."""

        def work() -> Photo:
            size = self.captioner.model.preprocessing.size
            return open_photo(content, max_pixels=self.limits.pixels, at_least=size, name=name)

        return await anyio.to_thread.run_sync(work, limiter=self.decoders, abandon_on_cancel=True)


router = APIRouter(prefix="/v1", responses=answers.PROBLEMS)


def decoders() -> anyio.CapacityLimiter:
    """Places for photos that are decoded at once."""
    return anyio.CapacityLimiter(_DECODERS)


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


@router.post("/caption", response_model=answers.Image, openapi_extra=forms.body_of(forms.CaptionForm))
async def caption(request: Request) -> dict[str, Any]:
    """Words on the regions of a photo, or on your boxes."""
    service = _service(request)
    form, name = await forms.read(request, forms.CaptionForm)
    photo = await service.open(form.photo, name)
    if form.boxes is None:
        regions = _USUAL if form.regions is None else form.regions
        return (await service.engine.caption(photo, Speaking(regions, form.beams, form.threshold))).to_dict()
    boxes = checked_boxes(form.boxes, photo.size_wh)

    def describe() -> dict[str, Any]:
        return service.captioner.describe(photo, boxes, beams=form.beams, threshold=form.threshold).to_dict()

    return await service.engine.call(describe)


@router.post("/align", response_model=answers.Aligned, openapi_extra=forms.body_of(forms.AlignForm))
async def align(request: Request) -> dict[str, Any]:
    """The box of every word of a sentence, and every word's score on every box."""
    service = _service(request)
    form, name = await forms.read(request, forms.AlignForm)
    photo = await service.open(form.photo, name)

    def work() -> dict[str, Any]:
        captioner = service.captioner
        weighed = captioner.weigh(photo, form.sentence)
        looks = None
        if form.looks and captioner.attends:
            seen = captioner.look(photo, form.sentence)
            looks = _matrix(seen.words, seen.boxes_xyxy, seen.weights)
        matrix = _matrix(weighed.words, weighed.boxes_xyxy, weighed.scores[:, : len(weighed.boxes_xyxy)].numpy())
        return captioner.join(weighed, beta=form.beta).to_dict() | {"matrix": matrix, "looks": looks}

    return await service.engine.call(work)


@router.post("/locate", response_model=answers.Image, openapi_extra=forms.body_of(forms.LocateForm))
async def locate(request: Request) -> dict[str, Any]:
    """The places of a phrase."""
    service = _service(request)
    form, name = await forms.read(request, forms.LocateForm)
    photo = await service.open(form.photo, name)
    return await service.engine.call(lambda: service.captioner.locate(photo, form.phrase, k=form.k).to_dict())


@router.post("/narrate", response_model=answers.Narrated, openapi_extra=forms.body_of(forms.NarrateForm))
async def narrate(request: Request) -> dict[str, Any]:
    """An alt text for a photo."""
    service = _service(request)
    form, name = await forms.read(request, forms.NarrateForm)
    photo = await service.open(form.photo, name)
    result = await service.engine.caption(photo, Speaking(form.regions, None, None))
    text = compose(result, limit=form.limit, least=form.least, neutral=form.neutral)
    return result.to_dict() | {"alt_text": text}


@router.post("/search", response_model=answers.Hits, openapi_extra=forms.body_of(forms.SearchForm))
async def search(request: Request) -> dict[str, Any]:
    """Photos of the library, best first, each with the region that answers."""
    service = _service(request)
    form, name = await forms.read(request, forms.SearchForm)
    library = service.library
    if library is None:
        raise forms.RefusedError(404, "search: this server has no library; start it with --index (regiontalk index)")
    photo = None if form.photo is None else await service.open(form.photo, name)

    def work() -> tuple[Sequence[Hit], list[str]]:
        from regiontalk.index.query import unknown_words

        times = {"after": _local(form.after), "before": _local(form.before)}
        where = {"k": form.k, "folder": form.folder or None, **times}
        hits = library.search(service.captioner, form.text, photo=photo, boxes=form.boxes, **where)
        return hits, unknown_words(service.captioner, form.text) if form.text else []

    hits, unknown = await service.engine.call(work)
    small = await anyio.to_thread.run_sync(
        lambda: [thumbnail(hit.photo, form.thumbnail, service.limits.pixels) for hit in hits], limiter=service.decoders
    )
    found = [hit.to_dict() | {"thumbnail": picture} for hit, picture in zip(hits, small, strict=True)]
    return {"hits": found, "unknown_words": unknown}


@router.get("/models", response_model=answers.Models)
async def models(request: Request) -> dict[str, Any]:
    """The loaded model, the library and the limits."""
    service = _service(request)
    model = service.captioner.model
    about = {
        "name": model.config.name,
        "parameters": sum(weights.numel() for weights in model.parameters()),
        "words": len(model.vocabulary),
        "confidence_threshold": model.config.decoding.threshold,
        "beams": model.config.decoding.beams,
        "attends": service.captioner.attends,
        "licence": service.licence,
    }
    library = None if service.library is None else len(service.library)
    return {"models": [about], "library": library, "limits": asdict(service.limits)}


side = APIRouter()


@side.get("/healthz", response_model=answers.Health)
async def healthz() -> dict[str, str]:
    """Whether the server answers."""
    return {"status": "ok"}


@side.get("/metrics", responses={401: answers.PROBLEMS[401]})
async def metrics(request: Request) -> Response:
    """Counts and times in Prometheus's text format."""
    return Response(_service(request).metrics.text(), media_type="text/plain; version=0.0.4")


def thumbnail(path: str, side: int, pixels: int) -> str | None:
    """A photo of the library as a data: URI, its longer side ``side``; None where it is gone or none is wanted."""
    if not side:
        return None
    try:
        picture = open_photo(path, max_pixels=pixels, at_least=side).image
    except ImageError:  # vanished or damaged since it was indexed: the answer says so by its null
        return None
    picture.thumbnail((side, side))
    target = io.BytesIO()
    picture.save(target, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(target.getvalue()).decode()}"


def _matrix(words: Sequence[str], boxes: Any, scores: Any) -> dict[str, Any]:
    """Plain numbers of a matrix of words and boxes."""
    rounded = {"boxes": np.round(boxes.astype(float), 1).tolist(), "scores": np.round(scores.astype(float), 4).tolist()}
    return {"words": list(words), **rounded}


def _local(time: Any) -> Any:
    """A time without a zone, as cameras write it; one with a zone becomes this machine's."""
    return time if time is None or time.tzinfo is None else time.astimezone().replace(tzinfo=None)
