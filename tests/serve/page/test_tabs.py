"""Every tab of the page on a real photo, at every width, light and dark."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed"
)
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
    named = lines.count() - page.locator("#captions .unsure").count()
    assert page.inner_text("#status").endswith(
        f"{lines.count()} regions, {named} with words."
    )
    page.fill("#threshold", "0")
    said = page.inner_text("#whole")
    assert said == f"{page.get_attribute('#picture', 'alt')} ({said.split('(')[1]}"
    page.fill("#threshold", "0.25")
    lines.nth(1).locator("button").first.hover()
    assert page.locator("#boxes .box.lit b").all_inner_texts() == ["2"]
    page.locator("#boxes .box").nth(2).dispatch_event("pointerenter")
    assert page.locator("#captions button.lit .number").all_inner_texts() == ["3"]
    see(page, "describe-light")
    before = lines.count()
    frame = page.locator("#picture").bounding_box()
    page.mouse.move(frame["x"] + 20, frame["y"] + 20)
    page.mouse.down()
    page.mouse.move(
        frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2, steps=4
    )
    page.mouse.up()
    expect(lines).to_have_count(before + 1)
    # half of the photo's 512 pixels
    assert abs(int(page.input_value("#x2")) - 256) <= 2
    page.fill("#x1", "100")
    page.click("text=Caption this box")
    expect(lines).to_have_count(before + 2)
    page.click("[aria-label='Remove box 1']")
    assert lines.count() == before + 1
    page.fill("#threshold", "1")
    assert set(page.locator("#captions .text").all_inner_texts()) == {"not sure"}
    assert page.get_attribute("#picture", "alt") == "The photo astronaut.jpg"
    with page.expect_download() as download:
        page.click("#save")
    document = json.loads(download.value.path().read_text())
    assert said.startswith("perhaps: ") is not document["caption"]["sure"]
    assert {region["text"] for region in document["regions"]} == {None} and len(
        document["regions"]
    ) == before + 1


def test_settings_count(open_page: Open, photo: Path) -> None:
    page = open_page()
    page.fill("#regions", "2")
    page.fill("#beams", "1")
    page.set_input_files("#file", photo)
    page.wait_for_selector("#captions li")
    # one where both show the same thing
    assert page.locator("#captions li").count() <= 2


def test_align(open_page: Open, photo: Path, see: See) -> None:
    page = open_page()
    page.set_input_files("#file", photo)
    page.click("#tab-align")
    page.fill("#sentence", SENTENCE)
    page.keyboard.press("Enter")
    page.wait_for_selector("#words button")
    assert (
        page.locator("#words button span:first-child").all_inner_texts()
        == SENTENCE.split()
    )
    assert page.inner_text("#status").startswith(
        "7 words joined"
    ) and "not know" not in page.inner_text("#status")
    page.locator("#words button").nth(1).focus()
    assert page.locator("#boxes .box.lit").count() == 1
    page.click("#matrix-part summary")
    assert (
        page.locator("#matrix tbody tr").count() == 7
        and page.locator("#matrix td.best").count() == 7
    )
    heads = page.locator("#matrix thead th").all_inner_texts()
    for row, number in enumerate(page.locator("#words .number").all_inner_texts()):
        cells = page.locator("#matrix tbody tr").nth(row).locator("td")
        assert "best" in cells.nth(heads.index(number) - 1).get_attribute("class")
    drawn = page.locator("#boxes .box b").all_inner_texts()
    assert {label.split()[0] for label in drawn} == set(
        page.locator("#words .number").all_inner_texts()
    )
    page.locator("#matrix thead button").nth(4).focus()
    assert page.locator("#boxes .box.lit b").all_inner_texts() == ["4"]
    page.focus("#sentence")
    expect(page.locator("#boxes .box")).to_have_count(len(drawn))
    if page.is_visible("#looks-part"):
        page.click("#looks-part summary")
        assert page.locator("#looks canvas").count() == 7
    see(page, "align-light")


def test_the_joined_cell_is_marked_where_another_is_better(
    open_page: Open, photo: Path
) -> None:
    page = open_page()
    page.set_input_files("#file", photo)
    page.click("#tab-align")
    page.fill("#sentence", SENTENCE)
    page.fill("#beta", "1000")
    page.click("#align-form .main")
    page.wait_for_selector("#words button")
    # one region for all
    (number,) = set(page.locator("#words .number").all_inner_texts())
    page.click("#matrix-part summary")
    column = page.locator("#matrix thead th").all_inner_texts().index(number) - 1
    for row in page.locator("#matrix tbody tr").all():
        assert "best" in row.locator("td").nth(column).get_attribute("class")
        assert row.locator("td.best").count() == 1


def test_the_places_of_a_phrase(open_page: Open, photo: Path, see: See) -> None:
    page = open_page()
    page.set_input_files("#file", photo)
    page.click("#tab-align")
    page.click("text=The whole phrase")
    page.fill("#sentence", "an orange suit")
    page.fill("#places", "2")
    page.click("#align-form .main")
    expect(page.locator("#words button")).to_have_count(2)
    assert page.locator("#boxes .box b").all_inner_texts() == ["1", "2"]
    assert page.inner_text("#status").startswith("2 places") and page.is_hidden(
        "#matrix-part"
    )
    page.locator("#words button").nth(1).hover()
    assert page.locator("#boxes .box.lit b").all_inner_texts() == ["2"]
    see(page, "locate-light")


@pytest.mark.parametrize("way", ["Each word", "The whole phrase"])
def test_words_without_meaning_are_told(open_page: Open, photo: Path, way: str) -> None:
    page = open_page()
    page.set_input_files("#file", photo)
    page.click("#tab-align")
    page.click(f"text={way}")
    page.fill("#sentence", "an orange xylograph")
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_contain_text("does not know: xylograph.")


def test_find(open_page: Open, photo: Path, see: See) -> None:
    page = open_page()
    page.click("#tab-find")
    if page.is_visible("#no-library"):
        pytest.skip("LanceDB is not installed")
    page.fill("#text", "a woman in an orange xylograph")
    page.click("#find-form .main")
    page.wait_for_selector("#hits li")
    assert (
        page.locator("#hits li img").count() == 2
        and page.locator("#hits .frame .box").count() == 2
    )
    assert "xylograph" in page.inner_text("#status")
    page.fill("#text", "")
    page.set_input_files("#example", photo.with_name("cat.jpg"))
    page.wait_for_selector("#example-stage img:visible")
    page.click("#find-form .main")
    expect(page.locator("#hits li .hint").first).to_contain_text("cat.jpg")
    see(page, "find-light")


# What the page sent last: browsers do not tell of a form that holds a file.
SENT = """
const plain = window.fetch;
window.fetch = (path, init) => {
  const fields = [...(init?.body ?? [])].map(([name, value]) => [name, String(value)]);
  if (init?.body) window.sent = Object.fromEntries(fields);
  return plain(path, init);
};
"""


def test_parts_of_an_example(open_page: Open, photo: Path, see: See) -> None:
    page = open_page(script=SENT)
    page.click("#tab-find")
    if page.is_visible("#no-library"):
        pytest.skip("LanceDB is not installed")
    page.set_input_files("#example", photo)
    frame = page.locator("#example-stage img:visible").bounding_box()
    page.mouse.move(frame["x"] + 10, frame["y"] + 10)
    page.mouse.down()
    page.mouse.move(
        frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2, steps=4
    )
    page.mouse.up()
    for name, value in zip(("u1", "v1", "u2", "v2"), (300, 20, 400, 250), strict=True):
        page.fill(f"#{name}", str(value))
    page.click("text=Add this part")
    assert (
        page.locator("#example-boxes li").count()
        == page.locator("#example-stage .box").count()
        == 2
    )
    page.click("[aria-label='Remove part 1']")
    assert page.locator("#example-boxes span").all_inner_texts() == [
        "Part 1: 300, 20, 400, 250"
    ]
    page.click("#find-form .main")
    page.wait_for_selector("#hits li")
    assert page.evaluate("sent.boxes") == "[[300,20,400,250]]"
    see(page, "example-light")
    page.click("#example-clear")
    assert (
        page.is_hidden("#example-form")
        and page.evaluate("document.activeElement.id") == "example"
    )
    page.fill("#text", "a cat")
    page.click("#find-form .main")
    expect(page.locator("#find-form .main")).not_to_have_attribute("aria-busy", "true")
    assert set(page.evaluate("Object.keys(sent)")) == {"text", "k"}


def test_a_hit_is_opened_in_describe(open_page: Open, photo: Path) -> None:
    page = open_page()
    page.click("#tab-find")
    if page.is_visible("#no-library"):
        pytest.skip("LanceDB is not installed")
    page.fill("#text", "a cat")
    page.click("#find-form .main")
    page.click("[aria-label='Describe cat.jpg']")
    page.wait_for_selector("#captions li")
    assert page.get_attribute("#picture", "title") == "cat.jpg"
    # not the small picture of the list
    assert page.evaluate("document.querySelector('#picture').naturalWidth") == 451
    assert page.evaluate("document.activeElement.id") == "tab-describe"


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
    assert page.locator("#accepted span").all_inner_texts() == [
        "astronaut.jpg: An astronaut smiles."
    ]
    see(page, "narrate-light")


def test_keyboard_alone(open_page: Open) -> None:
    page = open_page()
    page.focus("#tab-describe")
    for key, tab in (
        ("ArrowRight", "align"),
        ("End", "narrate"),
        ("ArrowRight", "describe"),
        ("ArrowLeft", "narrate"),
    ):
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.id") == f"tab-{tab}"
        assert page.locator("[role=tabpanel]:visible").get_attribute("id") == tab


def test_the_reference_of_the_api(open_page: Open, see: See) -> None:
    page = open_page()
    page.click("footer a")
    expect(page.locator("h2", has_text="POST /v1/caption")).to_be_visible()
    samples = page.locator("pre").all_inner_texts()
    assert (
        all("-F " in sample for sample in samples) and "-F photo=@a.jpg" in samples[0]
    )
    see(page, "reference")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"no picture", "not a picture", id="text"),
        pytest.param(b"", "at least", id="empty"),
    ],
)
def test_a_bad_photo_is_told(
    open_page: Open, tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / "bad.jpg").write_bytes(content)
    page = open_page()
    page.set_input_files("#file", tmp_path / "bad.jpg")
    page.wait_for_selector("#problem:visible")
    assert reason in page.inner_text("#problem")


@pytest.mark.parametrize(
    ("width", "scheme"),
    [(1280, "light"), (1280, "dark"), (390, "light")],
    ids=["light", "dark", "phone"],
)
def test_accessible_at_every_width(
    open_page: Open, photo: Path, see: See, width: int, scheme: str
) -> None:
    page = open_page(width, 840, scheme)
    page.fill("#regions", "4")
    page.set_input_files("#file", photo)
    page.wait_for_selector("#captions li")
    for tab in ("describe", "align", "find", "narrate"):
        page.click(f"#tab-{tab}")
        fill(page, tab, photo)
        expect(page.locator("[aria-busy]")).to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
            f"{tab} is wider than the screen"
        )
        see(page, f"{tab}-{scheme}-{width}")
        if AXE.is_file():
            page.evaluate(AXE.read_text(encoding="utf-8"))
            found = page.evaluate("axe.run().then(found => found.violations)")
            serious = [one for one in found if one["impact"] in ("serious", "critical")]
            assert [
                (one["id"], [node["html"] for node in one["nodes"]]) for one in serious
            ] == []
    if not AXE.is_file():
        pytest.skip("axe-core is not installed (npm install --prefix .node axe-core)")


def fill(page: Any, tab: str, photo: Path) -> None:
    """Have as much of a tab in sight as it can show."""
    if tab == "align":
        page.fill("#sentence", SENTENCE)
        page.keyboard.press("Enter")
        page.wait_for_selector("#words button")
        page.click("#matrix-part summary")
    elif tab == "find" and page.is_hidden("#no-library"):
        page.set_input_files("#example", photo)
        page.wait_for_selector("#example-stage img:visible")
        page.click("#find-form .main")
        page.wait_for_selector("#hits li")
    elif tab == "narrate":
        page.fill("#alt", "An astronaut smiles.")
        page.click("#narrate-form .main")
        page.click("#accept")


REMEMBER_FIELDS = """() => {
    window.sent = [];
    const append = FormData.prototype.append;
    FormData.prototype.append = function (...field) {
        window.sent.push(field[0]);
        return append.apply(this, field);
    };
}"""


def test_beams_are_the_models_own_unless_set(open_page: Open, photo: Path) -> None:
    """A photo and a region may have other beams: a number in the form would stand for both."""
    page = open_page()
    page.evaluate(REMEMBER_FIELDS)
    page.set_input_files("#file", photo)
    page.wait_for_selector("#captions li")
    assert "regions" in page.evaluate("sent") and "beams" not in page.evaluate("sent")
    page.fill("#beams", "2")
    with page.expect_response("**/v1/caption"):
        page.click("#describe-form .main")
    assert "beams" in page.evaluate("sent")
