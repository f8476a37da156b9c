"""Options that have a new name: the old one works for one more version and says so."""

from __future__ import annotations

from typing import Any

import pytest

from regiontalk.cli.options import RENAMED_OPTIONS, rename_options


@pytest.mark.parametrize(("verb", "old_name"), sorted(RENAMED_OPTIONS))
@pytest.mark.parametrize("joined", [False, True], ids=["two words", "one word"])
def test_an_old_name_becomes_the_new_one(
    verb: str, old_name: str, joined: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    new_name = RENAMED_OPTIONS[verb, old_name]
    old, new = [
        [f"{name}=0.3"] if joined else [name, "0.3"] for name in (old_name, new_name)
    ]
    assert rename_options(verb, ["a.png", *old]) == ["a.png", *new]
    assert capsys.readouterr().err == (
        f"regiontalk: {old_name} is called {new_name} now; the old name works for one "
        "more version\n"
    )


def test_other_verbs_and_photos_keep_theirs(capsys: pytest.CaptureFixture[str]) -> None:
    assert rename_options("caption", ["--least", "1"]) == ["--least", "1"]
    assert rename_options("narrate", ["--", "--least"]) == ["--", "--least"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        pytest.param(["narrate", "a.png", "{} 0.6"], "[not sure]\n", id="narrate"),
        pytest.param(
            ["export", "csv", "a.png", "--out", "a.csv", "{} 0.6"], "", id="export"
        ),
    ],
)
@pytest.mark.parametrize("name", ["--least", "--min-confidence"])
def test_both_names_do_the_same(
    run: Any, captioner: Any, arguments: list[str], text: str, name: str
) -> None:
    *first, last = arguments
    result = run(*first, *last.format(name).split())
    assert result.exit_code == 0 and result.stdout == text, result.output
    assert ("is called --min-confidence now" in result.stderr) == (name == "--least")
    assert captioner.calls[-1][-2:] == (None, 0.6)


def test_the_help_names_the_new_one_alone(run: Any) -> None:
    text = run("narrate", "--help").stdout
    assert "--min-confidence" in text and "--least" not in text
