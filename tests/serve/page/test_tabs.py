"""Every tab of the page on a real photo, at every width, light and dark."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect
AXE = Path(__file__).resolve().parents[3] / ".node/node_modules/axe-core/axe.min.js"
SENTENCE = "a woman in an orange suit smiles"
Open = Callable[..., Any]
See = Callable[[Any, str], None]


def test_describe(open_page: Open, photo: Path, see: See) -> None:
    page = open_page()
    page.set_input_files("#file", photo)
    page.wait_for_selector("#captions li")
    lines = page.locator("#captions li")
    assert lines.count() == page.locator("#boxes .box").count() >= 3
    assert "sure" in page.inner_text("#whole")
    lines.nth(1).locator("button").first.hover()
    assert page.locator("#boxes .box.lit b").all_inner_texts() == ["2"]
    page.locator("#boxes .box").nth(2).dispatch_event("pointerenter")
    assert page.locator("#captions button.lit .number").all_inner_texts() == ["3"]
    see(page, "describe-light")
    before = lines.count()
    frame = page.locator("#picture").bounding_box()
    page.mouse.move(frame["x"] + 20, frame["y"] + 20)
    page.mouse.down()
    page.mouse.move(frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2, steps=4)
    page.mouse.up()
    expect(lines).to_have_count(before + 1)
    assert abs(int(page.input_value("#x2")) - 256) <= 2  # half of the photo's 512 pixels
    page.fill("#x1", "100")
    page.click("text=Caption this box")
    expect(lines).to_have_count(before + 2)
    page.click("[aria-label='Remove box 1']")
    assert lines.count() == before + 1
    page.fill("#threshold", "1")
    assert set(page.locator("#captions .text").all_inner_texts()) == {"not sure"}


def test_settings_count(open_page: Open, photo: Path) -> None:
    page = open_page()
    page.fill("#regions", "2")
    page.fill("#beams", "1")
    page.set_input_files("#file", photo)
    expect(page.locator("#captions li")).to_have_count(2)


def test_paste_and_camera(open_page: Open, photo: Path) -> None:
    page = open_page()
    page.evaluate(
        """bytes => {
          const files = new DataTransfer();
          files.items.add(new File([new Uint8Array(bytes)], "pasted.jpg", { type: "image/jpeg" }));
          dispatchEvent(new ClipboardEvent("paste", { clipboardData: files }));
        }""",
        list(photo.read_bytes()),
    )
    page.wait_for_selector("#captions li")
    assert page.get_attribute("#picture", "alt") == "The photo pasted.jpg"
    page.click("#webcam")
    page.click("#shoot")
    page.wait_for_selector("#picture[alt='The photo camera.jpg']")
    page.wait_for_selector("#captions li")
    assert not page.is_visible("#camera")


def test_align(open_page: Open, photo: Path, see: See) -> None:
    page = open_page()
    page.set_input_files("#file", photo)
    page.click("#tab-align")
    page.fill("#sentence", SENTENCE)
    page.keyboard.press("Enter")
    page.wait_for_selector("#words button")
    assert page.locator("#words button").all_inner_texts() == SENTENCE.split()
    page.locator("#words button").nth(1).focus()
    assert page.locator("#boxes .box.lit").count() == 1
    page.click("#matrix-part summary")
    assert page.locator("#matrix tbody tr").count() == 7 and page.locator("#matrix td.best").count() == 7
    if page.is_visible("#looks-part"):
        page.click("#looks-part summary")
        assert page.locator("#looks canvas").count() == 7
    see(page, "align-light")


def test_find(open_page: Open, photo: Path, see: See) -> None:
    page = open_page()
    page.click("#tab-find")
    if page.is_visible("#no-library"):
        pytest.skip("LanceDB is not installed")
    page.fill("#text", "a woman in an orange xylograph")
    page.click("#find-form .main")
    page.wait_for_selector("#hits li")
    assert page.locator("#hits li img").count() == 2 and page.locator("#hits .frame .box").count() == 2
    assert "xylograph" in page.inner_text("#status")
    page.fill("#text", "")
    page.set_input_files("#example", photo.with_name("cat.jpg"))
    page.click("#find-form .main")
    expect(page.locator("#hits li .hint").first).to_contain_text("cat.jpg")
    see(page, "find-light")


def test_narrate(open_page: Open, photo: Path, see: See) -> None:
    page = open_page()
    page.click("#tab-narrate")
    page.set_input_files("#file", photo)
    expect(page.locator("#status")).to_have_text(re.compile("written|not sure"))
    page.fill("#alt", "An astronaut smiles.")
    page.click("#copy")
    expect(page.locator("#status")).to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == "An astronaut smiles."
    page.click("#accept")
    assert page.locator("#accepted li").all_inner_texts() == ["astronaut.jpg: An astronaut smiles."]
    see(page, "narrate-light")


def test_keyboard_alone(open_page: Open) -> None:
    page = open_page()
    page.focus("#tab-describe")
    for key, tab in (("ArrowRight", "align"), ("End", "narrate"), ("ArrowRight", "describe"), ("ArrowLeft", "narrate")):
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.id") == f"tab-{tab}"
        assert page.locator("[role=tabpanel]:visible").get_attribute("id") == tab


def test_the_reference_of_the_api(open_page: Open, see: See) -> None:
    page = open_page()
    page.click("footer a")
    expect(page.locator("h2", has_text="POST /v1/caption")).to_be_visible()
    assert "-F photo=@a.jpg" in page.locator("pre").first.inner_text()
    see(page, "reference")


@pytest.mark.parametrize(
    ("content", "reason"),
    [pytest.param(b"no picture", "not a picture", id="text"), pytest.param(b"", "at least", id="empty")],
)
def test_a_bad_photo_is_told(open_page: Open, tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "bad.jpg").write_bytes(content)
    page = open_page()
    page.set_input_files("#file", tmp_path / "bad.jpg")
    page.wait_for_selector("#problem:visible")
    assert reason in page.inner_text("#problem")


@pytest.mark.parametrize(
    ("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")], ids=["light", "dark", "phone"]
)
def test_accessible_at_every_width(open_page: Open, photo: Path, see: See, width: int, scheme: str) -> None:
    page = open_page(width, 840, scheme)
    page.fill("#regions", "4")
    page.set_input_files("#file", photo)
    page.wait_for_selector("#captions li")
    for tab in ("describe", "align", "find", "narrate"):
        page.click(f"#tab-{tab}")
        expect(page.locator("[aria-busy]")).to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{tab} is wider than the screen"
        see(page, f"{tab}-{scheme}-{width}")
        if AXE.is_file():
            page.evaluate(AXE.read_text(encoding="utf-8"))
            found = page.evaluate("axe.run().then(found => found.violations)")
            serious = [one for one in found if one["impact"] in ("serious", "critical")]
            assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in serious] == []
    if not AXE.is_file():
        pytest.skip("axe-core is not installed (npm install --prefix .node axe-core)")
