"""Drawings of what was said.

Boxes with their words, sentences with a line from each word to its box, contact sheets.
`draw` takes an image and an `ImageResult` and returns a new image; nothing is drawn on
the caller's. Labels stay inside the photo and never cover each other: `place_labels`
seeks a place for each, best region first, and a caption that finds none goes to a
numbered list under the photo. Coordinates are pixels, boxes ``boxes_xyxy``.
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

_MIN_SIDE = 640  # a smaller photo is enlarged to this longer side: words need pixels
_MIN_PAGE = 320  # the strips below a narrow photo are at least this wide
_INK: Colour = (22, 25, 30)
_PAPER: Colour = (240, 242, 245)


@dataclass(frozen=True)
class _Label:
    """Words to write at a corner (left, top) of the page, on a colour."""

    corner: tuple[int, int]
    text: Text
    colour: Colour

    @property
    def box(self) -> Box:
        """x1, y1, x2, y2 on the page."""
        left, top = self.corner
        width, height = self.text.size
        return left, top, left + width, top + height


@dataclass(frozen=True)
class _Entry:
    """A caption that stands in the list below the photo.

    With its number and the colour of its box.
    """

    number: Text
    words: str
    colour: Colour


@dataclass(frozen=True)
class _Run:
    """Neighbouring words of a sentence that name one box.

    Left edge, top and width in the strip, row of the box.
    """

    words: str
    left: int
    top: int
    width: int
    target: int


def draw(
    image: Image.Image, result: ImageResult, *, bare_boxes: bool = False
) -> Image.Image:
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
        with_words = tuple(region for region in result.regions if region.text)
        result = replace(result, regions=with_words)
    photo = _enlarged(image)
    font_size = _font_size(photo)
    matched_boxes = _scaled(
        [match.box for match in result.matches], result.size_wh, photo.size
    )
    targets = list(dict.fromkeys(matched_boxes))  # words of one box share its colour
    palette = colours(len(result.regions) + len(targets))
    target_palette = palette[len(result.regions) :]
    _outline(photo, targets, target_palette, _line(font_size))
    labels, entries = _draw_regions(photo, result, palette, font_size)

    words = _words_of_targets(result, matched_boxes, targets)
    page, runs = _page(photo, result, entries, words, font_size)
    page = _with_sentence(
        page, photo.height, runs, targets, target_palette, _large(font_size)
    )
    for label in labels:
        _write_label(page, label)
    return page


def _draw_regions(
    photo: Image.Image, result: ImageResult, palette: Sequence[Colour], font_size: int
) -> tuple[list[_Label], list[_Entry]]:
    """The boxes of the regions on ``photo``.

    With their labels and the list below it, as `_place_texts` has them.
    """
    boxes = _scaled(
        [region.box for region in result.regions], result.size_wh, photo.size
    )
    texts = [_tidy(region.text) for region in result.regions]
    _draw_boxes(photo, boxes, texts, palette, _line(font_size))
    return _place_texts(boxes, texts, palette, font_size, photo.size)


def _line(font_size: int) -> int:
    """Width in pixels of the lines of captioned boxes."""
    return max(2, round(font_size / 6))


def _font_size(photo: Image.Image) -> int:
    """The size of labels in pixels: larger on larger photos."""
    return max(14, round(0.024 * math.sqrt(photo.width * photo.height)))


def _large(font_size: int) -> int:
    """The size of sentences about the whole photo."""
    return round(font_size * 1.25)


def _page(
    photo: Image.Image,
    result: ImageResult,
    entries: Sequence[_Entry],
    words: Sequence[tuple[str, int]],
    font_size: int,
) -> tuple[Image.Image, list[_Run]]:
    """The photo over an empty strip for the sentence, the list and the caption.

    And where the words go.
    """
    width = max(photo.width, _MIN_PAGE)
    runs, sentence_height = _lay_sentence(words, _large(font_size), width)
    sentence_strip = Image.new("RGB", (width, sentence_height), _INK)
    strips = [photo, sentence_strip, _list_strip(entries, font_size, width)]
    if result.caption is not None and _tidy(result.caption.text):
        caption = _tidy(result.caption.hedged_text)
        strips.append(_caption_strip(caption, _large(font_size), width))
    return _stacked(strips, width), runs


def _words_of_targets(
    result: ImageResult, matched_boxes: Sequence[Box], targets: Sequence[Box]
) -> list[tuple[str, int]]:
    """Every word of the matches with the row of its box among the distinct ones."""
    words: list[tuple[str, int]] = []
    for match, box in zip(result.matches, matched_boxes, strict=True):
        target = targets.index(box)
        words += [(word, target) for word in match.phrase.split()]
    return words


def contact_sheet(
    images: Sequence[Image.Image], columns: int, cell: int = 480
) -> Image.Image:
    """Images side by side on dark ground, each fitted to a column, aspect kept.

    Row by row in the order given.

    Args:
        images: at least one.
        columns: images in a row; fewer images make a narrower sheet.
        cell: width of a column in pixels.

    Raises:
        ValueError: no image, or fewer than one column or pixel.
    """
    if not images:
        raise ValueError("contact_sheet: expected at least one image, got none")
    if columns < 1 or cell < 1:
        raise ValueError(
            f"contact_sheet: expected columns and cell of 1 or more, got {columns} and {cell}"
        )
    gap = max(2, cell // 40)
    fitted = [_fitted(image, cell) for image in images]
    rows = [fitted[start : start + columns] for start in range(0, len(fitted), columns)]
    heights = list(map(_tallest, rows))
    width = gap + len(rows[0]) * (cell + gap)
    height = gap + sum(row_height + gap for row_height in heights)
    sheet = Image.new("RGB", (width, height), _INK)
    top = gap
    for row, row_height in zip(rows, heights, strict=True):
        for column, image in enumerate(row):
            left = gap + column * (cell + gap)
            sheet.paste(image, (left, top))
        top += row_height + gap
    return sheet


def _tallest(images: Sequence[Image.Image]) -> int:
    """The height of the tallest image."""
    return max(image.height for image in images)


def _fitted(image: Image.Image, width: int) -> Image.Image:
    """An RGB copy of that width, aspect kept."""
    height = max(1, round(image.height * width / image.width))
    return image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)


def titled(image: Image.Image, words: str, font_size: int = 20) -> Image.Image:
    """A copy of an image with words on a dark strip below it.

    Args:
        image: at any size.
        words: as many lines as they need.
        font_size: in pixels.
    """
    strip = _caption_strip(words, font_size, image.width)
    return _stacked([image, strip], image.width)


def _enlarged(image: Image.Image) -> Image.Image:
    """A copy, upright and RGB, with a longer side of at least 640 pixels."""
    photo = open_image(image, max_pixels=max(1, image.width * image.height), srgb=True)
    scale = _MIN_SIDE / max(photo.size)
    if scale <= 1:
        return photo
    width = max(1, round(photo.width * scale))
    height = max(1, round(photo.height * scale))
    return photo.resize((width, height), Image.Resampling.BICUBIC)


def _scaled(
    boxes: Sequence[tuple[float, float, float, float]], from_wh: Size, to_wh: Size
) -> list[Box]:
    """Boxes in whole pixels of the image that is drawn on, at least two pixels a side."""
    width, height = to_wh
    rescaled = rescale(np.array(boxes, dtype=np.float32).reshape(-1, 4), from_wh, to_wh)
    scaled: list[Box] = []
    for left, top, right, bottom in rescaled.round().astype(int).tolist():
        x1, y1 = min(left, width - 2), min(top, height - 2)
        x2 = min(max(right, x1 + 2), width)
        y2 = min(max(bottom, y1 + 2), height)
        scaled.append((max(x1, 0), max(y1, 0), x2, y2))
    return scaled


def _tidy(text: str | None) -> str:
    """Words on one line; empty where there are none."""
    return " ".join((text or "").split())


def _draw_boxes(
    photo: Image.Image,
    boxes: Sequence[Box],
    texts: Sequence[str],
    palette: Sequence[Colour],
    line: int,
) -> None:
    """Boxes on ``photo``.

    Thin and bare where nothing is said, in colour otherwise, small ones on top.
    """

    def negative_area(row: int) -> int:
        x1, y1, x2, y2 = boxes[row]
        return (x1 - x2) * (y2 - y1)

    rows = sorted(range(len(boxes)), key=negative_area)
    bare_boxes = [boxes[row] for row in rows if not texts[row]]
    _outline(photo, bare_boxes, [_PAPER] * len(bare_boxes), 1)
    captioned = [row for row in rows if texts[row]]
    captioned_palette = [palette[row] for row in captioned]
    _outline(photo, [boxes[row] for row in captioned], captioned_palette, line)


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
    labels, unplaced = _place_captions(boxes, texts, palette, font_size, size_wh)
    taken = [label.box for label in labels]
    unplaced_boxes = [boxes[row] for row in unplaced]
    numbers, number_boxes = _place_numbers(unplaced_boxes, taken, font_size, size_wh)
    entries: list[_Entry] = []
    for row, number, number_box in zip(unplaced, numbers, number_boxes, strict=True):
        if number_box is not None:
            labels.append(_Label(number_box[:2], number, palette[row]))
        entries.append(_Entry(number, texts[row], palette[row]))
    return labels, entries


def _place_captions(
    boxes: Sequence[Box],
    texts: Sequence[str],
    palette: Sequence[Colour],
    font_size: int,
    size_wh: Size,
) -> tuple[list[_Label], list[int]]:
    """The captions' labels, and the rows of those that found no place.

    Boxes without words are passed over.
    """
    width, _ = size_wh
    captioned = [row for row, text in enumerate(texts) if text]
    options = [layouts(texts[row], font_size, width) for row in captioned]
    sizes = [_sizes(row_options) for row_options in options]
    places = place_labels([boxes[row] for row in captioned], sizes, size_wh)
    labels: list[_Label] = []
    unplaced: list[int] = []
    for row, row_options, placed in zip(captioned, options, places, strict=True):
        if placed is None:
            unplaced.append(row)
        else:
            text = row_options[placed.option]
            labels.append(_Label(placed.box[:2], text, palette[row]))
    return labels, unplaced


def _sizes(texts: Sequence[Text]) -> list[Size]:
    """Width and height of each way to set a text."""
    return [text.size for text in texts]


def _place_numbers(
    boxes: Sequence[Box], taken: Sequence[Box], font_size: int, size_wh: Size
) -> tuple[list[Text], list[Box | None]]:
    """A number for each box from 1, and where it stands on the photo.

    None where there is no room.
    """
    width, _ = size_wh
    numbers = [
        wrap(str(number), font_size, width) for number in range(1, len(boxes) + 1)
    ]
    sizes = [[number.size] for number in numbers]
    places = place_labels(boxes, sizes, size_wh, taken, max_hidden=1.0)
    return numbers, [placed.box if placed else None for placed in places]


def _outline(
    photo: Image.Image, boxes: Sequence[Box], palette: Sequence[Colour], line: int
) -> None:
    """Boxes with a dark hem on both sides, so that they show on bright and on dark ground.

    Drawn on ``photo``.
    """
    pen = ImageDraw.Draw(photo, "RGBA")
    for (x1, y1, x2, y2), colour in zip(boxes, palette, strict=True):
        hem = (x1 - 1, y1 - 1, x2, y2)
        pen.rectangle(hem, outline=(0, 0, 0, 130), width=line + 2)
        inside = (x1, y1, x2 - 1, y2 - 1)
        pen.rectangle(inside, outline=colour, width=line)


def _write_label(page: Image.Image, label: _Label) -> None:
    """Words on their colour, black or white, whichever reads better; drawn on ``page``."""
    pen = ImageDraw.Draw(page)
    left, top = label.corner
    width, height = label.text.size
    pen.rectangle((left, top, left + width - 1, top + height - 1), fill=label.colour)
    # where black and white have the same contrast
    is_bright = brightness(label.colour) > 0.18
    ink = (0, 0, 0) if is_bright else (255, 255, 255)
    _write(pen, label.corner, label.text, ink)


def _write(
    pen: ImageDraw.ImageDraw, corner: tuple[int, int], text: Text, colour: Colour
) -> None:
    """The lines of a text with its margin at the top left ``corner``."""
    side, edge, line_height = margins(text.font_size)
    left, top = corner
    for number, line in enumerate(text.lines):
        middle = top + edge + line_height * number + line_height / 2
        line_font = font(text.font_size, line)
        pen.text((left + side, middle), line, colour, line_font, anchor="lm")


def _list_strip(entries: Sequence[_Entry], font_size: int, width: int) -> Image.Image:
    """Numbered captions one below the other, the number on the colour of its box."""
    if not entries:
        return Image.new("RGB", (width, 0))
    gap = font_size // 2
    number_widths = [entry.number.size[0] for entry in entries]
    indent = gap + max(number_widths)
    texts = [wrap(entry.words, font_size, width - indent - gap) for entry in entries]
    row_heights = [text.size[1] + gap // 2 for text in texts]
    strip = Image.new("RGB", (width, gap + sum(row_heights)), _INK)
    pen = ImageDraw.Draw(strip)
    top = gap
    for entry, text, row_height in zip(entries, texts, row_heights, strict=True):
        number = _Label((gap, top), entry.number, entry.colour)
        _write_label(strip, number)
        _write(pen, (indent, top), text, _PAPER)
        top += row_height
    return strip


def _caption_strip(words: str, font_size: int, width: int) -> Image.Image:
    """The whole photo's caption."""
    gap = font_size // 2
    text = wrap(words, font_size, width - 2 * gap)
    _, text_height = text.size
    strip = Image.new("RGB", (width, text_height + 2 * gap), _INK)
    _write(ImageDraw.Draw(strip), (gap, gap), text, _PAPER)
    return strip


