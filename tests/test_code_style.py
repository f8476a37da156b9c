"""Names that say something, functions that fit a screen, lines that fit a page.

And no comprehension inside another; see benchmarks/code_style.py.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).parents[1]


def load_code_style() -> ModuleType:
    """benchmarks/code_style.py, which stands in no package."""
    path = REPOSITORY / "benchmarks" / "code_style.py"
    spec = importlib.util.spec_from_file_location("code_style", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # its dataclasses look their annotations up there
    sys.modules["code_style"] = module
    spec.loader.exec_module(module)
    return module


code_style = load_code_style()


def faults(path: Path) -> list[str]:
    """All that no clean file has, of a file or of a folder's files."""
    lines: list[str] = []
    for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
        lines += code_style.count_file(file).faults()
    return lines


ROOMS = [
    path for path in (REPOSITORY / "regiontalk").iterdir() if path.suffix in ("", ".py")
]
ROOMS += [REPOSITORY / "benchmarks", REPOSITORY / "examples"]


@pytest.mark.parametrize("room", sorted(ROOMS), ids=lambda path: path.name)
def test_every_room_is_clean(room: Path) -> None:
    assert faults(room) == []


def test_no_line_of_the_tests_is_long() -> None:
    lines: list[str] = []
    for path in sorted((REPOSITORY / "tests").rglob("*.py")):
        lines += code_style.count_file(path).long_lines
    assert lines == []


LONG_BODY = "\n".join(f"    total += values[{number}]" for number in range(50))


@pytest.mark.parametrize(
    ("source", "line", "fault"),
    [
        pytest.param(
            "def f(x):\n    found = x\n",
            2,
            "found: a name that says nothing",
            id="name",
        ),
        pytest.param(
            "def f(x):\n    for own in x:\n        pass\n",
            2,
            "own: a name that says nothing",
            id="loop",
        ),
        pytest.param(
            "def f(x):\n    return [one for one in x]\n",
            2,
            "one: a name that says nothing",
            id="name in a comprehension",
        ),
        pytest.param(
            "async def f(x):\n    if (said := x): pass\n",
            2,
            "said: a name that says nothing",
            id="walrus",
        ),
        pytest.param(
            "def f(x):\n    return [[b for b in a] for a in x]\n",
            2,
            "a comprehension inside another",
            id="nested comprehension",
        ),
        pytest.param(
            "X = {a: sum(b for b in a)\n     for a in ()}\n",
            1,
            "a comprehension inside another",
            id="nested outside a function",
        ),
        pytest.param(
            f"def f(values, total):\n{LONG_BODY}\n",
            1,
            "over 250 nodes",
            id="long function",
        ),
        pytest.param(f"x = 1  # {'y' * 100}\n", 1, "over 100 characters", id="line"),
    ],
)
def test_a_fault_is_seen(source: str, line: int, fault: str, tmp_path: Path) -> None:
    path = tmp_path / "room" / "module.py"
    path.parent.mkdir()
    path.write_text(source)
    (seen_fault,) = faults(path.parent)
    assert seen_fault.startswith(f"{path}:{line}") and seen_fault.endswith(fault)


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("def f(x):\n    kept_boxes = [a for a in x]\n", id="a real name"),
        pytest.param("found = 1\n", id="a constant"),
        pytest.param(
            "def f(x):\n    return [a for a in x] + [b for b in x]\n", id="two in a row"
        ),
        pytest.param('def f():\n    """Text."""\n', id="a docstring alone"),
        pytest.param("", id="an empty file"),
    ],
)
def test_what_is_no_fault(source: str, tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(source)
    assert faults(path) == []
