"""Images that are no photos, drawn by code: what a captioner should say nothing about.

Blank and noisy images, pages of text, screens, icons, charts, drawings. `draw_image` is a
function of a kind and a seed alone. Kinds in `HELD_OUT` are only ever measured on, so that a check
that learnt from the others is judged on sorts of images that it has not seen.
"""

from __future__ import annotations

import io
import math
import random
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Color = tuple[int, int, int]

SIZES_WH = (
    (640, 480),
    (800, 600),
    (480, 640),
    (512, 512),
    (1280, 720),
    (375, 667),
    (900, 300),
)
WORDS = (
    "the of and to in is for on with as by this be are from at or an it that have not "
    "all total date name price order file edit view help settings account message "
    "search open save cancel report page chapter figure table value result market "
    "growth energy system network method data model history science review region "
    "summary address number quarter sales monday april invoice tax"
).split()


LAND_COLORS = ((190, 220, 180), (170, 205, 235), (235, 225, 200))
ROAD_COLORS = ((255, 255, 255), (250, 210, 120), (150, 150, 150))
TOKEN_ENDINGS = ("(", ")", " =", ":", ".", "", "[0]")  # of drawn source code


def draw_image(kind: str, seed: int) -> Image.Image:
    """One RGB image.

    Args:
        kind: one of `KINDS`.
        seed: of everything random in it.

    Raises:
        ValueError: no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    chance = random.Random(f"{kind} {seed}")
    drawn = KINDS[kind](chance)
    return _as_stored(drawn, chance).convert("RGB")


def _as_stored(image: Image.Image, chance: random.Random) -> Image.Image:
    """The image as people's files are: as it is, made smaller, or compressed."""
    image = image.convert("RGB")
    if chance.random() < 0.4:
        side = chance.choice((224, 256, 320))
        image = image.resize((side, side), Image.Resampling.BILINEAR)
    if chance.random() < 0.5:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=chance.randint(40, 95))
        image = Image.open(buffer)
        image.load()
    return image


def _color(chance: random.Random, low: int = 0, high: int = 255) -> Color:
    red, green, blue = (chance.randint(low, high) for _ in range(3))
    return red, green, blue


def _blend(first: Color, second: Color, share: float) -> Color:
    """The first color with a share of the second."""
    pairs = zip(first, second, strict=True)
    red, green, blue = (
        round(value + (target - value) * share) for value, target in pairs
    )
    return red, green, blue


def _size(chance: random.Random) -> tuple[int, int]:
    return chance.choice(SIZES_WH)


class _Sheet(NamedTuple):
    """An image to draw on, with its two colors."""

    image: Image.Image
    pen: ImageDraw.ImageDraw
    ground: Color
    ink: Color


def _sheet(chance: random.Random, size_wh: tuple[int, int]) -> _Sheet:
    """Empty paper of that size."""
    ground, ink = _paper(chance)
    image = Image.new("RGB", size_wh, ground)
    return _Sheet(image, ImageDraw.Draw(image), ground, ink)


def _paper(chance: random.Random) -> tuple[Color, Color]:
    """A ground and an ink that can be read on it: light or dark."""
    is_light = chance.random() < 0.65
    ground = _color(chance, 232, 255) if is_light else _color(chance, 0, 45)
    ink = _color(chance, 0, 90) if is_light else _color(chance, 170, 255)
    return ground, ink


@cache
def _font_files() -> tuple[str, ...]:
    """Fonts at hand: those that matplotlib brings."""
    spec = find_spec("matplotlib")
    folders = spec.submodule_search_locations if spec else None
    return tuple(
        str(path)
        for folder in folders or ()
        for path in sorted((Path(folder) / "mpl-data/fonts/ttf").glob("DejaVu*.ttf"))
        if "Display" not in path.name
    )


def _font(
    chance: random.Random, size: int
) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    files = _font_files()
    if files and chance.random() < 0.7:
        return ImageFont.truetype(chance.choice(files), size)
    return ImageFont.load_default(size)


def _sentence(chance: random.Random, words: int) -> str:
    chosen = [chance.choice(WORDS) for _ in range(words)]
    return " ".join(chosen).capitalize()


def _text_block(
    pen: ImageDraw.ImageDraw,
    chance: random.Random,
    box: tuple[int, int, int, int],
    ink: Color,
    size: int,
) -> None:
    """Lines of words from the top of a box to its bottom."""
    font = _font(chance, size)
    left, top, right, bottom = box
    full_line = max(1, int((right - left) / (size * 3.2)))  # words
    while top + size < bottom:
        if chance.random() > 0.12:
            share = chance.choice((1, 1, 1, 0.6))
            line = _sentence(chance, max(1, int(full_line * share)))
            pen.text((left, top), line, ink, font=font)
        top += int(size * 1.45)


