"""``regiontalk caption``: what it prints, draws and reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from regiontalk.cli.options import MAX_PIXELS
from regiontalk.images import open as images
from regiontalk.records import ImageResult

COMPUTE = {"device": "cpu", "engine": "auto", "threads": None}


@pytest.mark.parametrize(
    ("arguments", "photos", "code"),
    [
        pytest.param(["a.png"], ["a.png"], 0, id="one photo"),
        pytest.param(
            ["b.jpg", "a.png"], ["b.jpg", "a.png"], 0, id="two, in the user's order"
        ),
        pytest.param(["a.png", "a.png"], ["a.png"], 0, id="the same twice"),
        pytest.param(
            ["album"],
            ["album/one.png", "album/two.PNG"],
            1,
            id="folder with a broken one",
        ),
        pytest.param(["album/*.png"], ["album/one.png"], 0, id="pattern"),
        pytest.param(["**/o*.png"], ["album/one.png"], 0, id="pattern over folders"),
        pytest.param(
            ["a.png", "gone.png", "b.jpg"],
            ["a.png", "b.jpg"],
            1,
            id="one of three is missing",
        ),
        pytest.param(["broken.jpg", "a.png"], ["a.png"], 1, id="one of two is broken"),
    ],
)
def test_json(run: Any, arguments: list[str], photos: list[str], code: int) -> None:
    result = run("caption", "--json", *arguments)
    assert result.exit_code == code, result.output
    if len(arguments) == 1 and Path(arguments[0]).is_file():
        documents = [json.loads(result.stdout)]
    else:
        documents = [json.loads(line) for line in result.stdout.splitlines()]
    assert [ImageResult.from_dict(document).photo for document in documents] == photos


def test_failures_are_listed_at_the_end(run: Any) -> None:
    result = run("caption", "album", "gone.png")
    assert result.exit_code == 1
    first, *rest = result.stderr.splitlines()
    assert first == "regiontalk: 2 of 4 photos failed:"
    assert "album/middle.jpg" in rest[0] and "gone.png" in rest[1] and len(rest) == 2


def test_lines(run: Any) -> None:
    result = run("caption", "a.png", "--regions", "2")
    assert result.exit_code == 0 and result.stderr == ""
    assert result.stdout.splitlines() == [
        "a.png  40x30",
        "  whole photo: a plain wall (0.50)",
        "  0,0,5,5: [not sure] (0.25)",
        "  0,0,5,6: a corner (0.25)",
    ]


@pytest.mark.parametrize(
    ("options", "call"),
    [
        pytest.param([], ("caption_many", ("a.png",), 10, None, None), id="defaults"),
        pytest.param(
            ["--regions", "3", "--beam", "5", "--threshold", "0.4", "--all-boxes"],
            ("caption_many", ("a.png",), 3, 5, 0.4, "all boxes"),
            id="all",
        ),
        pytest.param(
            ["--regions", "0"],
            ("caption_many", ("a.png",), 0, None, None),
            id="only the whole photo",
        ),
        pytest.param(
            ["--box", "1,2,3,4"],
            ("describe", "a.png", [(1, 2, 3, 4)], None, None),
            id="a box",
        ),
        pytest.param(
            ["--box", "1,2,3,4", "--box", "0,0,9.5,9", "--beam", "2"],
            ("describe", "a.png", [(1, 2, 3, 4), (0, 0, 9.5, 9)], 2, None),
            id="two boxes and a beam",
        ),
    ],
)
def test_what_the_captioner_is_asked(
    run: Any, captioner: Any, options: list[str], call: tuple[Any, ...]
) -> None:
    assert run("caption", "a.png", *options).exit_code == 0
    assert captioner.calls == [("load", "mini", COMPUTE, 100_000_000), call]


def test_photos_go_together(run: Any, captioner: Any) -> None:
    for number in range(10):
        Image.new("RGB", (8, 8)).save(f"album/x{number}.png")
    run("caption", "album/x*.png", "--regions", "0")
    assert [len(call[1]) for call in captioner.calls[1:]] == [8, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["gone.png"], "gone.png: no such photo", id="no such file"),
        pytest.param(["broken.jpg"], "broken.jpg", id="no picture"),
        pytest.param(["empty"], "no picture in this folder", id="empty folder"),
        pytest.param(
            ["*.gif"], "no picture in this pattern", id="pattern without a match"
        ),
        pytest.param(
            ["a.png", "--box", "1,2,3"],
            "expected x1,y1,x2,y2 in pixels, got '1,2,3'",
            id="three numbers",
        ),
        pytest.param(
            ["a.png", "--box", "x,y,z,w"], "expected x1,y1,x2,y2", id="letters"
        ),
        pytest.param(["a.png", "--box", ""], "expected x1,y1,x2,y2", id="nothing"),
        pytest.param(
            ["a.png", "--box", "9,9,1,1"],
            "--box 9,9,1,1: expected 0 <= x1 < x2",
            id="inverted",
        ),
        pytest.param(
            ["a.png", "--box", "nan,0,1,1"], "expected 0 <= x1", id="not a number"
        ),
        pytest.param(
            ["a.png", "--box", "0,0,inf,1"], "expected 0 <= x1", id="infinite"
        ),
        pytest.param(
            ["a.png", "--box", "0,0,99,9"],
            "outside the photo, which is 40x30",
            id="outside the photo",
        ),
        pytest.param(
            ["5,6,7,8"], "a second box needs its own --box", id="box taken for a photo"
        ),
        pytest.param(
            ["a.png", "--box", "0,0,9,9", "--regions", "3"],
            "exclude each other",
            id="box and regions",
        ),
        pytest.param(
            ["a.png", "--model", "maxi"],
            "model: expected one of mini, got 'maxi'",
            id="unknown model",
        ),
        pytest.param(["a.png", "--draw", "b.jpg"], "b.jpg", id="draw into a file"),
        pytest.param(
            ["a.png", "--attention"],
            "--attention: expected --draw DIR",
            id="attention without a folder",
        ),
    ],
)
def test_the_users_mistakes(run: Any, arguments: list[str], message: str) -> None:
    Path("empty").mkdir()
    result = run("caption", *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert message in result.stderr and len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("regiontalk: ")


@pytest.mark.parametrize(
    "option", [["--beam", "0"], ["--regions", "-1"], ["--threshold", "2"], ["--bogus"]]
)
def test_usage(run: Any, option: list[str]) -> None:
    assert run("caption", "a.png", *option).exit_code == 2


def test_a_fault_of_ours_keeps_its_traceback(
    run: Any, captioner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(captioner, "caption_many", fail)
    assert isinstance(run("caption", "a.png").exception, ZeroDivisionError)


def test_traceback_on_demand(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGIONTALK_TRACEBACK", "1")
    assert isinstance(run("caption", "gone.png").exception, FileNotFoundError)


def test_draw(run: Any) -> None:
    Path("other").mkdir()
    Image.new("RGB", (40, 30)).save("other/a.jpg")
    result = run("caption", "a.png", "other/a.jpg", "broken.jpg", "--draw", "drawn")
    assert result.exit_code == 1
    assert sorted(path.name for path in Path("drawn").iterdir()) == [
        "a_regions.jpg",
        "a_regions_2.jpg",
    ]
    with Image.open("drawn/a_regions.jpg") as picture:
        assert picture.format == "JPEG"
    assert result.stderr.startswith(f"drawn: {Path('drawn/a_regions.jpg')}")


def test_draw_beside_the_photo_leaves_it(run: Any) -> None:
    before = Path("b.jpg").read_bytes()
    assert run("caption", "b.jpg", "--draw", ".").exit_code == 0
    assert Path("b.jpg").read_bytes() == before and Path("b_regions.jpg").exists()


def test_a_failed_drawing_is_that_photos_failure(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Image.Image, "save", full)
    result = run("caption", "a.png", "b.jpg", "--draw", "drawn")
    assert result.exit_code == 1 and "2 of 2 photos failed" in result.stderr
    assert list(Path("drawn").iterdir()) == []


def test_largest_photo(run: Any, captioner: Any) -> None:
    assert (
        run("caption", "a.png", "--max-pixels", "1200", "--draw", "drawn").exit_code
        == 0
    )  # 40 x 30
    assert captioner.calls[0] == ("load", "mini", COMPUTE, 1200)
    assert MAX_PIXELS == images.MAX_PIXELS


def test_attention(real: Any) -> None:
    result = real(
        "caption",
        "good.jpg",
        "album/a.jpg",
        "--draw",
        "drawn",
        "--attention",
        "--model",
        "tiny",
    )
    assert result.exit_code == 0, result.output
    names = [
        "a_attention.jpg",
        "a_regions.jpg",
        "good_attention.jpg",
        "good_regions.jpg",
    ]
    assert sorted(path.name for path in Path("drawn").iterdir()) == names
    sheet = Image.open("drawn/good_attention.jpg")
    assert sheet.width > 640, "the photo and at least one word"


def test_attention_of_a_model_without(run: Any, captioner: Any) -> None:
    captioner.attends = False
    result = run("caption", "a.png", "--draw", "drawn", "--attention")
    assert (
        result.exit_code == 2
        and "expected a model that attends, got 'mini'"
        in " ".join(result.stderr.split())
    )
