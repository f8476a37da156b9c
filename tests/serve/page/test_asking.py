"""How the page asks the server.

Once a photo, not for what nobody waits for, with the token; where the focus stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from regiontalk import RegionCaptioner
from regiontalk.serve.app import create_app

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed"
)
expect = sync_api.expect
TOKEN = "correct-horse-battery"
Open = Callable[..., Any]


@pytest.fixture
def protected(mini: RegionCaptioner, serving: Callable[..., Any]) -> Iterator[str]:
    """A server that asks for a token."""
    with serving(create_app(mini, token=TOKEN)) as address:
        yield address


def test_another_photo_calls_off_what_was_asked(open_page: Open, photo: Path) -> None:
    page = open_page()
    ended: list[str] = []
    page.on("requestfailed", lambda request: ended.append(request.failure))
    held: list[Any] = []
    page.route(
        "**/v1/caption",
        lambda route: held.append(route) if not held else route.continue_(),
    )
    page.set_input_files("#file", photo)
    expect(page.locator("#status")).to_have_text("Looking …")
    page.set_input_files("#file", photo.with_name("cat.jpg"))
    page.wait_for_selector("#captions li")
    assert ended == ["net::ERR_ABORTED"] and page.is_hidden("#problem")
    assert page.get_attribute("#picture", "title") == "cat.jpg"


def test_a_tab_asks_once_a_photo(open_page: Open, photo: Path) -> None:
    page = open_page()
    asked: list[str] = []
    page.on(
        "request",
        lambda request: asked.append(request.url) if request.method == "POST" else None,
    )
    held: list[Any] = []
    page.route("**/v1/caption", lambda route: held.append(route))
    page.set_input_files("#file", photo)
    for tab in ("narrate", "describe", "narrate", "describe"):
        page.click(f"#tab-{tab}")
    expect(page.locator("#narrate-form .main")).not_to_have_attribute(
        "aria-busy", "true"
    )
    assert sorted(url.rsplit("/", 1)[1] for url in asked) == ["caption", "narrate"]
    held[0].continue_()
    page.wait_for_selector("#captions li")


def test_a_button_keeps_the_focus_and_is_not_pressed_twice(
    open_page: Open, photo: Path
) -> None:
    page = open_page()
    page.set_input_files("#file", photo)
    page.wait_for_selector("#captions li")
    held: list[Any] = []
    page.route("**/v1/caption", lambda route: held.append(route))
    page.focus("#describe-form .main")
    page.keyboard.press("Enter")
    expect(page.locator("#describe-form .main")).to_have_attribute(
        "aria-disabled", "true"
    )
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.textContent") == "Describe"
    held[0].continue_()
    expect(page.locator("[aria-busy]")).to_have_count(0)
    assert (
        page.evaluate("document.activeElement.textContent") == "Describe"
        and len(held) == 1
    )


def test_the_token(open_page: Open, protected: str) -> None:
    page = open_page(at=protected)
    page.wait_for_selector("#token-dialog[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("html[data-ready]")
    assert page.is_hidden("#token-dialog") and "token" in page.inner_text("#problem")
    page.reload()
    for typed, hint in (
        ("wörter", "only letters"),
        ("two words", "only letters"),
        ("", "only letters"),
    ):
        page.fill("#token", typed)
        page.keyboard.press("Enter")
        assert hint in page.inner_text("#token-hint")
    page.fill("#token", "another-token")
    page.keyboard.press("Enter")
    expect(page.locator("#token-hint")).to_have_text(
        "That was not this server's token."
    )
    page.fill("#token", f" {TOKEN} ")
    page.keyboard.press("Enter")
    expect(page.locator("#model")).to_contain_text("Model mini")
    assert page.is_hidden("#token-dialog") and page.is_hidden("#problem")


def test_what_was_asked_without_the_token_comes_after_it(
    open_page: Open, protected: str, photo: Path
) -> None:
    page = open_page(at=protected)
    page.wait_for_selector("#token-dialog[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("html[data-ready]")
    page.set_input_files("#file", photo)
    page.fill("#token", TOKEN)
    page.keyboard.press("Enter")
    page.wait_for_selector("#captions li")
    expect(page.locator("#model")).to_contain_text("Model mini")
