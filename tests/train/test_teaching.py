"""Teaching: the file of answers, who is asked first, and training in the background."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regiontalk.datasets.folder import read_folder
from regiontalk.images.open import ImageError
from regiontalk.records import ImageResult, RegionCaption
from regiontalk.train import background
from regiontalk.train.answers import Answer, Answers
from regiontalk.train.background import BackgroundTraining
from regiontalk.train.teaching import Teacher, ask

SIZE = (40, 30)
WHOLE = (0.0, 0.0, 40.0, 30.0)


def make_photo(path: Path) -> Path:
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(path)
    return path


def test_answers_are_a_data_set(tmp_path: Path) -> None:
    photos = [make_photo(tmp_path / name) for name in ("a.png", "b.png", "c.png")]
    answers = Answers(tmp_path / "taught.jsonl")
    answers.add(Answer(photos[0], SIZE, ("a blue button",)))
    answers.add(Answer(photos[1], SIZE, (), (((1, 2, 30, 20), "a switch"),)))
    answers.add(Answer(photos[2], SIZE))
    answers.add(Answer(photos[0], SIZE, ("a red button",)))  # in place of the first
    again = Answers(tmp_path / "taught.jsonl")
    assert list(again) == [
        {"photo": "a.png", "captions": ["a red button"], "width": 40, "height": 30},
        {
            "photo": "b.png",
            "boxes": [{"box": [1, 2, 30, 20], "phrase": "a switch"}],
            "width": 40,
            "height": 30,
        },
        {"photo": "c.png"},
    ]
    assert photos[2] in again and len(again) == 3 and again.with_words == 2
    examples, _ = read_folder(tmp_path / "taught.jsonl")
    assert examples[0].captions == ("a red button",)
    assert [phrase.text for phrase in examples[1].phrases] == ["a switch"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            '{"photo": "a.png"}\nnonsense\n',
            "line 2: expected a JSON object",
            id="text",
        ),
        pytest.param('{"caption": "a"}\n', 'an object with "photo"', id="no photo"),
    ],
)
def test_a_file_that_is_no_answers_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "taught.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        Answers(path)
    with pytest.raises(ValueError, match=r"ends in \.jsonl"):
        Answers(tmp_path / "taught.csv")


@pytest.mark.parametrize(
    ("captions", "boxes", "message"),
    [
        pytest.param(("!?",), (), "expected words", id="no words"),
        pytest.param((), (((0, 0, 50, 20), "a"),), "outside the photo", id="outside"),
        pytest.param((), (((5, 5, 5, 20), "a"),), "empty or inverted", id="empty"),
    ],
)
def test_bad_answers_are_refused(captions: Any, boxes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Answer(Path("a.png"), SIZE, captions, boxes)


def test_a_full_disk_loses_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = make_photo(tmp_path / "a.png")
    answers = Answers(tmp_path / "taught.jsonl")
    answers.add(Answer(photo, SIZE, ("a button",)))

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("regiontalk.train.answers.write_data", full)
    with pytest.raises(OSError, match="No space"):
        answers.add(Answer(photo, SIZE, ("a switch",)))
    assert [row["captions"] for row in answers] == [["a button"]]
    assert [row["captions"] for row in Answers(answers.path)] == [["a button"]]


class Confident:
    """A captioner whose confidence in a photo is the number in its name."""

    def __init__(self) -> None:
        self.looked: list[str] = []

    def caption_many(self, photos: list[str], **settings: Any) -> list[ImageResult]:
        (photo,) = photos
        self.looked.append(Path(photo).stem)
        if Path(photo).stem == "broken":
            raise ImageError("broken.png: not a picture")
        caption = RegionCaption(WHOLE, "a photo", int(Path(photo).stem) / 100)
        return [ImageResult(photo, SIZE, "test", caption)]


def teach(tmp_path: Path, **settings: Any) -> tuple[Teacher, Any]:
    captioner: Any = Confident()
    photos = [tmp_path / f"{number}.png" for number in (40, 10, 30, 20)]
    return Teacher(
        captioner, photos, Answers(tmp_path / "taught.jsonl"), **settings
    ), captioner


def answer_all(teacher: Teacher) -> list[str]:
    names = []
    while (question := teacher.next()) is not None:
        names.append(question.photo.stem)
        teacher.take(Answer(question.photo, SIZE, ("a thing",)))
    return names


def test_the_least_sure_is_asked_first(tmp_path: Path) -> None:
    teacher, _ = teach(tmp_path)
    assert answer_all(teacher) == ["10", "20", "30", "40"] and teacher.left == 0
    again, captioner = teach(tmp_path)  # all are answered already
    assert again.next() is None and captioner.looked == []


def test_the_order_of_chance_looks_at_one(tmp_path: Path) -> None:
    teacher, captioner = teach(tmp_path, in_order=True)
    assert teacher.next() is not None and len(captioner.looked) == 1
    assert sorted(answer_all(teacher)) == ["10", "20", "30", "40"]


def test_a_new_model_looks_anew(tmp_path: Path) -> None:
    teacher, captioner = teach(tmp_path)
    teacher.next()
    teacher.use(captioner)
    assert teacher.left == 4
    teacher.next()
    assert len(captioner.looked) == 8


def test_a_broken_photo_is_told(tmp_path: Path) -> None:
    lines: list[str] = []
    captioner: Any = Confident()
    photos = [tmp_path / "broken.png", tmp_path / "50.png"]
    teacher = Teacher(
        captioner, photos, Answers(tmp_path / "t.jsonl"), log=lines.append
    )
    assert answer_all(teacher) == ["50"]
    assert lines == ["left out: broken.png: not a picture"]


def test_likely_things_are_asked_about() -> None:
    values = [(0.9, 0.8), (0.5, 0.1), (0.1, 0.0), (0.8, 0.5)]  # score, confidence
    regions = tuple(
        RegionCaption((0, 0, 9, 9), f"{score}", confidence, score)
        for score, confidence in values
    )
    caption = RegionCaption(WHOLE, "a photo", 0.6)
    question = ask(Path("a"), ImageResult("a", SIZE, "test", caption, regions), 2)
    assert [region.text for region in question.result.regions] == ["0.9", "0.8"]
    assert question.sureness == pytest.approx((0.8 + 0.5 + 0.6) / 3)


SCRIPT = """
import json, pathlib, sys
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
print("a line")
if "fails" in sys.argv:
    sys.exit("regiontalk: no words")
