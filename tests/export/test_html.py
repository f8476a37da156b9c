"""Alt attributes: what is a picture, which are asked for, and that all other bytes stay."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regiontalk.export.html import Picture, local_file, pictures, wanted, with_alts

PAGE = """<!doctype html><p title='<img src="no.jpg">'>
<!-- <img src="comment.jpg"> --><script>let a = '<img src="script.jpg">';</script>
<IMG SRC=one.jpg width=3/>
  <img
   src = "two.jpg"
   data-alt="x" >ä<img src='three.jpg' alt="written &amp; kept"/>
 <img src="four.jpg" alt=""><img src="five.jpg" alt>
"""


def test_pictures() -> None:
    found = pictures(PAGE)
    assert [(one.source, one.alt) for one in found] == [
        ("one.jpg", None),
        ("two.jpg", None),
        ("three.jpg", "written & kept"),
        ("four.jpg", ""),
        ("five.jpg", ""),
    ]
    assert all(
        PAGE[one.start : one.end].lower().startswith("<img")
        and PAGE[one.end - 1] == ">"
        for one in found
    )


def test_only_the_attribute_is_put_in() -> None:
    text, count = with_alts(
        PAGE,
        lambda picture: (
            f'a "{picture.source}" & more' if picture.source != "one.jpg" else ""
        ),
    )
    assert count == 1
    assert text == PAGE.replace(
        '<img\n   src = "two',
        '<img alt="a &quot;two.jpg&quot; &amp; more"\n   src = "two',
    )
    assert {one.source: one.alt for one in pictures(text)}[
        "two.jpg"
    ] == 'a "two.jpg" & more'


@pytest.mark.parametrize(
    ("tag", "wanted_tag"),
    [
        pytest.param(
            "<img src=a alt='old'>", '<img src=a alt="new">', id="single quotes"
        ),
        pytest.param(
            '<img ALT = "o > l" src=a>', '<img alt="new" src=a>', id="a bracket inside"
        ),
        pytest.param("<img alt=old src=a>", '<img alt="new" src=a>', id="no quotes"),
        pytest.param(
            "<img data-alt=x src=a alt=old/>",
            '<img data-alt=x src=a alt="new">',
            id="another attribute",
        ),
        pytest.param(
            '<img title="alt=no" alt="old" src=a>',
            '<img title="alt=no" alt="new" src=a>',
            id="in a value",
        ),
        pytest.param('<img alt="" src=a>', '<img alt="" src=a>', id="decoration stays"),
        pytest.param(
            "<img alt src=a>", "<img alt src=a>", id="decoration without a value stays"
        ),
        pytest.param("<img src=a>", '<img alt="new" src=a>', id="none"),
    ],
)
def test_replace(tag: str, wanted_tag: str) -> None:
    assert with_alts(tag, lambda _: "new", replace=True)[0] == wanted_tag
    assert not [one for one in wanted(tag) if one.alt is not None]


@given(st.text(alphabet="<>img srcalt='\"=/a !-\n\r&;", max_size=80))
def test_any_text_stays_where_nothing_is_said(text: str) -> None:
    assert with_alts(text, lambda _: "", replace=True) == (text, 0)
    with_alts(text, lambda _: "new", replace=True)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        pytest.param("a b.jpg", "site/sub/a b.jpg", id="beside the page"),
        pytest.param("a%20b.jpg?v=2#x", "site/sub/a b.jpg", id="as an address"),
        pytest.param("../top.jpg", "site/top.jpg", id="above the page"),
        pytest.param("/top.jpg", "site/top.jpg", id="from the root"),
        pytest.param("../../out.jpg", None, id="outside the site"),
        pytest.param("/../out.jpg", None, id="outside by the root"),
        pytest.param("gone.jpg", None, id="missing"),
        pytest.param("https://host/top.jpg", None, id="elsewhere"),
        pytest.param("//host/top.jpg", None, id="elsewhere, same scheme"),
        pytest.param("data:image/png;base64,AAAA", None, id="data"),
        pytest.param("http://[", None, id="no address"),
        pytest.param("%00.jpg", None, id="no file name"),
        pytest.param("", None, id="empty"),
        pytest.param("/", None, id="folder"),
    ],
)
def test_local_file(tmp_path: Path, source: str, found: str | None) -> None:
    (tmp_path / "site/sub").mkdir(parents=True)
    for name in ("site/sub/a b.jpg", "site/top.jpg", "out.jpg"):
        (tmp_path / name).touch()
    file = local_file(source, tmp_path / "site/sub/page.html", tmp_path / "site")
    assert file == (None if found is None else (tmp_path / found).resolve())


def test_record() -> None:
    assert Picture(0, 5, "a", None).alt is None


def test_what_is_put_in_is_ascii() -> None:
    assert with_alts("<img src=a>ä", lambda _: "a <café>…") == (
        '<img alt="a &lt;caf&#233;&gt;&#8230;" src=a>ä',
        1,
    )


def test_a_declaration_that_the_parser_gives_up_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def give_up(
        *_: object,
    ) -> int:  # as Python's own does until 3.13; later it takes this for a comment
        raise AssertionError("unknown status keyword 'foo' in marked section")

    monkeypatch.setattr(HTMLParser, "parse_html_declaration", give_up)
    with pytest.raises(
        ValueError, match=r"line 2: cannot be read as HTML .unknown status keyword"
    ):
        pictures("<p>\n<![foo[<img src=a>")
