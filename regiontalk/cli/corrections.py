"""``regiontalk import``: what people corrected in Label Studio, as training data of your own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

Export = Annotated[
    Path,
    typer.Argument(
        metavar="EXPORT.json", help="Label Studio's export of the type JSON.", show_default=False
    ),
]
Photos = Annotated[
    Path,
    typer.Option("--photos", metavar="DIR", help="The folder that the tasks name photos from."),
]
Out = Annotated[
    Path, typer.Option("--out", metavar="FILE.jsonl", help="A training file, such as train.jsonl.")
]


def import_corrections(export: Export, photos: Photos, out: Out) -> None:
    """Make a training file of corrected captions, which `regiontalk train --data` reads.

    Tasks that nobody annotated and boxes without an area are left out and listed.
    """
    from regiontalk.export.labelstudio import read_tasks
    from regiontalk.export.names import relative
    from regiontalk.files import read_text, write_data

    if out.suffix.lower() != ".jsonl":
        raise ValueError(f"--out {out}: expected a name that ends in .jsonl")
    try:
        found = read_tasks(json.loads(read_text(export)))
    except ValueError as error:
        raise ValueError(f"{export}: {error}") from error
    rows = [
        {**row, "photo": relative(str(photos / row["photo"]), out.parent)} for row in found.rows
    ]
    if not rows:
        raise ValueError(
            f"{export}: expected annotated tasks, got none; {'; '.join(found.left_out[:3])}"
        )
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_data(out, text.encode())
    for line in found.left_out:
        typer.echo(f"left out: {line}", err=True)
    missing = [row["photo"] for row in found.rows if not (photos / row["photo"]).is_file()]
    for name in missing:
        typer.echo(f"not below {photos}: {name}", err=True)
    typer.echo(f"{out}: {len(rows)} photos", err=True)
    if missing:
        raise typer.Exit(1)
