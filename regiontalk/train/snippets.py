"""Pairs of a whole data set on disk: what the second stage of [1] learns from.

JSON Lines that other tools can read. A line is ``{"photo": id, "caption": 0, "first":
3, "text": "a red shirt", "box": [x1, y1, x2, y2], "score": 0.21}``; the box is in pixels
of the stored photo, and the whole photo is a legal box.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from regiontalk.captioner import RegionCaptioner
from regiontalk.files import cannot_write, locked, write_text
from regiontalk.images.open import ImageError
from regiontalk.records import Example

Row = dict[str, Any]
_DONE = '{"done"'  # begins the line that ends a photo


class _Block(NamedTuple):
    """A whole photo of a run.

    Its name, the hash of what was read, and its lines, the mark included.
    """

    name: str
    content: str
    lines: str


def write_snippets(
    captioner: RegionCaptioner,
    examples: Sequence[Example],
    path: Path,
    *,
    beta: float | None = None,
    done: Callable[[], None] = lambda: None,
) -> tuple[int, list[str]]:
    """Write the pairs of every photo.

    Returns the number of pairs, and a line for each photo that could not be read. The
    lines gather in ``path`` with ``.partial`` behind its name, photo by photo, after a
    line that says what infers them; a run that finds such a file keeps its whole
    photos, tries again what could not be read, and goes on.

    Raises:
        ValueError: ``path`` is a folder, another process writes it, or the gathered lines come from
            another model or beta.
        OSError: the file cannot be written; what was gathered stays for the next run.
    """
    if path.is_dir():
        raise ValueError(f"{path}: expected the name of a file to write, got a folder")
    with locked(path.with_name(f".{path.name}.lock"), str(path)):
        return _write_locked(captioner, examples, path, beta, done)


def _write_locked(
    captioner: RegionCaptioner,
    examples: Sequence[Example],
    path: Path,
    beta: float | None,
    done: Callable[[], None],
) -> tuple[int, list[str]]:
    """`write_snippets` where nobody else writes."""
    partial = path.with_name(path.name + ".partial")
    head = json.dumps({"run": _settings(captioner, beta)}) + "\n"
    contents = {example.id: _content(example) for example in examples}
    finished = _keep_current(partial, head, contents)
    broken: list[str] = []
    try:
        with partial.open("a", encoding="utf-8") as file:
            for example in examples:
                if example.id not in finished:
                    file.write(
                        _block(captioner, example, beta, broken, contents[example.id])
                    )
                done()
    except OSError as error:
        raise cannot_write(partial, error) from error
    rows = _ordered_rows(_resume(partial, head), examples)
    write_text(path, "".join(rows))
    partial.unlink()
    return len(rows), broken


def _keep_current(partial: Path, head: str, contents: Mapping[str, str]) -> set[str]:
    """Throw away what an earlier run gathered of other content; the photos that stay."""
    current_lines = {
        block.name: block.lines
        for block in _resume(partial, head)
        if contents.get(block.name) == block.content
    }
    write_text(partial, head + "".join(current_lines.values()))
    return set(current_lines)


def _ordered_rows(blocks: Sequence[_Block], examples: Sequence[Example]) -> list[str]:
    """The lines of all photos in the order of the examples, without the marks that end a photo."""
    order = {example.id: number for number, example in enumerate(examples)}
    rows: list[str] = []
    for block in sorted(blocks, key=lambda block: order[block.name]):
        rows += [
            line for line in block.lines.splitlines(True) if not line.startswith(_DONE)
        ]
    return rows


def _settings(captioner: RegionCaptioner, beta: float | None) -> Row:
    """What the pairs of a photo depend on beside the photo and its sentences."""
    config = captioner.config
    digest = hashlib.sha256(config.model_dump_json().encode())
    digest.update(captioner.predictor.fingerprint().encode())
    return {
        "model": config.name,
        "sha256": digest.hexdigest()[:16],
        "beta": config.decoding.beta if beta is None else beta,
    }


def _content(example: Example) -> str:
    """What the pairs of a photo are made of: its bytes and its sentences, as a short hash."""
    captions = json.dumps(example.captions)
    digest = hashlib.sha256(captions.encode())
    with suppress(OSError):  # which is told where the photo is opened
        digest.update(example.photo.read_bytes())
    return digest.hexdigest()[:16]


def _block(
    captioner: RegionCaptioner,
    example: Example,
    beta: float | None,
    broken: list[str],
    content: str,
) -> str:
    """The lines of one photo and the mark that ends them.

    By the mark a photo cut in the middle is seen. A photo that could not be read leaves
    no mark, so that the next run tries it again.
    """
    try:
        rows = photo_snippets(captioner, example, beta)
    except ImageError as error:
        broken.append(str(error))
        return ""
    return "".join(
        json.dumps(row) + "\n"
        for row in [*rows, {"done": example.id, "content": content}]
    )


def _resume(partial: Path, head: str) -> list[_Block]:
    """The whole photos of an earlier run.

    Raises:
        ValueError: the file begins with another line than ``head``.
    """
    if not partial.exists():
        return []
    first, *lines = partial.read_text(encoding="utf-8").splitlines(True) or [head]
    if first != head:
        raise ValueError(
            f"{partial}: expected a run of {_describe(head)}, got one of {_describe(first)}; "
            "go on with those settings, or delete the file to begin anew"
        )
    blocks: list[_Block] = []
    waiting = ""
    for line in lines:
        waiting += line
        if line.startswith(_DONE) and line.endswith("\n"):
            mark = json.loads(line)
            blocks.append(_Block(mark["done"], mark.get("content", ""), waiting))
            waiting = ""
    return blocks


def _describe(head: str) -> str:
    """The first line of a run in words."""
    try:
        run = json.loads(head)["run"]
        return f"{run['model']} ({run['sha256']}) with beta {run['beta']:g}"
    except (ValueError, KeyError, TypeError):
        return "an unknown model"


def photo_snippets(
    captioner: RegionCaptioner, example: Example, beta: float | None = None
) -> list[Row]:
    """The pairs of one photo as plain values, boxes in pixels of the stored photo."""
    snippets = captioner.infer_snippets(example.photo, example.captions, beta=beta)
    return [{"photo": example.id, **snippet.to_dict()} for snippet in snippets]
