"""``regiontalk narrate``: what it prints and says."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from regiontalk.export import alt_text as narration


def test_one_photo(run: Any, captioner: Any) -> None:
    result = run("narrate", "a.png")
    assert (
        result.exit_code == 0
        and result.stdout == "A plain wall. On the left, a corner.\n"
    )
    assert captioner.calls[-1] == ("caption_many", ("a.png",), 20, None, 0.25)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        pytest.param(["--limit", "20"], "A plain wall.", id="short"),
        pytest.param(["--min-confidence", "0.3"], "A plain wall.", id="surer"),
        pytest.param(["--min-confidence", "0.6"], "[not sure]", id="nothing is sure"),
        pytest.param(
            ["--regions", "0", "--neutral"], "A plain wall.", id="only the photo"
        ),
    ],
)
def test_options(run: Any, options: list[str], text: str) -> None:
    assert run("narrate", "a.png", *options).stdout == text + "\n"


def test_several(run: Any) -> None:
    result = run("narrate", "album", "a.png", "--json")
    assert result.exit_code == 1 and "1 of 4 photos failed" in result.stderr
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["photo"] for row in rows] == ["album/one.png", "album/two.PNG", "a.png"]
    assert {row["alt"] for row in rows} == {"A plain wall. On the left, a corner."}
    assert (
        run("narrate", "a.png", "b.jpg", "--limit", "20").stdout
        == "a.png: A plain wall.\nb.jpg: A plain wall.\n"
    )


def test_speak(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []
    monkeypatch.setattr(narration, "voice", lambda: "espeak-ng")
    monkeypatch.setattr(narration, "speak", heard.append)
    assert run("narrate", "a.png", "b.jpg", "--limit", "20", "--speak").exit_code == 0
    assert heard == ["A plain wall."] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["gone.png"], "gone.png: no such photo", id="no such photo"),
        pytest.param(["broken.jpg"], "broken.jpg", id="no picture"),
        pytest.param(["a.png", "--limit", "5"], "--limit", id="limit"),
        pytest.param(
            ["a.png", "--min-confidence", "2"], "--min-confidence", id="least"
        ),
    ],
)
def test_mistakes(run: Any, refused: Any, arguments: list[str], message: str) -> None:
    refused(run("narrate", *arguments), message)


def test_no_voice(
    run: Any, refused: Any, captioner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(narration.shutil, "which", lambda _: None)
    refused(
        run("narrate", "a.png", "--speak"), "espeak-ng is not installed; install it"
    )
    assert captioner.calls == []  # before a model is loaded


def test_the_defaults_do_not_bring_numpy() -> None:
    program = (
        "import sys, regiontalk.export.alt_text, regiontalk.cli.main; "
        "sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
