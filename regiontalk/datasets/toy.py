"""A world small enough to learn in a minute.

Coloured shapes on a dark square and the sentences that are true of them. A scene is a
grid of 2 x 2 cells; two to four of them hold a shape (three shapes, five colours, two
sizes; no two alike in a scene). Two shapes side by side make the sentences "a small red
circle left of a large blue square" and its converse "... right of ..."; two shapes one
over the other make "above" and "below". Diagonal neighbours are not spoken of. Every
true sentence is a caption: a scene has 2, 4 or 8, and what a model says is right when
it is one of them.

The scenes of one call share as few sentences and pairs of shapes as possible: up to some hundred
scenes, a sentence is true of one scene only, so that retrieval can be perfect.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from regiontalk.records import Example, Phrase

COLOURS = {
    "red": (225, 45, 45),
    "green": (45, 190, 70),
    "blue": (60, 90, 240),
    "yellow": (240, 220, 50),
    "white": (245, 245, 245),
}
SHAPES = ("circle", "square", "cross")
SIZES = {"small": (13, 15), "large": (25, 28)}  # side in pixels: from, to
CELL = 32  # pixels; a scene is 2 x 2 cells
TRIES = 40  # draws for one scene that shares as little as possible with the scenes before it
CELLS = ((0, 0), (0, 1), (1, 0), (1, 1))  # row, column

Pair = frozenset[str]


@dataclass(frozen=True)
class ToyShape:
    """One shape: its words, its cell and its place.

    Attributes:
        size: "small" or "large".
        colour: a name of `COLOURS`.
        shape: a name of `SHAPES`.
        cell: row and column in the grid.
        box: x1, y1, x2, y2 in pixels; the drawn pixels touch all four sides.
    """

    size: str
    colour: str
    shape: str
    cell: tuple[int, int]
    box: tuple[int, int, int, int]

    @property
    def name(self) -> str:
        """What the sentences call it, such as "a small red circle"."""
        return f"a {self.size} {self.colour} {self.shape}"


@dataclass(frozen=True)
class ToyScene:
    """An image in memory and all that is true of it.

    Attributes:
        image: RGB, 64 x 64 pixels.
        example: captions (all true sentences), boxes and phrases; its photo is only a name until
            `write_scenes`.
        shapes: the shapes, in the order of the example's boxes.
    """

    image: Image.Image
    example: Example
    shapes: tuple[ToyShape, ...]


def make_scenes(
    count: int, seed: int, *, min_shapes: int = 2, max_shapes: int = 4
) -> list[ToyScene]:
    """Scenes of ``min_shapes`` to ``max_shapes`` shapes.

    The same for the same arguments, on every machine.

    Args:
        count: how many.
        seed: 0 or more; also part of the photos' names, so that two seeds never share a name.
        min_shapes: in the emptiest scene, 2 or more.
        max_shapes: in the fullest scene, 4 or less.

    Raises:
        ValueError: a number is out of its range.
    """
    if count < 0 or seed < 0 or not 2 <= min_shapes <= max_shapes <= len(CELLS):
        raise ValueError(
            "toy scenes: expected count and seed of 0 or more and 2 <= min_shapes <= "
            f"max_shapes <= 4, got {count}, {seed}, {min_shapes}, {max_shapes}"
        )
    random = np.random.Generator(np.random.PCG64(seed))
    earlier = _Used()
    scenes: list[ToyScene] = []
    for number in range(count):
        # drawn before the shapes, or the choice would favour poor scenes
        shape_count = int(random.integers(min_shapes, max_shapes + 1))
        draws = [_draw_lots(random, shape_count) for _ in range(TRIES)]
        shapes = min(draws, key=earlier.count)
        earlier.add(shapes)
        scenes.append(_scene(f"{seed}{number:06d}_toy.png", shapes, random))
    return scenes


class _Used:
    """The sentences and pairs of shapes of the scenes so far."""

    def __init__(self) -> None:
        self._texts: set[str] = set()
        self._pairs: set[Pair] = set()

    def count(self, shapes: Sequence[ToyShape]) -> tuple[int, int]:
        """How many sentences and how many pairs of a new scene there are already."""
        texts = {text for text, *_ in sentences(shapes)}
        pairs = _pairs(shapes)
        return len(self._texts & texts), len(self._pairs & pairs)

    def add(self, shapes: Sequence[ToyShape]) -> None:
        """Count a scene in."""
        self._texts |= {text for text, *_ in sentences(shapes)}
        self._pairs |= _pairs(shapes)


RELATIONS = {(0, 1): "left of", (0, -1): "right of", (1, 0): "above", (-1, 0): "below"}
"""Rows and columns from the first shape to the second -> what a sentence says of the first."""


def sentences(shapes: Sequence[ToyShape]) -> list[tuple[str, ToyShape, ToyShape]]:
    """Every true sentence with its first and its second shape."""
    related_shapes = []
    for first, second in permutations(shapes, 2):
        rows = second.cell[0] - first.cell[0]
        columns = second.cell[1] - first.cell[1]
        relation = RELATIONS.get((rows, columns))
        if relation:
            related_shapes.append(
                (f"{first.name} {relation} {second.name}", first, second)
            )
    return related_shapes


def write_scenes(
    splits: Mapping[str, Sequence[ToyScene]], folder: Path, suffix: str = ".png"
) -> None:
    """Write scenes as a data set in the official layout of Flickr8k with Entities.

    ``folder/flickr8k`` gets the token file, the split lists and ``images/``;
    ``folder/flickr30k_entities`` gets ``Annotations/`` and ``Sentences/``. What is there under the
    same names is replaced.

    Args:
        splits: "train", "dev" or "test" -> its scenes; make each split from another seed.
        folder: made where it does not exist.
        suffix: ".png" or ".jpg".

    Raises:
        ValueError: an unknown split or suffix, or two scenes of one name.
    """
    if not set(splits) <= {"train", "dev", "test"} or suffix not in (".png", ".jpg"):
        raise ValueError(
            f"toy scenes: expected train, dev or test and .png or .jpg, got {[*splits]}, {suffix!r}"
        )
    stems = [_stem(scene) for scenes in splits.values() for scene in scenes]
    if len(set(stems)) < len(stems):
        raise ValueError(
            "toy scenes: expected distinct names, got some twice; make each split from another seed"
        )
    flickr, entities = folder / "flickr8k", folder / "flickr30k_entities"
    for path in (flickr / "images", entities / "Annotations", entities / "Sentences"):
        path.mkdir(parents=True, exist_ok=True)
    tokens: list[str] = []
    for split, scenes in splits.items():
        for scene in scenes:
            tokens += _write_scene(scene, flickr, entities, suffix)
        split_list = "".join(f"{_stem(scene)}{suffix}\n" for scene in scenes)
        _write(flickr / f"Flickr_8k.{split}Images.txt", split_list.encode())
    _write(flickr / "Flickr8k.token.txt", "".join(tokens).encode())


def _write_scene(
    scene: ToyScene, flickr: Path, entities: Path, suffix: str
) -> list[str]:
    """Write the photo and the Entities files of one scene; returns its lines of the token file."""
    stem = _stem(scene)
    number = stem.partition("_")[0]
    annotation = _annotation(number, suffix, scene)
    _write(flickr / "images" / f"{stem}{suffix}", _encoded(scene.image, suffix))
    _write(entities / "Annotations" / f"{number}.xml", annotation.encode())
    _write(entities / "Sentences" / f"{number}.txt", _bracketed(scene).encode())
    captions = scene.example.captions
    return [f"{stem}{suffix}#{row}\t{text}\n" for row, text in enumerate(captions)]


def _stem(scene: ToyScene) -> str:
    """The name of a scene's files, without an ending."""
    return Path(scene.example.id).stem


