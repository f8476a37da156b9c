"""``regiontalk search``: the photos of a library that answer words, an example, or both."""

from __future__ import annotations

import json as json_module
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regiontalk.cli import session
from regiontalk.cli.index import HOME, Library, library_uri
from regiontalk.cli.options import (
    MAX_PIXELS,
    Box,
    Device,
    Draw,
    Engine,
    Json,
    MaxPixels,
    Model,
    Threads,
    parse_boxes,
)
from regiontalk.cli.output import Drawings, box_text

if TYPE_CHECKING:
    from regiontalk.index.query import Hit

Text = Annotated[
    str | None,
    typer.Argument(
        metavar="TEXT",
        help='What to find: "a dog in a red collar".',
        show_default=False,
    ),
]
Count = Annotated[
    int,
    typer.Option("--k", "-k", metavar="K", min=1, help="How many photos, best first."),
]
Example = Annotated[
    str | None,
    typer.Option(
        "--photo",
        metavar="PHOTO",
        help="An example of what to find.",
        show_default=False,
    ),
]
BoxOption = Annotated[
    list[str] | None,
    typer.Option(
        "--box",
        metavar="x1,y1,x2,y2",
        help="Only this part of the example, in pixels; may be repeated.",
    ),
]
Folder = Annotated[
    str | None,
    typer.Option(
        "--folder", metavar="DIR", help="Only photos below it.", show_default=False
    ),
]
After = Annotated[
    str | None,
    typer.Option(
        "--after", metavar="DATE", help="Only photos of this day (2024-05-31) or later."
    ),
]
Before = Annotated[
    str | None,
    typer.Option("--before", metavar="DATE", help="Only photos from before this day."),
]


def search(
    text: Text = None,
    k: Count = 10,
    photo: Example = None,
    box: BoxOption = None,
    folder: Folder = None,
    after: After = None,
    before: Before = None,
    json: Json = False,
    draw: Draw = None,
    index: Library = HOME,
    model: Model = "mini",
    device: Device = None,
    engine: Engine = "auto",
    threads: Threads = None,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Find photos of a library by words, by an example photo, or by both."""
    boxes = parse_boxes(box or [])
    _check_query(text, photo, boxes)
    first, last = parse_day("--after", after), parse_day("--before", before)

    from regiontalk import RegionCaptioner
    from regiontalk.index.library import PhotoIndex

    library = PhotoIndex.open(library_uri(index))
    drawings = None if draw is None else Drawings(draw, max_pixels)
    compute = session.compute(device, engine, threads)
    captioner = RegionCaptioner.from_pretrained(model, **compute, max_pixels=max_pixels)
    hits = library.search(
        captioner,
        text,
        photo=photo,
        boxes=boxes or None,
        k=k,
        folder=folder,
        after=first,
        before=last,
    )
    _tell_unknown([] if text is None else captioner.vocabulary.unknown(text))
    _show(hits, {"text": text, "photo": photo, "boxes": boxes}, as_json=json)
    if not hits:
        held = f"the library holds {len(library)} (regiontalk index info)"
        typer.echo(f"no photo answers; {held}", err=True)
    if drawings is not None:
        _draw(hits, drawings)


def _tell_unknown(words: Iterable[str]) -> None:
    for word in words:
        typer.echo(
            f"regiontalk: {word!r} is no word that the model knows; the others decide",
            err=True,
        )


def _show(hits: Sequence[Hit], query: dict[str, Any], *, as_json: bool) -> None:
    """Print the hits."""
    from regiontalk.records import FORMAT

    if as_json:
        document = {
            "format": FORMAT,
            "query": query,
            "hits": [hit.to_dict() for hit in hits],
        }
        typer.echo(json_module.dumps(document, indent=2))
        return
    for rank, hit in enumerate(hits, start=1):
        typer.echo("\n".join(lines(rank, hit)))


def _check_query(text: str | None, photo: str | None, boxes: Sequence[Box]) -> None:
    """Refuse a search for nothing."""
    if text is None and photo is None:
        raise ValueError("search: expected words, --photo or both, got neither")
    if boxes and photo is None:
        raise ValueError(
            "--box: a part of an example photo; name the photo with --photo"
        )


def parse_day(option: str, text: str | None) -> date | None:
    """A day as ISO 8601 has it; a month or a year stands for its first day.

    >>> parse_day("--after", "2024-05")
    datetime.date(2024, 5, 1)

    Raises:
        ValueError: no such day.
    """
    if text is None:
        return None
    try:
        return date.fromisoformat(text + {4: "-01-01", 7: "-01"}.get(len(text), ""))
    except ValueError:
        raise ValueError(
            f"{option}: expected a date such as 2024-05-31, 2024-05 or 2024, got {text!r}"
        ) from None


def lines(rank: int, hit: Hit) -> Iterator[str]:
    """A hit to be read by people: the photo, what answers, a line a word."""
    width, height = hit.result.size_wh
    yield f"{rank}. {hit.photo}  {width}x{height}  {hit.date:%Y-%m-%d}  ({hit.score:.3f})"
    if hit.missing:
        yield "   its file is gone since it was added (regiontalk index remove --missing)"
    if hit.result.caption is not None and hit.result.caption.text:
        yield f"   whole photo: {hit.result.caption.hedged_text}"
    texts = [
        region.text for region in hit.result.regions if region.box == hit.answer.box
    ]
    text = texts[0] if texts else None
    yield f"   answer: {box_text(hit.answer.box)}{f' {text}' if text else ''}"
    for match in hit.result.matches:
        yield f"   {match.phrase}: {box_text(match.box)} ({match.score:.3f})"


def _draw(hits: Sequence[Hit], drawings: Drawings) -> None:
    """Frame the answering region on every photo that is still there.

    Then list those that cannot be drawn.
    """
    from regiontalk.cli.photos import Failure
    from regiontalk.cli.run import report

    failures = []
    for hit in hits:
        if hit.missing:
            typer.echo(f"not drawn, its file is gone: {hit.photo}", err=True)
            continue
        try:
            drawings.add(
                hit.photo, replace(hit.result, regions=(), matches=(hit.answer,))
            )
        except (
            ValueError,
            OSError,
        ) as error:  # a file that was damaged since it was added
            failures.append(Failure(hit.photo, error).without_trace())
    typer.echo(
        f"drawn: the photos, with what answers framed, in {drawings.folder}", err=True
    )
    if failures:
        report(failures, len(hits))
