"""A gallery: one static page with photos, boxes and captions.

It needs no server and loads nothing from elsewhere.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from PIL import Image

from regiontalk.export.names import iri
from regiontalk.export.picture import save_picture
from regiontalk.files import write_data
from regiontalk.records import ImageResult, RegionCaption

SIDE = 1280  # pixels of the longer side of a photo on the page
PHOTOS = "photos"  # the folder of the reduced photos in that of the page
_UNFINISHED = ".unfinished_gallery"  # a file where the page is to be written
# near the beginning of every page that we write
_MARK = '<meta name="generator" content="RegionTalk">'
_HUES = (4, 28, 48, 95, 150, 190, 215, 260, 290, 330)

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 72rem; padding: 1rem; }
article { display: grid; gap: 1rem; margin: 0 0 3rem; }
article { grid-template-columns: minmax(0, 3fr) minmax(14rem, 2fr); }
@media (max-width: 44rem) { article { grid-template-columns: 1fr; } }
h2 { font-size: 1.1rem; margin: 0 0 .5rem; overflow-wrap: anywhere; }
figure { margin: 0; position: relative; align-self: start; }
img { display: block; width: 100%; height: auto; border-radius: .3rem; }
.box { position: absolute; box-sizing: border-box; border: 3px solid var(--line); }
.box { outline: 1px solid #0009; outline-offset: -4px; opacity: .75; }
ul { list-style: none; margin: .5rem 0; padding: 0; }
li { border-left: .5rem solid var(--line); margin: .25rem 0; padding: .1rem .6rem; }
.on { opacity: 1; background: #fff3; }
li.on { background: #8883; }
article.some .box:not(.on) { opacity: .15; }
small { opacity: .75; }
"""
# Pointing at a box or a line, or stepping to a line by keyboard, lights up both.
_SCRIPT = """
for (const article of document.querySelectorAll("article")) {
  const light = (number, on) => {
    article.classList.toggle("some", on);
    for (const one of article.querySelectorAll(`[data-n="${number}"]`))
      one.classList.toggle("on", on);
  };
  for (const one of article.querySelectorAll("[data-n]"))
    for (const event of ["mouseenter", "mouseleave", "focus", "blur"])
      one.addEventListener(event, () =>
        light(one.dataset.n, event === "mouseenter" || event === "focus"));
}
"""


@dataclass(frozen=True)
class Entry:
    """A photo on the page.

    Attributes:
        result: what was said.
        picture: file of the reduced photo.
        alt: its alt text.
    """

    result: ImageResult
    picture: Path
    alt: str


def check_folder(folder: Path) -> None:
    """Refuse a folder where the gallery would replace what is not an earlier gallery's.

    Raises:
        ValueError: it has a page that is not ours, or files in ``photos`` and neither a
            page of ours nor the mark of a run that was interrupted.
        OSError: it cannot be read.
    """
    index, photos = folder / "index.html", folder / PHOTOS
    ours = (folder / _UNFINISHED).exists()
    if index.exists():
        with index.open("rb") as file:
            ours = _MARK.encode() in file.read(1000)
        if not ours:
            raise ValueError(
                f"{index}: expected no page or a gallery of ours, got another page; "
                "choose another --out"
            )
    if not ours and photos.exists() and (not photos.is_dir() or any(photos.iterdir())):
        raise ValueError(
            f"{photos}: expected no files beside a gallery that is made anew, got "
            "some; choose another --out"
        )


