"""A full disk or a place that cannot be written.

One line, and nothing half-written under its final name.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image


def full_disk(path: Path, data: bytes) -> int:
    """What writing does on a full disk: half a file, then the error."""
    with path.open("wb") as file:
        file.write(data[: len(data) // 2])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("verb", ["caption", "align", "locate"])
def test_no_room_for_a_drawing(
    real: Any, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setattr(Path, "write_bytes", full_disk)
    words = [] if verb == "caption" else ["a red car"]
    result = real(verb, "good.jpg", *words, "--draw", "drawn", "--model", "tiny")
    assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1
    assert (
        "drawn/good_regions.jpg: cannot be written (No space left on device)"
        in result.stderr
    )
    assert list(Path("drawn").iterdir()) == []


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["lines", "JSON"])
def test_no_room_for_the_results(
    run: Any, monkeypatch: pytest.MonkeyPatch, form: list[str]
) -> None:
    """Nor is this a photo's failure: the first result that cannot be written ends the command."""
    echo = typer.echo

    def echo_to_a_full_disk(message: Any = None, **options: Any) -> None:
        if not options.get("err"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        echo(message, **options)

    photos = [f"{number}.png" for number in range(3)]
    for photo in photos:
        Image.new("RGB", (90, 90)).save(photo)
    monkeypatch.setattr(typer, "echo", echo_to_a_full_disk)
    result = run("caption", *photos, *form)
    assert result.exit_code == 2
    (line,) = [line for line in result.stderr.splitlines() if "regiontalk: " in line]
    assert "standard output: cannot be written (No space left on device)" in line


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["export", "xmp", "--out", "out"], id="sidecars"),
        pytest.param(["export", "gallery", "--out", "out"], id="gallery"),
        pytest.param(["caption", "--regions=1", "--draw", "out"], id="drawings"),
    ],
)
def test_no_room_for_the_second_photo(run: Any, words: list[str]) -> None:
    """It is no photo's failure.

    The command ends there, in one line, and leaves no page of a part.
    """
    write, written = Path.write_bytes, list[Path]()

    def fill(path: Path, data: bytes) -> int:
        if path.suffix:  # not the mark of a gallery
            written.append(path)
        return write(path, data) if len(written) < 2 else full_disk(path, data)

    photos = [f"{number}.png" for number in range(5)]
    for photo in photos:
        Image.new("RGB", (90, 90)).save(photo)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "write_bytes", fill)
        result = run(words[0], *words[1:2], *photos, *words[2:])
    lines = [line for line in result.stderr.splitlines() if "regiontalk: " in line]
    assert result.exit_code == 2 and len(lines) == 1, result.stderr
    assert "cannot be written (No space left on device)" in lines[0]
    assert len(written) == 2
    left = [path.name for path in Path("out").rglob("*") if path.is_file()]
    assert len(set(left) - {".unfinished_gallery"}) == 1 and "index.html" not in left
    again = run(words[0], *words[1:2], *photos, *words[2:])
    assert again.exit_code == 0, "with room, the same command goes on"
    left = [path.name for path in Path("out").rglob("*") if path.is_file()]
    assert ".unfinished_gallery" not in left and len(left) >= 5


class Full:
    """A file on a full disk."""

    def __enter__(self) -> Full:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def write(self, _: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("moment", "left"),
    [
        pytest.param("begin", [], id="before the first photo"),
        pytest.param("photos", ["pairs.jsonl.partial"], id="while photos are written"),
        pytest.param("end", ["pairs.jsonl.partial"], id="when the file gets its name"),
    ],
)
def test_no_room_for_snippets(
    real: Any, toy_folder: Path, moment: str, left: list[str]
) -> None:
    words = [
        "snippets",
        "--data",
        str(toy_folder),
        "--model",
        "tiny",
        "--split",
        "dev",
        "--limit",
        "2",
        "--out",
    ]
    real_open, real_write = Path.open, Path.write_bytes

    def open_full(path: Path, mode: str = "r", **options: Any) -> Any:
        return (
            Full()
            if mode == "a" and moment == "photos"
            else real_open(path, mode, **options)
        )

    def write_full(path: Path, data: bytes) -> int:
        if path.suffix == {"begin": ".partial", "end": ".jsonl"}.get(moment):
            real_write(path, b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real_write(path, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", open_full)
        patch.setattr(Path, "write_bytes", write_full)
        result = real(*words, "out/pairs.jsonl")
    assert result.exit_code == 2 and result.stdout == ""
    assert (
        "pairs.jsonl" in result.stderr
        and "cannot be written (No space left on device)" in result.stderr
    )
    assert (
        len(
            [
                line
                for line in result.stderr.splitlines()
                if line.startswith("regiontalk: ")
            ]
        )
        == 1
    )
    assert sorted(path.name for path in Path("out").glob("[!.]*")) == left
    assert (
        real(*words, "out/pairs.jsonl").exit_code
        == real(*words, "again.jsonl").exit_code
        == 0
    )
    assert Path("out/pairs.jsonl").read_text() == Path("again.jsonl").read_text() != ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(
            ["--out", "folder"],
            "folder: expected the name of a file to write, got a folder",
            id="folder",
        ),
        pytest.param(["--out", "good.jpg/pairs.jsonl"], "good.jpg", id="below a file"),
        pytest.param(
            ["--out", "p.jsonl", "--sheet", "sheet.pdx"],
            "expected a name that ends in",
            id="unknown picture",
        ),
        pytest.param(
            ["--out", "p.jsonl", "--split", "tent"], "tent", id="unknown split"
        ),
        pytest.param(
            ["--out", "p.jsonl", "--model", "maxi"], "got 'maxi'", id="unknown model"
        ),
    ],
)
def test_bad_snippets(
    real: Any, toy_folder: Path, options: list[str], message: str
) -> None:
    arguments = [
        "--data",
        str(toy_folder),
        *([] if "--model" in options else ["--model", "tiny"]),
    ]
    if "--split" not in options:
        arguments += ["--split", "dev"]
    result = real("snippets", *arguments, *options)
    assert result.exit_code == 2 and result.stdout == ""
    said = [
        line for line in result.stderr.splitlines() if line.startswith("regiontalk: ")
    ]
    assert len(said) == 1 and message in said[0] and "Traceback" not in result.stderr
    assert not list(Path().glob("p.jsonl*"))