def _stacked(strips: Sequence[Image.Image], width: int) -> Image.Image:
    """Images one below the other, left aligned on dark ground."""
    height = sum(strip.height for strip in strips)
    page = Image.new("RGB", (width, height), _INK)
    top = 0
    for strip in strips:
        page.paste(strip, (0, top))
        top += strip.height
    return page


def _lay_sentence(
    words: Sequence[tuple[str, int]], font_size: int, width: int
) -> tuple[list[_Run], int]:
    """Words with the row of their box as runs in a strip, and the strip's height.

    (no runs, 0) for no words.
    """
    if not words:
        return [], 0
    blank, gap = length(" ", font_size), font_size // 2 + 2
    line_height = round(font_size * 2.1)
    left, top = gap, round(font_size * 1.6)
    placed: list[_Run] = []  # one a piece of a word
    for word, target in words:
        for piece in pieces(word, font_size, width - 2 * gap):
            piece_width = length(piece, font_size)
            if left > gap and left + piece_width > width - gap:
                left, top = gap, top + line_height
            placed.append(_Run(piece, left, top, piece_width, target))
            left += piece_width + blank
    runs = [
        _joined(list(neighbours))
        for _, neighbours in groupby(placed, key=lambda run: (run.top, run.target))
    ]
    return runs, top + round(font_size * 2.0)


