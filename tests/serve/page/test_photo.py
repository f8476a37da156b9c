"""The photo of the page: how it comes, and that boxes stand where they belong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed"
)
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
        # boxes are shares of the picture
        assert abs(shape(page, "#boxes") - width / height) < 0.02
        assert (
            page.locator("#boxes").bounding_box()
            == page.locator("#picture").bounding_box()
        )


def test_two_photos_at_once(open_page: Open, photo: Path) -> None:
    page = open_page()
    page.set_input_files("#file", photo)
    page.set_input_files("#file", photo.with_name("cat.jpg"))
    page.wait_for_selector("#captions li")
    assert page.get_attribute("#picture", "title") == "cat.jpg"
    assert abs(shape(page, "#boxes") - 451 / 300) < 0.02


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
    assert page.get_attribute("#picture", "title") == "pasted.jpg"
    for name in ("camera-1.jpg", "camera-2.jpg"):
        page.click("#webcam")
        page.click("#shoot")
        page.wait_for_selector(f"#picture[title='{name}']")
        assert not page.is_visible("#camera")


# Every camera that was opened is kept, so that a test can see whether it still runs.
CAMERAS = """
window.cameras = [];
const open = navigator.mediaDevices?.getUserMedia.bind(navigator.mediaDevices);
if (open) navigator.mediaDevices.getUserMedia = async (what) => {
  const stream = await open(what);
  window.cameras.push(...stream.getTracks());
  return stream;
};
"""
RUNNING = "cameras.filter(track => track.readyState === 'live').length"


def test_the_camera_goes_off(open_page: Open) -> None:
    page = open_page(script=CAMERAS)
    page.evaluate(
        "document.querySelector('#webcam').click(); document.querySelector('#webcam').click()"
    )
    expect(page.locator("#shoot")).to_be_focused()
    assert page.evaluate("cameras.length") == 1 == page.evaluate(RUNNING)
    page.click("#stop")
    expect(page.locator("#webcam")).to_be_focused()
    assert page.evaluate(RUNNING) == 0
    page.click("#webcam")
    expect(page.locator("#shoot")).to_be_focused()
    page.click("#tab-find")
    assert page.evaluate(RUNNING) == 0
    page.click("#tab-describe")
    page.evaluate(
        "document.querySelector('#webcam').click(); document.querySelector('#tab-find').click()"
    )
    page.evaluate(
        "async () => { while (cameras.length < 3) await new Promise((go) => setTimeout(go, 20)); }"
    )
    assert page.evaluate(RUNNING) == 0  # it came after its closing


def test_a_camera_that_cannot_play_goes_off(open_page: Open) -> None:
    page = open_page(
        script=CAMERAS
        + "HTMLMediaElement.prototype.play = async () => { throw new Error('no frames'); };"
    )
    page.click("#webcam")
    expect(page.locator("#problem")).to_have_text(
        "The camera cannot be used: no frames"
    )
    assert (
        page.evaluate("cameras.length") == 1
        and page.evaluate(RUNNING) == 0
        and page.is_hidden("#camera")
    )


DROP = """([id, kind, words]) => {
  const carried = new DataTransfer();
  if (words) carried.setData("text/plain", words);
  else carried.items.add(new File(["x"], "a.txt", { type: "text/plain" }));
  if (kind === "paste" && words)
    carried.items.add(new File(["x"], "a.txt", { type: "text/plain" }));
  const made = kind === "paste"
    ? new ClipboardEvent(kind, { clipboardData: carried, bubbles: true, cancelable: true })
    : new DragEvent(kind, { dataTransfer: carried, bubbles: true, cancelable: true });
  document.getElementById(id).dispatchEvent(made);
  return [made.defaultPrevented, !document.getElementById("problem").hidden];
}"""


@pytest.mark.parametrize(
    ("place", "kind", "words", "prevented", "taken"),
    [
        pytest.param("sentence", "drop", "red", False, False, id="words into a field"),
        pytest.param("sentence", "drop", "", True, True, id="a file into a field"),
        pytest.param("stage", "drop", "", True, True, id="a file"),
        pytest.param(
            "sentence",
            "paste",
            "red",
            False,
            False,
            id="words and their picture into a field",
        ),
        pytest.param("sentence", "paste", "", False, True, id="a picture into a field"),
        pytest.param(
            "stage", "paste", "red", False, True, id="words and their picture"
        ),
    ],
)
def test_what_is_taken_for_a_photo(
    open_page: Open, place: str, kind: str, words: str, prevented: bool, taken: bool
) -> None:
    page = open_page()
    assert page.evaluate(DROP, [place, kind, words]) == [
        prevented,
        taken,
    ]  # a text file is refused: it was taken


def test_where_a_photo_goes_is_said(open_page: Open, address: str) -> None:
    assert "No photo yet. It stays on this machine." in open_page().inner_text("#stage")


def test_drawing_with_a_finger(open_page: Open, photo: Path) -> None:
    assert open_page().is_hidden("#draw")  # a mouse draws anyway
    page = open_page(width=390)
    page.set_input_files("#file", photo)
    button = page.locator("#draw").bounding_box()
    assert button["y"] < page.locator("#stage").bounding_box()["y"]
    page.click("#draw")
    assert (
        page.evaluate("getComputedStyle(document.querySelector('#stage')).touchAction")
        == "none"
    )
    page.click("#tab-align")
    assert page.is_hidden("#draw")
    assert (
        page.evaluate("getComputedStyle(document.querySelector('#stage')).touchAction")
        == "auto"
    )


def test_news_are_in_sight_on_a_phone(open_page: Open, photo: Path) -> None:
    page = open_page(width=390, height=600)
    page.set_input_files("#file", photo)
    page.wait_for_selector("#captions li")
    for name, value in zip(
        ("x1", "y1", "x2", "y2"), (8000, 8000, 9000, 9000), strict=True
    ):
        page.fill(f"#{name}", str(value))
    page.click("text=Caption this box")
    page.wait_for_selector("#problem:visible")
    assert page.evaluate("scrollY") > 0
    assert 0 <= page.locator("#news").bounding_box()["y"] < 50
