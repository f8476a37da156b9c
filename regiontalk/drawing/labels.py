"""Where words go on an image.

Text broken into lines, places that never cover each other, colours that differ.
Everything here is arithmetic on whole pixels; `draw.py` does the painting. Boxes are
``boxes_xyxy``.
"""

from __future__ import annotations

import colorsys
import math
import os
import subprocess
import warnings
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFont

from regiontalk.boxes import shared_area

Box = tuple[int, int, int, int]
Colour = tuple[int, int, int]
Size = tuple[int, int]

FONT = "REGIONTALK_FONT"  # the environment variable that names a font file for other scripts
_FONT_FILES = (".ttf", ".otf", ".ttc")
_MIN_FONT = 11
_GAP = 2  # pixels kept free between labels
_PALETTE: tuple[Colour, ...] = (
    (255, 92, 92), (64, 156, 255), (255, 196, 0), (52, 211, 120), (190, 120, 255), (255, 138, 48),
    (0, 208, 214), (255, 112, 190), (170, 222, 32), (120, 134, 255), (255, 232, 90), (20, 184, 148),
)  # fmt: skip


@dataclass(frozen=True)
class Placed:
    """Where a label went.

    Attributes:
        option: which of the sizes offered for it was taken.
        box: x1, y1, x2, y2 in whole pixels of the image.
    """

    option: int
    box: Box


@dataclass(frozen=True)
class Text:
    """Words broken into lines, and the pixels (width, height) they take with a margin around."""

    lines: tuple[str, ...]
    font_size: int
    size: Size


def place_labels(
    boxes: Sequence[Box],
    options: Sequence[Sequence[Size]],
    size_wh: Size,
    taken: Sequence[Box] = (),
    max_hidden: float = 0.35,
) -> list[Placed | None]:
    """A place for the label of each box, none covering another, all inside the image.

    Labels are placed in the order given. Each takes the cheapest free spot among: above its box,
    inside at the top, below, inside at the bottom, at the sides, moved inward where it would leave
    the image. A spot costs for its rank in that list, for the move, for the rank of the size, and
    for the share of every box that it hides, so that a label keeps off small things. Two labels are
    at least two pixels apart.

    >>> place_labels([(20, 40, 60, 80)], [[(30, 10)]], (100, 100))
    [Placed(option=0, box=(20, 30, 50, 40))]

    Args:
        boxes: (N, 4) whole pixels.
        options: for each box the sizes (width, height) its label may take, best first.
        size_wh: of the image.
        taken: labels that stand already.
        max_hidden: share of the image that all labels together may hide: it is the
            photo that people want to see.

    Returns:
        One entry a box; None where no size fits on any spot.
    """
    corners = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    occupied = np.array(taken, dtype=np.float64).reshape(-1, 4)
    width, height = size_wh
    allowance = max_hidden * width * height - float(_areas(occupied).sum())
    placed: list[Placed | None] = []
    for box, sizes in zip(boxes, options, strict=True):
        table = _spot_table(box, sizes, size_wh)
        costs = _costs(table, corners, occupied)
        costs[_areas(table[:, :4]) > allowance] = np.inf
        label = _cheapest(table, costs)
        placed.append(label)
        if label is not None:
            label_box = np.array([label.box], dtype=np.float64)
            occupied = np.vstack([occupied, label_box])
            allowance -= float(_areas(label_box).sum())
    return placed


