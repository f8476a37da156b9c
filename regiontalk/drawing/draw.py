"""Drawings of what was said: boxes with their words, sentences with a line from each word to its box, contact sheets.

`draw` takes a picture and an `ImageResult` and returns a new picture; nothing is drawn on the
caller's. Labels stay inside the photo and never cover each other: `place_labels` seeks a place for
each, best region first, and a caption that finds none goes to a numbered list under the photo.
Coordinates are pixels, boxes ``boxes_xyxy``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from PIL import Image, ImageDraw

from regiontalk.boxes import rescale
from regiontalk.drawing.labels import (
    Box,
    Colour,
    Size,
    Text,
    brightness,
    colours,
    font,
    layouts,
    length,
    margins,
    pieces,
    place_labels,
    wrap,
)
from regiontalk.images.open import open_image
from regiontalk.records import ImageResult

_LEAST_SIDE = 640  # a smaller photo is enlarged to this longer side: words need pixels
_LEAST_PAGE = 320  # the strips below a narrow photo are at least this wide
_INK: Colour = (22, 25, 30)
_PAPER: Colour = (240, 242, 245)


@dataclass(frozen=True)
class _Label:
    """Words to write at a corner (left, top) of the page, on a colour."""

    corner: tuple[int, int]
    text: Text
    colour: Colour


@dataclass(frozen=True)
class _Entry:
    """A caption that stands in the list below the photo, with its number and the colour of its box."""

    number: Text
    words: str
    colour: Colour


@dataclass(frozen=True)
class _Run:
    """Neighbouring words of a sentence that name one box: left edge, top and width in the strip, row of the box."""

    words: str
    left: int
    top: int
    width: int
    target: int


def draw(image: Image.Image, result: ImageResult, *, bare_boxes: bool = False) -> Image.Image:
    """A copy of the photo with everything that ``result`` says drawn on it.

    A captioned region has its own colour and a label; one whose text is None is left out, or a thin
    bare box. Words of `ImageResult.matches` stand under the photo, each joined to its box by a line
    (neighbouring words of one box share an underline and a line). Captions that found no free place
    are listed below by number, and the whole photo's caption comes last. A photo with a longer side
    below 640 pixels is enlarged to that first.

    Args:
        image: the photo at any size; boxes are scaled from `ImageResult.size_wh`.
        result: what was said about it.
        bare_boxes: whether regions without words are drawn.
    """
    if not bare_boxes:
        result = replace(result, regions=tuple(region for region in result.regions if region.text))
    photo = _enlarged(image)
    font_size = max(14, round(0.024 * math.sqrt(photo.width * photo.height)))
    boxes = _scaled([region.box for region in result.regions], result.size_wh, photo.size)
    targets = _scaled([match.box for match in result.matches], result.size_wh, photo.size)
    distinct = list(dict.fromkeys(targets))  # words of one box share its colour
    palette = colours(len(boxes) + len(distinct))
    words = [
        (word, distinct.index(targets[i]))
        for i, match in enumerate(result.matches)
        for word in match.phrase.split()
    ]

    texts = [_tidy(region.text) for region in result.regions]
    _outline(photo, distinct, palette[len(boxes) :], _line(font_size))
    _draw_boxes(photo, boxes, texts, palette, _line(font_size))
    labels, listed = _place_texts(boxes, texts, palette, font_size, photo.size)
    width, large = max(photo.width, _LEAST_PAGE), round(font_size * 1.25)
    runs, sentence_height = _lay_sentence(words, large, width)
    strips = [
        photo,
        Image.new("RGB", (width, sentence_height), _INK),
        _list_strip(listed, font_size, width),
    ]
    if result.caption is not None and _tidy(result.caption.text):
        strips.append(_caption_strip(_tidy(result.caption.hedged_text), large, width))
    page = _with_sentence(
        _stacked(strips, width), photo.height, runs, distinct, palette[len(boxes) :], large
    )
    for label in labels:
        _write_label(page, label)
    return page


def contact_sheet(pictures: Sequence[Image.Image], columns: int, cell: int = 480) -> Image.Image:
    """Pictures side by side on dark ground, each fitted to a column, aspect kept; row by row in the order given.

    Args:
        pictures: at least one.
        columns: pictures in a row; fewer pictures make a narrower sheet.
        cell: width of a column in pixels.

    Raises:
        ValueError: no picture, or fewer than one column or pixel.
    """
    if not pictures:
        raise ValueError("contact_sheet: expected at least one picture, got none")
    if columns < 1 or cell < 1:
        raise ValueError(
            f"contact_sheet: expected columns and cell of 1 or more, got {columns} and {cell}"
        )
    gap = max(2, cell // 40)
    fitted = [
        picture.convert("RGB").resize(
            (cell, max(1, round(picture.height * cell / picture.width))), Image.Resampling.LANCZOS
        )
        for picture in pictures
    ]
    rows = [fitted[start : start + columns] for start in range(0, len(fitted), columns)]
    heights = [max(picture.height for picture in row) for row in rows]
    wide = len(rows[0])
    sheet = Image.new(
        "RGB", (wide * cell + (wide + 1) * gap, sum(heights) + (len(rows) + 1) * gap), _INK
    )
    top = gap
    for row, height in zip(rows, heights, strict=True):
        for column, picture in enumerate(row):
            sheet.paste(picture, (gap + column * (cell + gap), top))
        top += height + gap
    return sheet


def titled(picture: Image.Image, words: str, font_size: int = 20) -> Image.Image:
    """A copy of a picture with words on a dark strip below it.

    Args:
        picture: at any size.
        words: as many lines as they need.
        font_size: in pixels.
    """
    return _stacked([picture, _caption_strip(words, font_size, picture.width)], picture.width)


def _enlarged(image: Image.Image) -> Image.Image:
    """A copy, upright and RGB, with a longer side of at least 640 pixels."""
    photo = open_image(image, max_pixels=max(1, image.width * image.height), srgb=True)
    scale = _LEAST_SIDE / max(photo.size)
    if scale > 1:
        size = max(1, round(photo.width * scale)), max(1, round(photo.height * scale))
        return photo.resize(size, Image.Resampling.BICUBIC)
    return photo


def _scaled(
    boxes: Sequence[tuple[float, float, float, float]], from_wh: Size, to_wh: Size
) -> list[Box]:
    """Boxes in whole pixels of the picture that is drawn on, at least two pixels a side."""
    scaled = []
    for row in (
        rescale(np.array(boxes, dtype=np.float32).reshape(-1, 4), from_wh, to_wh)
        .round()
        .astype(int)
        .tolist()
    ):
        x1, y1 = min(row[0], to_wh[0] - 2), min(row[1], to_wh[1] - 2)
        scaled.append(
            (
                max(x1, 0),
                max(y1, 0),
                min(max(row[2], x1 + 2), to_wh[0]),
                min(max(row[3], y1 + 2), to_wh[1]),
            )
        )
    return scaled


def _tidy(text: str | None) -> str:
    """Words on one line; empty where there are none."""
    return " ".join((text or "").split())


def _line(font_size: int) -> int:
    """Width in pixels of the lines of captioned boxes."""
    return max(2, round(font_size / 6))


def _draw_boxes(
    photo: Image.Image,
    boxes: Sequence[Box],
    texts: Sequence[str],
    palette: Sequence[Colour],
    line: int,
) -> None:
    """Boxes on ``photo``: thin and bare where nothing is said, in colour otherwise, small ones on top."""
    rows = sorted(
        range(len(boxes)),
        key=lambda row: (boxes[row][0] - boxes[row][2]) * (boxes[row][3] - boxes[row][1]),
    )
    bare, spoken = [row for row in rows if not texts[row]], [row for row in rows if texts[row]]
    _outline(photo, [boxes[row] for row in bare], [_PAPER] * len(bare), 1)
    _outline(photo, [boxes[row] for row in spoken], [palette[row] for row in spoken], line)


def _place_texts(
    boxes: Sequence[Box],
    texts: Sequence[str],
    palette: Sequence[Colour],
    font_size: int,
    size_wh: Size,
) -> tuple[list[_Label], list[_Entry]]:
    """Labels on the photo, and the entries of the list below it for captions that found no place.

    The number of an entry stands on the photo where there is room for it.
    """
    spoken = [row for row, text in enumerate(texts) if text]
    ways = {row: layouts(texts[row], font_size, size_wh[0]) for row in spoken}
    sizes = [[text.size for text in ways[row]] for row in spoken]
    places = dict(
        zip(spoken, place_labels([boxes[row] for row in spoken], sizes, size_wh), strict=True)
    )
    labels = [
        _Label(place.box[:2], ways[row][place.option], palette[row])
        for row, place in places.items()
        if place
    ]

    homeless = [row for row, place in places.items() if place is None]
    numbers = [wrap(str(number + 1), font_size, size_wh[0]) for number in range(len(homeless))]
    taken = [place.box for place in places.values() if place]
    spots = place_labels(
        [boxes[row] for row in homeless],
        [[text.size] for text in numbers],
        size_wh,
        taken,
        most=1.0,
    )
    for row, text, spot in zip(homeless, numbers, spots, strict=True):
        if spot:
            labels.append(_Label(spot.box[:2], text, palette[row]))
    return labels, [
        _Entry(text, texts[row], palette[row]) for row, text in zip(homeless, numbers, strict=True)
    ]


def _outline(
    photo: Image.Image, boxes: Sequence[Box], palette: Sequence[Colour], line: int
) -> None:
    """Boxes with a dark hem on both sides, so that they show on bright and on dark ground; drawn on ``photo``."""
    pen = ImageDraw.Draw(photo, "RGBA")
    for (x1, y1, x2, y2), colour in zip(boxes, palette, strict=True):
        pen.rectangle((x1 - 1, y1 - 1, x2, y2), outline=(0, 0, 0, 130), width=line + 2)
        pen.rectangle((x1, y1, x2 - 1, y2 - 1), outline=colour, width=line)


def _write_label(page: Image.Image, label: _Label) -> None:
    """Words on their colour, black or white, whichever reads better; drawn on ``page``."""
    pen, (left, top), (wide, high) = ImageDraw.Draw(page), label.corner, label.text.size
    pen.rectangle((left, top, left + wide - 1, top + high - 1), fill=label.colour)
    dark = brightness(label.colour) > 0.18  # where black and white have the same contrast
    _write(pen, label.corner, label.text, (0, 0, 0) if dark else (255, 255, 255))


def _write(pen: ImageDraw.ImageDraw, corner: tuple[int, int], text: Text, colour: Colour) -> None:
    """The lines of a text with its margin at the top left ``corner``."""
    side, edge, line_height = margins(text.font_size)
    for number, line in enumerate(text.lines):
        middle = corner[1] + edge + line_height * number + line_height / 2
        pen.text((corner[0] + side, middle), line, colour, font(text.font_size, line), anchor="lm")


def _list_strip(entries: Sequence[_Entry], font_size: int, width: int) -> Image.Image:
    """Numbered captions one below the other, the number on the colour of its box."""
    if not entries:
        return Image.new("RGB", (width, 0))
    gap = font_size // 2
    indent = gap + max(entry.number.size[0] for entry in entries)
    rows = [wrap(entry.words, font_size, width - indent - gap) for entry in entries]
    strip = Image.new("RGB", (width, gap + sum(row.size[1] + gap // 2 for row in rows)), _INK)
    pen, top = ImageDraw.Draw(strip), gap
    for entry, row in zip(entries, rows, strict=True):
        _write_label(strip, _Label((gap, top), entry.number, entry.colour))
        _write(pen, (indent, top), row, _PAPER)
        top += row.size[1] + gap // 2
    return strip


def _caption_strip(words: str, font_size: int, width: int) -> Image.Image:
    """The whole photo's caption."""
    gap = font_size // 2
    text = wrap(words, font_size, width - 2 * gap)
    strip = Image.new("RGB", (width, text.size[1] + 2 * gap), _INK)
    _write(ImageDraw.Draw(strip), (gap, gap), text, _PAPER)
    return strip


