"""The gallery: one page, everything escaped, nothing from elsewhere."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from regiontalk.export.gallery import (
    Entry,
    check_folder,
    check_photos,
    page,
    picture_path,
    write_picture,
)
from regiontalk.records import ImageResult, RegionCaption

RESULT = ImageResult(
    "trip/<b>.jpg",
    (200, 100),
    "mini",
    RegionCaption((0, 0, 200, 100), "a dog & a man", 0.8),
    (
        RegionCaption((20, 10, 60, 50), '"ball"', 0.7),
        RegionCaption((0, 0, 9, 9), None, 0.1),
    ),
)


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_a_sentence_that_is_not_sure_is_hedged() -> None:
    assert RESULT.caption is not None
    unsure = replace(RESULT, caption=replace(RESULT.caption, sure=False))
    html = page([Entry(unsure, Path("web/photos/<b>.jpg"), "A dog")], Path("web"))
    assert "<p>perhaps: a dog &amp; a man <small>0.80</small></p>" in html


def test_page() -> None:
    html = page([Entry(RESULT, Path("web/photos/<b>.jpg"), 'A "dog"')], Path("web"))
    tags = Tags(html).tags
    (image,) = [values for tag, values in tags if tag == "img"]
    assert (
        image["src"] == "photos/%3Cb%3E.jpg"
        and image["alt"] == 'A "dog"'
        and image["width"] == "200"
    )
    (box,) = [values for tag, values in tags if tag == "span"]
    assert (box["style"] or "").startswith(
        "left:10.00%;top:10.00%;width:20.00%;height:40.00%"
    )
    # a region without words is not shown
    assert len([tag for tag, _ in tags if tag == "li"]) == 1
    assert (
        "<b>.jpg" not in html
        and "a dog &amp; a man" in html
        and "//" not in html.replace("<!doctype", "")
    )
    assert "http" not in html


def test_empty_pages() -> None:
    unsure = Entry(ImageResult("a.jpg", (2, 2), "mini"), Path("photos/a.jpg"), "")
    assert "[not sure]" in page([unsure], Path()) and "<main>" in page([], Path())


@pytest.mark.parametrize(
    ("size", "wanted"), [((3000, 1500), (1280, 640)), ((40, 30), (40, 30))]
)
def test_picture(
    tmp_path: Path, size: tuple[int, int], wanted: tuple[int, int]
) -> None:
    image = Image.new("RGB", size)
    path = picture_path("x/a.png", tmp_path / "web", set())
    write_picture(image, path)
    assert Image.open(path).size == wanted and image.size == size
    assert picture_path("y/a.jpg", tmp_path / "web", {path}).name == "a_2.jpg"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        pytest.param({}, None, id="nothing"),
        pytest.param({"notes.txt": ""}, None, id="other files"),
        pytest.param(
            {"index.html": "ours", "photos/a.jpg": ""}, None, id="an earlier gallery"
        ),
        pytest.param(
            {".unfinished_gallery": "", "photos/a.jpg": ""}, None, id="interrupted"
        ),
        pytest.param(
            {"index.html": "<h1>My site</h1>"},
            r"index\.html: .* got another page",
            id="another page",
        ),
        pytest.param(
            {"photos/a.jpg": ""},
            r"photos: expected no files beside a gallery",
            id="somebody's photos",
        ),
        pytest.param(
            {"photos": "text"},
            r"photos: expected no files beside a gallery",
            id="a file of that name",
        ),
    ],
)
def test_what_a_gallery_may_replace(
    tmp_path: Path, files: dict[str, str], message: str | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(page([], tmp_path) if text == "ours" else text)
    if message is None:
        check_folder(tmp_path)
        check_folder(tmp_path / "new")
    else:
        with pytest.raises(ValueError, match=message):
            check_folder(tmp_path)


def test_photos_where_the_gallerys_own_go(tmp_path: Path) -> None:
    check_photos(["web/photos/a.jpg"], tmp_path / "web")  # there is no such folder yet
    (tmp_path / "web" / "photos").mkdir(parents=True)
    inside, link = tmp_path / "web" / "photos" / "a.jpg", tmp_path / "link.jpg"
    inside.touch()
    link.symlink_to(inside)
    check_photos(
        [str(tmp_path / "a.jpg"), str(tmp_path / "gone" / "a.jpg")], tmp_path / "web"
    )
    for photo in (inside, link):
        with pytest.raises(ValueError, match="expected a photo outside"):
            check_photos([str(photo)], tmp_path / "web")
