"""The photo of the page: how it comes, and that boxes stand where they belong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
HEIC = Path(__file__).resolve().parents[2] / "data/turned.heic"
Open = Callable[..., Any]


def shape(page: Any, part: str) -> float:
    """Width by height of a part as it is seen."""
    box = page.locator(part).bounding_box()
    return float(box["width"] / box["height"])


def test_a_photo_after_one_that_cannot_be_shown(open_page: Open, photo: Path) -> None:
    page = open_page()
    page.set_input_files("#file", HEIC)
    page.wait_for_selector("#captions li")
    assert page.is_hidden("#picture") and page.locator("#boxes .box").count() > 0
    for name, width, height in (("cat.jpg", 451, 300), ("astronaut.jpg", 512, 512)):
        page.set_input_files("#file", photo.with_name(name))
        expect(page.locator("#picture")).to_have_attribute("title", name)
        page.wait_for_selector("#captions li")
        assert abs(shape(page, "#boxes") - width / height) < 0.02  # boxes are shares of the picture
        assert page.locator("#boxes").bounding_box() == page.locator("#picture").bounding_box()


def test_two_photos_at_once(open_page: Open, photo: Path) -> None:
    page = open_page()
    page.set_input_files("#file", photo)
    page.set_input_files("#file", photo.with_name("cat.jpg"))
    page.wait_for_selector("#captions li")
    assert page.get_attribute("#picture", "title") == "cat.jpg"
    assert abs(shape(page, "#boxes") - 451 / 300) < 0.02
