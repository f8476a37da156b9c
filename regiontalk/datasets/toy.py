"""A world small enough to learn in a minute: coloured shapes on a dark square and the sentences that are true of them.

A scene is a grid of 2 x 2 cells; two to four of them hold a shape (three shapes, five colours, two
sizes; no two alike in a scene). Two shapes side by side make the sentences "a small red circle left
of a large blue square" and its converse "... right of ..."; two shapes one over the other make
"above" and "below". Diagonal neighbours are not spoken of. Every true sentence is a caption: a
scene has 2, 4 or 8, and what a model says is right when it is one of them.

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
    """A picture in memory and all that is true of it.

    Attributes:
        image: RGB, 64 x 64 pixels.
        example: captions (all true sentences), boxes and phrases; its photo is only a name until
            `write_scenes`.
        shapes: the shapes, in the order of the example's boxes.
    """

    image: Image.Image
    example: Example
    shapes: tuple[ToyShape, ...]


def make_scenes(count: int, seed: int, *, least: int = 2, most: int = 4) -> list[ToyScene]:
    """Scenes of ``least`` to ``most`` shapes; the same for the same arguments, on every machine.

    Args:
        count: how many.
        seed: 0 or more; also part of the photos' names, so that two seeds never share a name.
        least: shapes in the emptiest scene, 2 or more.
        most: shapes in the fullest scene, 4 or less.

    Raises:
        ValueError: a number is out of its range.
    """
    if count < 0 or seed < 0 or not 2 <= least <= most <= len(CELLS):
        raise ValueError(
            f"toy scenes: expected count and seed of 0 or more and 2 <= least <= most <= 4, "
            f"got {count}, {seed}, {least}, {most}"
        )
    random = np.random.Generator(np.random.PCG64(seed))
    used_sentences: set[str] = set()
    met: set[Pair] = set()

    def shared(shapes: tuple[ToyShape, ...]) -> tuple[int, int]:
        texts = {text for text, *_ in sentences(shapes)}
        return len(used_sentences & texts), len(met & _pairs(shapes))

    scenes: list[ToyScene] = []
    for number in range(count):
        # drawn before the shapes, or the choice would favour poor scenes
        many = int(random.integers(least, most + 1))
        shapes = min((_draw_lots(random, many) for _ in range(TRIES)), key=shared)
        scenes.append(_scene(f"{seed}{number:06d}_toy.png", shapes, random))
        used_sentences.update(scenes[-1].example.captions)
        met |= _pairs(shapes)
    return scenes


def sentences(shapes: Sequence[ToyShape]) -> list[tuple[str, ToyShape, ToyShape]]:
    """Every true sentence with its first and its second shape."""
    related_shapes = []
    for first, second in permutations(shapes, 2):
        rows, columns = second.cell[0] - first.cell[0], second.cell[1] - first.cell[1]
        relation = {(0, 1): "left of", (0, -1): "right of", (1, 0): "above", (-1, 0): "below"}.get(
            (rows, columns)
        )
        if relation:
            related_shapes.append((f"{first.name} {relation} {second.name}", first, second))
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
    names = [Path(scene.example.id).stem for scenes in splits.values() for scene in scenes]
    if len(set(names)) < len(names):
        raise ValueError(
            "toy scenes: expected distinct names, got some twice; make each split from another seed"
        )
    flickr, entities = folder / "flickr8k", folder / "flickr30k_entities"
    for path in (flickr / "images", entities / "Annotations", entities / "Sentences"):
        path.mkdir(parents=True, exist_ok=True)
    tokens: list[str] = []
    for split, scenes in splits.items():
        for scene in scenes:
            stem = Path(scene.example.id).stem
            number = stem.partition("_")[0]
            tokens += [
                f"{stem}{suffix}#{row}\t{text}\n" for row, text in enumerate(scene.example.captions)
            ]
            _write(flickr / "images" / f"{stem}{suffix}", _encoded(scene.image, suffix))
            _write(
                entities / "Annotations" / f"{number}.xml",
                _annotation(number, suffix, scene).encode(),
            )
            _write(entities / "Sentences" / f"{number}.txt", _bracketed(scene).encode())
        listed = "".join(f"{Path(scene.example.id).stem}{suffix}\n" for scene in scenes)
        _write(flickr / f"Flickr_8k.{split}Images.txt", listed.encode())
    _write(flickr / "Flickr8k.token.txt", "".join(tokens).encode())


def _draw_lots(random: np.random.Generator, many: int) -> tuple[ToyShape, ...]:
    """Distinct shapes in distinct cells; two alone are never diagonal, or the scene would have no sentence."""
    while True:
        chosen = random.permutation(len(CELLS))[:many]
        shapes = tuple(_shape(CELLS[number], random) for number in sorted(chosen))
        if len({shape.name for shape in shapes}) == len(shapes) and sentences(shapes):
            return shapes


def _shape(cell: tuple[int, int], random: np.random.Generator) -> ToyShape:
    size = tuple(SIZES)[random.integers(len(SIZES))]
    colour = tuple(COLOURS)[random.integers(len(COLOURS))]
    shape = SHAPES[random.integers(len(SHAPES))]
    side = int(random.integers(SIZES[size][0], SIZES[size][1] + 1))
    top, left = (CELL * index + 1 + int(random.integers(CELL - 1 - side)) for index in cell)
    return ToyShape(size, colour, shape, cell, (left, top, left + side, top + side))


def _pairs(shapes: Sequence[ToyShape]) -> set[Pair]:
    return {frozenset((first.name, second.name)) for first, second in combinations(shapes, 2)}


def _scene(name: str, shapes: tuple[ToyShape, ...], random: np.random.Generator) -> ToyScene:
    pixels = random.integers(
        10, 40, (2 * CELL, 2 * CELL, 3), dtype=np.uint8
    )  # noise: no two backgrounds are alike
    image = Image.fromarray(pixels)
    for shape in shapes:
        _paint(ImageDraw.Draw(image), shape)
    captions = sentences(shapes)
    phrases = []
    for caption, (text, *both) in enumerate(captions):
        for thing, first_word in zip(
            both, (0, len(text.split()) - len(both[1].name.split())), strict=True
        ):
            row = shapes.index(thing)
            phrases.append(
                Phrase(thing.name, (row,), caption, first_word, str(row + 1), ("other",))
            )
    boxes = np.array([shape.box for shape in shapes], dtype=np.float32)
    texts = tuple(text for text, *_ in captions)
    return ToyScene(
        image, Example(Path(name), texts, boxes, tuple(phrases), image.size, name), shapes
    )


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
    wide, high = scene.image.size
    objects = []
    for row, shape in enumerate(scene.shapes, start=1):
        corners = zip(("xmin", "ymin", "xmax", "ymax"), shape.box, strict=True)
        box = "".join(f"<{name}>{value}</{name}>" for name, value in corners)
        objects.append(f"\t<object><name>{row}</name><bndbox>{box}</bndbox></object>\n")
    size = f"<size><width>{wide}</width><height>{high}</height><depth>3</depth></size>"
    return f"<annotation>\n\t<filename>{number}{suffix}</filename>\n\t{size}\n{''.join(objects)}</annotation>\n"


def _bracketed(scene: ToyScene) -> str:
    """The sentences with their phrases in brackets, as Entities writes them."""
    lines = []
    for text, first, second in sentences(scene.shapes):
        marks = [
            f"[/EN#{scene.shapes.index(thing) + 1}/other {thing.name}]" for thing in (first, second)
        ]
        lines.append(
            f"{marks[0]}{text.removeprefix(first.name).removesuffix(second.name)}{marks[1]}\n"
        )
    return "".join(lines)


def _encoded(image: Image.Image, suffix: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, {".png": "PNG", ".jpg": "JPEG"}[suffix], quality=95)
    return stream.getvalue()


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all: a temporary name, then a rename."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)