def _stacked(strips: Sequence[Image.Image], width: int) -> Image.Image:
    """Pictures one below the other, left aligned on dark ground."""
    page = Image.new("RGB", (width, sum(strip.height for strip in strips)), _INK)
    top = 0
    for strip in strips:
        page.paste(strip, (0, top))
        top += strip.height
    return page


def _lay_sentence(
    words: Sequence[tuple[str, int]], font_size: int, width: int
) -> tuple[list[_Run], int]:
    """Words with the row of their box as runs in a strip, and the strip's height; (no runs, 0) for no words."""
    if not words:
        return [], 0
    blank, gap, line_height = length(" ", font_size), font_size // 2 + 2, round(font_size * 2.1)
    cut = [
        (piece, row) for word, row in words for piece in pieces(word, font_size, width - 2 * gap)
    ]
    places: list[tuple[str, int, int, int, int]] = []  # word, row of its box, left, top, width
    left, top = gap, round(font_size * 1.6)
    for piece, row in cut:
        long = length(piece, font_size)
        if left > gap and left + long > width - gap:
            left, top = gap, top + line_height
        places.append((piece, row, left, top, long))
        left += long + blank
    runs = []
    for (_, row), group in groupby(places, key=lambda place: (place[3], place[1])):
        members = list(group)
        first, last = members[0], members[-1]
        runs.append(
            _Run(
                " ".join(member[0] for member in members),
                first[2],
                first[3],
                last[2] + last[4] - first[2],
                row,
            )
        )
    return runs, top + round(font_size * 2.0)


