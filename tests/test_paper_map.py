"""docs/paper-map.md names only what is there, and every equation."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "paper-map.md").read_text(encoding="utf-8")
FUNCTIONS = sorted(set(re.findall(r"`(regiontalk/[\w/]+\.py):([\w.]+)`", TEXT)))
TESTS = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)))


def names(path: Path) -> set[str]:
    """Functions and classes of a file, and methods as ``Class.method``."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {
                f"{node.name}.{part.name}"
                for part in node.body
                if isinstance(part, ast.FunctionDef)
            }
    return found


@pytest.mark.parametrize(
    ("file", "name"), [*FUNCTIONS, *TESTS], ids=lambda value: value
)
def test_it_is_there(file: str, name: str) -> None:
    assert (ROOT / file).is_file(), f"{file} is gone"
    assert name in names(ROOT / file), f"{file} has no {name}"


@pytest.mark.parametrize("number", range(1, 16))
def test_every_equation_has_code_and_a_test(number: int) -> None:
    (row,) = (line for line in TEXT.splitlines() if line.startswith(f"| ({number}) |"))
    assert re.search(r"`regiontalk/[\w/]+\.py:", row) and re.search(
        r"`tests/[\w/]+\.py::", row
    )


def test_every_file_that_is_named_is_there() -> None:
    files = set(
        re.findall(
            r"`((?:configs|docs|tests|regiontalk)/[\w/.-]+?\.(?:py|toml|md))", TEXT
        )
    )
    assert len(files) > 15 and all((ROOT / file).is_file() for file in files)


def test_the_deviations_are_explained() -> None:
    _, _, rest = TEXT.partition("## Where we leave a published recipe on purpose")
    assert len(re.findall(r"^- \*", rest, flags=re.MULTILINE)) >= 15
