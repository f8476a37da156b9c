"""``regiontalk snippets``: inferred (region, snippet, score) pairs of a data set.

As JSON Lines and a sheet.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from regiontalk.cli import session
from regiontalk.cli.options import MAX_PIXELS, Device, Engine, MaxPixels, Model, Threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from regiontalk import RegionCaptioner
    from regiontalk.records import Example

SHEETS = (".png", ".jpg", ".jpeg", ".webp")
SHEET_SIDE = 448  # pixels of a photo on the sheet: small ones get room for words

Data = Annotated[
    Path,
    typer.Option(
        "--data", metavar="DIR", help="flickr8k/ and flickr30k_entities/, or your own."
    ),
]
Split = Annotated[
    str, typer.Option("--split", metavar="NAME", help="train, dev or test.")
]
Out = Annotated[
    Path, typer.Option("--out", metavar="FILE", help="JSON Lines: one pair a line.")
]
Beta = Annotated[
    float | None,
    typer.Option(
        "--beta",
        metavar="X",
        min=0,
        help="Smoothing of eq. 12; the model's own if unset.",
    ),
]
Sheet = Annotated[
    Path | None,
    typer.Option(
        "--sheet", metavar="FILE", help="Draw a contact sheet of a few photos there."
    ),
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", metavar="N", min=1, help="Only the first photos."),
]


def snippets(
    data: Data,
    out: Out,
    split: Split = "train",
    model: Model = "mini",
    beta: Beta = None,
    sheet: Sheet = None,
    limit: Limit = None,
    device: Device = None,
    engine: Engine = "auto",
    threads: Threads = None,
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Infer which words name which region.

    The result is the training set of the paper's second stage: (region, snippet, score) of every
    sentence.

    Stopped and started again with the same model and beta, it goes on after the last photo that is
    whole; the file gets its name when all is done.
    """
    _check_sheet(sheet)
    from regiontalk import RegionCaptioner
    from regiontalk.cli.progress import Meter
    from regiontalk.datasets.splits import read_split
    from regiontalk.train.snippets import write_snippets

    examples, reports = read_split(data, split)
    for report in reports:
        for line in report.lines():
            typer.echo(line, err=True)
    captioner = RegionCaptioner.from_pretrained(
        model, **session.compute(device, engine, threads), max_pixels=max_pixels
    )
    chosen = examples[:limit]
    with Meter(len(chosen)) as meter:
        count, broken = write_snippets(
            captioner, chosen, out, beta=beta, done=meter.advance
        )
    if sheet is not None:
        _save_sheet(draw_sheet(captioner, chosen[:8], beta), sheet)
    typer.echo(f"{out}: {count} pairs of {len(chosen) - len(broken)} photos", err=True)
    for line in broken:
        typer.echo(f"left out: {line}", err=True)
    if broken:
        raise typer.Exit(1)


def _check_sheet(path: Path | None) -> None:
    """Refuse a contact sheet whose name is no image's."""
    if path is not None and path.suffix.lower() not in SHEETS:
        raise ValueError(
            f"--sheet {path}: expected a name that ends in one of {', '.join(SHEETS)}"
        )


def draw_sheet(
    captioner: RegionCaptioner, examples: Sequence[Example], beta: float | None = None
) -> Image:
    """Photos with the snippets of their first sentence drawn on their boxes.

    Broken photos are left out.

    Raises:
        ValueError: no photo could be read.
    """
    from regiontalk import ImageError
    from regiontalk.drawing.draw import contact_sheet

    images = []
    for example in examples:
        try:
            images.append(_draw_snippets(captioner, example, beta))
        except ImageError:
            continue  # `write_snippets` has reported it
    return contact_sheet(images, columns=4)


def _draw_snippets(
    captioner: RegionCaptioner, example: Example, beta: float | None
) -> Image:
    """A photo of `SHEET_SIDE` each way with the snippets of its first sentence."""
    from regiontalk import ImageResult, PhraseMatch, draw, open_image

    image = open_image(example.photo, max_pixels=captioner.max_pixels)
    side = SHEET_SIDE
    wide, high = side / image.width, side / image.height
    sentence = example.captions[:1]
    matches: list[PhraseMatch] = []
    for snippet in captioner.infer_snippets(example.photo, sentence, beta=beta):
        x1, y1, x2, y2 = snippet.box
        box = (x1 * wide, y1 * high, x2 * wide, y2 * high)
        matches.append(PhraseMatch(snippet.text, box, snippet.score))
    result = ImageResult(
        example.id, (side, side), captioner.config.name, matches=tuple(matches)
    )
    return draw(image.resize((side, side)), result)


def _save_sheet(sheet: Image, path: Path) -> None:
    from regiontalk.export.picture import save_picture

    save_picture(sheet, path)
    typer.echo(f"drew {path}", err=True)