def _with_sentence(
    page: Image.Image,
    strip_top: int,
    runs: Sequence[_Run],
    targets: Sequence[Box],
    palette: Sequence[Colour],
    font_size: int,
) -> Image.Image:
    """The page with each run of words underlined and joined to its box; the page itself where there are none."""
    if not runs:
        return page
    fine = (
        2 if page.width * page.height <= 2_000_000 else 1
    )  # drawn larger and reduced, lines have smooth edges
    layer = Image.new("RGBA", (page.width * fine, page.height * fine))
    pen = ImageDraw.Draw(layer)
    line, dot = max(2, font_size // 8) * fine, max(3, font_size // 4) * fine
    for edge in (fine, 0):  # a dark hem below all the coloured lines
        for run in runs:
            colour = (0, 0, 0, 150) if edge else (*palette[run.target], 255)
            x, y = (
                (run.left + run.width / 2) * fine,
                (strip_top + run.top - font_size * 0.25) * fine,
            )
            end = _anchor(targets[run.target], run.left + run.width / 2)
            tip = end[0] * fine, end[1] * fine
            pen.line((x, y, *tip), fill=colour, width=line + 2 * edge)
            pen.circle(tip, dot + edge, fill=colour)
    page = Image.alpha_composite(
        page.convert("RGBA"), layer.resize(page.size, Image.Resampling.BOX)
    ).convert("RGB")
    words = ImageDraw.Draw(page)
    for run in runs:
        top = strip_top + run.top
        words.text(
            (run.left, top + font_size / 2),
            run.words,
            _PAPER,
            font(font_size, run.words),
            "lm",
            stroke_width=2,
            stroke_fill=_INK,
        )
        under = round(top + font_size * 1.2)
        words.rectangle(
            (run.left, under, run.left + run.width - 1, under + line // fine - 1),
            fill=palette[run.target],
        )
    return page


def _anchor(target: Box, x: float) -> tuple[float, float]:
    """Where a line from below, starting at ``x``, meets a box: its lower edge, away from the corners."""
    inset = (target[2] - target[0]) * 0.15
    return min(max(x, target[0] + inset), target[2] - inset), target[3] - 1
