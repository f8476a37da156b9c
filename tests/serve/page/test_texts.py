"""Narrate keeps what somebody wrote: one text a photo, whatever its name, until it is saved."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed"
)
expect = sync_api.expect
Open = Callable[..., Any]
ANSWER = {"width": 451, "height": 300, "regions": [], "alt_text": "A cat looks."}


@pytest.fixture
def page(open_page: Open) -> Any:
    """The page on Narrate; the model's text is the same for every photo."""
    page = open_page()
    page.route("**/v1/narrate", lambda route: route.fulfill(json=ANSWER))
    page.click("#tab-narrate")
    return page


def choose(page: Any, content: bytes, name: str = "image.png") -> None:
    """Choose a photo of this name, and wait for the model's text."""
    page.set_input_files(
        "#file", {"name": name, "mimeType": "image/jpeg", "buffer": content}
    )
    expect(page.locator("#status")).not_to_have_text("")
    expect(page.locator("[aria-busy]")).to_have_count(0)


def test_photos_of_one_name(page: Any, photo: Path) -> None:
    photos = [photo.read_bytes(), photo.with_name("cat.jpg").read_bytes()]
    for content, text in zip(photos, ("An astronaut.", "A cat."), strict=True):
        choose(page, content)
        page.fill("#alt", text)
        page.click("#accept")
    assert page.locator("#accepted span").all_inner_texts() == [
        "image.png: An astronaut.",
        "image.png: A cat.",
    ]
    with page.expect_download() as download:
        page.click("#export")
    said = json.loads(download.value.path().read_text())
    assert [(one["photo"], one["alt"]) for one in said] == [
        ("image.png", "An astronaut."),
        ("image.png", "A cat."),
    ]
    assert [one["sha256"] for one in said] == [
        hashlib.sha256(content).hexdigest() for content in photos
    ]
    page.locator("[aria-label='Edit the text of image.png']").first.click()
    expect(page.locator("#alt")).to_have_value("An astronaut.")
    page.locator("[aria-label='Remove the text of image.png']").first.click()
    assert page.locator("#accepted span").all_inner_texts() == ["image.png: A cat."]


def test_a_text_of_ones_own_is_kept(page: Any, photo: Path) -> None:
    page.fill("#alt", "Mine, before there was a photo.")
    choose(page, photo.read_bytes(), "a.jpg")
    expect(page.locator("#status")).to_have_text(
        "Your text is kept; the model's stands below it."
    )
    assert (
        page.input_value("#alt").startswith("Mine")
        and page.inner_text("#offered") == "A cat looks."
    )
    page.click("#take")
    assert page.input_value("#alt") == "A cat looks." and page.is_hidden("#offer")
    page.fill("#alt", "Half a sen")
    choose(page, photo.with_name("cat.jpg").read_bytes(), "b.jpg")
    assert page.input_value("#alt") == "A cat looks."
    page.click("#narrate-form .main")  # the model's own text may be written anew
    expect(page.locator("#status")).to_have_text("Alt text written.")


def test_the_answer_does_not_overwrite_what_was_typed_meanwhile(
    open_page: Open, photo: Path
) -> None:
    page = open_page()
    held: list[Any] = []
    page.route("**/v1/narrate", lambda route: held.append(route))
    page.click("#tab-narrate")
    page.set_input_files("#file", photo)
    expect(page.locator("#status")).to_have_text("Writing …")
    page.fill("#alt", "Mine.")
    held[0].fulfill(json=ANSWER)
    page.wait_for_selector("#offer:visible")
    assert page.input_value("#alt") == "Mine."


def test_leaving_asks_while_texts_are_not_saved(page: Any, photo: Path) -> None:
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    choose(page, photo.read_bytes())
    page.reload()
    assert asked == []  # nobody wrote anything
    page.click("#tab-narrate")
    choose(page, photo.read_bytes())
    page.click("#accept")
    with page.expect_download():
        page.click("#export")
    expect(page.locator("#status")).to_contain_text("saved in alt-texts.json")
    page.reload()
    assert asked == []
    page.click("#tab-narrate")
    choose(page, photo.read_bytes())
    page.click("#accept")
    page.reload()
    assert asked == ["beforeunload"]
