"""Alt texts into the HTML pages of a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import typer

from regiontalk.cli.options import one_line
from regiontalk.cli.photos import Photos
from regiontalk.cli.run import for_each
from regiontalk.export.html import Picture, local_file, wanted, with_alts
from regiontalk.files import write_data
from regiontalk.images.suffixes import SUFFIXES
from regiontalk.records import ImageResult


def describe_pages(
    root: Path,
    out: Path,
    look: Callable[[Sequence[str]], Sequence[ImageResult]],
    alt: Callable[[ImageResult], str],
    replace: bool,
) -> None:
    """Put alt texts into the pages below ``root`` and write those that change below ``out``, which may be the same.

    Args:
        root: of the site.
        out: of the changed pages.
        look: photos to what is said of them.
        alt: what is said to the alt text; "" for nothing.
        replace: in place of the alt texts that somebody wrote, too.

    Raises:
        ValueError: no HTML page below ``root``.
        typer.Exit: code 1 where some photos or pages failed, after the other pages are written.
    """
    pages = sorted(
        path
        for path in root.rglob("*")
        if path.suffix.lower() in (".html", ".htm") and path.is_file()
    )
    if not pages:
        raise ValueError(f"{root}: no page in this folder; expected files such as .html")
    texts: dict[Path, tuple[str, str]] = {}
    files: dict[Path, str] = {}
    for page in pages:
        try:
            text = _decoded(page.read_bytes())
            asked = list(wanted(text[0], replace))
        except (ValueError, OSError) as error:
            typer.echo(f"regiontalk: {page}: {one_line(error)}", err=True)
            continue
        texts[page] = text
        files |= {file: "" for one in asked if (file := _picture(one, page, root))}

    def keep(path: str, result: ImageResult) -> None:
        files[Path(path)] = alt(result)

    try:
        for_each(Photos(tuple(str(file) for file in files), single=False), look, keep)
    finally:
        for page, text in texts.items():
            _write_page(page, text, out / page.relative_to(root), files, root, replace)
        silent = sum(not text for text in files.values())
        if silent:
            typer.echo(
                f"{silent} of {len(files)} pictures have no alt text: nothing was sure enough",
                err=True,
            )
    if len(texts) < len(pages):
        raise typer.Exit(1)


def _picture(picture: Picture, page: Path, root: Path) -> Path | None:
    file = local_file(picture.source, page, root)
    return file if file is not None and file.suffix.lower() in SUFFIXES else None


def _write_page(
    page: Path, text: tuple[str, str], path: Path, alts: dict[Path, str], root: Path, replace: bool
) -> None:
    """One page, where its text changes."""
    html, encoding = text

    def words(picture: Picture) -> str:
        file = _picture(picture, page, root)
        return alts.get(file, "") if file is not None else ""

    changed, count = with_alts(html, words, replace)
    if not count:
        return
    write_data(path, changed.encode(encoding))  # what was put in is ASCII
    typer.echo(f"wrote {path}: {count} alt texts", err=True)


def _decoded(data: bytes) -> tuple[str, str]:
    """The text of a page and the encoding that gives its bytes back; latin-1 does for any bytes."""
    try:
        return data.decode(), "utf-8"
    except UnicodeDecodeError:
        return data.decode("latin-1"), "latin-1"
