"""Alt texts into the HTML pages of a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

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
    caption: Callable[[Sequence[str]], Sequence[ImageResult]],
    alt: Callable[[ImageResult], str],
    replace: bool,
) -> None:
    """Put alt texts into the pages below ``root`` and write those that change.

    They go below ``out``, which may be the same.

    Args:
        root: of the site.
        out: of the changed pages.
        caption: photos to their results.
        alt: a result to the alt text; "" for nothing.
        replace: in place of the alt texts that somebody wrote, too.

    Raises:
        ValueError: no HTML page below ``root``.
        typer.Exit: code 1 where some photos or pages failed, after the other pages are written.
    """
    pages = [
        path
        for path in sorted(root.rglob("*"))
        if path.suffix.lower() in (".html", ".htm") and path.is_file()
    ]
    if not pages:
        raise ValueError(
            f"{root}: no page in this folder; expected files such as .html"
        )
    site = _read_site(pages, root, replace)
    photos = Photos(tuple(map(str, site.alts)), single=False)

    def keep(path: str, result: ImageResult) -> None:
        site.alts[Path(path)] = alt(result)

    try:
        for_each(photos, caption, keep)
    finally:
        for page, text in site.texts.items():
            _write_page(
                page, text, out / page.relative_to(root), site.alts, root, replace
            )
        silent = sum(not text for text in site.alts.values())
        if silent:
            typer.echo(
                f"{silent} of {len(site.alts)} pictures have no alt text: nothing was sure enough",
                err=True,
            )
    if len(site.texts) < len(pages):
        raise typer.Exit(1)


class _Site(NamedTuple):
    """The pages that can be read.

    Attributes:
        texts: page -> its text, and its encoding.
        alts: photo file that wants an alt text -> that text, empty at first.
    """

    texts: dict[Path, tuple[str, str]]
    alts: dict[Path, str]


def _read_site(pages: Sequence[Path], root: Path, replace: bool) -> _Site:
    """Read the pages and what their images want.

    A page that cannot be read is reported and left out.
    """
    site = _Site({}, {})
    for page in pages:
        try:
            text = _decoded(page.read_bytes())
            images = list(wanted(text[0], replace))
        except (ValueError, OSError) as error:
            typer.echo(f"regiontalk: {page}: {one_line(error)}", err=True)
            continue
        site.texts[page] = text
        for image in images:
            file = _image_file(image, page, root)
            if file is not None:
                site.alts[file] = ""
    return site


def _image_file(image: Picture, page: Path, root: Path) -> Path | None:
    file = local_file(image.source, page, root)
    return file if file is not None and file.suffix.lower() in SUFFIXES else None


def _write_page(
    page: Path,
    text: tuple[str, str],
    path: Path,
    alts: dict[Path, str],
    root: Path,
    replace: bool,
) -> None:
    """One page, where its text changes."""
    html, encoding = text

    def alt_of(image: Picture) -> str:
        file = _image_file(image, page, root)
        return alts.get(file, "") if file is not None else ""

    changed, count = with_alts(html, alt_of, replace)
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
