"""The tutorials are run as they stand.

Their files are written, their commands and their Python executed in order. A block
marked ``console`` holds commands, one marked ``python`` code, and one with a ``title``
is a file of that name. Blocks without any of these marks are only read. All blocks of a
tutorial share a folder, which begins with ``holiday/``, and its Python shares its
names.
"""

from __future__ import annotations

import re
import shlex
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from typer.testing import CliRunner

from regiontalk.cli.main import app

TUTORIALS = Path(__file__).parents[2] / "docs" / "tutorials"
NEEDS = {"search": "lancedb", "evaluate": "jinja2"}  # extras
PHOTOS = {
    "chelsea.png": "cat.png",
    "coffee.png": "coffee.png",
    "rocket.jpg": "rocket.jpg",
}
LEAVES = {
    "caption": [
        "drawn/cat_regions.jpg",
        "captions.jsonl",
        "cat_regions.png",
        "album/index.html",
    ],
    "boxes": ["coffee_boxes.png", "drawn"],
    "train": ["runs/quick/model/model.safetensors"],
    "search": ["hits", "hits.json"],
    "evaluate": ["figures.json", "report/index.html"],
}
FENCE = re.compile(
    r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL
)


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    title: str
    text: str


def blocks_of(page: str) -> list[Block]:
    return [Block(*match) for match in FENCE.findall(page)]


def run_command(line: str) -> None:
    """One ``regiontalk`` command; ``> file`` takes its output."""
    words = shlex.split(line)
    assert words[0] == "regiontalk", f"{line}: only our own commands are run"
    target = words[-1] if words[-2] == ">" else None
    result = CliRunner().invoke(app, words[1:-2] if target else words[1:])
    assert result.exit_code == 0, f"{line}: {result.output}{result.exception!r}"
    if target:
        Path(target).write_text(result.stdout, encoding="utf-8")


def run_page(page: str) -> None:
    names: dict[str, Any] = {}
    for block in blocks_of(page):
        if block.title:
            Path(block.title).write_text(block.text, encoding="utf-8")
        elif block.language == "console":
            for line in block.text.strip().splitlines():
                run_command(line)
        elif block.language == "python":
            exec(compile(block.text, "tutorial", "exec"), names)


@pytest.fixture
def holiday(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the photos that the tutorials speak of."""
    spec = find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("scikit-image, whose photos the tutorials use, is not installed")
    source = Path(spec.submodule_search_locations[0]) / "data"
    (tmp_path / "holiday").mkdir()
    for name, new_name in PHOTOS.items():
        shutil.copy(source / name, tmp_path / "holiday" / new_name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", sorted(LEAVES))
def test_it_runs(name: str, holiday: Path, one_thread: None) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason="an extra is not installed")
    run_page((TUTORIALS / f"{name}.md").read_text(encoding="utf-8"))
    missing = [path for path in LEAVES[name] if not (holiday / path).exists()]
    assert not missing, f"{name} left no {', '.join(missing)}"


def test_every_tutorial_is_run() -> None:
    assert {path.stem for path in TUTORIALS.glob("*.md")} == set(LEAVES)
