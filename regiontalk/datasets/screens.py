"""Images of user interfaces, drawn by code.

A field of one's own whose sentences and boxes are true. A screen is a column of two or
three bands, each with one or two elements (buttons, text fields, switches ...), most of
them in one of six colours. Every element is a box with its name ("a blue button");
sentences say what stands on the screen and what stands over what ("a blue button under
a text field"). `write_screens` leaves the folder that ``regiontalk train FOLDER --out
MODEL`` reads.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from regiontalk.files import write_text

WIDTH, HEIGHT = 320, 400  # of a screen in pixels
BAND_HEIGHT = 84
COLOURS = {
    "red": (214, 48, 49),
    "green": (39, 158, 85),
    "blue": (40, 98, 220),
    "orange": (238, 132, 28),
    "purple": (122, 62, 172),
    "grey": (130, 134, 140),
}
THEMES = {
    "light": ((250, 250, 250), (40, 40, 44)),
    "dark": ((33, 35, 41), (232, 232, 235)),
}  # paper and ink
LABELS = (
    "OK",
    "Save",
    "Send",
    "Next",
    "Cancel",
    "Search",
    "Sign in",
    "Delete",
    "Open",
    "Name",
)
FONT_SIZE = 15

Box = tuple[int, int, int, int]
Colour = tuple[int, int, int]
Draw = Callable[[ImageDraw.ImageDraw, Box, Colour, Colour, random.Random], None]


@dataclass(frozen=True)
class Element:
    """One element of a screen.

    Attributes:
        phrase: its name, such as "a blue button".
        box: x1, y1, x2, y2 in pixels.
        band: the row of elements that it stands in, 0 at the top.
    """

    phrase: str
    box: Box
    band: int


@dataclass(frozen=True)
class Screen:
    """An image with all that is true of it.

    Attributes:
        image: RGB, `WIDTH` x `HEIGHT`.
        elements: from top to bottom, left to right.
        captions: true sentences, three or more.
    """

    image: Image.Image
    elements: tuple[Element, ...]
    captions: tuple[str, ...]


def _button(
    pen: ImageDraw.ImageDraw,
    box: Box,
    colour: Colour,
    ink: Colour,
    chance: random.Random,
) -> None:
    x1, y1, x2, y2 = box
    radius = chance.choice((4, 10, 18))
    pen.rounded_rectangle(box, radius=radius, fill=colour)
    centre = ((x1 + x2) / 2, (y1 + y2) / 2)
    label = chance.choice(LABELS)
    pen.text(centre, label, (255, 255, 255), _font(), anchor="mm")


def _text_field(
    pen: ImageDraw.ImageDraw,
    box: Box,
    colour: Colour,
    ink: Colour,
    chance: random.Random,
) -> None:
    x1, y1, _, y2 = box
    pen.rectangle(box, outline=ink, width=2)
    label = chance.choice(LABELS).lower()
    start = (x1 + 8, (y1 + y2) / 2)
    pen.text(start, label, COLOURS["grey"], _font(), anchor="lm")


def _check_box(
    pen: ImageDraw.ImageDraw,
    box: Box,
    colour: Colour,
    ink: Colour,
    chance: random.Random,
) -> None:
    pen.rectangle(box, outline=colour, width=4)
    tick = _points_in(box, [(0.22, 0.52), (0.42, 0.74), (0.8, 0.25)])
    pen.line(tick, fill=colour, width=5)


def _switch(
    pen: ImageDraw.ImageDraw,
    box: Box,
    colour: Colour,
    ink: Colour,
    chance: random.Random,
) -> None:
    x1, y1, x2, y2 = box
    height = y2 - y1
    pen.rounded_rectangle(box, radius=height // 2, fill=colour)
    left = chance.choice((x1, x2 - height))
    knob = (left + 4, y1 + 4, left + height - 4, y2 - 4)
    pen.ellipse(knob, fill=(255, 255, 255))


def _slider(
    pen: ImageDraw.ImageDraw,
    box: Box,
    colour: Colour,
    ink: Colour,
    chance: random.Random,
) -> None:
    x1, y1, x2, y2 = box
    middle = (y1 + y2) // 2
    knob = chance.randint(x1 + 20, x2 - 20)
    pen.line((x1, middle, x2, middle), fill=COLOURS["grey"], width=4)
    pen.line((x1, middle, knob, middle), fill=colour, width=6)
    pen.ellipse((knob - 13, middle - 13, knob + 13, middle + 13), fill=colour)


def _picture(
    pen: ImageDraw.ImageDraw,
    box: Box,
    colour: Colour,
    ink: Colour,
    chance: random.Random,
) -> None:
    _, y1, x2, _ = box
    pen.rectangle(box, fill=(188, 216, 240))
    peak = chance.uniform(0.3, 0.6)
    hills = _points_in(
        box, [(0.0, 1.0), (peak, 0.35), (0.75, 0.8), (0.9, 0.6), (1.0, 1.0)]
    )
    pen.polygon(hills, fill=(92, 140, 84))
    sun = (x2 - 26, y1 + 6, x2 - 10, y1 + 22)
    pen.ellipse(sun, fill=(250, 214, 60))


def _list(
    pen: ImageDraw.ImageDraw,
    box: Box,
    colour: Colour,
    ink: Colour,
    chance: random.Random,
) -> None:
    x1, y1, x2, y2 = box
    for row in range(3):
        middle = y1 + (2 * row + 1) * (y2 - y1) // 6
        pen.ellipse((x1 + 2, middle - 4, x1 + 10, middle + 4), fill=ink)
        end = x2 - chance.randint(0, 40)
        pen.line((x1 + 20, middle, end, middle), fill=ink, width=3)


def _progress_bar(
    pen: ImageDraw.ImageDraw,
    box: Box,
    colour: Colour,
    ink: Colour,
    chance: random.Random,
) -> None:
    x1, y1, x2, y2 = box
    pen.rectangle(box, outline=colour, width=3)
    share = chance.uniform(0.3, 0.8)
    end = x1 + round(share * (x2 - x1))
    pen.rectangle((x1, y1, end, y2), fill=colour)


def _points_in(
    box: Box, shares: Sequence[tuple[float, float]]
) -> list[tuple[float, float]]:
    """Points by shares of a box's width and height."""
    x1, y1, x2, y2 = box
    width, height = x2 - x1, y2 - y1
    return [(x1 + x * width, y1 + y * height) for x, y in shares]


