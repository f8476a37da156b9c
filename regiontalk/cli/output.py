"""How results reach the user: lines to read, JSON, annotated photos."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from regiontalk.files import cannot_write

if TYPE_CHECKING:  # the records bring numpy, which `--help` does without
    from PIL.Image import Image

    from regiontalk.records import AttentionMaps, ImageResult


def lines(result: ImageResult) -> Iterator[str]:
    """A result to be read by people: a heading, the photo's caption, a line a box."""
    yield f"{result.photo}  {result.size_wh[0]}x{result.size_wh[1]}"
    if result.caption is not None:
        yield (
            f"  whole photo: {_words(result.caption.hedged_text)} "
            f"({result.caption.confidence:.2f})"
        )
    for region in result.regions:
        yield f"  {box_text(region.box)}: {_words(region.text)} ({region.confidence:.2f})"
    for match in result.matches:
        yield f"  {match.phrase}: {box_text(match.box)} ({match.score:.2f})"


def _words(text: str | None) -> str:
    return "[not sure]" if text is None else text


def box_text(box: Sequence[float]) -> str:
    """A box in whole pixels, as `--box` reads it.

    >>> box_text((0.2, 1, 9.6, 20))
    '0,1,10,20'
    """
    return ",".join(f"{value:.0f}" for value in box)


def show(result: ImageResult, as_json: bool, indent: int | None = None) -> None:
    """Print a result on stdout, as JSON or to be read.

    Args:
        result: what to print.
        as_json: a JSON document in place of lines.
        indent: blanks a level; None for one line (JSON Lines).

    Raises:
        OSError: nothing can be written there, as where it is a file on a full disk.
    """
    text = "\n".join(lines(result))
    if as_json:  # plain ASCII: a file name of any encoding can be printed
        text = json.dumps(result.to_dict(), indent=indent, allow_nan=False)
    try:
        typer.echo(text)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise cannot_write(Path("standard output"), error) from error


class Drawings:
    """A folder of annotated photos, ``NAME_regions.jpg`` for each photo.

    A name that is taken gets a number.

    Attributes:
        folder: of the drawings.
        look: from a photo and its caption to where each word looked, for ``NAME_attention.jpg``;
            None draws none.
    """

    look: Callable[[str, str], AttentionMaps] | None = None

    def __init__(
        self,
        folder: Path,
        max_pixels: int,
        *,
        bare_boxes: bool = False,
    ) -> None:
        """Make the folder; photos are opened up to ``max_pixels``.

        Args:
            folder: of the drawings.
            max_pixels: larger photos are refused.
            bare_boxes: whether boxes without words are drawn.

        Raises:
            OSError: it cannot be made or is a file.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._max_pixels = max_pixels
        self._bare_boxes = bare_boxes
        self._taken: set[str] = set()

    def add(self, photo: str, result: ImageResult) -> list[Path]:
        """Draw a result on its photo; every file appears complete or not at all."""
        from regiontalk.drawing.draw import draw
        from regiontalk.images.open import open_image

        image = open_image(photo, max_pixels=self._max_pixels, srgb=True)
        drawing = draw(image, result, bare_boxes=self._bare_boxes)
        paths = [self._save(drawing, photo, "regions")]
        if self.look is not None and result.caption is not None and result.caption.text:
            from regiontalk.drawing.attention import draw_attention

            sheet = draw_attention(image, self.look(photo, result.caption.text))
            paths.append(self._save(sheet, photo, "attention"))
        return paths

    def _save(self, image: Image, photo: str, kind: str) -> Path:
        from regiontalk.export.picture import save_picture

        path = self.folder / self._name(Path(photo).stem, kind)
        save_picture(image, path, quality=92)
        return path

    def _name(self, stem: str, kind: str) -> str:
        number, name = 1, f"{stem}_{kind}.jpg"
        while name in self._taken:
            number += 1
            name = f"{stem}_{kind}_{number}.jpg"
        self._taken.add(name)
        return name
