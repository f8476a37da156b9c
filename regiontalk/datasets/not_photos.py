"""Pictures that are no photos, drawn by code: what a captioner should say nothing about.

Blank and noisy pictures, pages of text, screens, icons, charts, drawings. `draw_picture` is a
function of a kind and a seed alone. Kinds in `HELD_OUT` are only ever measured on, so that a check
that learnt from the others is judged on sorts of pictures that it has not seen.
"""

from __future__ import annotations

import io
import math
import random
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Color = tuple[int, int, int]

SIZES_WH = ((640, 480), (800, 600), (480, 640), (512, 512), (1280, 720), (375, 667), (900, 300))
WORDS = (
    "the of and to in is for on with as by this be are from at or an it that have not all total date "
    "name price order file edit view help settings account message search open save cancel report "
    "page chapter figure table value result market growth energy system network method data model "
    "history science review region summary address number quarter sales monday april invoice tax"
).split()


def draw_picture(kind: str, seed: int) -> Image.Image:
    """One RGB picture.

    Args:
        kind: one of `KINDS`.
        seed: of everything random in it.

    Raises:
        ValueError: no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    chance = random.Random(f"{kind} {seed}")
    return _as_stored(KINDS[kind](chance), chance).convert("RGB")


def _as_stored(image: Image.Image, chance: random.Random) -> Image.Image:
    """The picture as people's files are: as it is, made smaller, or compressed."""
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
    red, green, blue = (
        round(value + (target - value) * share) for value, target in zip(first, second, strict=True)
    )
    return red, green, blue


def _size(chance: random.Random) -> tuple[int, int]:
    return chance.choice(SIZES_WH)


def _paper(chance: random.Random) -> tuple[Color, Color]:
    """A ground and an ink that can be read on it: light or dark."""
    if chance.random() < 0.65:
        return _color(chance, 232, 255), _color(chance, 0, 90)
    return _color(chance, 0, 45), _color(chance, 170, 255)


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


