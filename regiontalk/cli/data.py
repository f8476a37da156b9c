"""``regiontalk data check``: what a training would read of a folder, on one screen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Look at a data set before it trains.")


@app.callback()
def _root() -> None:
    pass


@app.command("check")
def check(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            show_default=False,
            help="As `regiontalk train --data` takes it.",
        ),
    ],
) -> None:
    """What is read of a data set and what is not.

    Photos, captions, words, boxes, sizes, duplicates.
    """
    from regiontalk.datasets.summary import summary

    lines, usable = summary(folder)
    for line in lines:
        typer.echo(line)
    if not usable:
        raise typer.Exit(2)
