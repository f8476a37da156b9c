"""``regiontalk import``: what people corrected in other tools, as training data.

From Label Studio, CVAT or a COCO tool.
"""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from regiontalk.export.corrections import Corrections

Export = Annotated[
    Path,
    typer.Argument(
        metavar="EXPORT",
        help="Label Studio's export of the type JSON, COCO's JSON, or CVAT's XML.",
        show_default=False,
    ),
]
Photos = Annotated[
    Path,
    typer.Option(
        "--photos", metavar="DIR", help="The folder that the tasks name photos from."
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        "--out", metavar="FILE.jsonl", help="A training file, such as train.jsonl."
    ),
]


def import_corrections(export: Export, photos: Photos, out: Out) -> None:
    """Make a training file of corrected captions, which `regiontalk train --data` reads.

    Tasks that nobody annotated and boxes without an area are left out and listed.
    """
    from regiontalk.files import write_data

    if out.suffix.lower() != ".jsonl":
        raise ValueError(f"--out {out}: expected a name that ends in .jsonl")
    corrections = _read_export(export)
    for line in corrections.left_out:
        typer.echo(f"left out: {line}", err=True)
    lines, missing = _training_lines(corrections, photos, out.parent)
    write_data(out, "".join(lines).encode("utf-8", "replace"))
    typer.echo(f"{out}: {len(lines)} photos", err=True)
    if missing:
        raise typer.Exit(1)


def _training_lines(
    corrections: Corrections, photos: Path, folder: Path
) -> tuple[list[str], int]:
    """The lines of a training file, and how many of their photos were not found.

    Each of these is told.

    Args:
        corrections: a row for each photo.
        photos: the folder that the rows name photos from.
        folder: of the training file, from which it names them.
    """
    from regiontalk.datasets.photo_paths import find_photo, missing_photo
    from regiontalk.files import relative

    lines: list[str] = []
    missing = 0
    for row in corrections.rows:
        path = find_photo(photos, row["photo"])
        if path is None:
            missing += 1
            typer.echo(
                f"not below {photos}: {missing_photo(photos, row['photo'])}", err=True
            )
            path = photos / row["photo"]
        row = {**row, "photo": relative(str(path), folder)}
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    return lines, missing


def _read_export(export: Path) -> Corrections:
    """The corrections in an export.

    Raises:
        ValueError: not an export, or nobody annotated a photo of it.
        OSError: it cannot be read.
    """
    from regiontalk.files import read_text

    _refuse_archive(export)
    try:
        corrections = _read(read_text(export))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{export}: {error}") from error
    if not corrections.rows:
        reasons = "".join(f"; {line}" for line in corrections.left_out[:3])
        raise ValueError(f"{export}: expected annotated photos, got none{reasons}")
    return corrections


def _refuse_archive(export: Path) -> None:
    """Tell what to do with the ZIP archives in which annotation tools put their exports.

    Raises:
        ValueError: the file is one; names the files inside that may be meant.
    """
    if not zipfile.is_zipfile(export):
        return
    with zipfile.ZipFile(export) as archive:
        names = [
            name for name in archive.namelist() if name.endswith((".json", ".xml"))
        ]
    inside = f"it holds {', '.join(names[:3])}" if names else "it holds neither"
    raise ValueError(
        f"{export}: expected a JSON or XML file, got a ZIP archive; unpack it "
        f"and give the file inside ({inside})"
    )


def _read(text: str) -> Corrections:
    """The corrections in a file of any of the programs.

    Raises:
        ValueError: of none of them.
    """
    if re.match(r"\s*<", text):
        from regiontalk.export.cvat import read_document as read_cvat

        return read_cvat(text)
    from regiontalk.export.coco_import import is_document, read_document
    from regiontalk.export.labelstudio_import import read_tasks

    if not re.match(r"\s*[\[{]", text):
        raise ValueError(
            "expected Label Studio's or COCO's JSON, or CVAT's XML, got a text that begins "
            f"{' '.join(text[:40].split())!r}; choose JSON where the tool exports"
        )
    document = json.loads(text)
    return read_document(document) if is_document(document) else read_tasks(document)
