"""``regiontalk index`` and ``regiontalk search`` end to end with the tiny model.

Lines, JSON, drawings, mistakes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lancedb", reason="the extra [search] is not installed")

Run = Callable[..., Any]
Refused = Callable[[Any, str], None]

LIBRARY = ("--index", "library")


@pytest.fixture
def filled(real: Run) -> Run:
    """The command line in a folder with a library.

    It holds album/{a,c}.jpg, album/e.png and album/deep/a.jpg.
    """
    Path("album/deep").mkdir()
    shutil.copy("good.jpg", "album/deep/a.jpg")
    result = real(
        "index", "add", "album", *LIBRARY, "--model", "tiny", "--regions", "3"
    )
    assert result.exit_code == 1, (
        result.output,
        result.exception,
    )  # b.jpg is cut short, d.jpg empty
    assert result.stdout == "library: 4 added, 0 changed, 0 unchanged; 4 in all\n"
    # on a slow machine they follow how far it was
    told = result.stderr.splitlines()[-3:]
    assert (
        told[0] == "regiontalk: 2 of 6 photos failed:"
        and "b.jpg: damaged or cut short" in told[1]
    )
    assert "d.jpg: expected a picture, got 0 bytes" in told[2]
    return real


def test_add_again_and_remove(filled: Run) -> None:
    again = filled(
        "index",
        "add",
        "album/a.jpg",
        "good.jpg",
        *LIBRARY,
        "--model",
        "tiny",
        "--captions",
        "0",
    )
    assert (again.exit_code, again.stdout) == (
        0,
        "library: 1 added, 0 changed, 1 unchanged; 5 in all\n",
    )
    Path("good.jpg").unlink()
    gone = filled("index", "remove", "album/deep", "--missing", *LIBRARY)
    assert (gone.exit_code, gone.stdout) == (0, "library: 2 forgotten; 3 left\n")


def test_info(filled: Run) -> None:
    lines = filled("index", "info", *LIBRARY).stdout.splitlines()
    assert lines[0].split() == ["index", "library"] and lines[2].startswith(
        "photos   4, with "
    )
    values = json.loads(filled("index", "info", *LIBRARY, "--json").stdout)
    assert (values["photos"], values["model"], values["regions"]) == (4, "tiny", 3)


def test_search_to_be_read(filled: Run) -> None:
    Path("album/c.jpg").unlink()
    result = filled(
        "search", "a red zyzzyva", *LIBRARY, "--model", "tiny", "--draw", "found"
    )
    assert result.exit_code == 0, (result.output, result.exception)
    lines = result.stdout.splitlines()
    assert [line[:3] for line in lines if line[0] != " "] == [
        "1. ",
        "2. ",
        "3. ",
        "4. ",
    ]
    assert (
        sum(line.startswith("   answer: ") for line in lines)
        == sum(line.startswith("   red: ") for line in lines)
        == 4
    )
    assert sum("its file is gone since it was added" in line for line in lines) == 1
    assert "'zyzzyva' is no word that the model knows" in result.stderr
    assert "not drawn, its file is gone" in result.stderr
    assert sorted(path.name for path in Path("found").iterdir()) == [
        "a_regions.jpg",
        "a_regions_2.jpg",
        "e_regions.jpg",
    ]


def test_search_as_json(filled: Run) -> None:
    words = (
        "search",
        "--photo",
        "album/e.png",
        "--box",
        "0,0,40,30",
        "-k",
        "2",
        *LIBRARY,
        "--model",
        "tiny",
        "--json",
    )
    values = json.loads(filled(*words).stdout)
    assert values["format"] == 1 and len(values["hits"]) == 2
    assert values["query"] == {
        "text": None,
        "photo": "album/e.png",
        "boxes": [[0, 0, 40, 30]],
    }
    assert set(values["hits"][0]) >= {
        "photo",
        "score",
        "answer",
        "matches",
        "regions",
        "caption",
        "date",
        "missing",
    }
    assert values["hits"][0]["matches"][0]["phrase"] == "box 0,0,40,30"


def test_filters_and_no_answer(filled: Run) -> None:
    found = filled(
        "search",
        "a car",
        *LIBRARY,
        "--model",
        "tiny",
        "--folder",
        "album/deep",
        "--after",
        "2020",
    )
    assert [line[:3] for line in found.stdout.splitlines() if line[0] != " "] == ["1. "]
    none = filled("search", "a car", *LIBRARY, "--model", "tiny", "--before", "2020-05")
    assert (none.exit_code, none.stdout) == (
        0,
        "",
    ) and "no photo answers; the library holds 4" in none.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(
            ["search"], "expected words, --photo or both", id="nothing to look for"
        ),
        pytest.param(
            ["search", "", *LIBRARY, "--model", "tiny"],
            "at least one word",
            id="empty text",
        ),
        pytest.param(
            ["search", "qwrk", *LIBRARY, "--model", "tiny"],
            "none of its words is known",
            id="unknown words",
        ),
        pytest.param(
            ["search", "a car", "--box", "0,0,5,5"],
            "name the photo with --photo",
            id="box without photo",
        ),
        pytest.param(
            ["search", "a car", "--after", "May"],
            "--after: expected a date such as",
            id="no date",
        ),
        pytest.param(
            ["search", "a car", "--index", "none"],
            "none: no photo index is here",
            id="no library",
        ),
        pytest.param(
            ["index", "info", "--index", "none"],
            "regiontalk index add FOLDER --index none",
            id="info of none",
        ),
        pytest.param(
            ["index", "remove", *LIBRARY], "got neither", id="nothing to forget"
        ),
        pytest.param(
            ["index", "remove", "none.jpg", *LIBRARY],
            "that is not in it",
            id="not in it",
        ),
        pytest.param(
            ["index", "add", "nowhere", *LIBRARY],
            "nowhere: no such photo",
            id="no such folder",
        ),
        pytest.param(
            ["index", "add", "cut.jpg", *LIBRARY, "--model", "tiny"],
            "cut.jpg: damaged",
            id="one bad photo",
        ),
        pytest.param(
            ["index", "add", "good.jpg", "--index", "words.jpg", "--model", "tiny"],
            "got a file",
            id="a file",
        ),
    ],
)
def test_mistakes(
    filled: Run, refused: Refused, words: list[str], message: str
) -> None:
    refused(filled(*words), message)


def test_a_damaged_library_says_how_to_rebuild_it(
    filled: Run, refused: Refused
) -> None:
    for path in Path("library/photos.lance/_versions").iterdir():
        path.write_bytes(b"")
    refused(
        filled("search", "a car", *LIBRARY, "--model", "tiny"),
        "regiontalk index add FOLDER --index library --rebuild",
    )
    again = filled(
        "index", "add", "album/a.jpg", *LIBRARY, "--model", "tiny", "--rebuild"
    )
    assert (again.exit_code, again.stdout) == (
        0,
        "library: 1 added, 0 changed, 0 unchanged; 1 in all\n",
    )


def test_a_photo_that_cannot_be_drawn_leaves_the_others(filled: Run) -> None:
    data = Path("album/c.jpg").read_bytes()
    Path("album/c.jpg").write_bytes(data[: len(data) // 2])
    result = filled("search", "a car", *LIBRARY, "--model", "tiny", "--draw", "found")
    assert result.exit_code == 1 and len(list(Path("found").iterdir())) == 3
    assert result.stdout.count("   answer: ") == 4
    assert (
        "1 of 4 photos failed" in result.stderr
        and "c.jpg: damaged or cut short" in result.stderr
    )
