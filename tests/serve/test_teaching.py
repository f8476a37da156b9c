"""The requests of the page that teaches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from regiontalk import RegionCaptioner
from regiontalk.serve.teaching import PAGE, create_teaching_app
from regiontalk.train.answers import Answers
from regiontalk.train.background import BackgroundTraining
from regiontalk.train.session import Session
from regiontalk.train.teaching import Teacher


@pytest.fixture
def folder(tmp_path: Path, picture: bytes) -> Path:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(picture)
    return tmp_path


@pytest.fixture
def lesson(folder: Path, captioner: RegionCaptioner) -> Iterator[TestClient]:
    answers = Answers(folder / "taught.jsonl")
    teacher = Teacher(captioner, sorted(folder.glob("*.png")), answers, regions=2)
    training = BackgroundTraining(answers, folder / "models", "mini")
    app = create_teaching_app(Session(teacher, training, folder))
    with TestClient(app, base_url="http://127.0.0.1:8765") as client:
        yield client


def post(lesson: TestClient, **values: Any) -> Any:
    return lesson.post("/v1/teach/answer", json=values)


def test_a_lesson(lesson: TestClient, folder: Path) -> None:
    names = []
    for _ in range(2):
        asked = lesson.get("/v1/teach/next").json()
        assert asked["width"] == 90 and asked["picture"] and asked["caption"]["text"]
        names.append(asked["name"])
        box = {"box": [1, 2, 30, 40], "phrase": "a cloud"}
        told = post(lesson, name=asked["name"], captions=["clouds"], boxes=[box])
        assert told.status_code == 200, told.text
    assert told.json() == {"answered": 2, "left": 0, "training": None}
    assert sorted(names) == ["a.png", "b.png"]
    assert lesson.get("/v1/teach/next").json()["name"] is None
    assert [row["captions"] for row in Answers(folder / "taught.jsonl")] == [
        ["clouds"]
    ] * 2
    assert "teach.js" in lesson.get(f"/{PAGE}").text


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param(
            {"name": "../a.png"}, "the photo that was asked about", id="another photo"
        ),
        pytest.param({"captions": ["a"]}, "name", id="no photo"),
        pytest.param({"name": "a.png", "captions": [""]}, "captions", id="empty words"),
        pytest.param(
            {"name": "a.png", "boxes": [{"box": [0, 0, 900, 9], "phrase": "a"}]},
            "outside the photo",
            id="a box outside",
        ),
        pytest.param({"name": "a.png", "more": 1}, "more", id="unknown"),
    ],
)
def test_bad_answers_are_refused(
    lesson: TestClient, folder: Path, values: dict[str, Any], message: str
) -> None:
    lesson.get("/v1/teach/next")
    refused = post(lesson, **values)
    assert refused.status_code == 422 and message in refused.json()["error"]
    assert not (folder / "taught.jsonl").exists()


def test_too_few_answers_to_train(lesson: TestClient) -> None:
    refused = lesson.post("/v1/teach/train")
    assert refused.status_code == 422 and "answer 20 more" in refused.json()["error"]