def _costs(
    table: NDArray[np.float64],
    boxes_xyxy: NDArray[np.float64],
    occupied: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The cost (M,) of each spot with the shares of the boxes (N, 4) that it hides.

    Infinite beside other labels.
    """
    spots, spot_costs = table[:, :4], table[:, 4]
    areas = np.maximum(1.0, _areas(boxes_xyxy))
    hidden_shares = _overlap(spots, boxes_xyxy) / areas
    costs: NDArray[np.float64] = spot_costs + hidden_shares.sum(axis=1)
    around_labels = occupied + np.array([-_GAP, -_GAP, _GAP, _GAP])
    is_covered = (_overlap(spots, around_labels) > 0).any(axis=1)
    costs[is_covered] = np.inf
    return costs


def _spot_table(box: Box, sizes: Sequence[Size], size_wh: Size) -> NDArray[np.float64]:
    """The spots of `_spots` for every size, (M, 6)."""
    rows = [_spots(box, option, size, size_wh) for option, size in enumerate(sizes)]
    return np.array(list(chain.from_iterable(rows)), dtype=np.float64).reshape(-1, 6)


def _cheapest(table: NDArray[np.float64], costs: NDArray[np.float64]) -> Placed | None:
    """The first spot of the lowest finite cost; None where there is none."""
    if not np.isfinite(costs).any():
        return None
    x1, y1, x2, y2, _, option = table[costs.argmin()]
    return Placed(int(option), (int(x1), int(y1), int(x2), int(y2)))


def _spots(box: Box, option: int, size: Size, size_wh: Size) -> list[tuple[float, ...]]:
    """Where a label of ``size`` may stand, all inside the image.

    Rows of x1, y1, x2, y2, cost, option.
    """
    width, height = size
    page_width, page_height = size_wh
    if width > page_width or height > page_height:
        return []
    rows: list[tuple[float, ...]] = []
    for left, top, rank_cost in _corners_around(box, size):
        x = min(max(left, 0), page_width - width)
        y = min(max(top, 0), page_height - height)
        # away from its box, sooner up or down than aside
        moved = abs(x - left) / width + 3 * abs(y - top) / height
        cost = rank_cost + 0.01 * (left != box[0]) + 0.1 * moved + 0.12 * option
        rows.append((x, y, x + width, y + height, cost, option))
    return rows


def _corners_around(box: Box, size: Size) -> list[tuple[int, int, float]]:
    """Left, top and cost of the spots around a box, wherever the image ends."""
    x1, y1, x2, y2 = box
    width, height = size
    corners: list[tuple[int, int, float]] = []
    for rank, top in enumerate((y1 - height, y1, y2, y2 - height)):
        for left in (x1, x2 - width, (x1 + x2 - width) // 2):
            corners.append((left, top, 0.05 * rank))
    for left in (x2, x1 - width):
        for top in (y1, (y1 + y2 - height) // 2, y2 - height):
            corners.append((left, top, 0.25))
    return corners


def _areas(boxes_xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Areas (N,) in square pixels."""
    x1, y1, x2, y2 = boxes_xyxy.T
    areas: NDArray[np.float64] = (x2 - x1) * (y2 - y1)
    return areas


def _overlap(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Square pixels shared by every pair of (M, 4) and (N, 4): (M, N)."""
    shared: NDArray[np.float64] = shared_area(first.T[:, :, None], second.T[:, None])
    return shared


def colours(count: int) -> list[Colour]:
    """Bright colours that differ.

    A chosen dozen, then hues by the golden angle, which never repeats.
    """
    palette = list(_PALETTE[:count])
    for step in range(count - len(_PALETTE)):
        hue = (0.03 + 0.618034 * step) % 1
        saturation = 0.5 + 0.15 * (step % 3)
        red, green, blue = colorsys.hsv_to_rgb(hue, saturation, 1.0)
        palette.append((round(red * 255), round(green * 255), round(blue * 255)))
    return palette


def brightness(colour: Colour) -> float:
    """Relative luminance of an sRGB colour, 0..1 (WCAG 2)."""
    red, green, blue = map(_linear, colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(value: int) -> float:
    """The light 0..1 of an sRGB value 0..255."""
    if value <= 10:
        return value / 3294.6
    return float(((value / 255 + 0.055) / 1.055) ** 2.4)


def layouts(words: str, font_size: int, width: int) -> list[Text]:
    """Ways to set a label, best first: in one to four lines, then smaller."""
    texts: dict[Size, Text] = {}
    for scale in (1.0, 0.85, 0.72):
        size = max(_MIN_FONT, round(font_size * scale))
        side, _, _ = margins(size)
        one_line = length(words, size)
        for lines in (1, 2, 3, 4):
            slack = 1.15 if lines > 1 else 1  # lines are not equally long
            room = min(width, math.ceil(one_line / lines * slack) + 2 * side)
            text = wrap(words, size, room)
            texts.setdefault(text.size, text)
    return list(texts.values())


def wrap(words: str, font_size: int, width: int) -> Text:
    """Words in as few lines as fit into ``width`` pixels, margin included.

    A word that is too long is cut.
    """
    side, edge, line_height = margins(font_size)
    room = max(1, width - 2 * side)
    blank = length(" ", font_size)
    lines: list[list[str]] = [[]]
    line_width = 0
    for word in words.split():
        for piece in pieces(word, font_size, room):
            piece_width = length(piece, font_size)
            extended = line_width + blank + piece_width
            if lines[-1] and extended <= room:
                lines[-1].append(piece)
                line_width = extended
                continue
            if lines[-1]:
                lines.append([])
            lines[-1].append(piece)
            line_width = piece_width
    joined = tuple(" ".join(line) for line in lines)
    widest = max(length(line, font_size) for line in joined)
    size_wh = (widest + 2 * side, len(joined) * line_height + 2 * edge)
    return Text(joined, font_size, size_wh)


def pieces(word: str, font_size: int, room: int) -> list[str]:
    """A word, cut where it is wider than ``room`` pixels; a piece has one letter at least."""
    cut = []
    # no letter is narrower than a pixel
    while len(word) > 1 and length(word[: room + 1], font_size) > room:
        ends = range(1, min(len(word), room + 1))
        end = max(
            1, bisect_right(ends, room, key=lambda end: length(word[:end], font_size))
        )
        cut.append(word[:end])
        word = word[end:]
    return [*cut, word]


# The words of captions come again and again; measuring them was half of the time of a drawing.
@lru_cache(maxsize=4096)
def length(words: str, font_size: int) -> int:
    """Width of words in whole pixels."""
    return math.ceil(font(font_size, words).getlength(words))


Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def font(size: int, words: str = "") -> Font:
    """A font that has the letters of some words.

    Pillow's own has those of basic Latin (no accents) and needs no file. For others the
    file that `FONT` names is taken, or one that fontconfig knows; where there is none,
    a warning says so.
    """
    lacking = {letter for letter in words if _lacks(letter)}
    file = _font_file("".join(sorted(lacking))) if lacking else None
    return _loaded(size, file)


@lru_cache(maxsize=64)
def _loaded(size: int, file: str | None) -> Font:
    """A font of a file, or Pillow's own."""
    if file is None:
        return ImageFont.load_default(size)
    return ImageFont.truetype(file, size)


@lru_cache(maxsize=4096)
def _lacks(letter: str) -> bool:
    """Whether Pillow's own font draws a letter as it draws what no font has."""
    if letter.isascii() or letter.isspace():
        return False
    pillow_font = _loaded(20, None)
    drawn = pillow_font.getmask(letter)
    unknown = pillow_font.getmask("\U0010ffff")
    is_of_same_size = drawn.size == unknown.size
    return is_of_same_size and bytes(drawn) == bytes(unknown)


@lru_cache(maxsize=256)
def _font_file(letters: str) -> str | None:
    """A font file that has some letters; None, after a warning, where there is none."""
    if named := os.environ.get(FONT):
        return named
    charset = " ".join(f"{ord(letter):x}" for letter in letters)
    command = ["fc-list", "-f", "%{file}\n", f":charset={charset}"]
    with suppress(OSError, subprocess.SubprocessError):
        listed = subprocess.run(
            command, capture_output=True, text=True, timeout=10, check=True
        )
        files = [
            file
            for file in listed.stdout.splitlines()
            if file.lower().endswith(_FONT_FILES)
        ]
        if files:
            return min(
                files, key=lambda file: ("regular" not in file.lower(), len(file), file)
            )
    if set(letters) - _told_letters:  # once for each letter
        _told_letters.update(letters)
        warnings.warn(
            f"labels: no installed font has the letters {letters[:20]!r}; install one "
            f"such as Noto Sans, or name a font file in the environment variable {FONT}",
            stacklevel=2,
        )
    return None


_told_letters: set[str] = set()


def margins(font_size: int) -> tuple[int, int, int]:
    """Room left, right, above and below words, and the height of a line, in pixels."""
    side = max(3, round(font_size * 0.35))
    edge = max(1, round(font_size * 0.2))
    line_height = round(font_size * 1.2)
    return side, edge, line_height
