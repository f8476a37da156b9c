"""One person's session of ``regiontalk teach``: questions, answers, and training between them.

What a page or a terminal shows of it is theirs (`regiontalk.serve.teaching`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regiontalk.captioner import RegionCaptioner
from regiontalk.records import ImageResult
from regiontalk.train.answers import Answer
from regiontalk.train.background import BackgroundTraining
from regiontalk.train.teaching import Teacher


class Session:
    """What one person is asked.

    Attributes:
        teacher: chooses photos and saves answers.
        training: trains on request.
        folder: of the photos, which are named as seen from it.
    """

    def __init__(
        self, teacher: Teacher, training: BackgroundTraining, folder: Path
    ) -> None:
        """Begin; no photo is looked at yet."""
        self.teacher = teacher
        self.training = training
        self.folder = folder
        self.used_round = 0

    @property
    def captioner(self) -> RegionCaptioner:
        """The model that asks."""
        return self.teacher.captioner

    def state(self) -> dict[str, Any]:
        """How far it is, and how training stands."""
        progress = self.training.progress()
        return {
            "answered": self.teacher.answers.with_words,
            "left": self.teacher.left,
            "training": None if progress is None else progress.to_dict(),
        }

    def next(self) -> tuple[str, ImageResult] | None:
        """The name of the next photo and what the model says of it; None at the end.

        A model that has been trained since asks from now on.
        """
        self._use_new_model()
        question = self.teacher.next()
        if question is None:
            return None
        name = question.photo.relative_to(self.folder).as_posix()
        return name, question.result

    def take(
        self,
        name: str,
        captions: Sequence[str],
        boxes: Sequence[tuple[tuple[float, float, float, float], str]],
    ) -> None:
        """Save an answer.

        Raises:
            ValueError: no photo of this name was asked about.
            OSError: it could not be written; the question still waits.
        """
        photo = self.folder / name
        question = self.teacher.question(photo)
        if question is None:
            raise ValueError(
                f"name: expected the photo that was asked about, got {name[:80]!r}"
            )
        size_wh = question.result.size_wh
        self.teacher.take(Answer(photo, size_wh, tuple(captions), tuple(boxes)))

    def start_training(self) -> None:
        """Train on the answers so far, in the background.

        Raises:
            ValueError: training is at work, or there are too few answers with words.
        """
        self.training.start()

    def _use_new_model(self) -> None:
        progress = self.training.progress()
        if progress and progress.state == "done" and progress.round != self.used_round:
            self.used_round = progress.round
            self.teacher.use(RegionCaptioner.from_pretrained(progress.model))
