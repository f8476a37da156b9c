"""The page: whole in itself, everything in it, nothing a stranger wrote taken for markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from regiontalk.evaluate.charts import histogram
from regiontalk.evaluate.examples import Case, on_boxes
from regiontalk.evaluate.report import PAGE, page, prepare_report, write_report
from regiontalk.evaluate.result import Result
from regiontalk.evaluate.suite import Timed
from regiontalk.metrics.bootstrap import Interval
from regiontalk.records import Example

HOSTILE = "<script>alert('1')</script> & \"quoted\""


class Reader(HTMLParser):
    """All tags with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.fixture
def timed(tmp_path: Path) -> Timed:
    Image.new("RGB", (50, 50), (90, 120, 150)).save(tmp_path / "a.jpg")
    example = Example(tmp_path / "a.jpg", size_wh=(100, 80))
    drawn = on_boxes(example, [((10, 10, 90, 70), "a wall")])
    result = Result(
        "captions",
        {
            "model": {"BLEU-1": Interval(0.5, 0.25, 0.75), "METEOR": None},
            "floor": {"BLEU-1": 0.125},
        },
        {"photos": 1},
        (HOSTILE,),
        charts=(histogram("CIDEr-D of each", "CIDEr-D", {"model": [1.0, 2.0]}),),
        cases={
            "best": (Case("CIDEr-D 1.00", (("model", HOSTILE),), drawn, (100, 80)),),
            "worst": (Case("7: CIDEr-D 0.00", (("prediction", "a dog"),)),),
        },
    )
    return Timed(result, 1.0, 1.0)


def test_everything_is_in_one_file(timed: Timed, tmp_path: Path) -> None:
    path = write_report(
        tmp_path / "deep" / "page", {"command": HOSTILE, "data": ["one line"]}, [timed]
    )
    assert path.name == PAGE and [item.name for item in path.parent.iterdir()] == [PAGE]
    text = path.read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(text)
    assert {tag for tag, _ in reader.tags} & {
        "script",
        "link",
        "iframe",
        "object",
    } == set()
    sources = [values["src"] or "" for tag, values in reader.tags if "src" in values]
    assert [source.partition(";")[0] for source in sources] == [
        "data:image/svg+xml",
        "data:image/jpeg",
    ]
    assert all(
        values["href"] == "#captions" for tag, values in reader.tags if "href" in values
    )
    assert all(values.get("alt") for tag, values in reader.tags if tag == "img")
    assert not re.search(r"url\(|@import", text) and "default-src 'none'" in text
    for said in (
        "50.0",
        "25.0-75.0",
        "12.5",
        "one line",
        "CIDEr-D 1.00",
        "7: CIDEr-D 0.00",
        "a dog",
        "&lt;script&gt;",
    ):
        assert said in text


def test_the_same_run_gives_the_same_page(timed: Timed) -> None:
    assert page({}, [timed]) == page({}, [timed])


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "page").touch()
    with pytest.raises(OSError, match="expected a folder for the report"):
        prepare_report(tmp_path / "page")