def _joined(neighbours: Sequence[_Run]) -> _Run:
    """Neighbouring words of one line and one box as one run."""
    first, last = neighbours[0], neighbours[-1]
    words = " ".join(run.words for run in neighbours)
    return replace(first, words=words, width=last.left + last.width - first.left)


def _with_sentence(
    page: Image.Image,
    strip_top: int,
    runs: Sequence[_Run],
    targets: Sequence[Box],
    palette: Sequence[Colour],
    font_size: int,
) -> Image.Image:
    """The page with each run of words underlined and joined to its box.

    The page itself where there are none.
    """
    if not runs:
        return page
    lines = _lines_layer(page.size, strip_top, runs, targets, palette, font_size)
    joined = Image.alpha_composite(page.convert("RGBA"), lines).convert("RGB")
    pen = ImageDraw.Draw(joined)
    for run in runs:
        top = strip_top + run.top
        run_font = font(font_size, run.words)
        corner = (run.left, top + font_size / 2)
        pen.text(
            corner, run.words, _PAPER, run_font, "lm", stroke_width=2, stroke_fill=_INK
        )
        under = round(top + font_size * 1.2)
        right = run.left + run.width - 1
        bottom = under + _line_width(font_size) - 1
        pen.rectangle((run.left, under, right, bottom), fill=palette[run.target])
    return joined