def _draw_lots(random: np.random.Generator, count: int) -> tuple[ToyShape, ...]:
    """Distinct shapes in distinct cells.

    Two alone are never diagonal, or the scene would have no sentence.
    """
    while True:
        cell_numbers = random.permutation(len(CELLS))[:count]
        shapes = tuple(_shape(CELLS[number], random) for number in sorted(cell_numbers))
        names = {shape.name for shape in shapes}
        if len(names) == len(shapes) and sentences(shapes):
            return shapes


def _shape(cell: tuple[int, int], random: np.random.Generator) -> ToyShape:
    """A shape of any sort anywhere in its cell."""
    size = tuple(SIZES)[random.integers(len(SIZES))]
    colour = tuple(COLOURS)[random.integers(len(COLOURS))]
    shape = SHAPES[random.integers(len(SHAPES))]
    smallest, largest = SIZES[size]
    side = int(random.integers(smallest, largest + 1))
    row, column = cell
    spare = CELL - 1 - side
    top = CELL * row + 1 + int(random.integers(spare))
    left = CELL * column + 1 + int(random.integers(spare))
    return ToyShape(size, colour, shape, cell, (left, top, left + side, top + side))


def _pairs(shapes: Sequence[ToyShape]) -> set[Pair]:
    """The names of every two shapes."""
    return {
        frozenset((first.name, second.name))
        for first, second in combinations(shapes, 2)
    }


