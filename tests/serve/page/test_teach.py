"""The page that teaches, used by keyboard alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from regiontalk import RegionCaptioner
from regiontalk.datasets.screens import write_screens
from regiontalk.serve.teaching import PAGE, create_teaching_app
from regiontalk.train.answers import Answers
from regiontalk.train.background import BackgroundTraining
from regiontalk.train.session import Session
from regiontalk.train.teaching import Teacher

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed"
)
expect = sync_api.expect


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_screens(3, 100, tmp_path)
    return tmp_path / "screens"


@pytest.fixture
def lesson(
    folder: Path, mini: RegionCaptioner, serving: Callable[[Any], Any]
) -> Iterator[str]:
    answers = Answers(folder / "taught.jsonl")
    teacher = Teacher(mini, sorted(folder.glob("*.png")), answers, regions=2)
    training = BackgroundTraining(answers, folder / "models", "mini")
    with serving(create_teaching_app(Session(teacher, training, folder))) as address:
        yield address


def test_answers_by_keyboard(
    open_page: Callable[..., Any],
    lesson: str,
    folder: Path,
    see: Callable[[Any, str], None],
) -> None:
    page = open_page(at=lesson)
    page.goto(f"{lesson}/{PAGE}")
    page.wait_for_selector("html[data-ready]")
    keys = page.keyboard
    keys.type("a dark form")  # over the model's words
    keys.press("Enter")
    keys.type("a switch")
    keys.press("Enter")
    keys.press("Delete")  # the second box is no thing
    keys.press("Alt+n")
    for _ in range(60):
        keys.press("Alt+ArrowUp")  # stays inside
    keys.press("Alt+Shift+ArrowRight")
    keys.type("a red button")
    see(page, "teach")
    keys.press("Enter")
    expect(page.locator("#progress")).to_have_text("Answered: 1. Left: 2.")
    (row,) = Answers(folder / "taught.jsonl")
    assert row["captions"] == ["a dark form"]
    assert [box["phrase"] for box in row["boxes"]] == ["a switch", "a red button"]
    # a third of 320x400 in the middle, moved to the top, 2 % of 400 = 8 pixels wider
    assert row["boxes"][1]["box"] == [107, 0, 221, 134]
    expect(page.locator("#sentence")).to_be_focused()
    keys.press("Alt+s")
    expect(page.locator("#progress")).to_have_text("Answered: 1. Left: 1.")
    keys.press("Alt+t")
    expect(page.locator("#problem")).to_contain_text("answer 19 more")
