"""What several verbs share: their options, the reading of boxes, the wording of errors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

Photo = Annotated[
    str, typer.Argument(metavar="PHOTO", help="A photo file.", show_default=False)
]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="A bundled model, a model folder, or owner/name on the Hub.",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        help="Where it runs: cpu, cuda ...",
        show_default=False,
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="NAME",
        help="What computes: onnx, torch, or auto for onnx where the model has its graphs.",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads", metavar="N", min=1, help="Processor threads; all of them if unset."
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print JSON (docs/json.md) on stdout.")
]
Draw = Annotated[
    Path | None,
    typer.Option(
        "--draw",
        metavar="DIR",
        help="Write annotated photos there.",
        show_default=False,
    ),
]
MaxPixels = Annotated[
    int,
    typer.Option(
        "--max-pixels",
        metavar="N",
        min=1,
        help="Larger photos (width x height) are refused undecoded.",
    ),
]
AllBoxes = Annotated[
    bool, typer.Option("--all-boxes", help="Keep every box, also several on one thing.")
]
Features = Annotated[
    Path | None,
    typer.Option(
        "--features",
        metavar="PATH",
        help="For a model trained on precomputed features: the photos', as npz or npy.",
    ),
]
# as images.MAX_PIXELS, which is not imported here: `--help` is quick
MAX_PIXELS = 100_000_000

TRAIN_PACKAGES = ("torch", "torchvision", "timm")  # of the extra [train]

Box = tuple[float, float, float, float]


def parse_boxes(texts: list[str]) -> list[Box]:
    """Boxes from ``x1,y1,x2,y2``; one text may hold several with blanks between.

    >>> parse_boxes(["0,0,10,20", "1,2,3.5,4 5,6,7,8"])
    [(0.0, 0.0, 10.0, 20.0), (1.0, 2.0, 3.5, 4.0), (5.0, 6.0, 7.0, 8.0)]

    Raises:
        ValueError: not four numbers, or an empty or inverted box.
    """
    boxes: list[Box] = []
    for text in chain.from_iterable(text.split() or [text] for text in texts):
        try:
            x1, y1, x2, y2 = (float(value) for value in text.split(","))
        except ValueError:
            raise ValueError(
                f"--box: expected x1,y1,x2,y2 in pixels, got {text!r}"
            ) from None
        if not (0 <= x1 < x2 < float("inf") and 0 <= y1 < y2 < float("inf")):
            raise ValueError(
                f"--box {text}: expected 0 <= x1 < x2 and 0 <= y1 < y2, in pixels of the photo"
            )
        boxes.append((x1, y1, x2, y2))
    return boxes


def one_line(error: BaseException) -> str:
    """The message of an error on one line, a KeyError's without its quotes.

    Of a missing package its extra.

    >>> one_line(KeyError("no such cell; expected lstm or gru"))
    'no such cell; expected lstm or gru'
    """
    if (
        isinstance(error, ImportError)
        and (error.name or "").partition(".")[0] in TRAIN_PACKAGES
    ):
        return f"this needs {error.name}: pip install 'regiontalk[train]'"
    text = (
        str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    )
    return " ".join(text.split()) or type(error).__name__


# (verb, old option) -> new one; the old names work for one version, with a warning
RENAMED_OPTIONS = {
    ("evaluate", "--overlap"): "--nms-iou",
    ("export", "--least"): "--min-confidence",
    ("narrate", "--least"): "--min-confidence",
}


def rename_options(verb: str, arguments: Sequence[str]) -> list[str]:
    """The arguments of a verb with the new names of options; a warning for each old one.

    >>> rename_options("narrate", ["a.jpg", "--limit=80"])
    ['a.jpg', '--limit=80']
    """
    renamed = list(arguments)
    for position, argument in enumerate(arguments):
        if argument == "--":  # names of photos follow
            break
        option, equals, value = argument.partition("=")
        new_name = RENAMED_OPTIONS.get((verb, option))
        if new_name is not None:
            typer.echo(
                f"regiontalk: {option} is called {new_name} now; the old name works "
                "for one more version",
                err=True,
            )
            renamed[position] = f"{new_name}{equals}{value}"
    return renamed