def _blank(chance: random.Random) -> Image.Image:
    size_wh = _size(chance)
    return Image.new("RGB", size_wh, _color(chance))


def _gradient(chance: random.Random) -> Image.Image:
    width, height = _size(chance)
    first = np.array(_color(chance))
    second = np.array(_color(chance))
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    angle = chance.uniform(0, 2 * math.pi)
    distance = x * math.cos(angle) + y * math.sin(angle)
    if chance.random() < 0.4:
        centre_x, centre_y = chance.random(), chance.random()
        distance = np.hypot(x - centre_x, y - centre_y)
    extent = max(1e-6, float(np.ptp(distance)))
    share = (distance - distance.min()) / extent
    pixels = first + (second - first) * share[..., None]
    return Image.fromarray(pixels.astype(np.uint8))


def _noise(chance: random.Random) -> Image.Image:
    width, height = _size(chance)
    generator = np.random.default_rng(chance.randrange(1 << 30))
    grain = chance.choice((1, 1, 2, 4, 8, 32))
    channels = chance.choice((1, 3))
    shape = (height // grain + 1, width // grain + 1, channels)
    values = (
        generator.integers(0, 256, shape)
        if chance.random() < 0.5
        else generator.normal(128, 45, shape)
    )
    rgb = np.broadcast_to(values, (*shape[:2], 3))
    pixels = np.clip(rgb, 0, 255).astype(np.uint8)
    resampling = chance.choice((Image.Resampling.NEAREST, Image.Resampling.BILINEAR))
    image = Image.fromarray(pixels).resize((width, height), resampling)
    blur = ImageFilter.GaussianBlur(chance.choice((0, 0, 2, 6)))
    return image.filter(blur)


def _page(chance: random.Random) -> Image.Image:
    width, height = _size(chance)
    image, pen, _, ink = _sheet(chance, (width, height))
    margin = width // 14
    size = chance.randint(9, 26)
    if chance.random() < 0.6:
        title = _sentence(chance, 3)
        pen.text((margin, margin // 2), title, ink, font=_font(chance, size * 2))
    columns = chance.choice((1, 1, 2, 3))
    column_width = (width - margin * (columns + 1)) // columns
    for column in range(columns):
        left = margin + column * (column_width + margin)
        box = (left, margin + size * 2, left + column_width, height - margin)
        _text_block(pen, chance, box, ink, size)
    return image


def _window(chance: random.Random) -> Image.Image:
    width, height = _size(chance)
    sheet = _sheet(chance, (width, height))
    image, pen, ground, ink = sheet
    accent = _color(chance, 30, 220)
    pen.rectangle((0, 0, width, 34), fill=accent)
    title = _sentence(chance, 4)
    pen.text((10, 8), title, (255, 255, 255), font=_font(chance, 15))
    sidebar = width // 5
    if chance.random() < 0.6:
        pen.rectangle((0, 34, sidebar, height), fill=_blend(ground, ink, 0.06))
        _text_block(pen, chance, (8, 44, sidebar, height - 20), ink, 14)
    top, left = 50, sidebar + 20
    while top < height - 50:
        top += _draw_control(sheet, chance, accent, left, top)
    return image


def _draw_control(
    sheet: _Sheet, chance: random.Random, accent: Color, left: int, top: int
) -> int:
    """A button, a field with its label or some text; returns its height with the gap under it."""
    image, pen, _, ink = sheet
    choice = chance.random()
    if choice < 0.35:
        box = (left, top, left + chance.randint(80, 180), top + 30)
        fill = accent if chance.random() < 0.5 else None
        pen.rounded_rectangle(box, 6, fill=fill, outline=accent)
        label = chance.choice(WORDS)
        pen.text((left + 12, top + 6), label, ink, font=_font(chance, 14))
        return 46
    if choice < 0.65:
        label = _sentence(chance, 2)
        pen.text((left, top), label, ink, font=_font(chance, 14))
        right = min(image.width - 20, left + 420)
        pen.rectangle((left + 140, top - 2, right, top + 24), outline=ink)
        return 46
    _text_block(pen, chance, (left, top, image.width - 20, top + 60), ink, 13)
    return 86


def _spreadsheet(chance: random.Random) -> Image.Image:
    width, height = _size(chance)
    image, pen, ground, ink = _sheet(chance, (width, height))
    row_height = chance.randint(18, 34)
    column_width = chance.randint(60, 150)
    line = _blend(ground, ink, 0.5)
    font = _font(chance, row_height // 2)
    for top in range(0, height, row_height):
        pen.line((0, top, width, top), fill=line)
        for left in range(0, width, column_width):
            text = f"{chance.uniform(0, 9999):,.2f}" if left else chance.choice(WORDS)
            if chance.random() < 0.85:
                pen.text((left + 4, top + 3), text, ink, font=font)
    for left in range(0, width, column_width):
        pen.line((left, 0, left, height), fill=line)
    return image


def _code(chance: random.Random) -> Image.Image:
    width, height = _size(chance)
    is_dark = chance.random() < 0.7
    ground = _color(chance, 20, 45) if is_dark else (252, 252, 250)
    image = Image.new("RGB", (width, height), ground)
    brightness = (110, 255) if is_dark else (0, 150)  # of the letters
    pen = ImageDraw.Draw(image)
    size = chance.randint(11, 20)
    font = _font(chance, size)
    indent = 0
    for top in range(8, height - size, int(size * 1.4)):
        step = chance.choice((-1, 0, 0, 1))
        indent = max(0, min(5, indent + step))
        corner = (40 + indent * size * 2, top)
        _draw_tokens(pen, chance, corner, font, brightness)
    return image


def _draw_tokens(
    pen: ImageDraw.ImageDraw,
    chance: random.Random,
    corner: tuple[int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    brightness: tuple[int, int],
) -> None:
    """One line of source code, each token in a color of its own."""
    left, top = corner
    for _ in range(chance.randint(0, 6)):
        token = chance.choice(WORDS) + chance.choice(TOKEN_ENDINGS)
        color = _color(chance, *brightness)
        pen.text((left, top), token, color, font=font)
        left += int(pen.textlength(token + " ", font=font))


def _desktop(chance: random.Random) -> Image.Image:
    image = _gradient(chance) if chance.random() < 0.6 else _blank(chance)
    pen = ImageDraw.Draw(image)
    width, height = image.size
    for left in range(20, width - 60, 90):
        for top in range(20, height - 110, 100):
            if chance.random() < 0.35:
                _draw_icon(pen, chance, (left, top, left + 48, top + 48))
                label = chance.choice(WORDS)
                pen.text(
                    (left, top + 54), label, (255, 255, 255), font=_font(chance, 13)
                )
    pen.rectangle((0, height - 36, width, height), fill=_color(chance, 0, 80))
    return image


def _draw_icon(
    pen: ImageDraw.ImageDraw, chance: random.Random, box: tuple[int, int, int, int]
) -> None:
    """A flat sign of a few shapes."""
    left, top, right, bottom = box
    pen.rounded_rectangle(box, max(1, (right - left) // 6), fill=_color(chance))
    for _ in range(chance.randint(1, 4)):
        corners = _random_box(chance, (left, right), (top, bottom))
        shape = chance.choice((pen.ellipse, pen.rectangle, pen.line))
        shape(corners, fill=_color(chance))


def _random_box(
    chance: random.Random, x_range: tuple[int, int], y_range: tuple[int, int]
) -> tuple[int, int, int, int]:
    """A box of any size between the limits."""
    x1, x2 = sorted(chance.randint(*x_range) for _ in range(2))
    y1, y2 = sorted(chance.randint(*y_range) for _ in range(2))
    return x1, y1, x2 + 1, y2 + 1


def _icon(chance: random.Random) -> Image.Image:
    side = chance.choice((64, 128, 256, 512))
    ground = chance.choice(((255, 255, 255), (0, 0, 0), _color(chance)))
    image = Image.new("RGB", (side, side), ground)
    margin = side // 6
    box = (margin, margin, side - margin, side - margin)
    _draw_icon(ImageDraw.Draw(image), chance, box)
    return image


def _bars(chance: random.Random) -> Image.Image:
    image, pen, _, ink = _chart_sheet(chance)
    width, height = image.size
    count = chance.randint(3, 14)
    color = _color(chance, 20, 230)
    spacing = (width - 120) // count
    gap = spacing // 6
    for bar in range(count):
        left = 70 + bar * spacing
        top = chance.randint(60, height - 70)
        shade = color if chance.random() < 0.7 else _color(chance)
        pen.rectangle((left + gap, top, left + spacing - gap, height - 50), fill=shade)
        label = chance.choice(WORDS)[:6]
        pen.text((left, height - 44), label, ink, font=_font(chance, 12))
    return image


def _lines(chance: random.Random) -> Image.Image:
    image, pen, _, _ = _chart_sheet(chance)
    width, height = image.size
    step = max(6, width // 60)
    for _ in range(chance.randint(1, 5)):
        level = chance.uniform(0.3, 0.7)
        points = []
        for x in range(70, width - 40, step):
            level += chance.uniform(-0.08, 0.08)
            level = min(0.95, max(0.05, level))
            points.append((x, 40 + level * (height - 100)))
        color = _color(chance, 0, 220)
        pen.line(points, fill=color, width=chance.randint(1, 4))
    return image


def _scatter(chance: random.Random) -> Image.Image:
    image, pen, _, _ = _chart_sheet(chance)
    width, height = image.size
    for _ in range(chance.randint(1, 4)):
        color = _color(chance)
        mean_x, mean_y = chance.uniform(0.2, 0.8), chance.uniform(0.2, 0.8)
        for _ in range(chance.randint(20, 150)):
            share_x = min(1, max(0, chance.gauss(mean_x, 0.12)))
            share_y = min(1, max(0, chance.gauss(mean_y, 0.12)))
            x = 70 + (width - 110) * share_x
            y = 40 + (height - 100) * share_y
            pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=color)
    return image


def _pie(chance: random.Random) -> Image.Image:
    width, height = _size(chance)
    image, pen, _, ink = _sheet(chance, (width, height))
    side = int(min(width, height) * 0.7)
    left, top = (width - side) // 3, (height - side) // 2
    angle = 0.0
    while angle < 360:
        step = min(360 - angle, chance.uniform(15, 110))
        color = _color(chance)
        pen.pieslice(
            (left, top, left + side, top + side), angle, angle + step, fill=color
        )
        position = (left + side + 10, top + angle / 360 * side)
        label = chance.choice(WORDS)
        pen.text(position, label, ink, font=_font(chance, 14))
        angle += step
    return image


def _chart_sheet(chance: random.Random) -> _Sheet:
    """Paper with axes, ticks and a title."""
    width, height = _size(chance)
    sheet = _sheet(chance, (width, height))
    _, pen, ground, ink = sheet
    pen.line((70, 40, 70, height - 50), fill=ink, width=2)
    pen.line((70, height - 50, width - 40, height - 50), fill=ink, width=2)
    for tick in range(5):
        level = 50 + tick * (height - 110) // 5
        pen.text((20, level), str(100 - tick * 20), ink, font=_font(chance, 12))
        if chance.random() < 0.5:
            pen.line((70, level, width - 40, level), fill=_blend(ground, ink, 0.25))
    title = _sentence(chance, 3)
    pen.text((width // 3, 10), title, ink, font=_font(chance, 18))
    return sheet


def _drawing(chance: random.Random) -> Image.Image:
    width, height = _size(chance)
    image, pen, _, ink = _sheet(chance, (width, height))
    for _ in range(chance.randint(5, 40)):
        box = _random_box(chance, (0, width), (0, height))
        fill = _color(chance) if chance.random() < 0.35 else None
        shape = chance.choice((pen.ellipse, pen.rectangle))
        shape(box, fill=fill, outline=ink, width=chance.randint(1, 5))
    return image


def _map(chance: random.Random) -> Image.Image:
    width, height = _size(chance)
    image = Image.new("RGB", (width, height), _color(chance, 215, 250))
    pen = ImageDraw.Draw(image)
    for _ in range(chance.randint(3, 8)):
        outline = _outline_of_land(chance, width, height)
        pen.polygon(outline, fill=chance.choice(LAND_COLORS))
    for _ in range(chance.randint(6, 25)):
        road = [_corner(chance, width, height, beyond=20) for _ in range(3)]
        color = chance.choice(ROAD_COLORS)
        pen.line(road, fill=color, width=chance.randint(2, 9))
    for _ in range(chance.randint(3, 12)):
        corner = _corner(chance, width, height)
        name = chance.choice(WORDS).title()
        pen.text(corner, name, (60, 60, 60), font=_font(chance, 14))
    return image


def _corner(
    chance: random.Random, width: int, height: int, beyond: int = 0
) -> tuple[int, int]:
    """A point of the image, or up to so many pixels outside it."""
    x = chance.randint(-beyond, width + beyond)
    y = chance.randint(-beyond, height + beyond)
    return x, y


def _outline_of_land(
    chance: random.Random, width: int, height: int
) -> list[tuple[float, float]]:
    """The corners of an uneven octagon somewhere on a map."""
    x, y = chance.randint(0, width), chance.randint(0, height)
    largest_radius = chance.randint(40, 200)
    corners = []
    for angle in np.linspace(0, 2 * math.pi, 9)[:-1]:
        radius = largest_radius * chance.uniform(0.6, 1)
        corners.append((x + radius * math.cos(angle), y + radius * math.sin(angle)))
    return corners


def _chat(chance: random.Random) -> Image.Image:
    width, height = chance.choice(((375, 667), (480, 800), (640, 480)))
    image, pen, ground, ink = _sheet(chance, (width, height))
    accent = _color(chance, 40, 220)
    top = 14
    while top < height - 60:
        is_mine = chance.random() < 0.5
        lines = chance.randint(1, 4)
        bubble_width = chance.randint(width // 3, width * 2 // 3)
        left = width - bubble_width - 14 if is_mine else 14
        right, bottom = left + bubble_width, top + 16 + 22 * lines
        shade = accent if is_mine else _blend(ground, ink, 0.1)
        pen.rounded_rectangle((left, top, right, bottom), 12, fill=shade)
        _text_block(pen, chance, (left + 10, top + 8, right - 10, bottom), ink, 14)
        top += 30 + 22 * lines
    return image


def _code_square(chance: random.Random) -> Image.Image:
    cells = chance.randint(21, 57)
    generator = np.random.default_rng(chance.randrange(1 << 30))
    is_light = generator.random((cells, cells)) < 0.5
    squares = is_light.astype(np.uint8) * 255
    last = cells - 7
    for row, column in ((0, 0), (0, last), (last, 0)):  # the three finder patterns
        for inset, value in ((0, 0), (1, 255), (2, 0)):
            rows = slice(row + inset, row + 7 - inset)
            columns = slice(column + inset, column + 7 - inset)
            squares[rows, columns] = value
    side = chance.choice((256, 400, 640))
    image = Image.fromarray(squares).resize((side, side), Image.Resampling.NEAREST)
    framed = Image.new("RGB", (side + 60, side + 60), (255, 255, 255))
    framed.paste(image, (30, 30))
    return framed


def _handwriting(chance: random.Random) -> Image.Image:
    width, height = _size(chance)
    image, pen, _, ink = _sheet(chance, (width, height))
    size = chance.randint(10, 26)
    is_ruled = chance.random() < 0.5
    for top in range(40, height - 20, size * 2):
        if is_ruled:
            pen.line((0, top + size, width, top + size), fill=(150, 180, 220))
        x = 30.0
        points: list[tuple[float, float]] = []
        while x < width - 40:
            points.append((x, top + chance.uniform(-size / 2, size)))
            x += chance.uniform(2, size * 0.7)
            if chance.random() < 0.12:
                pen.line(points, fill=ink, width=2, joint="curve")
                points = []
                x += size
    return image


def _ink_on(image: Image.Image) -> Color:
    """A color that can be read on an image: dark on light, light on dark."""
    mean_grey = float(np.asarray(image.convert("L")).mean())
    return (20, 20, 40) if mean_grey > 128 else (240, 240, 240)


def _slide(chance: random.Random) -> Image.Image:
    image = (
        _gradient(chance)
        if chance.random() < 0.4
        else Image.new("RGB", (1280, 720), _paper(chance)[0])
    )
    pen = ImageDraw.Draw(image)
    width, height = image.size
    ink = _ink_on(image)
    left = width // 12
    title = _sentence(chance, 4)
    pen.text((left, height // 10), title, ink, font=_font(chance, height // 12))
    for row in range(chance.randint(2, 6)):
        top = height // 3 + row * height // 9
        pen.ellipse((left, top + 8, left + 8, top + 16), fill=ink)
        point = _sentence(chance, chance.randint(2, 7))
        pen.text((width // 10, top), point, ink, font=_font(chance, height // 22))
    return image


KINDS: dict[str, Callable[[random.Random], Image.Image]] = {
    "blank": _blank,
    "gradient": _gradient,
    "noise": _noise,
    "page": _page,
    "window": _window,
    "spreadsheet": _spreadsheet,
    "code": _code,
    "desktop": _desktop,
    "icon": _icon,
    "bars": _bars,
    "lines": _lines,
    "drawing": _drawing,
    "slide": _slide,
    "scatter": _scatter,
    "pie": _pie,
    "map": _map,
    "chat": _chat,
    "code square": _code_square,
    "handwriting": _handwriting,
}
HELD_OUT = ("scatter", "pie", "map", "chat", "code square", "handwriting")