def _font(chance: random.Random, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    files = _font_files()
    if files and chance.random() < 0.7:
        return ImageFont.truetype(chance.choice(files), size)
    return ImageFont.load_default(size)


def _sentence(chance: random.Random, words: int) -> str:
    return " ".join(chance.choice(WORDS) for _ in range(words)).capitalize()


def _text_block(
    pen: ImageDraw.ImageDraw,
    chance: random.Random,
    box: tuple[int, int, int, int],
    ink: Color,
    size: int,
) -> None:
    """Lines of words from the top of a box to its bottom."""
    font, (left, top, right, bottom) = _font(chance, size), box
    while top + size < bottom:
        words = max(1, int((right - left) / (size * 3.2)))
        if chance.random() > 0.12:
            share = chance.choice((1, 1, 1, 0.6))
            pen.text((left, top), _sentence(chance, max(1, int(words * share))), ink, font=font)
        top += int(size * 1.45)


def _blank(chance: random.Random) -> Image.Image:
    return Image.new("RGB", _size(chance), _color(chance))


def _gradient(chance: random.Random) -> Image.Image:
    width, height = _size(chance)
    first, second = np.array(_color(chance)), np.array(_color(chance))
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    angle = chance.uniform(0, 2 * math.pi)
    ramp = x * math.cos(angle) + y * math.sin(angle)
    if chance.random() < 0.4:
        ramp = np.hypot(x - chance.random(), y - chance.random())
    ramp = (ramp - ramp.min()) / max(1e-6, float(np.ptp(ramp)))
    pixels = first + (second - first) * ramp[..., None]
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
    pixels = np.clip(np.broadcast_to(values, (*shape[:2], 3)), 0, 255).astype(np.uint8)
    image = Image.fromarray(pixels).resize((width, height), chance.choice((0, 2)))
    return image.filter(ImageFilter.GaussianBlur(chance.choice((0, 0, 2, 6))))


def _page(chance: random.Random) -> Image.Image:
    width, height = _size(chance)
    ground, ink = _paper(chance)
    image = Image.new("RGB", (width, height), ground)
    pen, margin, size = ImageDraw.Draw(image), width // 14, chance.randint(9, 26)
    if chance.random() < 0.6:
        pen.text((margin, margin // 2), _sentence(chance, 3), ink, font=_font(chance, size * 2))
    columns = chance.choice((1, 1, 2, 3))
    wide = (width - margin * (columns + 1)) // columns
    for column in range(columns):
        left = margin + column * (wide + margin)
        _text_block(pen, chance, (left, margin + size * 2, left + wide, height - margin), ink, size)
    return image


def _window(chance: random.Random) -> Image.Image:
    width, height = _size(chance)
    ground, ink = _paper(chance)
    accent = _color(chance, 30, 220)
    image = Image.new("RGB", (width, height), ground)
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 0, width, 34), fill=accent)
    pen.text((10, 8), _sentence(chance, 4), (255, 255, 255), font=_font(chance, 15))
    if chance.random() < 0.6:
        pen.rectangle((0, 34, width // 5, height), fill=_blend(ground, ink, 0.06))
        _text_block(pen, chance, (8, 44, width // 5, height - 20), ink, 14)
    top, left = 50, width // 5 + 20
    while top < height - 50:
        choice = chance.random()
        if choice < 0.35:
            box = (left, top, left + chance.randint(80, 180), top + 30)
            pen.rounded_rectangle(
                box, 6, fill=accent if chance.random() < 0.5 else None, outline=accent
            )
            pen.text((left + 12, top + 6), chance.choice(WORDS), ink, font=_font(chance, 14))
        elif choice < 0.65:
            pen.text((left, top), _sentence(chance, 2), ink, font=_font(chance, 14))
            pen.rectangle((left + 140, top - 2, min(width - 20, left + 420), top + 24), outline=ink)
        else:
            _text_block(pen, chance, (left, top, width - 20, top + 60), ink, 13)
            top += 40
        top += 46
    return image


def _spreadsheet(chance: random.Random) -> Image.Image:
    width, height = _size(chance)
    ground, ink = _paper(chance)
    image = Image.new("RGB", (width, height), ground)
    pen, row_height, wide = ImageDraw.Draw(image), chance.randint(18, 34), chance.randint(60, 150)
    line = _blend(ground, ink, 0.5)
    font = _font(chance, row_height // 2)
    for top in range(0, height, row_height):
        pen.line((0, top, width, top), fill=line)
        for left in range(0, width, wide):
            words = f"{chance.uniform(0, 9999):,.2f}" if left else chance.choice(WORDS)
            if chance.random() < 0.85:
                pen.text((left + 4, top + 3), words, ink, font=font)
    for left in range(0, width, wide):
        pen.line((left, 0, left, height), fill=line)
    return image


def _code(chance: random.Random) -> Image.Image:
    width, height = _size(chance)
    dark = chance.random() < 0.7
    image = Image.new("RGB", (width, height), _color(chance, 20, 45) if dark else (252, 252, 250))
    pen, size, indent = ImageDraw.Draw(image), chance.randint(11, 20), 0
    font = _font(chance, size)
    for top in range(8, height - size, int(size * 1.4)):
        indent = max(0, min(5, indent + chance.choice((-1, 0, 0, 1))))
        left = 40 + indent * size * 2
        for _ in range(chance.randint(0, 6)):
            word = chance.choice(WORDS) + chance.choice(("(", ")", " =", ":", ".", "", "[0]"))
            color = _color(chance, 110, 255) if dark else _color(chance, 0, 150)
            pen.text((left, top), word, color, font=font)
            left += int(pen.textlength(word + " ", font=font))
    return image


def _desktop(chance: random.Random) -> Image.Image:
    image = _gradient(chance) if chance.random() < 0.6 else _blank(chance)
    pen, (width, height) = ImageDraw.Draw(image), image.size
    for left in range(20, width - 60, 90):
        for top in range(20, height - 110, 100):
            if chance.random() < 0.35:
                _draw_icon(pen, chance, (left, top, left + 48, top + 48))
                label = chance.choice(WORDS)
                pen.text((left, top + 54), label, (255, 255, 255), font=_font(chance, 13))
    pen.rectangle((0, height - 36, width, height), fill=_color(chance, 0, 80))
    return image


def _draw_icon(
    pen: ImageDraw.ImageDraw, chance: random.Random, box: tuple[int, int, int, int]
) -> None:
    """A flat sign of a few shapes."""
    left, top, right, bottom = box
    pen.rounded_rectangle(box, max(1, (right - left) // 6), fill=_color(chance))
    for _ in range(chance.randint(1, 4)):
        xs = sorted(chance.randint(left, right) for _ in range(2))
        ys = sorted(chance.randint(top, bottom) for _ in range(2))
        corners = (xs[0], ys[0], xs[1] + 1, ys[1] + 1)
        shape = chance.choice((pen.ellipse, pen.rectangle, pen.line))
        shape(corners, fill=_color(chance))


def _icon(chance: random.Random) -> Image.Image:
    side = chance.choice((64, 128, 256, 512))
    image = Image.new(
        "RGB", (side, side), chance.choice(((255, 255, 255), (0, 0, 0), _color(chance)))
    )
    _draw_icon(
        ImageDraw.Draw(image), chance, (side // 6, side // 6, side - side // 6, side - side // 6)
    )
    return image


def _bars(chance: random.Random) -> Image.Image:
    image, pen, ink = _chart_ground(chance)
    width, height = image.size
    count = chance.randint(3, 14)
    color, wide = _color(chance, 20, 230), (width - 120) // count
    for bar in range(count):
        left = 70 + bar * wide
        top = chance.randint(60, height - 70)
        shade = color if chance.random() < 0.7 else _color(chance)
        pen.rectangle((left + wide // 6, top, left + wide - wide // 6, height - 50), fill=shade)
        pen.text((left, height - 44), chance.choice(WORDS)[:6], ink, font=_font(chance, 12))
    return image


def _lines(chance: random.Random) -> Image.Image:
    image, pen, _ = _chart_ground(chance)
    width, height = image.size
    for _ in range(chance.randint(1, 5)):
        level, points = chance.uniform(0.3, 0.7), []
        for left in range(70, width - 40, max(6, width // 60)):
            level = min(0.95, max(0.05, level + chance.uniform(-0.08, 0.08)))
            points.append((left, 40 + level * (height - 100)))
        pen.line(points, fill=_color(chance, 0, 220), width=chance.randint(1, 4))
    return image


def _scatter(chance: random.Random) -> Image.Image:
    image, pen, _ = _chart_ground(chance)
    width, height = image.size
    for _ in range(chance.randint(1, 4)):
        color, x, y = _color(chance), chance.uniform(0.2, 0.8), chance.uniform(0.2, 0.8)
        for _ in range(chance.randint(20, 150)):
            left = 70 + (width - 110) * min(1, max(0, chance.gauss(x, 0.12)))
            top = 40 + (height - 100) * min(1, max(0, chance.gauss(y, 0.12)))
            pen.ellipse((left - 3, top - 3, left + 3, top + 3), fill=color)
    return image


def _pie(chance: random.Random) -> Image.Image:
    width, height = _size(chance)
    ground, ink = _paper(chance)
    image = Image.new("RGB", (width, height), ground)
    pen, side = ImageDraw.Draw(image), int(min(width, height) * 0.7)
    left, top, angle = (width - side) // 3, (height - side) // 2, 0.0
    while angle < 360:
        step = min(360 - angle, chance.uniform(15, 110))
        color = _color(chance)
        pen.pieslice((left, top, left + side, top + side), angle, angle + step, fill=color)
        pen.text(
            (left + side + 10, top + angle / 360 * side),
            chance.choice(WORDS),
            ink,
            font=_font(chance, 14),
        )
        angle += step
    return image


def _chart_ground(chance: random.Random) -> tuple[Image.Image, ImageDraw.ImageDraw, Color]:
    """Paper with axes, ticks and a title."""
    width, height = _size(chance)
    ground, ink = _paper(chance)
    image = Image.new("RGB", (width, height), ground)
    pen = ImageDraw.Draw(image)
    pen.line((70, 40, 70, height - 50), fill=ink, width=2)
    pen.line((70, height - 50, width - 40, height - 50), fill=ink, width=2)
    for tick in range(5):
        level = 50 + tick * (height - 110) // 5
        pen.text((20, level), str(100 - tick * 20), ink, font=_font(chance, 12))
        if chance.random() < 0.5:
            pen.line((70, level, width - 40, level), fill=_blend(ground, ink, 0.25))
    pen.text((width // 3, 10), _sentence(chance, 3), ink, font=_font(chance, 18))
    return image, pen, ink


def _drawing(chance: random.Random) -> Image.Image:
    width, height = _size(chance)
    ground, ink = _paper(chance)
    image = Image.new("RGB", (width, height), ground)
    pen = ImageDraw.Draw(image)
    for _ in range(chance.randint(5, 40)):
        xs = sorted(chance.randint(0, width) for _ in range(2))
        ys = sorted(chance.randint(0, height) for _ in range(2))
        box = (xs[0], ys[0], xs[1] + 1, ys[1] + 1)
        fill = _color(chance) if chance.random() < 0.35 else None
        shape = chance.choice((pen.ellipse, pen.rectangle))
        shape(box, fill=fill, outline=ink, width=chance.randint(1, 5))
    return image


def _map(chance: random.Random) -> Image.Image:
    width, height = _size(chance)
    image = Image.new("RGB", (width, height), _color(chance, 215, 250))
    pen = ImageDraw.Draw(image)
    for _ in range(chance.randint(3, 8)):
        x, y, spread = chance.randint(0, width), chance.randint(0, height), chance.randint(40, 200)
        corners = []
        for angle in np.linspace(0, 2 * math.pi, 9)[:-1]:
            radius = spread * chance.uniform(0.6, 1)
            corners.append((x + radius * math.cos(angle), y + radius * math.sin(angle)))
        pen.polygon(
            corners, fill=chance.choice(((190, 220, 180), (170, 205, 235), (235, 225, 200)))
        )
    for _ in range(chance.randint(6, 25)):
        ends = [
            (chance.randint(-20, width + 20), chance.randint(-20, height + 20)) for _ in range(3)
        ]
        color = chance.choice(((255, 255, 255), (250, 210, 120), (150, 150, 150)))
        pen.line(ends, fill=color, width=chance.randint(2, 9))
    for _ in range(chance.randint(3, 12)):
        corner = (chance.randint(0, width), chance.randint(0, height))
        pen.text(corner, chance.choice(WORDS).title(), (60, 60, 60), font=_font(chance, 14))
    return image


def _chat(chance: random.Random) -> Image.Image:
    width, height = chance.choice(((375, 667), (480, 800), (640, 480)))
    ground, ink = _paper(chance)
    image = Image.new("RGB", (width, height), ground)
    pen, top, accent = ImageDraw.Draw(image), 14, _color(chance, 40, 220)
    while top < height - 60:
        mine, lines = chance.random() < 0.5, chance.randint(1, 4)
        wide = chance.randint(width // 3, width * 2 // 3)
        left = width - wide - 14 if mine else 14
        shade = accent if mine else _blend(ground, ink, 0.1)
        pen.rounded_rectangle((left, top, left + wide, top + 16 + 22 * lines), 12, fill=shade)
        _text_block(
            pen, chance, (left + 10, top + 8, left + wide - 10, top + 16 + 22 * lines), ink, 14
        )
        top += 30 + 22 * lines
    return image


def _code_square(chance: random.Random) -> Image.Image:
    cells = chance.randint(21, 57)
    generator = np.random.default_rng(chance.randrange(1 << 30))
    squares = (generator.random((cells, cells)) < 0.5).astype(np.uint8) * 255
    for row, column in ((0, 0), (0, cells - 7), (cells - 7, 0)):
        squares[row : row + 7, column : column + 7] = 0
        squares[row + 1 : row + 6, column + 1 : column + 6] = 255
        squares[row + 2 : row + 5, column + 2 : column + 5] = 0
    side = chance.choice((256, 400, 640))
    image = Image.fromarray(squares).resize((side, side), Image.Resampling.NEAREST)
    framed = Image.new("RGB", (side + 60, side + 60), (255, 255, 255))
    framed.paste(image, (30, 30))
    return framed


def _handwriting(chance: random.Random) -> Image.Image:
    width, height = _size(chance)
    ground, ink = _paper(chance)
    image = Image.new("RGB", (width, height), ground)
    pen, size = ImageDraw.Draw(image), chance.randint(10, 26)
    ruled = chance.random() < 0.5
    for top in range(40, height - 20, size * 2):
        if ruled:
            pen.line((0, top + size, width, top + size), fill=(150, 180, 220))
        left, points = 30.0, []
        while left < width - 40:
            points.append((left, top + chance.uniform(-size / 2, size)))
            left += chance.uniform(2, size * 0.7)
            if chance.random() < 0.12:
                pen.line(points, fill=ink, width=2, joint="curve")
                points, left = [], left + size
    return image


def _slide(chance: random.Random) -> Image.Image:
    image = (
        _gradient(chance)
        if chance.random() < 0.4
        else Image.new("RGB", (1280, 720), _paper(chance)[0])
    )
    pen, (width, height) = ImageDraw.Draw(image), image.size
    mean = float(np.asarray(image.convert("L")).mean())
    ink = (20, 20, 40) if mean > 128 else (240, 240, 240)
    pen.text(
        (width // 12, height // 10), _sentence(chance, 4), ink, font=_font(chance, height // 12)
    )
    for row in range(chance.randint(2, 6)):
        top = height // 3 + row * height // 9
        pen.ellipse((width // 12, top + 8, width // 12 + 8, top + 16), fill=ink)
        pen.text(
            (width // 10, top),
            _sentence(chance, chance.randint(2, 7)),
            ink,
            font=_font(chance, height // 22),
        )
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