# name -> how it is drawn, its width as shares of its place, its height in pixels, whether it is
# called by its colour
ELEMENTS: dict[str, tuple[Draw, tuple[float, float], tuple[int, int], bool]] = {
    "button": (_button, (0.6, 1.0), (36, 54), True),
    "text field": (_text_field, (0.8, 1.0), (34, 48), False),
    "check box": (_check_box, (0.0, 0.0), (36, 52), True),
    "switch": (_switch, (0.45, 0.6), (34, 44), True),
    "slider": (_slider, (0.8, 1.0), (34, 44), True),
    "picture": (_picture, (0.6, 1.0), (60, 76), False),
    "list": (_list, (0.7, 1.0), (60, 76), False),
    "progress bar": (_progress_bar, (0.8, 1.0), (18, 28), True),
}


def draw_screen(seed: int) -> Screen:
    """The screen of a seed; the same on every machine with the same Pillow.

    Args:
        seed: 0 or more.
    """
    chance = random.Random(seed)
    theme = chance.choice(sorted(THEMES))
    paper, ink = THEMES[theme]
    ground = tuple(max(0, channel - chance.randrange(12)) for channel in paper)
    image = Image.new("RGB", (WIDTH, HEIGHT), ground)
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 0, WIDTH, 40), fill=chance.choice([*COLOURS.values(), paper]))
    pen.text((14, 20), chance.choice(LABELS), (255, 255, 255), _font(), anchor="lm")
    elements = _draw_bands(pen, ink, chance)
    captions = _captions(elements, theme, chance)
    return Screen(image, tuple(elements), tuple(captions))


def _draw_bands(
    pen: ImageDraw.ImageDraw, ink: Colour, chance: random.Random
) -> list[Element]:
    """Two or three bands under the heading, each with one or two elements."""
    bands = chance.randint(2, 3)
    spare_height = HEIGHT - 56 - bands * (BAND_HEIGHT + 8)
    first_top = 56 + chance.randrange(spare_height)
    elements: list[Element] = []
    for band in range(bands):
        top = first_top + band * (BAND_HEIGHT + 8)
        columns = chance.choice((1, 1, 2))
        column_width = (WIDTH - 32) // columns
        for column in range(columns):
            left = 16 + column * column_width
            slot = (left, top, column_width - 12)
            elements.append(_draw_element(pen, slot, ink, chance, band))
    return elements


def _draw_element(
    pen: ImageDraw.ImageDraw,
    slot: tuple[int, int, int],
    ink: Colour,
    chance: random.Random,
    band: int,
) -> Element:
    """One element in its slot: left, top and width in pixels."""
    name = chance.choice(sorted(ELEMENTS))
    draw, width_shares, heights, is_coloured = ELEMENTS[name]
    left, top, slot_width = slot
    height = chance.randint(*heights)
    width = max(height, round(slot_width * chance.uniform(*width_shares)))
    x = left + chance.randint(0, slot_width - width)
    y = top + chance.randint(0, BAND_HEIGHT - height)
    box = (x, y, x + width, y + height)
    colour = chance.choice(sorted(COLOURS))
    draw(pen, box, COLOURS[colour], ink, chance)
    words = f"{colour} {name}" if is_coloured else name
    article = "an" if words[0] in "aeiou" else "a"
    return Element(f"{article} {words}", box, band)


def _captions(
    elements: Sequence[Element], theme: str, chance: random.Random
) -> list[str]:
    """True sentences of a screen: what stands over what, and what there is."""
    upper = chance.choice([element for element in elements if element.band == 0])
    lower = chance.choice([element for element in elements if element.band == 1])
    first, second = chance.sample(list(elements), 2)
    return [
        f"{lower.phrase} under {upper.phrase}",
        f"{upper.phrase} above {lower.phrase}",
        f"a {theme} screen with {first.phrase} and {second.phrase}",
    ]


def write_screens(
    count: int, seed: int, folder: Path, name: str = "photos.jsonl"
) -> Path:
    """Write screens as photos of one's own, with sentences and named boxes.

    Args:
        count: how many, from the seeds ``seed``, ``seed + 1`` ...
        seed: of the first; far apart for two sets that share none.
        folder: made where it does not exist; images go to ``screens/`` in it.
        name: of the file of sentences and boxes.

    Returns:
        That file.
    """
    images = folder / "screens"
    images.mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(seed, seed + count):
        screen = draw_screen(number)
        path = images / f"{number:06d}.png"
        screen.image.save(path)
        boxes = [
            {"box": element.box, "phrase": element.phrase}
            for element in screen.elements
        ]
        row = {
            "photo": f"screens/{path.name}",
            "captions": screen.captions,
            "boxes": boxes,
            "width": WIDTH,
            "height": HEIGHT,
        }
        lines.append(json.dumps(row) + "\n")
    write_text(folder / name, "".join(lines))
    return folder / name


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(FONT_SIZE)