def _scene(
    name: str, shapes: tuple[ToyShape, ...], random: np.random.Generator
) -> ToyScene:
    # noise: no two backgrounds are alike
    pixels = random.integers(10, 40, (2 * CELL, 2 * CELL, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    brush = ImageDraw.Draw(image)
    for shape in shapes:
        _paint(brush, shape)
    boxes = np.array([shape.box for shape in shapes], dtype=np.float32)
    texts = tuple(text for text, *_ in sentences(shapes))
    example = Example(Path(name), texts, boxes, _phrases(shapes), image.size, name)
    return ToyScene(image, example, shapes)


def _phrases(shapes: Sequence[ToyShape]) -> tuple[Phrase, ...]:
    """The two shapes that each sentence names, with their boxes."""
    phrases: list[Phrase] = []
    for caption, (text, first, second) in enumerate(sentences(shapes)):
        second_start = len(text.split()) - len(second.name.split())
        for shape, first_word in ((first, 0), (second, second_start)):
            row = shapes.index(shape)
            entity = str(row + 1)
            phrases.append(
                Phrase(shape.name, (row,), caption, first_word, entity, ("other",))
            )
    return tuple(phrases)


def _paint(brush: ImageDraw.ImageDraw, shape: ToyShape) -> None:
    x1, y1, x2, y2 = shape.box
    right, bottom = x2 - 1, y2 - 1  # Pillow draws the last pixel too
    colour = COLOURS[shape.colour]
    if shape.shape == "circle":
        brush.ellipse((x1, y1, right, bottom), fill=colour)
    elif shape.shape == "square":
        brush.rectangle((x1, y1, right, bottom), fill=colour)
    else:
        third = (x2 - x1) // 3
        brush.rectangle((x1, y1 + third, right, bottom - third), fill=colour)
        brush.rectangle((x1 + third, y1, right - third, bottom), fill=colour)


def _annotation(number: str, suffix: str, scene: ToyScene) -> str:
    width, height = scene.image.size
    size = (
        f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    )
    lines = [f"\t<filename>{number}{suffix}</filename>", f"\t{size}"]
    for row, shape in enumerate(scene.shapes, start=1):
        corners = zip(("xmin", "ymin", "xmax", "ymax"), shape.box, strict=True)
        box = "".join(f"<{name}>{value}</{name}>" for name, value in corners)
        lines.append(f"\t<object><name>{row}</name><bndbox>{box}</bndbox></object>")
    return "\n".join(["<annotation>", *lines, "</annotation>\n"])


def _bracketed(scene: ToyScene) -> str:
    """The sentences with their phrases in brackets, as Entities writes them."""
    lines = []
    for text, first, second in sentences(scene.shapes):
        relation = text.removeprefix(first.name).removesuffix(second.name)
        lines.append(f"{_mark(scene, first)}{relation}{_mark(scene, second)}\n")
    return "".join(lines)


def _mark(scene: ToyScene, shape: ToyShape) -> str:
    """The name of a shape in Entities' brackets."""
    entity = scene.shapes.index(shape) + 1
    return f"[/EN#{entity}/other {shape.name}]"


def _encoded(image: Image.Image, suffix: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, {".png": "PNG", ".jpg": "JPEG"}[suffix], quality=95)
    return stream.getvalue()


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all: a temporary name, then a rename."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)
