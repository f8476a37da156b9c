"""Pairs of a whole data set on disk: JSON Lines that other tools can read, and a picture to look at.

A line is ``{"photo": id, "caption": 0, "first": 3, "text": "a red shirt", "box": [x1, y1, x2, y2], "score": 0.21}``;
the box is in pixels of the stored photo, and the whole photo is a legal box.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from regiontalk.captioner import ALIGN_REGIONS, RegionCaptioner
from regiontalk.drawing import contact_sheet, draw
from regiontalk.files import cannot_write, write_whole
from regiontalk.images import ImageError, open_photo
from regiontalk.pairs import infer_pairs
from regiontalk.records import Example, ImageResult, PhraseMatch

Row = dict[str, Any]


def write_snippets(
    captioner: RegionCaptioner,
    examples: Sequence[Example],
    path: Path,
    *,
    beta: float | None = None,
    done: Callable[[], None] = lambda: None,
) -> tuple[int, list[str]]:
    """Write the pairs of every photo; the number of pairs, and a line for each photo that could not be read.

    The lines gather in ``path`` with ``.partial`` behind its name, photo by photo; a run that finds such a file keeps
    its whole photos and goes on.

    Raises:
        ValueError: ``path`` is a folder.
        OSError: the file cannot be written; what was gathered stays for the next run.
    """
    if path.is_dir():
        raise ValueError(f"{path}: expected the name of a file to write, got a folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    kept, finished = _resume(partial)
    write_whole(partial, lambda fresh: fresh.write_text("".join(kept), encoding="utf-8"))
    broken: list[str] = []
    try:
        with partial.open("a", encoding="utf-8") as file:
            for example in examples:
                if example.id not in finished:
                    file.write(_block(captioner, example, beta, broken))
                done()
    except OSError as error:
        raise cannot_write(partial, error) from error
    lines = partial.read_text(encoding="utf-8").splitlines(True)
    rows = [line for line in lines if not line.startswith('{"done"')]
    write_whole(path, lambda fresh: fresh.write_text("".join(rows), encoding="utf-8"))
    partial.unlink()
    return len(rows), broken


def _block(captioner: RegionCaptioner, example: Example, beta: float | None, broken: list[str]) -> str:
    """The lines of one photo and the mark that ends them, by which a photo cut in the middle is seen."""
    rows: list[Row] = []
    try:
        rows = photo_snippets(captioner, example, beta)
    except ImageError as error:
        broken.append(str(error))
    return "".join(json.dumps(row) + "\n" for row in [*rows, {"done": example.id}])


def _resume(partial: Path) -> tuple[list[str], set[str]]:
    """The lines of whole photos of an earlier run, marks included, and the photos' names."""
    if not partial.exists():
        return [], set()
    kept: list[str] = []
    waiting: list[str] = []
    finished: set[str] = set()
    for line in partial.read_text(encoding="utf-8").splitlines(True):
        waiting.append(line)
        if line.startswith('{"done"') and line.endswith("\n"):
            finished.add(json.loads(line)["done"])
            kept += waiting
            waiting = []
    return kept, finished


@torch.inference_mode()
def photo_snippets(captioner: RegionCaptioner, example: Example, beta: float | None = None) -> list[Row]:
    """The pairs of one photo as plain values, boxes in pixels of the stored photo."""
    model = captioner.model
    photo = open_photo(example.photo, max_pixels=captioner.max_pixels, at_least=model.preprocessing.size)
    maps = captioner.encode([photo])
    boxes, quality = model.extractor.propose(maps, ALIGN_REGIONS)
    sentences = [model.vocabulary.encode(caption) for caption in example.captions]
    vectors = model.extractor.vectors(maps, boxes)
    pairs = infer_pairs(model.aligner, vectors, quality, [sentences], model.chain(beta))[0]
    original = model.preprocessing.to_original(boxes[0].cpu().numpy(), photo.size_wh)
    return [
        {
            "photo": example.id,
            "caption": pair.caption,
            "first": pair.first,
            "text": model.vocabulary.decode(pair.words),
            "box": [round(float(value), 1) for value in original[pair.region]],
            "score": round(pair.score, 4),
        }
        for pair in pairs
    ]


def draw_sheet(captioner: RegionCaptioner, examples: Sequence[Example], beta: float | None = None) -> Image.Image:
    """Photos with the snippets of their first sentence drawn on their boxes; broken photos are left out.

    Raises:
        ValueError: no photo could be read.
    """
    pictures = []
    for example in examples:
        try:
            photo = open_photo(example.photo, max_pixels=captioner.max_pixels)
        except ImageError:
            continue  # `write_snippets` has reported it
        rows = [row for row in photo_snippets(captioner, example, beta) if row["caption"] == 0]
        matches = tuple(PhraseMatch(row["text"], tuple(row["box"]), row["score"]) for row in rows)
        result = ImageResult(example.id, photo.size_wh, captioner.model.config.name, matches=matches)
        pictures.append(draw(photo.image.resize((448, 448)), _grown(result, 448)))
    return contact_sheet(pictures, columns=4)


def _grown(result: ImageResult, side: int) -> ImageResult:
    """The result on the same photo drawn at ``side`` x ``side``, so that small photos leave room for words."""
    wide, high = side / result.size_wh[0], side / result.size_wh[1]
    matches = tuple(
        PhraseMatch(match.phrase, (x1 * wide, y1 * high, x2 * wide, y2 * high), match.score)
        for match in result.matches
        for x1, y1, x2, y2 in [match.box]
    )
    return ImageResult(result.photo, (side, side), result.model, matches=matches)