def mark_unfinished(folder: Path) -> None:
    """Say that ``photos`` is a gallery's, which has no page yet; a later run may go on with it.

    Raises:
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = b"A gallery of RegionTalk's, whose page is not written yet.\n"
    write_data(folder / _UNFINISHED, text)


def mark_finished(folder: Path) -> None:
    """The page of a gallery is there."""
    (folder / _UNFINISHED).unlink(missing_ok=True)


def check_photos(photos: Iterable[str], folder: Path) -> None:
    """Refuse photos that stand where the gallery's own pictures go.

    Raises:
        ValueError: one does.
    """
    pictures = folder / PHOTOS
    if not pictures.exists():
        return
    for photo in photos:
        places = {
            Path(photo).parent,
            Path(photo).resolve().parent,
        }  # a link may stand in it or lead to it
        if any(parent.exists() and parent.samefile(pictures) for parent in places):
            raise ValueError(
                f"{photo}: expected a photo outside {pictures}, the gallery's own; "
                "choose another --out"
            )


def write_picture(image: Image.Image, path: Path) -> None:
    """Write a photo reduced to 1280 pixels as JPEG.

    Args:
        image: RGB, upright.
        path: its folder is made where it is not there.

    Raises:
        OSError: it cannot be written.
    """
    small = image.copy()
    small.thumbnail((SIDE, SIDE))
    save_picture(small, path, quality=85)


def picture_path(photo: str, folder: Path, taken: Container[Path]) -> Path:
    """The place of a reduced photo in a gallery; a name that is taken gets a number.

    >>> picture_path("trip/a.png", Path("web"), {Path("web/photos/a.jpg")}).as_posix()
    'web/photos/a_2.jpg'
    """
    number, path = 1, folder / PHOTOS / f"{Path(photo).stem}.jpg"
    while path in taken:
        number += 1
        path = path.with_name(f"{Path(photo).stem}_{number}.jpg")
    return path


def page(entries: Sequence[Entry], folder: Path) -> str:
    """The HTML of ``index.html`` in a folder."""
    articles = "\n".join(_article(entry, folder) for entry in entries)
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"{_MARK}\n<title>Photos in words</title>\n<style>{_STYLE}</style>\n<h1>Photos "
        "in "
        f"words</h1>\n<main>\n{articles}\n</main>\n<script>{_SCRIPT}</script>\n</html>\n"
    )


def _article(entry: Entry, folder: Path) -> str:
    result = entry.result
    spoken = [region for region in result.regions if region.text]
    # small boxes are to be pointed at as well
    large_first = sorted(enumerate(spoken), key=lambda row: -_area(row[1]))
    boxes = "".join(
        _box(number, region, result.size_wh) for number, region in large_first
    )
    lines = "".join(_line(number, region) for number, region in enumerate(spoken))
    caption = "<small>[not sure]</small>"
    if result.caption is not None and result.caption.text:
        caption = _words(result.caption.hedged_text, result.caption.confidence)
    wide, high = result.size_wh
    return (
        "<article>\n"
        f'<figure><img src="{escape(iri(str(entry.picture), folder))}" '
        f'alt="{escape(entry.alt)}" '
        f'width="{wide}" height="{high}" loading="lazy">{boxes}</figure>\n'
        f"<section><h2>{escape(Path(result.photo).name)}</h2><p>{caption}</p><ul>{lines}</ul>"
        f"<small>{wide}x{high}, {escape(result.model)}</small></section>\n</article>"
    )


def _area(region: RegionCaption) -> float:
    x1, y1, x2, y2 = region.box
    return (x2 - x1) * (y2 - y1)


def _box(number: int, region: RegionCaption, size_wh: tuple[int, int]) -> str:
    x1, y1, x2, y2 = (
        100 * float(value) / size_wh[axis % 2] for axis, value in enumerate(region.box)
    )
    style = f"left:{x1:.2f}%;top:{y1:.2f}%;width:{x2 - x1:.2f}%;height:{y2 - y1:.2f}%"
    title = escape(region.text or "")
    style += f";{_colour(number)}"
    return (
        f'<span class="box" data-n="{number}" style="{style}" title="{title}"></span>'
    )


def _line(number: int, region: RegionCaption) -> str:
    words = _words(region.text, region.confidence)
    return f'<li data-n="{number}" tabindex="0" style="{_colour(number)}">{words}</li>'


def _words(text: str | None, confidence: float) -> str:
    return f"{escape(text or '')} <small>{confidence:.2f}</small>"


def _colour(number: int) -> str:
    return f"--line:hsl({_HUES[number % len(_HUES)]} 85% 55%)"
