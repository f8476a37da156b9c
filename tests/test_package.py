"""What a wheel and an sdist hold, and what the index is told.

Read from pyproject.toml, nothing is built here.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import regiontalk

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads(
    (ROOT / "pyproject.toml").read_text(encoding="utf-8")
)
INCLUDED: list[str] = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
OF_THE_CHECKOUT = {".ci", ".git", ".gitignore"}  # hatchling adds .gitignore by itself


def tracked_entries() -> list[str]:
    """The entries of the repository's root, without what .gitignore names."""
    ignored = [
        line.strip("/")
        for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    ]
    return [
        path.name
        for path in sorted(ROOT.iterdir())
        if not any(path.match(pattern) for pattern in ignored)
    ]


@pytest.mark.parametrize("pattern", INCLUDED)
def test_each_pattern_of_the_sdist_matches(pattern: str) -> None:
    assert list(ROOT.glob(pattern.strip("/")))


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
def test_the_sdist_holds_the_repository() -> None:
    included = {
        path.name for pattern in INCLUDED for path in ROOT.glob(pattern.strip("/"))
    }
    missing = set(tracked_entries()) - included - OF_THE_CHECKOUT - {"pyproject.toml"}
    assert not missing, f"add {sorted(missing)} to the sdist, or to .gitignore"


def test_data_files_lie_in_the_package() -> None:
    package = Path(regiontalk.__file__).parent
    for name in ("py.typed", "recipes/mini.toml", "models/mini/model.safetensors"):
        assert (package / name).is_file(), name


def test_every_extra_of_a_message_exists() -> None:
    extras = set(PROJECT["project"]["optional-dependencies"])
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    for page in pages:
        named = re.findall(
            r"pip install '(?:regiontalk|\.)\[(\w+)\]'", page.read_text("utf-8")
        )
        assert set(named) <= extras, page
