"""Where words go on a picture: text broken into lines, places that never cover each other, colours that differ.

Everything here is arithmetic on whole pixels; `drawing.py` does the painting. Boxes are
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

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFont

Box = tuple[int, int, int, int]
Colour = tuple[int, int, int]
Size = tuple[int, int]

FONT = "REGIONTALK_FONT"  # the environment variable that names a font file for other scripts
_FONT_FILES = (".ttf", ".otf", ".ttc")
_LEAST_FONT = 11
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
        box: x1, y1, x2, y2 in whole pixels of the picture.
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
    most: float = 0.35,
) -> list[Placed | None]:
    """A place for the label of each box, none covering another, all inside the picture.

    Labels are placed in the order given. Each takes the cheapest free spot among: above its box,
    inside at the top, below, inside at the bottom, at the sides, moved inward where it would leave
    the picture. A spot costs for its rank in that list, for the move, for the rank of the size, and
    for the share of every box that it hides, so that a label keeps off small things. Two labels are
    at least two pixels apart.

    >>> place_labels([(20, 40, 60, 80)], [[(30, 10)]], (100, 100))
    [Placed(option=0, box=(20, 30, 50, 40))]

    Args:
        boxes: (N, 4) whole pixels.
        options: for each box the sizes (width, height) its label may take, best first.
        size_wh: the picture.
        taken: labels that stand already.
        most: share of the picture that all labels together may hide: it is the photo that people
            want to see.

    Returns:
        One entry a box; None where no size fits on any spot.
    """
    corners = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    areas = np.maximum(1.0, (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1]))
    margin = np.array([-_GAP, -_GAP, _GAP, _GAP])
    full = np.array(taken, dtype=np.float64).reshape(-1, 4) + margin
    allowance = most * size_wh[0] * size_wh[1] - sum(
        (x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in taken
    )
    placed: list[Placed | None] = []
    for box, sizes in zip(boxes, options, strict=True):
        table = np.array(
            [row for option, size in enumerate(sizes) for row in _spots(box, option, size, size_wh)]
        )
        table = table.reshape(-1, 6)
        spots = table[:, :4]
        costs = table[:, 4] + (_overlap(spots, corners) / areas).sum(axis=1)
        costs[(_overlap(spots, full) > 0).any(axis=1)] = np.inf
        costs[(spots[:, 2] - spots[:, 0]) * (spots[:, 3] - spots[:, 1]) > allowance] = np.inf
        if not np.isfinite(costs).any():
            placed.append(None)
            continue
        best = costs.argmin()
        x1, y1, x2, y2 = (int(value) for value in spots[best])
        placed.append(Placed(int(table[best, 5]), (x1, y1, x2, y2)))
        full = np.vstack([full, spots[best] + margin])
        allowance -= (x2 - x1) * (y2 - y1)
    return placed


def _spots(box: Box, option: int, size: Size, size_wh: Size) -> list[tuple[float, ...]]:
    """Where a label of ``size`` may stand, all inside the picture: rows of x1, y1, x2, y2, cost, option."""
    x1, y1, x2, y2 = box
    wide, high = size
    if wide > size_wh[0] or high > size_wh[1]:
        return []
    levels = (y1 - high, y1, y2, y2 - high)
    wanted = [
        (left, top, 0.05 * rank)
        for rank, top in enumerate(levels)
        for left in (x1, x2 - wide, (x1 + x2 - wide) // 2)
    ]
    wanted += [
        (left, top, 0.25)
        for left in (x2, x1 - wide)
        for top in (y1, (y1 + y2 - high) // 2, y2 - high)
    ]
    rows: list[tuple[float, ...]] = []
    for left, top, cost in wanted:
        x, y = min(max(left, 0), size_wh[0] - wide), min(max(top, 0), size_wh[1] - high)
        moved = (
            abs(x - left) / wide + 3 * abs(y - top) / high
        )  # away from its box, sooner up or down than aside
        rows.append(
            (
                x,
                y,
                x + wide,
                y + high,
                cost + 0.01 * (left != x1) + 0.1 * moved + 0.12 * option,
                option,
            )
        )
    return rows


def _overlap(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Square pixels shared by every pair of (M, 4) and (N, 4): (M, N)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared: NDArray[np.float64] = np.clip(high - low, 0, None).prod(axis=2)
    return shared


def colours(count: int) -> list[Colour]:
    """Bright colours that differ: a chosen dozen, then hues by the golden angle, which never repeats."""
    found = list(_PALETTE[:count])
    for step in range(count - len(_PALETTE)):
        red, green, blue = colorsys.hsv_to_rgb(
            (0.03 + 0.618034 * step) % 1, 0.5 + 0.15 * (step % 3), 1.0
        )
        found.append((round(red * 255), round(green * 255), round(blue * 255)))
    return found


def brightness(colour: Colour) -> float:
    """Relative luminance of an sRGB colour, 0..1 (WCAG 2)."""
    red, green, blue = (
        value / 3294.6 if value <= 10 else ((value / 255 + 0.055) / 1.055) ** 2.4
        for value in colour
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def layouts(words: str, font_size: int, width: int) -> list[Text]:
    """Ways to set a label, best first: in one to four lines, then smaller."""
    found: dict[Size, Text] = {}
    for scale in (1.0, 0.85, 0.72):
        size = max(_LEAST_FONT, round(font_size * scale))
        side = 2 * margins(size)[0]
        whole = length(words, size)
        for parts in (1, 2, 3, 4):
            room = min(width, math.ceil(whole / parts * (1.15 if parts > 1 else 1)) + side)
            text = wrap(words, size, room)
            found.setdefault(text.size, text)
    return list(found.values())


def wrap(words: str, font_size: int, width: int) -> Text:
    """Words in as few lines as fit into ``width`` pixels, margin included; a word that is too long is cut."""
    side, edge, line_height = margins(font_size)
    room, blank = max(1, width - 2 * side), length(" ", font_size)
    lines: list[list[str]] = [[]]
    used = 0
    for word in words.split():
        for piece in pieces(word, font_size, room):
            long = length(piece, font_size)
            if lines[-1] and used + blank + long > room:
                lines.append([])
            used = used + blank + long if lines[-1] else long
            lines[-1].append(piece)
    joined = tuple(" ".join(line) for line in lines)
    widest = max(length(line, font_size) for line in joined)
    return Text(joined, font_size, (widest + 2 * side, len(joined) * line_height + 2 * edge))


def pieces(word: str, font_size: int, room: int) -> list[str]:
    """A word, cut where it is wider than ``room`` pixels; a piece has one letter at least."""
    cut = []
    while (
        len(word) > 1 and length(word[: room + 1], font_size) > room
    ):  # no letter is narrower than a pixel
        ends = range(1, min(len(word), room + 1))
        end = max(1, bisect_right(ends, room, key=lambda end: length(word[:end], font_size)))
        cut.append(word[:end])
        word = word[end:]
    return [*cut, word]


@lru_cache(
    maxsize=4096
)  # the words of captions come again and again; measuring them was half of the time of a drawing
def length(words: str, font_size: int) -> int:
    """Width of words in whole pixels."""
    return math.ceil(font(font_size, words).getlength(words))


Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def font(size: int, words: str = "") -> Font:
    """A font that has the letters of some words.

    Pillow's own has those of basic Latin (no accents) and needs no file. For others the file that `FONT` names is
    taken, or one that fontconfig knows; where there is none, a warning says so.
    """
    lacking = "".join(sorted({letter for letter in words if _lacks(letter)}))
    file = _font_file(lacking) if lacking else None
    return _loaded(size, file)


@lru_cache(maxsize=64)
def _loaded(size: int, file: str | None) -> Font:
    return ImageFont.load_default(size) if file is None else ImageFont.truetype(file, size)


@lru_cache(maxsize=4096)
def _lacks(letter: str) -> bool:
    """Whether Pillow's own font draws a letter as it draws what no font has."""
    if letter.isascii() or letter.isspace():
        return False
    drawn, unknown = (_loaded(20, None).getmask(text) for text in (letter, "\U0010ffff"))
    return drawn.size == unknown.size and bytes(drawn) == bytes(unknown)


@lru_cache(maxsize=256)
def _font_file(letters: str) -> str | None:
    """A font file that has some letters; None, after a warning, where there is none."""
    if named := os.environ.get(FONT):
        return named
    charset = " ".join(f"{ord(letter):x}" for letter in letters)
    command = ["fc-list", "-f", "%{file}\n", f":charset={charset}"]
    with suppress(OSError, subprocess.SubprocessError):
        listed = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        files = [file for file in listed.stdout.splitlines() if file.lower().endswith(_FONT_FILES)]
        if files:
            return min(files, key=lambda file: ("regular" not in file.lower(), len(file), file))
    warnings.warn(
        f"labels: no installed font has the letters {letters[:20]!r}; install one such as Noto Sans, "
        f"or name a font file in the environment variable {FONT}",
        stacklevel=2,
    )
    return None


def margins(font_size: int) -> tuple[int, int, int]:
    """Room left and right of words, room above and below them, and the height of a line, in pixels."""
    return max(3, round(font_size * 0.35)), max(1, round(font_size * 0.2)), round(font_size * 1.2)