(out / "training").mkdir(parents=True)
(out / "training" / "gain.json").write_text(json.dumps({"R@1": [0.1, None]}))
(out / "config.json").write_text("{}")
"""


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program in the place of ``python -m regiontalk``."""
    script = tmp_path / "stub.py"
    script.write_text(SCRIPT)

    class Popen(background.subprocess.Popen[bytes]):
        def __init__(self, command: list[str], **settings: Any) -> None:
            super().__init__([command[0], str(script), *command[3:]], **settings)

    monkeypatch.setattr(background.subprocess, "Popen", Popen)
    assert sys.executable


def answered(tmp_path: Path, count: int) -> Answers:
    answers = Answers(tmp_path / "taught.jsonl")
    rows = [
        (tmp_path / f"{number}.png", {"captions": ["a b"]}) for number in range(count)
    ]
    answers.add_rows(rows)
    return answers


def test_the_program_that_is_started_exists() -> None:
    command = [sys.executable, "-m", "regiontalk", "train", "--help"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0 and "--out" in result.stdout


def test_training_needs_answers(tmp_path: Path) -> None:
    training = BackgroundTraining(answered(tmp_path, 7), tmp_path / "out", "mini")
    with pytest.raises(ValueError, match="got 7; answer 13 more"):
        training.start()
    assert training.progress() is None and not (tmp_path / "out").exists()


def test_rounds_of_training(tmp_path: Path, stub: None) -> None:
    training = BackgroundTraining(
        answered(tmp_path, 20), tmp_path / "out", "mini", threads=1
    )
    for number in (1, 2):
        training.start()
        with pytest.raises(ValueError, match="still at work"):
            training.start()
        assert training._process is not None
        training._process.wait()
        progress = training.progress()
        assert (
            progress is not None
            and progress.state == "done"
            and progress.line == "a line"
        )
        assert progress.to_dict()["gain"] == {"R@1": [0.1, None]}
        assert progress.model == tmp_path / "out" / f"round_{number}"


def test_a_failure_says_why(tmp_path: Path, stub: None) -> None:
    training = BackgroundTraining(answered(tmp_path, 20), tmp_path / "out", "fails")
    training.start()
    assert training._process is not None
    training._process.wait()
    progress = training.progress()
    assert progress is not None and progress.state == "failed"
    assert progress.line == "regiontalk: no words" and json.dumps(progress.to_dict())