def _line_width(font_size: int) -> int:
    """Width in pixels of the lines from words to boxes."""
    return max(2, font_size // 8)


def _lines_layer(
    size_wh: Size,
    strip_top: int,
    runs: Sequence[_Run],
    targets: Sequence[Box],
    palette: Sequence[Colour],
    font_size: int,
) -> Image.Image:
    """A transparent layer with a line from each run of words to a dot on its box."""
    # drawn larger and reduced, lines have smooth edges
    scale = 2 if math.prod(size_wh) <= 2_000_000 else 1
    layer = Image.new("RGBA", (size_wh[0] * scale, size_wh[1] * scale))
    pen = ImageDraw.Draw(layer)
    line = _line_width(font_size) * scale
    radius = max(3, font_size // 4) * scale
    for hem in (scale, 0):  # a dark hem below all the coloured lines
        for run in runs:
            colour = (0, 0, 0, 150) if hem else (*palette[run.target], 255)
            x = run.left + run.width / 2
            y = strip_top + run.top - font_size * 0.25
            tip = _anchor(targets[run.target], x)
            ends = [value * scale for value in (x, y, *tip)]
            pen.line(ends, fill=colour, width=line + 2 * hem)
            pen.circle(ends[2:], radius + hem, fill=colour)
    return layer.resize(size_wh, Image.Resampling.BOX)


def _anchor(target: Box, x: float) -> tuple[float, float]:
    """Where a line from below, starting at ``x``, meets a box.

    That is its lower edge, away from the corners.
    """
    x1, _, x2, y2 = target
    inset = (x2 - x1) * 0.15
    anchor_x = min(max(x, x1 + inset), x2 - inset)
    return anchor_x, y2 - 1
